"""What a painter must know of a rig: its surface in detail, and where lips, brows, irises, cheeks and beard lie on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.evaluation import ict_heads
from backend.evaluation.procedural import inside_polygon
from backend.protocol.avatar import F32, I32
from backend.protocol.errors import RigError
from backend.rig import Rig, smoothed_subdivision_matrix
from backend.rig.builtin.landmarks import LIPS_OUTER

SKIN, EYE, TEETH, TONGUE, CLOTH = range(5)
"""What a face of the surface is made of. Lips, brows and hair are painted on skin."""

FINE = 20_000
"""A rig with fewer vertices is subdivided once: lids and nostrils need them."""
COLLAR_BELOW_CHIN = 0.045
"""Metres."""
MEDIAPIPE_BROWS = ((70, 63, 105, 66, 107, 55, 65, 52, 53, 46), (300, 293, 334, 296, 336, 285, 295, 282, 283, 276))
MEDIAPIPE_POINTS = {"forehead": 10, "nose": 4, "chin": 152, "eye_corner": 263, "cheek": 280, "lip": 0}
ICT_POINTS = {"forehead": ict_heads.FOREHEAD, "nose": ict_heads.NOSE, "chin": ict_heads.CHIN, "eye_corner": ict_heads.EYE_CORNER,
              "cheek": ict_heads.CHEEK, "lip": ict_heads.LIPS[15]}  # fmt: skip


@dataclass(frozen=True)
class Anatomy:
    """A rig's surface and what lies where on it, measured on the neutral template. Metres.

    Attributes:
        refine: [V', V] makes surface vertices of the rig's.
        faces: [F', 3] of the surface. part: [F'] SKIN, EYE, TEETH or TONGUE.
        rest: [V', 3] the template's surface.
        lips, brows: [V'] distance to their outlines, negative inside; far from the front of the face 1.
        iris: [V'] angle from the eye's axis, radians; pi where there is no eye.
        cavity: [V'] 0..1 inside of the mouth. ear: [V'] 0..1.
        points: forehead, nose, chin, eye_corner (left), cheek (left), lip: places on the template.
        collar: height at which clothes end; the surface stops a little below.
        outer: [V'] 1 on skin outside the mouth, where hair may grow and hair lifts the surface.
    """

    refine: sp.csr_matrix
    faces: I32
    part: NDArray[np.uint8]
    rest: F32
    lips: F32
    brows: F32
    iris: F32
    cavity: F32
    ear: F32
    points: dict[str, NDArray[np.float64]]
    collar: float
    outer: F32


def study(rig: Rig) -> Anatomy:
    """The anatomy of the built-in head or ICT-FaceKit.

    Raises:
        RigError: a rig whose parts or landmarks are not known; FLAME among them, which has neither teeth nor lips to paint.
    """
    lips, brows, points = _marks(rig)
    count = len(rig.template)
    refine, faces = smoothed_subdivision_matrix(rig.faces, count, 1 if count < FINE else 0)
    rest = (refine @ rig.template).astype(np.float32)

    def spread(*labels: str) -> F32:
        field = np.zeros(count, np.float32)
        for label in labels:
            field[rig.labels.get(label, [])] = 1
        return np.clip(refine @ field, 0, 1).astype(np.float32)

    eyes, teeth, tongue = spread("eye_left", "eye_right"), spread("teeth_upper", "teeth_lower"), spread("tongue")
    collar = float(points["chin"][1]) - COLLAR_BELOW_CHIN
    faces = faces[(rest[:, 1] > collar - 0.08)[faces].any(1)]
    part = np.zeros(len(faces), np.uint8)
    for value, field in ((EYE, eyes), (TEETH, teeth), (TONGUE, tongue)):
        part[field[faces].min(1) > 0.5] = value
    cavity = spread("mouth_cavity")
    outer = ((eyes + teeth + tongue + cavity) < 0.01).astype(np.float32)
    front = (rest[:, 2] > points["nose"][2] - 0.09) & (outer > 0)
    on_front = lambda distance: np.where(front, distance, 1).astype(np.float32)
    return Anatomy(
        refine=refine,
        faces=faces.astype(np.int32),
        part=part,
        rest=rest,
        lips=on_front(_distance(rig.template[list(lips), :2], rest[:, :2])),
        brows=on_front(np.minimum(*(_distance(rig.template[list(brow), :2], rest[:, :2]) for brow in brows))),
        iris=_iris(rig, refine, rest),
        cavity=cavity,
        ear=spread("ear_left", "ear_right"),
        points=points,
        collar=collar,
        outer=outer,
    )


def _marks(rig: Rig) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...], dict[str, NDArray[np.float64]]]:
    """Vertices of the outline of the lips and of both brows, and the named places."""
    if rig.rig_id == "ict-facekit":
        lips, brows, named = ict_heads.LIPS, ict_heads.BROWS, ICT_POINTS
    elif "mouth_cavity" in rig.labels and rig.landmarks is not None and (rig.landmarks[:468] >= 0).all():
        index = rig.landmarks.tolist()
        lips = tuple(index[i] for i in LIPS_OUTER)
        brows = tuple(tuple(index[i] for i in brow) for brow in MEDIAPIPE_BROWS)
        named = {name: index[i] for name, i in MEDIAPIPE_POINTS.items()}
    else:
        raise RigError(f"rig {rig.rig_id} cannot be painted: its lips and brows are not known", "use 'builtin' or ICT-FaceKit")
    return lips, brows, {name: rig.template[vertex].astype(np.float64) for name, vertex in named.items()}


def _distance(outline: F32, points: F32) -> F32:
    """[P] distance of points [P, 2] to a closed outline [K, 2], negative inside."""
    nearest = np.full(len(points), np.inf)
    for start, end in zip(outline, np.roll(outline, -1, 0), strict=True):
        along = end - start
        share = np.clip((points - start) @ along / max(float(along @ along), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - share[:, None] * along, axis=1))
    return np.where(inside_polygon(outline, points), -nearest, nearest).astype(np.float32)


def _iris(rig: Rig, refine: sp.csr_matrix, rest: F32) -> F32:
    angle = np.full(len(rest), np.pi, np.float32)
    for label in ("eye_left", "eye_right"):
        member = np.zeros(len(rig.template))
        member[rig.labels[label]] = 1
        eye = np.flatnonzero(refine @ member > 0.99)
        centre = rig.joint_regressor[rig.joint_names.index(label)] @ rig.template
        direction = rest[eye] - centre
        angle[eye] = np.arccos(np.clip(direction[:, 2] / np.linalg.norm(direction, axis=1), -1, 1))
    return angle
