"""Triangles over the 468 landmarks: constrained Delaunay of the unrolled left half, refined in space, then mirrored.

The plane layout opens mouth and eyes so that the lip and lid lines, nearly closed in the neutral face, bound real
holes. Constraint edges (outline, midline, lips, lids, brows) are forced in by flipping the edges that cross them
(Sloan 1993); afterwards edges are flipped where the surface in space is better triangulated the other way.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from . import landmarks as lm

Points = NDArray[np.float64]
Edge = tuple[int, int]


def face_triangles(neutral: lm.NeutralLandmarks) -> NDArray[np.int64]:
    """[F, 3] triangles over the landmarks, counter-clockwise from outside, open at lips, lids and oval.

    The set of triangles is its own mirror image.
    """
    x = neutral.positions[:, 0]
    ids = np.flatnonzero((neutral.mirror == np.arange(lm.COUNT)) | (x > 0))
    plane = _unrolled(neutral)
    mesh = _EdgeFlips(ids, plane, neutral.positions)
    for a, b in _constraints():
        mesh.insert(a, b)
    mesh.keep_inside(_outline(), (_mouth_outline(), lm.EYE_LEFT))
    mesh.improve()
    left = mesh.triangles()
    right = neutral.mirror[left][:, ::-1]
    return np.concatenate([left, right])


def _outline() -> tuple[int, ...]:
    return (*lm.OVAL[:19], *lm.MIDLINE_LOWER[::-1], *lm.MIDLINE_UPPER[::-1])


def _mouth_outline() -> tuple[int, ...]:
    return lm.LIPS_INNER[:11]


def _constraints() -> list[Edge]:
    """Edges that must exist."""
    chains: list[tuple[int, ...]] = [lm.OVAL[:19], lm.MIDLINE_UPPER, lm.MIDLINE_LOWER, (*lm.EYE_LEFT, lm.EYE_LEFT[0])]
    chains += [*lm.UPPER_LIP_ROWS, *lm.LOWER_LIP_ROWS, (291, 306, 292, 308), *lm.ABOVE_LID_LEFT, *lm.BELOW_LID_LEFT]
    chains += [lm.BROW_LEFT_UPPER, lm.BROW_LEFT_LOWER]
    return [(a, b) for chain in chains for a, b in pairwise(chain)]


def _unrolled(neutral: lm.NeutralLandmarks) -> Points:
    """[468, 2] plane layout: angle about a vertical axis inside the head and height, mouth and eyes opened."""
    p = neutral.positions
    plane = np.stack([np.arctan2(p[:, 0], p[:, 2] + 0.075) * 0.075, p[:, 1]], 1)
    upper = {i for row in lm.UPPER_LIP_ROWS for i in row[:-1]}
    lower = {i for row in lm.LOWER_LIP_ROWS for i in row[:-1]}
    plane[:, 1] += _opening(plane, plane[13], plane[308], 0.009, 0.03, upper, lower)
    inner, outer = plane[362], plane[263]
    middle = (inner + outer) / 2
    plane[:, 1] += _opening(plane, middle, outer, 0.004, 0.012, set(lm.UPPER_LID_LEFT), set(lm.LOWER_LID_LEFT))
    return plane


def _opening(plane: Points, centre: Points, corner: Points, height: float, reach: float, above: set[int], below: set[int]) -> Points:
    """[468] vertical shift that opens a slit between `centre` and `corner` (and its other half) by 2 `height`."""
    along = np.clip((plane[:, 0] - centre[0]) / (corner[0] - centre[0]), -1, 1)
    line = centre[1] + (corner[1] - centre[1]) * along
    side = np.sign(plane[:, 1] - line)
    side[list(above)] = 1
    side[list(below)] = -1
    fall = np.exp(-(((plane[:, 1] - line) / reach) ** 2))
    return side * height * np.sqrt(1 - along**2) * fall


def _inside(polygon: Points, points: Points) -> NDArray[np.bool_]:
    """Even-odd rule."""
    a, b = polygon, np.roll(polygon, -1, 0)
    x, y = points[:, 0, None], points[:, 1, None]
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return (crosses & (x < at)).sum(1) % 2 == 1


def _cross(a: Points, b: Points, c: Points) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


class _EdgeFlips:
    """A planar triangulation that is changed by edge flips; triangles are kept as directed edge -> opposite vertex."""

    def __init__(self, ids: NDArray[np.int64], plane: Points, space: Points) -> None:
        self.plane, self.space = plane, space
        self.opposite: dict[Edge, int] = {}
        self.fixed: set[Edge] = set()
        for triangle in ids[Delaunay(plane[ids]).simplices].tolist():
            a, b, c = triangle if _cross(*plane[triangle]) > 0 else triangle[::-1]
            self._add(a, b, c)

    def _add(self, a: int, b: int, c: int) -> None:
        self.opposite[a, b], self.opposite[b, c], self.opposite[c, a] = c, a, b

    def _flip(self, a: int, b: int) -> Edge:
        """Replace edge a-b of the quad a, d, b, c by c-d."""
        c, d = self.opposite[a, b], self.opposite[b, a]
        del self.opposite[a, b], self.opposite[b, a]
        self._add(a, d, c)
        self._add(d, b, c)
        return c, d

    def _is_convex(self, a: int, b: int) -> bool:
        c, d = self.opposite[a, b], self.opposite[b, a]
        p = self.plane
        return _cross(p[a], p[d], p[c]) > 0 and _cross(p[d], p[b], p[c]) > 0

    def _crosses(self, edge: Edge, a: int, b: int) -> bool:
        p, (u, v) = self.plane, edge
        if {u, v} & {a, b}:
            return False
        return _cross(p[a], p[b], p[u]) * _cross(p[a], p[b], p[v]) < 0 and _cross(p[u], p[v], p[a]) * _cross(p[u], p[v], p[b]) < 0

    def insert(self, a: int, b: int) -> None:
        """Make a-b an edge and fix it."""
        crossing = [e for e in self.opposite if e[0] < e[1] and (e[1], e[0]) in self.opposite and self._crosses(e, a, b)]
        for _ in range(10_000):
            if not crossing:
                break
            edge = crossing.pop(0)
            if not self._is_convex(*edge):
                crossing.append(edge)
                continue
            new = self._flip(*edge)
            if self._crosses(new, a, b):
                crossing.append(new)
        if (a, b) not in self.opposite and (b, a) not in self.opposite:
            raise AssertionError(f"landmarks {a} and {b} cannot be joined")
        self.fixed |= {(a, b), (b, a)}

    def keep_inside(self, outline: tuple[int, ...], holes: tuple[tuple[int, ...], ...]) -> None:
        """Drop the triangles outside the outline or inside a hole."""
        triangles = self.triangles()
        centres = self.plane[triangles].mean(1)
        keep = _inside(self.plane[list(outline)], centres)
        for hole in holes:
            keep &= ~_inside(self.plane[list(hole)], centres)
        self.opposite = {}
        for a, b, c in triangles[keep].tolist():
            self._add(a, b, c)

    def triangles(self) -> NDArray[np.int64]:
        """[F, 3], each once, in a fixed order."""
        return np.array(sorted((a, b, c) for (a, b), c in self.opposite.items() if a < b and a < c), np.int64)

    def improve(self) -> None:
        """Flip edges while that makes the surface in space more Delaunay without folding it."""
        for _ in range(20):
            flipped = 0
            for a, b in sorted(e for e in self.opposite if e[0] < e[1]):
                if (a, b) in self.fixed or (a, b) not in self.opposite or (b, a) not in self.opposite:
                    continue
                if self._is_convex(a, b) and self._is_better_flipped(a, b):
                    self._flip(a, b)
                    flipped += 1
            if not flipped:
                return

    def _is_better_flipped(self, a: int, b: int) -> bool:
        c, d = self.opposite[a, b], self.opposite[b, a]
        if (c, d) in self.opposite or (d, c) in self.opposite:
            return False
        return self._cost(((a, d, c), (d, b, c))) < self._cost(((a, b, c), (b, a, d))) - 1e-6

    def _cost(self, pair: tuple[tuple[int, int, int], tuple[int, int, int]]) -> float:
        """Largest cosine among the corners (slender triangles are bad) plus the bend between the two."""
        worst, normals = -1.0, []
        for triangle in pair:
            p = self.space[list(triangle)]
            edges = np.roll(p, -1, 0) - p
            unit = edges / np.linalg.norm(edges, axis=1, keepdims=True)
            worst = max(worst, float((-unit * np.roll(unit, 1, 0)).sum(1).max()))
            normal = np.cross(edges[0], edges[1])
            normals.append(normal / np.linalg.norm(normal))
        return worst + 0.5 * (1 - float(normals[0] @ normals[1]))
