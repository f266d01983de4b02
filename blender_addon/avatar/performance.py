"""A short performance that shows what an avatar can do: turn, smile, blink, jaw, brows and gaze, keyed to be edited.

Few keys on eased curves, as an animator sets them: overlapping parts, a blink that hides each change of gaze, brows that
lead the mouth, a head that arrives after the eyes.
"""

from __future__ import annotations

import bpy
import numpy as np

from .build import BlenderAvatar
from .controls import expression_names
from .keyframes import key_expression, key_joint

Track = tuple[tuple[float, float], ...]
"""(time as a share of the performance, value) pairs."""

BLINK: Track = (
    (0.0, 0), (0.14, 0), (0.17, 1), (0.19, 1), (0.25, 0), (0.50, 0), (0.53, 1), (0.55, 1), (0.61, 0), (0.90, 0), (0.93, 1), (1.0, 0),
)  # fmt: skip
SMILE: Track = ((0.0, 0), (0.25, 0), (0.40, 1.0), (0.55, 0.9), (0.68, 0.1), (0.82, 0.35), (1.0, 0))
BROWS: Track = ((0.0, 0), (0.52, 0), (0.62, 0.9), (0.74, 0.7), (0.85, 0), (1.0, 0))

WITH_SMILE = {"cheekSquint": 0.6, "eyeSquint": 0.3, "mouthDimple": 0.4}
"""What a felt smile takes along, as a share of it."""

EXPRESSIONS: dict[str, Track] = {
    "eyeBlinkLeft": BLINK,
    "eyeBlinkRight": BLINK,
    "mouthSmile": SMILE,
    "mouthSmileLeft": SMILE,
    "mouthSmileRight": SMILE,
    **{f"{name}{side}": tuple((t, share * v) for t, v in SMILE) for name, share in WITH_SMILE.items() for side in ("Left", "Right")},
    "browInnerUp": BROWS,
    "browOuterUpLeft": BROWS,
    "browOuterUpRight": BROWS,
}
"""By ARKit's names; an avatar keys those it has."""

Turns = tuple[tuple[float, tuple[float, float, float]], ...]
"""(time, degrees about x (down, opens), y (to the subject's left), z) of a joint, +Y up."""

GAZE: Turns = (
    (0.00, (0, 0, 0)),
    (0.17, (0, 0, 0)),
    (0.21, (2, 18, 0)),
    (0.34, (0, 4, 0)),
    (0.51, (0, 2, 0)),
    (0.56, (-6, -17, 0)),
    (0.72, (-2, -4, 0)),
    (0.91, (0, 0, 0)),
    (1.00, (0, 0, 0)),
)
NECK: Turns = (
    (0.00, (0, 0, 0)),
    (0.17, (1, -2, 0)),
    (0.33, (2, 24, 2)),
    (0.50, (1, 20, 1)),
    (0.70, (-5, -22, -3)),
    (0.84, (-3, -16, -2)),
    (1.00, (0, 0, 0)),
)
JAW: Turns = ((0.0, (0, 0, 0)), (0.58, (0, 0, 0)), (0.68, (18, 0, 0)), (0.74, (15, 0, 0)), (0.82, (1, 0, 0)), (1.0, (0, 0, 0)))
JOINTS: dict[str, Turns] = {"neck": NECK, "jaw": JAW, "eye_left": GAZE, "eye_right": GAZE}


def key_demo_performance(avatar: BlenderAvatar, frames: int = 80, start: int = 1) -> tuple[int, int]:
    """Key the performance over `frames` frames from `start`; the avatar is neutral at both ends, so it loops.

    Returns:
        First and last frame, for the scene's range.
    """
    last = start + frames - 1
    have = set(expression_names(avatar.collection))
    for name, track in EXPRESSIONS.items():
        if name in have:
            times, values = np.array(track, np.float32).T
            key_expression(avatar, name, _frames(times, start, last), values)
    for joint, turns in JOINTS.items():
        times = np.array([time for time, _ in turns], np.float32)
        rotations = np.radians(np.array([degrees for _, degrees in turns], np.float32))
        key_joint(avatar, joint, _frames(times, start, last), rotations)
    return start, last


def key_performance(collection: bpy.types.Collection, start: int = 1, frames: int = 80) -> int:
    """`key_demo_performance` for an avatar's collection; returns the last frame."""
    return key_demo_performance(BlenderAvatar(collection.session_uid), frames, start)[1]


def _frames(times: np.ndarray, start: int, last: int) -> np.ndarray:
    """Whole frame numbers, increasing even where a short performance puts two keys on one."""
    frames = np.round(start + times * (last - start))
    return np.maximum.accumulate(frames + np.arange(len(frames)) * 1e-3).astype(np.float32) if (np.diff(frames) <= 0).any() else frames
