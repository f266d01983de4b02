"""Hair, skin or cloth: which a pixel of the person shows, by colour models taken from the picture itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.cluster.vq import kmeans2

from backend.protocol.avatar import F32

from .anatomy import OVAL, SKIN_SAMPLES
from .view import View

HAIR, SKIN, CLOTH = 0, 1, 2
FALLBACK = np.array([[0.20, 0.15, 0.12], [0.75, 0.58, 0.50], [0.25, 0.25, 0.27]], np.float32)
"""Colours [3, 3] of labels that the picture does not show at all."""


SHADED_CHROMA = 0.06
"""Difference of chromaticity between lit and shaded skin: bounced light and shadows are redder."""


@dataclass(frozen=True)
class Labels:
    """Per-pixel probabilities [S, S, 3] of hair, skin and cloth; typical colours [3, 3]; which labels exist [3]."""

    probability: F32
    colour: F32
    present: NDArray[np.bool_]


def colour_features(rgb: NDArray) -> F32:
    """[..., 3] luminance and two opponent channels, weighted so that hue counts more than shade."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    return np.stack([(red + green + blue) * 0.5, (red - green) * 2, (green - blue) * 2], -1).astype(np.float32)


def label_pixels(view: View, ears: dict[str, bool]) -> Labels:
    """Classify the crop's pixels by small Gaussian mixtures seeded above the eyes (hair), on the cheeks and the nose
    (skin) and below the chin (cloth); `ears` says which ears show."""
    seeds = _seed_masks(view)
    features = colour_features(view.foreground)
    scores = np.full((*features.shape[:2], 3), -60.0, np.float32)
    colour, present = FALLBACK.copy(), np.zeros(3, bool)
    for label, mask in enumerate(seeds):
        if mask.sum() < 60:
            continue
        if label == CLOTH and _same_paint(np.median(view.foreground[mask], 0), colour[SKIN]):
            continue  # bare shoulders
        present[label] = True
        colour[label] = np.median(view.foreground[mask], 0)
        samples = features[mask]
        if label == HAIR:
            samples = _without_skin(samples, features[seeds[SKIN]])
        if label == SKIN:
            samples = np.concatenate([samples, colour_features(_shaded_skin(view, colour[SKIN]))])
        scores[..., label] = _mixture_score(features, samples)
    scores += _place_prior(view, ears)
    blur = max(1.0, 0.003 * view.size)
    scores = cv2.GaussianBlur(np.clip(scores, -60, 60), (0, 0), blur)
    scores -= scores.max(-1, keepdims=True)
    weight = np.exp(scores)
    probability = (weight / weight.sum(-1, keepdims=True)).astype(np.float32)
    if present[HAIR]:
        colour[HAIR] = _back_of_hair(view, probability[..., HAIR], colour[HAIR])
    return Labels(probability, colour, present)


def _shaded_skin(view: View, skin: F32) -> F32:
    """[N, 3] colours of the face down to its rim that may be the cheeks' skin in another light: a jaw in its own shade
    is darker than any sample on the front, and would pass for hair."""
    face = view.polygon(OVAL)
    face[: int(np.clip(view.eye_row, 0, view.size))] = False
    colours = view.foreground[face & (view.matte > 0.9)]
    share = colours / np.maximum(colours.sum(1, keepdims=True), 1e-3)
    brightness = colours.sum(1) / max(float(skin.sum()), 1e-3)
    like = np.abs(share - skin / max(float(skin.sum()), 1e-3)).max(1) < SHADED_CHROMA
    return colours[like & (brightness > 0.25) & (brightness < 1.6)]


def _without_skin(hair: F32, skin: F32) -> F32:
    """Features [M, 3] of hair without those that are the skin's: temples and bare foreheads reach into the hair's seeds.
    Where most are, the hair is as fair as the skin, or there is none: then all stay."""
    if len(skin) < 60:
        return hair
    centre = np.median(skin, 0)
    precision = np.linalg.inv(np.cov(skin.T) + 0.004 * np.eye(3))
    difference = hair - centre
    other = np.einsum("ni,ij,nj->n", difference, precision, difference) > 9
    return hair[other] if other.mean() > 0.5 else hair


def _back_of_hair(view: View, hair: F32, seeded: F32) -> F32:
    """[3] colour for hair that is not seen: towards the darker half of what is, for the photo's light shines on its front."""
    sure = cv2.erode(((hair > 0.9) & (view.matte > 0.97)).astype(np.uint8), np.ones((3, 3)), iterations=2) > 0
    sure[int(np.clip(view.landmarks[152, 1], 0, view.size)) :] = False
    if sure.sum() < 60:
        return seeded
    pixels = view.foreground[sure]
    brightness = pixels.sum(1)
    darker = pixels[brightness <= np.median(brightness)]
    return (0.5 * np.median(darker, 0) + 0.5 * np.median(pixels, 0)).astype(np.float32)


def _same_paint(a: NDArray, b: NDArray) -> bool:
    """Whether two colours may be one surface in different light: equal chromaticity, not too different in brightness."""
    chroma = lambda c: c / max(float(c.sum()), 1e-3)
    ratio = float(a.sum() / max(float(b.sum()), 1e-3))
    return bool(np.abs(chroma(a) - chroma(b)).max() < 0.03 and 0.4 < ratio < 1.6)


def collar_rows(view: View, labels: Labels) -> NDArray[np.float64]:
    """[S] row of each column from which on down clothes cover the neck; the crop's height where they do not.

    Read on the columns of the neck only (clothes beside it may stand behind it) and carried on outwards.
    """
    size, width = view.size, view.face_width
    x, chin = view.landmarks[152, :2]
    first = int(np.clip(x - 0.36 * width, 0, size - 2))
    last = int(np.clip(x + 0.36 * width, first + 1, size - 1))
    dressed = cv2.blur(labels.probability[:, first : last + 1, CLOTH], (max(1, int(0.03 * width)),) * 2) > 0.5
    dressed[: int(np.clip(chin - 0.12 * width, 0, size))] = False
    rows = np.where(dressed.any(0), dressed.argmax(0), size).astype(np.float64)
    rows = ndimage.median_filter(rows, size=max(3, int(0.06 * width)) | 1, mode="nearest")
    return np.interp(np.arange(size), np.arange(first, last + 1), rows)


def rows_below_collar(view: View, labels: Labels, pixels: F32) -> F32:
    """[N] how many rows a pixel lies below the collar of its column; negative above."""
    column = np.clip(pixels[:, 0].astype(int), 0, view.size - 1)
    return (pixels[:, 1] - collar_rows(view, labels)[column]).astype(np.float32)


def _seed_masks(view: View) -> list[NDArray[np.bool_]]:
    """Pixels that surely are hair, skin and cloth."""
    size, marks, width = view.size, view.landmarks[:, :2], view.face_width
    rows, columns = np.mgrid[0:size, 0:size]
    kernel = np.ones((3, 3), np.uint8)
    solid = cv2.erode((view.matte > 0.9).astype(np.uint8), kernel, iterations=max(1, size // 170)) > 0
    oval = marks[list(OVAL)]
    eyes, chin = marks[[33, 263], 1].mean(), marks[152, 1]
    outside = (
        (columns < oval[:, 0].min() - 0.03 * width) | (columns > oval[:, 0].max() + 0.03 * width) | (rows < oval[:, 1].min() - 0.06 * width)
    )
    solid_hair = cv2.erode(solid.astype(np.uint8), kernel, iterations=max(1, size // 170)) > 0
    hair = solid_hair & (rows < eyes - 0.12 * width) & outside
    skin = np.zeros((size, size), np.uint8)
    for x, y in marks[list(SKIN_SAMPLES)]:
        cv2.circle(skin, (int(x), int(y)), max(2, int(0.04 * width)), 1, -1)
    cloth = solid & (rows > chin + 0.32 * width)
    return [hair, (skin > 0) & (view.matte > 0.9), cloth]


def _place_prior(view: View, ears: dict[str, bool]) -> F32:
    """[S, S, 3] log prior: cloth only below the chin, hair rarely on the neck or below visible ears, skin
    rarely on the crown."""
    size, width, chin = view.size, view.face_width, view.landmarks[152, 1]
    below = np.clip((np.arange(size) - chin + 0.12 * width) / (0.25 * width), -1, 1)[:, None]
    prior = np.zeros((size, size, 3), np.float32)
    prior[..., CLOTH] = np.where(below < 0, 12 * below, 2 * below)
    mouth, chin_x = view.landmarks[[13, 14], 1].mean(), view.landmarks[152, 0]
    throat = (np.arange(size)[:, None] > mouth) & (np.abs(np.arange(size)[None] - chin_x) < 0.42 * width)
    columns = np.arange(size)[None]
    for side, beside in (("right", columns < chin_x), ("left", columns >= chin_x)):
        if ears[side]:  # below a bare ear, dark is shade or beard
            throat |= beside & (np.arange(size)[:, None] > view.eye_row + 0.2 * width)
    above = (view.landmarks[list(OVAL), 1].min() - np.arange(size)) / (0.25 * width)
    prior[..., SKIN] = -6.0 * np.clip(above, 0, 1)[:, None]  # gloss on fair hair has the skin's colour
    prior[..., HAIR] = -1.5 * np.clip(below, 0, 1) - 4.0 * throat
    return prior


def _mixture_score(features: F32, samples: F32, components: int = 3) -> F32:
    """Log likelihood [S, S] under the best of a few Gaussians fitted to samples [M, 3]."""
    points = samples[:: max(1, len(samples) // 2000)].astype(np.float64)
    _, member = kmeans2(points, components, minit="++", rng=np.random.default_rng(0))
    best = np.full(features.shape[:2], -60.0, np.float32)
    for component in range(components):
        own = points[member == component]
        if len(own) < 12:
            continue
        mean, covariance = own.mean(0), np.cov(own.T) + 0.004 * np.eye(3)
        root = np.linalg.inv(np.linalg.cholesky(covariance)).astype(np.float32)
        whitened = (features - mean.astype(np.float32)) @ root.T
        constant = np.log(len(own) / len(points)) + np.log(np.linalg.det(root))
        best = np.maximum(best, constant - 0.5 * (whitened**2).sum(-1))
    return best
