"""GAGAvatar's training losses (Chu & Harada 2024, sec. 3.4) with the factors of the released code."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from .perceptual import FacePerceptualLoss

BOX_SCALE = 1.1
PERCEPTUAL = 1e-2
POINT = 10.0


class Losses(NamedTuple):
    """Terms that are added up.

    Attributes:
        percep_loss: of both pictures within the box. img_loss, box_loss: half the sum of both pictures' L1, whole and in the box.
        point_loss: mean squared distance of every target vertex to its nearest lifted Gaussian, times ten.
    """

    percep_loss: Float[Tensor, ""]
    img_loss: Float[Tensor, ""]
    box_loss: Float[Tensor, ""]
    point_loss: Float[Tensor, ""]


def losses(
    perceptual: FacePerceptualLoss,
    coarse: Float[Tensor, "b 3 h w"],
    refined: Float[Tensor, "b 3 h w"],
    target: Float[Tensor, "b 3 h w"],
    box: Float[Tensor, "b 4"],
    vertices: Float[Tensor, "b v 3"],
    lifted: Float[Tensor, "b n 3"],
    crop: int = 512,
) -> Losses:
    """All terms.

    Args:
        coarse: the first three splatted features. refined: the refiner's picture. target: what both should be.
        box: the face in `target`, x0, y0, x1, y1 in 0..1. vertices: of the posed mesh. lifted: centres of lifted Gaussians.
        crop: side of the box's content once resized, pixels.
    """
    square = enlarged_box(box)
    there = crop_resized(target, square, crop)
    crops = [crop_resized(image, square, crop) for image in (coarse, refined)]
    expected = perceptual.features(there)
    return Losses(
        percep_loss=PERCEPTUAL * torch.stack([perceptual.distance(perceptual.features(part), expected) for part in crops]).sum(),
        img_loss=(functional.l1_loss(coarse, target) + functional.l1_loss(refined, target)) / 2,
        box_loss=(functional.l1_loss(crops[0], there) + functional.l1_loss(crops[1], there)) / 2,
        point_loss=POINT * nearest_squared_distance(vertices, lifted).mean(),
    )


def enlarged_box(box: Float[Tensor, "b 4"], scale: float = BOX_SCALE) -> Float[Tensor, "b 4"]:
    """The square of the box's area, enlarged, about its middle, and no larger than fits into the image (quirk G11)."""
    x0, y0, x1, y1 = box.unbind(-1)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    side = ((y1 - y0) * (x1 - x0)).sqrt() * scale
    half = torch.stack([side, x * 2, y * 2, (1 - x) * 2, (1 - y) * 2]).amin(0) / 2
    return torch.stack([x - half, y - half, x + half, y + half], -1)


def nearest_squared_distance(points: Float[Tensor, "b n 3"], others: Float[Tensor, "b m 3"], chunk: int = 512) -> Float[Tensor, "b n"]:
    """Squared distance of each point to the nearest of the others; the gradient flows to both."""
    with torch.no_grad():
        nearest = torch.cat([torch.cdist(part, others).argmin(-1) for part in points.split(chunk, 1)], 1)
    chosen = torch.gather(others, 1, nearest[..., None].expand(-1, -1, 3))
    return (points - chosen).square().sum(-1)


def crop_resized(
    image: Float[Tensor, "b c h w"], boxes: Float[Tensor, "b 4"], size: int = 512
) -> Float[Tensor, "b c s s"]:  # fmt: skip
    """Cut boxes (x0, y0, x1, y1 in 0..1) at whole pixels, by truncation (quirk G11), and resize with antialiasing."""
    pixels = (boxes.clamp(0, 1) * image.shape[-1]).long().tolist()
    parts = [
        functional.interpolate(one[None, :, y0:y1, x0:x1], (size, size), mode="bilinear", align_corners=False, antialias=True)
        for one, (x0, y0, x1, y1) in zip(image, pixels, strict=True)
    ]
    return torch.cat(parts)
