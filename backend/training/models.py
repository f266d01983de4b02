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
from backend.models.networks.dinov2 import PATCH, DinoV2, dinov2
from backend.models.networks.gaussian_heads import CHANNELS
from backend.models.networks.state import check_state
from backend.models.networks.style_unet import NARROW_CHANNELS
from backend.models.omg import OMGAvatar, OMGConfig
from backend.models.omg.config import METRE
from backend.models.omg.posing import PosedHead
from backend.rig import Rig
from backend.weights.store import read_state, weights_path

from .config import TrainingConfig
from .data.batch import Batch, TensorViews
from .errors import TrainingError
from .losses import Drawn

TINY_WIDTH, TINY_DEPTH, TINY_HEADS, TINY_LEVELS = 96, 4, 3, (32, 48, 64, 64)
TINY_CHANNELS = {4: 64, 8: 64, 16: 64, 32: 48, 64: 32, 128: 24, 256: 16, 512: 16}


class Learner(nn.Module):
    """A network under training.

    Attributes:
        network: what is saved; its state dict is the model's.
    """

    network: nn.Module

    def learned(self) -> Iterator[nn.Parameter]:
        """What the optimiser changes."""
        raise NotImplementedError

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
        encoder, refiner = _encoder(config), StyleUNet(CHANNELS, config.size, _channels(config))
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

    def learned(self) -> Iterator[nn.Parameter]:
        # A pretrained encoder was frozen when it was loaded; the tiny one learns.
        return (parameter for parameter in self.network.parameters() if parameter.requires_grad)

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

    def learned(self) -> Iterator[nn.Parameter]:
        return (p for p in self.network.parameters() if p.requires_grad)

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
        state = read_state(path)
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


def _set_dropout(module: nn.Module, share: float) -> None:
    for part in module.modules():
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = share
        elif isinstance(part, nn.Dropout):
            part.p = share


def _token_width(encoder: str) -> int:
    widths = {"tiny": TINY_WIDTH, "small": 384, "base": 768, "large": 1024}
    if encoder not in widths:
        raise TrainingError(f"no encoder {encoder!r}", f"choose one of: {', '.join(widths)}")
    return widths[encoder]


def _encoder(config: TrainingConfig) -> DinoBase:
    model = config.model
    if model.picture % PATCH:
        raise TrainingError(f"model.picture = {model.picture} is not a multiple of {PATCH}", f"use {round(model.picture / PATCH) * PATCH}")
    if model.encoder == "tiny":
        backbone = DinoV2(TINY_WIDTH, TINY_DEPTH, TINY_HEADS, trained_patches=model.picture // PATCH)
        nn.init.trunc_normal_(backbone.pos_embed, std=0.02)
        nn.init.trunc_normal_(backbone.cls_token, std=0.02)
        return DinoBase(backbone, model.dim, TINY_LEVELS)
    _token_width(model.encoder)
    backbone = dinov2(model.encoder)  # pyright: ignore[reportArgumentType] - checked above
    _load_dino(backbone, config)
    return DinoBase(backbone, model.dim)


def _load_dino(backbone: DinoV2, config: TrainingConfig) -> None:
    """Pretrained weights, frozen; without them a DINOv2 that nobody trains is of no use."""
    backbone.requires_grad_(False)
    wanted = config.model.encoder_weights
    if wanted:
        path = Path(wanted) if "." in wanted or "/" in wanted else weights_path(wanted)
        backbone.load(read_state(path), path.name)
    elif not config.model.weights:
        name = f"dinov2-{config.model.encoder[0]}"
        raise TrainingError(
            f"the encoder {config.model.encoder!r} needs its pretrained weights",
            f"set model.encoder_weights = {name!r}, or encoder = 'tiny'",
        )


def _channels(config: TrainingConfig) -> dict[int, int]:
    tables = {"paper": dict(NARROW_CHANNELS), "tiny": TINY_CHANNELS}
    if config.model.refiner not in tables or config.size not in tables["tiny"]:
        raise TrainingError(
            f"no refiner {config.model.refiner!r} for {config.size} pixels", "use paper or tiny, and size 64, 128, 256 or 512"
        )
    return tables[config.model.refiner]
