"""Encoders and refiners by name: the paper's, and tiny ones that are trained from nothing."""

from __future__ import annotations

from torch import nn

from backend.models.networks import NARROW_CHANNELS, DinoBase, DinoV2, StyleUNet, dinov2
from backend.models.networks.dinov2 import PATCH, SIZES
from backend.models.networks.gaussian_heads import CHANNELS

TINY_WIDTH, TINY_DEPTH, TINY_HEADS, TINY_LEVELS = 96, 4, 3, (32, 48, 64, 64)
"""A small transformer of DINOv2's kind, and the channels of the four scales of its map."""
TINY_CHANNELS = {4: 64, 8: 64, 16: 64, 32: 48, 64: 32, 128: 24, 256: 16, 512: 16}
"""Of the tiny refiner, by resolution."""
TOKEN_WIDTHS = {"tiny": TINY_WIDTH, **{name: size.width for name, size in SIZES.items()}}
"""Encoders by name, and the width of their tokens."""
REFINERS = {"paper": dict(NARROW_CHANNELS), "tiny": TINY_CHANNELS}


def make_encoder(name: str, dim: int, picture: int) -> DinoBase:
    """An encoder without weights.

    Args:
        name: one of `TOKEN_WIDTHS`; dim: channels of its map; picture: side of the picture that it takes, a multiple of 14.
    """
    if name != "tiny":
        return DinoBase(dinov2(name), dim)  # pyright: ignore[reportArgumentType]
    backbone = DinoV2(TINY_WIDTH, TINY_DEPTH, TINY_HEADS, trained_patches=picture // PATCH)
    nn.init.trunc_normal_(backbone.pos_embed, std=0.02)
    nn.init.trunc_normal_(backbone.cls_token, std=0.02)
    return DinoBase(backbone, dim, TINY_LEVELS)


def make_refiner(name: str, size: int) -> StyleUNet:
    """A refiner without weights, one of `REFINERS`, for pictures of `size` pixels."""
    return StyleUNet(CHANNELS, size, REFINERS[name])
