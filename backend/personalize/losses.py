"""What adaptation minimises: the avatar network's own losses and two for the registers (sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor, nn
from torch.nn import functional

from backend.models.gagavatar.losses import PERCEPTUAL, crop_resized, enlarged_box
from backend.models.gagavatar.perceptual import FacePerceptualLoss

PICTURE, FEATURE, COSINE = 3.0, 2.0, 20.0


@dataclass(frozen=True)
class LossWeights:
    """Factors of the terms; a factor of 0 leaves a term out.

    Attributes:
        picture: of GAGAvatar's picture loss; the release has 3.
        box: of the same within the face's box.
        perceptual: of the perceptual loss, where its networks are given.
        point: of the lifted points' distance.
        feature: lambda_feat.
        cosine: lambda_reg.
        feature_norm: "l1" as released, "mse" as the paper writes it (eq. 8).
    """

    picture: float = PICTURE
    box: float = 1.0
    perceptual: float = 1.0
    point: float = 1.0
    feature: float = FEATURE
    cosine: float = COSINE
    feature_norm: Literal["l1", "mse"] = "l1"


def feature_loss(
    features: Float[Tensor, "b c h w"], target: Float[Tensor, "b c y x"], norm: Literal["l1", "mse"] = "l1"
) -> Float[Tensor, ""]:
    """Distance of the registers' output to the driving picture's own features (eq. 8)."""
    return functional.l1_loss(features, target) if norm == "l1" else functional.mse_loss(features, target)


def cosine_loss(registers: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Mean cosine similarity of two different registers (eq. 9).

    The sum over all pairs is the squared length of the sum of the unit vectors, so that no [n, n] matrix is made. It is taken
    in double precision: n of the n^2 terms are subtracted again.
    """
    count = len(registers)
    total = functional.normalize(registers.double(), dim=1).sum(0).square().sum()
    return ((total - count) / (count * (count - 1))).to(registers.dtype)


def picture_loss(coarse: Float[Tensor, "b 3 h w"], refined: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
    """GAGAvatar's: mean of the two pictures' absolute errors."""
    return (functional.l1_loss(coarse, truth) + functional.l1_loss(refined, truth)) / 2


def boxed(
    coarse: Float[Tensor, "b 3 h w"], refined: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"], boxes: Float[Tensor, "b 4"]
) -> tuple[Float[Tensor, "b 3 s s"], Float[Tensor, "b 3 s s"], Float[Tensor, "b 3 s s"]]:
    """The three pictures cut to the enlarged faces' boxes, as large as before."""
    square, size = enlarged_box(boxes), truth.shape[-1]
    crop = lambda image: crop_resized(image, square, size)
    return crop(coarse), crop(refined), crop(truth)


def perceptual_loss(
    network: nn.Module, coarse: Float[Tensor, "b 3 h w"], refined: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"],
    boxes: Float[Tensor, "b 4"],
) -> Float[Tensor, ""]:  # fmt: skip
    """GAGAvatar's: both pictures' features within the box, by the nets that the network carries as `percep_loss`."""
    return perceptual_terms(cast(FacePerceptualLoss, network.percep_loss), coarse, refined, truth, boxes)


def perceptual_terms(
    nets: FacePerceptualLoss, coarse: Float[Tensor, "b 3 h w"], refined: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"],
    boxes: Float[Tensor, "b 4"],
) -> Float[Tensor, ""]:  # fmt: skip
    """The same by given nets."""
    crops = boxed(coarse, refined, truth, boxes)
    expected = nets.features(crops[2])
    return PERCEPTUAL * (nets.distance(nets.features(crops[0]), expected) + nets.distance(nets.features(crops[1]), expected))


def point_loss(points: Float[Tensor, "b n 3"], vertices: Float[Tensor, "b v 3"]) -> Float[Tensor, ""]:
    """GAGAvatar's: ten times the mean squared distance of every vertex to its nearest lifted point."""
    found = torch.stack([p[_nearest(p.detach(), v.detach())] for p, v in zip(points, vertices, strict=True)])
    return 10 * (found - vertices).square().sum(-1).mean()


def _nearest(points: Float[Tensor, "n 3"], vertices: Float[Tensor, "v 3"]) -> Int[Tensor, " v"]:
    """Index of the nearest point of each vertex."""
    if points.is_cuda:
        return torch.cat([torch.cdist(part, points).argmin(-1) for part in vertices.split(512)])
    return torch.from_numpy(KDTree(points.numpy()).query(vertices.numpy())[1])
