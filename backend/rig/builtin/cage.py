"""The control mesh of the skin: face, skull and neck, lids and mouth cavity, with its mirror and its named parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import landmarks as lm
from .eyes import RIM_RINGS, eye_centre, lid_rims
from .mesh_operators import Points, smoothstep, solve_with_fixed, umbrella
from .mouth import mouth_sack
from .skull import COLUMNS, RINGS, skull_rings
from .triangulation import face_triangles

FAIRED_WITHIN = 0.030
"""Skull vertices nearer than this to the oval are faired with the face so that no seam shows, metres."""


@dataclass(frozen=True)
class Cage:
    """Attributes:
    vertices: [C, 3] metres, origin between the eyes; the first 468 are the landmarks.
    faces: [G, 3].
    mirror: [C] left-right partner.
    skull: [RINGS, 36] vertex indices ring by ring; the last ring is the neck base.
    lids_left, lids_right: [2, 16] margin and fold of each inner lid, in the order of the lid line.
    sack: [101] mouth cavity: five rings of 20 and the end.
    eye_left: [3] centre of the left eyeball.
    """

    vertices: Points
    faces: NDArray[np.int64]
    mirror: NDArray[np.int64]
    skull: NDArray[np.int64]
    lids_left: NDArray[np.int64]
    lids_right: NDArray[np.int64]
    sack: NDArray[np.int64]
    eye_left: Points

    @property
    def eye_right(self) -> Points:
        return self.eye_left * [-1, 1, 1]

    def symmetric(self, field: Points) -> Points:
        """The field [C, 3] averaged with its mirror image, exactly symmetric."""
        return (field + field[self.mirror] * [-1, 1, 1]) / 2

    def flipped(self, field: Points) -> Points:
        """The mirror image of a displacement field [C, 3]."""
        return field[self.mirror] * [-1, 1, 1]


def build_cage() -> Cage:
    neutral = lm.neutral_landmarks()
    face = neutral.positions
    vertices, faces, mirror = [face], [face_triangles(neutral)], [neutral.mirror]
    start = lm.COUNT

    rings, grid = skull_rings(face[list(lm.OVAL)])
    skull = start + np.arange(RINGS * COLUMNS).reshape(RINGS, COLUMNS)
    vertices.append(rings)
    faces.append(np.concatenate([lm.OVAL, skull.ravel()])[grid])
    mirror.append(skull[:, (-np.arange(COLUMNS)) % COLUMNS].ravel())
    start += skull.size

    centre = eye_centre(face[list(lm.EYE_LEFT)])
    rims, grid = lid_rims(face[list(lm.EYE_LEFT)], centre)
    lids_left = start + np.arange(16 * RIM_RINGS).reshape(RIM_RINGS, 16)
    lids_right = lids_left + lids_left.size
    left_ids = np.concatenate([lm.EYE_LEFT, lids_left.ravel()])
    right_ids = np.concatenate([neutral.mirrored(lm.EYE_LEFT), lids_right.ravel()])
    vertices += [rims, rims * [-1, 1, 1]]
    faces += [left_ids[grid], right_ids[grid][:, ::-1]]
    mirror += [lids_right.ravel(), lids_left.ravel()]
    start += 2 * lids_left.size

    cavity, grid = mouth_sack(face[list(lm.LIPS_INNER)])
    sack = start + np.arange(len(cavity))
    vertices.append(cavity)
    faces.append(np.concatenate([lm.LIPS_INNER, sack])[grid])
    partner = sack.copy()
    partner[:-1] = sack[:-1].reshape(-1, 20)[:, (-np.arange(20)) % 20].ravel()
    mirror.append(partner)

    cage = Cage(np.concatenate(vertices), np.concatenate(faces), np.concatenate(mirror), skull, lids_left, lids_right, sack, centre)
    return _faired(cage)


def _faired(cage: Cage) -> Cage:
    """The first skull rings bent so that curvature continues over the oval (thin-plate solve, face and far skull fixed)."""
    oval = cage.vertices[list(lm.OVAL)]
    rings = cage.skull[:6].ravel()
    gap = np.linalg.norm(cage.vertices[rings][:, None] - oval[None], axis=2).min(1)
    free = rings[gap < FAIRED_WITHIN]
    fixed = np.setdiff1d(np.arange(len(cage.vertices)), free)
    skin = np.concatenate([np.arange(lm.COUNT), cage.skull.ravel()])
    skin_faces = cage.faces[np.isin(cage.faces, skin).all(1)]
    laplacian = umbrella(len(cage.vertices), skin_faces)
    faired = solve_with_fixed(laplacian.T @ laplacian, fixed, cage.vertices[fixed])
    share = np.zeros(len(cage.vertices))
    share[rings] = smoothstep((FAIRED_WITHIN - gap) / (0.6 * FAIRED_WITHIN))
    vertices = cage.vertices * (1 - share[:, None]) + faired * share[:, None]
    return Cage(**{**cage.__dict__, "vertices": cage.symmetric(vertices)})
