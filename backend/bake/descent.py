"""One level descends to the refined pictures: sweeps bring the colours near, then all unknowns go together; held-out frames decide."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from backend.personalize.photometric import FAINT, PULL, RATES, SILHOUETTE, STOPPED, Enough, schedule, turns
from backend.personalize.photometric_loss import photometric_loss
from backend.personalize.photometric_splats import Unknowns
from backend.protocol.avatar import F32

from .basis import Colors, first_guess
from .level import BakedLevel

GEOMETRY = ("shift", "turn", "stretch", "fade")
COLOR_RATES = {"tint": 0.01, "patterns": 0.01, "mixing": 0.002}
PATTERN_PULL = 0.02
"""Weight of the patterns' mean square: what no frame asks for does not grow."""
SWEEPS = 2
"""Passes over all frames that bring the colours near before the descent."""
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
        verdicts: held-out PSNR by step; losses: of each step; ended: why.
        best: what held-out frames liked most; at first the level as it was.
    """

    level: BakedLevel
    patterns: int
    mixing: F32 | None
    report: Report
    verdicts: list[tuple[int, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ended: str = ""

    def __post_init__(self) -> None:
        level = self.level
        mixing = torch.zeros(1, len(level.controls)) if self.mixing is None else torch.tensor(self.mixing)
        self.best = self._judged(level.zero(), Colors.zero(len(level.rgb), mixing.to(level.device)), 0)

    def run(self, steps: int) -> State:
        """The best state by the held-out frames. A listener's `Enough` ends the work with the best so far."""
        try:
            colors = self._swept()
            self._keep(self._judged(self.level.zero(), colors, 0))
            self._descend(steps, colors)
        except Enough:
            self.ended = STOPPED
        self.ended = self.ended or f"all {steps} steps were taken"
        return self.best

    def _judged(self, unknowns: Unknowns, colors: Colors, step: int) -> State:
        score = self.level.held_out(unknowns, colors)
        self.verdicts.append((step, score))
        return State(score, unknowns.copy(), colors.copy())

    def _keep(self, state: State) -> bool:
        """Whether it is the best so far."""
        better = state.held_out > self.best.held_out
        self.best = state if better else self.best
        return better

    def _swept(self) -> Colors:
        """Colours near the pictures by sweeps over all frames, and patterns from what is left."""
        level, colors = self.level, self.best.colors
        for sweep in range(SWEEPS):
            told = self._spread(colors, sweep)
            total = torch.stack([change * share[:, None] for change, share in told]).sum(0)
            shares = torch.stack([share for _, share in told]).sum(0)
            colors = replace(colors, tint=colors.tint + level.movable * total / shares.clamp_min(1e-3)[:, None])
        if not self.patterns:
            return colors
        told = self._spread(colors, SWEEPS)
        own = None if self.mixing is None else colors.mixing
        changes, shares = [change for change, _ in told], [share for _, share in told]
        tint, patterns, mixing = first_guess(changes, shares, level.values[: level.count], self.patterns, own)
        patterns = patterns * level.movable[..., None]
        patterns[level.head :] = 0
        return Colors(colors.tint + level.movable * tint, patterns, mixing)

    def _spread(self, colors: Colors, sweep: int) -> list[tuple[Tensor, Tensor]]:
        told = []
        for i in range(self.level.count):
            self.report(SWEEP_SHARE * (sweep + i / self.level.count), "colours")
            told.append(self.level.spread(i, colors))
        return told

    def _descend(self, steps: int, colors: Colors) -> None:
        level = self.level
        unknowns = level.zero()
        free = ("tint", "patterns", *(() if self.mixing is not None else ("mixing",))) if self.patterns else ("tint",)
        for name in free:
            getattr(colors, name).requires_grad_()
        optimizer = _adam(unknowns, colors, free)
        order, pause, waited = turns(level.count), max(1, steps // VERDICTS), 0
        before = SWEEP_SHARE * (SWEEPS + 1)
        for step in range(steps):
            self.report(before + (1 - before) * step / steps, f"step {step} of {steps}")
            loss = self._loss(next(order), unknowns, colors)
            value = float(loss.detach())
            if not math.isfinite(value):
                self.ended = f"the loss was not a number at step {step}; the last good state is kept"
                return
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            schedule(optimizer, step / steps)
            optimizer.step()
            self.losses.append(value)
            if (step + 1) % pause == 0 or step + 1 == steps:
                waited = 0 if self._keep(self._judged(unknowns, colors, step + 1)) else waited + 1
                if waited >= PATIENCE:
                    self.ended = f"held-out frames got no better for {waited * pause} steps"
                    return

    def _loss(self, index: int, unknowns: Unknowns, colors: Colors) -> Tensor:
        seen = self.level.seen[index]
        image, coverage = self.level.draw(index, unknowns, colors)
        loss = photometric_loss(image, seen.image, seen.weight)
        # On black a dark splat and none look alike: the outline stays the avatar's own.
        loss = loss + SILHOUETTE * ((coverage - seen.matte).abs() * seen.weight).sum() / seen.weight.sum().clamp(min=1)
        for name in GEOMETRY:
            loss = loss + PULL[name] * (getattr(unknowns, name) ** 2).mean()
        return loss + (PATTERN_PULL * (colors.patterns**2).mean() if self.patterns else 0)


def _adam(unknowns: Unknowns, colors: Colors, free: tuple[str, ...]) -> torch.optim.Adam:
    group = lambda tensor, rate, eps: {"params": [tensor], "lr": rate, "initial": rate, "eps": eps}
    groups = [group(getattr(unknowns, name), RATES[name], FAINT) for name in GEOMETRY]
    groups += [group(getattr(colors, name), COLOR_RATES[name], 1e-8 if name == "mixing" else FAINT) for name in free]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)
