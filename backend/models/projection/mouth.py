"""The mouth at rest: lips that meet, teeth where the photo shows them, and which pixels belong to which."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32

from . import mesh
from .anatomy import INNER_LIPS, LOWER_INNER_LIP, MOUTH_CORNERS, UPPER_INNER_LIP, Anatomy
from .view import View

OPEN = 0.045
"""Gap of the lips over the interpupillary distance, from which a mouth counts as open."""
TEETH_BEHIND_LIP = 0.0042
"""Metres from the upper lip's inside to the incisors."""


@dataclass(frozen=True)
class MouthPixels:
    """Which pixels of a view [S, S] skin must not take (`not_skin`) and the only ones that teeth may (`teeth`)."""

    not_skin: NDArray[np.bool_]
    teeth: NDArray[np.bool_]
    open: bool


def mouth_pixels(view: View) -> MouthPixels:
    """The inner lips' polygon, widened for skin and narrowed for teeth; empty when the mouth is shut."""
    inside = view.polygon(INNER_LIPS)
    gap = float(np.linalg.norm(view.landmarks[13, :2] - view.landmarks[14, :2]))
    if gap < OPEN * view.eye_distance:
        none = np.zeros_like(inside)
        return MouthPixels(none, none, False)
    disc = lambda radius: cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    grow, shrink = max(1, round(0.008 * view.size)), max(1, round(0.004 * view.size))
    mask = inside.astype(np.uint8)
    return MouthPixels(cv2.dilate(mask, disc(grow)) > 0, cv2.erode(mask, disc(shrink)) > 0, True)


def close_lips(neutral: F32, faces: NDArray, anatomy: Anatomy) -> F32:
    """Displacement [V, 3] that lets the neutral lips meet; zero far from the mouth.

    Landmark pairs of the inner lips meet, the lower lip moving about twice as far; the skin around follows as a thin plate.
    """
    move = np.zeros_like(neutral, np.float64)
    pairs = [(anatomy.landmark[u], anatomy.landmark[w]) for u, w in zip(UPPER_INNER_LIP, LOWER_INNER_LIP, strict=True)]
    pairs = [(u, w) for u, w in pairs if u >= 0 and w >= 0 and u != w]
    if not pairs:
        return move.astype(np.float32)
    upper, lower = np.array(pairs).T
    gap = (neutral[upper] - neutral[lower]).astype(np.float64)
    gap[:, 1] -= 0.0006 * anatomy.unit
    lips = np.concatenate([upper, lower])
    centre = neutral[lips].mean(0)
    far = np.linalg.norm(neutral - centre, axis=1) > 0.045 * anatomy.unit
    deep = neutral[:, 2] < neutral[lips, 2].min() - 0.012 * anatomy.unit
    still = np.union1d(np.flatnonzero(far | deep | (anatomy.teeth + anatomy.tongue > 0.5)), anatomy.vertices(MOUTH_CORNERS))
    still = np.setdiff1d(still, lips)
    values = np.concatenate([-0.35 * gap, 0.65 * gap, np.zeros((len(still), 3))])
    move = mesh.extend(mesh.bilaplacian(neutral, faces), np.concatenate([lips, still]), values)
    return move.astype(np.float32)


def place_teeth(neutral: F32, posed: F32, anatomy: Anatomy, view: View) -> F32:
    """Displacement [V, 3] of teeth and tongue: as wide as the mouth, behind the lips, the edge where the photo shows it."""
    move = np.zeros_like(neutral)
    marks = anatomy.landmark
    if min(marks[i] for i in (13, 14, 17, 82, 312, 78, 308)) < 0 or anatomy.teeth_upper.sum() == 0:
        return move
    lip = posed[marks[13]]
    front = lambda part: (part > 0.5) & (np.abs(neutral[:, 0] - neutral[marks[13], 0]) < 0.006 * anatomy.unit)
    upper, lower = front(anatomy.teeth_upper), front(anatomy.teeth_lower)
    edge, lower_edge = _tooth_edges(posed, anatomy, view)
    inside_lip = neutral[[marks[13], marks[82], marks[312]], 2].mean()
    rise = edge - neutral[upper, 1].min()
    depth = np.clip(inside_lip - TEETH_BEHIND_LIP * anatomy.unit - neutral[upper, 2].max(), -0.006, 0.008)
    move[anatomy.teeth_upper > 0.5] = [lip[0] - neutral[upper, 0].mean(), rise, depth]
    move[anatomy.tongue > 0.5] = [0, min(0.0, rise) * 0.5, depth * 0.5]
    if lower.any():
        wanted = edge - 0.0005 if lower_edge is None else lower_edge - (posed[lower, 1] - neutral[lower, 1]).mean()
        down = np.clip(wanted - neutral[lower, 1].max(), -0.010, 0.003)
        lip_depth = min(neutral[marks[14], 2], neutral[marks[17], 2] - 0.006 * anatomy.unit)
        back = min(depth - 0.0012, lip_depth - 0.005 * anatomy.unit - neutral[lower, 2].max())
        move[anatomy.teeth_lower > 0.5] = [lip[0] - neutral[lower, 0].mean(), down, back]
    return move


def _tooth_edges(posed: F32, anatomy: Anatomy, view: View) -> tuple[float, float | None]:
    """Heights of the upper teeth's edge and, where the photo shows it, of the lower teeth's, in the posed head.

    Down the middle of the open lips, a bright run that starts near the upper lip is the upper teeth, one that ends near
    the lower lip is the lower teeth. A mouth that shows no upper teeth has their edge 3.5 mm below the lip.
    """
    marks = anatomy.landmark
    top, bottom = posed[marks[13], 1], posed[marks[14], 1]
    default = float(top - 0.0035 * anatomy.unit)
    upper, lower = view.landmarks[13, :2], view.landmarks[14, :2]
    if np.linalg.norm(upper - lower) < OPEN * view.eye_distance:
        return default, None
    along = np.linspace(-0.6, 1.6, 89)
    rows = [view.at(view.foreground, upper + (lower - upper) * along[:, None] + [shift * view.size, 0]) for shift in (-0.012, 0.0, 0.012)]
    brightness = np.median(rows, 0).mean(1)
    gap = (along > 0.04) & (along < 0.96)
    lips = np.median(brightness[(along < -0.2) | (along > 1.2)])
    if brightness[gap].max() < 1.12 * lips:
        return default, None
    bright = np.flatnonzero(gap & (brightness > 0.5 * (brightness[gap].max() + lips)))
    runs = np.split(bright, np.flatnonzero(np.diff(bright) > 2) + 1)
    first, last = along[runs[0]], along[runs[-1]]
    edge = float(top - np.clip(first[-1], 0.2, 1.0) * (top - bottom)) if first[0] < 0.4 else default
    shows_lower = last[-1] > 0.8 and last[0] > 0.45
    return edge, float(top - last[0] * (top - bottom)) if shows_lower else None
