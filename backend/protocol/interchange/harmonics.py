"""Real spherical harmonics as 3DGS uses them, and turning them with their splat."""

from __future__ import annotations

import numpy as np

from ..avatar import F32


def rotate_harmonics(sh: F32, rotation: F32) -> F32:
    """Turn spherical-harmonic coefficients [N, K, 3] of degree 0..3 so that a splat rotated by `rotation` [3, 3] looks the same.

    Each band is closed under rotation: its matrix is the least-squares solution of Y(d) D = Y(R^-1 d) over more
    directions than the band has coefficients, exact to rounding. `rotation` may be a reflection.
    """
    degree = round(sh.shape[1] ** 0.5) - 1
    if degree == 0:
        return sh
    directions = np.random.default_rng(0).standard_normal((64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    here, there = harmonics(directions, degree), harmonics(directions @ np.asarray(rotation, np.float64), degree)
    turned = np.array(sh, np.float32)
    for band in range(1, degree + 1):
        columns = slice(band * band, (band + 1) * (band + 1))
        matrix = np.linalg.lstsq(here[:, columns], there[:, columns], rcond=None)[0]
        turned[:, columns] = np.einsum("ij,njc->nic", matrix, sh[:, columns])
    return turned


def harmonics(directions: np.ndarray, degree: int) -> np.ndarray:
    """Real spherical harmonics [M, (degree + 1)^2] of unit directions [M, 3], in 3DGS's order and signs (Kerbl et al. 2023)."""
    x, y, z = np.asarray(directions, np.float64).T
    xx, yy, zz = x * x, y * y, z * z
    terms = [np.full_like(x, 0.28209479177387814)]
    if degree > 0:
        terms += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree > 1:
        terms += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
    if degree > 2:
        terms += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * x * y * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return np.stack(terms, 1)
