"""One level descends to the refined pictures, and held-out frames decide on every turn.

Sweeps bring the colours near; colours and geometry that all faces share descend; patterns that follow the face are guessed from what is
left, as much as held-out frames agree with; then everything descends together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from backend.personalize.ending import Enough
from backend.personalize.photometric import FAINT, PULL, RATES, SILHOUETTE, STOPPED, schedule, turns
from backend.personalize.photometric_loss import photometric_loss
from backend.personalize.photometric_splats import Unknowns
from backend.protocol.avatar import F32

from .basis import RIDGES, Colors, first_guess
from .level import BakedLevel

GEOMETRY = ("shift", "turn", "stretch", "fade")
COLOR_RATES = {"tint": 0.01, "patterns": 0.01, "mixing": 0.002}
PATTERN_PULL = 0.02
"""Weight of the patterns' mean square: what no frame asks for does not grow."""
FIRST_SHARE = 0.25
"""Part of the steps without patterns: what they are to explain must not be what any face shares."""
SWEEPS = 2
"""Passes over all frames that bring the colours near before the descent."""
TELLING = 0.05
"""dB by which the first guess of patterns must help held-out frames, or colours do not follow the face at all. Where a finer level
has found that they do, any gain is enough: a coarse level's other errors hide it."""
SHARES = (0.75, 0.5, 0.25, 0.0)
"""Of the patterns, tried at the end."""
SWEEP_SHARE = 0.1
"""Part of a level's time that a pass takes."""
VERDICTS, PATIENCE = 12, 4
"""Verdicts in a level's steps, and how many without a new best end it."""

Report = Callable[[float, str], None]
"""Share of the level that is done, and words; may raise `Enough`."""


@dataclass(frozen=True)
class State:
    """Unknowns of a level, and the PSNR of the held-out frames with them, dB."""

    held_out: float
    unknowns: Unknowns
    colors: Colors


@dataclass
class Descent:
    """The work on one level.

    Attributes:
        patterns: most patterns of colour.
        mixing: [K, C] of a level that was done before, to keep; None finds it.
        verdicts: held-out PSNR by step; losses: of each step; ended: why. done: share of the level.
        best: what held-out frames liked most; at first the level as it was.
    """

    level: BakedLevel
    patterns: int
    mixing: F32 | None
    report: Report
    verdicts: list[tuple[int, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ended: str = ""
    done: float = 0.0

    def __post_init__(self) -> None:
        level = self.level
        mixing = torch.zeros(1, len(level.controls)) if self.mixing is None else torch.tensor(self.mixing)
        self.best = self._judged(level.zero(), Colors.zero(len(level.rgb), mixing.to(level.device)), 0)

    def run(self, steps: int) -> State:
        """The best state by the held-out frames. A listener's `Enough` ends the work with the best so far."""
        first = steps if not self.patterns else max(1, round(FIRST_SHARE * steps))
        try:
            swept = self._swept()
            self._keep(self._judged(self.level.zero(), swept, 0))
            self._descend(range(first), steps, self.best, ("tint",))
            if first < steps:
                found = self._patterned()
                self._descend(range(first, steps), steps, found, self._free(found))
                self._shrink()
        except Enough:
            self.ended = STOPPED
        self.ended = self.ended or f"all {steps} steps were taken"
        return self.best

    def _judged(self, unknowns: Unknowns, colors: Colors, step: int) -> State:
        score = self.level.held_out(unknowns, colors, lambda: self.report(self.done, "held-out frames"))
        self.verdicts.append((step, score))
        return State(score, unknowns.copy(), colors.copy())

    def _keep(self, state: State) -> bool:
        """Whether it is the best so far."""
        better = state.held_out > self.best.held_out
        self.best = state if better else self.best
        return better

    def _swept(self) -> Colors:
        """Colours near the pictures, whatever the face, by sweeps over all frames."""
        level, colors = self.level, self.best.colors
        for sweep in range(SWEEPS):
            told = self._spread(level.zero(), colors, SWEEP_SHARE * sweep)
            total = torch.stack([change * share[:, None] for change, share in told]).sum(0)
            shares = torch.stack([share for _, share in told]).sum(0)
            colors = replace(colors, tint=colors.tint + level.movable * total / shares.clamp_min(1e-3)[:, None])
        return colors

    def _patterned(self) -> State:
        """The best state with patterns from what it leaves, held back as held-out frames like it; without, where they like none."""
        level, plain = self.level, self.best
        learned = slice(level.count)
        for sweep in range(SWEEPS):
            best = self.best
            told = self._spread(best.unknowns, best.colors, SWEEP_SHARE * SWEEPS)
            changes, shares = [change for change, _ in told], [share for _, share in told]
            own = best.colors.mixing if sweep or self.mixing is not None else None
            for ridge in RIDGES:
                patterns, mixing = first_guess(changes, shares, level.values[learned], level.views[learned], self.patterns, own, ridge)
                patterns = patterns * level.movable[..., None]
                patterns[level.head :] = 0
                total = patterns + best.colors.patterns if sweep else patterns
                self._keep(self._judged(best.unknowns, Colors(best.colors.tint, total, mixing), len(self.losses)))
            if self.best.held_out - plain.held_out < (TELLING if self.mixing is None else 0):
                self.best = plain
                break
        return self.best

    def _shrink(self) -> None:
        """Less of the patterns, or none, where held-out frames like that more: learned frames ask for too much of them."""
        state = self.best
        for share in SHARES if state.colors.patterns.any() else ():
            weaker = replace(state.colors, patterns=share * state.colors.patterns)
            self._keep(self._judged(state.unknowns, weaker, len(self.losses)))

    def _free(self, state: State) -> tuple[str, ...]:
        """Colours that go on: patterns where there are any, and their mixing where no other level has fixed it."""
        if not state.colors.patterns.any():
            return ("tint",)
        return ("tint", "patterns") if self.mixing is not None else ("tint", "patterns", "mixing")

    def _spread(self, unknowns: Unknowns, colors: Colors, done: float) -> list[tuple[Tensor, Tensor]]:
        told = []
        for i in range(self.level.count):
            self.done = done + SWEEP_SHARE * i / self.level.count
            self.report(self.done, "colours")
            told.append(self.level.spread(i, unknowns, colors))
        return told

    def _descend(self, span: range, steps: int, start: State, free: tuple[str, ...]) -> None:
        """Some of all the steps, from a state on."""
        level = self.level
        unknowns, colors = start.unknowns.copy().map(lambda t: t.requires_grad_()), start.colors.copy()
        for name in free:
            getattr(colors, name).requires_grad_()
        optimizer = _adam(unknowns, colors, free)
        order, pause, waited = turns(level.count), max(1, steps // VERDICTS), 0
        before = SWEEP_SHARE * (SWEEPS + 1)
        for step in span:
            self.done = before + (1 - before) * step / steps
            self.report(self.done, f"step {step} of {steps}")
            loss = self._loss(next(order), unknowns, colors)
            value = float(loss.detach())
            if not math.isfinite(value):
                self.ended = f"the loss was not a number at step {step}; the last good state is kept"
                return
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            schedule(optimizer, (step - span.start) / len(span))
            optimizer.step()
            self.losses.append(value)
            if (step + 1 - span.start) % pause == 0 or step + 1 == span.stop:
                waited = 0 if self._keep(self._judged(unknowns, colors, step + 1)) else waited + 1
                if waited >= PATIENCE:
                    self.ended = f"held-out frames got no better for {waited * pause} steps"
                    return

    def _loss(self, index: int, unknowns: Unknowns, colors: Colors) -> Tensor:
        seen = self.level.seen[index]
        image, coverage = self.level.draw(index, unknowns, colors)
        loss = photometric_loss(image, seen.reference, seen.weight)
        # On black a dark splat and none look alike: the outline stays the avatar's own.
        loss = loss + SILHOUETTE * ((coverage - seen.matte).abs() * seen.weight).sum() / seen.weight.sum().clamp(min=1)
        for name in GEOMETRY:
            loss = loss + PULL[name] * (getattr(unknowns, name) ** 2).mean()
        return loss + PATTERN_PULL * (colors.patterns**2).mean()


def _adam(unknowns: Unknowns, colors: Colors, free: tuple[str, ...]) -> torch.optim.Adam:
    group = lambda tensor, rate, eps: {"params": [tensor], "lr": rate, "initial": rate, "eps": eps}
    groups = [group(getattr(unknowns, name), RATES[name], FAINT) for name in GEOMETRY]
    groups += [group(getattr(colors, name), COLOR_RATES[name], 1e-8 if name == "mixing" else FAINT) for name in free]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
