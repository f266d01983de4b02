"""FLAME as GAGAvatar drives it: five world units a metre, joints that follow the expression, landmarks by name."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from backend.models.networks import METRE
from backend.rig import Rig
from backend.rig.skinning import joint_transforms, linear_blend_skinning, pose_correctives

EYELID_VERTICES = {37: (2452, 2454), 38: (2471,), 40: (2276,), 41: (2360,), 43: (1292,), 44: (1217,), 46: (999,), 47: (827,)}
"""Landmark -> FLAME's vertices whose mean replaces it on the released code's rescaling path (quirk G9)."""


def full_pose(pose: Float[Tensor, "*b 6"], eyes: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 5 3"]:
    """Axis-angle of root, neck, jaw and eyes from the tracker's codes (global and jaw; left and right eye).

    Quirk Q6: the neck's is always zero; trackers keep the head's rotation in the camera, so that the root's is zero too.
    """
    return torch.stack([pose[..., :3], torch.zeros_like(pose[..., :3]), pose[..., 3:], eyes[..., :3], eyes[..., 3:]], -2)


def flame_vertices(
    rig: Rig, shape: Float[Tensor, "*b s"], expression: Float[Tensor, "*b e"], pose: Float[Tensor, "*b 5 3"]
) -> tuple[Float[Tensor, "*b v 3"], Float[Tensor, "*b 5 3"]]:
    """Posed vertices in world units, and posed joints in metres.

    As in the released code (and unlike `backend.rig.skin`), joints are regressed after the expression was added.
    """
    like = lambda array: torch.as_tensor(array, dtype=pose.dtype, device=pose.device)
    count = len(rig.template)
    shapes = like(rig.shape_basis)[..., : shape.shape[-1]].reshape(3 * count, -1)
    moves = like(rig.expression_basis)[: expression.shape[-1]].reshape(expression.shape[-1], -1)
    vertices = like(rig.template) + (shape @ shapes.T + expression @ moves).unflatten(-1, (count, 3))
    joints = like(rig.joint_regressor) @ vertices
    if rig.pose_basis is not None:
        vertices = vertices + pose_correctives(like(rig.pose_basis), pose)
    parents = rig.parents.tolist()
    rotation, translation = joint_transforms(joints, pose, parents)
    posed = (rotation @ joints[..., None])[..., 0] + translation
    return METRE * linear_blend_skinning(vertices, joints, like(rig.weights), pose, parents), posed


def landmarks(
    vertices: Float[Tensor, "*b v 3"], faces: Int[Tensor, "f 3"], index: Int[Tensor, " l"], barycentric: Float[Tensor, "l 3"]
) -> Float[Tensor, "*b l 3"]:
    """Barycentric points of a mesh."""
    return torch.einsum("...lkx,lk->...lx", vertices[..., faces[index], :], barycentric)


def with_picked_eyelids(points: Float[Tensor, "*b 70 3"], vertices: Float[Tensor, "*b v 3"]) -> Float[Tensor, "*b 70 3"]:
    """Landmarks with the eight points of the eyelids taken from FLAME's own vertices."""
    points = points.clone()
    for landmark, chosen in EYELID_VERTICES.items():
        points[..., landmark, :] = vertices[..., list(chosen), :].mean(-2)
    return points
