"""How alike two pictures look, where LPIPS' weights are not given: structure of edges at several sizes."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, sobel, zoom

from backend.protocol.avatar import F32

SCALES = 3
_SIGMA = 1.5
_STABLE = 0.03**2


def edge_distance(image: F32, truth: F32, scales: int = SCALES) -> float:
    """1 - multi-scale gradient SSIM (after Chen, Yang & Xie 2006), 0 where equal, about 1 where nothing agrees.

    The structure term of SSIM between the Sobel gradients' strengths of the luminance, in Gaussian windows, averaged where either
    picture has edges, over sizes that halve. It feels lost wrinkles and blur, not a shift of tone. It is no replacement for
    LPIPS: figures of the two cannot be compared.

    Args:
        image, truth: [H, W, 3] 0..1.
    """
    a, b = (_luminance(x) for x in (image, truth))
    values = []
    for _ in range(scales):
        if min(a.shape) < 16:
            break
        values.append(_agreement(_strength(a), _strength(b)))
        a, b = _halved(a), _halved(b)
    return 1 - float(np.mean(values))


def _luminance(image: F32) -> np.ndarray:
    return np.asarray(np.clip(image, 0, 1).astype(np.float64) @ np.array([0.299, 0.587, 0.114]))


def _halved(luminance: np.ndarray) -> np.ndarray:
    return np.asarray(zoom(gaussian_filter(luminance, 0.8), 0.5, order=1))


def _strength(luminance: np.ndarray) -> np.ndarray:
    return np.hypot(sobel(luminance, 0), sobel(luminance, 1)) / 4


def _agreement(a: np.ndarray, b: np.ndarray) -> float:
    blur = lambda x: gaussian_filter(x, _SIGMA)
    mean_a, mean_b = blur(a), blur(b)
    deviation = (blur(a * a) - mean_a**2).clip(0), (blur(b * b) - mean_b**2).clip(0)
    covariance = blur(a * b) - mean_a * mean_b
    structure = (2 * covariance + _STABLE) / (deviation[0] + deviation[1] + _STABLE)
    weight = np.maximum(mean_a, mean_b)
    return float((structure * weight).sum() / max(weight.sum(), 1e-12))
