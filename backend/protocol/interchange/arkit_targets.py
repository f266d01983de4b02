"""ARKit's shapes that our rigs make with joints (jaw, gaze), as morph targets for programs that know only morph targets."""

from __future__ import annotations

import numpy as np

from ..avatar import F32, RigArrays

JAW_OPEN_ANGLE = 0.36
"""Jaw rotation about +X for jawOpen = 1, radians: about 30 mm between the front teeth."""
LOOK_UP_ANGLE, LOOK_DOWN_ANGLE, LOOK_IN_ANGLE, LOOK_OUT_ANGLE = np.radians([27.0, 30.0, 35.0, 35.0]).tolist()
"""Eye rotations for eyeLook* = 1, radians."""


def joint_rotations() -> dict[str, tuple[str, int, float]]:
    """ARKit name -> joint, axis (0 about X, 1 about Y) and angle in radians at weight 1."""
    turns = {"jawOpen": ("jaw", 0, JAW_OPEN_ANGLE)}
    for side, outward in (("Left", 1.0), ("Right", -1.0)):
        eye = f"eye_{side.lower()}"
        turns[f"eyeLookUp{side}"] = (eye, 0, -LOOK_UP_ANGLE)
        turns[f"eyeLookDown{side}"] = (eye, 0, LOOK_DOWN_ANGLE)
        turns[f"eyeLookOut{side}"] = (eye, 1, outward * LOOK_OUT_ANGLE)
        turns[f"eyeLookIn{side}"] = (eye, 1, -outward * LOOK_IN_ANGLE)
    return turns


def joint_targets(rig: RigArrays, points: F32, weights: F32) -> dict[str, F32]:
    """Displacement [N, 3] of points at each such shape's weight 1, for the shapes that the rig has no expression for.

    Args:
        points: [N, 3] in the rig's rest pose.
        weights: [N, J] skinning weights of the points.
    """
    targets = {}
    for name, (joint, axis, angle) in joint_rotations().items():
        if name in rig.expression_names or joint not in rig.joint_names:
            continue
        index = rig.joint_names.index(joint)
        weight = weights[:, _below(rig, index)].sum(1)
        relative = points - rig.joints[index]
        targets[name] = (weight[:, None] * (relative @ _rotation(axis, angle).T - relative)).astype(np.float32)
    return targets


def _below(rig: RigArrays, joint: int) -> list[int]:
    """A joint and all that hang on it."""
    chain = {joint}
    for child, parent in enumerate(rig.parents):
        if int(parent) in chain:
            chain.add(child)
    return sorted(chain)


def _rotation(axis: int, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    first, second = [(1, 2), (2, 0)][axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = cosine
    matrix[first, second], matrix[second, first] = -sine, sine
    return matrix
