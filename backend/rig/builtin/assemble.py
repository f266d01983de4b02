"""Puts the built-in head together: skin, eyes, teeth, tongue and ears in one mesh with its bases, weights and labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.rig.regression import regressor_row
from backend.rig.rig import Rig

from . import landmarks as lm
from .cage import Cage, build_cage
from .ears import left_ear
from .expressions import expression_fields
from .eyes import RADIUS, eyeball
from .jaw_expressions import JAW_SHIFTS, jaw_expression_fields, tongue_out
from .labels import control_labels, refined_labels
from .mesh_operators import Points, smoothstep
from .mouth import teeth, tongue
from .refinement import Refinement
from .sculpting import Sculptor
from .shape_basis import shape_fields
from .skinning_weights import JAW, JOINT_NAMES, NECK, PARENTS, ROOT, jaw_field, joint_supports, neck_field

RIG_ID = "lookalike-head-1"
LICENCE = "GPL-3.0-or-later; landmark positions from MediaPipe (Apache-2.0)"
ORIGIN = np.array([0.0, 0.03, 0.075])
"""Added to positions measured from between the eyes: the rig's origin lies inside the head, between the ears."""


@dataclass(frozen=True)
class Part:
    """A separate closed piece: positions [N, 3], faces, its partner of each vertex, and how it follows the skin.

    `follow` [N, C]: the piece's displacement as a linear function of the control mesh's.
    """

    name: str
    vertices: Points
    faces: NDArray[np.int64]
    mirror: NDArray[np.int64]
    follow: Points


def build() -> Rig:
    """The built-in head from nothing but the landmark table. Deterministic; a few seconds."""
    cage = build_cage()
    sculptor = Sculptor(cage)
    creases = [lm.EYE_LEFT, sculptor.right(lm.EYE_LEFT), lm.LIPS_INNER]
    refine = Refinement(len(cage.vertices), cage.faces, creases)
    parts = _parts(cage)
    starts = np.cumsum([len(cage.vertices) + len(refine.edges), *(len(p.vertices) for p in parts)])
    where = {p.name: np.arange(a, b) for p, a, b in zip(parts, starts[:-1], starts[1:], strict=True)}
    mirror = np.concatenate([refine.mirror(cage.mirror), *(_partner(p, where) for p in parts)])

    def whole(field: Points, follow: bool) -> Points:
        """[C, K] to [V, K]: refined on the skin; on the parts carried along, or zero."""
        rest = [p.follow @ field if follow else np.zeros((len(p.vertices), field.shape[1])) for p in parts]
        return np.concatenate([refine(field), *rest])

    template = np.concatenate([refine(cage.vertices), *(p.vertices for p in parts)])
    template = _even(template, mirror)
    faces = np.concatenate([refine.faces, *(p.faces + a for p, a in zip(parts, starts[:-1], strict=True))])
    jaw = jaw_field(sculptor)
    weights = _weights(template, whole(jaw[:, None], False)[:, 0], where, mirror)
    expressions = _expressions(sculptor, jaw, whole, where, mirror, template)
    labels = refined_labels(control_labels(sculptor), refine) | where
    labels |= _loops(sculptor, refine)
    return Rig(
        template=(np.round(template + ORIGIN, 7) + 0.0).astype(np.float32),
        faces=faces.astype(np.int32),
        shape_basis=_shapes(sculptor, whole, mirror),
        expression_basis=np.stack(list(expressions.values())),
        expression_names=tuple(expressions),
        joint_regressor=_regressor(cage, template, where),
        joint_names=JOINT_NAMES,
        parents=np.array(PARENTS, np.int32),
        weights=weights,
        rig_id=RIG_ID,
        licence=LICENCE,
        labels={name: ids.astype(np.int32) for name, ids in labels.items()},
        landmarks=_landmarks(where),
        mirror=mirror.astype(np.int32),
    )


def _even(field: Points, mirror: NDArray[np.int64]) -> Points:
    return (field + field[mirror] * [-1, 1, 1]) / 2


def _rounded(field: Points) -> NDArray[np.float32]:
    """Float32 after rounding to a tenth of a micrometre, so that the last bits of a solver do not matter."""
    return (np.round(field, 7) + 0.0).astype(np.float32)


def _partner(part: Part, where: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    swap = {"left": "right", "right": "left"}
    stem, _, side = part.name.rpartition("_")
    target = where[f"{stem}_{swap[side]}"] if side in swap else where[part.name]
    return target[part.mirror]


def _parts(cage: Cage) -> list[Part]:
    """Eyes, teeth, tongue and ears in place."""
    parts = []
    ball, ball_faces = eyeball(cage.eye_left)
    lid_mean = _mean_of(cage, lm.EYE_LEFT, len(ball))
    parts += _pair("eye", ball, ball_faces, lid_mean, cage)
    stomion = (cage.vertices[13] + cage.vertices[14]) / 2
    for name, upper in (("teeth_upper", True), ("teeth_lower", False)):
        row, row_faces, row_mirror = teeth(stomion, upper)
        parts.append(Part(name, row, row_faces, row_mirror, _lip_follow(cage, row, 13 if upper else 14)))
    body, body_faces, body_mirror = tongue(stomion)
    parts.append(Part("tongue", body, body_faces, body_mirror, _lip_follow(cage, body, 14)))
    ear, ear_faces = left_ear(cage.vertices[454])
    parts += _pair("ear", ear, ear_faces, _near_skull(cage, ear), cage)
    return parts


def _pair(name: str, vertices: Points, faces: NDArray[np.int64], follow: Points, cage: Cage) -> list[Part]:
    """A left part and its mirror image."""
    same = np.arange(len(vertices))
    other = np.zeros_like(follow)
    other[:, cage.mirror] = follow
    return [
        Part(f"{name}_left", vertices, faces, same, follow),
        Part(f"{name}_right", vertices * [-1, 1, 1], faces[:, ::-1], same, other),
    ]


def _mean_of(cage: Cage, ids: tuple[int, ...], count: int) -> Points:
    follow = np.zeros((count, len(cage.vertices)))
    follow[:, list(ids)] = 1 / len(ids)
    return follow


def _lip_follow(cage: Cage, vertices: Points, middle: int) -> Points:
    """Teeth and tongue keep their place behind the lips: the middle moves with the lip, the sides with its corners."""
    half = cage.vertices[308, 0]
    follow = np.zeros((len(vertices), len(cage.vertices)))
    toward = vertices[:, 0] / half
    side = 0.85 * np.clip(np.abs(toward), 0, 1.3) ** 2
    follow[:, middle] += np.clip(1 - side, -0.2, 1)
    share = 1 - follow[:, middle]
    left = smoothstep((toward + 1) / 2)
    follow[:, 308] += share * left
    follow[:, 78] += share * (1 - left)
    return follow


def _near_skull(cage: Cage, vertices: Points, reach: float = 0.02) -> Points:
    """Each vertex moves with the skin around it."""
    near = np.concatenate([cage.skull.ravel(), lm.OVAL])
    square = ((vertices[:, None] - cage.vertices[near][None]) ** 2).sum(2)
    pull = np.exp(-square / (2 * reach**2)) + 1e-9
    follow = np.zeros((len(vertices), len(cage.vertices)))
    follow[:, near] = pull / pull.sum(1, keepdims=True)
    return follow


def _weights(template: Points, jaw: Points, where: dict[str, NDArray[np.int64]], mirror: NDArray[np.int64]) -> NDArray[np.float32]:
    """[V, 5] rows with sum 1."""
    jaw = np.clip(jaw, 0, 1)
    jaw[jaw < 1e-3] = 0
    jaw[where["teeth_lower"]] = 1
    jaw[where["tongue"]] = 0.85
    moving = neck_field(template)
    for part in where.values():
        moving[part] = 1
    weights = np.stack([1 - moving, moving * (1 - jaw), moving * jaw, 0 * jaw, 0 * jaw], 1)
    weights[where["eye_left"]] = np.eye(5)[3]
    weights[where["eye_right"]] = np.eye(5)[4]
    weights = (weights + weights[mirror][:, [0, 1, 2, 4, 3]]) / 2
    weights = np.round(weights, 6)
    largest = weights.argmax(1)
    rows = np.arange(len(weights))
    weights[rows, largest] += 1 - weights.sum(1)
    return weights.astype(np.float32)


def _expressions(s: Sculptor, jaw: Points, whole, where, mirror, template) -> dict[str, NDArray[np.float32]]:
    fields = expression_fields(s) | jaw_expression_fields(s, jaw)
    out = {}
    for name in sorted([*fields, "tongueOut"]):
        if name == "tongueOut":
            skin, body = tongue_out(s, template[where["tongue"]])
            full = whole(skin, False)
            full[where["tongue"]] = body
        else:
            full = whole(fields[name], False)
        if name in JAW_SHIFTS:
            full[where["teeth_lower"]] = JAW_SHIFTS[name]
            full[where["tongue"]] = 0.85 * np.array(JAW_SHIFTS[name])
        out[name] = full
    for name, field in out.items():
        partner = name.replace("Left", "Right") if "Left" in name else name.replace("Right", "Left")
        if partner == name:
            out[name] = _even(field, mirror)
        elif "Left" in name:
            out[partner] = field[mirror] * [-1, 1, 1]
    return {name: _rounded(field) for name, field in out.items()}


def _shapes(s: Sculptor, whole, mirror: NDArray[np.int64]) -> NDArray[np.float32]:
    fields = shape_fields(s)
    count = fields.shape[2]
    basis = whole(fields.reshape(len(fields), -1), True).reshape(-1, 3, count)
    flipped = basis[mirror] * np.array([-1, 1, 1])[:, None]
    sign = np.where((basis * flipped).sum((0, 1)) >= 0, 1, -1)
    return _rounded((basis + sign * flipped) / 2)


def _regressor(cage: Cage, template: Points, where: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
    supports = joint_supports(cage)
    rows = [regressor_row(template, supports[n], at) for n, at in (("root", ROOT), ("neck", NECK), ("jaw", JAW))]
    for eye, centre in (("eye_left", cage.eye_left), ("eye_right", cage.eye_right)):
        front, back = where[eye][0], where[eye][-1]
        forward = template[front, 2] - centre[2]
        row = np.zeros(len(template))
        row[[front, back]] = np.array([RADIUS, forward]) / (RADIUS + forward)
        rows.append(row)
    return np.stack(rows).astype(np.float32)


def _landmarks(where: dict[str, NDArray[np.int64]]) -> NDArray[np.int32]:
    """[478] the 468 surface landmarks are vertices 0..467; the iris centres are the eyeballs' poles.

    MediaPipe's 468 is the subject's right iris centre and 473 the left; the iris' rims have no vertex.
    """
    ids = np.full(478, -1, np.int32)
    ids[: lm.COUNT] = np.arange(lm.COUNT)
    ids[468], ids[473] = where["eye_right"][0], where["eye_left"][0]
    return ids


def _loops(s: Sculptor, refine: Refinement) -> dict[str, NDArray[np.int64]]:
    """Ordered vertex loops at LOD 0."""
    right = s.right(lm.EYE_LEFT)
    loops = {
        "loop_lips_inner": refine.loop(lm.LIPS_INNER),
        "loop_lips_outer": refine.loop(lm.LIPS_OUTER),
        "loop_lid_left": refine.loop(lm.EYE_LEFT),
        "loop_lid_right": refine.loop(right),
        "loop_face_oval": refine.loop(lm.OVAL),
        "loop_neck_base": refine.loop(s.cage.skull[-1]),
    }
    for side, rims in (("left", s.cage.lids_left), ("right", s.cage.lids_right)):
        loops |= {f"loop_lid_{name}_{side}": refine.loop(ring) for name, ring in zip(("margin", "fold"), rims, strict=True)}
    for ring in range(1, len(s.cage.skull)):
        loops[f"loop_skull_{ring:02d}"] = refine.loop(s.cage.skull[ring - 1])
    return loops
