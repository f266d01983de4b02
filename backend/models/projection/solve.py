"""Closed-form colours: rendering is linear in them, so the photo fixes them by least squares."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import csr_matrix

from backend.protocol.avatar import F32
from backend.splats import ColorOperator
from backend.splats import View as SplatView

from .view import View


def trusted_pixels(view: View) -> NDArray[np.bool_]:
    """[S, S] surely the person and nothing else; solving at the rim bakes the background into the hair."""
    size = int(0.012 * view.size) | 1
    return (ndimage.minimum_filter(view.matte, size) > 0.9) & view.inside


def solve_colors(
    view: View,
    means: F32,
    rotations: F32,
    scales: F32,
    opacities: F32,
    colors: F32,
    free: NDArray[np.bool_],
    smoothness: csr_matrix,
    damping: F32,
    report: Callable[[float], None],
    gain: F32 | None = None,
    share: F32 | None = None,
    iterations: int = 30,
) -> F32:
    """Change the free colours so that the rendered view matches the photo; the others stay.

    Minimizes ``|W (A x - alpha I)|^2 + |x - x0|^2 damping + (x - x0)^T smoothness (x - x0)`` by conjugate gradients with a
    Jacobi preconditioner. The target is the photo times the splats' own coverage, so no colour pays for transparency.

    Args:
        means [N, 3], rotations [N, 4], scales [N, 3], opacities [N]: splats posed as in the view.
        colors: [N, 3] x0. free: [N] bool. damping: [N], in units of pixels that a splat covers.
        smoothness: [N, N] positive semi-definite; keeps neighbours from drifting apart.
        gain: [N, 3] factors that bring the photo's light to the colours' at each splat; 1 when None.
        share: [N] how much of each splat is this photo's to say, which weighs the pixels; 1 when None.
        report: told the share that is done before each iteration; may raise to cancel.
    Returns:
        [N, 3] in 0..1, and for free splats within the range of the photo's colours around them.
    """
    camera = view.camera
    operator = ColorOperator(
        means, rotations, scales, opacities, SplatView(camera.world_to_camera, camera.intrinsics, camera.width, camera.height)
    )
    weight = trusted_pixels(view).astype(np.float32)
    cover = operator.alpha[..., None]
    target = view.foreground * (cover if gain is None else operator.forward(gain))
    if share is not None:
        weight *= (operator.forward(share[:, None]) / np.maximum(cover, 1e-3))[..., 0] ** 2
    mask = free[:, None].astype(np.float32)
    normal = lambda x: mask * (operator.adjoint(operator.forward(x) * weight[..., None]) + damping[:, None] * x + smoothness @ x)
    residual = mask * operator.adjoint((target - operator.forward(colors)) * weight[..., None])
    precondition = mask / (operator.gram_diagonal(weight)[:, None] + (damping + smoothness.diagonal())[:, None])
    change = np.zeros_like(colors)
    step = precondition * residual
    direction, energy = step, float((residual * step).sum())
    start = energy
    for iteration in range(iterations):
        report(iteration / iterations)
        if energy <= 1e-5 * start:
            break
        image = normal(direction)
        length = energy / max(float((direction * image).sum()), 1e-20)
        change = change + length * direction
        residual = residual - length * image
        step = precondition * residual
        energy, previous = float((residual * step).sum()), energy
        direction = step + (energy / previous) * direction
    low, high = _local_range(view, means)
    low, high = (low, high) if gain is None else (low * gain, high * gain)
    low, high = np.minimum(low, colors), np.maximum(high, colors)
    return np.clip(np.where(free[:, None], np.clip(colors + change, low, high), colors), 0, 1).astype(np.float32)


def _local_range(view: View, means: F32) -> tuple[F32, F32]:
    """[N, 3] darkest and brightest colours near each splat in the photo, with a little room for sharpening."""
    kernel = np.ones((2 * max(1, round(0.006 * view.size)) + 1,) * 2, np.uint8)
    pixels = view.camera.project(means)
    dark, bright = cv2.erode(view.foreground, kernel), cv2.dilate(view.foreground, kernel)
    room = 0.1 * (bright - dark) + 0.01
    return view.at(dark - room, pixels), view.at(bright + room, pixels)
