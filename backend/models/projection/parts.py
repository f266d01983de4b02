"""Eyes, teeth, tongue and mouth cavity: mostly hidden in a photo, so completed from what they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from backend.protocol.avatar import F32

from .anatomy import MOUTH_CORNERS, Anatomy
from .observe import Observation, VertexKinds
from .view import View

CAVITY_RIM, CAVITY_DEEP = np.array([0.42, 0.16, 0.15], np.float32), np.array([0.15, 0.045, 0.045], np.float32)
TONGUE = np.array([0.60, 0.29, 0.28], np.float32)
CORNER_REACH = 0.006
"""Metres from the mouth's corners within which the cavity is lined like the lips; it fades over as much again."""
ENAMEL = np.array([0.80, 0.76, 0.70], np.float32)


def color_parts(
    colors: F32, position: F32, kinds: VertexKinds, anatomy: Anatomy, neutral: F32, seen: Observation, view: View, skin: F32
) -> F32:
    """Replace the colours [N, 3] of inner parts at rest positions [N, 3]; `skin` [3] sets their brightness and saturation."""
    colors = colors.copy()
    brightness = float(np.clip(skin.mean() / 0.6, 0.25, 1.25))
    saturation = float(np.clip((skin.max() - skin.min()) / max(skin.max(), 0.05) / 0.18, 0, 1))
    tint = lambda c: np.clip((c * saturation + c.mean(-1, keepdims=True) * (1 - saturation)) * brightness, 0, 0.95)
    lips = anatomy.vertices((13, 14, 82, 312, 87, 317))
    scale = anatomy.unit
    if len(lips):
        depth = np.clip((neutral[lips, 2].mean() - 0.002 * scale - position[:, 2]) / (0.022 * scale), 0, 1)[:, None]
    else:
        depth = np.full((len(position), 1), 0.7)
    cavity = kinds.cavity > 0.3
    colors[cavity] = tint(CAVITY_RIM * (1 - depth) + CAVITY_DEEP * depth)[cavity]
    _line_corners(colors, position, kinds, neutral[anatomy.vertices(MOUTH_CORNERS)], scale)
    tongue = kinds.tongue > 0.5
    colors[tongue] = tint(TONGUE * (1 - 0.45 * depth))[tongue]
    teeth = kinds.teeth > 0.5
    if teeth.any():
        colors[teeth] = _teeth(position, teeth, seen, view, brightness, scale)
    for sign in (0, 1):
        eye = (kinds.eyes > 0.5) & ((position[:, 0] > 0) == bool(sign))
        if eye.any():
            colors[eye] = _eye(position[eye], seen.color[eye], seen.weight[eye])
    return colors


def _line_corners(colors: F32, position: F32, kinds: VertexKinds, corners: F32, scale: float) -> None:
    """Give the cavity beside the mouth's corners [K, 3] the lips' colour, in place: there it shows between closed lips."""
    cavity = np.flatnonzero(kinds.cavity > 0.3)
    parts = np.max([kinds.cavity, kinds.teeth, kinds.tongue, kinds.eyes], 0)
    lips = np.flatnonzero(parts < 0.01)
    if not len(corners) or not len(cavity) or not len(lips):
        return
    distance = np.asarray(KDTree(corners).query(position[cavity])[0])
    share = np.clip(2 - distance / (CORNER_REACH * scale), 0, 1)[:, None]
    _, nearest = KDTree(position[lips]).query(position[cavity], k=min(8, len(lips)))
    lining = np.median(colors[lips][np.asarray(nearest).reshape(len(cavity), -1)], axis=1)
    colors[cavity] += share * (lining - colors[cavity])


def _teeth(position: F32, teeth: NDArray[np.bool_], seen: Observation, view: View, brightness: float, scale: float) -> F32:
    """[M, 3] seen enamel where it is seen; elsewhere the seen teeth carried on up and down, then sideways, darker towards the cheeks."""
    marks = np.clip(view.landmarks[[17, 0, 84, 314], :2].astype(int), 0, view.size - 1)
    lips = view.foreground[marks[:, 1], marks[:, 0]].mean(0)
    own, color = position[teeth], seen.color[teeth]
    candidate = seen.weight[teeth] > 0.3
    bright = np.percentile(color[candidate], 80, axis=0) if candidate.sum() > 20 else np.zeros(3)
    lateral = np.clip(1.05 - 0.7 * (np.abs(own[:, 0] - own[:, 0].mean()) / (0.024 * scale)) ** 2, 0.3, 1)[:, None]
    if bright.mean() <= 0.9 * lips.mean():
        return (np.clip(ENAMEL * brightness, 0, 0.9) * lateral).astype(np.float32)
    enamel = _share_of_enamel(color, bright, lips) * candidate
    sure = np.flatnonzero(enamel > 0.7)
    if len(sure) < 8:
        return (bright * lateral).astype(np.float32)
    along = own * np.array([1.0, 0.25, 0.25], np.float32)  # a tooth is one colour from root to edge
    distance, near = KDTree(along[sure]).query(along, k=min(6, len(sure)))
    mix = 1 / (distance + 2e-4 * scale)
    carried = (color[sure][near] * mix[..., None]).sum(1) / mix.sum(1, keepdims=True)
    beyond = np.clip(distance[:, :1] / (0.012 * scale), 0, 1)
    carried = np.minimum(carried, bright * lateral) * (1 - beyond) + bright * lateral * beyond
    return (enamel[:, None] * color + (1 - enamel[:, None]) * carried).astype(np.float32)


def _share_of_enamel(color: F32, bright: NDArray, lips: NDArray) -> NDArray:
    """[M] how much each colour is tooth: not the dark of the corners, and nearer to enamel than to the lips in hue."""
    redness = lambda c: (c[..., 0] - c[..., 1:].mean(-1)) / np.maximum(c.mean(-1), 0.05)
    red = (redness(color) - redness(bright)) / max(float(redness(lips) - redness(bright)), 0.05)
    light = color.mean(1) / max(float(bright.mean()), 1e-3)
    return np.clip((light - 0.4) / 0.2, 0, 1) * np.clip((0.7 - red) / 0.3, 0, 1)


def _eye(position: F32, color: F32, weight: F32) -> F32:
    """[M, 3] seen colours, completed by the eye's symmetry about its axis: rings of equal angle share their colour."""
    centre = (position.min(0) + position.max(0)) / 2
    ray = position - centre
    angle = np.arccos(np.clip(ray[:, 2] / np.maximum(np.linalg.norm(ray, axis=1), 1e-9), -1, 1))
    bins = np.minimum((angle / 0.08).astype(int), 24)
    mass = np.bincount(bins, weight, 25)
    ring = np.stack([np.bincount(bins, weight * color[:, c], 25) for c in range(3)], 1) / np.maximum(mass, 1e-6)[:, None]
    known = np.flatnonzero(mass > 0.15)
    if len(known) == 0:
        return np.where(angle[:, None] < 0.5, np.array([0.25, 0.17, 0.12], np.float32), np.array([0.80, 0.77, 0.74], np.float32)).astype(
            np.float32
        )
    white = weight * (angle > 0.55)
    sclera = np.percentile(color[white > 0.1], 75, axis=0) if (white > 0.1).sum() > 6 else ring[known[-1]]
    ring = np.stack([np.interp(np.arange(25), known, ring[known, c]) for c in range(3)], 1)
    ring[max(known[-1], 8) + 1 :] = sclera
    blend = np.clip(2.5 * weight, 0, 1)[:, None]
    return (blend * color + (1 - blend) * ring[bins]).astype(np.float32)
