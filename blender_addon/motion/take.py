"""A performance as arrays: what every reader gives and everything after it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..protocol import LookalikeError

F64 = NDArray[np.float64]

MAX_FRAMES = 216_000
"""An hour at 60 frames a second."""
MAX_BYTES = 1 << 29
MAX_GAP_SECONDS = 3600.0


class MotionError(LookalikeError):
    """A motion or cue file that is missing, corrupt, hostile, or not what it seems."""

    code = "motion"


@dataclass(frozen=True)
class Take:
    """T frames of one person.

    Attributes:
        kind: what it was read from, in words.
        source: file name.
        times: [T] seconds, increasing, the first is 0.
        fps: frames a second, as the file says or as its times show.
        arkit: [T] weight of each of ARKit's shapes that the file has, 0..1.
        expressions: [T] value of each other named expression: the rig's own names, or `expr000`.. of FLAME.
        pose: [T, 3] axis-angle of joints in their parent's frame, radians, +Y up, face along +Z; keys among JOINTS.
        warnings: what the user should know.
    """

    kind: str
    source: str
    times: F64
    fps: float
    arkit: dict[str, F64] = field(default_factory=dict)
    expressions: dict[str, F64] = field(default_factory=dict)
    pose: dict[str, F64] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.times)

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return float(self.times[-1])

    def map(self, function: Callable[[F64], F64], times: F64 | None = None) -> Take:
        """The take with `function` applied to every channel [T] or [T, 3]."""
        parts = {name: {key: function(values) for key, values in getattr(self, name).items()} for name in ("arkit", "expressions", "pose")}
        return replace(self, times=self.times if times is None else times, **parts)


JOINTS = ("neck", "jaw", "eye_left", "eye_right")


def checked(take: Take) -> Take:
    """The take with gaps filled: values that are not numbers are interpolated in time, and told.

    Raises:
        MotionError: no frames, too many, nothing in them, or times that are not increasing.
    """
    if not 0 < len(take) <= MAX_FRAMES:
        reason = "has no frames" if len(take) == 0 else f"has {len(take):,} frames; {MAX_FRAMES:,} can be read"
        raise MotionError(f"{take.source}: {reason}", "cut the take into parts" if len(take) else "record it again")
    if not (take.arkit or take.expressions or take.pose):
        raise MotionError(f"{take.source}: there is no motion in it that a face has", "check that it is the right file")
    steps = np.diff(take.times)
    if not np.isfinite(take.times).all() or (steps <= 0).any() or (steps > MAX_GAP_SECONDS).any() or not 0 < take.fps <= 1000:
        raise MotionError(f"{take.source}: its times do not increase", "give the frame rate, and its times are not used")
    return _without_gaps(take)


def _without_gaps(take: Take) -> Take:
    filled = dropped = 0
    parts: dict[str, dict[str, F64]] = {}
    for name in ("arkit", "expressions", "pose"):
        parts[name] = {}
        for key, values in getattr(take, name).items():
            bad = ~np.isfinite(values) | (np.abs(values) > 1e6)
            if bad.all(axis=0).any():
                dropped += 1
                continue
            filled += int(bad.sum())
            parts[name][key] = _interpolated(take.times, values, bad) if bad.any() else np.asarray(values, np.float64)
    notes = [f"{filled:,} values were not numbers: interpolated"] if filled else []
    notes += [f"{dropped} channels held no number: left out"] if dropped else []
    if not any(parts.values()):
        raise MotionError(f"{take.source}: holds no numbers", "record it again")
    return replace(take, **parts, warnings=(*take.warnings, *notes))


def _interpolated(times: F64, values: F64, bad: NDArray[np.bool_]) -> F64:
    columns, flags = values.reshape(len(values), -1), bad.reshape(len(values), -1)
    filled = [np.interp(times, times[~flag], column[~flag]) for column, flag in zip(columns.T, flags.T, strict=True)]
    return np.stack(filled, 1).reshape(values.shape)


def even_times(frames: int, fps: float) -> F64:
    """Times of frames at a constant rate."""
    return np.arange(frames) / fps
