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
TELLING = 1e-3
"""Shares of a control in a pattern below this part of the pattern's largest are left out."""


@dataclass(frozen=True)
class LevelReport:
    """PSNR of one level against the refined frames, dB, before and after, as `lookalike render` draws it.

    Attributes:
        learned, held_out: of the frames learned from, and of those set aside.
        without_patterns: of the latter, with the baked colours of the neutral face alone.
        kept: False where held-out frames got no better, and the level was left as it was.
        ended: why the work on it ended.
    """

    level: int
    learned: tuple[float, float]
    held_out: tuple[float, float]
    without_patterns: float
    kept: bool
    ended: str


@dataclass(frozen=True)
class Baked:
    """The avatar, a report for each level that was worked on, and how many frames were learned from and held out."""

    avatar: Avatar
    reports: tuple[LevelReport, ...]
    frames: tuple[int, int]
    seconds: float

    @property
    def stopped(self) -> bool:
        """Whether the user ended it."""
        return any(report.ended == STOPPED for report in self.reports)


class NoGainError(LookalikeError):
    """Held-out frames got no better on any level."""

    code = "no_improvement"


@dataclass
class _Work:
    """What is known so far: the avatar with the levels that are done, the mixing that the first of them found."""

    avatar: Avatar
    controls: tuple[str, ...]
    mixing: F32 | None = None
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
            _bake_level(work, avatar, level, learned, held, steps, patterns, device, part)
            if work.reports[-1].kept:
                listener.lod(level, work.avatar.lods[level], work.avatar.shoulders)
            if work.reports[-1].ended == STOPPED:
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
    listener: Listener,
) -> None:
    before = psnr(given, level, learned), psnr(given, level, held)
    shoulders = not any(report.kept for report in work.reports)
    splats = BakedLevel(work.avatar, level, learned, held, work.controls, shoulders, device)
    told = lambda share, text: listener.progress(share, f"lod {level}", text)
    descent = Descent(splats, patterns, work.mixing, told)
    start = descent.best.held_out
    best = descent.run(steps)
    kept = best.held_out - start >= LEAST_GAIN
    if kept:
        written = splats.written(best.unknowns, best.colors)
        mixing = best.colors.mixing.cpu().numpy()
        _take(work, level, written, splats.head, mixing if best.colors.patterns.any() else None)
    after = psnr(work.avatar, level, learned), psnr(work.avatar, level, held)
    plain = psnr(replace(work.avatar, color_basis=None), level, held)
    work.reports.append(LevelReport(level, (before[0], after[0]), (before[1], after[1]), plain, kept, descent.ended))


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
        if any(report.ended == STOPPED for report in work.reports):
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
                "psnr_learned": [round(x, 2) for x in r.learned],
                "psnr_held_out": [round(x, 2) for x in r.held_out],
                "psnr_held_out_without_patterns": round(r.without_patterns, 2),
                "kept": r.kept,
                "ended": r.ended,
            }
            for r in reports
        ],
        "frames": {"learned": frames[0], "held_out": frames[1]},
        "seconds": round(seconds, 1),
    }
    avatar = replace(_telling(work.avatar), provenance={**work.avatar.provenance, "baked": told})
    return Baked(avatar, tuple(reports), frames, seconds)


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


class _Part:
    """Listeners for parts of the job."""

    def __init__(self, listener: Listener, begin: float = 0.0, end: float = 1.0) -> None:
        self._listener, self._begin, self._end = listener, begin, end
        self.rig, self.lod = listener.rig, listener.lod

    def of(self, begin: float, end: float) -> _Part:
        return _Part(self._listener, begin, end)

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._listener.progress(self._begin + (self._end - self._begin) * fraction, stage, text)
