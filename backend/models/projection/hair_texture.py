"""Strands for hair that no photo shows: a texture quilted from the hair that is seen, laid over the rest of the head.

Only the fine contrast is invented (a ratio to the smooth fill), never the colour. Patches are cut where the photo shows
hair, turned so that their strands run downwards, and laid side by side where they fit best (Efros & Freeman 2001). The
head takes the texture from three sides, blended by the normal: strands down at the sides and the back, backwards on top.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from backend.protocol.avatar import F32

from .labels import HAIR, Labels
from .view import View

RESOLUTION = 0.0011
"""Metres a texel."""
SIDE = 330
"""Texels a side of the texture: more than a head is high, so that it never repeats within one view."""
LOCKS = (26, 16, 10)
"""Sides of the patches to try, texels: a lock of long hair, of short, of cropped hair."""
LEAST_PATCHES, MOST_PATCHES, CANDIDATES = 12, 200, 24
CONTRAST_LIMIT = 0.55
"""Of the log ratio: highlights of the photo do not go round the head."""
CHROMA = 0.3
"""Share of the detail's colour that is kept: strands differ in brightness, stray pixels in hue."""
FINE = 0.009
"""Metres; what is wider than this is shading, which the smooth fill has."""


@dataclass(frozen=True)
class HairTexture:
    """Log ratio of fine to smooth hair colour, [SIDE, SIDE, 3]; strands run along the columns."""

    log_ratio: F32

    @staticmethod
    def of(view: View, labels: Labels, metres_per_pixel: float) -> HairTexture | None:
        """From one view's hair, or None where it shows too little of it."""
        zoom = metres_per_pixel / RESOLUTION
        sure = _resized(labels.probability[..., HAIR] * (view.matte > 0.95), zoom) > 0.6
        hair = ndimage.binary_erosion(sure, np.ones((3, 3))).astype(np.float32)
        detail = _fine_contrast(_resized(view.foreground, zoom), hair)
        for lock in LOCKS:
            patches = _ordinary(_upright_patches(detail, hair, lock))
            if len(patches) >= LEAST_PATCHES:
                return HairTexture(_quilt(patches))
        return None

    def at(self, position: F32, normal: F32) -> F32:
        """[N, 3] log ratio at points [N, 3] of the neutral head, metres, with their normals [N, 3]."""
        x, y, z = position.T / np.float32(RESOLUTION)
        share = np.abs(normal) ** 4
        share /= share.sum(1, keepdims=True) + 1e-9
        middle = SIDE / 2
        from_side = self._sample(middle + np.sign(normal[:, 0]) * (z + middle), middle - y)
        from_top = self._sample(middle + x, middle - z)
        from_back = self._sample(middle + x, middle - y)
        blended = from_side * share[:, :1] + from_top * share[:, 1:2] + from_back * share[:, 2:]
        # The average of unrelated textures loses contrast; give it back.
        return (blended / np.sqrt((share**2).sum(1, keepdims=True) + 1e-9)).astype(np.float32)

    def _sample(self, across: NDArray, down: NDArray) -> F32:
        planes = np.moveaxis(self.log_ratio, 2, 0)
        sampled = [ndimage.map_coordinates(plane, [down, across], order=1, mode="mirror") for plane in planes]
        return np.stack(sampled, 1).astype(np.float32)


def _resized(picture: F32, zoom: float) -> F32:
    method = cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), None, fx=zoom, fy=zoom, interpolation=method), np.float32)


def _fine_contrast(image: F32, hair: F32) -> F32:
    """Log of the image over its own blur, both inside the hair only; 0 outside."""
    log = np.log(np.clip(image, 0.02, 1))
    weight = np.repeat(hair[..., None] + 1e-6, 3, axis=2)
    blur = lambda picture: cv2.GaussianBlur(picture, (0, 0), FINE / RESOLUTION)
    ratio = log - blur(log * weight) / blur(weight)
    brightness = ratio.mean(-1, keepdims=True)
    ratio = brightness + CHROMA * (ratio - brightness)
    return (np.clip(ratio, -CONTRAST_LIMIT, CONTRAST_LIMIT) * hair[..., None]).astype(np.float32)


def _upright_patches(detail: F32, hair: F32, lock: int) -> list[F32]:
    """[lock, lock, 3] cuts that lie wholly in the hair, turned so that their strands are vertical."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (lock + 3, lock + 3))
    rows, columns = np.nonzero(cv2.erode(hair, disc, borderValue=0) > 0.5)
    if len(rows) == 0:
        return []
    angle = _strand_angle(detail.mean(-1), lock)
    picks = np.random.default_rng(0).choice(len(rows), min(MOST_PATCHES, len(rows)), replace=False)
    patches = []
    for row, column in zip(rows[picks], columns[picks], strict=True):
        turn = cv2.getRotationMatrix2D((float(column), float(row)), float(np.degrees(angle[row, column])) - 90, 1.0)
        turn[:, 2] += lock / 2 - np.array([column, row], np.float32)
        patches.append(cv2.warpAffine(detail, turn, (lock, lock), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))
    return patches


def _ordinary(patches: list[F32]) -> list[F32]:
    """Without the tenth of least and the quarter of most contrast: blurs, partings, ornaments, edges of the face."""
    if len(patches) < LEAST_PATCHES:
        return patches
    contrast = np.array([patch.std() for patch in patches])
    low, high = np.percentile(contrast, [10, 75])
    return [patch for patch, value in zip(patches, contrast, strict=True) if low <= value <= high]


def _strand_angle(gray: F32, lock: int) -> F32:
    """Direction along the strands in each pixel, radians from the x axis towards y: the structure tensor's weak axis."""
    dx, dy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(p, (0, 0), lock / 5) for p in (dx * dx, dy * dy, dx * dy))
    return (0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2).astype(np.float32)


def _quilt(patches: list[F32]) -> F32:
    """Lay patches row by row, each the best fit of some to what lies above and to the left, edges feathered."""
    random = np.random.default_rng(1)
    lock = len(patches[0])
    overlap = max(2, lock // 3)
    stack = np.stack(patches)
    canvas = np.zeros((SIDE + lock, SIDE + lock, 3), np.float32)
    laid = np.zeros((SIDE + lock, SIDE + lock, 1), np.float32)
    ramp = np.minimum(np.arange(lock) + 1, overlap + 1) / np.float32(overlap + 1)
    for top in range(0, SIDE, lock - overlap):
        for left in range(0, SIDE, lock - overlap):
            window = (slice(top, top + lock), slice(left, left + lock))
            candidates = stack[random.choice(len(stack), min(CANDIDATES, len(stack)), replace=False)]
            misfit = (((candidates - canvas[window]) * laid[window]) ** 2).sum((1, 2, 3))
            fade = np.outer(ramp if top else np.ones(lock), ramp if left else np.ones(lock))[..., None]
            weight = np.where(laid[window] > 0, fade, 1).astype(np.float32)
            canvas[window] += weight * (candidates[int(misfit.argmin())] - canvas[window])
            laid[window] = 1
    return canvas[:SIDE, :SIDE]
