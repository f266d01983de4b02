"""One portrait as the stages see it: cropped about the head, with a clean matte, its camera and the posed rig."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, Driver
from backend.tracking.portrait import Portrait

from .anatomy import OVAL
from .camera import Camera
from .regions import carried_outwards, connected_parts

SIDE = 2.2
"""Side of the crop in sides of the landmarks' box: shows the shoulders; 1.65 cuts big hair."""
BORDER = 0.022
"""Share of the crop at its sides and bottom in which the shoulders fade out."""
LARGEST, SMALLEST = 768, 320


@dataclass(frozen=True)
class View:
    """A square crop of a portrait, S pixels a side.

    Attributes:
        image: [S, S, 3] display-referred 0..1; foreground: the same without the background's colour in it.
        matte: [S, S] 0..1, the person and nobody else.
        inside: [S, S] bool, False where the crop reaches beyond the photo.
        landmarks: [478, 3] MediaPipe's, pixels of the crop.
        camera: of the crop.
        box: x0, y0, x1, y1 of the crop in the portrait, pixels.
        driver: how the rig was posed; camera and size of the whole portrait.
    """

    image: F32
    foreground: F32
    matte: F32
    inside: NDArray[np.bool_]
    landmarks: F32
    camera: Camera
    box: tuple[int, int, int, int]
    driver: Driver

    @staticmethod
    def of(portrait: Portrait, driver: Driver) -> View:
        """Crop a portrait and keep only its person; the crop is at most `LARGEST` pixels a side."""
        box = crop_box(portrait)
        side = box[2] - box[0]
        size = int(np.clip(side * 1.3, SMALLEST, LARGEST))
        zoom = size / side
        image = np.clip(_crop(portrait.image, box, size), 0, 1)
        inside = _crop(np.ones(portrait.image.shape[:2], np.float32), box, size, border=0.0) > 0.99
        landmarks = (portrait.face.landmarks - np.array([box[0], box[1], 0], np.float32)) * np.float32(zoom)
        coarse = np.clip(_crop(portrait.matte, box, size), 0, 1)
        matte = _clean_matte(coarse, landmarks) * inside
        return View(
            image, _own_colors(image, matte), matte, inside, landmarks,
            Camera.of_driver(driver).cropped(box, size), box, driver,
        )  # fmt: skip

    @property
    def size(self) -> int:
        """Pixels a side."""
        return len(self.image)

    @property
    def face_width(self) -> float:
        """Distance of the two cheek rims (landmarks 234 and 454), pixels."""
        return float(np.linalg.norm(self.landmarks[234, :2] - self.landmarks[454, :2]))

    @property
    def eye_row(self) -> float:
        """Mean row of the eyes' outer corners, pixels."""
        return float(self.landmarks[[33, 263], 1].mean())

    @property
    def eye_distance(self) -> float:
        """Distance of the irises' centres, pixels."""
        return float(np.linalg.norm(self.landmarks[468, :2] - self.landmarks[473, :2]))

    def at(self, picture: NDArray, pixels: NDArray, order: int = 1) -> F32:
        """Sample a picture [S, S] or [S, S, C] of this crop at x, y [N, 2]; order 1 is linear, 3 cubic."""
        x, y = (np.ascontiguousarray(pixels[:, axis : axis + 1] - 0.5, np.float32) for axis in (0, 1))
        mode = cv2.INTER_CUBIC if order == 3 else cv2.INTER_LINEAR
        source = np.ascontiguousarray(picture, np.float32)
        parts = np.array_split(np.arange(len(x)), max(1, -(-len(x) // 30000)))  # OpenCV's remap is limited to 32767 rows
        out = [cv2.remap(source, x[part], y[part], mode, borderMode=cv2.BORDER_REPLICATE) for part in parts]
        return np.asarray(np.concatenate(out)[:, 0], np.float32)

    def polygon(self, landmarks: tuple[int, ...]) -> NDArray[np.bool_]:
        """[S, S] pixels inside the loop of those landmarks."""
        mask = np.zeros((self.size, self.size), np.uint8)
        corners = np.round(self.landmarks[list(landmarks), :2] * 16 - 8).astype(np.int32)
        cv2.fillPoly(mask, [corners], 1, shift=4)
        return mask > 0


def crop_box(portrait: Portrait) -> tuple[int, int, int, int]:
    """The square (x0, y0, x1, y1) that the reconstruction uses, whole pixels; may reach beyond the photo."""
    x0, y0, x1, y1 = portrait.face.box
    side = SIDE * max(x1 - x0, y1 - y0)
    left = round((x0 + x1 - side) / 2)
    top = round((y0 + y1 - side) / 2 - 0.06 * side)
    return left, top, left + round(side), top + round(side)


def inner_box(portrait: Portrait) -> tuple[int, int, int, int]:
    """The part of `crop_box` that the avatar reproduces in full, inside the border where the shoulders fade."""
    x0, y0, x1, y1 = crop_box(portrait)
    margin = int(np.ceil(BORDER * (x1 - x0)))
    return x0 + margin, y0 + margin, x1 - margin, y1 - margin


def _crop(picture: F32, box: tuple[int, int, int, int], size: int, border: float | None = None) -> F32:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = box
    pads = max(0, -y0), max(0, y1 - height), max(0, -x0), max(0, x1 - width)
    part = picture[max(0, y0) : max(y1, 1), max(0, x0) : max(x1, 1)]
    kind = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
    part = cv2.copyMakeBorder(np.ascontiguousarray(part), *pads, kind, value=border or 0.0)
    scaled = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if x1 - x0 > size else cv2.INTER_CUBIC)
    return np.asarray(scaled, np.float32)


def _clean_matte(matte: F32, landmarks: F32) -> F32:
    """Close holes in the face, drop other people."""
    size = len(matte)
    hull = np.zeros((size, size), np.uint8)
    cv2.fillPoly(hull, [np.round(landmarks[list(OVAL), :2]).astype(np.int32)], 1)
    face = cv2.erode(hull, np.ones((3, 3), np.uint8), iterations=max(1, int(0.01 * size))) > 0
    matte = np.where(face, 1, matte).astype(np.float32)
    parts = connected_parts(matte > 0.5)
    nose = np.clip(landmarks[4, :2].astype(int), 0, size - 1)
    own = (parts == parts[nose[1], nose[0]]).astype(np.uint8)
    grown = cv2.dilate(own, np.ones((3, 3), np.uint8), iterations=max(1, int(0.02 * size)))
    return (matte * grown).astype(np.float32)


def _own_colors(image: F32, matte: F32) -> F32:
    """[S, S, 3] the person's colours: where the matte is soft, those of the nearest solid part, so that no background
    and no halo of a generous matte comes along."""
    size = len(matte)
    solid = cv2.erode((matte > 0.97).astype(np.uint8), np.ones((3, 3), np.uint8), iterations=max(1, size // 250)) > 0
    carried = cv2.GaussianBlur(carried_outwards(image, solid), (0, 0), size / 250)
    keep = cv2.GaussianBlur(np.clip((matte - 0.8) / 0.17, 0, 1), (0, 0), 1.0)[..., None]
    return (keep * image + (1 - keep) * carried).astype(np.float32)
