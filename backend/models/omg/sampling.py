"""Local features: the feature map read where each vertex appears in the photo (paper, eq. 4)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backend.models.networks import FOCAL


def project(points: Float[Tensor, "b v 3"], camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b v 3"]:
    """Where world points appear.

    Args:
        points: world units.
        camera: [R|T] for row vectors: X R + T, with +x left, +y up, +z away from the camera.
    Returns:
        x right and y down in -1..1 within the picture, and the distance along the camera's axis in world units.
    """
    seen = points @ camera[:, :, :3] + camera[:, None, :, 3]
    depth = seen[..., 2:]
    return torch.cat([-FOCAL * seen[..., :2] / depth, depth], dim=-1)


def sampling_positions(screen: Float[Tensor, "b v 2"], size: int, released: bool = False) -> Float[Tensor, "b v 2"]:
    """Positions in -1..1 for `sample`: its corner-aligned ones where `released`, else those of pixel areas.

    Args:
        screen: x right, y down in -1..1, as `project` gives them.
        size: side of the feature map, pixels.
    """
    if not released:
        return screen
    # Released: 0..1 is scaled to 0..size and then read as pixel centres 0..size-1, half a pixel right of and below the vertex.
    unit = (screen * 0.5 + 0.5).clamp(0, 1)
    return (unit * size).clamp(0, size - 1) / (size - 1) * 2 - 1


def sample(features: Float[Tensor, "b c h w"], screen: Float[Tensor, "b v 2"], released: bool = False) -> Float[Tensor, "b v c"]:
    """Bilinear samples of a feature map at screen positions; beyond its edge, the edge."""
    positions = sampling_positions(screen, features.shape[-1], released)
    padding = "zeros" if released else "border"
    read = functional.grid_sample(features, positions[:, :, None], mode="bilinear", padding_mode=padding, align_corners=released)
    return read[..., 0].transpose(1, 2)
