"""Eyes for one identity: eyeballs seated behind its lids, and lid expressions that close, widen and squint these lids.

An expression basis is made for the template. On a face with other eyes the template's blink stops short or overshoots
by as much as the opening differs, and an eyeball carried along by its surroundings is no longer round. Both are put
right when an identity is baked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .rig import Rig

Points = NDArray[np.float64]

PATCH_RADIUS = 0.026
"""Skin farther than this from the eye's centre keeps its template motion, metres."""
SCALES = (0.85, 1.2)
"""Least and greatest size of an eyeball against the template's."""


def seat_eyes(rig: Rig, vertices: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Neutral vertices [V, 3] with seated eyes, and the expression basis [E, V, 3] adapted to their lids.

    Rigs without the labels loop_lid_left and loop_lid_right come back as they are.
    """
    seated = np.array(vertices, np.float32)
    if "loop_lid_left" not in rig.labels:
        return seated, rig.expression_basis
    expressions = np.array(rig.expression_basis)
    scale = float(np.clip(_lid_width(rig, seated) / _lid_width(rig, rig.template), *SCALES))
    for side in ("left", "right"):
        centre, radius = _seat(rig, seated, side, scale)
        _adapt(rig, seated, expressions, side, centre, radius)
    return seated, expressions


def _lid_width(rig: Rig, vertices: NDArray[Any]) -> float:
    """Mean distance between the corners of the two eyes; both eyeballs are of one size."""
    lines = [vertices[rig.labels[f"loop_lid_{side}"]] for side in ("left", "right")]
    return float(np.mean([np.linalg.norm(line[0] - line[len(line) // 2]) for line in lines]))


def _seat(rig: Rig, vertices: NDArray[np.float32], side: str, scale: float) -> tuple[Points, float]:
    """Put a round eyeball and the inner lids in place, in `vertices`; returns the eye's centre and radius."""
    from .builtin.eyes import eye_centre

    eye, line = rig.labels[f"eye_{side}"], rig.labels[f"loop_lid_{side}"]
    template = rig.template.astype(np.float64)
    old = rig.joint_regressor[rig.joint_names.index(f"eye_{side}")].astype(np.float64) @ template
    ball = template[eye] - old
    radius = scale * float(np.linalg.norm(ball[-1]))
    centre = eye_centre(vertices[line].astype(np.float64), radius)
    vertices[eye] = centre + ball * scale
    rims = _rims(rig, side)
    depth = np.linalg.norm(template[rims] - old, axis=1) * scale
    outward = vertices[rims] - centre
    vertices[rims] = centre + outward * (depth / np.linalg.norm(outward, axis=1))[:, None]
    return centre, radius


def _rims(rig: Rig, side: str) -> NDArray[Any]:
    """Vertices of one eye's inner lids, without the lid line."""
    lids = np.setdiff1d(rig.labels["lids"], rig.labels[f"loop_lid_{side}"])
    is_left = rig.template[lids, 0] > 0
    return lids[is_left if side == "left" else ~is_left]


def _adapt(rig: Rig, vertices: NDArray[np.float32], expressions: NDArray[np.float32], side: str, centre: Points, radius: float) -> None:
    """Replace the lid expressions of one eye, in `expressions`."""
    from .builtin.lid_motion import closed_line, moved_line, turned_with
    from .builtin.lids import SQUINT, WIDE

    line_ids = rig.labels[f"loop_lid_{side}"]
    rings = [rig.labels[f"loop_lid_{name}_{side}"] for name in ("margin", "fold")]
    line = vertices[line_ids].astype(np.float64)
    targets = {
        "eyeBlink": closed_line(line, centre, radius),
        "eyeWide": moved_line(line, centre, radius, **WIDE),
        "eyeSquint": moved_line(line, centre, radius, **SQUINT),
    }
    handles = np.concatenate([line_ids, *rings])
    names = [f"{stem}{side.capitalize()}" for stem in targets]
    index = [rig.expression_names.index(name) for name in names]
    wanted = []
    for target in targets.values():
        rims = [turned_with(vertices[r].astype(np.float64), line, target, centre) - vertices[r] for r in rings]
        wanted.append(np.concatenate([target - line, *rims]))
    change = np.stack(wanted) - expressions[index][:, handles]
    spread = _spread(rig, vertices, centre, handles, change)
    expressions[index] = (expressions[index] + spread).astype(np.float32)


def _spread(rig: Rig, vertices: NDArray[np.float32], centre: Points, handles: NDArray[Any], change: NDArray[Any]) -> Points:
    """Changes [K, H, 3] at the handles, spread over the lids around them as the smoothest field [K, V, 3]."""
    from .builtin.mesh_operators import cotangent_laplacian, solve_with_fixed

    skin = np.ones(len(vertices), bool)
    for part in ("eye_left", "eye_right", "teeth_upper", "teeth_lower", "tongue", "ear_left", "ear_right"):
        skin[rig.labels[part]] = False
    faces = _patch_faces(rig, skin, np.linalg.norm(vertices - centre, axis=1), handles)
    patch, local = np.unique(faces, return_inverse=True)
    local = local.reshape(-1, 3)
    stiffness, mass = cotangent_laplacian(vertices[patch].astype(np.float64), local)
    energy = stiffness.T @ sp.diags(1 / mass) @ stiffness
    position = {int(v): i for i, v in enumerate(patch)}
    fixed = np.array([position[int(v)] for v in handles])
    border = np.setdiff1d(_border(local), fixed)
    values = np.concatenate([change.transpose(1, 0, 2).reshape(len(handles), -1), np.zeros((len(border), 3 * len(change)))])
    field = solve_with_fixed(energy, np.concatenate([fixed, border]), values)
    out = np.zeros((len(change), len(vertices), 3))
    out[:, patch] = field.reshape(len(patch), len(change), 3).transpose(1, 0, 2)
    return out


def _patch_faces(rig: Rig, skin: NDArray[np.bool_], distance: Points, handles: NDArray[Any]) -> NDArray[np.int32]:
    """Triangles of the skin near the eye's centre: within `PATCH_RADIUS`, or so much farther that lids of unusually wide eyes are in."""
    radius = PATCH_RADIUS
    while True:
        faces = rig.faces[(skin & (distance < radius))[rig.faces].all(1)]
        if np.isin(handles, faces).all() or radius > distance.max():
            return faces
        radius *= 1.1


def _border(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    """The patch's outer edge and the ring next to it, which keep value and slope."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    unique, times = np.unique(edges, axis=0, return_counts=True)
    edge = np.unique(unique[times == 1])
    return np.unique(faces[np.isin(faces, edge).any(1)])
