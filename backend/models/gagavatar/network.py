"""GAGAvatar (Chu & Harada 2024, "Generalizable and Animatable Gaussian Head Avatar"): one picture to Gaussians and a refiner.

Parameter names are the released checkpoint's 597. Its quirks (named Q1 to Q6 and G1 to G11 in the comments of the shared blocks
and here) are reproduced, because the weights were trained with them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import (
    ConvGaussians,
    DinoBase,
    DinoFeatures,
    GaussianAttributes,
    LinearGaussians,
    StyleUNet,
    harmonic_embedding,
    lifting_plane,
)
from backend.models.networks.dpt import INPUT

from .perceptual import FacePerceptualLoss

FLAME_VERTICES = 5023
IMAGE = 512
"""Side of crops and of drawn pictures, pixels."""


class FeatureGaussians(NamedTuple):
    """N Gaussians that carry features, in the order vertices, lifted forwards, lifted backwards.

    Attributes:
        means: [b, n, 3] world units; those of vertices are zeros until `posed`.
        colors: [b, n, 32]. opacities: [b, n, 1]. scales: [b, n, 3] world units.
        rotations: [b, n, 4] raw quaternions, not to be normalised (quirk Q2): use `raw_covariances`.
    """

    means: Float[Tensor, "b n 3"]
    colors: Float[Tensor, "b n f"]
    opacities: Float[Tensor, "b n 1"]
    scales: Float[Tensor, "b n 3"]
    rotations: Float[Tensor, "b n 4"]

    def posed(self, vertices: Float[Tensor, "b v 3"]) -> FeatureGaussians:
        """With the vertices' Gaussians on these vertices. All else depends on the source alone and stays: lifted ones do not move."""
        return self._replace(means=torch.cat([vertices, self.means[:, vertices.shape[1] :]], 1))


class Branches(NamedTuple):
    """What the three generators say, and the plane that the lifted ones start from."""

    vertex: GaussianAttributes
    front: GaussianAttributes
    back: GaussianAttributes
    plane: Float[Tensor, "b n 3"]
    axis: Float[Tensor, "b 3"]


class GAGAvatarNetwork(nn.Module):
    """The whole network.

    Args:
        perceptual: with the training loss's nets, which the released file contains; without, `percep_loss.*` keys are not loaded.
        encoder: another than the released one, for networks trained here. input_size: side of what it sees, a multiple of 14.
        size: side of the refiner's pictures.
    """

    def __init__(self, perceptual: bool = False, encoder: DinoBase | None = None, input_size: int = INPUT, size: int = IMAGE) -> None:
        super().__init__()
        self.input_size = input_size
        self.base_model = encoder or DinoBase()
        width = self.base_model.output_conv.out_channels
        self.base_model.dino_model.requires_grad_(False)
        self.head_base = nn.Parameter(torch.randn(FLAME_VERTICES, 256))
        self.gs_generator_g = LinearGaussians(256 + self.base_model.dino_model.pos_embed.shape[-1])
        self.gs_generator_l0 = ConvGaussians(width)
        self.gs_generator_l1 = ConvGaussians(width)
        self.upsampler = StyleUNet(size=size)
        if perceptual:
            self.percep_loss = FacePerceptualLoss().requires_grad_(False)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> DinoFeatures:
        """Features of portraits 0..1 on black, cropped square."""
        return self.base_model(encoder_input(image, self.input_size))

    def branches(self, features: DinoFeatures, transform: Float[Tensor, "b 3 4"]) -> Branches:
        """Attributes of all Gaussians of a picture seen by its camera (sec. 3.2; quirk G4: the *source* camera's axis)."""
        plane, axis = lifting_plane(transform, features.map.shape[-1])
        direction = harmonic_embedding(axis)
        # Quirk Q1: "global" is the first patch token, the same for every vertex.
        token = features.first_token[:, None].expand(-1, FLAME_VERTICES, -1)
        vertex = self.gs_generator_g(torch.cat([self.head_base.expand(len(token), -1, -1), token], -1), direction)
        front = self.gs_generator_l0(features.map, direction)
        back = self.gs_generator_l1(features.map, direction)
        return Branches(vertex, front, back, plane, axis)

    def gaussians(self, features: DinoFeatures, transform: Float[Tensor, "b 3 4"]) -> FeatureGaussians:
        """Dual lifting: one Gaussian a pixel before and one behind the plane, and one a vertex."""
        parts = self.branches(features, transform)
        front, back = lifted_means(parts)
        means = torch.cat([front.new_zeros(len(front), FLAME_VERTICES, 3), front, back], 1)
        join = lambda name: torch.cat([getattr(part, name) for part in parts[:3]], 1)
        return FeatureGaussians(means, join("colors"), join("opacities"), join("scales"), join("rotations"))

    def refine(self, features: Float[Tensor, "b c h w"], randomize_noise: bool = False) -> Float[Tensor, "b 3 h w"]:
        """Splatted features to RGB 0..1."""
        return self.upsampler(features, randomize_noise)


def lifted_means(parts: Branches) -> tuple[Float[Tensor, "b n 3"], Float[Tensor, "b n 3"]]:
    """Centres before and behind the plane: up to one world unit (20 cm) along the viewing axis.

    The released code adds along the axis for the first set, which is away from the camera.
    """
    if parts.front.positions is None or parts.back.positions is None:
        raise ValueError("lifted Gaussians have positions")
    step = parts.axis[:, None]
    return parts.plane + parts.front.positions * step, parts.plane - parts.back.positions * step


def encoder_input(image: Float[Tensor, "b 3 h w"], size: int = INPUT) -> Float[Tensor, "b 3 y x"]:
    """A crop at the encoder's size, resized with antialiasing."""
    if tuple(image.shape[-2:]) == (size, size):
        return image
    return functional.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
