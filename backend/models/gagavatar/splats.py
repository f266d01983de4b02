"""The network's Gaussians as an avatar's splats: native, coloured by their first three features, following the rig as in the paper."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from backend.models.networks import METRE, GaussianAttributes, ellipsoids
from backend.protocol.avatar import F32, I32, SH_C0, RigArrays, SplatArrays

from .network import FLAME_VERTICES, FeatureGaussians

POOLS = (4, 2, 1)
"""Lifted Gaussians along each side of the square that becomes one, for LOD 0, 1, 2."""
STILL = 0.5
"""Vertices that the root moves by at least this share are shoulders."""


def pooled(gaussians: FeatureGaussians, pool: int) -> FeatureGaussians:
    """With squares of `pool` x `pool` lifted Gaussians made one each: means by opacity, as many times larger.

    The two lifted sets are square maps; what does not fill a whole square at their right and lower rims is left out.
    """
    if pool == 1:
        return gaussians
    side = round(((gaussians.means.shape[1] - FLAME_VERTICES) / 2) ** 0.5)
    weight = _maps(gaussians.opacities, side).clamp_min(1e-4)
    average = lambda image: functional.avg_pool2d(image, pool)
    rest = average(weight)
    mean = lambda values: _rows(average(_maps(values, side) * weight) / rest)
    # Quaternions of opposite sign turn alike: the sign of each is chosen by its first component before they are averaged.
    turns = torch.where(gaussians.rotations[..., :1] < 0, -gaussians.rotations, gaussians.rotations)
    lifted = FeatureGaussians(
        means=mean(gaussians.means),
        colors=mean(gaussians.colors),
        opacities=_rows(average(_maps(gaussians.opacities, side))),
        scales=pool * mean(gaussians.scales),
        rotations=functional.normalize(mean(turns), dim=-1),
    )
    return FeatureGaussians(
        *(torch.cat([own[:, :FLAME_VERTICES], part], 1) for own, part in zip(gaussians, lifted, strict=True))
    )  # fmt: skip


def _maps(values: Float[Tensor, "1 n c"], side: int) -> Float[Tensor, "2 c y x"]:
    """The lifted sets' attribute as two images."""
    return values[0, FLAME_VERTICES:].reshape(2, side, side, -1).permute(0, 3, 1, 2)


def _rows(image: Float[Tensor, "2 c y x"]) -> Float[Tensor, "1 m c"]:
    return image.permute(0, 2, 3, 1).reshape(1, -1, image.shape[1])


def avatar_splats(rig: RigArrays, gaussians: FeatureGaussians) -> SplatArrays:
    """Splats in the rest pose.

    Those of vertices sit on them and follow them. Lifted ones do not move with the expression (as in the network): they are bound
    to a triangle that no expression moves, of the skull or, where they lie at the shoulders, of what the root alone moves.

    Args:
        gaussians: a batch of one.
    """
    lifted: F32 = (gaussians.means[0, FLAME_VERTICES:] / METRE).cpu().numpy()
    face, barycentric = _on_vertices(rig.faces, FLAME_VERTICES)
    face = np.concatenate([face, _carriers(rig, lifted)])
    barycentric = np.concatenate([barycentric, np.full((len(lifted), 3), 1 / 3, np.float32)])
    rotation, scale = ellipsoids(GaussianAttributes(*gaussians[1:]))
    color = gaussians.colors[0, :, :3].clamp(0, 1).cpu().numpy()
    return SplatArrays(
        position=np.concatenate([rig.vertices, lifted]).astype(np.float32),
        rotation=rotation,
        scale=scale,
        opacity=np.ascontiguousarray(gaussians.opacities[0, :, 0].cpu().numpy(), np.float32),
        sh=np.ascontiguousarray(((color - 0.5) / SH_C0)[:, None], np.float32),
        face=face.astype(np.int32),
        barycentric=barycentric,
    )


def _on_vertices(faces: I32, count: int) -> tuple[I32, F32]:
    """A triangle and barycentric coordinates for each vertex; a vertex without a triangle gets the first one's first corner."""
    face, barycentric = np.zeros(count, np.int32), np.tile(np.array([1, 0, 0], np.float32), (count, 1))
    face[faces.ravel()] = np.repeat(np.arange(len(faces)), 3)
    barycentric[faces.ravel()] = np.tile(np.eye(3, dtype=np.float32), (len(faces), 1))
    return face, barycentric


def _carriers(rig: RigArrays, points: F32) -> NDArray[np.integer]:
    """For each point the triangle that carries it: the skull's or the root's, by the vertex nearest to it."""
    from scipy.spatial import KDTree

    head = int(np.argmax(rig.weights.sum(0)))
    skull, root = _stillest(rig, head), _stillest(rig, 0)
    nearest = KDTree(rig.vertices).query(points)[1]
    return np.where(rig.weights[nearest, 0] > STILL, root, skull)


def _stillest(rig: RigArrays, joint: int) -> int:
    """The triangle that this joint moves and that expressions turn least: largest area for the motion of its corners."""
    owned = rig.weights[:, joint][rig.faces].min(1)
    motion = np.linalg.norm(rig.expressions, axis=2).sum(0)[rig.faces].max(1)
    corners = rig.vertices[rig.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    enough = owned >= 0.98 * owned.max()
    return int(np.argmax(np.where(enough, np.sqrt(area) / (motion + 1e-6), -1)))
