"""The one call that renders Gaussians, everywhere: gsplat on CUDA, our SIMD kernels on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from backend.protocol.errors import LookalikeError

from .cpu_raster import View, blend, blend_backward, empty_planar, project, project_backward, sort_into_tiles, to_planar
from .spherical_harmonics import spherical_harmonics

RenderMode = Literal["RGB", "D", "ED", "RGB+D", "RGB+ED"]
RENDER_MODES = ("RGB", "D", "ED", "RGB+D", "RGB+ED")
_UPPER = ([0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2])


def rasterization(
    means: Tensor,  # [..., N, 3]
    quats: Tensor | None,  # [..., N, 4]
    scales: Tensor | None,  # [..., N, 3]
    opacities: Tensor,  # [..., N]
    colors: Tensor,  # [..., (C,) N, D] or [..., (C,) N, K, 3]
    viewmats: Tensor,  # [..., C, 4, 4]
    Ks: Tensor,  # [..., C, 3, 3]
    width: int,
    height: int,
    near_plane: float = 0.01,
    far_plane: float = 1e10,
    radius_clip: float = 0.0,
    eps2d: float = 0.3,
    sh_degree: int | None = None,
    backgrounds: Tensor | None = None,  # [..., C, D]
    render_mode: RenderMode = "RGB",
    rasterize_mode: Literal["classic", "antialiased"] = "classic",
    covars: Tensor | None = None,  # [..., N, 3, 3]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Render N Gaussians from C cameras, with the semantics of gsplat 1.5.3's function of the same name.

    Differentiable with respect to means, quats, scales, covars, opacities, colors, viewmats and
    backgrounds; not to Ks, as in gsplat. CUDA tensors go to gsplat (its unpacked mode); other tensors are
    rendered on the CPU in float32 and the result is bit-identical for any number of threads.

    Args:
        means: [..., N, 3] centres in world units.
        quats: [..., N, 4] rotations wxyz, of any length. None with `covars`.
        scales: [..., N, 3] standard deviations along the axes. None with `covars`.
        opacities: [..., N] in 0..1.
        colors: [..., (C,) N, D] any number of channels, blended as they are; or, with `sh_degree`,
            [..., (C,) N, K, 3] spherical-harmonic coefficients, K >= (sh_degree + 1)^2, of which the colour is
            max(0, SH + 0.5).
        viewmats: [..., C, 4, 4] world to camera, OpenCV axes (x right, y down, z forward).
        Ks: [..., C, 3, 3] intrinsics in pixels; pixel centres are at +0.5.
        width, height: image size in pixels.
        near_plane, far_plane: depths outside are culled.
        radius_clip: Gaussians of at most this radius in pixels are skipped.
        eps2d: added to the variances on the image, pixels^2.
        sh_degree: 0..3, or None for plain colours.
        backgrounds: [..., C, D] colour behind everything; depth channels have none. Default zeros.
        render_mode: "RGB" the colours; "D" accumulated depth sum(w z); "ED" expected depth
            sum(w z) / sum(w); "RGB+D" and "RGB+ED" colours with the depth as last channel.
        rasterize_mode: "antialiased" multiplies opacities by sqrt(det S / det(S + eps2d I)) (Mip-Splatting).
        covars: [..., N, 3, 3] symmetric covariances instead of quats and scales; the upper triangle is read.

    Returns:
        render_colors [..., C, height, width, X] with X = D, 1 or D + 1 by mode;
        render_alphas [..., C, height, width, 1];
        meta with "means2d" [..., C, N, 2] (part of the graph: retain_grad works), "radii" [..., C, N, 2] int32
        pixels (0 when culled), "depths", "conics" (xx, xy, yy), "opacities" (compensated), "width", "height",
        "n_cameras".

    Raises:
        ValueError: shapes that do not agree, an unknown mode.
        LookalikeError: CUDA tensors without gsplat installed.
    """
    scene = _Scene(means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, covars)
    _check(scene, sh_degree, render_mode, rasterize_mode)
    if means.is_cuda and torch.cuda.is_available():
        return _gsplat()(
            *scene[:7], width, height, near_plane=near_plane, far_plane=far_plane, radius_clip=radius_clip, eps2d=eps2d,
            sh_degree=sh_degree, backgrounds=backgrounds, render_mode=render_mode, rasterize_mode=rasterize_mode, covars=covars,
            packed=False,
        )  # fmt: skip
    options = _Options(width, height, eps2d, near_plane, far_plane, radius_clip, rasterize_mode == "antialiased", sh_degree, render_mode)
    scene = scene.map(lambda t: t.to(device="cpu", dtype=torch.float32))
    batch = tuple(means.shape[:-2])
    if not batch:
        image, alpha, meta = _render(scene, options)
    else:
        flat = scene.map(lambda t: t.reshape(-1, *t.shape[len(batch) :]))
        parts = [_render(flat.map(lambda t, i=i: t[i]), options) for i in range(math.prod(batch))]
        join = lambda tensors: torch.stack(tensors).reshape(*batch, *tensors[0].shape)
        image, alpha = join([p[0] for p in parts]), join([p[1] for p in parts])
        meta = {key: join([p[2][key] for p in parts]) for key in parts[0][2]}
    meta |= {"width": width, "height": height, "n_cameras": viewmats.shape[-3]}
    return image.to(means.device), alpha.to(means.device), meta


class _Scene(NamedTuple):
    """The tensor arguments of `rasterization`, in its order."""

    means: Tensor
    quats: Tensor | None
    scales: Tensor | None
    opacities: Tensor
    colors: Tensor
    viewmats: Tensor
    Ks: Tensor
    backgrounds: Tensor | None
    covars: Tensor | None

    def map(self, function: Callable[[Tensor], Tensor]) -> _Scene:
        return _Scene(*(None if t is None else function(t) for t in self))  # pyright: ignore[reportArgumentType]


class _Options(NamedTuple):
    """The other arguments of `rasterization`."""

    width: int
    height: int
    eps2d: float
    near: float
    far: float
    radius_clip: float
    antialiased: bool
    sh_degree: int | None
    render_mode: str

    def view(self, viewmat: np.ndarray, intrinsics: np.ndarray) -> View:
        return View(viewmat, intrinsics, *self[:7])


def _check(scene: _Scene, sh_degree: int | None, render_mode: str, rasterize_mode: str) -> None:
    batch, count, cameras = tuple(scene.means.shape[:-2]), scene.means.shape[-2], scene.viewmats.shape[-3]
    expected = {
        "means": (*batch, count, 3),
        "opacities": (*batch, count),
        "viewmats": (*batch, cameras, 4, 4),
        "Ks": (*batch, cameras, 3, 3),
    }
    if scene.covars is None:
        expected |= {"quats": (*batch, count, 4), "scales": (*batch, count, 3)}
    else:
        expected["covars"] = (*batch, count, 3, 3)
    for name, shape in expected.items():
        tensor = getattr(scene, name)
        if tensor is None or tuple(tensor.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {None if tensor is None else tuple(tensor.shape)}")
    colors = scene.colors
    rest = tuple(colors.shape[:-1] if sh_degree is None else colors.shape[:-2])
    if rest not in {(*batch, count), (*batch, cameras, count)} or (sh_degree is not None and colors.shape[-1] != 3):
        raise ValueError(f"colors of shape {tuple(colors.shape)} do not fit {count} Gaussians and {cameras} cameras")
    if render_mode not in RENDER_MODES:
        raise ValueError(f"unknown render_mode {render_mode!r}; one of {', '.join(RENDER_MODES)}")
    channels = 3 if sh_degree is not None else colors.shape[-1]
    if scene.backgrounds is not None and "RGB" in render_mode and tuple(scene.backgrounds.shape) != (*batch, cameras, channels):
        raise ValueError(f"backgrounds must have shape {(*batch, cameras, channels)}, got {tuple(scene.backgrounds.shape)}")
    if rasterize_mode not in {"classic", "antialiased"}:
        raise ValueError(f"unknown rasterize_mode {rasterize_mode!r}; classic or antialiased")


def _gsplat() -> Callable[..., tuple[Tensor, Tensor, dict[str, Any]]]:
    try:
        from gsplat import rasterization as on_cuda
    except ImportError as error:
        raise LookalikeError("rendering CUDA tensors needs gsplat", "install lookalike[cuda]") from error
    return on_cuda


def _render(scene: _Scene, options: _Options) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """One batch element on the CPU, float32: images [C, H, W, X], alphas [C, H, W, 1]."""
    means, quats, scales, opacities, colors, viewmats, Ks, backgrounds, covars = scene
    if covars is None:
        covars = means.new_empty(0, 6)
    else:
        covars = covars[:, _UPPER[0], _UPPER[1]]
        quats, scales = means.new_empty(0, 4), means.new_empty(0, 3)
    # gsplat takes the opacity only to find the radius: no gradient flows back through it.
    on_screen = _Project.apply(means, quats, scales, covars, opacities.detach(), viewmats, Ks, options)
    means2d, depths, conics, compensations, radii = on_screen
    opacities = opacities.expand(len(viewmats), len(means))
    if options.antialiased:
        opacities = opacities * compensations
    if options.sh_degree is not None:
        colors = _view_colors(options.sh_degree, means, colors, viewmats)
    colors, backgrounds = _channels(colors, depths, backgrounds, options.render_mode)
    image, alpha = _Blend.apply(means2d, conics, opacities, colors, backgrounds, depths.detach(), radii, options)
    if options.render_mode in {"ED", "RGB+ED"}:
        image = torch.cat([image[..., :-1], image[..., -1:] / alpha.clamp(min=1e-10)], -1)
    return image, alpha, {"means2d": means2d, "radii": radii, "depths": depths, "conics": conics, "opacities": opacities}


def _view_colors(degree: int, means: Tensor, coefficients: Tensor, viewmats: Tensor) -> Tensor:
    """SH [(C,) N, K, 3] to colours [C, N, 3] seen from each camera's centre."""
    centres = torch.linalg.inv(viewmats)[:, :3, 3]
    directions = means[None] - centres[:, None]
    if coefficients.dim() == 3:
        coefficients = coefficients.expand(len(viewmats), *coefficients.shape)
    return torch.clamp_min(spherical_harmonics(degree, directions, coefficients) + 0.5, 0.0)


def _channels(colors: Tensor, depths: Tensor, backgrounds: Tensor | None, mode: str) -> tuple[Tensor, Tensor | None]:
    """What is blended in each mode: colours [(C,) N, D] and backgrounds [C, D]."""
    if mode == "RGB":
        return colors, backgrounds
    if mode in {"D", "ED"}:
        return depths[..., None], None
    if colors.dim() == 2:
        colors = colors.expand(len(depths), *colors.shape)
    if backgrounds is not None:
        backgrounds = torch.cat([backgrounds, backgrounds.new_zeros(len(backgrounds), 1)], -1)
    return torch.cat([colors, depths[..., None]], -1), backgrounds


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _Project(torch.autograd.Function):
    """means, quats, scales or covars, through C cameras, to the screen."""

    @staticmethod
    def forward(ctx, means, quats, scales, covars, opacities, viewmats, Ks, options: _Options):
        ctx.save_for_backward(means, quats, scales, covars, viewmats)
        arrays = [_array(t) for t in (means, quats, scales, covars, opacities)]
        ctx.views = [options.view(v, k) for v, k in zip(_array(viewmats), _array(Ks), strict=True)]
        ctx.projected = [project(*arrays, view=view) for view in ctx.views]
        columns = [[getattr(p, name) for p in ctx.projected] for name in ("means2d", "depths", "conics", "compensations", "radii")]
        outputs = [torch.from_numpy(np.stack(c)) for c in columns]
        ctx.mark_non_differentiable(outputs[-1])
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        geometry = [_array(t) for t in ctx.saved_tensors[:4]]
        per_output = [_array(g) for g in gradients[:4]]
        total: list[np.ndarray] | None = None
        v_views = []
        for i, (view, projected) in enumerate(zip(ctx.views, ctx.projected, strict=True)):
            *own, v_view = project_backward(geometry, view, projected, [g[i] for g in per_output])
            v_views.append(v_view)
            total = own if total is None else [a + b for a, b in zip(total, own, strict=True)]
        if total is None:
            return (None,) * 8
        return (*(torch.from_numpy(t) for t in total), None, torch.from_numpy(np.stack(v_views)), None, None)


class _Blend(torch.autograd.Function):
    """Projected splats of C cameras to images [C, H, W, D] and alphas [C, H, W, 1]."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, backgrounds, depths, radii, options: _Options):
        width, height = options.width, options.height
        cameras, channels = len(means2d), colors.shape[-1]
        screen = [_array(t) for t in (means2d, conics, opacities, depths, radii)]
        ctx.tiles = [sort_into_tiles(*(a[i] for a in screen), width=width, height=height) for i in range(cameras)]
        ctx.stride, ctx.size = -(-width // 16) * 16, (height, width)
        pixels = height * ctx.stride
        image = empty_planar(cameras * channels, height, ctx.stride)
        final = empty_planar(cameras, height, ctx.stride)
        palette = _array(colors)
        behind = np.zeros((cameras, channels), np.float32) if backgrounds is None else _array(backgrounds)
        for i, tiles in enumerate(ctx.tiles):
            blend(tiles, palette if palette.ndim == 2 else palette[i], behind[i],
                  image[i * channels * pixels : (i + 1) * channels * pixels], final[i * pixels : (i + 1) * pixels])  # fmt: skip
        ctx.planes, ctx.final = image.reshape(cameras, -1), final.reshape(cameras, -1)
        pictures = torch.from_numpy(image.reshape(cameras, channels, height, -1)[..., :width].transpose(0, 2, 3, 1))
        alphas = torch.from_numpy(1 - final.reshape(cameras, height, -1, 1)[:, :, :width])
        # The picture is saved for its version counter: the backward pass reads its memory, so changing it in place must be an error.
        ctx.save_for_backward(colors, pictures)
        return pictures, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx, g_images, g_alphas):
        colors = ctx.saved_tensors[0]
        palette = _array(colors)
        per_camera = []
        for i, tiles in enumerate(ctx.tiles):
            own = palette if palette.ndim == 2 else palette[i]
            g_image = to_planar(g_images[i].numpy(), ctx.stride)
            g_alpha = to_planar(g_alphas[i].numpy(), ctx.stride)
            per_camera.append(blend_backward(tiles, own, ctx.planes[i], ctx.final[i], g_image, g_alpha))
        total = torch.from_numpy(np.stack(per_camera))
        v_colors = total[..., 6:] if palette.ndim == 3 else total[..., 6:].sum(0)
        v_backgrounds = None
        if ctx.needs_input_grad[4]:
            height, width = ctx.size
            rest = torch.from_numpy(ctx.final.reshape(len(ctx.tiles), height, -1)[:, :, :width])
            v_backgrounds = torch.einsum("chw,chwd->cd", rest, g_images)
        return total[..., :2], total[..., 2:5], total[..., 5], v_colors, v_backgrounds, None, None, None


def warm_up() -> None:
    """Compile every kernel (or load it from the cache) with a tiny scene: about 10 s the first time, 0.5 s after.

    Call it where a wait is expected (set-up, a worker's start), so that the first avatar does not pay for it.
    """
    from .color_operator import ColorOperator
    from .mesh_raster import interpolate, rasterize_mesh

    with torch.enable_grad():
        means = torch.tensor([[0.0, 0, 1], [0.1, 0, 1.2]], requires_grad=True)
        quats, scales = torch.ones(2, 4), torch.full((2, 3), 0.1)
        camera, lens = torch.eye(4)[None], torch.tensor([[[16.0, 0, 8], [0, 16, 8], [0, 0, 1]]])
        image, _, _ = rasterization(means, quats, scales, torch.ones(2) / 2, torch.ones(2, 3), camera, lens, 16, 16)
        image.sum().backward()
    view = View(camera[0].numpy(), lens[0].numpy(), 16, 16)
    operator = ColorOperator(means.detach().numpy(), quats.numpy(), scales.numpy(), np.full(2, 0.5, np.float32), view)
    operator.adjoint(operator.forward(np.ones((2, 3), np.float32)))
    faces = np.array([[0, 1, 2]], np.int32)
    face_id, barycentric, _ = rasterize_mesh(np.array([[0, 0, 1], [9, 0, 1], [0, 9, 1]], np.float32), faces, 16, 16)
    interpolate(face_id, barycentric, faces, np.ones((3, 3), np.float32))
