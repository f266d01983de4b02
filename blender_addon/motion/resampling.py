"""From a take's own times to the scene's frames, and smoothing on the way."""

from __future__ import annotations

import numpy as np

from .take import F64, Take


def to_frames(take: Take, fps: float) -> Take:
    """The take at every frame of `fps`: linear in between; where the take has more frames than that, each is the mean around it."""
    last = take.seconds * fps
    count = int(np.floor(last + 1e-6)) + 1
    times = np.arange(count) / fps
    width = take.fps / fps

    def resampled(values: F64) -> F64:
        columns = values.reshape(len(values), -1).T
        if width > 1.5:
            columns = [_averaged(column, max(1, round(width / 2))) for column in columns]
        return np.stack([np.interp(times, take.times, column) for column in columns], -1).reshape(count, *values.shape[1:])

    return take.map(resampled, times)


def _averaged(values: F64, reach: int) -> F64:
    """Mean over `reach` frames to either side, fewer towards the ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    reached = np.minimum(reach, np.minimum(at, at[::-1]))
    return (total[at + reached + 1] - total[at - reached]) / (2 * reached + 1)


def smoothed(take: Take, seconds: float) -> Take:
    """Without delay, and keeping the height of a blink: a Savitzky-Golay filter of second order (Savitzky and Golay 1964).

    Args:
        take: at a constant rate, as `to_frames` gives it.
        seconds: width of the window; less than three frames leave the take as it is.
    """
    step = float(take.times[1] - take.times[0]) if len(take) > 1 else 1.0
    window = min(2 * round(seconds / step / 2) + 1, len(take) - (1 - len(take) % 2))
    return take if window < 5 else take.map(lambda values: _savitzky_golay(values, window))


def _savitzky_golay(values: F64, window: int) -> F64:
    half = window // 2
    offsets = np.arange(-half, half + 1, dtype=float)
    basis = np.stack([offsets**k for k in range(3)], 1)
    fit = np.linalg.pinv(basis)
    columns = values.reshape(len(values), -1)
    result = np.empty_like(columns)
    for i, column in enumerate(columns.T):
        result[half : len(column) - half, i] = np.convolve(column, fit[0][::-1], "valid")
        # The ends, where the window does not fit: the polynomial of the outermost window.
        result[:half, i] = (basis @ (fit @ column[:window]))[:half]
        result[len(column) - half :, i] = (basis @ (fit @ column[-window:]))[half + 1 :]
    return result.reshape(values.shape)
