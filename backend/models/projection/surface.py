"""Where splats sit: the rig's mesh subdivided, everywhere once a level and further where detail pays; thinned out where it is dense."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32, I32, RigArrays, SplatArrays
from backend.protocol.binding import LocalSplats, bind, deform

from . import mesh


@dataclass(frozen=True)
class Surface:
    """A mesh whose N vertices are bound to the rig's triangles.

    Attributes:
        position: [N, 3] rest, metres.
        faces: [F, 3] of this surface; where refinement stops there are hanging vertices, which splats do not mind.
        face: [N] rig triangle of each vertex; barycentric: [N, 3] in it.
        root: [F] rig triangle of each face, -1 where it spans several (`thinned`), which cannot be refined;
            corners: [F, 3, 3] barycentrics of its corners in that triangle.
    """

    position: F32
    faces: I32
    face: I32
    barycentric: F32
    root: I32
    corners: F32

    def __len__(self) -> int:
        return len(self.position)

    @staticmethod
    def of(rig: RigArrays) -> Surface:
        """Level 0: the rig's vertices themselves, in their order; one without a face is bound to the first triangle."""
        count = len(rig.vertices)
        used, first = np.unique(rig.faces.ravel(), return_index=True)
        corner = np.zeros(count, np.int64)
        corner[used] = first
        corners = np.tile(np.eye(3, dtype=np.float32), (len(rig.faces), 1, 1))
        root = np.arange(len(rig.faces), dtype=np.int32)
        return Surface(rig.vertices, rig.faces, (corner // 3).astype(np.int32), np.eye(3, dtype=np.float32)[corner % 3], root, corners)

    def refined(self, chosen: NDArray[np.bool_] | None = None) -> Surface:
        """Split the chosen faces [F] (all by default) into four; old vertices stay, new ones bulge with the surface."""
        pick = np.ones(len(self.faces), bool) if chosen is None else chosen
        split = self.faces[pick].astype(np.int64)
        count = len(self.position)
        pairs = np.stack([split[:, [0, 1]], split[:, [1, 2]], split[:, [2, 0]]], 1).reshape(-1, 2)
        low, high = pairs.min(1), pairs.max(1)
        _, first, index = np.unique(low * count + high, return_index=True, return_inverse=True)
        middle = (count + index.reshape(-1, 3)).astype(np.int64)
        parent = self.corners[pick]
        halves = (parent + np.roll(parent, -1, axis=1)) / 2
        m, v = middle, split
        children = np.stack(
            [
                np.stack([v[:, 0], m[:, 0], m[:, 2]], 1),
                np.stack([m[:, 0], v[:, 1], m[:, 1]], 1),
                np.stack([m[:, 2], m[:, 1], v[:, 2]], 1),
                m,
            ],
            1,
        ).reshape(-1, 3)
        p, h = parent, halves
        child_corners = np.stack(
            [
                np.stack([p[:, 0], h[:, 0], h[:, 2]], 1),
                np.stack([h[:, 0], p[:, 1], h[:, 1]], 1),
                np.stack([h[:, 2], h[:, 1], p[:, 2]], 1),
                h,
            ],
            1,
        ).reshape(-1, 3, 3)
        root = self.root[pick]
        return Surface(
            position=np.concatenate([self.position, self._bulged_middles(low[first], high[first])]),
            faces=np.concatenate([self.faces[~pick], children.astype(np.int32)]),
            face=np.concatenate([self.face, root[first // 3]]),
            barycentric=np.concatenate([self.barycentric, halves.reshape(-1, 3)[first]]).astype(np.float32),
            root=np.concatenate([self.root[~pick], np.repeat(root, 4)]),
            corners=np.concatenate([self.corners[~pick], child_corners]).astype(np.float32),
        )

    def thinned(self) -> Surface:
        """About a fourth of the vertices, evenly: a maximal independent set, each with the cell of its nearest neighbours.

        The faces are those of the cells' dual. Parts that are not connected stay apart, and what was dense stays denser.
        """
        chosen = mesh.independent_set(self.edges, len(self))
        a, b = np.concatenate([self.edges, self.edges[:, ::-1]]).T
        to_chosen = chosen[b] & ~chosen[a]
        a, b = a[to_chosen], b[to_chosen]
        distance = np.linalg.norm(self.position[a] - self.position[b], axis=1)
        farthest_first = np.argsort(-distance, kind="stable")
        owner = np.arange(len(self))
        owner[a[farthest_first]] = b[farthest_first]  # the last write, of the nearest, stays
        cells = owner[self.faces]
        dual = (cells != np.roll(cells, 1, axis=1)).all(1)
        _, first = np.unique(np.sort(cells[dual], axis=1), axis=0, return_index=True)
        place = np.cumsum(chosen) - 1
        faces = place[cells[dual][first]].astype(np.int32)
        corners = np.zeros((len(faces), 3, 3), np.float32)
        root = np.full(len(faces), -1, np.int32)
        return Surface(self.position[chosen], faces, self.face[chosen], self.barycentric[chosen], root, corners)

    def _bulged_middles(self, a: NDArray, b: NDArray, bulge: float = 0.75) -> F32:
        """Edge middles lifted towards the ends' tangent planes (Phong tessellation, Boubekeur and Alexa 2008, eq. 5)."""
        pa, pb, na, nb = self.position[a], self.position[b], self.normals[a], self.normals[b]
        middle = (pa + pb) / 2
        on_a = middle - ((middle - pa) * na).sum(1, keepdims=True) * na
        on_b = middle - ((middle - pb) * nb).sum(1, keepdims=True) * nb
        smooth = np.clip(((na * nb).sum(1, keepdims=True) - 0.2) / 0.5, 0, 1)
        return (middle + smooth * bulge * ((on_a + on_b) / 2 - middle)).astype(np.float32)

    @cached_property
    def normals(self) -> F32:
        """[N, 3] unit, at rest."""
        return mesh.vertex_normals(self.position, self.faces).astype(np.float32)

    @cached_property
    def edges(self) -> NDArray[np.int64]:
        """[E, 2] unique edges."""
        return mesh.edges(self.faces)

    def sample(self, rig: RigArrays, field: NDArray) -> NDArray:
        """Bring a field over rig vertices, [V] or [V, K], to this surface's vertices."""
        return np.einsum("nk,nk...->n...", self.barycentric, field[rig.faces[self.face]])

    def local(self, rig: RigArrays) -> LocalSplats:
        """The vertices bound as splats are (see `backend.protocol.binding`)."""
        count = len(self.position)
        rotation = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
        one = np.ones((count, 3), np.float32)
        splats = SplatArrays(self.position, rotation, one, one[:, 0], one[:, None], self.face, self.barycentric)
        return bind(rig, splats)

    def posed(self, rig: RigArrays, vertices: F32) -> F32:
        """[N, 3] positions when the rig's vertices [V, 3] are posed, exactly as the splats will move."""
        return deform(self.local(rig), vertices)[0]

    def tangent_frames(self) -> tuple[F32, F32, F32]:
        """Axes and spread of the incident edges of each vertex.

        Returns:
            axes: [N, 3, 3] columns long tangent, short tangent, normal.
            spread: [N, 2] root mean square of the edges along the two tangents, metres.
            length: [N] mean edge length, metres.
        """
        count = len(self.position)
        a, b = self.edges.T
        edge = self.position[b] - self.position[a]
        ends = np.concatenate([a, b])
        degree = np.maximum(np.bincount(ends, minlength=count), 1)
        total = lambda values: np.bincount(ends, np.concatenate([values, values]), count) / degree
        length = total(np.linalg.norm(edge, axis=1))
        normal = self.normals.astype(np.float64)
        first = np.cross(normal, np.where(np.abs(normal[:, 1:2]) < 0.9, [[0.0, 1, 0]], [[1.0, 0, 0]]))
        first /= np.maximum(np.linalg.norm(first, axis=1, keepdims=True), 1e-12)
        second = np.cross(normal, first)
        covariance = {(i, j): total(edge[:, i] * edge[:, j]) for i in range(3) for j in range(i, 3)}
        form = lambda u, w: sum(covariance[min(i, j), max(i, j)] * u[:, i] * w[:, j] for i in range(3) for j in range(3))
        uu, uw, ww = form(first, first), form(first, second), form(second, second)
        angle = 0.5 * np.arctan2(2 * uw, uu - ww)
        long = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
        middle, radius = (uu + ww) / 2, np.sqrt(((uu - ww) / 2) ** 2 + uw**2)
        spread = np.sqrt(np.maximum(np.stack([middle + radius, middle - radius], 1), 1e-10))
        axes = np.stack([long, np.cross(normal, long), normal], 2)
        bare = np.linalg.norm(normal, axis=1) < 0.5
        axes[bare] = np.eye(3)
        return axes.astype(np.float32), spread.astype(np.float32), length.astype(np.float32)
