"""Adapt a network to one person: factors beside its layers, registers before them, held-out frames as the judge.

Sec. 3 and B.4 of "Low-Rank Head Avatar Personalization with Registers": the first frame is the source, drivers are drawn at
random, the driver's own parameters are given ("teacher-forced"); 1,000 iterations with batches of 2; Adam at 1e-4 for the
factors and 1e-3 for what stands before the branches, falling linearly to a tenth.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.protocol.errors import Cancelled, LookalikeError, WeightsError

from .adapter_file import Adapter
from .frames import PersonFrames
from .identity import check_one_person
from .lora import ALPHA, RANK, LowRank, Pair, attach, base_digest, detach, fresh_pairs
from .losses import LossWeights, boxed, cosine_loss, feature_loss, perceptual_loss, picture_loss, point_loss
from .registers import EMBEDDING, ENCODER_CHANNELS, Bridge, GaussianNoise, LearnableEmbedding, Registers
from .teacher_forcing import Drawn, drawn, encoded, repeated, with_map

BridgeKind = Literal["registers", "none", "noise", "embedding"]


class LearningError(LookalikeError):
    """Adaptation ended without anything worth keeping."""

    code = "learning"


@dataclass(frozen=True)
class AdaptSettings:
    """How to adapt. The defaults are the paper's and the release's.

    Attributes:
        name: of the adapter.
        bridge: what stands before the branches while adapting: "registers", or one of the ablation's.
        hold_out: share of the frames that is not learned from but decides which iteration is kept; at least one frame.
        check_every: iterations between looks at the held-out frames; 0: about twenty looks.
        embedding, encoder: channels of the Register Module.
        keep_registers: keep its state in the adapter, to go on later.
        randomize_noise: let the refiner draw new noise at each call, as released; else its stored noise.
        start: factors to start from (meta-learned ones); None: fresh.
        keep: the factors of the best look, or the last ones.
        one_person: refuse frames whose separately fitted heads are of two people.
    """

    name: str = "adapter"
    iterations: int = 1000
    batch: int = 2
    rank: int = RANK
    alpha: float = ALPHA
    rate: float = 1e-4
    bridge_rate: float = 1e-3
    final_rate: float = 0.1
    bridge: BridgeKind = "registers"
    weights: LossWeights = field(default_factory=LossWeights)
    hold_out: float = 0.1
    check_every: int = 0
    seed: int = 0
    embedding: int = EMBEDDING
    encoder: tuple[int, ...] = ENCODER_CHANNELS
    keep_registers: bool = False
    randomize_noise: bool = False
    start: dict[str, Pair] | None = None
    keep: Literal["best", "last"] = "best"
    one_person: bool = True


class CurvePoint(NamedTuple):
    """One iteration: its loss terms, already weighted, and the held-out error where it was looked at."""

    iteration: int
    losses: dict[str, float]
    held_out: float | None = None

    @property
    def total(self) -> float:
        """What was minimised."""
        return sum(self.losses.values())


class Listener(Protocol):
    """Who watches. `progress` may raise Cancelled: the best so far is then kept."""

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        """`fraction` 0..1; called at each iteration."""

    def learned(self, point: CurvePoint) -> None:
        """One more point of the curve; where `held_out` is told, the network is in the state that was measured."""


class Silent:
    """A listener that ignores everything."""

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        pass

    def learned(self, point: CurvePoint) -> None:
        pass


@dataclass
class Outcome:
    """What learning came to.

    Attributes:
        pairs: the best factors, by held-out error; those at the start if nothing was better.
        before, after: held-out error of the base and of the best.
        best: the iteration that is kept, 0 is the base.
        curve: every iteration.
        stopped: why it ended early, "" where it did not.
        batch: pictures at once at the end, fewer than asked for where memory did not suffice.
        bridge: as it was at the best iteration.
    """

    pairs: dict[str, Pair]
    before: float
    after: float = math.inf
    best: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    stopped: str = ""
    batch: int = 0
    bridge: dict[str, Tensor] = field(default_factory=dict)


def adapt(network: nn.Module, frames: PersonFrames, settings: AdaptSettings | None = None, listener: Listener | None = None) -> Adapter:
    """Personalize a network; it is given back as it was, to the bit, and the result is an adapter for it.

    Args:
        network: of `teacher_forcing.AvatarNetwork`'s interface, on any device.
        frames: of one person; pictures as large as the network draws.
        listener: progress, curve, cancel.
    Raises:
        FaceError: frames of two people, or a frame that does not show the head.
        Cancelled: by the listener, before anything was better than the base.
        LearningError: pictures or rig do not fit the network, the loss was not finite, or the held-out frames got no better.
    """
    settings, listener = settings or AdaptSettings(), listener or Silent()
    check_fit(network, frames)
    if settings.one_person:
        check_one_person(frames)
    listener.progress(0.0, "personalize", "reading the base model")
    digest = base_digest(network)
    outcome = learn(network, frames, settings, listener)
    if not outcome.best:
        if outcome.stopped == _CANCELLED:
            raise Cancelled("personalizing was cancelled before anything was better than the base model")
        why = f" ({outcome.stopped})" if outcome.stopped else ""
        raise LearningError(
            f"personalizing brought nothing: the held-out error stayed {outcome.before:.4f}{why}",
            "check the tracking, give more pictures, or lower the rate",
        )
    return Adapter(
        name=settings.name,
        pairs=outcome.pairs,
        rank=settings.rank,
        alpha=settings.alpha,
        base=type(network).__name__.removesuffix("Network"),
        digest=digest,
        registers=outcome.bridge if settings.keep_registers and settings.bridge == "registers" else None,
        facts=_facts(outcome, settings, frames),
    )


def check_fit(network: nn.Module, frames: PersonFrames) -> None:
    """See that pictures and rig are those that the network is made for.

    Raises:
        LearningError: another size, or another rig.
    """
    size = getattr(getattr(network, "upsampler", None), "size", frames.size)
    if size != frames.size:
        raise LearningError(f"the pictures are {frames.size} pixels, this network draws {size}", f"give pictures of {size} pixels")
    table = getattr(network, "head_base", None)
    count = len(frames.frames[0].vertices)
    if table is not None and len(table) != count:
        raise LearningError(f"the frames' rig has {count} vertices, this network's has {len(table)}", "track with the network's rig")


_CANCELLED = "cancelled"


def _facts(outcome: Outcome, settings: AdaptSettings, frames: PersonFrames) -> dict:
    told = asdict(replace(settings, start=None))
    return {
        "before": outcome.before,
        "after": outcome.after,
        "best_iteration": outcome.best,
        "iterations": len(outcome.curve),
        "stopped": outcome.stopped,
        "batch": outcome.batch,
        "frames": len(frames.frames),
        "settings": told,
        "curve": [[p.iteration, {k: round(v, 6) for k, v in p.losses.items()}, p.held_out] for p in outcome.curve],
    }


def learn(network: nn.Module, frames: PersonFrames, settings: AdaptSettings, listener: Listener) -> Outcome:
    """The loop. The network is detached again whatever happens."""
    frozen = {name: p.requires_grad for name, p in network.named_parameters()}
    generator = torch.Generator().manual_seed(settings.seed)
    pairs = settings.start or fresh_pairs(network, settings.rank, generator)
    attached = attach(network, pairs, settings.alpha / settings.rank)
    training = network.training
    network.eval()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed)
            return _Loop(network, attached, frames, settings, listener, generator).run()
    finally:
        detach(network)
        network.train(training)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(frozen[name])


class _Loop:
    """State of one adaptation."""

    def __init__(
        self, network: nn.Module, attached: dict[str, LowRank], frames: PersonFrames, settings: AdaptSettings, listener: Listener,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        self.network, self.attached, self.frames, self.settings, self.listener = network, attached, frames, settings, listener
        self.generator = generator
        self.device = next(network.parameters()).device
        self.held_out, self.learned_from = split(len(frames.frames), settings.hold_out)
        source = frames.frames[0]
        self.source_camera = self._tensor(source.camera)[None]
        self.source = encoded(network, source.target[None].to(self.device))
        self.bridge = make_bridge(settings, frames, tuple(self.source.map.shape[1:])).to(self.device)
        groups = [{"params": [f for low_rank in attached.values() for f in low_rank.parameters()], "lr": settings.rate}]
        if any(True for _ in self.bridge.parameters()):
            groups.append({"params": list(self.bridge.parameters()), "lr": settings.bridge_rate})
        self.optimizer = torch.optim.Adam(groups)
        self.schedule = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, settings.final_rate, settings.iterations)
        self.batch = settings.batch

    def run(self) -> Outcome:
        settings = self.settings
        every = settings.check_every or max(1, settings.iterations // 20)
        before = self.held_out_error()
        outcome = Outcome(self._factors(), before, before, batch=self.batch)
        try:
            for iteration in range(1, settings.iterations + 1):
                self.listener.progress((iteration - 1) / settings.iterations, "personalize", f"{iteration} of {settings.iterations}")
                losses = self._step()
                if losses is None:
                    outcome.stopped = f"the loss was not finite at iteration {iteration}"
                    break
                look = iteration % every == 0 or iteration == settings.iterations
                error = self.held_out_error() if look else None
                outcome.curve.append(CurvePoint(iteration, losses, error))
                self.listener.learned(outcome.curve[-1])
                if error is not None and (error < outcome.after or settings.keep == "last"):
                    outcome.after, outcome.best, outcome.pairs = error, iteration, self._factors()
                    outcome.bridge = {k: v.detach().clone() for k, v in self.bridge.state_dict().items()} if settings.keep_registers else {}
        except Cancelled:
            outcome.stopped = _CANCELLED
        outcome.batch = self.batch
        return outcome

    def _step(self) -> dict[str, float] | None:
        """One update; None where the loss is not finite, which changes nothing."""
        while True:
            chosen = torch.randint(len(self.learned_from), (self.batch,), generator=self.generator).tolist()
            try:
                return self._update([self.learned_from[i] for i in chosen])
            except torch.OutOfMemoryError as error:
                if self.batch == 1:
                    raise LearningError("the GPU's memory does not suffice for one picture", "use a smaller model, or the CPU") from error
                self.batch = max(1, self.batch // 2)
                torch.cuda.empty_cache()

    def _update(self, chosen: list[int]) -> dict[str, float] | None:
        self.optimizer.zero_grad(set_to_none=True)
        losses = self.losses(chosen)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            return None
        total.backward()
        self.optimizer.step()
        self.schedule.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def losses(self, chosen: list[int]) -> dict[str, Tensor]:
        """Weighted terms for some driving frames; terms of weight 0 are left out."""
        weights, count = self.settings.weights, len(chosen)
        some = [self.frames.frames[i] for i in chosen]
        truth = torch.stack([frame.target for frame in some]).to(self.device)
        vertices = torch.stack([self._tensor(frame.vertices) for frame in some])
        cameras = torch.stack([self._tensor(frame.camera) for frame in some])
        size = self.source.map.shape[-1]
        grids = [self.frames.grid(i, size) for i in chosen] if isinstance(self.bridge, Registers) else []
        plane = self.bridge(self.source.map.expand(count, -1, -1, -1), grids)
        features = with_map(repeated(self.source, count), plane)
        source_cameras = self.source_camera.expand(count, -1, -1)
        got = drawn(self.network, features, source_cameras, vertices, cameras, self.frames.size, self.settings.randomize_noise)
        boxes = torch.stack([self._tensor(frame.face_box) for frame in some])
        terms: dict[str, tuple[float, Callable[[], Tensor]]] = {
            "picture": (weights.picture, lambda: picture_loss(got.coarse, got.refined, truth)),
            "box": (weights.box, lambda: picture_loss(*boxed(got.coarse, got.refined, truth, boxes))),
            "perceptual": (weights.perceptual, lambda: perceptual_loss(self.network, got.coarse, got.refined, truth, boxes)),
            "point": (weights.point, lambda: point_loss(got.lifted, vertices)),
        }
        if isinstance(self.bridge, Registers):
            registers = self.bridge.registers
            terms["feature"] = (weights.feature, lambda: feature_loss(plane, encoded(self.network, truth).map, weights.feature_norm))
            terms["cosine"] = (weights.cosine, lambda: cosine_loss(registers))
        if not hasattr(self.network, "percep_loss"):
            del terms["perceptual"]
        return {name: weight * term() for name, (weight, term) in terms.items() if weight}

    @torch.no_grad()
    def held_out_error(self) -> float:
        """Mean absolute error of the refined pictures of held-out frames, drawn as at inference: nothing before the branches."""
        errors = [functional.l1_loss(self.inference(i).refined[0], self.frames.frames[i].target.to(self.device)) for i in self.held_out]
        return float(torch.stack(errors).mean())

    def inference(self, index: int) -> Drawn:
        """One frame without the bridge."""
        frame = self.frames.frames[index]
        vertices, camera = self._tensor(frame.vertices)[None], self._tensor(frame.camera)[None]
        return drawn(self.network, self.source, self.source_camera, vertices, camera, self.frames.size)

    def _factors(self) -> dict[str, Pair]:
        return {layer: Pair(*(f.detach().clone() for f in low_rank.pair)) for layer, low_rank in self.attached.items()}

    def _tensor(self, array) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)


def split(count: int, share: float) -> tuple[list[int], list[int]]:
    """Held-out frames, spread evenly over the later ones, and those to learn from; the source is learned from.

    A video's neighbours look alike, so the held-out ones are the middle of as many equal parts.
    """
    held = max(1, round(share * count))
    held = min(held, count - 1)
    chosen = sorted({1 + int((i + 0.5) * (count - 1) / held) for i in range(held)})
    return chosen, [i for i in range(count) if i not in set(chosen)]


def make_bridge(settings: AdaptSettings, frames: PersonFrames, plane: tuple[int, ...]) -> Bridge:
    """What stands before the branches; `plane` is channels, height and width of the encoder's map."""
    channels, size = plane[0], plane[1]
    if settings.bridge == "registers":
        return Registers(frames.mesh.count, settings.embedding, channels, settings.encoder).train()
    if settings.bridge == "noise":
        return GaussianNoise()
    if settings.bridge == "embedding":
        return LearnableEmbedding(channels, size)
    if settings.bridge == "none":
        return Bridge()
    raise WeightsError(f"no way of adapting is called '{settings.bridge}'", "use registers, none, noise or embedding")


def adapted_copy(network: nn.Module, adapter: Adapter) -> nn.Module:
    """A copy of the network with the adapter merged; the network stays as it is.

    Raises:
        WeightsError: the adapter is of another base model.
    """
    from .lora import merge

    adapter.check_base(network)
    merged = copy.deepcopy(network)
    merge(merged, adapter.pairs, adapter.scale)
    return merged
