"""What each rig vertex is: soft fields from the rig's labels and landmarks, for any topology."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from backend.protocol.avatar import F32, I32
from backend.rig.rig import Rig

from . import mesh

# Loops of MediaPipe's face mesh. Right and left are the subject's.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
UPPER_INNER_LIP = (81, 82, 13, 312, 311, 80, 310, 191, 415)
LOWER_INNER_LIP = (178, 87, 14, 317, 402, 88, 318, 95, 324)
MOUTH_CORNERS = (61, 291, 76, 306, 62, 292, 78, 308)
RIGHT_EYE = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
LEFT_EYE = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
SKIN_SAMPLES = (50, 280, 205, 425, 4, 6, 195, 101, 330, 36, 266, 117, 346, 118, 347, 151, 199)
CORNER_TRAVEL = 0.3
"""How far a lid's edge goes beside its corners in a blink, as a share of its middle's way."""
BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)


@dataclass(frozen=True)
class Anatomy:
    """Fields over a rig's V vertices, each [V] in 0..1, and what finds vertices.

    Attributes:
        landmark: [478] rig vertex nearest to each MediaPipe landmark, -1 where there is none.
        eyes, teeth, tongue, cavity, ears: the parts of those names; `teeth_upper` and `teeth_lower` apart.
        lid_fold: upper lids from crease to lashes: a thin dark band on an open eye, the lid's skin on a closed one.
        lashes: the upper lids' rim below that fold.
        left: 1 on the subject's left half (x > 0).
        body: the skin surface, without eyes, teeth, tongue and mouth cavity.
        face: inside the face's oval; inner: the same, drawn in by some millimetres and below the brows.
        neck: 1 below the jaw, 0 on the head, a ramp between.
        scalp: where hair grows on most people, a prior for what is not seen.
        base: 1 where the neck ends and the shoulders' splats take over.
        mirror: [V] index of each vertex's partner on the other side.
        edges: [E, 2] of the mesh.
        unit: this head's interpupillary distance / 62.5 mm, scales every length.
    """

    landmark: I32
    eyes: F32
    teeth: F32
    teeth_upper: F32
    teeth_lower: F32
    tongue: F32
    cavity: F32
    ears: F32
    lid_fold: F32
    lashes: F32
    left: F32
    body: F32
    face: F32
    inner: F32
    neck: F32
    scalp: F32
    base: F32
    mirror: I32
    edges: NDArray[np.int64]
    unit: float

    @staticmethod
    def of(rig: Rig) -> Anatomy:
        """Measure a rig; absent labels give empty fields, so nothing downstream asks whether they exist."""
        template, count = rig.template, len(rig.template)
        landmark = landmark_vertices(rig)
        mark = lambda *names: _indicator(rig, names, count)
        eyes, cavity, ears = mark("eye_left", "eye_right"), mark("mouth_cavity"), mark("ear_left", "ear_right")
        teeth_upper, teeth_lower, tongue = mark("teeth_upper"), mark("teeth_lower"), mark("tongue")
        teeth = np.maximum(teeth_upper, teeth_lower)
        body = 1 - np.clip(eyes + teeth + tongue + cavity, 0, 1)
        lid_fold, lashes = _upper_lids(rig, landmark, body)
        right, left = (template[_some(landmark, loop)].mean(0) for loop in (RIGHT_EYE, LEFT_EYE))
        unit = float(max(np.linalg.norm(left - right), 1e-3) / 0.0625)
        face, inner = _face_fields(template, landmark, unit, body)
        chin = template[landmark[152]] if landmark[152] >= 0 else template[_some(landmark, ())].min(0)
        neck, base = _neck_fields(rig, chin[1], unit, body, face)
        return Anatomy(
            landmark=landmark, eyes=eyes, teeth=teeth, teeth_upper=teeth_upper, teeth_lower=teeth_lower, tongue=tongue,
            cavity=cavity, ears=ears, lid_fold=lid_fold, lashes=lashes, left=(template[:, 0] > 0).astype(np.float32),
            body=body.astype(np.float32), face=face, inner=inner, neck=neck, base=base,
            scalp=_scalp_field(template, landmark, chin[1], unit, body, face),
            mirror=_mirror(rig), edges=mesh.edges(rig.faces), unit=unit,
        )  # fmt: skip

    def vertices(self, landmarks: tuple[int, ...]) -> NDArray[np.int64]:
        """Rig vertices of those landmarks that the rig has, in order."""
        return _present(self.landmark, landmarks)


def landmark_vertices(rig: Rig) -> I32:
    """[478] the rig vertex at, or nearest to, each landmark; -1 where the rig has none."""
    table = np.full(478, -1, np.int32)
    if rig.landmarks is not None:
        table[: len(rig.landmarks)] = rig.landmarks
    elif rig.landmark_embedding is not None:
        index, face, barycentric = rig.landmark_embedding
        table[index] = rig.faces[face, barycentric.argmax(1)]
    return table


def _present(landmark: I32, wanted: tuple[int, ...]) -> NDArray[np.int64]:
    found = landmark[list(wanted)]
    return np.asarray(found[found >= 0], np.int64)


def _some(landmark: I32, wanted: tuple[int, ...]) -> NDArray[np.int64]:
    """Vertices of those landmarks that exist, or of all that exist where none of them does."""
    found = _present(landmark, wanted)
    return found if len(found) else np.asarray(landmark[landmark >= 0], np.int64)


def _outline(template: F32, landmark: I32, unit: float) -> F32:
    """[N, 3] the face's oval, or, where the rig has too little of it, the hull of the landmarks that it has, widened."""
    oval = template[_present(landmark, OVAL)]
    if len(oval) >= 24:
        return oval
    points = template[_some(landmark, ())]
    hull = points[np.asarray(cv2.convexHull(np.ascontiguousarray(points[:, :2], np.float32), returnPoints=False), np.int64)[:, 0]]
    outwards = hull - hull.mean(0)
    outwards[:, 2] = 0
    return hull + 0.018 * unit * outwards / np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)


def _indicator(rig: Rig, names: tuple[str, ...], count: int) -> F32:
    field = np.zeros(count, np.float32)
    for name in names:
        field[rig.labels.get(name, [])] = 1
    return field


def _face_fields(template: F32, landmark: I32, unit: float, body: F32) -> tuple[F32, F32]:
    """Signed distance to the oval in the frontal plane, on the front half; the inner face ends at the brows."""
    oval = _outline(template, landmark, unit)
    polygon = np.ascontiguousarray(oval[:, None, :2], np.float32)
    distance = np.array([cv2.pointPolygonTest(polygon, (float(x), float(y)), True) for x, y in template[:, :2]], np.float32)
    front = template[:, 2] > oval[:, 2].min() - 0.012 * unit
    inside = np.where(front, distance, -1) / (1e-3 * unit)
    brow = template[_some(landmark, BROWS), 1].max()
    below_brow = (brow + 0.006 * unit - template[:, 1]) / (6e-3 * unit)
    face = np.clip(inside / 4 + 0.5, 0, 1) * body
    inner = np.clip(np.minimum((inside - 4) / 8, below_brow), 0, 1) * body
    return face.astype(np.float32), inner.astype(np.float32)


def _neck_fields(rig: Rig, chin: float, unit: float, body: F32, face: F32) -> tuple[F32, F32]:
    """Neck by height below the chin (rising towards the nape), base by height above the mesh's lower rim."""
    template = rig.template
    height = template[:, 1] - chin
    nape = 0.25 * np.clip(-(template[:, 2] + 0.02 * unit), 0, 0.12 * unit)
    neck = np.clip(0.5 - (height - nape) / (0.02 * unit), 0, 1) * body * (1 - face)
    rim = template[body > 0.5, 1].min()
    low = max(rim + 0.01 * unit, chin - 0.095 * unit)
    base = np.clip((low + 0.02 * unit - template[:, 1]) / (0.02 * unit), 0, 1) * body
    return neck.astype(np.float32), base.astype(np.float32)


def _upper_lids(rig: Rig, landmark: I32, body: F32) -> tuple[F32, F32]:
    """The fold that a blink draws out, and the rim that it carries furthest, both along the whole lid: how far a point goes
    is told against the lid's edge before it, which goes less far towards the corners."""
    fold, rim = np.zeros(len(rig.template), np.float32), np.zeros(len(rig.template), np.float32)
    for name, loop in (("eyeBlinkLeft", LEFT_EYE), ("eyeBlinkRight", RIGHT_EYE)):
        if name not in rig.expression_names:
            continue
        move, edge = rig.expression_basis[rig.expression_names.index(name)], _present(landmark, loop[:9])
        down = move[edge].sum(0)
        travel = np.where(move @ down > 0, np.linalg.norm(move, axis=1), 0)
        furthest = travel[edge].max(initial=0.0)
        if furthest > 0:
            edge = edge[np.argsort(rig.template[edge, 0])]
            here = np.interp(rig.template[:, 0], rig.template[edge, 0], travel[edge])
            share = travel / np.maximum(here, CORNER_TRAVEL * furthest)
            fold = np.maximum(fold, np.clip(share / 0.3 - 0.5, 0, 1) * np.clip((0.98 - share) / 0.06, 0, 1))
            rim = np.maximum(rim, np.clip((share - 0.9) / 0.08, 0, 1))
    return (fold * body).astype(np.float32), (rim * body).astype(np.float32)


def _scalp_field(template: F32, landmark: I32, chin: float, unit: float, body: F32, face: F32) -> F32:
    """Above a line that falls from over the ears to the nape."""
    brow = template[_some(landmark, BROWS), 1].max()
    rims = template[_present(landmark, (234, 454)), 2]
    ear = rims.mean() if len(rims) else template[_some(landmark, ()), 2].min() - 0.01 * unit
    back = np.clip((ear - 0.01 * unit - template[:, 2]) / (0.045 * unit), 0, 1)
    line = chin + (0.95 - 0.6 * back) * (brow - chin)
    return (np.clip((template[:, 1] - line) / (0.012 * unit) + 0.5, 0, 1) * body * (1 - face)).astype(np.float32)


def _mirror(rig: Rig) -> I32:
    if rig.mirror is not None:
        return rig.mirror
    return np.asarray(KDTree(rig.template).query(rig.template * np.array([-1, 1, 1], np.float32))[1], np.int32)
