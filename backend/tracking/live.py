"""A face from a camera as ARKit's shapes, frame by frame: the head is fitted to the first frontal frames, then each frame is solved.

Nothing is smoothed here: a smoother delays, and whoever records can smooth afterwards without delay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backend.protocol.avatar import F32, Driver, RigArrays
from backend.protocol.live_link import SHAPES
from backend.rig.arkit import JAW_OPEN_ANGLE, LOOK_DOWN_ANGLE, LOOK_IN_ANGLE, LOOK_OUT_ANGLE, LOOK_UP_ANGLE
from backend.rig.rig import Rig

from .fit import driver, fit_faces, prepare, view_of
from .landmark_model import LandmarkModel
from .portrait import Face
from .rotation import F64
from .solver import ViewState, solve, start
from .tracker import Tracker, default_tracker
from .video import STEPS, nearest_face, personal_model, video_camera

CALIBRATION_FRAMES = 6
FRONTAL = 15.0
"""Degrees: frames that the head is fitted to are turned less than this, or it waits for them at most MAX_WAIT frames."""
MAX_WAIT = 60

Frame = tuple[dict[str, float], tuple[float, float, float]]
"""Weights of ARKit's shapes, and the head's yaw, pitch and roll as Live Link Face has them: to the right, up, to the right."""


@dataclass
class _Calibrated:
    baked: RigArrays
    model: LandmarkModel
    camera: F64
    shape: F64
    first: F64 | None = None
    state: ViewState | None = None


class LiveTracker:
    """Follows one face, the largest where there are several, picture by picture."""

    def __init__(self, rig: Rig, tracker: Tracker | None = None) -> None:
        self._rig = rig
        self._tracker = tracker or default_tracker()
        self._prepared = prepare(rig)
        self._faces: list[Face | None] = []
        self._calibrated: _Calibrated | None = None

    @property
    def calibrated(self) -> bool:
        """The head has been fitted: frames come from now on."""
        return self._calibrated is not None

    def track(self, picture: F32) -> Frame | None:
        """One picture [H, W, 3] float32 0..1; None without a face, or while the head is still being fitted."""
        face = self._follow(picture)
        self._faces = [*self._faces, face][-MAX_WAIT:]
        if face is None:
            if self._calibrated is not None:
                self._calibrated.state = None
            return None
        if self._calibrated is None:
            self._calibrated = self._calibrate(picture.shape[:2])
        if self._calibrated is None:
            return None
        return self._solve(face, self._calibrated, picture.shape)

    def _follow(self, picture: F32) -> Face | None:
        last = self._faces[-1] if self._faces else None
        face = self._tracker.follow(picture, last) if last is not None else None
        if face is not None:
            return face
        found = self._tracker.faces(picture)
        if not found:
            return None
        known = [f for f in self._faces if f is not None]
        return nearest_face(found, known) if known else max(found, key=lambda f: float(np.ptp(f.landmarks[:, 0])))

    def _calibrate(self, size: tuple[int, ...]) -> _Calibrated | None:
        seen = [f for f in self._faces if f is not None]
        frontal = sorted(seen, key=lambda f: abs(f.yaw))[:CALIBRATION_FRAMES]
        enough = len(frontal) == CALIBRATION_FRAMES and abs(frontal[-1].yaw) < FRONTAL
        if not enough and len(self._faces) < MAX_WAIT:
            return None
        camera = video_camera((size[0], size[1]))
        head = fit_faces(frontal, [camera] * len(frontal), [(size[0], size[1])] * len(frontal), self._rig)
        model = personal_model(self._prepared.model, head.vertices)
        return _Calibrated(self._rig.bake(head.vertices), model, camera, np.zeros(model.shape.shape[2]))

    def _solve(self, face: Face, head: _Calibrated, size: tuple[int, ...]) -> Frame:
        view = view_of(face, head.camera, head.model)
        steps = STEPS if head.state else 3 * STEPS
        _, (head.state,) = solve(head.model, [view], [head.state or start(head.model, view)], head.shape, fixed_shape=True, steps=steps)
        measured = driver(face, self._rig, self._prepared.fitted, head.state, head.baked, head.camera, size)
        orientation = measured.world_to_camera[:3, :3].astype(np.float64)
        head.first = orientation if head.first is None else head.first
        return arkit_weights(measured, self._rig.joint_names), head_angles(head.first.T @ orientation)


def arkit_weights(measured: Driver, joints: tuple[str, ...]) -> dict[str, float]:
    """A driver of a rig with ARKit's names as weights of all 52 shapes, 0..1: the inverse of `backend.rig.arkit.arkit_to_driver`."""
    turns = dict(zip(joints, np.asarray(measured.pose, np.float64), strict=True))
    weights = {name: value for name, value in measured.expression.items() if name in SHAPES}
    weights["jawOpen"] = float(turns["jaw"][0]) / JAW_OPEN_ANGLE
    for joint, side, outward in (("eye_left", "Left", 1.0), ("eye_right", "Right", -1.0)):
        down, out = float(turns[joint][0]), outward * float(turns[joint][1])
        weights[f"eyeLookDown{side}"], weights[f"eyeLookUp{side}"] = down / LOOK_DOWN_ANGLE, -down / LOOK_UP_ANGLE
        weights[f"eyeLookOut{side}"], weights[f"eyeLookIn{side}"] = out / LOOK_OUT_ANGLE, -out / LOOK_IN_ANGLE
    return {name: float(np.clip(weights.get(name, 0.0), 0.0, 1.0)) for name in SHAPES}


def head_angles(turned: F64) -> tuple[float, float, float]:
    """Yaw to the right, pitch up and roll to the right, radians, of a head's rotation [3, 3] (+Y up, face along +Z)."""
    nod = float(np.arcsin(np.clip(-turned[1, 2], -1, 1)))
    turn, tilt = float(np.arctan2(turned[0, 2], turned[2, 2])), float(np.arctan2(turned[1, 0], turned[1, 1]))
    return -turn, -nod, tilt


def in_order(weights: Mapping[str, float]) -> tuple[float, ...]:
    """Weights in a packet's order."""
    return tuple(weights[name] for name in SHAPES)
