"""Where splats are seen, and which of them a box, a lasso or a brush stroke covers. numpy only, no bpy.

Everything happens in pixels of the region that the user paints in, from its lower left corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocol.avatar import F32

SURFACE = 0.012
"""Metres behind the front splats that still count as the surface: hair and skin lie that deep."""


@dataclass(frozen=True)
class Seen:
    """N splats as a view sees them: `pixel` [N, 2], `depth` [N] metres along the view, behind the viewer negative."""

    pixel: F32
    depth: F32


@dataclass(frozen=True)
class PaintView:
    """What a 3D region looks at: `view` [4, 4] world to view space, `window` [4, 4] to clip space, `size` (width, height)."""

    view: np.ndarray
    window: np.ndarray
    size: tuple[int, int]

    def project(self, position: F32) -> Seen:
        """World positions [N, 3] as they are seen."""
        viewed = position @ self.view[:3, :3].T + self.view[:3, 3]
        clip = viewed @ self.window[:, :3].T + self.window[:, 3]
        w = np.where(np.abs(clip[:, 3]) < 1e-12, 1e-12, clip[:, 3])
        pixel = (0.5 + 0.5 * clip[:, :2] / w[:, None]) * self.size
        depth = np.where(clip[:, 3] > 0, -viewed[:, 2], -1.0) if self.window[3, 3] == 0 else -viewed[:, 2]
        return Seen(pixel.astype(np.float32), depth.astype(np.float32))

    @property
    def perspective(self) -> bool:
        return bool(self.window[3, 3] == 0)


@dataclass(frozen=True)
class Stroke:
    """A brush stroke: `points` [M, 2] pixels, `radius` pixels, `hardness` 0..1: the share of the radius at full weight."""

    points: F32
    radius: float
    hardness: float = 0.5

    def since(self, index: int) -> Stroke:
        """The part of the stroke from its point `index` on."""
        return Stroke(self.points[index:], self.radius, self.hardness)

    def weights(self, pixel: F32) -> F32:
        """[N] 0..1: full within the hard core of any segment of the stroke, falling smoothly to 0 at the radius."""
        if not len(self.points):
            return np.zeros(len(pixel), np.float32)
        low, high = self.points.min(0) - self.radius, self.points.max(0) + self.radius
        near = np.flatnonzero(((pixel >= low) & (pixel <= high)).all(1))
        distance = np.full(len(near), np.inf, np.float32)
        starts, ends = self.points[:-1], self.points[1:]
        if not len(starts):
            starts = ends = self.points
        close = pixel[near]
        for start, end in zip(starts, ends, strict=True):
            within = np.flatnonzero(in_box(close, tuple(np.minimum(start, end) - self.radius), tuple(np.maximum(start, end) + self.radius)))
            along, relative = end - start, close[within] - start
            length = float(along @ along)
            share = np.clip(relative @ along / length, 0, 1) if length > 0 else np.zeros(len(within))
            distance[within] = np.minimum(distance[within], np.linalg.norm(relative - share[:, None] * along, axis=1))
        core = min(self.hardness, 0.999) * self.radius
        fall = np.clip((self.radius - distance) / max(self.radius - core, 1e-6), 0, 1)
        weights = np.zeros(len(pixel), np.float32)
        weights[near] = fall * fall * (3 - 2 * fall)
        return weights


def in_box(pixel: F32, corner: tuple[float, float], opposite: tuple[float, float]) -> np.ndarray:
    """[N] bool: inside the rectangle between two corners."""
    low, high = np.minimum(corner, opposite), np.maximum(corner, opposite)
    return ((pixel >= low) & (pixel <= high)).all(1)


def in_lasso(pixel: F32, path: F32) -> np.ndarray:
    """[N] bool: inside a closed path [M, 2], by the even-odd rule."""
    inside = np.zeros(len(pixel), bool)
    if len(path) < 3:
        return inside
    near = np.flatnonzero(in_box(pixel, tuple(path.min(0)), tuple(path.max(0))))
    x, y = pixel[near].T
    odd = np.zeros(len(near), bool)
    for (x0, y0), (x1, y1) in zip(path, np.roll(path, -1, 0), strict=True):
        crosses = (y0 > y) != (y1 > y)
        if y1 != y0:
            odd ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    inside[near] = odd
    return inside


@dataclass(frozen=True)
class Front:
    """The nearest depth in each cell of a grid over the picture, made by the splats of the finest level."""

    low: F32
    cell: float
    depth: F32

    @staticmethod
    def of(seen: Seen, solid: np.ndarray) -> Front:
        """From the splats that are solid [N] bool; cells are as large as a few splats, so that none of a closed surface is empty."""
        pixel, depth = seen.pixel[solid & (seen.depth > 0)], seen.depth[solid & (seen.depth > 0)]
        if not len(pixel):
            return Front(np.zeros(2, np.float32), 1.0, np.full((1, 1), np.inf, np.float32))
        low, high = pixel.min(0), pixel.max(0)
        area = float(np.prod(np.maximum(high - low, 1)))
        cell = max(3.0, np.sqrt(6 * area / len(pixel)))
        shape = np.ceil((high - low) / cell).astype(int) + 3
        grid = np.full(shape, np.inf, np.float32)
        column, row = ((pixel - low) / cell).astype(int).T + 1
        np.minimum.at(grid, (column, row), depth)
        closed = grid.copy()
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                np.minimum(closed[1:-1, 1:-1], grid[1 + dx : shape[0] - 1 + dx, 1 + dy : shape[1] - 1 + dy], out=closed[1:-1, 1:-1])
        return Front(low, float(cell), closed)

    def visible(self, seen: Seen, tolerance: float = SURFACE) -> np.ndarray:
        """[N] bool: at most `tolerance` metres behind what is seen there."""
        index = np.floor((seen.pixel - self.low) / self.cell).astype(int) + 1
        inside = ((index >= 0) & (index < self.depth.shape)).all(1)
        index = np.where(inside[:, None], index, 0)
        front = np.where(inside, self.depth[index[:, 0], index[:, 1]], np.inf)
        return (seen.depth > 0) & (seen.depth <= front + tolerance)
