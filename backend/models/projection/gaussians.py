"""Surface vertices to splats: flat discs that just overlap, soft where the hair ends."""

from __future__ import annotations

import numpy as np

from backend.protocol.avatar import F32, SH_C0, SplatArrays
from backend.protocol.binding import quaternions

from .surface import Surface

OVERLAP = 0.86
"""Standard deviation over the spread of the edges; at 0.71 what lies behind shines through as a knitted pattern."""
THICKNESS = 0.12
"""Standard deviation along the normal over the mean edge."""


def as_sh(rgb: F32) -> F32:
    """[N, 3] display colours to degree-0 coefficients [N, 1, 3]."""
    return np.ascontiguousarray(((rgb - 0.5) / SH_C0)[:, None], np.float32)


def surface_splats(surface: Surface, color: F32, opacity: F32) -> SplatArrays:
    """One splat a vertex, in the rest pose.

    Args:
        color: [N, 3] display-referred 0..1; opacity: [N] 0..1.
    """
    axes, spread, length = surface.tangent_frames()
    tangential = np.clip(spread * OVERLAP, 0.4 * length[:, None], 1.3 * length[:, None])
    scale = np.concatenate([tangential, THICKNESS * length[:, None]], 1)
    return SplatArrays(
        position=np.ascontiguousarray(surface.position, np.float32),
        rotation=quaternions(axes),
        scale=np.ascontiguousarray(np.maximum(scale, 1e-5), np.float32),
        opacity=np.ascontiguousarray(opacity, np.float32),
        sh=as_sh(color),
        face=np.ascontiguousarray(surface.face, np.int32),
        barycentric=np.ascontiguousarray(surface.barycentric, np.float32),
    )


def select(splats: SplatArrays, keep: np.ndarray) -> SplatArrays:
    """The splats that a mask or an index array picks."""
    return SplatArrays(*(np.ascontiguousarray(getattr(splats, name)[keep]) for name in SplatArrays.__dataclass_fields__))
