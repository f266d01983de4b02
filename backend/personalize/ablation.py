"""The paper's comparison on one person: plain LoRA, noise, a learnt plane, without each loss, meta-learning, and the registers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from backend.evaluation.metrics import psnr, ssim
from backend.protocol.avatar import F32
from backend.protocol.errors import LookalikeError

from .adapt import AdaptSettings, CurvePoint, Listener, Outcome, Silent, learn, split
from .frames import PersonFrames
from .lora import attach, detach
from .reptile import ReptileSettings, reptile
from .similarity import edge_distance
from .teacher_forcing import drawn, encoded

VARIANTS = {
    "base": "generic model",
    "lora": "LoRA",
    "reptile": "LoRA from a meta-learned start (Reptile)",
    "noise": "(a) Gaussian noise",
    "embedding": "(b) learnable embedding",
    "no-feature-loss": "registers without L_feat",
    "no-cosine-loss": "registers without L_reg",
    "registers": "LoRA + Registers",
}
"""Names to type, and the paper's (tab. 1 to 3)."""


@dataclass(frozen=True)
class Measures:
    """What pictures are compared by.

    Attributes:
        perceptual: "LPIPS" or the substitute's name, and the measure; lower is better.
        identity: likewise, or None; gives None where no face is found.
    """

    perceptual: tuple[str, Callable[[F32, F32], float]] = ("edges*", edge_distance)
    identity: tuple[str, Callable[[F32, F32], float | None]] | None = None


@dataclass(frozen=True)
class Result:
    """One line of the table, means over the held-out frames.

    Attributes:
        variant: key of `VARIANTS`. seconds: adaptation took. kept: iteration that was kept.
        curve: of every iteration. pictures: of the held-out frames as drawn.
    """

    variant: str
    perceptual: float
    identity: float | None
    psnr: float
    ssim: float
    l1: float
    seconds: float
    kept: int
    stopped: str
    curve: list[CurvePoint] = field(repr=False, default_factory=list)
    pictures: list[F32] = field(repr=False, default_factory=list)


def ablate(
    network: nn.Module,
    frames: PersonFrames,
    variants: Sequence[str],
    settings: AdaptSettings,
    others: Sequence[PersonFrames] = (),
    meta: ReptileSettings | None = None,
    measures: Measures | None = None,
    listener: Listener | None = None,
) -> list[Result]:
    """Adapt by each variant from the same start and measure on the same held-out frames.

    Args:
        network: given back as it was.
        others: people for the meta-learning; needed for "reptile".
    Raises:
        LookalikeError: an unknown variant, or "reptile" without other people.
    """
    for variant in variants:
        if variant not in VARIANTS:
            raise LookalikeError(f"no variant is called '{variant}'", f"use {', '.join(VARIANTS)}")
    if "reptile" in variants and not others:
        raise LookalikeError("meta-learning needs other people's frames", "leave out 'reptile', or give a set of several people")
    listener, measures = listener or Silent(), measures or Measures()
    results = []
    for index, variant in enumerate(variants):
        part = _Part(listener, index, len(variants), variant)
        started = time.monotonic()
        outcome = None if variant == "base" else _learned(network, frames, variant, settings, others, meta or ReptileSettings(), part)
        seconds = time.monotonic() - started
        results.append(_measured(network, frames, variant, settings, outcome, measures, seconds))
    return results


def variant_settings(variant: str, settings: AdaptSettings) -> AdaptSettings:
    """The settings of one variant."""
    weights = settings.weights
    if variant in ("noise", "embedding"):
        return replace(settings, bridge=variant)
    if variant == "no-feature-loss":
        return replace(settings, bridge="registers", weights=replace(weights, feature=0.0))
    if variant == "no-cosine-loss":
        return replace(settings, bridge="registers", weights=replace(weights, cosine=0.0))
    return replace(settings, bridge="registers" if variant == "registers" else "none")


def _learned(
    network: nn.Module, frames: PersonFrames, variant: str, settings: AdaptSettings, others: Sequence[PersonFrames], meta: ReptileSettings,
    listener: Listener,
) -> Outcome:  # fmt: skip
    own = variant_settings(variant, settings)
    if variant == "reptile":
        start = reptile(network, others, meta, settings, listener)
        own = replace(meta.inner_settings(settings), start=start)
    return learn(network, frames, own, listener)


def _measured(
    network: nn.Module, frames: PersonFrames, variant: str, settings: AdaptSettings, outcome: Outcome | None, measures: Measures,
    seconds: float,
) -> Result:  # fmt: skip
    pictures = held_out_pictures(network, frames, settings, outcome)
    truths = [_array(frames.frames[i].target) for i in split(len(frames.frames), settings.hold_out)[0]]
    pairs = list(zip(pictures, truths, strict=True))
    mean = lambda measure: float(np.mean([measure(a, b) for a, b in pairs]))
    alike = [measures.identity[1](a, b) for a, b in pairs] if measures.identity else []
    known = [value for value in alike if value is not None]
    return Result(
        variant=variant,
        perceptual=mean(measures.perceptual[1]),
        identity=float(np.mean(known)) if known else None,
        psnr=mean(psnr),
        ssim=mean(ssim),
        l1=mean(lambda a, b: np.abs(a - b).mean()),
        seconds=seconds,
        kept=outcome.best if outcome else 0,
        stopped=outcome.stopped if outcome else "",
        curve=outcome.curve if outcome else [],
        pictures=pictures,
    )


@torch.no_grad()
def held_out_pictures(network: nn.Module, frames: PersonFrames, settings: AdaptSettings, outcome: Outcome | None) -> list[F32]:
    """[S, S, 3] of each held-out frame, drawn as at inference."""
    device = next(network.parameters()).device
    tensor = lambda array: torch.as_tensor(array, dtype=torch.float32, device=device)[None]
    if outcome is not None:
        attach(network, outcome.pairs, settings.alpha / settings.rank)
    try:
        source = frames.frames[0]
        features = encoded(network, source.target[None].to(device))
        pictures = []
        for index in split(len(frames.frames), settings.hold_out)[0]:
            frame = frames.frames[index]
            got = drawn(network, features, tensor(source.camera), tensor(frame.vertices), tensor(frame.camera), frames.size)
            pictures.append(_array(got.refined[0]))
    finally:
        if outcome is not None:
            detach(network)
    return pictures


def table(results: Sequence[Result], measures: Measures) -> str:
    """The results as the paper prints them, with the remarks that substitutes need."""
    second = measures.identity[0] if measures.identity else "identity"
    names = (f"{measures.perceptual[0]} v", f"{second} v", "PSNR ^", "SSIM ^", "L1 v", "kept")
    lines = ["{:44s} {:>10s} {:>14s} {:>7s} {:>7s} {:>7s} {:>5s}".format("Method", *names)]
    for r in results:
        identity = f"{r.identity:14.4f}" if r.identity is not None else f"{'-':>14s}"
        row = f"{VARIANTS[r.variant]:44s} {r.perceptual:10.4f} {identity} {r.psnr:7.2f} {r.ssim:7.4f} {r.l1:7.4f} {r.kept:5d}"
        lines.append(f"{row}  {r.stopped}".rstrip())
    if measures.perceptual[0].endswith("*"):
        lines.append("edges*: 1 - multi-scale gradient SSIM, in place of LPIPS, whose weights are not there")
    if second.endswith("*"):
        lines.append("landmarks*: mean distance of our own landmarks in face heights, in place of ArcFace's, whose weights are not there")
    return "\n".join(lines)


class _Part:
    """One variant's share of the progress."""

    def __init__(self, listener: Listener, index: int, count: int, variant: str) -> None:
        self._listener, self._index, self._count, self._variant = listener, index, count, variant

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._listener.progress((self._index + fraction) / self._count, self._variant, text)

    def learned(self, point) -> None:
        self._listener.learned(point)


def _array(image: Float[Tensor, "3 s s"]) -> F32:
    return image.detach().permute(1, 2, 0).cpu().numpy().astype(np.float32)
