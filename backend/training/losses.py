"""What a drawn picture is compared by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backend.models.gagavatar.losses import nearest_squared_distance

from .config import LossConfig

_WINDOW, _SIGMA = 11, 1.5
_BOX = 1.1
"""GAGAvatar compares perceptually within the person's box, enlarged by this."""


@dataclass(frozen=True)
class Drawn:
    """What a network made of a batch.

    Attributes:
        coarse: [b, 3, s, s] splatted picture. refined: [b, 3, s, s] after the refiner, or None. FFAvatar, which has no refiner, gives
            the head as the set's own parameters drive it, and as those read off the target do.
        offsets: [b, v, 3] metres, displacements of the rig's vertices, or None.
        lifted: [b, n, 3] Gaussians that were lifted from pixels, world units, or None. vertices: [b, v, 3] driven, world units.
        rig: how far the rig read off the pictures stands from the known one, or None where a network reads none.
    """

    coarse: Float[Tensor, "b 3 s s"]
    refined: Float[Tensor, "b 3 s s"] | None = None
    offsets: Float[Tensor, "b v 3"] | None = None
    lifted: Float[Tensor, "b n 3"] | None = None
    vertices: Float[Tensor, "b v 3"] | None = None
    rig: Float[Tensor, ""] | None = None


Perceptual = Callable[[Tensor, Tensor], Tensor]


def total_loss(
    drawn: Drawn,
    truth: Float[Tensor, "b 3 s s"],
    matte: Float[Tensor, "b 1 s s"],
    weights: LossConfig,
    perceptual: Perceptual | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Weighted sum of the losses, and each by name. Picture losses are means over the coarse and the refined picture.

    L1 and the points' loss as GAGAvatar has them, L2, SSIM and the offsets' as OMG-Avatar (eq. 12).
    """
    pictures = [drawn.coarse] if drawn.refined is None else [drawn.coarse, drawn.refined]
    over = lambda measure: torch.stack([measure(picture.float()) for picture in pictures]).mean()
    parts: dict[str, Tensor] = {}
    if weights.l1:
        parts["l1"] = over(lambda picture: (picture - truth).abs().mean())
    if weights.l2:
        parts["l2"] = over(lambda picture: (picture - truth).square().mean())
    if weights.ssim:
        parts["ssim"] = over(lambda picture: 1 - ssim(picture, truth).mean())
    if weights.perceptual and perceptual is not None:
        boxes = person_boxes(matte)
        parts["perceptual"] = over(lambda picture: perceptual(cut_boxes(picture, boxes), cut_boxes(truth, boxes)))
    if weights.points and drawn.lifted is not None and drawn.vertices is not None:
        parts["points"] = nearest_squared_distance(drawn.vertices, drawn.lifted).mean()
    if weights.offsets and drawn.offsets is not None:
        parts["offsets"] = drawn.offsets.square().sum(-1).mean()
    if weights.rig and drawn.rig is not None:
        parts["rig"] = drawn.rig
    total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return total, parts


def ssim(image: Float[Tensor, "b c h w"], truth: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """Structural similarity (Wang et al. 2004), 11 x 11 Gaussian window, borders left out; differentiable.

    The same as `evaluation.metrics.ssim`, which works on arrays.
    """
    channels = image.shape[1]
    offsets = torch.arange(_WINDOW, device=image.device, dtype=image.dtype) - _WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    line = line / line.sum()
    rows = line.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = line.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1)
    blur = lambda x: functional.conv2d(functional.conv2d(x, rows, groups=channels), columns, groups=channels)
    mean_x, mean_y = blur(image), blur(truth)
    var_x, var_y = blur(image * image) - mean_x**2, blur(truth * truth) - mean_y**2
    covariance = blur(image * truth) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return similarity.mean((1, 2, 3))


def person_boxes(matte: Float[Tensor, "b 1 s s"]) -> list[tuple[int, int, int, int]]:
    """x0, y0, x1, y1 of each person, as squares within the picture."""
    size = matte.shape[-1]
    boxes = []
    for one in matte[:, 0] > 0.5:
        rows, columns = torch.nonzero(one.any(1)).flatten(), torch.nonzero(one.any(0)).flatten()
        if not len(rows):
            boxes.append((0, 0, size, size))
            continue
        low, high = (int(columns[0]), int(rows[0])), (int(columns[-1]) + 1, int(rows[-1]) + 1)
        side = min(size, round(_BOX * max(high[0] - low[0], high[1] - low[1])))
        x = min(max(0, (low[0] + high[0] - side) // 2), size - side)
        y = min(max(0, (low[1] + high[1] - side) // 2), size - side)
        boxes.append((x, y, x + side, y + side))
    return boxes


def cut_boxes(image: Float[Tensor, "b c s s"], boxes: list[tuple[int, int, int, int]]) -> Float[Tensor, "b c s s"]:
    """Each picture's box, resized to the picture's size."""
    parts = [
        functional.interpolate(one[None, :, y0:y1, x0:x1], image.shape[-2:], mode="bilinear", align_corners=False)
        for one, (x0, y0, x1, y1) in zip(image, boxes, strict=True)
    ]
    return torch.cat(parts)
