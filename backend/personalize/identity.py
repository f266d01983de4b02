"""Whether frames show one person, told from the heads that were fitted to each of them."""

from __future__ import annotations

import numpy as np

from backend.protocol.avatar import F32
from backend.protocol.errors import FaceError

from .frames import PersonFrames

THRESHOLD = 3.5
"""Millimetres between two fitted neutral faces, after the best rigid motion and scale, above which they are two people's."""


def check_one_person(frames: PersonFrames) -> None:
    """Compare each frame's own neutral head with the middle of all.

    Frames without a head of their own (a video that was tracked with one shape) are not compared.

    Raises:
        FaceError: names the frame that differs most, and by how much.
    """
    own = [(frame.name, frame.neutral) for frame in frames.frames if frame.neutral is not None]
    if len(own) < 2:
        return
    distances = np.array([[shape_distance(a, b) for _, b in own] for _, a in own])
    middle = int(np.argmin(np.median(distances, 1)))
    worst = int(np.argmax(distances[middle]))
    if distances[middle, worst] > THRESHOLD:
        apart = distances[middle, worst]
        raise FaceError(
            f"{own[worst][0]}: this head differs by {apart:.1f} mm from that of {own[middle][0]}; they look like two people",
            "leave out the pictures of the other person",
            {"frame": own[worst][0], "millimetres": round(float(apart), 2)},
        )


def shape_distance(a: F32, b: F32) -> float:
    """Millimetres (root mean square) between two heads [V, 3] in metres after the best similarity of b to a (Umeyama 1991)."""
    x, y = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    moved = (s * sign).sum() / max((y * y).sum(), 1e-12) * y @ (u * sign) @ vt
    return float(1000 * np.sqrt(((moved - x) ** 2).sum(1).mean()))
