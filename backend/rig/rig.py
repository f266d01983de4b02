"""A parametric head: template, shape basis, named expression basis, joints and skinning weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backend.protocol.avatar import F32, I32, RigArrays

from .eye_seating import seat_eyes


@dataclass(frozen=True)
class Rig:
    """A parametric head in FLAME's layout, whatever its source. Metres, +Y up, face along +Z.

    Attributes:
        template: [V, 3] mean neutral face.
        faces: [F, 3] triangles, counter-clockwise from outside.
        shape_basis: [V, 3, S] displacement per standard deviation of identity.
        expression_basis: [E, V, 3] displacement of each named expression at value 1.
        expression_names: E names; where a meaning exists in ARKit, ARKit's name (camelCase).
        joint_regressor: [J, V] joints of a shaped template.
        joint_names: root, neck, jaw, eye_left, eye_right first (left is the subject's).
        parents: [J], -1 for the root.
        weights: [V, J], rows sum to 1.
        pose_basis: [V, 3, 9 (J - 1)] pose correctives as FLAME's posedirs, or None.
        labels: named vertex sets (index arrays): skin, lips, eye_left, eye_right, lids, teeth_upper,
            teeth_lower, tongue, mouth_cavity, ear_left, ear_right, neck, scalp. A set may be absent.
            Sets named loop_* are ordered closed loops (built-in head): loop_lips_inner, loop_lips_outer,
            loop_lid_left and _right (outer corner first, along the upper lid), loop_lid_margin_* and
            loop_lid_fold_* behind them, loop_face_oval, loop_neck_base, loop_skull_01.. from oval to neck.
        landmarks: [478 or fewer] vertex index of each MediaPipe landmark, -1 where there is none;
            or None where the rig has only `landmark_embedding`.
        landmark_embedding: (landmark index [L], face [L], barycentric [L, 3]) for rigs whose landmarks
            are not vertices; or None.
        mirror: [V] index of each vertex's left-right partner, or None for asymmetric rigs.
        rig_id, licence: identity and terms, for provenance.
    """

    template: F32
    faces: I32
    shape_basis: F32
    expression_basis: F32
    expression_names: tuple[str, ...]
    joint_regressor: F32
    joint_names: tuple[str, ...]
    parents: I32
    weights: F32
    rig_id: str
    licence: str
    pose_basis: F32 | None = None
    labels: dict[str, I32] = field(default_factory=dict)
    landmarks: I32 | None = None
    landmark_embedding: tuple[I32, I32, F32] | None = None
    mirror: I32 | None = None

    def bake(self, vertices: F32) -> RigArrays:
        """The rig of one identity, whose neutral vertices [V, 3] are given (shape and any offsets applied).

        Where the rig's labels name its lid lines, the eyeballs are seated behind this identity's lids (only vertices
        within the eye sockets move) and the lid expressions are adapted to it, so that a blink closes on every face.
        """
        vertices, expressions = seat_eyes(self, vertices)
        return RigArrays(
            vertices=np.ascontiguousarray(vertices, np.float32),
            faces=np.ascontiguousarray(self.faces, np.int32),
            joints=np.ascontiguousarray(self.joint_regressor @ vertices, np.float32),
            parents=np.ascontiguousarray(self.parents, np.int32),
            weights=np.ascontiguousarray(self.weights, np.float32),
            expressions=np.ascontiguousarray(expressions, np.float32),
            joint_names=self.joint_names,
            expression_names=self.expression_names,
            rig_id=self.rig_id,
        )
