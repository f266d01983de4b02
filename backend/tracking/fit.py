"""Fit a rig to one or more portraits of one person: start -> solve -> snap -> gaze.

The landmarks alone are fitted, not the pixels. One portrait gives camera, shape, expression and jaw; several share the shape.
What the rig's bases cannot reach is added as a smooth offset of the mesh (the snap), so that every landmark lies where
it was seen: texture needs it to the pixel.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from backend.protocol.avatar import F32, Driver, RigArrays
from backend.rig.rig import Rig

from .gaze import gaze
from .landmark_model import LandmarkModel, landmark_model
from .matte import OVAL, portrait_square
from .mesh import LEFT_IRIS, RIGHT_IRIS
from .portrait import Face, Portrait
from .rotation import F64
from .solver import View, ViewState, project, solve, start
from .spread import Spread, landmark_spread

DEFAULT_FOCAL = 3.0
"""Focal length in sides of the portrait square where EXIF is silent: a head-and-shoulders photo from about 1.2 m."""

OVAL_WEIGHT = 0.5
HIDDEN_WEIGHT = 0.25
TURNED = np.radians(30.0)
SHUT = 0.6
SAME_SHARE = 0.9
"""Views whose say in the shape differs by less are equally frontal, within the landmark net's noise."""

NOT_FITTED = frozenset({"jawOpen", "jawForward", "jawLeft", "jawRight", "mouthClose", "tongueOut"})
"""Expressions that landmarks cannot tell from the jaw's joint, or cannot see; nor those whose name starts with eyeLook."""


@dataclass(frozen=True)
class Fit:
    """A person's head, and how it stood in each portrait.

    Attributes:
        shape: [S] coefficients.
        vertices: [V, 3] neutral head, metres: template, shape and snap; expression removed.
        drivers: for each portrait: expression, jaw and eyes, camera in the portrait's pixels.
        corrections: for each portrait [V, 3], metres: what to add to `vertices` so that its landmarks lie exactly where
            they were seen. Zero for a single portrait.
        reference: index of the portrait that says most about the shape: the most frontal.
        residual_px, residual_mm: mean distance between measured and fitted landmarks before the snap, for each portrait.
        snap_mm: mean size of the snap at the landmarks.
    """

    shape: F32
    vertices: F32
    drivers: tuple[Driver, ...]
    corrections: tuple[F32, ...]
    reference: int
    residual_px: tuple[float, ...]
    residual_mm: tuple[float, ...]
    snap_mm: float


@dataclass(frozen=True)
class Prepared:
    """What fitting needs of a rig: its landmarks, the spread over its mesh, and which expressions are fitted."""

    model: LandmarkModel
    spread: Spread
    fitted: tuple[int, ...]


_prepared: dict[str, Prepared] = {}
_lock = threading.Lock()


def prepare(rig: Rig) -> Prepared:
    """Restrict and factorise a rig for fitting; kept for the process, so a warm backend does it once.

    Raises:
        RigError: the rig has no landmarks.
    """
    digest = hashlib.sha256()
    for array in (rig.template, rig.shape_basis, rig.expression_basis, rig.landmarks, *(rig.landmark_embedding or ())):
        digest.update(b"-" if array is None else array.tobytes())
    key = digest.hexdigest()
    with _lock:
        if key not in _prepared:
            model = landmark_model(rig)
            names = rig.expression_names
            fitted = tuple(i for i, n in enumerate(names) if n not in NOT_FITTED and not n.startswith("eyeLook"))
            model = replace(
                model,
                expression=np.ascontiguousarray(model.expression[:, :, fitted]),
                expression_prior=model.expression_prior[list(fitted)],
                one_sided=model.one_sided[list(fitted)],
            )
            _prepared[key] = Prepared(model, landmark_spread(rig, model), fitted)
        return _prepared[key]


def fit(portraits: Sequence[Portrait], rig: Rig, check: Callable[[], None] = lambda: None) -> Fit:
    """Fit a rig to portraits of one person; `check` is called all the time, and what it raises ends the work.

    Raises:
        ValueError: no portrait.
        RigError: the rig has no landmarks.
    """
    return fit_faces([p.face for p in portraits], [intrinsics(p) for p in portraits], [p.image.shape for p in portraits], rig, check)


def fit_faces(
    faces: Sequence[Face],
    cameras: Sequence[F64],
    sizes: Sequence[tuple[int, ...]],
    rig: Rig,
    check: Callable[[], None] = lambda: None,
) -> Fit:
    """As `fit`, from what it needs of the portraits: faces, intrinsics [3, 3] and picture sizes (H, W, ...)."""
    if not faces:
        raise ValueError("no face to fit")
    prepared = prepare(rig)
    views = [view_of(f, k, prepared.model) for f, k in zip(faces, cameras, strict=True)]
    shape, states, views = solve_views(prepared.model, views, check)
    check()
    # Of views as good as the best, the first that the user gave.
    shares = np.array([v.share for v in views])
    reference = int(np.flatnonzero(shares > SAME_SHARE * shares.max())[0])
    shaped = rig.template + rig.shape_basis.astype(np.float64) @ shape

    residues = [_residue(prepared.model, v, s, shape) for v, s in zip(views, states, strict=True)]
    weight = np.array([v.share for v in views])[:, None] * np.array([v.weight for v in views])
    snap = (np.array(residues) * weight[..., None]).sum(0) / weight.sum(0)[:, None]
    vertices = shaped + prepared.spread(snap)
    corrections = [prepared.spread(r - snap) if len(views) > 1 else np.zeros_like(vertices) for r in residues]

    seen = list(zip(views, states, strict=True))
    errors = [np.linalg.norm(project(prepared.model, s, shape, v.focal)[1] - v.points, axis=1).mean() for v, s in seen]
    scale = [s.translation[2] / v.focal * 1e3 for v, s in seen]
    return Fit(
        shape=shape.astype(np.float32),
        vertices=vertices.astype(np.float32),
        drivers=tuple(
            driver(f, rig, prepared.fitted, s, rig.bake((vertices + c).astype(np.float32)), k, size)
            for f, s, c, k, size in zip(faces, states, corrections, cameras, sizes, strict=True)
        ),
        corrections=tuple(c.astype(np.float32) for c in corrections),
        reference=reference,
        residual_px=tuple(float(e) for e in errors),
        residual_mm=tuple(float(e * s) for e, s in zip(errors, scale, strict=True)),
        snap_mm=float(np.linalg.norm(snap, axis=1).mean() * 1e3),
    )


@dataclass(frozen=True)
class Placed:
    """A known head in one picture.

    Attributes:
        driver: expression, pose and camera in the picture's pixels.
        correction: [V, 3] metres, to be added to the neutral head so that its landmarks lie exactly where they were seen.
        residual: mean distance between measured landmarks and the head's without correction, in distances between the irises;
            a few hundredths for the head's own person.
    """

    driver: Driver
    correction: F32
    residual: float


def place(portrait: Portrait, rig: Rig, vertices: F32) -> Placed:
    """Find expression, pose and camera of a head of known shape; `vertices` [V, 3] are its neutral ones, lips as its person's are.

    Raises:
        RigError: the rig has no landmarks.
    """
    prepared, camera = prepare(rig), intrinsics(portrait)
    model = replace(prepared.model, template=prepared.model.pick @ vertices.astype(np.float64))
    view, shape = view_of(portrait.face, camera, model), np.zeros(prepared.model.shape.shape[2])
    state = start(model, view)
    view = replace(view, weight=view.weight * _visibility(model, state))
    _, (state,) = solve(model, [view], [state], shape, fixed_shape=True)
    correction = prepared.spread(_residue(model, view, state, shape)).astype(np.float32)
    distance = np.linalg.norm(project(model, state, shape, view.focal)[1] - view.points, axis=1)
    residual = float((distance * view.weight).sum() / view.weight.sum() / view.unit)
    baked = rig.bake((vertices + correction).astype(np.float32))
    return Placed(driver(portrait.face, rig, prepared.fitted, state, baked, camera, portrait.image.shape), correction, residual)


def intrinsics(portrait: Portrait) -> F64:
    """[3, 3] of a portrait: EXIF's focal length about the picture's middle, else a typical one about the portrait square's."""
    height, width = portrait.image.shape[:2]
    if portrait.focal is not None:
        return np.array([[portrait.focal, 0, width / 2], [0, portrait.focal, height / 2], [0, 0, 1]])
    square = portrait_square(portrait.face)
    focal = DEFAULT_FOCAL * square.side
    return np.array([[focal, 0, square.x], [0, focal, square.y], [0, 0, 1]])


def view_of(face: Face, camera: F64, model: LandmarkModel) -> View:
    """A face's landmarks as the solver wants them; the face's outline, a contour rather than points, counts half."""
    landmarks = face.landmarks[model.index].astype(np.float64)
    weight = np.where(np.isin(model.index, OVAL), OVAL_WEIGHT, 1.0)
    return View(
        points=landmarks[:, :2] - camera[:2, 2],
        depth=landmarks[:, 2],
        weight=weight,
        focal=float(camera[0, 0]),
        unit=eye_distance(face),
    )


def eye_distance(face: Face) -> float:
    """Between the irises' centres, pixels, depth included."""
    return float(np.linalg.norm(face.landmarks[RIGHT_IRIS.start] - face.landmarks[LEFT_IRIS.start]))


def solve_views(
    model: LandmarkModel, views: list[View], check: Callable[[], None] = lambda: None
) -> tuple[F64, list[ViewState], list[View]]:
    """Shape, states, and the views with the weights that were used.

    MediaPipe's idea of where a landmark lies drifts as the head turns, so a turned head must not bend the shape that a
    frontal one gives: a view's share falls with its yaw beyond the most frontal one's, and landmarks on the far side count less.
    """
    states = [start(model, v) for v in views]
    turns = np.array([_turn(s) for s in states])
    shares = np.exp(-(turns**2 - turns.min() ** 2) / TURNED**2)
    units = np.array([v.unit for v in views])
    sharpness = np.minimum(units / np.median(units), 1.0)
    shares = np.maximum(shares * sharpness, 1e-3)
    views = [
        replace(v, share=float(share), weight=v.weight * _visibility(model, s))
        for v, s, share in zip(views, states, shares / shares.max(), strict=True)
    ]
    shape = np.zeros(model.shape.shape[2])
    _, states = solve(model, views, states, shape, fixed_shape=True, steps=12, check=check)
    shape, states = solve(model, views, states, shape, check=check)
    return shape, states, views


def driver(face: Face, rig: Rig, fitted: Sequence[int], state: ViewState, baked: RigArrays, camera: F64, size: tuple[int, ...]) -> Driver:
    """One picture's rig parameters, gaze included.

    Args:
        fitted: which of the rig's expressions `state.expression` holds.
        baked: the neutral head that is driven.
        size: (H, W, ...) of the picture.
    """
    expression = {rig.expression_names[i]: float(v) for i, v in zip(fitted, state.expression, strict=True)}
    points = {"eye_left": face.landmarks[LEFT_IRIS.start], "eye_right": face.landmarks[RIGHT_IRIS.start]}
    shut = {"eye_left": expression.get("eyeBlinkLeft", 0.0), "eye_right": expression.get("eyeBlinkRight", 0.0)}
    seen = {k: v[:2].astype(np.float64) - camera[:2, 2] for k, v in points.items() if shut[k] < SHUT}
    turns = gaze(rig, baked, seen, state.rotation, state.translation, float(camera[0, 0]))
    pose = np.zeros((len(rig.joint_names), 3), np.float32)
    pose[rig.joint_names.index("jaw")] = state.jaw
    for name, turn in turns.items():
        if name in rig.joint_names:
            pose[rig.joint_names.index(name)] = turn
    view = np.eye(4, dtype=np.float32)
    view[:3, :3], view[:3, 3] = state.rotation, state.translation
    return Driver(expression, pose, view, camera.astype(np.float32), (size[1], size[0]))


def _turn(state: ViewState) -> float:
    """How far the head is turned from the camera, in any direction but roll; radians."""
    forward = state.rotation @ [0.0, 0.0, 1.0]
    return float(np.arccos(np.clip(-forward[2], -1, 1)))


def _visibility(model: LandmarkModel, state: ViewState) -> F64:
    """[L] from `HIDDEN_WEIGHT` where the surface faces away to 1 where it faces the camera within 60 degrees."""
    facing = -(model.normals @ state.rotation.T)[:, 2]
    return np.clip(HIDDEN_WEIGHT + (1 - HIDDEN_WEIGHT) * (facing + 0.1) / 0.6, HIDDEN_WEIGHT, 1)


def _residue(model: LandmarkModel, view: View, state: ViewState, shape: F64) -> F64:
    """[L, 3] displacement in the neutral pose that would bring the landmarks onto the measured ones, depth included.

    Across the picture it is exact; along the view it is the landmark net's z about the mean depth.
    """
    camera, _ = project(model, state, shape, view.focal)
    mean = view.weight / view.weight.sum()
    depth = camera[:, 2]
    target_depth = mean @ depth + (view.depth - mean @ view.depth) * (mean @ depth) / view.focal
    target = np.column_stack([view.points * target_depth[:, None] / view.focal, target_depth])
    in_model = (target - camera) @ state.rotation
    return np.asarray(np.linalg.solve(model.spread(state.jaw), in_model[..., None])[..., 0], np.float64)
