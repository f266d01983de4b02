"""What an evaluated avatar must look like: linear blend skinning and `protocol.binding.deform` in numpy."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from backend.protocol.binding import bind, deform, quaternion_product


def rotation_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def skinned(rig, expression: dict[str, float], pose: np.ndarray) -> np.ndarray:
    """Linear blend skinning (Li et al. 2017, eq. 2) of an identity-baked rig, [V, 3] in the avatar's frame."""
    values = np.array([expression.get(name, 0.0) for name in rig.expression_names])
    shaped = rig.vertices + np.einsum("e,evd->vd", values, rig.expressions)
    world = []
    for joint, parent in enumerate(rig.parents):
        local = np.eye(4)
        local[:3, :3] = rotation_matrix(np.asarray(pose[joint], np.float64))
        local[:3, 3] = rig.joints[joint] - (rig.joints[parent] if parent >= 0 else 0)
        world.append(world[parent] @ local if parent >= 0 else local)
    moves = np.array([m[:3, :3] for m in world])
    shifts = np.array([m[:3, 3] - m[:3, :3] @ joint for m, joint in zip(world, rig.joints, strict=True)])
    return np.einsum("vj,jkl,vl->vk", rig.weights, moves, shaped) + rig.weights @ shifts


def expected_splats(avatar, level: int, expression: dict[str, float], pose: np.ndarray):
    """Position, rotation and scale of a posed level by the contract, turned into Blender's frame."""
    position, rotation, scale = deform(bind(avatar.rig, avatar.splats(level)), skinned(avatar.rig, expression, pose).astype(np.float32))
    turn = np.tile(np.float32([np.sqrt(0.5), np.sqrt(0.5), 0, 0]), (len(position), 1))
    position = np.stack([position[:, 0], -position[:, 2], position[:, 1]], 1)
    return position, quaternion_product(turn, rotation), scale


def differences(read: dict[str, np.ndarray], expected) -> tuple[float, float, float]:
    """Largest distance in metres, rotation (1 - |q . q'|) and relative scale difference."""
    position, rotation, scale = expected
    return (
        float(np.linalg.norm(read["position"] - position, axis=1).max()),
        float(1 - np.abs(np.einsum("ni,ni->n", read["rotation"], rotation)).min()),
        float(np.abs(read["scale"] / scale - 1).max()),
    )


def evaluated(api: ModuleType, obj) -> dict[str, np.ndarray]:
    """What Blender shows of a splat object now."""
    import bpy

    bpy.context.view_layer.update()
    return api.read_evaluated(obj, bpy.context.evaluated_depsgraph_get())


def expect_same(read: dict[str, np.ndarray], expected) -> None:
    """Within 1e-5 m, and the same rotation and scale to float precision."""
    distance, turn, size = differences(read, expected)
    assert distance < 1e-5
    assert turn < 1e-5
    assert size < 1e-3
