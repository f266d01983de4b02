"""How far a rendering is from a photo: L1 and structural dissimilarity over trusted pixels, with its gradient in closed form."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from backend.protocol.avatar import F32
from backend.splats.cpu_threads import ranges, run, thread_count

from .photometric_kernels import C1, C2, dissimilarity, gradient, products

SIGMA, WINDOW = 1.5, 11
DISSIMILARITY = 0.2
"""Share of 1 - SSIM beside L1, as in 3DGS (Kerbl et al. 2023, eq. 7)."""


class Reference(NamedTuple):
    """A photo to compare with: image [H, W, 3] display-referred, and the blur of it and of its square, which no step changes."""

    image: Tensor
    mean: Tensor
    square: Tensor

    @staticmethod
    def of(image: Tensor) -> Reference:
        return Reference(image, blur(image), blur(image * image))


def photometric_loss(picture: Tensor, target: Reference, weight: Tensor) -> Tensor:
    """``(1 - d) L1 + d (1 - SSIM)``, means over weighted pixels.

    Args:
        picture: [H, W, 3] display-referred; the gradient flows to it alone.
        weight: [H, W] of each pixel, not negative.
    """
    share = weight / (weight.sum().clamp(min=1e-6) * picture.shape[-1])
    if picture.is_cuda:
        return unrolled_loss(picture, target, share)
    return _FusedLoss.apply(picture, *target, share)


def unrolled_loss(picture: Tensor, target: Reference, weight: Tensor) -> Tensor:
    """The same by torch's own operations, `weight` as a share of the whole: for GPUs, and what `_FusedLoss` is tested against."""
    x, (y, mean_y, square_y) = picture, target
    mean_x, square_x, product = blur(x), blur(x * x), blur(x * y)
    a1, a2 = 2 * mean_x * mean_y + C1, 2 * (product - mean_x * mean_y) + C2
    b1, b2 = mean_x**2 + mean_y**2 + C1, square_x - mean_x**2 + square_y - mean_y**2 + C2
    dissimilar = 1 - a1 * a2 / (b1 * b2)
    return (((1 - DISSIMILARITY) * (x - y).abs() + DISSIMILARITY * dissimilar) * weight[..., None]).sum()


class _FusedLoss(torch.autograd.Function):
    """Six blurs and three passes over the pixels, on all threads; the gradient is found on the way."""

    @staticmethod
    def forward(ctx: Any, picture: Tensor, target: Tensor, mean_y: Tensor, square_y: Tensor, weight: Tensor) -> Tensor:
        x, y, mean, square, w = (np.ascontiguousarray(t.detach().numpy(), np.float32) for t in (picture, target, mean_y, square_y, weight))
        flat = lambda array: array.reshape(-1)
        spans = ranges(x.size // 3, thread_count())
        spans = [(3 * begin, 3 * end) for begin, end in spans]
        xx, xy, out = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        run(products, [(*span, flat(x), flat(y), flat(xx), flat(xy)) for span in spans])
        blurred = [flat(array) for array in run(_blurred, [(x,), (xx,), (xy,)])]
        by = np.empty((3, *x.shape), np.float32)
        apart = [flat(array) for array in by]
        sums = run(dissimilarity, [(*span, *blurred, flat(mean), flat(square), flat(w), *apart) for span in spans])
        apart = [flat(array) for array in run(_blurred, [(array,) for array in by])]
        near = run(gradient, [(*span, flat(x), flat(y), flat(w), *apart, DISSIMILARITY, flat(out)) for span in spans])
        ctx.save_for_backward(torch.from_numpy(out))
        return picture.new_tensor((1 - DISSIMILARITY) * sum(near) + DISSIMILARITY * sum(sums))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        return gradients[0] * ctx.saved_tensors[0], None, None, None, None


def blur(image: Tensor) -> Tensor:
    """Gaussian window of SSIM over [H, W, C], zero beyond the border; its own transpose."""
    if image.is_cuda or image.requires_grad:
        kernel = torch.from_numpy(_kernel()).to(image)
        channels = image.permute(2, 0, 1)[:, None]
        columns = torch.nn.functional.conv2d(channels, kernel[None, None, :, None], padding=(WINDOW // 2, 0))
        return torch.nn.functional.conv2d(columns, kernel[None, None, None], padding=(0, WINDOW // 2))[:, 0].permute(1, 2, 0)
    return torch.from_numpy(_blurred(np.ascontiguousarray(image.numpy())))


def _blurred(image: F32) -> F32:
    return np.asarray(cv2.sepFilter2D(image, -1, _kernel(), _kernel(), borderType=cv2.BORDER_CONSTANT), np.float32)


@cache
def _kernel() -> F32:
    offsets = np.arange(WINDOW, dtype=np.float32) - WINDOW // 2
    window = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return (window / window.sum()).astype(np.float32)
