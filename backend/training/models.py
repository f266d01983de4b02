"""Networks that can be trained, behind one interface: a batch of photos and drivers in, drawn pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from backend.models.gagavatar.drawing import draw as draw_gaussians
from backend.models.gagavatar.network import FLAME_VERTICES, GAGAvatarNetwork
from backend.models.networks import DinoBase, StyleUNet
from backend.models.networks.dinov2 import PATCH, DinoV2
from backend.models.networks.state import check_state
from backend.models.networks.style_unet import ToRGB
from backend.models.omg import OMGAvatar, OMGConfig
from backend.models.omg.checkpoint import GEOMETRY, TRAINING_ONLY
from backend.models.omg.config import METRE
from backend.models.omg.encoder import REFINERS, TOKEN_WIDTHS, make_encoder, make_refiner
from backend.models.omg.posing import PosedHead
from backend.rig import Rig
from backend.weights.store import read_state, weights_path

from .config import OptimiserConfig, TrainingConfig, is_file_name
from .data.batch import Batch, TensorViews
from .errors import TrainingError
from .losses import Drawn

STYLE_RATE = 0.1
START_RGB = 0.1
"""A picture that starts near grey is far from the ends of the sigmoid, where nothing is learned."""


class Learner(nn.Module):
    """A network under training.

    Attributes:
        network: what is saved; its state dict is the model's.
    """

    network: nn.Module

    def learned(self) -> Iterator[nn.Parameter]:
        """What the optimiser changes: all but a pretrained encoder, which is frozen when it is loaded."""
        return (parameter for parameter in self.network.parameters() if parameter.requires_grad)

    def groups(self, optimiser: OptimiserConfig) -> list[dict[str, Any]]:
        """`learned` with learning rates: the refiner's style learns a tenth as fast as the rest of it, as GAGAvatar trains it.

        The refiner has no momentum, whatever the others have (GAGAvatar: betas 0 and 0.99): with it, its logits overshoot within
        ten steps to where the sigmoid is flat, and its picture stays black.
        """
        parts: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                refiner = name.startswith("upsampler.")
                factor = optimiser.refiner if refiner else 1.0
                factor *= STYLE_RATE if "style_mlp" in name or "final_linear" in name else 1.0
                parts.setdefault((factor, 0.0 if refiner else optimiser.beta1), []).append(parameter)
        return [
            {"params": parameters, "lr": factor * optimiser.rate, "betas": (beta1, optimiser.beta2)}
            for (factor, beta1), parameters in parts.items()
        ]

    def heavy(self) -> Sequence[nn.Module]:
        """Parts that may compute in half precision; geometry may not."""
        raise NotImplementedError


class OmgLearner(Learner):
    """OMG-Avatar on any rig."""

    network: OMGAvatar

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        model = config.model
        sizes = OMGConfig(
            vertices=len(rig.template), dim=model.dim, layers=model.layers, levels=model.levels, heads=model.heads,
            feedforward=model.feedforward, token_dim=_token_width(model.encoder), hidden=model.hidden, size=config.size,
        )  # fmt: skip
        encoder, refiner = _encoder(config), _refiner(config)
        self.network = OMGAvatar(sizes, rig.faces, encoder, refiner, model.picture)
        _set_dropout(self.network.transformer, model.dropout)
        self.posed = PosedHead.of_rig(rig)
        self.counts = rig.shape_basis.shape[2], len(rig.expression_names)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """Drive the first photo as the target is driven, seen by the target's camera."""
        if len(batch.sources) != 1:
            raise TrainingError(f"OMG-Avatar takes one photo, not {len(batch.sources)}", "set photos = [1, 1] in the stages")
        source, target = batch.sources[0], batch.target
        drive = self._pose(target)
        frame = self.network(source.image, source.camera, self._pose(source), drive, target.camera, level, source.matte)
        return Drawn(frame.coarse, frame.refined, frame.offsets)

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        parts = (net.base_dino_model, net.transformer, net.gs_generator_offset, net.gs_shoulder_generator, net.upsampler)
        return [*parts, *net.gs_head_generators]

    def _pose(self, views: TensorViews) -> Callable[[Tensor | None], Tensor]:
        """The rig as in a view; what its coefficients cannot say of the known vertices is added as it is."""
        shape, expression = (
            nn.functional.pad(values, (0, count - values.shape[1]))
            for values, count in zip((views.shape, views.expression), self.counts, strict=True)
        )
        coefficients = torch.cat([shape, expression], 1)
        rest = METRE * views.vertices - self.posed(coefficients, views.pose)
        return lambda offsets: self.posed(coefficients, views.pose, offsets) + rest


class GagavatarLearner(Learner):
    """GAGAvatar on FLAME."""

    network: GAGAvatarNetwork

    def __init__(self, config: TrainingConfig, rig: Rig) -> None:
        super().__init__()
        if len(rig.template) != FLAME_VERTICES or config.size != 512:
            raise TrainingError("GAGAvatar is FLAME's and draws 512 pixels", "set rig to your FLAME file and size = 512, or train omg")
        self.network = GAGAvatarNetwork()
        start_refiner(self.network.upsampler)
        _load_dino(self.network.base_model.dino_model, config)

    def forward(self, batch: Batch, level: int) -> Drawn:
        """As `OmgLearner`; there is one level of detail."""
        if len(batch.sources) != 1:
            raise TrainingError(f"GAGAvatar takes one photo, not {len(batch.sources)}", "set photos = [1, 1] in the stages")
        source, target = batch.sources[0], batch.target
        gaussians = self.network.gaussians(self.network.encode(source.image), source.camera)
        lifted = gaussians.means[:, FLAME_VERTICES:]
        vertices = METRE * target.vertices
        features = draw_gaussians(gaussians.posed(vertices), target.camera)
        return Drawn(features[:, :3], self.network.refine(features), None, lifted, vertices)

    def heavy(self) -> Sequence[nn.Module]:
        net = self.network
        return [net.base_model, net.gs_generator_g, net.gs_generator_l0, net.gs_generator_l1, net.upsampler]


MODELS: dict[str, Callable[[TrainingConfig, Rig], Learner]] = {"omg": OmgLearner, "gagavatar": GagavatarLearner}


def make_learner(config: TrainingConfig, rig: Rig) -> Learner:
    """The network of a configuration, with its starting weights.

    Raises:
        TrainingError: no such network, or sizes that do not fit. WeightsError: weights that are missing or another network's.
    """
    if config.model.name not in MODELS:
        raise TrainingError(f"no network {config.model.name!r} can be trained", f"choose one of: {', '.join(MODELS)}")
    learner = MODELS[config.model.name](config, rig)
    if config.model.weights:
        path = Path(config.model.weights)
        carried = (*TRAINING_ONLY, *GEOMETRY)  # of the released and the kept checkpoints; what the loss needs of it, it reads itself
        state = {key: value for key, value in read_state(path).items() if not key.startswith(carried)}
        check_state(learner.network, state, path.name)
        learner.network.load_state_dict(state)
    return learner


def half_precision(learner: Learner, device: torch.device) -> None:
    """Let the heavy parts compute in bfloat16 (autocast); what they give is float32 again, so geometry and drawing never are less."""
    for module in learner.heavy():
        module.forward = _autocast(module.forward, device.type)  # pyright: ignore[reportAttributeAccessIssue]


def _autocast(forward: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        with torch.autocast(kind, torch.bfloat16):
            return _float(forward(*arguments, **named))

    return run


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_float, value))
    return type(value)(map(_float, value)) if isinstance(value, (tuple, list)) else value


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


def _set_dropout(module: nn.Module, share: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = share
        elif isinstance(part, nn.Dropout):
            part.p = share


def _token_width(encoder: str) -> int:
    if encoder not in TOKEN_WIDTHS:
        raise TrainingError(f"no encoder {encoder!r}", f"choose one of: {', '.join(TOKEN_WIDTHS)}")
    return TOKEN_WIDTHS[encoder]


def _encoder(config: TrainingConfig) -> DinoBase:
    model = config.model
    if model.picture % PATCH:
        raise TrainingError(f"model.picture = {model.picture} is not a multiple of {PATCH}", f"use {round(model.picture / PATCH) * PATCH}")
    _token_width(model.encoder)
    encoder = make_encoder(model.encoder, model.dim, model.picture)
    if model.encoder != "tiny":
        _load_dino(encoder.dino_model, config)
    return encoder


def _load_dino(backbone: DinoV2, config: TrainingConfig) -> None:
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


def _refiner(config: TrainingConfig) -> StyleUNet:
    name = config.model.refiner
    if name not in REFINERS or config.size not in REFINERS[name]:
        raise TrainingError(f"no refiner {name!r} for {config.size} pixels", "use paper or tiny, and size 64, 128, 256 or 512")
    refiner = make_refiner(name, config.size)
    start_refiner(refiner)
    return refiner
