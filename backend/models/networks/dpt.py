"""GAGAvatar's image encoder: DINOv2 and a dense-prediction head (Ranftl et al. 2021, DPT; Chu & Harada 2024, sec. 3.2).

Parameter names are the released checkpoint's. OMG-Avatar and LoRA + Registers use the same encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from .dinov2 import PATCH, DinoV2, dinov2

INPUT = 518
"""Side of the square picture that the encoder sees, pixels."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class DinoFeatures(NamedTuple):
    """What the encoder sees in a picture.

    Attributes:
        map: [b, 256, 296, 296] dense features.
        tokens: [b, 1369, width] patch tokens of the last layer, class token stripped, row-major.
    """

    map: Float[Tensor, "b c h w"]
    tokens: Float[Tensor, "b n d"]

    @property
    def first_token(self) -> Float[Tensor, "b d"]:
        """Quirk Q1 of the released networks: their "global" feature is the first *patch* (top left), not the class token."""
        return self.tokens[:, 0]


class DinoBase(nn.Module):
    """Encoder of a picture to a dense map and to tokens; DINOv2 itself is frozen in training.

    Args:
        backbone: DINOv2; by default ViT-B.
        width: channels of the map.
        levels: channels of the four scales, finest first.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: DinoV2 | None = None, width: int = 256, levels: Sequence[int] = (256, 512, 1024, 1024)) -> None:
        super().__init__()
        self.dino_model = backbone or dinov2("base")
        token = self.dino_model.pos_embed.shape[-1]
        self.projects = nn.ModuleList(nn.Conv2d(token, c, 1) for c in levels)
        self.resize_layers = nn.ModuleList([
            nn.ConvTranspose2d(levels[0], levels[0], 4, 4),
            nn.ConvTranspose2d(levels[1], levels[1], 2, 2),
            nn.Identity(),
            nn.Conv2d(levels[3], levels[3], 3, 2, 1),
        ])  # fmt: skip
        self.layer_rn = nn.ModuleList(nn.Conv2d(c + 3, width, 3, padding=1, bias=False) for c in levels)
        self.refinenet = nn.ModuleList(FeatureFusion(width) for _ in levels)
        self.output_conv = nn.Conv2d(width, width, 3, padding=1)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).reshape(3, 1, 1), persistent=False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> DinoFeatures:
        """Encode pictures 0..1 whose sides are multiples of 14 (518: map of 296)."""
        normalised = (image - self.mean) / self.std
        layers = self.dino_model.last_layers(normalised, len(self.projects))
        grid = (image.shape[-2] // PATCH, image.shape[-1] // PATCH)
        scales = [self.scale(i, tokens, grid, normalised) for i, tokens in enumerate(layers)]
        path = self.refinenet[0](scales[3], None, scales[2].shape[-2:])
        path = self.refinenet[1](path, scales[2], scales[1].shape[-2:])
        path = self.refinenet[2](path, scales[1], scales[0].shape[-2:])
        path = self.refinenet[3](path, scales[0], [2 * n for n in path.shape[-2:]])
        return DinoFeatures(self.output_conv(path), layers[-1])

    def scale(
        self, level: int, tokens: Float[Tensor, "b n d"], grid: tuple[int, int], picture: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b c y x"]:
        """Tokens of one layer as a map of its scale.

        Quirk G5: the picture is concatenated as the encoder sees it, normalised by ImageNet's statistics, before the features.
        """
        image = tokens.transpose(1, 2).unflatten(2, grid)
        image = self.resize_layers[level](self.projects[level](image))
        small = functional.interpolate(picture, tuple(image.shape[-2:]), mode="bilinear", align_corners=False, antialias=True)
        return self.layer_rn[level](torch.cat([small, image], 1))


class FeatureFusion(nn.Module):
    """One step of the coarse-to-fine path: add the skip, refine, enlarge, mix (RefineNet; DPT fig. 1).

    Quirk G6: the coarsest step has no skip, so its `resConfUnit1` has weights that nothing reads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_conv = nn.Conv2d(width, width, 1)
        self.resConfUnit1 = ResidualConvUnit(width)
        self.resConfUnit2 = ResidualConvUnit(width)

    def forward(self, path: Float[Tensor, "b c h w"], skip: Float[Tensor, "b c h w"] | None, size) -> Float[Tensor, "b c y x"]:
        if skip is not None:
            path = path + self.resConfUnit1(skip)
        path = functional.interpolate(self.resConfUnit2(path), tuple(size), mode="bilinear", align_corners=True)
        return self.out_conv(path)


class ResidualConvUnit(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return image + self.conv2(functional.relu(self.conv1(functional.relu(image))))
