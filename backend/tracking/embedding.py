"""Landmarks for rigs that come without them: the tracker looks at clay renders of the template and says where they are.

A user's FLAME has no MediaPipe landmarks, other rigs have only some. The template is rendered from several sides, the
tracker's landmark net runs on every picture, each landmark is traced back to the surface, and the median of the views
is taken. The net's own idea of where a landmark lies is just what a fit to photos needs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from scipy import ndimage
from scipy.interpolate import RBFInterpolator
from scipy.spatial import KDTree

from backend.protocol.errors import RigError
from backend.rig.builtin.disk_cache import cache_folder, write
from backend.rig.builtin.landmarks import LIPS_INNER, LOWER_LIP_ROWS, UPPER_LIP_ROWS, neutral_landmarks
from backend.rig.rig import Rig
from backend.rig.skinning import linear_blend_skinning

from .clay import SIZE, SUPERSAMPLING, ClayView, clay_view
from .ear_labels import ear_labels
from .mesh import LEFT_IRIS, RIGHT_IRIS, SURFACE
from .nearest_point import nearest_on_surface
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
AGREEMENT = 0.004
"""Metres; half the views of a landmark lie within this of their median, or it is not believed."""
WARP_SMOOTHING = 1e-3
MIDDLE_STEPS = 6
"""Each brings a midline landmark nearer to the midline, on a slope of 45 degrees by half, on gentler ones by more."""

EDGE_REACH = 0.005
MOUTH_DEPTH = 0.007
"""Metres: how far a lip's landmark may be moved, and how far behind the lips the mouth's opening begins."""

VERSION = b"landmark embedding 2"
EMBEDDING_FILE = "mediapipe_landmark_embedding.npz"

_LIPS = tuple(
    np.array([i for row in rows[2:] for i in row[:-1]] + [p for row in rows[2:] for p in neutral_landmarks().mirrored(row[1:-1])])
    for rows in (UPPER_LIP_ROWS, LOWER_LIP_ROWS)
)
"""The inner two rows of the upper and of the lower lip; their corners, where the lips meet, are left out."""
_OUTER = tuple(np.array([*rows[0], *neutral_landmarks().mirrored(rows[0][1:])]) for rows in (UPPER_LIP_ROWS, LOWER_LIP_ROWS))
_LIP_EDGES = np.array([i for i in LIPS_INNER if i not in (78, 308)])

_log = logging.getLogger(__name__)


def with_landmarks(rig: Rig, tracker: Tracker | None = None) -> Rig:
    """The rig with all of MediaPipe's surface landmarks and the irises' centres.

    A rig whose vertices name all 468 comes back as it is. An embedding that was made for MediaPipe's landmarks keeps
    its own and is completed. An incomplete list of vertices (ICT-FaceKit's) was translated from another, sparser set of
    landmarks and is replaced: mixed with measured ones, it fitted worse (1.29 against 0.98 mm mean residual). Ears that no
    label names are labelled.

    Landmarks are measured once for each mesh: the result is kept in the user's cache folder.

    Args:
        tracker: finds the face in the renders; by default the default tracker, made only where it is needed.
    Raises:
        RigError: no face is recognised in the rendered template.
        WeightsError: the default tracker's nets are not installed.
    """
    if rig.landmarks is not None and (rig.landmarks[:SURFACE] >= 0).sum() == SURFACE:
        return rig
    measured = _cached(rig, tracker)
    labels = _with_ears(rig, measured)
    if rig.landmarks is not None or rig.landmark_embedding is None:
        return replace(rig, landmarks=None, landmark_embedding=measured, labels=labels)
    own = rig.landmark_embedding
    added = ~np.isin(measured[0], own[0])
    _log.info("rig %s: %d landmarks are its own, %d measured on its template", rig.rig_id, len(own[0]), added.sum())
    index, face, barycentric = (np.concatenate([a, b[added]]) for a, b in zip(own, measured, strict=True))
    return replace(rig, landmark_embedding=(index, face, barycentric), labels=labels)


def measure_landmarks(rig: Rig, tracker: Tracker) -> Embedding:
    """Find all surface landmarks and the irises' centres on a rig's template; 2 to 5 s.

    Raises:
        RigError: fewer than `MIN_VIEWS` of the renders show a face.
    """
    parts = _parts(rig)
    views = [clay_view(rig, rig.template, yaw, pitch, parts.inside) for yaw, pitch in VIEWS]
    points, facing = _trace_all(rig, parts, views, tracker)
    if len(points) < MIN_VIEWS:
        raise RigError(
            f"rig {rig.rig_id}: no face is recognised in its rendered template, so its landmarks cannot be found",
            f"put FLAME's {EMBEDDING_FILE}, or one made for this rig, beside the rig's file",
        )
    place, steady = _median(points, facing)
    open_views = [clay_view(rig, _opened(rig), yaw, pitch, parts.inside) for yaw, pitch in OPEN_VIEWS]
    open_points, open_facing = _trace_all(rig, parts, open_views, tracker)
    if len(open_points):
        lips = parts.group > 0
        place[lips] = _median(open_points, open_facing)[0][lips]
    neutral = neutral_landmarks()
    symmetric = _is_symmetric(rig)
    if symmetric:
        steady &= steady[neutral.mirror]
        place = (place + place[neutral.mirror] * [-1, 1, 1]) / 2
    place = _completed(place, steady, neutral.positions)
    shown = _shown(rig, [*views, *open_views])
    face, barycentric = np.zeros(SURFACE, np.int32), np.zeros((SURFACE, 3), np.float32)
    for number, faces in enumerate(parts.allowed):
        own, chosen = parts.group == number, np.flatnonzero(_or(faces & shown, faces))
        face[own], barycentric[own] = nearest_on_surface(rig.template, rig.faces, chosen, place[own])
        if symmetric:
            middle = np.flatnonzero(own & (neutral.mirror == np.arange(SURFACE)))
            face[middle], barycentric[middle] = _nearest_in_middle(rig, chosen, place[middle])
    iris, iris_face, iris_barycentric = _irises(rig)
    index = np.concatenate([np.arange(SURFACE, dtype=np.int32), iris])
    return index, np.concatenate([face, iris_face]), np.concatenate([barycentric, iris_barycentric])


def _nearest_in_middle(rig: Rig, chosen: NDArray, points: F64) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Face [N] and barycentrics [N, 3] of the point where surface and plane of symmetry meet nearest to points [N, 3] in that plane.

    A ridge or crease on the midline has two nearest points, one on each side. Projecting on surface and plane in turn
    (von Neumann's alternating projections) ends on both.
    """
    in_plane = points * [0, 1, 1]
    for _ in range(MIDDLE_STEPS - 1):
        face, barycentric = nearest_on_surface(rig.template, rig.faces, chosen, in_plane)
        in_plane = (barycentric[..., None] * rig.template[rig.faces[face]]).sum(1) * [0, 1, 1]
    return nearest_on_surface(rig.template, rig.faces, chosen, in_plane)


@dataclass(frozen=True)
class _Parts:
    """What the rig's faces are, each mask [F], and on which of them a landmark may lie.

    Attributes:
        inside: mouth cavity, tongue and teeth where labels name them.
        allowed: skin; its part that stays with the skull; its part that goes with the jaw.
        group: [468] which of `allowed` a landmark lies on: 1 and 2 for the inner rows of the upper and the lower lip.
    """

    inside: NDArray[np.bool_]
    allowed: tuple[NDArray[np.bool_], ...]
    group: NDArray[np.int64]


def _parts(rig: Rig) -> _Parts:
    inside = _faces_of(rig, ("mouth_cavity", "tongue", "teeth_upper", "teeth_lower"))
    eyeballs = _by_joint(rig, ("eye_left", "eye_right")) > 0.5
    surface, lower = ~(inside | eyeballs), _by_joint(rig, ("jaw",)) >= 0.5
    group = np.zeros(SURFACE, np.int64)
    group[_LIPS[0]], group[_LIPS[1]] = 1, 2
    return _Parts(inside, (surface, _or(surface & ~lower, surface), _or(surface & lower, surface)), group)


def _trace_all(rig: Rig, parts: _Parts, views: Sequence[ClayView], tracker: Tracker) -> tuple[F64, F64]:
    """Rest positions [N, 468, 3] of the landmarks in the N views that show a face, and the surface's facing there [N, 468]."""
    points, facing = [], []
    for view in views:
        faces = tracker.faces(view.image)
        if faces:
            pixels = max(faces, key=lambda f: f.width).landmarks[:SURFACE, :2] * SUPERSAMPLING
            place, toward = _trace(rig, parts, view, pixels)
            points.append(place)
            facing.append(toward)
    return np.array(points), np.array(facing)


def _trace(rig: Rig, parts: _Parts, view: ClayView, pixels: NDArray) -> tuple[F64, F64]:
    """Rest positions [468, 3] and facing [468] of what lies under the landmarks; beside the allowed surface, its nearest pixel.

    The inner lips' landmarks are moved to the edge of the opening between the lips.
    """
    at = np.clip(pixels[:, ::-1].astype(int), 0, SIZE * SUPERSAMPLING - 1)
    front = (view.facing > 0) & (view.face_id >= 0)
    for number, faces in enumerate(parts.allowed):
        usable = front & faces[view.face_id]
        own = parts.group == number
        _move(at, np.flatnonzero(own & ~usable[at[:, 0], at[:, 1]]), usable, np.inf)
        if number:
            opening = _mouth(view, parts, at, _OUTER[number - 1])
            edge = usable & ~opening & np.asarray(ndimage.binary_dilation(opening, iterations=2), bool)
            _move(at, _LIP_EDGES[own[_LIP_EDGES]], edge, EDGE_REACH / view.pixel)
    row, column = at.T
    corners = rig.template[rig.faces[view.face_id[row, column]]].astype(np.float64)
    return (view.barycentric[row, column][..., None] * corners).sum(1), view.facing[row, column].astype(np.float64)


def _move(at: NDArray, landmarks: NDArray, usable: NDArray[np.bool_], reach: float) -> None:
    """Move some landmarks, in `at` [468, 2] (row, column), to the nearest usable pixel within reach."""
    pixels = np.argwhere(usable)
    if not len(pixels) or not len(landmarks):
        return
    distance, nearest = (np.asarray(found) for found in KDTree(pixels).query(at[landmarks]))
    near = distance <= reach
    at[landmarks[near]] = pixels[nearest[near]]


def _mouth(view: ClayView, parts: _Parts, at: NDArray, lip: NDArray) -> NDArray[np.bool_]:
    """[P, P] the opening between the lips: whatever lies `MOUTH_DEPTH` behind the landmarks of one lip, or is not the front of skin."""
    lips = np.zeros(view.face_id.shape, np.uint8)
    cv2.fillPoly(lips, [np.ascontiguousarray(at[list(LIPS_INNER), ::-1], np.int32)], 1)
    region = np.asarray(ndimage.binary_dilation(lips > 0, iterations=max(1, int(0.5 * EDGE_REACH / view.pixel))), bool)
    skin = (view.facing > 0) & (view.face_id >= 0) & parts.allowed[0][view.face_id]
    rows, columns = at[lip[np.argsort(at[lip, 1])]].T
    lip_depth = np.interp(np.arange(region.shape[1]), columns, ndimage.median_filter(view.depth[rows, columns], 5, mode="nearest"))
    return np.asarray(region & (~skin | (view.depth > lip_depth + MOUTH_DEPTH)), bool)


def _median(points: F64, facing: F64) -> tuple[F64, NDArray[np.bool_]]:
    """[468, 3] median over the views [N, 468, 3] that see the surface well, or all where none does; and [468] where they agree."""
    good = facing > MIN_FACING
    good |= ~good.any(0)
    points = np.where(good[..., None], points, np.nan)
    median = np.nanmedian(points, axis=0)
    spread = np.asarray(np.nanmedian(np.linalg.norm(points - median, axis=-1), axis=0))
    return np.asarray(median), spread < AGREEMENT


def _completed(place: F64, steady: NDArray[np.bool_], neutral: F64) -> F64:
    """[468, 3] with the landmarks that the views disagree about where the others' thin-plate warp of a neutral face has them.

    Beside the cheeks the net follows the outline, which is other skin in every view, and rays may end on an ear.
    """
    if steady.all() or steady.sum() < SURFACE // 4:
        return place
    warp = RBFInterpolator(neutral[steady], place[steady], kernel="thin_plate_spline", smoothing=WARP_SMOOTHING)
    return np.where(steady[:, None], place, warp(neutral))


def _opened(rig: Rig) -> NDArray[np.float32]:
    """[V, 3] the template with its mouth open."""
    pose = np.zeros((len(rig.joint_names), 3))
    pose[rig.joint_names.index("jaw"), 0] = OPEN_JAW
    joints = rig.joint_regressor @ rig.template
    return np.asarray(linear_blend_skinning(rig.template, joints, rig.weights, pose, rig.parents.tolist()), np.float32)


def _by_joint(rig: Rig, names: Sequence[str]) -> F64:
    """[F] mean skinning weight of the named joints."""
    columns = [rig.joint_names.index(name) for name in names if name in rig.joint_names]
    return rig.weights[:, columns].sum(1)[rig.faces].mean(1).astype(np.float64)


def _faces_of(rig: Rig, labels: Sequence[str]) -> NDArray[np.bool_]:
    """[F] faces all of whose corners carry one of the labels that the rig has."""
    marked = np.zeros(len(rig.template), bool)
    for name in labels:
        marked[rig.labels.get(name, [])] = True
    return np.asarray(marked[rig.faces].all(1))


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
    distance, _ = KDTree(rig.template).query(rig.template * np.array([-1, 1, 1], np.float32))
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


def _with_ears(rig: Rig, embedding: Embedding) -> dict[str, NDArray[np.int32]]:
    """The rig's labels, and the ears found beside the measured landmarks."""
    if "ear_left" in rig.labels or "ear_right" in rig.labels:
        return rig.labels
    face, barycentric = embedding[1][:SURFACE], embedding[2][:SURFACE]
    place = (barycentric[..., None] * rig.template[rig.faces[face]]).sum(1).astype(np.float64)
    return rig.labels | ear_labels(rig.template, rig.faces, place)


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
