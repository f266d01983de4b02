"""Colours for what no portrait shows: each label diffuses on its own, so hair never bleeds into skin nor skin into cloth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.spatial import cKDTree

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import Anatomy
from .labels import CLOTH, HAIR, SKIN, Labels
from .observe import Observation

STIFFNESS = 6e-3
"""Weight of smoothness against one full observation."""
MIRROR_WEIGHT = 0.02


@dataclass(frozen=True)
class Fill:
    """Low-frequency completion over the rig's V vertices.

    Attributes:
        label: [V, 3] probabilities of hair, skin and cloth everywhere.
        color: [V, 3 labels, 3] colour that each label would have there.
    """

    label: F32
    color: F32

    @property
    def blended(self) -> F32:
        """[V, 3] colour by label."""
        return np.einsum("vl,vlc->vc", self.label, self.color).astype(np.float32)


def fill_labels(
    neutral: F32, anatomy: Anatomy, hair_height: F32, seen: Observation, present: np.ndarray, ears: dict[str, bool]
) -> F32:
    """[V, 3] label probabilities on the whole head from those observed.

    The inner face is skin, whatever it looks like (brows, beards); where the hair shell stands out there is hair.
    """
    count = len(neutral)
    laplacian = mesh.graph_laplacian(anatomy.edges, count)
    target, weight = seen.label * 1.0, seen.label_weight * 1.0
    skin, hair = np.eye(3)[SKIN], np.eye(3)[HAIR]
    pinned = lambda where, value, strength: (
        np.where(where[:, None] > 0, value, target), np.where(where > 0, np.maximum(strength * where, weight * 0), weight)
    )
    target, weight = pinned(np.where(anatomy.inner > 0.4, 1.0, 0.0), skin, 1.0)
    raised = np.clip((hair_height / anatomy.unit - 0.006) / 0.006, 0, 1) * present[HAIR]
    target, weight = pinned(np.where((raised > 0.5) & (seen.label_weight < 0.2), raised, 0.0), hair, 0.4)
    for side, sign in (("left", 1), ("right", 0)):
        own = (anatomy.ears > 0.5) & (anatomy.left == sign)
        target, weight = pinned(np.where(own, 1.0, 0.0), skin if ears[side] or not present[HAIR] else hair, 1.0)
    no_hair_here = (anatomy.neck > 0.9) & (seen.label_weight < 0.2)
    target, weight = pinned(np.where(no_hair_here & (anatomy.base > 0.5), 1.0, 0.0), np.eye(3)[CLOTH if present[CLOTH] else SKIN], 0.05)
    weight = weight * anatomy.body + weight * anatomy.ears * (anatomy.body < 0.5)
    label = mesh.solve_symmetric(sp.diags(weight + 1e-6) + 2e-3 * laplacian, weight[:, None] * target + 1e-6 * skin)
    sharpness = 2.2 + 4.0 * np.clip(1 - 2 * weight, 0, 1)[:, None]
    label = np.clip((label - 0.5) * sharpness + 0.5, 0, 1) + 1e-6
    return (label / label.sum(1, keepdims=True)).astype(np.float32)


def fill_colors(neutral: F32, anatomy: Anatomy, label: F32, seen: Observation, pixels: Labels) -> F32:
    """[V, 3 labels, 3]: screened Laplace fills, one a label, with mirrored gradients and far hair copied from near hair."""
    laplacian = mesh.graph_laplacian(anatomy.edges, len(neutral))
    skin_part = ((anatomy.body + anatomy.ears) > 0.5) & (anatomy.cavity < 0.3)
    out = np.empty((len(neutral), 3, 3), np.float32)
    for index in (HAIR, SKIN, CLOTH):
        agreement = np.clip(np.minimum(label[:, index], seen.label[:, index] + (anatomy.inner > 0.4)) * 2 - 0.6, 0, 1)
        weight = seen.weight * agreement * skin_part
        prior = np.broadcast_to(pixels.colour[index], (len(neutral), 3)).copy()
        prior_weight = np.full(len(neutral), 2e-6)
        if index == HAIR and (weight > 0.35).sum() > 60:
            prior, prior_weight = _copied_hair(neutral, seen.color, weight), 0.05 * np.clip(1 - 2 * weight, 0, 1)
        if index == SKIN:
            prior = prior * 0.88
            prior_weight = 4e-4 * anatomy.neck * np.clip(1 - 3 * weight, 0, 1) + 2e-6
        gradient = _mirrored_gradient(anatomy, weight, seen.color)
        mirrored = weight[anatomy.mirror] * np.clip(1 - 1.5 * weight, 0, 1) * 0.35 * MIRROR_WEIGHT
        matrix = sp.diags(weight + mirrored + prior_weight) + STIFFNESS * laplacian
        right = weight[:, None] * seen.color + mirrored[:, None] * seen.color[anatomy.mirror] + prior_weight[:, None] * prior
        out[:, index] = np.clip(mesh.solve_symmetric(matrix, right + STIFFNESS * gradient), 0, 1)
    return out


def _copied_hair(neutral: F32, color: F32, weight: np.ndarray) -> np.ndarray:
    """Each vertex takes the colour of observed hair near it, the back of the head folded onto the front."""
    middle = np.median(neutral[:, 2])
    fold = lambda p: np.stack([p[:, 0], p[:, 1], np.abs(p[:, 2] - middle) * 0.6], 1)
    source = np.flatnonzero(weight > 0.35)
    distance, index = cKDTree(fold(neutral[source])).query(fold(neutral), k=3)
    near = 1 / (distance + 1e-4)
    return (color[source][index] * near[..., None]).sum(1) / near.sum(1, keepdims=True)


def _mirrored_gradient(anatomy: Anatomy, weight: np.ndarray, color: F32) -> np.ndarray:
    """[V, 3] divergence of the other side's colour differences, where that side is seen and this one is not
    (Pérez et al. 2003): shading goes over, absolute brightness does not."""
    a, b = anatomy.edges.T
    other = color[anatomy.mirror]
    good = (weight[anatomy.mirror] > 0.25) & (anatomy.body > 0.5)
    unseen = 1 - np.clip(3 * weight, 0, 1)
    share = (good[a] & good[b]) * np.maximum(unseen[a], unseen[b])
    difference = (other[a] - other[b]) * share[:, None]
    count = len(weight)
    sums = [np.bincount(a, difference[:, c], count) - np.bincount(b, difference[:, c], count) for c in range(3)]
    return np.stack(sums, 1)
