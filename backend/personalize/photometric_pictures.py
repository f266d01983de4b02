"""A photo as the refinement sees it: cropped to the person, and sampled once more for the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.models.projection.camera import Camera
from backend.models.projection.view import BORDER, View
from backend.protocol.avatar import F32, Driver
from backend.tracking.portrait import Portrait

BACKDROP = 0.5
"""Grey behind photo and avatar alike, so that neither a bright nor a dark outline is dear."""
PIXEL = 0.3
"""Variance of gsplat's blur (eps2d) at the size at which the avatar was made, pixels^2."""
SOFT = 0.3
"""Weight of the rim, where the matte is between person and background."""
RESAMPLED = 0.79
"""Size of the picture for the verdict against the one that is learned from: no pixel of one is a pixel of the other."""
ENOUGH_PHOTOS = 4
"""From so many photos on, each fourth is set aside whole."""


@dataclass(frozen=True)
class Target:
    """One photo at one size, cropped to the person.

    Attributes:
        image: [H, W, 3] the person over `BACKDROP`. matte: [H, W].
        weight: [H, W] how much each pixel counts in the loss; 0 where the photo says nothing.
        camera: of the crop.
        blur: variance that the rasterizer adds to every splat, pixels^2 (see `blur_of`).
    """

    image: F32
    matte: F32
    weight: F32
    camera: Camera
    blur: float

    @property
    def solid(self) -> NDArray[np.bool_]:
        """[H, W] pixels that are surely the person's head."""
        return (cv2.erode(self.matte, np.ones((5, 5), np.uint8)) > 0.9) & (self.weight > 0.9)


@dataclass(frozen=True)
class Picture:
    """One photo of the person, and how the rig stood in it.

    Attributes:
        name: for messages. sha256: of the file.
        driver: expression, pose and camera. correction: [V, 3] metres, what the rig cannot express of this photo's landmarks.
        full: what is learned from. resampled: the same photo on another grid of pixels.
    """

    name: str
    sha256: str
    driver: Driver
    correction: F32
    full: Target
    resampled: Target


def make_picture(portrait: Portrait, driver: Driver, correction: F32, size: int) -> Picture:
    """Crop a portrait about the head as the reconstruction does, at most `size` pixels a side."""
    view = View.of(portrait, driver)
    size = min(size, view.size)
    full, other = _target(view, size), _target(view, round(RESAMPLED * size))
    return Picture(portrait.name, portrait.sha256, driver, correction, full, other)


def _target(view: View, size: int) -> Target:
    camera = view.camera.cropped((0, 0, view.size, view.size), size)
    scaled = lambda a: np.asarray(cv2.resize(np.ascontiguousarray(a, np.float32), (size, size), interpolation=cv2.INTER_AREA), np.float32)
    matte = scaled(view.matte)
    inside = scaled(view.inside) > 0.99
    border = int(np.ceil(BORDER * size)) + 1
    inside[:, :border] = inside[:, -border:] = inside[-border:] = False  # the shoulders fade out there
    image = matte[..., None] * scaled(view.foreground) + (1 - matte[..., None]) * BACKDROP
    soft = (matte > 0.05) & (matte < 0.95)
    weight = np.where(inside, np.where(soft, SOFT, 1.0), 0.0).astype(np.float32)
    return _cropped(Target(image.astype(np.float32), matte, weight, camera, blur_of(size / view.size)))


def set_aside(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Picture]]:
    """(pictures to learn from, pictures for the verdict): of four or more each fourth, never the first; of fewer none."""
    if len(pictures) < ENOUGH_PHOTOS:
        return list(pictures), []
    verdict = set(range(2, len(pictures), 4))
    return [p for i, p in enumerate(pictures) if i not in verdict], [pictures[i] for i in sorted(verdict)]


def blur_of(scale: float, before: float = PIXEL) -> float:
    """What splats must be blurred by in a picture made `scale` times as large by averaging, so that it looks as the large one
    does: what they were blurred by there, and the square over which its pixels were averaged. pixels^2 of the smaller picture.
    """
    return before * scale**2 + max(0.0, 1 - scale**2) / 12


def _cropped(target: Target) -> Target:
    """Only the box of the person, its sides even and a little wider."""
    rows, columns = (np.flatnonzero((target.matte > 0.02).any(axis)) for axis in (1, 0))
    if not len(rows):
        return target
    limit = target.matte.shape
    top, left = (max(0, int(a[0]) - 8) // 2 * 2 for a in (rows, columns))
    bottom, right = (min(limit[i], (int(a[-1]) + 9) // 2 * 2) for i, a in enumerate((rows, columns)))
    bottom, right = top + (bottom - top) // 2 * 2, left + (right - left) // 2 * 2
    cut = lambda a: np.ascontiguousarray(a[top:bottom, left:right])
    shift = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float32)
    camera = replace(target.camera, intrinsics=shift @ target.camera.intrinsics, width=right - left, height=bottom - top)
    return replace(target, image=cut(target.image), matte=cut(target.matte), weight=cut(target.weight), camera=camera)
