"""What the photometric loss computes at every pixel, as kernels over rows of flat arrays that release the GIL."""

from __future__ import annotations

from backend.splats import kernel_cache  # noqa: F401  (must run before numba is imported)

# isort: split
from numba import njit

from backend.protocol.avatar import F32

_COMPILE = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz", "arcp"}, "boundscheck": False}
C1, C2 = 0.01**2, 0.03**2


@njit(**_COMPILE)
def products(begin: int, end: int, x: F32, y: F32, xx: F32, xy: F32) -> None:
    """xx = x x and xy = x y over begin..end of flat arrays."""
    for i in range(begin, end):
        a = x[i]
        xx[i] = a * a
        xy[i] = a * y[i]


@njit(**_COMPILE)
def dissimilarity(
    begin: int, end: int, mean_x: F32, square_x: F32, product: F32, mean_y: F32, square_y: F32, weight: F32,
    by_mean: F32, by_square: F32, by_product: F32,
) -> float:  # fmt: skip
    """Sum of weighted 1 - SSIM (Wang et al. 2004, eq. 13), and its derivatives with respect to the three blurred arrays.

    Args:
        mean_x, square_x, product: blur of x, x x and x y; mean_y, square_y: of y and y y. All flat, three channels a pixel.
        weight: of each pixel; a third as long.
        by_mean, by_square, by_product: written; of SSIM, not of 1 - SSIM.
    """
    total = 0.0
    for i in range(begin, end):
        mx, my, w = mean_x[i], mean_y[i], weight[i // 3]
        a1 = 2 * mx * my + C1
        a2 = 2 * (product[i] - mx * my) + C2
        b1 = mx * mx + my * my + C1
        b2 = square_x[i] - mx * mx + square_y[i] - my * my + C2
        scale = 1 / (b1 * b2)
        similarity = a1 * a2 * scale
        total += w * (1 - similarity)
        by_mean[i] = w * (2 * my * (a2 - a1) * scale - 2 * mx * similarity * (b2 - b1) * scale)
        by_square[i] = -w * similarity * b1 * scale
        by_product[i] = 2 * w * a1 * scale
    return total


@njit(**_COMPILE)
def gradient(
    begin: int, end: int, x: F32, y: F32, weight: F32, by_mean: F32, by_square: F32, by_product: F32, share: float, out: F32
) -> float:
    """Sum of weighted |x - y|; writes the derivative of ``(1 - share) |x - y| + share (1 - SSIM)`` to `out`.

    Args:
        by_mean, by_square, by_product: blurred once more.
    """
    total = 0.0
    for i in range(begin, end):
        difference, w = x[i] - y[i], weight[i // 3]
        total += w * abs(difference)
        sign = 1.0 if difference > 0 else (-1.0 if difference < 0 else 0.0)
        out[i] = (1 - share) * w * sign - share * (by_mean[i] + 2 * x[i] * by_square[i] + y[i] * by_product[i])
    return total
