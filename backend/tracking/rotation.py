"""Rotations as axis-angle vectors: the exponential map, its inverse and its derivative (Sola et al. 2018, appendix B)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def cross_matrix(v: F64) -> F64:
    """[..., 3] -> [..., 3, 3] with ``cross_matrix(v) @ u == cross(v, u)``."""
    x, y, z = np.moveaxis(np.asarray(v, np.float64), -1, 0)
    zero = np.zeros_like(x)
    return np.stack([np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2)


def rotation_matrix(axis_angle: F64) -> F64:
    """[3] radians -> [3, 3] (Rodrigues)."""
    angle = float(np.linalg.norm(axis_angle))
    k = cross_matrix(axis_angle)
    if angle < 1e-8:
        return np.eye(3) + k
    return np.eye(3) + np.sin(angle) / angle * k + (1 - np.cos(angle)) / angle**2 * k @ k


def axis_angle(rotation: F64) -> F64:
    """Inverse of `rotation_matrix`, for angles below pi."""
    skew = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]) / 2
    sine, cosine = float(np.linalg.norm(skew)), (np.trace(rotation) - 1) / 2
    angle = np.arctan2(sine, cosine)
    return skew if sine < 1e-9 else skew * (angle / sine)


def left_jacobian(axis_angle: F64) -> F64:
    """[3, 3]: a change d of the vector turns the result by ``left_jacobian @ d``, applied on the left."""
    angle = float(np.linalg.norm(axis_angle))
    k = cross_matrix(axis_angle)
    if angle < 1e-6:
        return np.eye(3) + k / 2
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * k + (angle - np.sin(angle)) / angle**3 * k @ k


def rotation_between(a: F64, b: F64) -> F64:
    """[3] axis-angle of the smallest rotation that takes direction `a` to direction `b`."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = float(np.linalg.norm(axis))
    return np.zeros(3) if sine < 1e-12 else axis * (np.arctan2(sine, float(a @ b)) / sine)
