"""What MediaPipe's landmark net gets wrong about depth, taken out.

The net leans with the camera's height and with a smile, makes noses too long and every face a little like the mean one. How
much, follows from the landmarks themselves: a linear regression from the 478 landmarks to the missing depth, learned on
rendered heads of known shape (`backend.evaluation.depth_calibration` writes it).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from .portrait import F32, Face

F64 = NDArray[np.float64]

TABLE = Path(__file__).parent / "data" / "depth_regression.safetensors"

COUNT = 478
FOREHEAD, CHIN = 10, 152
RIGHT_IRIS, LEFT_IRIS = 468, 473
LIDS = {RIGHT_IRIS: (33, 159, 133, 145), LEFT_IRIS: (362, 386, 263, 374)}
"""Around each iris: it lies as deep as they do."""

UNUSUAL = 3.0
"""Standard deviations of a component beyond which a face says no more than one at that distance: outside of what was learned."""

SURE_YAW, LOST_YAW = np.radians(40.0), np.radians(65.0)
"""Up to here the correction counts whole, from there on not at all: the far half of a face is guessed, and was not learned from."""


@dataclass(frozen=True)
class DepthRegression:
    """Landmarks -> what is missing in their depth; all in distances between the eyes, in the picture turned upright.

    Attributes:
        mean: [478 * 3] the mean face.
        components: [K, 478 * 3] how faces differ from it, unit vectors; spread: [K] their standard deviations.
        missing: [468] what is missing on the mean; weights: [K, 468] and what each standard deviation adds.
    """

    mean: F64
    components: F64
    spread: F64
    missing: F64
    weights: F64

    def __call__(self, upright: F64) -> F64:
        """[468] for landmarks [478, 3] as `upright` gives them."""
        amount = self.components @ (upright.reshape(-1) - self.mean) / self.spread
        return self.missing + np.clip(amount, -UNUSUAL, UNUSUAL) @ self.weights

    def save(self, path: Path) -> None:
        """Write as safetensors, half precision."""
        save_file({name: np.ascontiguousarray(value, np.float16) for name, value in vars(self).items()}, path)


@lru_cache(maxsize=1)
def regression() -> DepthRegression:
    """The one that comes with the project."""
    arrays = load_file(TABLE)
    return DepthRegression(**{name: np.asarray(value, np.float64) for name, value in arrays.items()})


def upright(landmarks: F32) -> tuple[F64, float]:
    """Landmarks [478, 3] about their middle, without roll, in distances between the eyes; and that distance in pixels."""
    points = landmarks.astype(np.float64)
    unit = max(float(np.linalg.norm(points[RIGHT_IRIS] - points[LEFT_IRIS])), 1e-9)
    points = (points - points[:RIGHT_IRIS].mean(0)) / unit
    down = points[CHIN, :2] - points[FOREHEAD, :2]
    down = down / max(float(np.linalg.norm(down)), 1e-9)
    turn = np.array([[down[1], -down[0], 0.0], [down[0], down[1], 0.0], [0.0, 0.0, 1.0]])
    return points @ turn.T, unit


def corrected_depth(landmarks: F32) -> F32:
    """Landmarks [478, 3] as the net gave them, with what their depth lacks added to z."""
    points, unit = upright(landmarks)
    trust = float(np.clip((LOST_YAW - abs(Face(landmarks, 1.0, 1.0).yaw)) / (LOST_YAW - SURE_YAW), 0, 1))
    missing = trust * unit * regression()(points)
    result = landmarks.copy()
    result[:RIGHT_IRIS, 2] += missing
    for iris, lids in LIDS.items():
        result[iris : iris + 5, 2] += missing[list(lids)].mean()
    return result
