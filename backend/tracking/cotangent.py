"""The cotangent Laplacian of a triangle mesh."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def cotangent_laplacian(vertices: F64, faces: NDArray) -> tuple[sp.csr_matrix, F64]:
    """Stiffness [V, V] (positive semi-definite) and lumped vertex areas [V] (Botsch and Sorkine 2008, eq. 11)."""
    count = len(vertices)
    rows, columns, values = [], [], []
    area = np.zeros(count)
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = vertices[i] - vertices[o], vertices[j] - vertices[o]
        double_area = np.linalg.norm(np.cross(a, b), axis=1)
        cotangent = np.clip((a * b).sum(1) / np.maximum(double_area, 1e-14), -5, 20) / 2
        rows += [i, j]
        columns += [j, i]
        values += [cotangent, cotangent]
        np.add.at(area, o, double_area / 6)
    weights = sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), (count, count))
    laplacian = sp.csr_matrix(sp.diags(np.asarray(weights.sum(1)).ravel()) - weights)
    return laplacian, np.maximum(area, 1e-3 * area.mean())
