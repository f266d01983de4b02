"""GAGAvatar in small: the same parts and names with few channels, to watch personalization work on a CPU within minutes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from backend.models.gagavatar.network import FeatureGaussians
from backend.models.networks import ConvGaussians, DinoBase, DinoFeatures, LinearGaussians, StyleUNet, harmonic_embedding, lifting_plane
from backend.models.networks.dinov2 import PATCH, DinoV2

PICTURE = 64
"""Side of the pictures that are drawn by default, pixels."""
WIDTH = 48
CHANNELS = {4: 32, 8: 32, 16: 32, 32: 32, 64: 24, 128: 16}


class SmallAvatarNetwork(nn.Module):
    """Draws small pictures from a feature map of half their side and one Gaussian a vertex.

    Args:
        vertices: of the rig.
        picture: side of the pictures, 64 or 128 pixels.
    """

    def __init__(self, vertices: int, picture: int = PICTURE) -> None:
        super().__init__()
        self.patches = picture // 16
        backbone = DinoV2(WIDTH, 4, 4, trained_patches=self.patches)
        self.base_model = DinoBase(backbone, WIDTH, (WIDTH, WIDTH, WIDTH, WIDTH))
        self.head_base = nn.Parameter(torch.randn(vertices, WIDTH))
        self.gs_generator_g = LinearGaussians(2 * WIDTH, width=64)
        self.gs_generator_l0 = ConvGaussians(WIDTH, width=32)
        self.gs_generator_l1 = ConvGaussians(WIDTH, width=32)
        self.upsampler = StyleUNet(size=picture, channels=CHANNELS)
        nn.init.normal_(backbone.pos_embed, std=0.5)
        nn.init.normal_(backbone.cls_token, std=0.5)
        _start_refiner(self.upsampler)

    def encode(self, image: Float[Tensor, "b 3 h w"]) -> DinoFeatures:
        """Features of pictures, resized to whole patches."""
        side = self.patches * PATCH
        return self.base_model(functional.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=True))

    def gaussians(self, features: DinoFeatures, transform: Float[Tensor, "b 3 4"]) -> FeatureGaussians:
        """As `GAGAvatarNetwork.gaussians`."""
        plane, axis = lifting_plane(transform, features.map.shape[-1])
        direction = harmonic_embedding(axis)
        token = features.first_token[:, None].expand(-1, len(self.head_base), -1)
        vertex = self.gs_generator_g(torch.cat([self.head_base.expand(len(token), -1, -1), token], -1), direction)
        front, back = self.gs_generator_l0(features.map, direction), self.gs_generator_l1(features.map, direction)
        assert front.positions is not None
        assert back.positions is not None
        step = axis[:, None]
        means = torch.cat([torch.zeros_like(vertex.scales), plane + front.positions * step, plane - back.positions * step], 1)
        join = lambda name: torch.cat([getattr(part, name) for part in (vertex, front, back)], 1)
        return FeatureGaussians(means, join("colors"), join("opacities"), join("scales"), join("rotations"))

    def refine(self, features: Float[Tensor, "b c h w"], randomize_noise: bool = False) -> Float[Tensor, "b 3 h w"]:
        """Splatted features to RGB, about 0..1: the refiner's departure from grey is added to the splatted colours.

        Otherwise than in GAGAvatar, whose refiner makes the whole picture: that takes more teaching than minutes allow.
        """
        return features[:, :3] + self.upsampler(features, randomize_noise) - 0.5


@torch.no_grad()
def _start_refiner(refiner: StyleUNet) -> None:
    """StyleGAN2's start (Karras et al. 2020): styles and conditions begin as a factor of one, RGB begins near grey.

    From torch's own initialisation the picture saturates within a few steps and never learns again.
    """
    for name, parameter in refiner.named_parameters():
        if name.endswith("modulation.bias") or ("condition_scale" in name and name.endswith("2.bias")):
            parameter.fill_(1.0)
        elif name.endswith("modulation.weight") or (name.startswith("condition_") and name.endswith("2.weight")):
            parameter.mul_(0.3)
        elif name.startswith("stylegan_decoder.to_rgb") and name.endswith("modulated_conv.weight"):
            parameter.mul_(0.1)
