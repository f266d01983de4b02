"""Where the eyes look: the turn of each eyeball that brings its iris onto the measured one."""

from __future__ import annotations

import numpy as np

from backend.protocol.avatar import RigArrays
from backend.rig.rig import Rig

from .mesh import LEFT_IRIS, RIGHT_IRIS
from .rotation import F64, rotation_between

EYES = (("eye_left", LEFT_IRIS), ("eye_right", RIGHT_IRIS))
DEFAULT_RADIUS = 0.012
MAX_TURN = np.radians(38.0)
TOGETHER = 0.6
"""How much of their difference the two eyes give up: the irises' noise is larger than any squint."""


def gaze(rig: Rig, baked: RigArrays, iris_points: dict[str, F64], rotation: F64, translation: F64, focal: float) -> dict[str, F64]:
    """Turn of each eye joint.

    Args:
        baked: the fitted head, its eyes seated.
        iris_points: [2] pixels from the principal point, by joint name; an eye that is shut is left out.
        rotation, translation: model to camera (OpenCV).
        focal: pixels.
    Returns:
        [3] axis-angle by joint name; zeros where no eye is open.
    """
    turns: dict[str, F64] = {}
    for name, iris in EYES:
        if name not in iris_points or name not in rig.joint_names:
            continue
        centre = baked.joints[rig.joint_names.index(name)].astype(np.float64)
        rest = _rest_direction(rig, baked, centre, iris)
        ray = np.append(iris_points[name] / focal, 1.0)
        seen = _on_sphere(ray / np.linalg.norm(ray), rotation @ centre + translation, float(np.linalg.norm(rest)))
        turns[name] = _bounded(rotation_between(rest, rotation.T @ seen))
    if not turns:
        return {name: np.zeros(3) for name, _ in EYES}
    mean: F64 = np.stack(list(turns.values())).mean(0)
    return {name: turns.get(name, mean) * (1 - TOGETHER) + mean * TOGETHER for name, _ in EYES}


def _rest_direction(rig: Rig, baked: RigArrays, centre: F64, iris: slice) -> F64:
    """From the eye's joint to its iris at rest, metres; straight ahead where the rig does not mark the iris."""
    if rig.landmarks is not None and len(rig.landmarks) > iris.start and rig.landmarks[iris.start] >= 0:
        return baked.vertices[rig.landmarks[iris.start]] - centre
    if rig.landmark_embedding is not None and iris.start in (index := rig.landmark_embedding[0]):
        row = int(np.flatnonzero(index == iris.start)[0])
        face, barycentric = rig.landmark_embedding[1][row], rig.landmark_embedding[2][row]
        return barycentric @ baked.vertices[rig.faces[face]] - centre
    return np.array([0.0, 0.0, DEFAULT_RADIUS])


def _on_sphere(ray: F64, centre: F64, radius: float) -> F64:
    """From the sphere's centre to where a unit ray from the origin first meets it (or passes nearest)."""
    along = float(ray @ centre)
    gap = along**2 - float(centre @ centre) + radius**2
    return (along - np.sqrt(max(gap, 0.0))) * ray - centre


def _bounded(turn: F64) -> F64:
    angle = float(np.linalg.norm(turn))
    return turn if angle <= MAX_TURN else turn * (MAX_TURN / angle)
