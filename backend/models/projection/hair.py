"""The hair's volume: the scalp pushed outwards until its silhouette is the matte's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import ndimage

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import Anatomy
from .labels import CLOTH, Labels, collar_rows
from .view import View

MAX_HAIR = 0.10
"""Metres; hair beyond this is left to the shoulders' layer."""
SCALP_LEAST = -0.016
"""Metres; a skull narrower than the rig's."""
NECK_RANGE = (-0.026, 0.012)
"""How far the neck's sides may move to meet the matte, metres."""
STEP = 0.0007
INSET = 0.0035
"""Metres that the surface stays inside the matte's edge: splats reach beyond their centres."""
BACK_FLATNESS, NAPE_HOLLOW = 0.4, 0.006
"""Share of the height, and metres; measured against rendered heads seen from 30 and 45 degrees."""
_PASSES = 4
MEASURED_WEIGHT, STILL_WEIGHT = 12.0, 1e3
"""Against the membrane's cotangent weights, which are of order one."""


def raise_hair(
    neutral: F32,
    posed: Sequence[F32],
    faces: NDArray,
    anatomy: Anatomy,
    views: Sequence[View],
    labels: Sequence[Labels],
    ears: dict[str, bool],
) -> F32:
    """Displace scalp and neck along their normals so that the head's outline in each view is the matte's edge.

    Silhouette vertices are measured, the rest follows as a smooth membrane (harmonic with a little bending).

    Args:
        neutral: [V, 3] rest vertices without hair; faces: [F, 3].
        posed: rest vertices posed as in each view; labels: of each view's pixels.
        ears: which ears show: there the hair must not swallow them.
    Returns:
        [V] height along the rest normals, metres; 0 on the face.
    """
    stiffness, mass = mesh.cotangent_laplacian(neutral, faces)
    energy = stiffness + 2e-4 * stiffness.T @ (stiffness.multiply(1 / mass[:, None]))
    normals = mesh.vertex_normals(neutral, faces)
    still = _still_vertices(anatomy)
    movable = ~still & (anatomy.body > 0.5) & (anatomy.ears < 0.5)
    low, high = _reach(neutral, anatomy)
    high = np.where(_near_visible_ear(neutral, anatomy, ears), np.minimum(high, 0), high)
    above = anatomy.neck < 0.5
    undressed = [view.matte * (label.probability[..., CLOTH] < 0.5) for view, label in zip(views, labels, strict=True)]
    bare_neck = [
        np.where(np.arange(view.size)[:, None] < collar_rows(view, label)[None], bare, view.matte)
        for view, label, bare in zip(views, labels, undressed, strict=True)
    ]
    height = np.zeros(len(neutral))
    for _ in range(_PASSES):
        total, count = np.zeros(len(neutral)), np.zeros(len(neutral))
        for vertices, view, person, neck in zip(posed, views, undressed, bare_neck, strict=True):
            moved = (vertices + normals * height[:, None]).astype(np.float32)
            for part, picture in ((above, person), (~above, neck)):
                index, gap = _silhouette_gaps(moved, faces, movable & part, view, picture)
                target = height[index] + gap - INSET * anatomy.unit
                near = (target > low[index] - 0.01) & ((target < high[index] + 0.006) | (high[index] <= 0))
                index = index[near]
                total[index] += np.clip(target[near], low[index], high[index])
                count[index] += 1
        held = (MEASURED_WEIGHT * count + STILL_WEIGHT * still)[:, None]
        right = MEASURED_WEIGHT * total[:, None]
        height = mesh.solve_symmetric(energy + sp.diags(held[:, 0] + 1e-6), right)[:, 0]
        height = np.clip(height, low, high) * (anatomy.body > 0.5)
    facing = views[0].camera.facing(posed[0], mesh.vertex_normals(posed[0], faces))
    return (height - _flatter_back(height, facing, anatomy)).astype(np.float32)


def _flatter_back(height: NDArray, facing: F32, anatomy: Anatomy) -> NDArray:
    """[V] metres to take off behind the outline: hair lies flatter there than where it was measured, the nape is hollow."""
    backness = np.clip((-facing - 0.35) / 0.4, 0, 1) * ~_still_vertices(anatomy) * (anatomy.face < 0.05)
    nape = np.clip(1 - np.abs(anatomy.neck - 0.5) * 1.2, 0, 1) * (anatomy.neck > 0.02) * np.clip(1 - anatomy.base * 2, 0, 1)
    return backness * (BACK_FLATNESS * np.maximum(height, 0) + NAPE_HOLLOW * anatomy.unit * nape)


def _still_vertices(anatomy: Anatomy) -> NDArray[np.bool_]:
    """Face, inner parts and the neck's base keep their place; loose parts that are not skin as well."""
    return (anatomy.face > 0.25) | (anatomy.body < 0.5) | (anatomy.base > 0.6)


def _reach(neutral: F32, anatomy: Anatomy) -> tuple[NDArray, NDArray]:
    """[V] least and greatest height: the neck may shrink and hardly grow, the scalp grows up to `MAX_HAIR`."""
    unit = anatomy.unit
    neck = neutral[anatomy.neck > 0.5]
    if len(neck) == 0:
        return np.full(len(neutral), SCALP_LEAST * unit), np.full(len(neutral), MAX_HAIR * unit)
    above = (neutral[:, 1] - np.percentile(neck[:, 1], 95)) / (0.05 * unit)
    low = NECK_RANGE[0] + (SCALP_LEAST - NECK_RANGE[0]) * np.clip(above - 0.6, 0, 1)
    high = NECK_RANGE[1] + (MAX_HAIR - NECK_RANGE[1]) * np.clip(above, 0, 1)
    return low * unit, high * unit


def _near_visible_ear(neutral: F32, anatomy: Anatomy, ears: dict[str, bool]) -> NDArray[np.bool_]:
    """[V] around an ear that shows the outline is the ear's, so the head may shrink there but not grow over it."""
    near = np.zeros(len(neutral), bool)
    for side, sign in (("left", 1), ("right", 0)):
        own = (anatomy.ears > 0.5) & (anatomy.left == sign)
        if not ears[side] or not own.any():
            continue
        low, high = neutral[own].min(0), neutral[own].max(0)
        margin = np.array([1.0, 0.006, 0.012], np.float32) * anatomy.unit
        near |= (anatomy.left == sign) & ((neutral > low - margin) & (neutral < high + margin)).all(1)
    return near


def _silhouette_gaps(vertices: F32, faces: NDArray, movable: NDArray[np.bool_], view: View, person: F32) -> tuple[NDArray, NDArray]:
    """Vertices on the outline and their distance to the matte's edge along the outline's normal.

    Returns:
        index: [M] vertices; gap: [M] metres, positive where the matte reaches further out.
    """
    camera = view.camera
    normals = mesh.vertex_normals(vertices, faces)
    facing = camera.facing(vertices, normals)
    index = np.flatnonzero(movable & (np.abs(facing) < 0.35))
    pixels = camera.project(vertices[index])
    direction = (normals[index] @ camera.world_to_camera[:3, :3].T)[:, :2]
    direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
    per_metre = camera.focal / pixels[:, 2]
    steps = np.arange(-0.035, 0.1, STEP)
    start = int(np.searchsorted(steps, 0.0))
    path = pixels[:, None, :2] + direction[:, None] * (steps[None, :, None] * per_metre[:, None, None])
    inside_crop = ((path > 1) & (path < view.size - 2)).all(-1)
    on = view.at(person, path.reshape(-1, 2)).reshape(path.shape[:2]) > 0.5
    on = on | np.asarray(ndimage.binary_closing(on, np.ones((1, 5))), bool)
    leaves = np.where(on[:, start:].all(1), len(steps) - 1, start + (~on[:, start:]).argmax(1))
    enters = start - 1 - on[:, start - 1 :: -1].argmax(1)
    edge = np.where(on[:, start], leaves, enters)
    seen = inside_crop[np.arange(len(index)), edge] & (on[:, start] | on[:, :start].any(1))
    return index[seen], steps[edge[seen]]
