"""Linear blend skinning (Li et al. 2017, "Learning a model of facial shape and expression", sec. 3), on NumPy and torch alike.

One implementation serves both: it uses the operations that the two libraries name the same way. Arrays of a rig may be
NumPy while coefficients are torch tensors; they are then brought to the coefficients' dtype and device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.protocol.avatar import F32, RigArrays
from backend.protocol.errors import RigError

if TYPE_CHECKING:
    from .rig import Rig


def rotation_matrices(axis_angle: Any) -> Any:
    """Axis-angle vectors to rotation matrices (Rodrigues), differentiable at zero.

    Args:
        axis_angle: [*b, 3] radians.
    Returns:
        [*b, 3, 3].
    """
    xp = _namespace(axis_angle)
    square = (axis_angle * axis_angle).sum(-1)[..., None, None]
    angle = xp.sqrt(square + 1e-16)
    half = angle / 2
    first = xp.sin(angle) / angle
    second = (xp.sin(half) / half) ** 2 / 2
    x, y, z = axis_angle[..., 0], axis_angle[..., 1], axis_angle[..., 2]
    zero = xp.zeros_like(x)
    rows = [xp.stack([zero, -z, y], -1), xp.stack([z, zero, -x], -1), xp.stack([-y, x, zero], -1)]
    cross = xp.stack(rows, -2)
    return _like(np.eye(3), axis_angle) + first * cross + second * (cross @ cross)


def joint_transforms(joints: Any, pose: Any, parents: Sequence[int]) -> tuple[Any, Any]:
    """Rotation and translation that carry each joint's rest frame to its posed one.

    Args:
        joints: [*b, J, 3] rest positions, metres.
        pose: [*b, J, 3] axis-angle of each joint in its parent's frame, radians.
        parents: J, -1 for the root; parents come before their children.
    Returns:
        rotation [*b, J, 3, 3] and translation [*b, J, 3] with posed = rotation @ rest + translation.
    """
    xp = _namespace(pose)
    local = rotation_matrices(pose)
    rotations: list[Any] = []
    translations: list[Any] = []
    for j, parent in enumerate(parents):
        rest = joints[..., j, :]
        turn = local[..., j, :, :]
        if parent < 0:
            rotations.append(turn)
            translations.append(rest - _apply(turn, rest))
        else:
            world = rotations[parent] @ turn
            posed = _apply(rotations[parent], rest) + translations[parent]
            rotations.append(world)
            translations.append(posed - _apply(world, rest))
    return xp.stack(rotations, -3), xp.stack(translations, -2)


def linear_blend_skinning(vertices: Any, joints: Any, weights: Any, pose: Any, parents: Sequence[int]) -> Any:
    """Pose vertices by the weighted mean of their joints' transforms.

    Args:
        vertices: [*b, V, 3] rest positions, metres.
        joints: [*b, J, 3] rest positions.
        weights: [V, J], rows sum to 1.
        pose: [*b, J, 3] axis-angle, radians.
        parents: J.
    Returns:
        [*b, V, 3] metres.
    """
    rotation, translation = joint_transforms(joints, pose, parents)
    flat = rotation.reshape(*rotation.shape[:-2], 9)
    blended = (weights @ flat).reshape(*flat.shape[:-2], weights.shape[0], 3, 3)
    return (blended @ vertices[..., None])[..., 0] + weights @ translation


def skin(rig: Rig, shape: Any, expression: Any, pose: Any) -> Any:
    """Vertices of a rig: template + shape + expression + pose correctives, skinned (Li et al. 2017, eq. 1-4).

    Args:
        rig: a parametric head.
        shape: [*b, s] identity coefficients in standard deviations, s at most the rig's S.
        expression: [*b, e] coefficients in the order of `rig.expression_names`, e at most E.
        pose: [*b, J, 3] axis-angle of each joint in its parent's frame, radians.
        All NumPy or all torch; batch dimensions broadcast.
    Returns:
        [*b, V, 3] metres, +Y up, face along +Z.
        Joints are regressed from template and shape, as in the paper and as bones are; code derived from FLAME_PyTorch
        regresses them after the expression too (up to 1 mm apart): compose `pose_correctives` and `linear_blend_skinning`
        for that.
    Raises:
        ValueError: more coefficients than the rig has, or a pose of another joint count.
    """
    if shape.shape[-1] > rig.shape_basis.shape[2] or expression.shape[-1] > len(rig.expression_names):
        raise ValueError(
            f"{shape.shape[-1]} shape and {expression.shape[-1]} expression coefficients for a rig with "
            f"{rig.shape_basis.shape[2]} and {len(rig.expression_names)}"
        )
    if tuple(pose.shape[-2:]) != (len(rig.parents), 3):
        raise ValueError(f"pose has shape {tuple(pose.shape)}; {rig.rig_id} needs [..., {len(rig.parents)}, 3]")
    count = len(rig.template)
    shapes = _like(rig.shape_basis[..., : shape.shape[-1]].reshape(3 * count, -1), pose)
    shaped = _like(rig.template, pose) + (shape @ shapes.T).reshape(*shape.shape[:-1], count, 3)
    joints = _like(rig.joint_regressor, pose) @ shaped
    moves = _like(rig.expression_basis[: expression.shape[-1]].reshape(expression.shape[-1], -1), pose)
    vertices = shaped + (expression @ moves).reshape(*expression.shape[:-1], count, 3)
    if rig.pose_basis is not None:
        vertices = vertices + pose_correctives(_like(rig.pose_basis, pose), pose)
    return linear_blend_skinning(vertices, joints, _like(rig.weights, pose), pose, rig.parents.tolist())


def pose_correctives(pose_basis: Any, pose: Any) -> Any:
    """Displacement [*b, V, 3] of FLAME's pose correctives: linear in the elements of R - I of all joints but the root.

    Args:
        pose_basis: [V, 3, 9 (J - 1)].
        pose: [*b, J, 3].
    """
    rotations = rotation_matrices(pose[..., 1:, :]) - _like(np.eye(3), pose)
    features = rotations.reshape(*pose.shape[:-2], -1)
    count = pose_basis.shape[0]
    return (features @ pose_basis.reshape(3 * count, -1).T).reshape(*features.shape[:-1], count, 3)


def pose_vertices(rig: RigArrays, expression: Mapping[str, float], pose: Any) -> F32:
    """Vertices of an identity-baked rig under named expressions and a pose [J, 3]; [V, 3] metres.

    Raises:
        RigError: an expression that the rig does not have.
    """
    vertices = rig.vertices
    index = {name: i for i, name in enumerate(rig.expression_names)}
    for name, value in expression.items():
        if name not in index:
            raise RigError(f"rig {rig.rig_id} has no expression '{name}'", f"use one of {', '.join(rig.expression_names[:6])}, ...")
        if value:
            vertices = vertices + np.float32(value) * rig.expressions[index[name]]
    rotations = np.asarray(pose, np.float32)
    if not rotations.any():
        return np.array(vertices, np.float32)
    return linear_blend_skinning(vertices, rig.joints, rig.weights, rotations, rig.parents.tolist()).astype(np.float32)


def _namespace(array: Any) -> Any:
    """numpy, or torch for a tensor: the two agree on every function used here."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch


def _like(array: Any, reference: Any) -> Any:
    """The array in the reference's library, dtype and device."""
    if isinstance(reference, np.ndarray):
        return array.astype(reference.dtype, copy=False)
    import torch

    if isinstance(array, np.ndarray) and not array.flags.writeable:
        array = array.copy()  # torch cannot mark a tensor read-only
    return torch.as_tensor(array, dtype=reference.dtype, device=reference.device)


def _apply(matrix: Any, vector: Any) -> Any:
    return (matrix @ vector[..., None])[..., 0]
