"""Landmarks for rigs that come without them: the tracker looks at clay renders of the template and says where they are.

A user's FLAME has no MediaPipe landmarks, other rigs have only some. The template is rendered from several sides, the
tracker's landmark net runs on every picture, each landmark is traced back to the surface, and the median of the views
is taken. The net's own idea of where a landmark lies is just what a fit to photos needs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import ndimage
from scipy.spatial import KDTree

from backend.protocol.errors import RigError
from backend.rig.builtin.disk_cache import cache_folder, write
from backend.rig.builtin.landmarks import neutral_landmarks
from backend.rig.rig import Rig
from backend.rig.skinning import skin

from .clay import SIZE, SUPERSAMPLING, ClayView, clay_view
from .mesh import LEFT_IRIS, RIGHT_IRIS, SURFACE
from .tracker import Tracker, default_tracker

F64 = NDArray[np.float64]
Embedding = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
"""Landmark index [L], face [L] and barycentric coordinates [L, 3], as `Rig.landmark_embedding`."""

VIEWS = ((0, 0), (-12, 0), (12, 0), (-20, 0), (20, 0), (0, -12), (0, 12))
"""Yaw and pitch in degrees."""
OPEN_VIEWS = ((0, 0), (-12, 0), (12, 0))
OPEN_JAW = 0.22
"""Radians. Closed lips look like one line; only an open mouth tells the upper lip's edge from the lower lip's."""
MIN_VIEWS = 3
MIN_FACING = 0.2
"""Least cosine of a surface towards the camera at which a view's word counts, where any view has a better one."""
SYMMETRIC = 0.0015
"""Metres; a template whose mirror image lies this close to itself has symmetric landmarks."""
CANDIDATES = 48

UPPER_LIP = (80, 81, 82, 13, 312, 311, 310)
LOWER_LIP = (88, 178, 87, 14, 317, 402, 318)
"""The inner lips' edges; their corners, where the lips meet, are left out."""
VERSION = b"landmark embedding 1"
EMBEDDING_FILE = "mediapipe_landmark_embedding.npz"

_log = logging.getLogger(__name__)


def with_landmarks(rig: Rig, tracker: Tracker | None = None) -> Rig:
    """The rig with all of MediaPipe's surface landmarks and the irises' centres.

    Those it has keep their place; the others are measured on its template, once for each mesh: the result is kept in
    the user's cache folder. A rig that has them all comes back as it is.

    Args:
        tracker: finds the face in the renders; by default the default tracker, made only where it is needed.
    Raises:
        RigError: no face is recognised in the rendered template.
        WeightsError: the default tracker's nets are not installed.
    """
    index, face, barycentric = known = _known(rig)
    missing = np.setdiff1d(np.arange(SURFACE), index)
    if not len(missing):
        return rig
    found = _cached(rig, tracker)
    added = ~np.isin(found[0], index)
    _log.info("rig %s: %d landmarks known, %d measured on its template", rig.rig_id, len(index), added.sum())
    joined = [np.concatenate([own, measured[added]]) for own, measured in zip(known, found, strict=True)]
    return replace(rig, landmarks=None, landmark_embedding=(joined[0], joined[1], joined[2]))


def measure_landmarks(rig: Rig, tracker: Tracker) -> Embedding:
    """Find all surface landmarks and the irises' centres on a rig's template; 1 to 3 s.

    Raises:
        RigError: fewer than `MIN_VIEWS` of the renders show a face.
    """
    inside = _faces_of(rig, ("mouth_cavity", "tongue", "teeth_upper", "teeth_lower"))
    eyeballs = _by_joint(rig, ("eye_left", "eye_right")) > 0.5
    surface = ~(inside | eyeballs)
    allowed = [surface, *(_or(surface & lip, surface) for lip in _lips(rig))]
    group = np.zeros(SURFACE, np.int64)
    group[list(UPPER_LIP)], group[list(LOWER_LIP)] = 1, 2

    views = [clay_view(rig, rig.template, yaw, pitch, inside) for yaw, pitch in VIEWS]
    points, visible = _trace_all(rig, views, tracker, allowed, group)
    if len(points) < MIN_VIEWS:
        raise RigError(
            f"rig {rig.rig_id}: no face is recognised in its rendered template, so its landmarks cannot be found",
            f"put FLAME's {EMBEDDING_FILE}, or one made for this rig, beside the rig's file",
        )
    place = _median(points, visible)
    opened = _opened(rig)
    lips = [*UPPER_LIP, *LOWER_LIP]
    open_views = [clay_view(rig, opened, yaw, pitch, inside) for yaw, pitch in OPEN_VIEWS]
    open_points, open_visible = _trace_all(rig, open_views, tracker, allowed, group)
    if len(open_points):
        place[lips] = _median(open_points, open_visible)[lips]
    if _is_symmetric(rig):
        place = (place + place[neutral_landmarks().mirror] * [-1, 1, 1]) / 2
    shown = _shown(rig, [*views, *open_views])
    face, barycentric = np.zeros(SURFACE, np.int32), np.zeros((SURFACE, 3), np.float32)
    for number, faces in enumerate(allowed):
        own = group == number
        face[own], barycentric[own] = nearest_on_surface(rig.template, rig.faces, np.flatnonzero(_or(faces & shown, faces)), place[own])
    irises = _irises(rig)
    return tuple(np.concatenate(pair) for pair in zip((np.arange(SURFACE, dtype=np.int32), face, barycentric), irises, strict=True))  # type: ignore[return-value]


def nearest_on_surface(vertices: NDArray, faces: NDArray, chosen: NDArray, points: F64) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The nearest point of some triangles to each point.

    Args:
        vertices: [V, 3]; faces: [F, 3]; chosen: [C] the faces that count.
        points: [N, 3].
    Returns:
        face [N], barycentric [N, 3].
    """
    corners = vertices[faces[chosen]].astype(np.float64)
    count = min(CANDIDATES, len(chosen))
    _, near = KDTree(corners.mean(1)).query(points, count)
    near = near.reshape(len(points), count)
    barycentric = _nearest_in_triangle(corners[near], points[:, None])
    distance = np.linalg.norm((barycentric[..., None] * corners[near]).sum(2) - points[:, None], axis=-1)
    best = distance.argmin(1)
    rows = np.arange(len(points))
    return chosen[near[rows, best]].astype(np.int32), barycentric[rows, best].astype(np.float32)


def _nearest_in_triangle(corners: F64, points: F64) -> F64:
    """Barycentric coordinates [..., 3] of the point of each triangle [..., 3, 3] that is nearest to `points` [..., 3].

    The foot of the perpendicular where it lies inside, else the best of the three edges' nearest points.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-24)
    second, third = (vv * uw - uv * vw) / area, (uu * vw - uv * uw) / area
    options = [np.stack([1 - second - third, second, third], -1)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = corners[..., j, :] - corners[..., i, :]
        along = ((points - corners[..., i, :]) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-24)
        option = np.zeros_like(options[0])
        option[..., j] = np.clip(along, 0, 1)
        option[..., i] = 1 - option[..., j]
        options.append(option)
    stacked = np.stack(options)
    distance = np.linalg.norm((stacked[..., None] * corners).sum(-2) - points, axis=-1)
    distance[0] = np.where((options[0] >= 0).all(-1), distance[0], np.inf)
    return np.asarray(np.take_along_axis(stacked, distance.argmin(0)[None, ..., None], 0)[0])


def _trace_all(
    rig: Rig, views: Sequence[ClayView], tracker: Tracker, allowed: Sequence[NDArray[np.bool_]], group: NDArray[np.int64]
) -> tuple[F64, F64]:
    """Rest positions [N, 468, 3] of the landmarks in the N views that show a face, and the surface's facing there [N, 468]."""
    points, facing = [], []
    for view in views:
        faces = tracker.faces(view.image)
        if faces:
            pixels = max(faces, key=lambda f: f.width).landmarks[:SURFACE, :2] * SUPERSAMPLING
            place, toward = _trace(rig, view, pixels, allowed, group)
            points.append(place)
            facing.append(toward)
    return np.array(points), np.array(facing)


def _trace(
    rig: Rig, view: ClayView, pixels: NDArray, allowed: Sequence[NDArray[np.bool_]], group: NDArray[np.int64]
) -> tuple[F64, F64]:
    """Rest positions [468, 3] and facing [468] of what lies under the landmarks; beside the allowed surface, its nearest pixel."""
    at = np.clip(pixels.astype(int), 0, SIZE * SUPERSAMPLING - 1)
    column, row = at.T.copy()
    for number, faces in enumerate(allowed):
        own = group == number
        usable = (view.facing > 0) & (view.face_id >= 0) & faces[view.face_id]
        if usable.any():
            nearest = ndimage.distance_transform_edt(~usable, return_distances=False, return_indices=True)
            row[own], column[own] = nearest[:, at[own, 1], at[own, 0]]
    corners = rig.template[rig.faces[view.face_id[row, column]]].astype(np.float64)
    return (view.barycentric[row, column][..., None] * corners).sum(1), view.facing[row, column].astype(np.float64)


def _median(points: F64, facing: F64) -> F64:
    """[468, 3] median over the views [N, 468, 3] that see the surface well; over all where none does."""
    good = facing > MIN_FACING
    good |= ~good.any(0)
    return np.nanmedian(np.where(good[..., None], points, np.nan), axis=0)


def _opened(rig: Rig) -> NDArray[np.float32]:
    """[V, 3] the template with its mouth open."""
    pose = np.zeros((len(rig.joint_names), 3))
    pose[rig.joint_names.index("jaw"), 0] = OPEN_JAW
    return np.asarray(skin(rig, np.zeros(1), np.zeros(1), pose), np.float32)


def _lips(rig: Rig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[F] faces that stay with the skull, and those that go with the jaw."""
    jaw = _by_joint(rig, ("jaw",))
    return jaw < 0.5, jaw >= 0.5


def _by_joint(rig: Rig, names: Sequence[str]) -> F64:
    """[F] mean skinning weight of the named joints."""
    columns = [rig.joint_names.index(name) for name in names if name in rig.joint_names]
    return rig.weights[:, columns].sum(1)[rig.faces].mean(1).astype(np.float64)


def _faces_of(rig: Rig, labels: Sequence[str]) -> NDArray[np.bool_]:
    """[F] faces all of whose corners carry one of the labels that the rig has."""
    marked = np.zeros(len(rig.template), bool)
    for name in labels:
        marked[rig.labels.get(name, [])] = True
    return marked[rig.faces].all(1)


def _shown(rig: Rig, views: Sequence[ClayView]) -> NDArray[np.bool_]:
    """[F] faces whose front some view shows."""
    shown = np.zeros(len(rig.faces), bool)
    for view in views:
        shown[view.face_id[(view.facing > 0) & (view.face_id >= 0)]] = True
    return shown


def _or(chosen: NDArray[np.bool_], otherwise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return chosen if chosen.any() else otherwise


def _is_symmetric(rig: Rig) -> bool:
    """Whether the rig says so, or its template nearly is its own mirror image."""
    if rig.mirror is not None:
        return True
    distance, _ = KDTree(rig.template).query(rig.template * np.float32([-1, 1, 1]))
    return bool(np.percentile(distance, 90) < SYMMETRIC)


def _irises(rig: Rig) -> Embedding:
    """The point of each eyeball straight ahead of its joint; nothing where the rig has no eyeballs."""
    index, face, barycentric = [], [], []
    for name, iris in (("eye_right", RIGHT_IRIS), ("eye_left", LEFT_IRIS)):
        ball = np.flatnonzero(_by_joint(rig, (name,)) > 0.99)
        if not len(ball):
            continue
        joint = (rig.joint_regressor[rig.joint_names.index(name)] @ rig.template).astype(np.float64)
        number, weights = nearest_on_surface(rig.template, rig.faces, ball, joint[None] + [0, 0, 0.03])
        index.append(iris.start)
        face.append(number[0])
        barycentric.append(weights[0])
    return np.array(index, np.int32), np.array(face, np.int32), np.array(barycentric, np.float32).reshape(-1, 3)


def _known(rig: Rig) -> Embedding:
    """What the rig itself knows, landmarks that are vertices as a face and a corner of it."""
    if rig.landmarks is None:
        return rig.landmark_embedding or (np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.float32))
    index = np.flatnonzero(rig.landmarks >= 0)
    flat = rig.faces.ravel()
    order = np.argsort(flat, kind="stable")
    first = order[np.minimum(np.searchsorted(flat[order], rig.landmarks[index]), len(flat) - 1)]
    on_mesh = flat[first] == rig.landmarks[index]
    index, first = index[on_mesh], first[on_mesh]
    return index.astype(np.int32), (first // 3).astype(np.int32), np.eye(3, dtype=np.float32)[first % 3]


def _cached(rig: Rig, tracker: Tracker | None) -> Embedding:
    """`measure_landmarks`, from the cache folder where this mesh has been measured before."""
    digest = hashlib.sha256(VERSION)
    for array in (rig.template, rig.faces, rig.weights):
        digest.update(np.ascontiguousarray(array).tobytes())
    path = cache_folder() / f"landmarks-{digest.hexdigest()[:32]}.safetensors"
    found = _read(path, len(rig.faces))
    if found is None:
        found = measure_landmarks(rig, tracker or default_tracker())
        names = ("index", "face", "barycentric")
        try:
            write(path, save({name: np.ascontiguousarray(array) for name, array in zip(names, found, strict=True)}))
        except OSError as error:
            _log.warning("the landmarks of rig %s cannot be cached in %s: %s", rig.rig_id, path.parent, error)
    return found


def _read(path: Path, faces: int) -> Embedding | None:
    """A cached embedding; None where there is none, or none that fits a mesh of so many faces."""
    try:
        with safe_open(path, "np") as file:
            index, face, barycentric = (file.get_tensor(name) for name in ("index", "face", "barycentric"))
    except (OSError, SafetensorError):
        return None
    fits = len(index) == len(face) and barycentric.shape == (len(face), 3) and len(face) >= SURFACE
    if not fits or face.min() < 0 or face.max() >= faces or index.min() < 0 or index.max() >= LEFT_IRIS.stop:
        return None
    return index, face, barycentric
