"""Regression of joints from vertices, so that joints follow a change of identity."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def regressor_row(vertices: NDArray[Any], support: NDArray[Any], joint: Any) -> NDArray[np.float64]:
    """[V] weights with sum 1 on the vertices `support` that give the point `joint` exactly; the smallest such weights."""
    points = vertices[support].astype(np.float64)
    system = np.vstack([points.T, np.ones(len(support))])
    row = np.zeros(len(vertices))
    row[support] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    return row
