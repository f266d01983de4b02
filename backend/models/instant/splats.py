"""The network's Gaussians on a rig: in Blender they follow the nearest triangle, and what that loses is measured.

The network moves each Gaussian by its own motion basis; Blender moves splats with the rig's triangles. So the Gaussians of the
neutral face are bound, and for each of the rig's expressions the motion that the triangles give is compared with the
network's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.models.networks import METRE, GaussianAttributes, ellipsoids
from backend.protocol.avatar import F32, I32, SH_C0, RigArrays, SplatArrays
from backend.protocol.binding import bind, deform, quaternion_product, quaternions
from backend.tracking.nearest_point import nearest_on_surface

FAR = 0.03
"""Metres from the rig beyond which a Gaussian is hair's or clothes': no expression moves it."""
MOVED = 1e-3
"""Metres; Gaussians that neither way moves by more do not count in the comparison."""


@dataclass(frozen=True)
class Loss:
    """What binding loses, over the named expressions at 1.

    Attributes:
        network, rig, apart: root mean square, metres, of the network's motion, of the triangles', and of their difference, over
            Gaussians that either moves, weighted by opacity.
    """

    network: float
    rig: float
    apart: float

    @property
    def sentence(self) -> str:
        """For the user."""
        network, rig, apart = (f"{1000 * value:.1f} mm" for value in (self.network, self.rig, self.apart))
        return (
            f"in Blender the splats follow the rig: at its expressions it moves them by {rig}, the network by {network}, {apart} apart "
            "(root mean square); render --refined and drive show the network's own motion"
        )


def rest_splats(rig: RigArrays, gaussians: GaussianAttributes, turn: F32, move: F32) -> SplatArrays:
    """Native splats in the rest pose, bound to the nearest triangle; far ones to what no expression moves.

    Args:
        gaussians: of one neutral head, in the skull's frame.
        turn, move: of `SkullFrame.into_rest`.
    """
    assert gaussians.positions is not None
    position = gaussians.positions[0].cpu().numpy() / np.float32(METRE) @ turn + move
    rotation, scale = ellipsoids(gaussians)
    color = gaussians.colors[0].clamp(0, 1).cpu().numpy()
    face, barycentric = _carriers(rig, position.astype(np.float64))
    return SplatArrays(
        position=np.ascontiguousarray(position, np.float32),
        rotation=quaternion_product(np.broadcast_to(quaternions(turn.T[None]), rotation.shape), rotation).astype(np.float32),
        scale=scale,
        opacity=np.ascontiguousarray(gaussians.opacities[0, :, 0].cpu().numpy(), np.float32),
        sh=np.ascontiguousarray(((color - 0.5) / SH_C0)[:, None], np.float32),
        face=face,
        barycentric=barycentric,
    )


def binding_loss(rig: RigArrays, splats: SplatArrays, motions: NDArray[np.floating]) -> Loss:
    """Compare the rig's motion of the splats with the network's.

    Args:
        motions: [E, N, 3] metres, displacement of each splat by each of the rig's expressions at 1.
    """
    local = bind(rig, splats)
    totals = np.zeros(4)
    for expression, own in zip(rig.expressions, motions, strict=True):
        carried = deform(local, (rig.vertices + expression).astype(np.float32))[0] - splats.position
        counted = (np.linalg.norm(own, axis=1) > MOVED) | (np.linalg.norm(carried, axis=1) > MOVED)
        weight = splats.opacity * counted
        square = lambda motion, weight=weight: float((weight * np.square(motion).sum(1)).sum())
        totals += [weight.sum(), square(own), square(carried), square(own - carried)]
    count = max(totals[0], 1e-9)
    return Loss(*(float(np.sqrt(total / count)) for total in totals[1:]))


def _carriers(rig: RigArrays, points: NDArray[np.float64]) -> tuple[I32, F32]:
    """Triangle and barycentric coordinates of each point's nearest place on the rig.

    Points beyond `FAR` are carried by the nearest triangle that no expression moves, at its middle.
    """
    from scipy.spatial import KDTree

    every = np.arange(len(rig.faces))
    face, barycentric = nearest_on_surface(rig.vertices, rig.faces, every, points)
    place = np.einsum("nk,nkd->nd", barycentric, rig.vertices[rig.faces[face]])
    far = np.linalg.norm(points - place, axis=1) > FAR
    motion = np.linalg.norm(rig.expressions, axis=2).max(0)[rig.faces].max(1) if len(rig.expressions) else np.zeros(len(rig.faces))
    still = np.flatnonzero(motion < MOVED)
    if far.any() and len(still):
        centres = rig.vertices[rig.faces[still]].mean(1)
        face[far] = still[KDTree(centres).query(points[far])[1]]
        barycentric[far] = np.float32(1 / 3)
    return face.astype(np.int32), barycentric.astype(np.float32)
