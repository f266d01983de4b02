"""The hair's volume: the scalp pushed outwards until its silhouette is the matte's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import Anatomy
from .labels import CLOTH, HAIR, Labels, collar_rows
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
LEVEL = 0.02
"""Metres: what lies behind the outline stands no higher than the outline's hair within so much of its height."""
THICK = 75
"""Percentile of the outline's heights that counts as the hair's thickness."""
NAPE_FADE = 0.045
"""Metres above the hairline of the nape within which the hair comes to its full height."""
FRONT_SHARE, FRONT_RAMP = 1.0, 0.007
"""Hair towards the camera stands as high as this share of the crown's, beginning so many metres behind the hairline."""
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
    front = _behind_hairline(neutral, posed[0], faces, movable & above, views[0], labels[0], anatomy)
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
        crown = _crown_height(total, count, above, anatomy)
        bound = _highest_behind(neutral, total, count, above, anatomy, crown)
        unmeasured = front * (count == 0)
        total += unmeasured * front * FRONT_SHARE * crown
        count += unmeasured
        held = MEASURED_WEIGHT * count + STILL_WEIGHT * still
        height = mesh.solve_symmetric(energy + sp.diags(held + 1e-6), (MEASURED_WEIGHT * total)[:, None])[:, 0]
        over = height > bound
        held, pull = held + MEASURED_WEIGHT * over, MEASURED_WEIGHT * (total + np.where(over, bound, 0))
        height = mesh.solve_symmetric(energy + sp.diags(held + 1e-6), pull[:, None])[:, 0]
        height = np.clip(height, low, high) * (anatomy.body > 0.5)
    return height.astype(np.float32)


def _crown_height(total: NDArray, count: NDArray, above: NDArray[np.bool_], anatomy: Anatomy) -> float:
    """Metres: how high the hair stands where the outline shows its thickness; at the temples it lies close."""
    measured = (count > 0) & above & (anatomy.scalp > 0.5)
    return max(float(np.percentile(total[measured] / count[measured], THICK)), 0.0) if measured.any() else 0.0


def _highest_behind(neutral: F32, total: NDArray, count: NDArray, above: NDArray[np.bool_], anatomy: Anatomy, crown: float) -> NDArray:
    """[V] upper bound of what no outline measured, metres: the bent membrane runs on upwards where it is held on one side only.

    Hair behind is as high as the crown's, or as the outline's at the same level where that is higher (long hair), and
    begins at the hairline of the nape.
    """
    bound = np.full(len(neutral), np.inf)
    measured = (count > 0) & above
    if not measured.any():
        return bound
    found, level = total[measured] / count[measured], neutral[measured, 1]
    hairline = neutral[anatomy.scalp > 0.5, 1].min() if (anatomy.scalp > 0.5).any() else neutral[:, 1].min()
    share = np.clip((neutral[:, 1] - hairline) / (NAPE_FADE * anatomy.unit), 0, 1)
    behind = (count == 0) & above & (anatomy.face < 0.05) & (neutral[:, 2] < neutral[measured, 2].max())
    reach = LEVEL * anatomy.unit
    rows = np.arange(level.min() - reach, level.max() + 2 * reach, reach / 4)
    near = np.abs(level - rows[:, None]) < reach
    beside = [float(np.median(found[row])) if row.any() else 0.0 for row in near]
    bound[behind] = np.maximum(crown * share, np.interp(neutral[:, 1], rows, beside, left=0.0, right=0.0))[behind]
    return bound


def _behind_hairline(
    neutral: F32, posed: F32, faces: NDArray, movable: NDArray[np.bool_], view: View, labels: Labels, anatomy: Anatomy
) -> F32:
    """[V] 0..1: hair that faces the camera, from 0 at the hairline to 1 some way behind it. No outline measures its height."""
    facing = view.camera.facing(posed, mesh.vertex_normals(posed, faces))
    seen = (anatomy.body > 0.5) & (facing > 0.2)
    hair = np.zeros(len(posed), bool)
    hair[seen] = view.at(labels.probability[..., HAIR] * view.matte, view.camera.project(posed[seen])[:, :2]) > 0.5
    bare = seen & ~hair
    if not bare.any() or not hair.any():
        return np.zeros(len(posed), np.float32)
    distance = np.asarray(KDTree(neutral[bare]).query(neutral)[0])
    return (np.clip(distance / (FRONT_RAMP * anatomy.unit), 0, 1) * (hair & movable)).astype(np.float32)


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
