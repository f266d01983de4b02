"""The rig as the network needs it: differentiable vertices in world units, displaced before they are posed (paper, eq. 1 and 2)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.models.networks import METRE
from backend.protocol.avatar import F32, RigArrays
from backend.rig.rig import Rig
from backend.rig.skinning import linear_blend_skinning, pose_correctives


class PosedHead(nn.Module):
    """A parametric head of any rig, or one identity of it: coefficients and pose in, world units out.

    Attributes:
        late_joints: joints are regressed from the mesh with its expression and displacement, as code derived from FLAME_PyTorch
            does; else from the neutral one, as bones are.
    """

    def __init__(
        self,
        template: F32,
        directions: F32,
        regressor: F32,
        weights: F32,
        parents: np.ndarray,
        pose_basis: F32 | None = None,
        late_joints: bool = False,
    ) -> None:
        """
        Args:
            template: [V, 3] metres.
            directions: [K, V, 3] displacement of each coefficient at 1.
            regressor: [J, V]; weights: [V, J]; parents: [J]; pose_basis: [V, 3, 9 (J - 1)] or None.
        """
        super().__init__()
        arrays = {"template": template, "directions": directions, "regressor": regressor, "weights": weights}
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)
        self.register_buffer("pose_basis", None if pose_basis is None else torch.tensor(pose_basis), persistent=False)
        self.parents = [int(p) for p in parents]
        self.late_joints = late_joints

    @staticmethod
    def of_rig(rig: Rig) -> PosedHead:
        """All identities of a rig, as the released code poses FLAME: coefficients are shape, then expression."""
        directions = np.concatenate([rig.shape_basis.transpose(2, 0, 1), rig.expression_basis])
        return PosedHead(rig.template, directions, rig.joint_regressor, rig.weights, rig.parents, rig.pose_basis, late_joints=True)

    @staticmethod
    def of_identity(rig: Rig, baked: RigArrays) -> PosedHead:
        """One identity, as the avatar plays it: coefficients are the baked rig's expressions."""
        return PosedHead(baked.vertices, baked.expressions, rig.joint_regressor, baked.weights, baked.parents)

    def forward(
        self, coefficients: Float[Tensor, "b k"], pose: Float[Tensor, "b j 3"], offsets: Float[Tensor, "b v 3"] | None = None
    ) -> Float[Tensor, "b v 3"]:
        """Posed vertices, world units.

        Args:
            coefficients: of `directions`.
            pose: axis-angle of each joint in its parent's frame, radians.
            offsets: displacement of the template, metres.
        """
        template = self.get_buffer("template")
        directions = self.get_buffer("directions")
        neutral = template.expand(len(coefficients), -1, -1) if offsets is None else template + offsets
        moved = neutral + (coefficients @ directions.flatten(1)).unflatten(1, template.shape)
        joints = self.get_buffer("regressor") @ (moved if self.late_joints else neutral)
        if self.pose_basis is not None:
            moved = moved + pose_correctives(self.pose_basis, pose)
        return METRE * linear_blend_skinning(moved, joints, self.get_buffer("weights"), pose, self.parents)
