"""What the refinement may change of an avatar's splats, each change bounded, and the splats as a photo's rig pose moves them.

Every change is told in the splat's own frame, relative to its size, so that it means the same in every pose: it is found in
the photos' poses and written into the rest pose. Unknowns are unbounded numbers u; the change is ``bound * tanh(u)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import KDTree
from torch import Tensor

from backend.models.projection.anatomy import INNER_LIPS, LEFT_EYE, RIGHT_EYE, Anatomy
from backend.protocol.avatar import F32, SH_C0, Avatar, RigArrays, SplatArrays
from backend.protocol.binding import bind, deform, rotation_matrices
from backend.rig import pose_vertices

from .photometric_pictures import Picture

SHIFT, TURN, STRETCH, FADE, TINT = 0.6, 0.25, 0.35, 1.5, 0.25
"""Most that one splat changes: shift in its own standard deviations, turn in radians, stretch in log units, opacity in
logits, colour in display units."""
SHAPE = 0.003
"""Most that the head's shape moves, metres."""
CONTROLS, REACH = 90, 1.6
"""Points that carry the shape's change, and the width of each one's influence in distances between neighbours."""
OPAQUE = 0.9999


@dataclass(frozen=True)
class Freedom:
    """How much of each bound a splat may use, 0..1: [N] geometry, colour; [V, K] influence of the shape's controls on rig vertices."""

    geometry: F32
    color: F32
    shape: F32


@dataclass(frozen=True)
class Unknowns:
    """The numbers that are optimised, all zero at the start.

    Attributes:
        shift, turn, stretch, tint: [N, 3]; fade: [N]. The splat's own.
        shape: [K, 3] of the controls.
        expression: [P, E] added to each picture's expression. camera: [P, 6] turn (radians) and shift (metres) of its camera.
    """

    shift: Tensor
    turn: Tensor
    stretch: Tensor
    fade: Tensor
    tint: Tensor
    shape: Tensor
    expression: Tensor
    camera: Tensor

    @staticmethod
    def zero(splats: int, controls: int, pictures: int, expressions: int, device: torch.device) -> Unknowns:
        sizes = ((splats, 3), (splats, 3), (splats, 3), (splats,), (splats, 3), (controls, 3), (pictures, expressions), (pictures, 6))
        return Unknowns(*(torch.zeros(size, device=device, requires_grad=True) for size in sizes))

    def copy(self) -> Unknowns:
        return self.map(lambda t: t.detach().clone())

    def map(self, function: Callable[[Tensor], Tensor]) -> Unknowns:
        return Unknowns(*(function(getattr(self, name)) for name in Unknowns.__dataclass_fields__))


@dataclass(frozen=True)
class Posed:
    """The unrefined splats in one picture's pose.

    Attributes:
        position, scale: [N, 3]. rotation: [N, 4]. axes: [N, 3, 3] its matrices. carry: [N, 3, 3] from rest directions to posed ones.
    """

    position: Tensor
    rotation: Tensor
    scale: Tensor
    axes: Tensor
    carry: Tensor


class Cloud:
    """Head and shoulders of one level, and how unknowns change them."""

    def __init__(self, avatar: Avatar, level: int, freedom: Callable[[SplatArrays], Freedom], device: torch.device) -> None:
        self.head = len(avatar.lods[level])
        self.rest = avatar.splats(level)
        self.rig, self.device = avatar.rig, device
        self.freedom = freedom(self.rest)
        self._local = bind(avatar.rig, self.rest)
        send = lambda a: torch.tensor(np.ascontiguousarray(a, np.float32), device=device)
        self._geometry, self._color = send(self.freedom.geometry)[:, None], send(self.freedom.color)[:, None]
        self._triangle = torch.tensor(self._local.triangle.astype(np.int64), device=device)
        self._weights = send(self.rest.barycentric)
        self._shape = send(self.freedom.shape)
        self._expressions = send(avatar.rig.expressions.reshape(len(avatar.rig.expressions), -1))
        self._rgb = send(np.clip(self.rest.rgb, 0, 1))
        flat = np.argmin(self.rest.scale, axis=1)
        upwards = np.take_along_axis(rotation_matrices(self._local.rotation)[:, 2], flat[:, None], 1)
        self._flat = torch.tensor(flat, device=device)
        self._outwards = send(np.where(upwards < 0, -1, 1))
        self._logit = torch.logit(send(self.rest.opacity).clamp(1e-4, OPAQUE))

    def posed(self, picture: Picture) -> Posed:
        """Bring the splats into a picture's pose."""
        rig = replace(self.rig, vertices=(self.rig.vertices + picture.correction).astype(np.float32))
        position, rotation, scale = deform(self._local, pose_vertices(rig, picture.driver.expression, picture.driver.pose))
        axes, rest = rotation_matrices(rotation), rotation_matrices(self.rest.rotation)
        send = lambda a: torch.tensor(np.ascontiguousarray(a, np.float32), device=self.device)
        return Posed(send(position), send(rotation), send(scale), send(axes), send(axes @ np.swapaxes(rest, 1, 2)))

    def normals(self, posed: Posed) -> Tensor:
        """[N, 3] the splats' thinnest axes, outwards as their triangles are."""
        index = self._flat[:, None, None].expand(-1, 3, 1)
        return torch.take_along_dim(posed.axes, index, 2)[..., 0] * self._outwards

    def refined(self, posed: Posed, unknowns: Unknowns, picture: int | None) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Position [N, 3], rotation [N, 4] of any length, scale [N, 3], opacity [N] and colour [N, 3].

        Args:
            picture: whose expression's change is added; None for none.
        """
        own = SHIFT * self._geometry * torch.tanh(unknowns.shift) * posed.scale
        # Products of small matrices, one a splat: torch's batched product takes four times as long for them.
        moved = (posed.axes * own[:, None]).sum(2) + (posed.carry * self._moved(unknowns, picture)[:, None]).sum(2)
        scale = posed.scale * torch.exp(STRETCH * self._geometry * torch.tanh(unknowns.stretch))
        turn = 0.5 * TURN * self._geometry * torch.tanh(unknowns.turn)
        rotation = turned(posed.rotation, turn)
        return posed.position + moved, rotation, scale, self.opacity(unknowns), self.color(unknowns)

    def opacity(self, unknowns: Unknowns) -> Tensor:
        return torch.sigmoid(self._logit + FADE * self._geometry[:, 0] * torch.tanh(unknowns.fade))

    def color(self, unknowns: Unknowns) -> Tensor:
        return self._rgb + TINT * self._color * torch.tanh(unknowns.tint)

    def _moved(self, unknowns: Unknowns, picture: int | None) -> Tensor:
        """[N, 3] how far shape and expression carry each splat, in the rest pose's directions."""
        vertices = self._shape @ (SHAPE * torch.tanh(unknowns.shape))
        if picture is not None:
            vertices = vertices + (unknowns.expression[picture] @ self._expressions).reshape(-1, 3)
        return (vertices[self._triangle] * self._weights[..., None]).sum(1)

    def written(self, unknowns: Unknowns) -> SplatArrays:
        """Head and shoulders at rest with the change applied; what is not free stays as it is, to the bit."""
        rest = self.rest
        send = lambda a: torch.tensor(np.ascontiguousarray(a, np.float32), device=self.device)
        axes = send(rotation_matrices(rest.rotation))
        still = Posed(send(rest.position), send(rest.rotation), send(rest.scale), axes, torch.eye(3, device=self.device).expand_as(axes))
        with torch.no_grad():
            position, rotation, scale, opacity, color = (t.cpu().numpy() for t in self.refined(still, unknowns, None))
        free, tinted = self.freedom.geometry > 0, self.freedom.color > 0
        unit = rotation / np.linalg.norm(rotation, axis=1, keepdims=True)
        carried = (self.freedom.shape.sum(1) > 0)[self._local.triangle].any(1) | free
        sh = rest.sh.copy()
        sh[tinted, 0] = ((np.clip(color, 0, 1) - 0.5) / SH_C0)[tinted]
        pick = lambda mask, new, old: np.where(mask.reshape(-1, *[1] * (old.ndim - 1)), new, old).astype(np.float32)
        return replace(
            rest,
            position=pick(carried, position, rest.position),
            rotation=pick(free, unit, rest.rotation),
            scale=pick(free, scale, rest.scale),
            opacity=pick(free, np.clip(opacity, 0, 1), rest.opacity),
            sh=sh,
        )


def turned(rotation: Tensor, half: Tensor) -> Tensor:
    """[N, 4] quaternions wxyz turned about their own axes by the small vectors `half` [N, 3], half the angle long."""
    w, v = rotation[:, :1], rotation[:, 1:]
    real = w - (v * half).sum(-1, keepdim=True)
    return torch.cat([real, v + w * half + torch.linalg.cross(v, half)], 1)


def shape_influence(rig: RigArrays, anatomy: Anatomy) -> F32:
    """[V, K] partition of unity over the outer skin: what no expression and no inner part must feel is left out.

    Lids, lips, eyes, teeth, tongue and cavity stay where the rig has them: what looks like their shape in a photo is mostly
    expression, and would be baked in.
    """
    outer = np.flatnonzero((anatomy.body > 0.5) & (anatomy.base < 0.5))
    points = rig.vertices[outer]
    picked, distance = [int(points[:, 2].argmax())], np.full(len(points), np.inf)
    for _ in range(min(CONTROLS, len(outer)) - 1):
        distance = np.minimum(distance, np.linalg.norm(points - points[picked[-1]], axis=1))
        picked.append(int(distance.argmax()))
    controls = points[picked]
    spacing = float(np.median(np.asarray(KDTree(controls).query(controls, k=2)[0])[:, 1]))
    weight = np.exp(-((np.linalg.norm(rig.vertices[:, None] - controls[None], axis=2) / (REACH * spacing)) ** 2) * 2)
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
    return (weight * stillness(rig, anatomy)[:, None]).astype(np.float32)


def stillness(rig: RigArrays, anatomy: Anatomy) -> F32:
    """[V] 0 at lids, lips and inner parts, 1 from 8 mm beside the lids' and lips' edges on."""
    edges = rig.vertices[anatomy.vertices((*INNER_LIPS, *LEFT_EYE, *RIGHT_EYE))]
    far = np.ones(len(rig.vertices), np.float32)
    if len(edges):
        distance = np.asarray(KDTree(edges).query(rig.vertices)[0]) / (0.001 * anatomy.unit)
        far = np.clip((distance - 2) / 6, 0, 1)
    return (far * (anatomy.body > 0.5) * (1 - anatomy.base)).astype(np.float32)
