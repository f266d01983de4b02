"""Fewer keys, within a stated error: what straight lines between the kept keys miss is nowhere more than that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .take import F64


def kept_keys(values: F64, tolerance: float) -> NDArray[np.intp]:
    """Indices of the keys to keep, the first and last among them (Ramer 1972, Douglas and Peucker 1973, by vertical distance).

    A channel that stays within `tolerance` of one value keeps one key.

    Args:
        values: [T] one a frame.
        tolerance: largest error, in the values' unit; 0 keeps all.
    """
    count = len(values)
    if tolerance <= 0 or count < 2:
        return np.arange(count)
    if np.ptp(values) <= tolerance:
        return np.array([0])
    keep = np.zeros(count, bool)
    keep[[0, -1]] = True
    spans = [(0, count - 1)]
    while spans:
        start, end = spans.pop()
        if end - start < 2:
            continue
        line = np.linspace(values[start], values[end], end - start + 1)
        miss = np.abs(values[start : end + 1] - line)
        worst = int(miss.argmax())
        if miss[worst] > tolerance:
            keep[start + worst] = True
            spans += [(start, start + worst), (start + worst, end)]
    return np.flatnonzero(keep)


def largest_error(values: F64, kept: NDArray[np.intp]) -> float:
    """What straight lines between kept keys miss at most."""
    return float(np.abs(values - np.interp(np.arange(len(values)), kept, values[kept])).max())
