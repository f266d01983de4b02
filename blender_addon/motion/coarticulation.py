"""Mouth cues as overlapping stretches: shapes flow into each other, lips close where they must, and short vowels are not reached in full.

A simple dominance model after Cohen and Massaro (1993): each shape leads its sound by a time of its own, rounding the most; between
two cues one fades as the other comes, so that weights always add up to no more than one. Closures (P, B, M, F, V) are always
reached; other shapes that last too briefly for a mouth are reached in part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .cues import Cue

LEAD = {"A": 0.06, "B": 0.07, "C": 0.08, "D": 0.09, "E": 0.11, "F": 0.13, "G": 0.06, "H": 0.07, "X": 0.10}
"""Seconds by which a shape begins before its sound: rounded lips are prepared early, closures come late and fast."""
NEEDED = {"A": 0.0, "B": 0.05, "C": 0.09, "D": 0.12, "E": 0.10, "F": 0.09, "G": 0.0, "H": 0.07, "X": 0.0}
"""Seconds that a shape must last to be reached in full; 0: always reached."""
LEAST = 0.45
"""Even the shortest cue shows this much of its shape."""
REST = "X"


@dataclass(frozen=True)
class Stretch:
    """A shape that comes, stays and goes: linear from 0 at `start` to `weight` at `full`, until `fading`, to 0 at `end`. Seconds."""

    shape: str
    start: float
    full: float
    fading: float
    end: float
    weight: float


def stretches(cues: Sequence[Cue], amount: float = 1.0) -> list[Stretch]:
    """The cues, overlapping; rest leaves a gap that the neighbours fade into.

    Args:
        amount: of coarticulation: 1 as modelled, 0 switches from shape to shape within a hundredth of a second.
    """
    merged = _merged(cues)
    fades = [_fade(before, after, amount) for before, after in pairwise(merged)]
    first, last = merged[0], merged[-1]
    lead = max(0.01, LEAD[first.shape] * amount)
    opening = (max(0.0, first.start - lead), max(first.start, 0.01))
    closing = (last.end, last.end + max(0.01, LEAD[REST] * amount))
    edges = [opening, *fades, closing]
    found = []
    for cue, coming, going in zip(merged, edges[:-1], edges[1:], strict=True):
        if cue.shape != REST:
            found.append(Stretch(cue.shape, coming[0], coming[1], going[0], going[1], _reached(cue, amount)))
    return found


def weights_at(found: Sequence[Stretch], time: float) -> dict[str, float]:
    """Weight of each shape at a moment; what does not show is left out."""
    weights: dict[str, float] = {}
    for s in found:
        if s.start < time < s.end:
            rising = (time - s.start) / (s.full - s.start) if time < s.full else 1.0
            falling = (s.end - time) / (s.end - s.fading) if time > s.fading else 1.0
            weights[s.shape] = weights.get(s.shape, 0.0) + s.weight * min(rising, falling)
    return weights


def _merged(cues: Sequence[Cue]) -> list[Cue]:
    """Neighbours of one shape as one; silence between cues as rest."""
    merged: list[Cue] = []
    for cue in cues:
        if merged and cue.start - merged[-1].end > 1e-3:
            merged.append(Cue(merged[-1].end, cue.start, REST))
        if merged and merged[-1].shape == cue.shape:
            merged[-1] = Cue(merged[-1].start, cue.end, cue.shape)
        else:
            merged.append(cue)
    return merged


def _fade(before: Cue, after: Cue, amount: float) -> tuple[float, float]:
    """When one shape turns into the next: begins by the next one's lead and ends soon after the sound; at most half of either cue."""
    lead = max(0.005, LEAD[after.shape] * amount)
    start = max(after.start - lead, before.start + (before.end - before.start) / 2)
    end = min(after.start + max(0.005, lead / 3), after.start + (after.end - after.start) / 2)
    return min(start, after.start - 1e-3), max(end, after.start + 1e-3)


def _reached(cue: Cue, amount: float) -> float:
    needed = NEEDED[cue.shape] * amount
    lasts = cue.end - cue.start
    return 1.0 if lasts >= needed else max(LEAST, lasts / needed)
