"""What a training is: a TOML file, read strictly, so that a misspelt key is an error and not a default."""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import TrainingError

SOURCES = ("synthetic", "vhap", "gagavatar_track", "videos")
ONE_PHOTO = ("omg", "gagavatar", "instant")
"""Networks that take one photo."""
MAX_VIDEO_FRAMES = 500
"""Of one video: all of them are fitted together, in memory."""


@dataclass(frozen=True)
class ModelConfig:
    """Which network, how large. What a size of 0 or "" means is the network's default.

    Attributes:
        name: see `models.MODELS`. weights: safetensors file of the same network to start from.
        dim, layers, heads, feedforward, hidden, levels, dropout: of OMG-Avatar. On the CPU attention is several times faster without
            dropout.
        encoder: "small", "base", "large": DINOv2; "tiny": a small one of the same kind, trained from nothing.
        encoder_weights: a name of `lookalike models` (dinov2-b), or a file; needed by all but "tiny", unless `weights` are given.
        picture: side of the picture that the encoder takes, a multiple of 14.
        refiner: "paper", or "tiny"; FFAvatar has none.
        anchors: of FFAvatar: queries that the others attend to, 0 is all. A few hundred make attention several times cheaper on the CPU.
        planes, basis, rays, code, driver: of Instant Expressive, see `models.instant.config`.
    """

    name: str = "omg"
    weights: str = ""
    dim: int = 256
    layers: int = 2
    heads: int = 8
    feedforward: int = 1024
    hidden: int = 128
    levels: int = 2
    dropout: float = 0.1
    encoder: str = "base"
    encoder_weights: str = ""
    picture: int = 518
    refiner: str = "paper"
    anchors: int = 0
    planes: int = 256
    basis: int = 48
    rays: int = 128
    code: int = 64
    driver: int = 112


@dataclass(frozen=True)
class DataConfig:
    """One set of footage.

    Attributes:
        kind: synthetic, vhap, gagavatar_track or videos. path: of the three last.
        people, frames: how many the generator draws, or how many frames of each video are used (at most 500). seed: the generator's.
        yaw, pitch: the generator's cameras, standard deviations in degrees. around: cameras on the whole circle.
        held_out: share of the people that training never sees, the last ones.
        split: of dataset.json. cache: where measured videos are kept.
    """

    kind: str = "synthetic"
    path: str = ""
    people: int = 1000
    frames: int = 32
    seed: int = 0
    yaw: float = 30.0
    pitch: float = 10.0
    around: bool = False
    held_out: float = 0.1
    split: str = "train"
    cache: str = ""


@dataclass(frozen=True)
class Stage:
    """A part of the training.

    Attributes:
        share: of all steps. data: the set's name.
        levels: how often each level of detail is drawn, "0" = 0.1 and so on; they add up to 1.
        photos: least and most photos that a sample gives. rate: factor of the learning rate.
    """

    share: float
    data: str
    name: str = ""
    levels: dict[str, float] = field(default_factory=lambda: {"0": 1.0})
    photos: tuple[int, int] = (1, 1)
    rate: float = 1.0


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses; 0 leaves one out. `perceptual` needs the weights alexnet or gagavatar; `rig` is FFAvatar's."""

    l1: float = 1.0
    l2: float = 0.0
    ssim: float = 0.0
    perceptual: float = 0.0
    points: float = 0.0
    offsets: float = 0.0
    rig: float = 0.0


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam with a linear fall of the learning rate to `end` of it, after `warm_up` steps of rise.

    `refiner` is a factor of the refiner's rate: it was made for 1e-4, and much above that its picture goes black and stays so.
    `beta1` is that of everything but the refiner, which has none.
    `clip` limits the gradient's norm, 0 does not.
    """

    rate: float = 1e-4
    beta1: float = 0.0
    beta2: float = 0.99
    end: float = 0.1
    warm_up: int = 0
    refiner: float = 1.0
    clip: float = 0.0


@dataclass(frozen=True)
class HeldOutConfig:
    """What is measured on people that training does not see.

    Attributes:
        every: steps; pairs: how many pairs of views; level: of detail. photos: that each is drawn from, of networks that take several.
        landmarks: also AKD, AED and APD, by Lookalike's own landmark net and fit.
    """

    every: int = 1000
    pairs: int = 16
    level: int = 0
    photos: int = 1
    landmarks: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """A whole training.

    Attributes:
        name: of the run. rig: see `lookalike rigs`. size: of the pictures, pixels.
        steps, batch: `batch` samples a process and step. seed: of everything drawn.
        precision: "bf16" (autocast where the device has it), or "fp32". device: "auto", "cpu", "cuda".
        workers: loading processes. checkpoint_every: steps. keep: how many checkpoints. threads: torch's, 0 for its own choice.
    """

    name: str
    steps: int
    stages: tuple[Stage, ...]
    data: dict[str, DataConfig]
    rig: str = "builtin"
    size: int = 512
    batch: int = 8
    seed: int = 0
    precision: str = "bf16"
    device: str = "auto"
    workers: int = 4
    checkpoint_every: int = 1000
    keep: int = 3
    log_every: int = 50
    threads: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    held_out: HeldOutConfig = field(default_factory=HeldOutConfig)

    def fixed(self) -> dict[str, Any]:
        """What may not change between a checkpoint and its resumption."""
        content = dataclasses.asdict(self)
        for key in ("device", "workers", "checkpoint_every", "keep", "log_every", "threads", "held_out"):
            del content[key]
        return content


def read_config(path: Path) -> TrainingConfig:
    """Read and check a TOML file. Paths in it are relative to it.

    Raises:
        TrainingError: unreadable, a key that does not exist, a value of the wrong kind, stages that do not fit.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{path.name}: not TOML ({error})", "correct it") from error
    if "stage" in content:
        content["stages"] = content.pop("stage")
    config = _build(TrainingConfig, content, path.name)
    data = {
        name: dataclasses.replace(entry, path=_beside(path, entry.path), cache=_beside(path, entry.cache))
        for name, entry in config.data.items()
    }
    rig = config.rig if config.rig == "builtin" else _beside(path, config.rig)
    encoder = config.model.encoder_weights
    encoder = _beside(path, encoder) if is_file_name(encoder) else encoder
    model = dataclasses.replace(config.model, weights=_beside(path, config.model.weights), encoder_weights=encoder)
    config = dataclasses.replace(config, data=data, rig=rig, model=model)
    _check(config, path.name)
    return config


def is_file_name(weights: str) -> bool:
    """Whether weights are named by a file, not by their name in `lookalike models`."""
    return "." in weights or "/" in weights or "\\" in weights


def _beside(path: Path, value: str) -> str:
    return str((path.parent / Path(value).expanduser()).resolve()) if value else value


def _build(kind: type, content: dict[str, Any], where: str) -> Any:
    """A dataclass from a table; nested ones too."""
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}
    for key in content:
        if key not in known:
            raise TrainingError(f"{where}: there is no {key!r} here", f"use {', '.join(sorted(known))}")
    missing = [
        f.name for f in dataclasses.fields(kind)
        if f.name not in content and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]  # fmt: skip
    if missing:
        raise TrainingError(f"{where}: {', '.join(missing)} must be given", "add it")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in content.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, dict):
            return _build(hint, value, where)
    elif origin is dict and isinstance(value, dict):
        return {str(key): _value(arguments[1], part, f"{where}.{key}") for key, part in value.items()}
    elif origin is tuple and isinstance(value, list):
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_value(part, item, where) for part, item in zip(kinds, value, strict=True))
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif not isinstance(hint, types.GenericAlias) and isinstance(hint, type) and type(value) is hint:
        return value
    raise TrainingError(f"{where}: {value!r} is not what belongs here", f"give {getattr(hint, '__name__', hint)}")


def _check(config: TrainingConfig, where: str) -> None:
    """That numbers are in their ranges and stages fit their data and the model."""
    problems: list[str] = []
    for key in ("steps", "batch", "size", "checkpoint_every", "keep", "log_every"):
        if getattr(config, key) < 1:
            problems.append(f"{key} must be at least 1")
    if config.precision not in ("bf16", "fp32"):
        problems.append("precision is bf16 or fp32")
    if not config.stages or abs(sum(stage.share for stage in config.stages) - 1) > 1e-6:
        problems.append("the stages' shares must add up to 1")
    for name, data in config.data.items():
        problems += _data_problems(data, f"data.{name}")
    if config.held_out.every < 1 or config.held_out.pairs < 1:
        problems.append("held_out: every and pairs must be at least 1")
    if not 1 <= config.held_out.photos <= (1 if config.model.name in ONE_PHOTO else 16):
        problems.append("held_out: photos is 1, or up to 16 of a network that takes several")
    loss = config.loss
    if min(dataclasses.astuple(loss)) < 0 or max(loss.l1, loss.l2, loss.ssim, loss.perceptual) == 0:
        problems.append("loss: no factor is negative, and l1, l2, ssim or perceptual is more than 0")
    for index, stage in enumerate(config.stages):
        problems += _stage_problems(config, stage, stage.name or f"stage {index + 1}")
    if problems:
        raise TrainingError(f"{where}: {'; '.join(problems)}", "correct it")


def _data_problems(data: DataConfig, label: str) -> list[str]:
    problems: list[str] = []
    if data.kind not in SOURCES:
        problems.append(f"{label}: kind is one of {', '.join(SOURCES)}")
    elif data.kind != "synthetic" and not data.path:
        problems.append(f"{label}: path must be given")
    if not 0 < data.held_out < 1 or data.people < 1 or data.frames < 2:
        problems.append(f"{label}: held_out lies between 0 and 1, people is 1 or more, frames 2 or more")
    elif data.kind == "videos" and data.frames > MAX_VIDEO_FRAMES:
        problems.append(f"{label}: frames of a video are at most {MAX_VIDEO_FRAMES}")
    return problems


def _stage_problems(config: TrainingConfig, stage: Stage, label: str) -> list[str]:
    problems: list[str] = []
    if stage.share <= 0 or stage.rate < 0:
        problems.append(f"{label}: share must be positive, rate not negative")
    if stage.data not in config.data:
        problems.append(f"{label}: no [data.{stage.data}] is given")
    if abs(sum(stage.levels.values()) - 1) > 1e-6 or not all(level.isdecimal() for level in stage.levels):
        problems.append(f"{label}: how often levels are drawn must add up to 1")
    elif max(map(int, stage.levels)) > config.model.levels:
        problems.append(f"{label}: the model has levels 0 to {config.model.levels}")
    if not 1 <= stage.photos[0] <= stage.photos[1] <= 16:
        problems.append(f"{label}: photos are least and most, 1 to 16")
    elif config.model.name in ONE_PHOTO and stage.photos != (1, 1):
        problems.append(f"{label}: {config.model.name} takes one photo, photos = [1, 1]")
    return problems
