"""Colours for what no portrait shows: each label diffuses on its own, so hair never bleeds into skin nor skin into cloth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import Anatomy
from .eyelids import eye_opening
from .labels import CLOTH, HAIR, SKIN, Labels
from .observe import Observation
from .view import View

STIFFNESS = 6e-3
"""Weight of smoothness against one full observation."""
MIRROR_WEIGHT = 0.02
BARE_HEIGHT = 0.008
"""Metres that a neck may stand out without being hair, as in `observe`."""
CLOSE_HEIGHT = 0.003
"""Metres of hair beside the jaw below which the outline is the skin's."""
LID_REACH = 0.016
"""Metres from the lids within which only what looks like skin may colour them."""
LASH_REACH = 0.05
"""Reach of lashes and liner around an eye's opening, in distances of the irises."""


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
    neutral: F32,
    anatomy: Anatomy,
    hair_height: F32,
    seen: Observation,
    above_collar: NDArray[np.bool_],
    present: NDArray,
    ears: dict[str, bool],
) -> F32:
    """[V, 3] label probabilities on the whole head from those observed.

    The inner face is skin, whatever it looks like (brows, beards); where the hair shell stands out, and on an unseen
    scalp, there is hair; there is no cloth above the collar.
    """
    laplacian = mesh.graph_laplacian(anatomy.edges, len(hair_height))
    field = _Pinned(seen.label.astype(np.float64), seen.label_weight.astype(np.float64))
    unseen = seen.label_weight < 0.2
    below_ear = np.zeros(len(hair_height), bool)
    for side, sign in (("left", 1), ("right", 0)):
        below_ear |= (anatomy.left == sign) & (anatomy.scalp < 0.5) & ears[side]
    if present[HAIR]:
        field.pin(unseen & (anatomy.scalp > 0.5), HAIR, 0.4)  # not less: skin beside the ears would spread over the back
        if all(ears.values()):
            field.pin(unseen & above_collar & _below_ears(neutral, anatomy), SKIN, 0.4)  # short hair ends at the nape
        field.pin(unseen & (hair_height > 0.009 * anatomy.unit) & (anatomy.neck < 0.3) & ~below_ear, HAIR, 0.4)
    field.pin(unseen & (anatomy.neck > 0.9) & (anatomy.base > 0.5), CLOTH if present[CLOTH] else SKIN, 0.05)
    bare_neck = unseen & (anatomy.neck > 0.5) & (hair_height < BARE_HEIGHT * anatomy.unit)
    bare_neck |= unseen & _below_ears(neutral, anatomy) & (anatomy.scalp < 0.5) & (hair_height < CLOSE_HEIGHT * anatomy.unit)
    field.pin(bare_neck & above_collar, SKIN, 0.03)
    if present[CLOTH]:
        field.pin(bare_neck & ~above_collar, CLOTH, 0.05)  # else the nape's skin shows as a line beside the clothes in front of it
    field.target[above_collar, CLOTH] = 0
    field.pin(anatomy.inner > 0.4, SKIN, 1.0)
    for side, sign in (("left", 1), ("right", 0)):
        own = (anatomy.ears > 0.5) & (anatomy.left == sign)
        field.pin(own, SKIN if ears[side] or not present[HAIR] else HAIR, 1.0)
    skin_surface = np.maximum(anatomy.body, anatomy.ears)
    weight = field.weight * skin_surface
    matrix = sp.diags(weight + 1e-6) + 2e-3 * laplacian
    label = mesh.solve_symmetric(matrix, weight[:, None] * field.target + 1e-6 * np.eye(3)[SKIN])
    label[above_collar, CLOTH] = 0
    label /= np.maximum(label.sum(1, keepdims=True), 1e-6)
    label[_strands_apart(label[:, HAIR], anatomy)] = np.eye(3)[SKIN]
    sharpness = 2.2 + 4.0 * np.clip(1 - 2 * weight, 0, 1)[:, None]
    label = np.clip((label - 0.5) * sharpness + 0.5, 0, 1) + 1e-6
    return (label / label.sum(1, keepdims=True)).astype(np.float32)


def _strands_apart(hair: NDArray, anatomy: Anatomy) -> NDArray[np.bool_]:
    """[V] hair on the cheeks and below that no hair joins to the scalp: a shadow, or a strand's end on skin that turned away."""
    surface = (np.maximum(anatomy.body, anatomy.ears) > 0.5) & (hair > 0.5)
    inside = anatomy.edges[surface[anatomy.edges].all(1)]
    graph = sp.coo_matrix((np.ones(len(inside)), (inside[:, 0], inside[:, 1])), (len(hair),) * 2)
    part = connected_components(graph, directed=False)[1]
    joined = np.unique(part[surface & (anatomy.scalp > 0.5)])
    return surface & ~np.isin(part, joined)


def _below_ears(neutral: F32, anatomy: Anatomy) -> NDArray[np.bool_]:
    """[V] lower than the ears' lobes."""
    own = anatomy.ears > 0.5
    return neutral[:, 1] < neutral[own, 1].min() if own.any() else np.zeros(len(neutral), bool)


class _Pinned:
    """Targets [V, 3] and weights [V] of a diffusion, some overridden."""

    def __init__(self, target: NDArray, weight: NDArray) -> None:
        self.target, self.weight = target.copy(), weight.copy()

    def pin(self, where: NDArray[np.bool_], label: int, weight: float) -> None:
        self.target[where] = np.eye(3)[label]
        self.weight[where] = weight


def fill_colors(neutral: F32, anatomy: Anatomy, label: F32, seen: Observation, pixels: Labels, view: View) -> F32:
    """[V, 3 labels, 3]: screened Laplace fills, one a label, with mirrored gradients and far hair copied from near hair."""
    laplacian = mesh.graph_laplacian(anatomy.edges, len(neutral))
    skin_part = ((anatomy.body + anatomy.ears) > 0.5) & (anatomy.cavity < 0.3)
    around_lids = _around_lids(neutral, anatomy)
    inner = (anatomy.inner > 0.4) & ~around_lids
    lit = _lit_skin(seen, around_lids & (anatomy.body > 0.5), anatomy.left)
    lids = np.maximum(np.maximum(anatomy.lashes, anatomy.lid_fold), _beside_lashes(view, seen))
    out = np.empty((len(neutral), 3, 3), np.float32)
    for index in (HAIR, SKIN, CLOTH):
        agreement = np.clip(np.minimum(label[:, index], seen.label[:, index] + inner) * 2 - 0.6, 0, 1)
        weight = seen.weight * agreement * skin_part * (1 - lids) * lit
        prior = np.broadcast_to(pixels.colour[index], (len(neutral), 3)).copy()
        prior_weight = np.full(len(neutral), 2e-6)
        if index == HAIR:
            prior = _copied_hair(neutral, seen, weight * (seen.pixels[:, 1] < view.eye_row), pixels.colour[HAIR])
            prior_weight = 0.05 * np.clip(1 - 2 * weight, 0, 1) + 2e-6
        if index == SKIN:
            prior = prior * 0.88
            prior_weight = 4e-4 * anatomy.neck * np.clip(1 - 3 * weight, 0, 1) + 2e-6
        gradient = _mirrored_gradient(anatomy, weight, seen.color)
        mirrored = weight[anatomy.mirror] * np.clip(1 - 1.5 * weight, 0, 1) * (0.35 * MIRROR_WEIGHT + 0.3 * anatomy.ears)
        matrix = sp.diags(weight + mirrored + prior_weight) + STIFFNESS * laplacian
        right = weight[:, None] * seen.color + mirrored[:, None] * seen.color[anatomy.mirror] + prior_weight[:, None] * prior
        out[:, index] = np.clip(mesh.solve_symmetric(matrix, right + STIFFNESS * gradient), 0, 1)
    return out


def _around_lids(neutral: F32, anatomy: Anatomy) -> NDArray[np.bool_]:
    """[V] from lash to brow: there only what looks like skin may colour the lids, or they would close in the colour of lashes and shade."""
    lids = np.maximum(anatomy.lashes, anatomy.lid_fold) > 0.5
    if not lids.any():
        return lids
    return KDTree(neutral[lids]).query(neutral)[0] < LID_REACH * anatomy.unit


def _beside_lashes(view: View, seen: Observation) -> F32:
    """[V] 1 where seen near enough to an eye for lashes, liner or their shade."""
    return view.at(eye_opening(view, LASH_REACH), seen.pixels) * (seen.facing > 0)


def _lit_skin(seen: Observation, around: NDArray[np.bool_], left: F32) -> F32:
    """[V] 0 where what is seen around an eye is clearly darker than most of it: brow, crease, shade, liner."""
    light = seen.color.sum(1)
    share = np.ones(len(light), np.float32)
    for side in (0, 1):
        own = around & (left == side)
        sure = own & (seen.weight > 0.3)
        if sure.any():
            bright = max(float(np.percentile(light[sure], 70)), 1e-3)
            share[own] = np.clip((light[own] / bright - 0.82) / 0.12, 0, 1)
    return share


def fold(position: NDArray, middle: float) -> NDArray:
    """[N, 3] places where the back of the head lies on its front, depth counting less."""
    return np.stack([position[:, 0], position[:, 1], np.abs(position[:, 2] - middle) * 0.6], 1)


def _copied_hair(neutral: F32, seen: Observation, weight: NDArray, typical: F32) -> NDArray:
    """[V, 3] half the typical hair colour, half that of surely observed hair near by (weight [V] > 0.35), the back folded on the front."""
    source = np.flatnonzero((weight > 0.35) & (seen.label[:, HAIR] > 0.95))
    if len(source) < 8:
        return np.tile(typical, (len(neutral), 1))
    middle = float(np.median(neutral[:, 2]))
    distance, index = KDTree(fold(neutral[source], middle)).query(fold(neutral, middle), k=3)
    near = 1 / (distance + 1e-4)
    copied = (seen.color[source][index] * near[..., None]).sum(1) / near.sum(1, keepdims=True)
    return 0.5 * copied + 0.5 * typical


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
