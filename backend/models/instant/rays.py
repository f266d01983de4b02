"""Where the Gaussians are: points on rays through the head, by two passes of importance sampling (paper; Mildenhall et al. 2020, sec. 5.2).

Rays are parallel and stand on a square grid, one grid for each direction; coarser levels of detail have coarser grids. The
points are found once for a photo and stay; animation moves Gaussians away from them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .config import COARSE, DIRECTIONS, EXTENT, FINE, PER_RAY

Opacity = Callable[[Float[Tensor, "b n 3"]], Float[Tensor, "b n"]]
"""Of points, as a Gaussian there would have it."""
FLOOR = 1e-3
"""Weight that every stretch of a ray has at least, so that what is empty so far is still looked at."""


def ray_grid(side: int, centre: Float[Tensor, " 3"]) -> tuple[Float[Tensor, "r 3"], Float[Tensor, "r 3"]]:
    """Middles of all rays, on planes through the head's middle, and the way they go, unit length, from outside inwards."""
    line = ((torch.arange(side, device=centre.device, dtype=centre.dtype) + 0.5) / side * 2 - 1) * EXTENT
    across, up = torch.meshgrid(line, line, indexing="xy")
    middles, ways = [], []
    for degrees in DIRECTIONS:
        angle = torch.tensor(degrees, dtype=centre.dtype, device=centre.device).deg2rad()
        sine, cosine = angle.sin(), angle.cos()
        offset = torch.stack([across * cosine, up, -across * sine], -1).reshape(-1, 3)
        middles.append(centre + offset)
        ways.append(-torch.stack([sine, torch.zeros_like(sine), cosine]).expand(side * side, 3))
    return torch.cat(middles), torch.cat(ways)


@torch.no_grad()
def sample_points(
    opacity: Opacity, middles: Float[Tensor, "r 3"], ways: Float[Tensor, "r 3"], batch: int, jitter: bool
) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b n"]]:
    """Points to put Gaussians at; no gradient flows through their choice, as in NeRF.

    Args:
        opacity: called for [b, r * samples, 3].
        jitter: draw at random within the strata (training); else their middles.
    Returns:
        [b, r * PER_RAY, 3], ray by ray; and how much of its ray's light is stopped at all, 0..1, for each point.
    """
    rays = len(middles)
    edges = torch.linspace(-EXTENT, EXTENT, COARSE + 1, device=middles.device, dtype=middles.dtype)
    depth = _in_strata(edges.expand(batch, rays, -1), jitter)
    values = _along(opacity, middles, ways, depth)
    weights = stopped(depth, values)
    more = inverse_transform(depth, weights, FINE, jitter)
    depth, order = torch.cat([depth, more], -1).sort(-1)
    values = torch.cat([values, _along(opacity, middles, ways, more)], -1).gather(-1, order)
    weights = stopped(depth, values)
    chosen = inverse_transform(depth, weights, PER_RAY, jitter)
    points = middles[:, None] + ways[:, None] * chosen[..., None]
    share = weights.sum(-1, keepdim=True).expand(-1, -1, PER_RAY)
    return points.flatten(1, 2), share.flatten(1)


def stopped(depth: Float[Tensor, "*b s"], opacity: Float[Tensor, "*b s"]) -> Float[Tensor, "*b s"]:
    """Share of a ray's light that is stopped at each sample, front to back.

    An opacity is that of a stretch of the first pass; closer samples stop less each, so that adding samples changes nothing.
    """
    stretch = _widths(depth) / (2 * EXTENT / COARSE)
    alpha = 1 - (1 - opacity.clamp(max=1 - 1e-5)) ** stretch
    left = torch.cumprod(1 - alpha, -1)
    return alpha * torch.cat([torch.ones_like(left[..., :1]), left[..., :-1]], -1)


def inverse_transform(depth: Float[Tensor, "*b s"], weights: Float[Tensor, "*b s"], count: int, jitter: bool) -> Float[Tensor, "*b n"]:
    """Depths drawn with a density that is constant on each sample's stretch and proportional to its weight there.

    Stretches end half-way between samples.
    """
    share = weights + FLOOR * _widths(depth) / (2 * EXTENT)
    edges = _edges(depth)
    total = torch.cat([torch.zeros_like(share[..., :1]), share.cumsum(-1)], -1)
    total = total / total[..., -1:]
    strata = torch.linspace(0, 1, count + 1, device=depth.device, dtype=depth.dtype).expand(*depth.shape[:-1], -1)
    wanted = _in_strata(strata, jitter)
    after = torch.searchsorted(total.contiguous(), wanted.contiguous(), right=True).clamp(1, depth.shape[-1])
    low, high = total.gather(-1, after - 1), total.gather(-1, after)
    start, end = edges.gather(-1, after - 1), edges.gather(-1, after)
    return start + (wanted - low) / (high - low).clamp_min(1e-9) * (end - start)


def _along(opacity: Opacity, middles: Tensor, ways: Tensor, depth: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
    points = middles[:, None] + ways[:, None] * depth[..., None]
    return opacity(points.flatten(1, 2)).reshape(depth.shape)


def _in_strata(edges: Float[Tensor, "*b s"], jitter: bool) -> Float[Tensor, "*b n"]:
    """One value between each pair of neighbours."""
    low, high = edges[..., :-1], edges[..., 1:]
    return low + (torch.rand_like(low) if jitter else 0.5) * (high - low)


def _edges(depth: Float[Tensor, "*b s"]) -> Float[Tensor, "*b e"]:
    ends = torch.full_like(depth[..., :1], EXTENT)
    return torch.cat([-ends, (depth[..., 1:] + depth[..., :-1]) / 2, ends], -1)


def _widths(depth: Float[Tensor, "*b s"]) -> Float[Tensor, "*b s"]:
    return _edges(depth).diff(dim=-1)
