"""A network of the GAGAvatar family with the true parameters of each driving frame given: what adaptation runs and measures."""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.models.gagavatar.drawing import draw
from backend.models.gagavatar.network import FeatureGaussians
from backend.models.networks import DinoFeatures


class AvatarNetwork(Protocol):
    """What can be adapted: `GAGAvatarNetwork`, and whatever has its interface.

    An encoder that is left alone, generators of Gaussians and a refiner; see `lora.ENCODERS` for what is not adapted.
    """

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> DinoFeatures:
        """Features of portraits on black."""
        ...

    def gaussians(self, features: DinoFeatures, transform: Float[Tensor, "b 3 4"]) -> FeatureGaussians:
        """Gaussians of portraits seen by their cameras; those of the vertices come first."""
        ...

    def refine(self, features: Float[Tensor, "b c h w"], randomize_noise: bool = False) -> Float[Tensor, "b 3 h w"]:
        """Splatted features to RGB 0..1."""
        ...


class Drawn(NamedTuple):
    """What a network makes of a source and a driver.

    Attributes:
        coarse: the first three splatted features. refined: the picture. lifted: centres of the lifted Gaussians.
    """

    coarse: Float[Tensor, "b 3 s s"]
    refined: Float[Tensor, "b 3 s s"]
    lifted: Float[Tensor, "b n 3"]


def drawn(
    network: nn.Module,
    features: DinoFeatures,
    source: Float[Tensor, "b 3 4"],
    vertices: Float[Tensor, "b v 3"],
    camera: Float[Tensor, "b 3 4"],
    size: int,
    randomize_noise: bool = False,
) -> Drawn:
    """Draw drivers.

    Args:
        features: of the source, one row a driver. source: its camera.
        vertices: posed as in the driving frames. camera: of the driving frames.
        size: of the refiner's picture.
    """
    avatar = cast(AvatarNetwork, network)
    gaussians = avatar.gaussians(features, source).posed(vertices)
    splatted = draw(gaussians, camera, size)
    return Drawn(splatted[:, :3], avatar.refine(splatted, randomize_noise), gaussians.means[:, vertices.shape[1] :])


def repeated(features: DinoFeatures, count: int) -> DinoFeatures:
    """The features of one picture for `count` drivers."""
    return DinoFeatures(*(f.expand(count, *f.shape[1:]) for f in features))


def with_map(features: DinoFeatures, plane: Float[Tensor, "b c h w"]) -> DinoFeatures:
    """The same with another dense map."""
    return DinoFeatures(plane, features.tokens)


@torch.no_grad()
def encoded(network: nn.Module, image: Float[Tensor, "b 3 s s"]) -> DinoFeatures:
    """Features of pictures, without gradients: the encoder is not adapted."""
    return cast(AvatarNetwork, network).encode(image)
