"""The frame that the head stands still in: its skull's. Every camera is brought into it, so that the head's turning is the camera's.

The planes are the same whichever way the person looks, and the motion code has only the face to tell of. The rig serves to
measure where the skull is, in the training's views and in a photo; it takes no part in the animation.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.models.networks import METRE
from backend.protocol.avatar import F32, RigArrays
from backend.rig.rig import Rig

STILL = 1e-3
"""Metres that the skull's vertices may be moved by an expression."""
OWNED = 0.99
FEWEST = 12
FACE_DOWN, FACE_FRONT, FACE_SIDE = 0.1, 0.6, 2.1
"""The middle of the face within the head's ball, in its radii, and the side of its picture in the head's half width."""


class SkullFrame(nn.Module):
    """Where the skull's vertices are in a rig's rest pose.

    Attributes:
        ball: [2, 3] middle and half sizes of the head, world units.
    """

    index: Tensor
    points: Tensor
    ball: Tensor

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        index = skull(rig)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.register_buffer("points", METRE * torch.from_numpy(rig.template[index].astype(np.float32)), persistent=False)
        self.register_buffer("ball", torch.from_numpy(head_ball(rig)), persistent=False)

    def camera(self, camera: Float[Tensor, "b 3 4"], vertices: Float[Tensor, "b v 3"]) -> Float[Tensor, "b 3 4"]:
        """A camera of the world, in which a posed head stands, as one of the skull's frame; `vertices` in world units."""
        turn, move = rigid(self.points.expand(len(vertices), -1, -1), vertices[:, self.index])
        rotation = turn @ camera[:, :, :3]
        shift = (move[:, None] @ camera[:, :, :3])[:, 0] + camera[:, :, 3]
        return torch.cat([rotation, shift[..., None]], -1)

    def into_rest(self, rest: F32) -> tuple[F32, F32]:
        """R [3, 3] and t [3] in metres: a point p of the skull's frame is p R + t among a head's rest vertices [V, 3], metres."""
        head = METRE * torch.from_numpy(np.asarray(rest, np.float32))[None]
        turn, move = rigid(self.points[None].cpu(), head[:, self.index.cpu()])
        return turn[0].numpy(), (move[0] / METRE).numpy()


def rigid(source: Float[Tensor, "b n 3"], target: Float[Tensor, "b n 3"]) -> tuple[Float[Tensor, "b 3 3"], Float[Tensor, "b 3"]]:
    """R and t of the rigid motion nearest to source -> target, for row vectors: target = source R + t (Kabsch 1976)."""
    a, b = source.mean(1), target.mean(1)
    u, _, v = torch.linalg.svd((source - a[:, None]).transpose(1, 2).double() @ (target - b[:, None]).double())
    sign = torch.linalg.det(u @ v).sign()
    u = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1)
    turn = (u @ v).to(source.dtype)
    return turn, b - (a[:, None] @ turn)[:, 0]


def head_joint(rig: Rig | RigArrays) -> int:
    """The joint that carries the skull."""
    return int(np.argmax(rig.weights.sum(0)))


def skull(rig: Rig) -> np.ndarray:
    """Vertices that move with the skull alone; all where a rig has none."""
    motion = np.linalg.norm(rig.expression_basis, axis=2).max(0) if len(rig.expression_basis) else np.zeros(len(rig.template))
    found = np.flatnonzero((rig.weights[:, head_joint(rig)] > OWNED) & (motion < STILL))
    return found if len(found) >= FEWEST else np.arange(len(rig.template))


def head_ball(rig: Rig) -> F32:
    """[2, 3] middle and half sizes, world units, of the head from chin to crown."""
    points = rig.template
    low = points[:, 1].min()
    if "jaw" in rig.joint_names:
        jaw = rig.weights[:, rig.joint_names.index("jaw")] > 0.5
        low = points[jaw, 1].min() if jaw.any() else low
    head = points[points[:, 1] >= low]
    first, last = head.min(0), head.max(0)
    return (METRE * np.stack([(first + last) / 2, (last - first) / 2])).astype(np.float32)


def face_of(ball: Float[Tensor, "2 3"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, ""]]:
    """Middle of the face and side of the square about it, world units."""
    offset = ball.new_tensor([0.0, -FACE_DOWN, FACE_FRONT]) * ball[1]
    return ball[0] + offset, FACE_SIDE * ball[1, 0]
