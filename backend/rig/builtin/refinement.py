"""From the control mesh to LOD 0: one midpoint subdivision whose new vertices are placed by a thin-plate solve.

Control vertices stay where they are (so landmarks stay vertices 0..467). New vertices on creases (lips, lids) and on
the boundary follow the four-point curve scheme (Dyn, Levin and Gregory 1987), so that lines that meet in the control
mesh meet at LOD 0; all others minimise the squared umbrella Laplacian. The map is linear: the same one carries
positions, displacements and weights.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray

from backend.rig.subdivision import subdivide

from .mesh_operators import Points, half_edges, umbrella

Edge = tuple[int, int]


class Refinement:
    """The linear map from C control vertices to V = C + E vertices.

    Attributes:
        faces: [4 G, 3] refined faces.
        edges: [E, 2] control edge of each new vertex.
        crease: [E] true where the new vertex lies on a crease or boundary.
    """

    def __init__(self, count: int, faces: NDArray[np.int64], crease_loops: list[tuple[int, ...]]) -> None:
        refined, edges = subdivide(faces, count)
        self.faces, self.edges, self.count = refined.astype(np.int64), edges.astype(np.int64), count
        curve = _curve_edges(faces, crease_loops)
        self.crease = np.array([tuple(e) in curve for e in self.edges.tolist()])
        self._curve = _four_point(self.edges, self.crease, curve, count)
        total = count + len(edges)
        laplacian = umbrella(total, self.faces)
        energy = (laplacian.T @ laplacian).tocsc()
        self._free = count + np.flatnonzero(~self.crease)
        self._known = np.concatenate([np.arange(count), count + np.flatnonzero(self.crease)])
        rows = energy.tocsr()[self._free].tocsc()
        self._to_known = rows[:, self._known]
        self._solver = sla.splu(rows[:, self._free].tocsc())

    def __call__(self, values: Points) -> Points:
        """[C, K] control values to [V, K]."""
        out = np.zeros((self.count + len(self.edges), values.shape[1]))
        out[: self.count] = values
        out[self.count + np.flatnonzero(self.crease)] = self._curve @ values
        out[self._free] = self._solver.solve(-(self._to_known @ out[self._known]))
        return out

    def mirror(self, control_mirror: NDArray[np.int64]) -> NDArray[np.int64]:
        """[V] left-right partners, given those of the control vertices."""
        index = {tuple(e): i for i, e in enumerate(self.edges.tolist())}
        partner = np.sort(control_mirror[self.edges], 1).tolist()
        return np.concatenate([control_mirror, self.count + np.array([index[a, b] for a, b in partner])])

    def loop(self, control_loop: tuple[int, ...] | NDArray[np.int64], closed: bool = True) -> NDArray[np.int64]:
        """A loop of control vertices with the new vertices between them, in order."""
        ids = [int(i) for i in control_loop]
        index = {tuple(e): self.count + i for i, e in enumerate(self.edges.tolist())}
        following = [*ids[1:], ids[0]] if closed else ids[1:]
        between = [index[min(a, b), max(a, b)] for a, b in zip(ids, following, strict=False)]
        out = []
        for k, vertex in enumerate(ids):
            out.append(vertex)
            if k < len(between):
                out.append(between[k])
        return np.array(out)


def _curve_edges(faces: NDArray[np.int64], loops: list[tuple[int, ...]]) -> set[Edge]:
    """Crease and boundary edges, smaller index first."""
    seen = Counter(map(tuple, np.sort(half_edges(faces), 1).tolist()))
    curve = {edge for edge, times in seen.items() if times == 1}
    for loop in loops:
        curve |= {(min(a, b), max(a, b)) for a, b in zip(loop, (*loop[1:], loop[0]), strict=True)}
    return curve


def _four_point(edges: NDArray[np.int64], crease: NDArray[np.bool_], curve: set[Edge], count: int) -> sp.csr_matrix:
    """[K, C] weights of the crease's new vertices: 9/16 of both ends minus 1/16 of the next on either side."""
    neighbours: dict[int, list[int]] = {}
    for a, b in sorted(curve):
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    rows, columns, weights = [], [], []
    for row, (a, b) in enumerate(edges[crease].tolist()):
        before = [v for v in neighbours[a] if v != b]
        after = [v for v in neighbours[b] if v != a]
        if len(before) == 1 and len(after) == 1:
            stencil = [(a, 9 / 16), (b, 9 / 16), (before[0], -1 / 16), (after[0], -1 / 16)]
        else:
            stencil = [(a, 0.5), (b, 0.5)]
        for vertex, weight in stencil:
            rows.append(row)
            columns.append(vertex)
            weights.append(weight)
    return sp.csr_matrix(sp.coo_matrix((weights, (rows, columns)), (int(crease.sum()), count)))
