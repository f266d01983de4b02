"""How alike two pictures are, over all pixels or over a mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import correlate1d

from backend.protocol.avatar import F32

Mask = NDArray[np.bool_]

_WINDOW = 11
_SIGMA = 1.5


def psnr(image: F32, truth: F32, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB of [H, W, 3] pictures in 0..1; infinite where they are equal.

    Raises:
        ValueError: different shapes, or an empty mask.
    """
    _check(image, truth, mask)
    error = (np.clip(image, 0, 1).astype(np.float64) - truth) ** 2
    mean = error[mask].mean() if mask is not None else error.mean()
    return float(-10 * np.log10(mean)) if mean > 0 else float("inf")


def ssim(image: F32, truth: F32, mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al. 2004): 11 x 11 Gaussian window of sigma 1.5, mean over channels and pixels.

    Pixels closer than half a window to the border do not count, as in the paper; nor do those outside the mask.

    Raises:
        ValueError: different shapes, a picture smaller than the window, or a mask without a countable pixel.
    """
    _check(image, truth, mask)
    border = _WINDOW // 2
    if min(truth.shape[:2]) <= 2 * border:
        raise ValueError(f"pictures of {truth.shape[:2]} are smaller than SSIM's window")
    x, y = np.clip(image, 0, 1).astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y, covariance = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2, _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    inner = (slice(border, -border), slice(border, -border))
    values = similarity[inner].mean(-1)
    if mask is None:
        return float(values.mean())
    if not mask[inner].any():
        raise ValueError("the mask has no pixel inside the border")
    return float(values[mask[inner]].mean())


def silhouette_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks; 1 where both are empty."""
    union = (a | b).sum()
    return float((a & b).sum() / union) if union else 1.0


def _blur(image: NDArray) -> NDArray:
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    window /= window.sum()
    return correlate1d(correlate1d(image, window, 0), window, 1)


def _check(image: NDArray, truth: NDArray, mask: Mask | None) -> None:
    if image.shape != truth.shape or image.ndim != 3 or (mask is not None and mask.shape != image.shape[:2]):
        raise ValueError(f"pictures {image.shape} and {truth.shape} and mask {None if mask is None else mask.shape} do not fit")
    if mask is not None and not mask.any():
        raise ValueError("the mask is empty")
