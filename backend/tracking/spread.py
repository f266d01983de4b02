"""Spread displacements of the landmarks smoothly over a rig's mesh.

The surface that carries landmarks bends as a thin plate: the displacement d minimises d' Q d + mu |P d - r|^2, where
Q = L M^-1 L is the biharmonic energy of the cotangent Laplacian (Botsch and Sorkine 2008, section 4) and vertices far
from every landmark stay. Pieces without landmarks (eyeballs, teeth, tongue) are carried along by the nearest landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from backend.rig.rig import Rig

from .cotangent import cotangent_laplacian
from .landmark_model import LandmarkModel
from .rotation import F64

FAR = 0.045
"""Metres from the nearest landmark beyond which nothing moves."""

STIFFNESS = 3e4
"""How firmly the mesh holds to the landmarks against bending (mu, over the mean energy of one vertex)."""

SLACK = 10.0
"""How much the cavity's membrane outweighs its bending."""

NEAREST = 12


@dataclass(frozen=True)
class Spread:
    """A factorised spread for one rig.

    Attributes:
        free: [N] vertices that bend; solve: the factorised system over them.
        to_free: [N, L] sparse right-hand side of landmark displacements.
        carried: [C] vertices of pieces without landmarks; carriers: [C, L] sparse, rows sum to 1.
        count: vertices of the rig.
    """

    free: NDArray[np.int64]
    solve: sla.SuperLU
    to_free: sp.csr_matrix
    carried: NDArray[np.int64]
    carriers: sp.csr_matrix
    count: int

    def __call__(self, displacement: F64) -> F64:
        """Displacements of the landmarks [L, 3] -> of all vertices [V, 3], metres."""
        result = np.zeros((self.count, 3))
        result[self.free] = self.solve.solve(self.to_free @ displacement)
        result[self.carried] = self.carriers @ displacement
        return result


def landmark_spread(rig: Rig, model: LandmarkModel) -> Spread:
    """Factorise the system of a rig; a fraction of a second."""
    vertices = rig.template.astype(np.float64)
    count = len(vertices)
    laplacian, mass = cotangent_laplacian(vertices, rig.faces)
    energy = laplacian @ sp.diags(1 / mass) @ laplacian
    energy = energy + _slack(rig, energy)
    distance, _ = KDTree(model.template).query(vertices)
    piece = _pieces(rig.faces, count)
    anchored = np.isin(piece, np.unique(piece[np.unique(model.pick.indices)]))
    free = np.flatnonzero(anchored & (distance < FAR))
    pick = model.pick[:, free]
    inner = energy.tocsr()[free][:, free]
    mu = STIFFNESS * inner.diagonal().mean()
    system = (inner + mu * (pick.T @ pick) + 1e-9 * inner.diagonal().mean() * sp.identity(len(free))).tocsc()
    carried = np.flatnonzero(~anchored)
    return Spread(
        free=free,
        solve=sla.splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}),
        to_free=(mu * pick.T).tocsr(),
        carried=carried,
        carriers=_carriers(vertices, piece, carried, model.template),
        count=count,
    )


def _slack(rig: Rig, energy: sp.csr_matrix) -> sp.csr_matrix:
    """[V, V] a membrane's energy over the mouth's cavity, which outweighs its plate's.

    No landmark lies in there, and a plate goes on bending as the lips do: where the lips' corners moved back, the cavity came
    out through the cheeks. A membrane stays between the values at its rim.
    """
    inside = np.zeros(len(rig.template), bool)
    inside[rig.labels.get("mouth_cavity", [])] = True
    faces = rig.faces[inside[rig.faces].any(1)]
    if not len(faces):
        return sp.csr_matrix(energy.shape)
    membrane, _ = cotangent_laplacian(rig.template.astype(np.float64), faces)
    ratio = np.median(energy.diagonal()[inside]) / np.median(membrane.diagonal()[inside])
    return sp.csr_matrix(SLACK * ratio * membrane)


def _pieces(faces: NDArray, count: int) -> NDArray:
    """[V] number of the connected piece of each vertex."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    graph = sp.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1]


def _carriers(vertices: F64, piece: NDArray, carried: NDArray, landmarks: F64) -> sp.csr_matrix:
    """[C, L]: each piece as a whole follows the landmarks nearest to its middle."""
    tree = KDTree(landmarks)
    rows, columns, values = [], [], []
    row_of = np.full(len(vertices), -1)
    row_of[carried] = np.arange(len(carried))
    for number in np.unique(piece[carried]):
        members = np.flatnonzero(piece == number)
        distance, nearest = tree.query(vertices[members].mean(0), min(NEAREST, len(landmarks)))
        weight = 1 / (np.atleast_1d(distance) ** 2 + 1e-6)
        rows.append(np.repeat(row_of[members], len(weight)))
        columns.append(np.tile(np.atleast_1d(nearest), len(members)))
        values.append(np.tile(weight / weight.sum(), len(members)))
    if not rows:
        return sp.csr_matrix((0, len(landmarks)))
    shape = (len(carried), len(landmarks))
    return sp.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape)
