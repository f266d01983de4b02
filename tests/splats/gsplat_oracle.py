"""gsplat 1.5.3's own torch code as an oracle on the CPU, in float32 or float64.

gsplat ships a differentiable torch version of its pipeline, which leans on CUDA in four leaves: listing
the tiles, encoding their offsets, listing the (splat, pixel) pairs that are blended, and nerfacc's two
sums along rays. Those four are replaced by short torch code; projection, harmonics, blending, depth
modes and all gradients are gsplat's.
"""

from __future__ import annotations

import math
import sys
import types
from contextlib import contextmanager

import numpy as np
import pytest
import torch

TENSORS = ("means", "quats", "scales", "opacities", "colors", "viewmats")


def shell(count, channels, width, height, seed=0, cameras=1, coefficients=None):
    """An ellipsoid shell of flat splats, as a head would be; quaternions deliberately not unit. float64 arrays."""
    rng = np.random.default_rng(seed)
    axes = np.array([0.075, 0.11, 0.095])
    index = np.arange(count) + 0.5
    z, angle = 1 - 2 * index / count, np.pi * (1 + 5**0.5) * index
    ring = np.sqrt(1 - z * z)
    means = np.stack([ring * np.cos(angle), z, ring * np.sin(angle)], -1) * axes * (1 + 0.01 * rng.standard_normal((count, 1)))
    spacing = math.sqrt(0.117 / count)
    scales = spacing * np.array([1.5, 1.5, 0.2]) * np.exp(0.25 * rng.standard_normal((count, 3)))
    quats = rng.standard_normal((count, 4)) * rng.uniform(0.5, 2, (count, 1))
    focal = 0.74 * height / 0.22
    viewmats = np.tile(np.eye(4), (cameras, 1, 1))
    for i in range(cameras):
        yaw = 0.35 - 0.5 * i
        turn = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
        viewmats[i, :3, :3] = np.diag([1, -1, -1]) @ turn
        viewmats[i, :3, 3] = [0.004, -0.003, 1.0]
    shape = (count, channels) if coefficients is None else (count, coefficients, 3)
    return {
        "means": means,
        "quats": quats,
        "scales": scales,
        "opacities": rng.uniform(0.3, 0.95, count),
        "colors": rng.uniform(0, 1, shape) - (0 if coefficients is None else 0.4),
        "viewmats": viewmats,
        "Ks": np.tile(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), (cameras, 1, 1)),
        "backgrounds": np.full((cameras, channels), 0.25),
    }


def gradients(function, scene, size, dtype, cotangents=None, **options):
    """Run `function` (a `rasterization`) on a scene of arrays.

    Returns:
        images [C, H, W, X], alphas [C, H, W], and the gradients of sum(cotangent * output) by tensor name.
    """
    leaves = {k: torch.tensor(v, dtype=dtype).requires_grad_(k != "Ks") for k, v in scene.items()}
    backgrounds = leaves.get("backgrounds")
    image, alpha, _ = function(
        *(leaves[k] for k in TENSORS), leaves["Ks"], *size, backgrounds=backgrounds, **options
    )  # fmt: skip
    found = {}
    if cotangents is not None:
        weights = [torch.as_tensor(c, dtype=dtype) for c in cotangents]
        ((image * weights[0]).sum() + (alpha[..., 0] * weights[1]).sum()).backward()
        found = {k: v.grad.numpy() for k, v in leaves.items() if v.grad is not None}
    return image.detach().numpy(), alpha.detach().numpy()[..., 0], found


def oracle(scene, size, cotangents=None, dtype=torch.float64, **options):
    """`gradients` of gsplat's own torch pipeline."""
    with _patched(dtype) as rendering:
        call = lambda *args, **kw: rendering._rasterization(*args, **kw, batch_per_iter=10**7)
        return gradients(call, scene, size, dtype, cotangents, **options)


@contextmanager
def _patched(dtype):
    pytest.importorskip("gsplat", reason="the oracle is gsplat's torch code")
    patch = pytest.MonkeyPatch()
    nerfacc = types.ModuleType("nerfacc")
    nerfacc.render_weight_from_alpha = _weights
    nerfacc.accumulate_along_rays = _accumulate
    patch.setitem(sys.modules, "nerfacc", nerfacc)
    import gsplat.cuda._torch_impl as torch_impl
    import gsplat.cuda._wrapper as wrapper
    from gsplat import rendering

    patch.setattr(rendering, "isect_tiles", _list_tiles)
    patch.setattr(rendering, "isect_offset_encode", torch_impl._isect_offset_encode)
    patch.setattr(rendering, "spherical_harmonics", lambda degree, dirs, sh, masks=None: torch_impl._spherical_harmonics(degree, dirs, sh))
    patch.setattr(wrapper, "rasterize_to_indices_in_range", _list_pairs)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # gsplat allocates in the default type
    try:
        yield rendering
    finally:
        torch.set_default_dtype(before)
        patch.undo()


def _weights(alphas, packed_info=None, ray_indices=None, n_rays=None, prefix_trans=None):
    """alpha times the product of (1 - alpha) of what comes before it on the same ray (rays contiguous)."""
    through = torch.log1p(-alphas.double())
    before = torch.cumsum(through, 0) - through
    first = torch.ones_like(ray_indices, dtype=torch.bool)
    first[1:] = ray_indices[1:] != ray_indices[:-1]
    base = before[first][torch.cumsum(first.long(), 0) - 1]
    transmittance = torch.exp(before - base).to(alphas.dtype)
    return alphas * transmittance, transmittance


def _accumulate(weights, values=None, ray_indices=None, n_rays=None):
    source = weights[:, None] if values is None else weights[:, None] * values
    return torch.zeros(n_rays, source.shape[-1], dtype=source.dtype).index_add(0, ray_indices, source)


@torch.no_grad()
def _list_tiles(means2d, radii, depths, tile_size, tile_width, tile_height, **_):
    """Vectorised twin of gsplat's Python-loop `_isect_tiles`, for any number of images."""
    images, count = radii.shape[0], radii.shape[1]
    centre, radius = means2d.reshape(-1, 2), radii.reshape(-1, 2)
    limit = torch.tensor([tile_width, tile_height])
    low = torch.minimum(torch.floor((centre - radius) / tile_size).long().clamp(min=0), limit)
    high = torch.minimum(torch.ceil((centre + radius) / tile_size).long().clamp(min=0), limit)
    span = high - low
    hits = span[:, 0] * span[:, 1] * (radius > 0).all(-1)
    splat = torch.repeat_interleave(torch.arange(len(centre)), hits)
    k = torch.arange(len(splat)) - (torch.cumsum(hits, 0) - hits)[splat]
    tile = (low[splat, 1] + k // span[splat, 0]) * tile_width + low[splat, 0] + k % span[splat, 0]
    image_bits = int(tile_width * tile_height).bit_length()
    depth_bits = depths.reshape(-1).float().contiguous().view(torch.int32).long()[splat]
    keys = (((splat // max(count, 1)) << image_bits | tile) << 32) | depth_bits
    keys, order = torch.sort(keys, stable=True)
    return hits.reshape(images, count).int(), keys, splat[order].int()


@torch.no_grad()
def _list_pairs(start, end, transmittance, means2d, conics, opacities, width, height, tile_size, offsets, splats):
    """The (splat, pixel) pairs that are blended, by the tests of gsplat's RasterizeToIndices3DGS.cu."""
    assert start == 0
    images, rows, columns = offsets.shape
    ends = torch.cat([offsets.flatten().long(), torch.tensor([len(splats)])])
    centre, conic, opacity = means2d.reshape(-1, 2), conics.reshape(-1, 3), opacities.reshape(-1)
    down, across = torch.meshgrid(torch.arange(tile_size), torch.arange(tile_size), indexing="ij")
    found = [(torch.zeros(0, dtype=torch.long),) * 3]
    for tile in range(images * rows * columns):
        ids = splats[ends[tile] : ends[tile + 1]].long()
        image, place = divmod(tile, rows * columns)
        x, y = (place % columns) * tile_size + across.flatten(), (place // columns) * tile_size + down.flatten()
        inside = (x < width) & (y < height)
        x, y = x[inside], y[inside]
        dx, dy = centre[ids, :1] - (x + 0.5).to(centre.dtype), centre[ids, 1:] - (y + 0.5).to(centre.dtype)
        sigma = 0.5 * (conic[ids, :1] * dx * dx + conic[ids, 2:] * dy * dy) + conic[ids, 1:2] * dx * dy
        alpha = torch.clamp_max(opacity[ids, None] * torch.exp(-sigma), 0.999)
        seen = (sigma >= 0) & (alpha >= 1 / 255)
        left = torch.cumprod(torch.where(seen, 1 - alpha, torch.ones_like(alpha)), 0)
        pixel, which = torch.nonzero((seen & (left > 1e-4)).T, as_tuple=True)
        found.append((ids[which] % means2d.shape[-2], (y * width + x)[pixel], torch.full_like(which, image)))
    splat, pixel, image = (torch.cat(part) for part in zip(*found, strict=True))
    order = torch.argsort(image * width * height + pixel, stable=True)
    return splat[order], pixel[order], image[order]
