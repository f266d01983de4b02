"""A rig as its landmarks see it: where the landmarks are for given shape, expression and jaw, and how they move with each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from backend.protocol.errors import RigError
from backend.rig.rig import Rig

from .mesh import SURFACE
from .priors import expression_prior, is_component, shape_prior
from .rotation import F64, cross_matrix, left_jacobian, rotation_matrix

MIN_LANDMARKS = 20


@dataclass(frozen=True)
class LandmarkModel:
    """The rig restricted to the L landmarks that it knows. Metres, model frame.

    Attributes:
        index: [L] which MediaPipe landmark each is.
        pick: [L, V] sparse; ``pick @ vertices`` are the landmarks.
        template: [L, 3]; shape: [L, 3, S]; expression: [L, 3, E]; jaw_weight: [L].
        jaw: [3] the jaw joint of the template; jaw_shape: [3, S] how it follows the shape.
        normals: [L, 3] outward unit normals of the template.
        shape_prior: [S, S]; the cost of a shape s is s' shape_prior s.
        expression_prior: [E]; the cost of an expression e is sum(expression_prior * e^2).
        one_sided: [E] 1 for expressions that mean something from 0 to about 1 only, 0 for signed components.
    """

    index: NDArray[np.int64]
    pick: sp.csr_matrix
    template: F64
    shape: F64
    expression: F64
    jaw_weight: F64
    jaw: F64
    jaw_shape: F64
    normals: F64
    shape_prior: F64
    expression_prior: F64
    one_sided: F64

    def evaluate(self, shape: F64, expression: F64, jaw: F64) -> F64:
        """Landmarks [L, 3] for coefficients [S], [E] and the jaw's axis-angle [3]."""
        rest = self.template + self.shape @ shape + self.expression @ expression
        joint = self.jaw + self.jaw_shape @ shape
        return rest + self.jaw_weight[:, None] * ((rest - joint) @ (rotation_matrix(jaw) - np.eye(3)).T)

    def by_shape(self, jaw: F64) -> F64:
        """[L, 3, S] derivative of `evaluate` by the shape."""
        turn = rotation_matrix(jaw) - np.eye(3)
        return self.spread(jaw) @ self.shape - self.jaw_weight[:, None, None] * (turn @ self.jaw_shape)

    def by_expression(self, jaw: F64) -> F64:
        """[L, 3, E] derivative of `evaluate` by the expression."""
        return self.spread(jaw) @ self.expression

    def by_jaw(self, shape: F64, expression: F64, jaw: F64) -> F64:
        """[L, 3, 3] derivative of `evaluate` by the jaw's axis-angle."""
        rest = self.template + self.shape @ shape + self.expression @ expression
        lever = (rest - self.jaw - self.jaw_shape @ shape) @ rotation_matrix(jaw).T
        return -self.jaw_weight[:, None, None] * (cross_matrix(lever) @ left_jacobian(jaw))

    def spread(self, jaw: F64) -> F64:
        """[L, 3, 3] how a displacement of the rest pose appears after the jaw has turned."""
        return np.eye(3) + self.jaw_weight[:, None, None] * (rotation_matrix(jaw) - np.eye(3))


def landmark_model(rig: Rig) -> LandmarkModel:
    """Restrict a rig to its landmarks.

    Raises:
        RigError: the rig has no landmarks, or too few to fit by.
    """
    index, pick = _landmark_matrix(rig)
    surface = index < SURFACE
    index, pick = index[surface], pick[surface]
    if len(index) < MIN_LANDMARKS:
        message = f"rig {rig.rig_id}: {len(index)} landmarks are too few to fit a face by"
        raise RigError(message, "pass the rig through backend.tracking.with_landmarks")
    jaw = rig.joint_names.index("jaw")
    regressor = rig.joint_regressor[jaw].astype(np.float64)
    basis = rig.shape_basis.astype(np.float64)
    count = len(rig.template)
    normals = pick @ vertex_normals(rig.template, rig.faces)
    return LandmarkModel(
        index=index,
        pick=pick,
        template=pick @ rig.template.astype(np.float64),
        shape=(pick @ basis.reshape(count, -1)).reshape(len(index), 3, -1),
        expression=np.stack([pick @ e for e in rig.expression_basis.astype(np.float64)], -1),
        jaw_weight=pick @ rig.weights[:, jaw].astype(np.float64),
        jaw=regressor @ rig.template,
        jaw_shape=(regressor @ basis.reshape(count, -1)).reshape(3, -1),
        normals=normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12),
        shape_prior=shape_prior(rig, pick),
        expression_prior=np.array([expression_prior(name) for name in rig.expression_names]),
        one_sided=np.array([not is_component(name) for name in rig.expression_names], np.float64),
    )


def _landmark_matrix(rig: Rig) -> tuple[NDArray[np.int64], sp.csr_matrix]:
    """Landmark numbers [L] and the sparse [L, V] that picks or interpolates them."""
    count = len(rig.template)
    if rig.landmarks is not None:
        index = np.flatnonzero(rig.landmarks >= 0)
        return index, sp.csr_matrix((np.ones(len(index)), (np.arange(len(index)), rig.landmarks[index])), (len(index), count))
    if rig.landmark_embedding is None:
        raise RigError(f"rig {rig.rig_id}: no landmarks are known on it", "pass the rig through backend.tracking.with_landmarks")
    index, face, barycentric = rig.landmark_embedding
    rows = np.repeat(np.arange(len(index)), 3)
    matrix = sp.csr_matrix((barycentric.astype(np.float64).ravel(), (rows, rig.faces[face].ravel())), (len(index), count))
    return np.asarray(index, np.int64), matrix


def vertex_normals(vertices: NDArray, faces: NDArray) -> F64:
    """[V, 3] area-weighted unit normals."""
    corners = vertices[faces].astype(np.float64)
    face_normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat = faces.ravel()
    total = np.stack([np.bincount(flat, np.repeat(face_normal[:, k], 3), len(vertices)) for k in range(3)], 1)
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)
