"""Which vertices the photo shows: each one's depth against a depth buffer of the mesh (paper, eq. 5)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from backend.splats.mesh_raster import rasterize_mesh

SLACK = 0.01
"""World units (2 mm) that a vertex may lie behind the buffer's nearest pixel and still be seen: half a pixel of a surface
turned by 80 degrees."""


def depth_buffer(screen: Float[Tensor, "b v 3"], faces: np.ndarray, size: int) -> Float[Tensor, "b h w"]:
    """Distance along the camera's axis of the nearest surface at each pixel centre, infinity where there is none.

    Args:
        screen: x right and y down in -1..1, depth, as `sampling.project` gives them; no gradient flows through.
        faces: [F, 3].
        size: side of the square buffer, pixels.
    """
    pixels = screen.detach().float().cpu().numpy().copy()
    pixels[..., :2] = (pixels[..., :2] * 0.5 + 0.5) * size
    buffers = [rasterize_mesh(one, faces, size, size)[2] for one in pixels]
    return torch.from_numpy(np.stack(buffers)).to(screen.device)


def normalized(buffer: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """A depth buffer from 0, nearest, to 1, farthest; pixels without a surface are as far as the farthest with one.

    A buffer without any surface is 1 everywhere.
    """
    solid = torch.isfinite(buffer)
    farthest = torch.where(solid, buffer, 0).amax((1, 2), keepdim=True)
    filled = torch.where(solid, buffer, farthest)
    nearest = filled.amin((1, 2), keepdim=True)
    scaled = (filled - nearest) / (farthest - nearest + 1e-8)
    return torch.where(solid.any(2, keepdim=True).any(1, keepdim=True), scaled, torch.ones_like(scaled))


def hidden(screen: Float[Tensor, "b v 3"], buffer: Float[Tensor, "b h w"]) -> Bool[Tensor, "b v"]:
    """True for vertices that something nearer covers, or that lie outside the picture.

    Args:
        screen: as `sampling.project` gives them.
        buffer: as `depth_buffer` gives it.
    """
    column, row, inside = _pixel(screen[..., :2], buffer.shape[-1])
    nearest = torch.stack([b[r, c] for b, r, c in zip(buffer, row, column, strict=True)])
    return ~inside | (screen[..., 2] > nearest + SLACK)


def hidden_as_released(ndc: Float[Tensor, "b v 3"], buffer: Float[Tensor, "b h w"]) -> Bool[Tensor, "b v"]:
    """`hidden` as the released code decides it, which its checkpoint was trained with.

    Released: the vertices' *perspective* depth, stretched to 0..512 by its own range over all vertices, is compared with the
    *linear* depth of the buffer, stretched by its range over the pixels. Perspective depth varies by 1e-4 over a head: float32
    rounding is worth 0.6 of the 512, so that vertices near the limit are decided by chance.

    Args:
        ndc: x right, y down in -1..1 and perspective depth, of `networks.project_to_ndc`.
        buffer: as `depth_buffer` gives it.
    """
    size = buffer.shape[-1]
    depth = ndc[..., 2]
    low, high = depth.amin(1, keepdim=True), depth.amax(1, keepdim=True)
    depth = (depth - low) / (high - low + 1e-8) * size
    column, row, inside = _pixel(ndc[..., :2], size)
    limits = normalized(buffer) * size
    limit = torch.stack([b[r, c] for b, r, c in zip(limits, row, column, strict=True)])
    return ~inside | (depth >= limit)


def _pixel(screen: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Column and row of the pixel that holds each point, brought inside, and whether it was inside."""
    place = (screen * 0.5 + 0.5) * size
    # Truncation towards zero puts points up to a pixel left of the picture into its first column, as released.
    whole = place.long()
    inside = ((whole >= 0) & (whole < size)).all(-1)
    column, row = whole.clamp(0, size - 1).unbind(-1)
    return column, row, inside
