"""Whether frames show one person: by ArcFace where the user has its weights, else by the heads fitted to each frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32
from backend.protocol.errors import FaceError
from backend.rig import Rig

from .frames import Frame, PersonFrames

if TYPE_CHECKING:
    from backend.tracking.portrait import Portrait

SHAPE_LIMIT = 6.5
"""Millimetres between neutral heads that were fitted to one frame each, above which they are two people's.

Fits of single photos are that uncertain: of one person they lay 2.3 to 5.3 mm apart, of two 3.5 to 8.3 (12 pictures of 5
people, our own fit). So only clear cases are told; ArcFace tells the others.
"""
EMBEDDING_LIMIT = 0.75
"""1 - cosine of ArcFace embeddings; of two people it is about 1."""
LOOKED_AT = 16
"""Frames that are embedded, evenly spread."""

Embed = Callable[[Frame], NDArray | None]


def check_one_person(frames: PersonFrames, embed: Embed | None = None) -> None:
    """Compare each frame with the middle of all.

    Frames without a head of their own (a video that was tracked with one shape) are not compared by shape.

    Args:
        embed: unit vector of a frame's face, or None where no face is found; by default ArcFace's, if it is there.
    Raises:
        FaceError: names the frame that differs most, and by how much.
    """
    embed = embed or _arcface()
    if embed is not None:
        some = [frames.frames[i] for i in np.unique(np.linspace(0, len(frames.frames) - 1, LOOKED_AT).astype(int))]
        known = [(frame.name, vector) for frame in some if (vector := embed(frame)) is not None]
        _compare(known, lambda a, b: 1 - float(np.dot(a, b)), EMBEDDING_LIMIT, "{:.2f} of ArcFace's distance")
    own = [(frame.name, frame.neutral) for frame in frames.frames if frame.neutral is not None]
    if any(not np.array_equal(neutral, own[0][1]) for _, neutral in own):
        _compare(own, shape_distance, SHAPE_LIMIT, "{:.1f} mm of shape")


def check_portraits(portraits: Sequence[Portrait], embed: Callable[[F32], NDArray | None] | None = None) -> None:
    """Compare several portraits by ArcFace. Without its weights nothing is told: no shape was fitted to each, and other measures
    of single photos do not part people surely.

    Args:
        embed: unit vector of a picture's one face, or None where there is not one; by default ArcFace's, if it is there.
    Raises:
        FaceError: names the portrait that differs most, and by how much.
    """
    from .measures import arcface_embedding

    if len(portraits) < 2:
        return
    embed = embed or arcface_embedding()
    if embed is not None:
        known = [(p.name, vector) for p in portraits[:LOOKED_AT] if (vector := embed(p.image)) is not None]
        _compare(known, lambda a, b: 1 - float(np.dot(a, b)), EMBEDDING_LIMIT, "{:.2f} of ArcFace's distance")


def doubts(portraits: Sequence[Portrait], rig: Rig) -> list[str]:
    """Warnings where later portraits seem to show somebody else than the first; nothing where ArcFace has judged already.

    A `projection` avatar of the first is laid over each of the others, and the details of the face are compared: people in other
    photos of theirs have about 0.7, others 0.3, turning the head by 45 degrees costs 0.1. That is no proof, hence no error.
    """
    from backend.models.interface import Silent
    from backend.models.projection import Projection
    from backend.models.projection.anatomy import Anatomy

    from .measures import arcface_embedding
    from .photos import LIKENESS, likenesses, placed

    if len(portraits) < 2 or arcface_embedding() is not None:
        return []
    first = Projection().reconstruct(portraits[:1], rig, Silent())
    values = likenesses(first, [placed(p, first, rig, {}) for p in portraits[1:]], Anatomy.of(rig))
    return [
        f"{portrait.name} may show somebody else than {portraits[0].name}: details of the face agree by {value:.2f}, less than {LIKENESS}"
        for portrait, value in zip(portraits[1:], values, strict=True)
        if value < LIKENESS
    ]


def _compare(known: Sequence[tuple[str, NDArray]], distance: Callable[[NDArray, NDArray], float], limit: float, unit: str) -> None:
    if len(known) < 2:
        return
    apart = np.array([[distance(a, b) for _, b in known] for _, a in known])
    middle = int(np.argmin(np.median(apart, 1)))
    worst = int(np.argmax(apart[middle]))
    value = float(apart[middle, worst])
    if value > limit:
        raise FaceError(
            f"{known[worst][0]}: this face is {unit.format(value)} away from that of {known[middle][0]}; they look like two people",
            "leave out the pictures of the other person",
            {"frame": known[worst][0], "distance": round(value, 3), "limit": limit},
        )


def _arcface() -> Embed | None:
    from .measures import arcface_embedding

    embed = arcface_embedding()
    return None if embed is None else lambda frame: embed(frame.image)


def shape_distance(a: F32, b: F32) -> float:
    """Millimetres (root mean square) between two heads [V, 3] in metres after the best similarity of b to a (Umeyama 1991)."""
    x, y = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(y.T @ x)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    moved = (s * sign).sum() / max((y * y).sum(), 1e-12) * y @ (u * sign) @ vt
    return float(1000 * np.sqrt(((moved - x) ** 2).sum(1).mean()))
