"""Bake an avatar: ask its refiner for frames, let every level's splats become them, and say how near they came.

    plan -> shots -> level by level, the finest first: sweeps, descent, patterns, descent, verdict -> avatar

The finest level tells best which controls change colours: its mixing serves the others.
A level is changed only where frames that were held out got better by `LEAST_GAIN` dB.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backend.models.interface import Listener, Refining
from backend.personalize.ending import Enough
from backend.personalize.photometric import STOPPED, one_torch_thread
from backend.protocol.adapters import merge
from backend.protocol.avatar import F32, Avatar, SplatArrays
from backend.protocol.color_basis import MAX_PATTERNS, ColorBasis
from backend.protocol.errors import Cancelled, LookalikeError

from .descent import Descent
from .level import BakedLevel
from .plan import LEAST, controls_of, plan_frames
from .shots import Shot, psnr, take_shots

LEAST_GAIN = 0.05
"""dB by which held-out frames must get better."""
SHOTS_SHARE = 0.25
"""Part of the whole job that the refiner's pictures take."""
WEIGHTS = (1.0, 2.0, 5.0)
"""What each level costs, roughly."""
MAX_STEPS, MAX_SEED = 20000, 2**63 - 1
MIN_SIZE, MAX_SIZE = 32, 1024
MAX_PIXELS = 512 * 512 * 1024
"""Of all frames together, about 3 GB with what is kept of each pixel."""
TELLING = 1e-3
"""Shares of a control in a pattern below this part of the pattern's largest are left out."""


@dataclass(frozen=True)
class LevelReport:
    """PSNR of one level against the refined frames, dB, before and after, as `lookalike render` draws it.

    Attributes:
        learned, held_out: of the frames learned from, and of those set aside. Where the user ended it, the second of the former is
            None, not measured, and that of the latter is the descent's own figure.
        without_patterns: of the latter, with the baked colours of the neutral face alone; None as above.
        kept: False where held-out frames got no better, and the level was left as it was.
        ended: why the work on it ended.
    """

    level: int
    learned: tuple[float, float | None]
    held_out: tuple[float, float]
    without_patterns: float | None
    kept: bool
    ended: str


@dataclass(frozen=True)
class Baked:
    """The avatar, a report for each level that was worked on, and how many frames were learned from and held out."""

    avatar: Avatar
    reports: tuple[LevelReport, ...]
    frames: tuple[int, int]
    seconds: float
    stopped: bool
    """Whether the user ended it."""


class NoGainError(LookalikeError):
    """Held-out frames got no better on any level."""

    code = "no_improvement"


@dataclass
class _Work:
    """What is known so far: the avatar with the levels that are done, the mixing that the first of them found."""

    avatar: Avatar
    controls: tuple[str, ...]
    mixing: F32 | None = None
    stopped: bool = False
    reports: list[LevelReport] = field(default_factory=list)


def bake(
    model: Refining,
    avatar: Avatar,
    listener: Listener,
    *,
    levels: Sequence[int] | None = None,
    frames: int = 96,
    steps: int = 300,
    patterns: int = 6,
    size: int = 512,
    seed: int = 0,
    device: str = "cpu",
) -> Baked:
    """Turn what the refiner draws into the avatar's own splats.

    Args:
        model: whose avatar it is, with its features.
        listener: told of progress and of levels that are done; `Enough` raised by it keeps the best so far.
        levels: to bake; None bakes all.
        frames: refined pictures, a quarter of them held out.
        steps: of each level. patterns: of expression-dependent colour, 0 for none. size: most pixels a side.
    Returns:
        The avatar without features for the refiner: these belong to the splats that it had.
    Raises:
        RigError, WeightsError: as `Refining.refine`.
        LookalikeError: numbers out of range, or (code "no_improvement") no level got better.
        Cancelled: ended before there was anything better.
    """
    chosen = _checked(avatar, levels, frames, patterns)
    _check_numbers(frames, steps, size, seed)
    avatar = _merged(avatar)
    began = time.monotonic()
    share = _Part(listener)
    plan = plan_frames(avatar.rig, frames, seed)
    try:
        shots = take_shots(model, avatar, plan, size, share.of(0.0, SHOTS_SHARE))
    except Enough as error:
        raise Cancelled("the bake was ended before there was anything better") from error
    learned, held = ([s for s in shots if s.frame.held_out is out] for out in (False, True))
    work = _Work(replace(avatar, features={}, adapters=(), base=()), controls_of(avatar.rig))
    total, done = sum(WEIGHTS[i] for i in chosen), 0.0
    with one_torch_thread():
        for level in reversed(chosen):
            begin = SHOTS_SHARE + (1 - SHOTS_SHARE) * done / total
            done += WEIGHTS[level]
            part = share.of(begin, SHOTS_SHARE + (1 - SHOTS_SHARE) * done / total)
            try:
                report = _bake_level(work, avatar, level, learned, held, steps, patterns, device, part)
            except Enough:  # before there was anything to judge on this level: those that are done are kept
                work.stopped = True
                break
            work.reports.append(report)
            if report.kept:
                listener.lod(level, work.avatar.lods[level], work.avatar.shoulders)
            if work.stopped:
                break
    return _concluded(work, (len(learned), len(held)), time.monotonic() - began)


def _bake_level(
    work: _Work,
    given: Avatar,
    level: int,
    learned: list[Shot],
    held: list[Shot],
    steps: int,
    patterns: int,
    device: str,
    listener: _Part,
) -> LevelReport:
    told = lambda share, text: listener.progress(share, f"lod {level}", text)
    measured = lambda avatar, shots, share: psnr(avatar, level, shots, lambda: told(share, "compare"))
    before = measured(given, learned, 0.0), measured(given, held, 0.0)
    shoulders = not any(report.kept for report in work.reports)
    splats = BakedLevel(work.avatar, level, learned, held, work.controls, shoulders, device, lambda: told(0.0, "look"))
    descent = Descent(splats, patterns, work.mixing, told)
    start = descent.best.held_out
    best = descent.run(steps)
    work.stopped = descent.ended == STOPPED
    kept = best.held_out - start >= LEAST_GAIN
    if kept:
        written = splats.written(best.unknowns, best.colors)
        mixing = best.colors.mixing.cpu().numpy()
        _take(work, level, written, splats.head, mixing if best.colors.patterns.any() else None)
    after: tuple[float | None, float, float | None] = (None, best.held_out, None)
    if not work.stopped:
        try:
            plain = replace(work.avatar, color_basis=None)
            after = measured(work.avatar, learned, 1.0), measured(work.avatar, held, 1.0), measured(plain, held, 1.0)
        except Enough:  # the level is done: figures alone are missing
            work.stopped = True
    return LevelReport(level, (before[0], after[0]), (before[1], after[1]), after[2], kept, descent.ended)


def _take(work: _Work, level: int, written: SplatArrays, head: int, mixing: F32 | None) -> None:
    """Put a level's splats in the avatar; the mixing of the first one that has patterns serves all."""
    part = lambda rows, patterns: SplatArrays(
        *(np.ascontiguousarray(getattr(written, name)[rows]) for name in SplatArrays.__dataclass_fields__ if name != "patterns"),
        patterns=np.ascontiguousarray(written.patterns[rows]) if patterns else None,  # type: ignore[arg-type]
    )
    lods = tuple(part(slice(head), mixing is not None) if i == level else splats for i, splats in enumerate(work.avatar.lods))
    basis = work.avatar.color_basis
    if basis is None and mixing is not None:
        work.mixing = mixing
        basis = ColorBasis(work.controls, mixing)
    work.avatar = replace(work.avatar, lods=lods, shoulders=part(slice(head, None), False), color_basis=basis)


def _concluded(work: _Work, frames: tuple[int, int], seconds: float) -> Baked:
    if not any(report.kept for report in work.reports):
        if work.stopped:
            raise Cancelled("the bake was ended before there was anything better")
        words = ", ".join(f"level {r.level}: {r.held_out[0]:.2f} dB" for r in work.reports)
        raise NoGainError(
            f"held-out frames came no nearer to the refiner's than the avatar's own splats do ({words})",
            "bake with more frames or steps; the avatar stays as it is",
        )
    reports = sorted(work.reports, key=lambda report: report.level)
    told = {
        "levels": [
            {
                "level": r.level,
                "psnr_learned": [_rounded(x) for x in r.learned],
                "psnr_held_out": [round(x, 2) for x in r.held_out],
                "psnr_held_out_without_patterns": _rounded(r.without_patterns),
                "kept": r.kept,
                "ended": r.ended,
            }
            for r in reports
        ],
        "frames": {"learned": frames[0], "held_out": frames[1]},
        "seconds": round(seconds, 1),
    }
    avatar = replace(_telling(work.avatar), provenance={**work.avatar.provenance, "baked": told})
    return Baked(avatar, tuple(reports), frames, seconds, work.stopped)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _telling(avatar: Avatar) -> Avatar:
    """Without controls that no pattern's weight depends on noticeably."""
    basis = avatar.color_basis
    if basis is None:
        return avatar
    mixing = np.where(np.abs(basis.mixing) < TELLING * np.abs(basis.mixing).max(1, keepdims=True), 0, basis.mixing)
    used = np.abs(mixing).max(0) > 0
    names = tuple(name for name, one in zip(basis.controls, used, strict=True) if one)
    return replace(avatar, color_basis=ColorBasis(names, np.ascontiguousarray(mixing[:, used], np.float32)))


def _checked(avatar: Avatar, levels: Sequence[int] | None, frames: int, patterns: int) -> list[int]:
    if avatar.color_basis is not None:
        raise LookalikeError(f"{avatar.name}: is baked already", "bake the file that it was baked from")
    chosen = list(range(len(avatar.lods))) if levels is None else sorted(set(levels))
    if not chosen or not all(0 <= level < len(avatar.lods) for level in chosen):
        raise LookalikeError(f"{avatar.name}: has no level of detail {max(chosen, default=0)}", f"choose 0 to {len(avatar.lods) - 1}")
    if not LEAST <= frames <= 2000 or not 0 <= patterns <= MAX_PATTERNS:
        raise LookalikeError(f"{frames} frames, {patterns} patterns", f"choose {LEAST} to 2000 frames, 0 to {MAX_PATTERNS} patterns")
    return chosen


def _check_numbers(frames: int, steps: int, size: int, seed: int) -> None:
    """Raises LookalikeError where a number is out of range, or the pictures would not fit in memory."""
    if not 1 <= steps <= MAX_STEPS:
        raise LookalikeError(f"{steps} steps", f"choose 1 to {MAX_STEPS} steps")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise LookalikeError(f"pictures of {size} pixels a side", f"choose a size of {MIN_SIZE} to {MAX_SIZE}")
    if not 0 <= seed <= MAX_SEED:
        raise LookalikeError(f"seed {seed}", f"choose a seed of 0 to {MAX_SEED}")
    if frames * size**2 > MAX_PIXELS:
        fitting = MAX_PIXELS // size**2
        raise LookalikeError(
            f"{frames} frames of {size} x {size} pixels do not fit in memory", f"choose at most {fitting} frames, or a smaller size"
        )


def _merged(avatar: Avatar) -> Avatar:
    """Enabled adapters are part of what is baked: merged, the provenance tells of them. The others are left behind."""
    merged = avatar
    for adapter in avatar.adapters:
        if adapter.enabled:
            merged = merge(merged, adapter.name)
    return replace(merged, lods=avatar.lods, adapters=(), base=())


class _Part:
    """Listeners for parts of the job."""

    def __init__(self, listener: Listener, begin: float = 0.0, end: float = 1.0) -> None:
        self._listener, self._begin, self._end = listener, begin, end
        self.rig, self.lod = listener.rig, listener.lod

    def of(self, begin: float, end: float) -> _Part:
        return _Part(self._listener, begin, end)

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._listener.progress(self._begin + (self._end - self._begin) * fraction, stage, text)
