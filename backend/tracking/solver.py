"""Fit shape, expression, jaw and camera to landmarks by Levenberg-Marquardt with analytic derivatives.

Unknowns: one shape for all views; head pose (6), jaw (3) and expression (E) for each view. The normal equations have the
shape's block in common and are small (about 250 unknowns a view), so they are formed and solved densely.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl

from .landmark_model import LandmarkModel
from .rotation import F64, cross_matrix, rotation_matrix

PIXEL_WEIGHT = 400.0
DEPTH_WEIGHT = 60.0
BELOW_ZERO = 4.0
ABOVE_LIMIT = 1.0
EXPRESSION_LIMIT = 1.2
JAW_SIDEWAYS = 2.0
JAW_CLOSED = 20.0

POSE, JAW = slice(0, 6), slice(6, 9)
FIRST_EXPRESSION = 9


@dataclass(frozen=True)
class View:
    """What one portrait says: landmarks as seen by a pinhole camera.

    Attributes:
        points: [L, 2] pixels relative to the principal point; x right, y down.
        depth: [L] the landmark net's z in pixels, smaller nearer; its mean means nothing.
        weight: [L] trust in each landmark.
        focal: pixels.
        unit: distance between the eyes in pixels: residuals are measured in it.
        share: this view's say in the shape, 0..1.
    """

    points: F64
    depth: F64
    weight: F64
    focal: float
    unit: float
    share: float = 1.0


@dataclass
class ViewState:
    """One view's unknowns: rotation [3, 3] and translation [3] model to camera (OpenCV), jaw [3], expression [E]."""

    rotation: F64
    translation: F64
    jaw: F64
    expression: F64

    def moved(self, step: F64) -> ViewState:
        """After a step [9 + E]; the rotation's part turns on the left."""
        return ViewState(
            rotation_matrix(step[:3]) @ self.rotation,
            self.translation + step[3:6],
            self.jaw + step[JAW],
            self.expression + step[FIRST_EXPRESSION:],
        )


def solve(
    model: LandmarkModel,
    views: list[View],
    states: list[ViewState],
    shape: F64,
    *,
    fixed_shape: bool = False,
    steps: int = 40,
    check: Callable[[], None] = lambda: None,
) -> tuple[F64, list[ViewState]]:
    """Minimise the sum of landmark residuals and priors from a start.

    Args:
        shape: [S] where to start, and where to stay if `fixed_shape`.
        steps: at most so many accepted or refused steps.
        check: called at each step; what it raises ends the work.
    Returns:
        Shape [S] and the views' states.
    """
    size = 0 if fixed_shape else len(shape)
    damping = 1e-3
    blocks = [_block(model, v, s, shape, size) for v, s in zip(views, states, strict=True)]
    cost = _total(blocks, model, shape, size)
    for _ in range(steps):
        check()
        matrix, gradient = _assemble(blocks, model, shape, size)
        matrix[np.diag_indices_from(matrix)] *= 1 + damping
        step = -sl.cho_solve(sl.cho_factor(matrix, check_finite=False), gradient, check_finite=False)
        width = (len(step) - size) // len(views)
        tried_shape = shape + step[:size] if size else shape
        tried = [s.moved(step[size + i * width : size + (i + 1) * width]) for i, s in enumerate(states)]
        new_blocks = [_block(model, v, s, tried_shape, size) for v, s in zip(views, tried, strict=True)]
        new_cost = _total(new_blocks, model, tried_shape, size)
        if new_cost < cost:
            gain = (cost - new_cost) / cost
            shape, states, blocks, cost = tried_shape, tried, new_blocks, new_cost
            damping = max(damping / 10, 1e-9)
            if gain < 1e-5:
                break
        else:
            damping *= 10
            if damping > 1e6:
                break
    return shape, states


def start(model: LandmarkModel, view: View) -> ViewState:
    """A first guess of the pose: the similarity that best takes the template's landmarks to the measured ones (Umeyama 1991)."""
    weight = view.weight / view.weight.sum()
    measured = np.column_stack([view.points, view.depth - weight @ view.depth])
    mean_model, mean_measured = weight @ model.template, weight @ measured
    a, b = model.template - mean_model, measured - mean_measured
    u, singular, vt = np.linalg.svd((b * weight[:, None]).T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(sign) @ vt
    pixels_per_metre = (singular * sign).sum() / (weight @ (a * a).sum(1))
    distance = view.focal / pixels_per_metre
    centre = np.array([mean_measured[0] / pixels_per_metre, mean_measured[1] / pixels_per_metre, distance])
    return ViewState(rotation, centre - rotation @ mean_model, np.zeros(3), np.zeros(model.expression.shape[2]))


def project(model: LandmarkModel, state: ViewState, shape: F64, focal: float) -> tuple[F64, F64]:
    """Landmarks in the camera [L, 3] and in pixels from the principal point [L, 2]."""
    camera = model.evaluate(shape, state.expression, state.jaw) @ state.rotation.T + state.translation
    return camera, focal * camera[:, :2] / camera[:, 2:]


@dataclass(frozen=True)
class _Block:
    """One view's quadratic model: cost, gradient [9 + E + S] and normal matrix, view's unknowns first."""

    cost: float
    gradient: F64
    matrix: F64


def _block(model: LandmarkModel, view: View, state: ViewState, shape: F64, size: int) -> _Block:
    head = model.evaluate(shape, state.expression, state.jaw) @ state.rotation.T
    camera = head + state.translation
    depth = camera[:, 2]
    count = len(head)
    parts = [model.by_jaw(shape, state.expression, state.jaw), model.by_expression(state.jaw)]
    in_model = np.concatenate([*parts, model.by_shape(state.jaw)] if size else parts, 2)
    motion = np.empty((count, 3, 6 + in_model.shape[2]))
    motion[:, :, :3] = -cross_matrix(head)
    motion[:, :, 3:6] = np.eye(3)
    np.matmul(state.rotation, in_model, out=motion[:, :, 6:])

    scale = view.focal / depth
    pixels = camera[:, :2] * scale[:, None]
    weight = view.share * view.weight
    to_unit = np.sqrt(PIXEL_WEIGHT * weight) / view.unit
    jacobian = np.empty((3, count, motion.shape[2]))
    for axis in (0, 1):
        jacobian[axis] = (motion[:, axis] - (camera[:, axis] / depth)[:, None] * motion[:, 2]) * (scale * to_unit)[:, None]
    # Depth under weak perspective, relative to the mean: what the landmark net means by z.
    mean = weight / weight.sum()
    relative = motion[:, 2] - mean @ motion[:, 2]
    pixels_per_metre = view.focal / (mean @ depth)
    depth_unit = np.sqrt(DEPTH_WEIGHT * weight) / view.unit
    jacobian[2] = relative * (pixels_per_metre * depth_unit)[:, None]
    flat = jacobian.reshape(-1, motion.shape[2])
    depth_error = pixels_per_metre * (depth - mean @ depth) - (view.depth - mean @ view.depth)
    residual = np.concatenate([*((pixels - view.points) * to_unit[:, None]).T, depth_error * depth_unit])

    matrix = flat.T @ flat
    gradient = flat.T @ residual
    cost = float(residual @ residual) + _priors(model, view, state, matrix, gradient)
    return _Block(cost, gradient, matrix)


def _priors(model: LandmarkModel, view: View, state: ViewState, matrix: F64, gradient: F64) -> float:
    """Add the view's own priors to its normal equations, in place; returns their cost.

    They are scaled by the view's share, so that the share changes its say in the shape and not its own optimum.
    """
    e, jaw = state.expression, state.jaw
    below, above = model.one_sided * np.minimum(e, 0), model.one_sided * np.maximum(e - EXPRESSION_LIMIT, 0)
    closed = min(jaw[0], 0.0)
    slope = model.expression_prior * e + BELOW_ZERO * below + ABOVE_LIMIT * above
    curvature = model.expression_prior + BELOW_ZERO * (below < 0) + ABOVE_LIMIT * (above > 0)
    jaw_slope = np.array([JAW_CLOSED * closed, JAW_SIDEWAYS * jaw[1], JAW_SIDEWAYS * jaw[2]])
    jaw_curvature = np.array([JAW_CLOSED * (jaw[0] < 0), JAW_SIDEWAYS, JAW_SIDEWAYS])
    at = np.arange(JAW.start, FIRST_EXPRESSION + len(e))
    gradient[at] += view.share * np.concatenate([jaw_slope, slope])
    matrix[at, at] += view.share * np.concatenate([jaw_curvature, curvature])
    cost = model.expression_prior * e @ e + BELOW_ZERO * below @ below + ABOVE_LIMIT * above @ above
    return view.share * float(cost + JAW_CLOSED * closed**2 + JAW_SIDEWAYS * (jaw[1] ** 2 + jaw[2] ** 2))


def _total(blocks: list[_Block], model: LandmarkModel, shape: F64, size: int) -> float:
    return sum(b.cost for b in blocks) + (float(shape @ model.shape_prior @ shape) if size else 0.0)


def _assemble(blocks: list[_Block], model: LandmarkModel, shape: F64, size: int) -> tuple[F64, F64]:
    """All views' normal equations in one: shape first, then each view's unknowns."""
    width = len(blocks[0].gradient) - size
    matrix = np.zeros((size + width * len(blocks),) * 2)
    gradient = np.zeros(len(matrix))
    if size:
        matrix[:size, :size] = model.shape_prior
        gradient[:size] = model.shape_prior @ shape
    for i, block in enumerate(blocks):
        own = slice(size + i * width, size + (i + 1) * width)
        matrix[own, own] = block.matrix[:width, :width]
        matrix[:size, own] = block.matrix[width:, :width]
        matrix[own, :size] = block.matrix[:width, width:]
        matrix[:size, :size] += block.matrix[width:, width:]
        gradient[own] = block.gradient[:width]
        gradient[:size] += block.gradient[width:]
    at = np.arange(size, len(matrix))
    matrix[at, at] += 1e-9 * np.trace(matrix) / len(matrix)  # an expression that moves no landmark leaves a zero row
    return matrix, gradient
