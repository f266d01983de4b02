"""What each vertex of a surface looks like in a portrait, and how far that can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from backend.protocol.avatar import F32
from backend.splats import rasterize_mesh

from . import mesh
from .eyelids import eye_opening
from .labels import HAIR, SKIN, Labels, rows_below_collar
from .mouth import MouthPixels
from .view import View

FACING = (0.3, 0.6)
"""Cosine to the camera at which a vertex starts to be trusted, and is trusted fully."""
HAIR_FACING = (0.02, 0.3)
"""The same for hair, whose texture forgives stretching."""
DEPTH_TOLERANCE = 0.0025
"""Metres behind the depth buffer within which a vertex still counts as visible."""
EAR_RISE = 0.2
"""How far above the eyes ears may reach, in widths of the face."""
FOLD_DEPTH = (0.0002, 0.0008)
"""The same for what an open upper lid folds in, which is shallower than that: seen fully, and not at all."""


@dataclass(frozen=True)
class VertexKinds:
    """Soft fields [N] of a surface that decide which pixels a vertex may take."""

    eyes: F32
    teeth: F32
    tongue: F32
    cavity: F32
    ears: F32
    inner: F32
    left: F32
    lid_fold: F32
    lashes: F32
    scalp: F32
    raised: F32

    @property
    def expressive(self) -> NDArray[np.bool_]:
        """[N] parts that look different in every photo: eyes, lids and the inner mouth."""
        return np.max([self.eyes, self.teeth, self.tongue, self.cavity, self.lid_fold, self.lashes], 0) > 0.3


@dataclass(frozen=True)
class Observation:
    """One view's evidence at N vertices.

    Attributes:
        color: [N, 3] sampled foreground colours, 0..1; label: [N, 3] hair, skin, cloth.
        weight: [N] 0..1 trust in the colour; label_weight: [N] in the label, which may be read at a more grazing angle;
        blocked: [N] bool, where the mesh sticks out over something that is not the head.
        facing: [N] cosine to the camera; visible: [N] bool, not occluded.
        pixels: [N, 3] x, y and depth in the view; matte: [N] there.
    """

    color: F32
    label: F32
    weight: F32
    label_weight: F32
    blocked: NDArray[np.bool_]
    facing: F32
    visible: NDArray[np.bool_]
    pixels: F32
    matte: F32


def observe(
    view: View, labels: Labels, mouth: MouthPixels, posed: F32, faces: NDArray, kinds: VertexKinds, ears: dict[str, bool], spacing: float
) -> Observation:
    """Project posed vertices [N, 3] into a view.

    Args:
        ears: which ears show. spacing: mean distance of neighbouring vertices, metres; the picture is smoothed to match it.
    """
    pixels = view.camera.project(posed)
    normals = mesh.vertex_normals(posed, faces)
    facing = view.camera.facing(posed, normals)
    behind = _behind_front(view, pixels, faces)
    visible = behind < DEPTH_TOLERANCE
    matte = view.at(np.minimum(view.matte, view.inside), pixels)
    solid = np.clip((matte - 0.3) / 0.5, 0, 1)
    label = view.at(labels.probability, pixels)
    beside_ear = np.where(kinds.left > 0.5, ears["left"], ears["right"]) & (pixels[:, 1] > view.eye_row)
    grazing_hair = (label[:, HAIR] > 0.7) & (kinds.inner < 0.1) & ~_is_bare(view, pixels, kinds) & ~beside_ear
    ramp = lambda low, high: np.clip((facing - low) / (high - low), 0, 1)
    weight = visible * solid * (ramp(*FACING) + (ramp(*HAIR_FACING) - ramp(*FACING)) * grazing_hair)
    ear = visible * np.clip((facing - 0.05) / 0.2, 0, 1) * solid
    weight = np.where(kinds.ears > 0.5, np.maximum(weight, ear), weight)
    blocked = _behind_neck(view, labels, pixels, kinds) | _behind_ear(view, labels, pixels, kinds, ears)
    blocked |= _covered_by_ear(view, labels, pixels, kinds, ears, facing)
    opening = view.at(eye_opening(view), pixels) * (kinds.eyes < 0.5)  # over the lids' rims the photo shows the white of the eye
    blocked |= opening > 0.5
    weight = np.where(blocked, 0, weight * (1 - opening))
    label_weight = np.maximum(weight, visible * np.clip((facing - 0.08) / 0.2, 0, 1) * solid * ~blocked)
    weight = weight * (1 - kinds.lid_fold * np.clip((behind - FOLD_DEPTH[0]) / (FOLD_DEPTH[1] - FOLD_DEPTH[0]), 0, 1))
    weight = _respect_mouth(view, weight.astype(np.float32), pixels, mouth, kinds)
    footprint = spacing * view.camera.focal / float(np.median(pixels[:, 2]))
    picture = view.foreground
    if footprint > 2:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.35 * footprint)
    color = np.clip(view.at(picture, pixels, order=3), 0, 1)
    return Observation(
        color, label, weight.astype(np.float32), label_weight.astype(np.float32), blocked,
        facing, visible, pixels, matte,
    )  # fmt: skip


def _behind_front(view: View, pixels: F32, faces: NDArray) -> F32:
    """[N] metres that each vertex lies behind the depth buffer, infinite outside the crop; the buffer is drawn at twice the
    view's resolution so that thin parts survive."""
    fine = 2 if view.size <= 512 else 1
    _, _, depth = rasterize_mesh(pixels * np.array([fine, fine, 1], np.float32), faces, view.size * fine, view.size * fine)
    nearest = ndimage.maximum_filter(np.where(np.isfinite(depth), depth, 0), 3)
    place = np.clip((pixels[:, :2] * fine).astype(int), 0, view.size * fine - 1)
    in_crop = ((pixels[:, :2] > 1) & (pixels[:, :2] < view.size - 2)).all(1)
    return np.where(in_crop, pixels[:, 2] - nearest[place[:, 1], place[:, 0]], np.inf).astype(np.float32)


def _is_bare(view: View, pixels: F32, kinds: VertexKinds) -> NDArray[np.bool_]:
    """Jaw and neck below the mouth where no hair stands out: skin, or hidden behind clothes."""
    below_mouth = pixels[:, 1] > view.landmarks[[13, 14], 1].mean()
    parts = np.maximum(np.maximum(kinds.teeth, kinds.eyes), np.maximum(kinds.tongue, kinds.cavity)) > 0.1
    return below_mouth & (kinds.inner < 0.1) & (kinds.raised < 0.8) & ~parts


def _behind_neck(view: View, labels: Labels, pixels: F32, kinds: VertexKinds) -> NDArray[np.bool_]:
    """Vertices of the bare neck above the collar whose pixel is not skin: the mesh sticks out over something further back."""
    above = rows_below_collar(view, labels, pixels) < 0
    return above & _is_bare(view, pixels, kinds) & (view.at(labels.probability[..., SKIN], pixels) < 0.5)


def _behind_ear(view: View, labels: Labels, pixels: F32, kinds: VertexKinds, ears: dict[str, bool]) -> NDArray[np.bool_]:
    """Below a visible ear's middle, beside the face, everything that is not skin is a gap through which one sees past."""
    low = (pixels[:, 1] > view.landmarks[[234, 454], 1].mean()) & (kinds.inner < 0.1) & (kinds.ears < 0.5)
    left = kinds.left > 0.5
    parts = np.maximum(np.maximum(kinds.teeth, kinds.eyes), np.maximum(kinds.tongue, kinds.cavity)) > 0.1
    beside = ~parts & np.where(left, ears["left"], ears["right"]) & low & (rows_below_collar(view, labels, pixels) < 0)
    return beside & (view.at(labels.probability[..., SKIN], pixels) < 0.5)


def _covered_by_ear(view: View, labels: Labels, pixels: F32, kinds: VertexKinds, ears: dict[str, bool], facing: F32) -> NDArray[np.bool_]:
    """Scalp beside a visible ear that would take its colour: the photo's ear is larger, or stands out further, than the mesh's."""
    if not labels.present[HAIR]:
        return np.zeros(len(pixels), bool)
    level = pixels[:, 1] > view.eye_row - EAR_RISE * view.face_width
    beside = np.where(kinds.left > 0.5, ears["left"], ears["right"]) & level & (facing < 0.4)
    scalp = (kinds.scalp > 0.5) & (kinds.ears < 0.5) & (kinds.inner < 0.1)
    return beside & scalp & (view.at(labels.probability[..., SKIN], pixels) > 0.5)


def _respect_mouth(view: View, weight: F32, pixels: F32, mouth: MouthPixels, kinds: VertexKinds) -> F32:
    """Skin takes nothing from between open lips, teeth only from there, cavity and tongue nothing at all."""
    place = np.clip(pixels[:, :2].astype(int), 0, view.size - 1)
    teeth = kinds.teeth > 0.5
    weight = np.where(mouth.not_skin[place[:, 1], place[:, 0]] & ~teeth, 0, weight)
    weight = np.where(teeth, weight * mouth.teeth[place[:, 1], place[:, 0]], weight)
    return np.where((kinds.cavity > 0.3) | (kinds.tongue > 0.5), 0, weight)
