"""Mattes that follow the picture's edges, and the person's own colours without the background in them."""

from __future__ import annotations

import cv2
import numpy as np

from backend.protocol.avatar import F32


def refine_matte(image: F32, matte: F32, radius: int, smoothness: float = 2e-4) -> F32:
    """Snap a soft, coarse matte to colour edges by a guided filter (He et al. 2013, eq. 14, colour guide).

    Only a band about the matte's edge changes; the rest stays what it was.

    Args:
        image: [H, W, 3] guide, 0..1.
        matte: [H, W] 0..1.
        radius: of the filter's window, pixels.
        smoothness: epsilon of the filter, in squared colour units.
    Returns:
        [H, W] 0..1.
    """
    blur = lambda a: cv2.boxFilter(a, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REPLICATE)
    mean_image, mean_matte = blur(image), blur(matte)
    covariance = blur(image * matte[..., None]) - mean_image * mean_matte[..., None]
    products = blur(np.ascontiguousarray((image[..., :, None] * image[..., None, :]).reshape(*matte.shape, 9)))
    variance = products.reshape(*matte.shape, 3, 3) - mean_image[..., :, None] * mean_image[..., None, :]
    slope = _solve_symmetric(variance + smoothness * np.eye(3, dtype=np.float32), covariance)
    offset = mean_matte - (slope * mean_image).sum(-1)
    guided = (blur(slope) * image).sum(-1) + blur(offset)
    guided = np.clip((guided - 0.08) / 0.84, 0, 1)
    near_edge = cv2.GaussianBlur(matte, (0, 0), radius * 0.8)
    band = cv2.GaussianBlur((np.abs(near_edge - 0.5) < 0.49).astype(np.float32), (0, 0), radius * 0.33)
    return (guided * band + (matte > 0.5) * (1 - band)).astype(np.float32)


def foreground(image: F32, matte: F32, radius: int) -> F32:
    """Estimate the person's colours where hair mixes with the background (Forte 2021, blur-fusion, two passes).

    Args:
        image: [H, W, 3] 0..1.
        matte: [H, W] 0..1.
        radius: of the first, wide pass in pixels; the second is an eighth of it.
    Returns:
        [H, W, 3] colours that, blended over the true background by the matte, give the image.
    """
    alpha = matte[..., None]
    back = front = image
    for size in (radius, max(2, radius // 8)):
        blur = lambda a, k=2 * size + 1: cv2.boxFilter(a, -1, (k, k), borderType=cv2.BORDER_REPLICATE)
        weight = blur(matte)[..., None]
        mean_front = blur(front * alpha) / np.maximum(weight, 1e-4)
        mean_back = blur(back * (1 - alpha)) / np.maximum(1 - weight, 1e-4)
        front = np.clip(mean_front + alpha * (image - alpha * mean_front - (1 - alpha) * mean_back), 0, 1)
        back = mean_back
    return front.astype(np.float32)


def _solve_symmetric(matrix: F32, right: F32) -> F32:
    """Solve many symmetric 3 x 3 systems by Cramer's rule; faster than LAPACK for a picture full of them."""
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 1], matrix[..., 1, 2], matrix[..., 2, 2]
    inverse = np.stack([d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b], -1)
    determinant = a * inverse[..., 0] + b * inverse[..., 1] + c * inverse[..., 2]
    x, y, z = right[..., 0], right[..., 1], right[..., 2]
    i = inverse
    solution = np.stack(
        [
            i[..., 0] * x + i[..., 1] * y + i[..., 2] * z,
            i[..., 1] * x + i[..., 3] * y + i[..., 4] * z,
            i[..., 2] * x + i[..., 4] * y + i[..., 5] * z,
        ],
        -1,
    )
    return solution / determinant[..., None]
