"""Square crops of an image, turned and scaled, and the way back to the image's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Square:
    """A square region of an image.

    Attributes:
        x, y: centre in pixels (pixel centres at +0.5); may lie outside the image.
        side: pixels.
        angle: radians by which the square's x axis is turned from the image's, towards y (down).
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    @property
    def axes(self) -> NDArray[np.float64]:
        """[2, 2] columns: the square's x and y axes in the image."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, -sin], [sin, cos]])

    def to_image(self, points: NDArray, size: int) -> NDArray:
        """Points [..., 2] in pixels of the crop resampled to `size`, to pixels of the image."""
        return (points - size / 2) * (self.side / size) @ self.axes.T + [self.x, self.y]

    def from_image(self, points: NDArray, size: int) -> NDArray:
        """Inverse of `to_image`."""
        return (points - [self.x, self.y]) @ self.axes * (size / self.side) + size / 2

    def cut(self, image: NDArray, size: int, border: int = cv2.BORDER_CONSTANT) -> F32:
        """Resample to [size, size, C]; area-averaged first where the image is finer than the crop.

        Args:
            image: [H, W, C] or [H, W] float32.
            border: what lies outside the image (an OpenCV border type); zero by default.
        """
        scale = self.side / size
        reach = self.side * (abs(np.cos(self.angle)) + abs(np.sin(self.angle))) / 2 + 2 * max(scale, 1)
        height, width = image.shape[:2]
        x0, x1 = _clip(self.x - reach, width), _clip(self.x + reach, width, up=True)
        y0, y1 = _clip(self.y - reach, height), _clip(self.y + reach, height, up=True)
        if x1 <= x0 or y1 <= y0:
            return np.zeros((size, size, *image.shape[2:]), np.float32)
        region, step = image[y0:y1, x0:x1], 1
        if scale > 1.5:
            step = round(scale)
            region = _reduce(region, step)
        matrix = np.empty((2, 3))
        matrix[:, :2] = self.axes * (scale / step)
        matrix[:, 2] = (np.array([self.x - x0, self.y - y0]) - self.axes @ np.full(2, self.side / 2)) / step
        matrix[:, 2] += matrix[:, :2] @ np.full(2, 0.5) - 0.5  # OpenCV counts pixel centres from 0, we from 0.5
        flags = (cv2.INTER_CUBIC if scale < 0.8 else cv2.INTER_LINEAR) | cv2.WARP_INVERSE_MAP
        crop = cv2.warpAffine(np.ascontiguousarray(region), matrix, (size, size), flags=flags, borderMode=border)
        return np.asarray(crop, np.float32)

    def paste(self, crop: F32, target: F32) -> None:
        """Write an upright crop [size, size] back over the part of `target` [H, W] that the square covers, in place."""
        if self.angle:
            raise ValueError("only upright squares are pasted")
        height, width = target.shape
        left, top = self.x - self.side / 2, self.y - self.side / 2
        x0, x1 = _clip(left, width, up=True), _clip(left + self.side, width)
        y0, y1 = _clip(top, height, up=True), _clip(top + self.side, height)
        if x1 <= x0 or y1 <= y0:
            return
        scale = len(crop) / self.side
        if scale > 1.5:
            crop = _reduce(crop, round(scale))
            scale = len(crop) / self.side
        matrix = np.array([[scale, 0, (x0 + 0.5 - left) * scale - 0.5], [0, scale, (y0 + 0.5 - top) * scale - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        target[y0:y1, x0:x1] = cv2.warpAffine(crop, matrix, (x1 - x0, y1 - y0), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _clip(value: float, limit: int, up: bool = False) -> int:
    return int(np.clip(np.ceil(value) if up else np.floor(value), 0, limit))


def _reduce(image: NDArray, step: int) -> NDArray:
    """Average blocks of `step` x `step` pixels; the last row and column are repeated to fill the last blocks."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
    return cv2.resize(padded, (padded.shape[1] // step, padded.shape[0] // step), interpolation=cv2.INTER_AREA)
