"""FLAME's expression coefficients on another rig's named expressions, by the landmarks that both rigs have.

The map holds how landmarks move with each coefficient of the one and each expression of the other; whoever reads a FLAME
sequence (the add-on) solves each frame by it. It is made from the user's own FLAME file and holds nothing but these motions.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import numpy as np

from backend.protocol.avatar import F32
from backend.protocol.errors import RigError
from backend.rig.rig import Rig

from .landmark_model import LandmarkModel, landmark_model
from .rotation import F64

FORMAT = 1
MIN_COMMON = 60


@dataclass(frozen=True)
class FlameMap:
    """How L landmarks move, in the target's metres and axes, jaw at rest.

    Attributes:
        source: [L, 3, C] by FLAME's coefficients.
        target: [L, 3, E] by the target's expressions.
        prior: [E] cost of an expression squared, as the tracker weighs it.
        one_sided: [E] True for expressions that mean something from 0 on only.
        expression_names: E names.
        rig_id: of the target; flame_id: of the source.
    """

    source: F32
    target: F32
    prior: F32
    one_sided: np.ndarray
    expression_names: tuple[str, ...]
    rig_id: str
    flame_id: str


def flame_map(flame: Rig, rig: Rig) -> FlameMap:
    """Compare two rigs that have landmarks.

    Args:
        flame: whose coefficients are to be understood, see `backend.tracking.with_landmarks`.
        rig: whose expressions shall show them.
    Raises:
        RigError: too few landmarks in common.
    """
    theirs, ours = landmark_model(flame), landmark_model(rig)
    _, left, right = np.intersect1d(theirs.index, ours.index, return_indices=True)
    if len(left) < MIN_COMMON:
        raise RigError(f"{flame.rig_id} and {rig.rig_id} have {len(left)} landmarks in common; {MIN_COMMON} are needed")
    turn, scale = _similarity(theirs.template[left], ours.template[right])
    return FlameMap(
        source=(scale * np.einsum("ij,ljc->lic", turn, _motion(theirs, left))).astype(np.float32),
        target=_motion(ours, right).astype(np.float32),
        prior=ours.expression_prior.astype(np.float32),
        one_sided=ours.one_sided > 0,
        expression_names=rig.expression_names,
        rig_id=rig.rig_id,
        flame_id=flame.rig_id,
    )


def encode_flame_map(result: FlameMap) -> bytes:
    """The map as an .npz without Python objects; its facts are JSON in an array of bytes."""
    facts = {
        "format": FORMAT,
        "expression_names": result.expression_names,
        "rig_id": result.rig_id,
        "flame_id": result.flame_id,
    }
    file = io.BytesIO()
    np.savez_compressed(
        file,
        flame_map=np.frombuffer(json.dumps(facts).encode(), np.uint8),
        source=result.source,
        target=result.target,
        prior=result.prior,
        one_sided=result.one_sided,
    )
    return file.getvalue()


def _motion(model: LandmarkModel, chosen: np.ndarray) -> F64:
    """[L, 3, E] of the chosen landmarks, without what all of them share: a head that moves as a whole is the neck's."""
    motion = model.expression[chosen]
    return motion - motion.mean(0, keepdims=True)


def _similarity(source: F64, target: F64) -> tuple[F64, float]:
    """Rotation [3, 3] and scale that carry `source` [L, 3] to `target` (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    return (u * signs) @ vt, float((s * signs).sum() / (a**2).sum())
