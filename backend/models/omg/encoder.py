"""Encoders by name: the paper's, and a small one of convolutions that is trained from scratch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.models.networks import NARROW_CHANNELS, DinoBase, DinoFeatures, StyleUNet
from backend.models.networks.dpt import INPUT
from backend.models.networks.gaussian_heads import CHANNELS

from .config import OMGConfig

ENCODERS = ("dinov2", "small")
SMALL_CHANNELS = {4: 64, 8: 64, 16: 64, 32: 64, 64: 64, 128: 32, 256: 32, 512: 16}
"""Of the small refiner, by resolution."""


def encoder(name: str, config: OMGConfig) -> tuple[nn.Module, nn.Module, int]:
    """Encoder, refiner and the side of the encoder's picture, for `OMGAvatar`.

    Args:
        name: one of `ENCODERS`.
    """
    if name == "small":
        return SmallEncoder(config.dim, config.token_dim), refiner(name, config), config.size
    return DinoBase(width=config.dim), refiner(name, config), INPUT


def refiner(name: str, config: OMGConfig) -> StyleUNet:
    """The refiner that goes with an encoder."""
    return StyleUNet(CHANNELS, config.size, SMALL_CHANNELS if name == "small" else NARROW_CHANNELS)


class SmallEncoder(nn.Module):
    """A U-Net: a map of half the picture's side, and tokens of a sixteenth of it.

    Args:
        width: channels of the map.
        token: width of the tokens.
    """

    def __init__(self, width: int, token: int) -> None:
        super().__init__()
        steps = (width // 2, width, width, 2 * width)
        self.stem = nn.Conv2d(3, steps[0], 3, padding=1)
        self.down = nn.ModuleList(_halving(a, b) for a, b in zip((steps[0], *steps[:-1]), steps, strict=True))
        self.deepest = nn.Sequential(_mixing(steps[3]), _mixing(steps[3]))
        self.up = nn.ModuleList(nn.Conv2d(a + b, b, 3, padding=1) for a, b in zip(steps[:0:-1], steps[-2::-1], strict=True))
        self.to_map = nn.Conv2d(steps[0], width, 3, padding=1)
        self.to_tokens = nn.Conv2d(steps[3], token, 1)

    def forward(self, image: Tensor) -> DinoFeatures:
        """Pictures 0..1 whose sides are multiples of 16."""
        features = self.stem(2 * image - 1)
        scales = []
        for step in self.down:
            features = step(features)
            scales.append(features)
        features = self.deepest(features)
        tokens = self.to_tokens(features).flatten(2).transpose(1, 2)
        for mix, skip in zip(self.up, scales[-2::-1], strict=True):
            larger = functional.interpolate(features, scale_factor=2.0, mode="bilinear")
            features = functional.silu(mix(torch.cat([larger, skip], 1)))
        return DinoFeatures(self.to_map(features), tokens)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.GroupNorm(8, outputs), nn.SiLU(), _mixing(outputs))


class _Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, features: Tensor) -> Tensor:
        return features + self.inner(features)


def _mixing(width: int) -> nn.Module:
    return _Residual(nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.SiLU()))
