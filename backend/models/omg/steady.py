"""Shoulders that stay as they were in the photo while the head turns: the head's pose lies in the camera, which would turn them too."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from backend.models.networks import rasterizer_matrices

STILL = 0.9
"""Below this part of the way down from `top` to `bottom` nothing turns with the head; above 0.4 of it everything does."""
MOVING = 0.4


def steady_shoulders(
    points: Float[Tensor, "n 3"],
    source: Float[Tensor, "3 4"],
    view: Float[Tensor, "3 4"],
    top: float,
    bottom: float,
) -> Float[Tensor, "n 3"]:
    """Move points so that `view` shows the lower ones where `source` did, the upper ones where they are.

    Args:
        points: world units, as the head stands.
        source: [R | T] of the photo's camera; view: of the camera that looks now. They should agree in T, else the shoulders go
            with the difference.
        top, bottom: heights between which the change lies, world units.
    """
    still = _share_still(points[:, 1], top, bottom)[:, None, None]
    from_source, from_view = rasterizer_matrices(source)[0], rasterizer_matrices(view)[0]
    seen = torch.cat([points, torch.ones_like(points[:, :1])], 1) @ from_source
    # A mixture of two rotations is none, but shrinks: by 1 - cos(a / 2) in the middle, 1 % at 16 degrees, as released.
    blended = from_source * (1 - still) + from_view * still
    moved = (seen[:, None] @ torch.linalg.inv(blended))[:, 0]
    return moved[:, :3] / moved[:, 3:]


def released_limits(points: Float[Tensor, "n 3"], head: Float[Tensor, "v 3"]) -> tuple[float, float]:
    """`top` and `bottom` as the released code takes them, for `steady_shoulders`.

    Released: heights are compared with limits read from *z*: FLAME's vertex 3461 and the rearmost point.
    """
    return float(head[3461, 2]), float(points[:, 2].min())


def _share_still(height: Float[Tensor, " n"], top: float, bottom: float) -> Float[Tensor, " n"]:
    down = 1 - ((height - bottom) / (top - bottom)).clamp(0, 1)
    return (2 * down - 2 * MOVING).clamp(0, 1)
