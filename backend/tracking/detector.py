"""Find faces of any size in a picture: MediaPipe's two detectors over the whole picture and over overlapping tiles.

The stock schedule (the short-range net on the whole picture) misses two faces side by side and small faces in
tall pictures: at 128 pixels they are too small. Here the full-range net looks as well, and the picture is also
searched in tiles, coarse to fine, and turned; the finer levels only while nothing was found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from .crops import F32, Square
from .nets import Net, Nets

SHORT_RANGE_THRESHOLD = 0.5
FULL_RANGE_THRESHOLD = 0.6
OVERLAP_IOU = 0.3
MIN_TILE = 96
MAX_CANDIDATES = 16
TILES_AT_ONCE = 32


@dataclass(frozen=True)
class Detection:
    """A detected face: centre and size of its box, six keypoints (eyes first), all in image pixels."""

    score: float
    x: float
    y: float
    size: float
    keypoints: NDArray[np.float64]

    @property
    def square(self) -> Square:
        """The upright region that the landmark net wants: 1.5 times the box, level with the eyes."""
        across = self.keypoints[1] - self.keypoints[0]
        return Square(self.x, self.y, 1.5 * self.size, float(np.arctan2(across[1], across[0])))


def search(image: F32, nets: Nets) -> Iterator[list[Detection]]:
    """Candidates in [H, W, 3] float32 0..1, level by level; a caller stops at the first level where one proves to be a face.

    Levels: the whole picture and squares of its short side; the whole picture turned by 180, 90 and 270 degrees; tiles of
    1/2, 1/4 and 1/8 of the short side. Within a level: most certain first, one entry a face.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    whole = Square(width / 2, height / 2, max(width, height))
    found = _run(nets["short_range"], _short_range_anchors(), image, [whole], SHORT_RANGE_THRESHOLD)
    found += _run(nets["full_range"], _full_range_anchors(), image, [whole], FULL_RANGE_THRESHOLD)
    if height != width:
        found += _run(nets["short_range"], _short_range_anchors(), image, _tiles(width, height, short), SHORT_RANGE_THRESHOLD)
    yield _distinct(found)
    for angle in (np.pi, np.pi / 2, -np.pi / 2):
        turned = replace(whole, angle=angle)
        found = _run(nets["short_range"], _short_range_anchors(), image, [turned], SHORT_RANGE_THRESHOLD)
        yield _distinct(found + _run(nets["full_range"], _full_range_anchors(), image, [turned], FULL_RANGE_THRESHOLD))
    for division in (2, 4, 8):
        if short / division >= MIN_TILE:
            tiles = _tiles(width, height, short / division)
            yield _distinct(_run(nets["short_range"], _short_range_anchors(), image, tiles, SHORT_RANGE_THRESHOLD))


def _tiles(width: int, height: int, side: float) -> list[Square]:
    """Squares of `side` that cover the picture, overlapping by 3/8."""

    def centres(length: int) -> NDArray:
        count = int(np.ceil(max(length - side, 0) / (side * 5 / 8))) + 1
        return np.linspace(side / 2, length - side / 2, count) if count > 1 else np.array([length / 2])

    return [Square(float(x), float(y), side) for y in centres(height) for x in centres(width)]


def _run(net: Net, anchors: NDArray, image: F32, squares: list[Square], threshold: float) -> list[Detection]:
    size = net.input_size
    found: list[Detection] = []
    for start in range(0, len(squares), TILES_AT_ONCE):
        batch = squares[start : start + TILES_AT_ONCE]
        crops = np.stack([square.cut(image, size) for square in batch]) * 2 - 1
        outputs = net(torch.from_numpy(crops.transpose(0, 3, 1, 2).copy())).values()
        boxes, logits = sorted((o.numpy() for o in outputs), key=lambda o: -o.shape[-1])
        scores = 1 / (1 + np.exp(-np.clip(logits[..., 0], -80, 80)))
        for square, box, score in zip(batch, boxes, scores, strict=True):
            found += _decode(square, box / size, score, anchors, size, threshold)
    return found


def _decode(square: Square, box: NDArray, score: NDArray, anchors: NDArray, size: int, threshold: float) -> list[Detection]:
    """Boxes relative to anchors -> detections; overlapping boxes are averaged by score, as MediaPipe's weighted suppression does."""
    keep = score > threshold
    score, centre, extent = score[keep], box[keep, :2] + anchors[keep], box[keep, 2:4]
    keypoints = box[keep, 4:].reshape(-1, 6, 2) + anchors[keep][:, None]
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], 1)
    left = np.ones(len(score), bool)
    found = []
    for best in np.argsort(-score, kind="stable"):
        if not left[best]:
            continue
        group = left & (_iou(corners[best], corners) > OVERLAP_IOU)
        group[best] = True
        left &= ~group
        weight = score[group] / score[group].sum()
        x, y = square.to_image(weight @ centre[group] * size, size)
        points = square.to_image(np.tensordot(weight, keypoints[group], 1) * size, size)
        found.append(Detection(float(score[best]), float(x), float(y), float((weight @ extent[group]).max() * square.side), points))
    return found


def _iou(box: NDArray, boxes: NDArray) -> NDArray:
    """Intersection over union of one box [4] with boxes [N, 4], corners x0 y0 x1 y1."""
    overlap = (np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])).clip(0).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return overlap / np.maximum((box[2:] - box[:2]).prod() + area - overlap, 1e-12)


def _distinct(found: list[Detection]) -> list[Detection]:
    """One detection a face: the surest of those whose centres lie within half a face of each other."""
    kept: list[Detection] = []
    for d in sorted(found, key=lambda d: -d.score):
        if all(np.hypot(d.x - k.x, d.y - k.y) > 0.5 * max(d.size, k.size) for k in kept):
            kept.append(d)
    return kept[:MAX_CANDIDATES]


@lru_cache(maxsize=1)
def _short_range_anchors() -> NDArray:
    return np.concatenate([_grid(16, 2), _grid(8, 6)])


@lru_cache(maxsize=1)
def _full_range_anchors() -> NDArray:
    return _grid(48, 1)


def _grid(cells: int, repeat: int) -> NDArray:
    """[cells^2 * repeat, 2] centres of the cells in 0..1, row by row, each repeated."""
    at = (np.arange(cells) + 0.5) / cells
    return np.repeat(np.stack([np.tile(at, cells), np.repeat(at, cells)], 1), repeat, axis=0)
