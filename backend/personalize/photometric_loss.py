"""How far a rendering is from a photo: L1 and structural dissimilarity over trusted pixels, with its gradient in closed form."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

C1, C2 = 0.01**2, 0.03**2
SIGMA, WINDOW = 1.5, 11
DISSIMILARITY = 0.2
"""Share of 1 - SSIM beside L1, as in 3DGS (Kerbl et al. 2023, eq. 7)."""


def photometric_loss(picture: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """``(1 - d) L1 + d (1 - SSIM)``, means over weighted pixels.

    Args:
        picture, target: [H, W, 3] display-referred; the gradient flows to `picture` alone.
        weight: [H, W] of each pixel, not negative.
    """
    total = weight.sum().clamp(min=1e-6) * picture.shape[-1]
    l1 = ((picture - target).abs() * weight[..., None]).sum() / total
    return (1 - DISSIMILARITY) * l1 + DISSIMILARITY * Dissimilarity.apply(picture, target, weight[..., None] / total)


class Dissimilarity(torch.autograd.Function):
    """Weighted sum of 1 - SSIM (Wang et al. 2004, eq. 13): six blurs forward and backward instead of an unrolled graph."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        x, y = picture.detach(), target
        mean_x, mean_y, square_x, square_y, product = (blur(a) for a in (x, y, x * x, y * y, x * y))
        a1, a2 = 2 * mean_x * mean_y + C1, 2 * (product - mean_x * mean_y) + C2
        b1, b2 = mean_x**2 + mean_y**2 + C1, square_x - mean_x**2 + square_y - mean_y**2 + C2
        similarity = a1 * a2 / (b1 * b2)
        # The derivative with respect to blur(x), blur(x^2) and blur(x y), each held apart.
        by_mean = 2 * mean_y * (a2 - a1) / (b1 * b2) - 2 * mean_x * similarity * (1 / b1 - 1 / b2)
        by_square, by_product = -similarity / b2, 2 * a1 / (b1 * b2)
        ctx.save_for_backward(blur(weight * by_mean) + 2 * x * blur(weight * by_square) + y * blur(weight * by_product))
        return ((1 - similarity) * weight).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return -gradients[0] * ctx.saved_tensors[0], None, None


def blur(image: Tensor) -> Tensor:
    """Gaussian window of SSIM over [H, W, C], zero beyond the border; its own transpose."""
    if image.is_cuda:
        kernel = _kernel().to(image)
        channels = image.permute(2, 0, 1)[:, None]
        columns = torch.nn.functional.conv2d(channels, kernel[None, None, :, None], padding=(WINDOW // 2, 0))
        return torch.nn.functional.conv2d(columns, kernel[None, None, None], padding=(0, WINDOW // 2))[:, 0].permute(1, 2, 0)
    array = np.ascontiguousarray(image.numpy())
    kernel = _kernel().numpy()
    return torch.from_numpy(cv2.sepFilter2D(array, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT))


def _kernel() -> Tensor:
    offsets = torch.arange(WINDOW, dtype=torch.float32) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    return window / window.sum()
