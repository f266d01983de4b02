"""First weights: a refiner that learns from nothing, a pretrained encoder."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from backend.models.networks import DinoBase, StyleUNet
from backend.models.networks.dinov2 import PATCH, DinoV2
from backend.models.networks.style_unet import ToRGB
from backend.models.omg.encoder import REFINERS, TOKEN_WIDTHS, make_encoder, make_refiner
from backend.weights.store import read_state, weights_path

from ..config import TrainingConfig, is_file_name
from ..errors import TrainingError

START_RGB = 0.1
"""A picture that starts near grey is far from the ends of the sigmoid, where nothing is learned."""


def start_refiner(refiner: StyleUNet) -> None:
    """First weights of a refiner that learns from nothing, as StyleGAN2 and GFP-GAN start: modulation and scales by one.

    With torch's own, styles near zero switch its channels off, and the picture goes black and stays so.
    """
    for name, part in refiner.named_modules():
        if isinstance(part, nn.Linear) and name.endswith("modulation"):
            nn.init.kaiming_normal_(part.weight, a=0, mode="fan_in", nonlinearity="linear")
            nn.init.ones_(part.bias)
        elif isinstance(part, nn.Linear) and ".style_mlp." in f".{name}.":
            nn.init.kaiming_normal_(part.weight, a=0.2, mode="fan_in", nonlinearity="leaky_relu")
            nn.init.zeros_(part.bias)
        elif isinstance(part, ToRGB):
            part.modulated_conv.weight.data.mul_(START_RGB)
    for branches, value in ((refiner.condition_scale, 1.0), (refiner.condition_shift, 0.0)):
        for branch in branches:
            nn.init.constant_(branch.get_submodule("2").bias, value)  # pyright: ignore[reportArgumentType]


def token_width(encoder: str) -> int:
    """Of an encoder by name.

    Raises:
        TrainingError: no such encoder.
    """
    if encoder not in TOKEN_WIDTHS:
        raise TrainingError(f"no encoder {encoder!r}", f"choose one of: {', '.join(TOKEN_WIDTHS)}")
    return TOKEN_WIDTHS[encoder]


def encoder_of(config: TrainingConfig) -> DinoBase:
    """The encoder of a configuration, with its pretrained weights where it has any.

    Raises:
        TrainingError: sizes that do not fit, or weights that are not named. WeightsError: weights that are missing or another network's.
    """
    model = config.model
    if model.picture % PATCH:
        raise TrainingError(f"model.picture = {model.picture} is not a multiple of {PATCH}", f"use {round(model.picture / PATCH) * PATCH}")
    token_width(model.encoder)
    encoder = make_encoder(model.encoder, model.dim, model.picture)
    if model.encoder != "tiny":
        load_dino(encoder.dino_model, config)
    return encoder


def load_dino(backbone: DinoV2, config: TrainingConfig) -> None:
    """Pretrained weights, frozen; without them a DINOv2 that nobody trains is of no use."""
    backbone.requires_grad_(False)
    wanted = config.model.encoder_weights
    if wanted:
        path = Path(wanted) if is_file_name(wanted) else weights_path(wanted)
        backbone.load(read_state(path), path.name)
    elif not config.model.weights:
        name = f"dinov2-{config.model.encoder[0]}"
        raise TrainingError(
            f"the encoder {config.model.encoder!r} needs its pretrained weights",
            f"set model.encoder_weights = {name!r}, or encoder = 'tiny'",
        )


def refiner_of(config: TrainingConfig) -> StyleUNet:
    """The refiner of a configuration, ready to learn.

    Raises:
        TrainingError: no such refiner.
    """
    name = config.model.refiner
    if name not in REFINERS or config.size not in REFINERS[name]:
        raise TrainingError(f"no refiner {name!r} for {config.size} pixels", "use paper or tiny, and size 64, 128, 256 or 512")
    refiner = make_refiner(name, config.size)
    start_refiner(refiner)
    return refiner
