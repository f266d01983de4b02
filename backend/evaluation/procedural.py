"""What procedural pictures of heads are made of: noise in space, polygons, supersampling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32
from backend.splats.cpu_threads import ranges, run, thread_count

from numba import njit  # isort: skip  (after backend.splats, which decides where machine code is kept)


def noise(points: F32, frequency: float, seed: int) -> F32:
    """[P] smooth noise of about unit size: two octaves of eight random waves; frequency in radians per metre."""
    rng = np.random.default_rng(seed)
    total = np.zeros(len(points), np.float32)
    points = np.ascontiguousarray(points)
    for octave in range(2):
        waves = (rng.normal(size=(8, 3)) * frequency * 2**octave).astype(np.float32)
        phase = rng.uniform(0, 6.28, 8).astype(np.float32)
        turns = (np.column_stack([waves, phase]) / (2 * np.pi)).astype(np.float32)
        add = lambda start, stop, turns=turns, octave=octave: _add_waves(points[start:stop], turns, _AMPLITUDE[octave], total[start:stop])
        run(add, ranges(len(points), 4 * thread_count()))
    return total


_AMPLITUDE = (np.float32(0.5 / 8**0.5), np.float32(0.5 / 8**0.5 / 1.6))
# Taylor coefficients of sin(2 pi t); 2e-5 off at half a turn.
_SINE = tuple(np.float32((-1) ** k * (2 * np.pi) ** (2 * k + 1) / math.factorial(2 * k + 1)) for k in range(7))


@njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def _add_waves(points, turns, amplitude, total):
    """total [P] += amplitude * sum over waves of sin(2 pi (turns . (point, 1))); a polynomial, because libm's sine is the whole cost."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        value = np.float32(0)
        for k in range(8):
            turn = turns[k, 0] * x + turns[k, 1] * y + turns[k, 2] * z + turns[k, 3]
            turn -= np.float32(np.floor(turn + np.float32(0.5)))
            square = turn * turn
            power = _SINE[6]
            power = power * square + _SINE[5]
            power = power * square + _SINE[4]
            power = power * square + _SINE[3]
            power = power * square + _SINE[2]
            power = power * square + _SINE[1]
            power = power * square + _SINE[0]
            value += power * turn
        total[i] += amplitude * value


def inside_polygon(polygon: NDArray, points: NDArray) -> NDArray[np.bool_]:
    """Even-odd rule: which of points [P, 2] lie inside polygon [K, 2]."""
    x, y = points.T
    inside = np.zeros(len(points), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, 1, 0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0 + 1e-12) + x0)
    return inside


def halve(image: F32) -> F32:
    """Mean of 2 x 2 blocks."""
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / np.float32(4)
