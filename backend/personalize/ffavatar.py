"""FFAvatar's third stage: the network learns one person for at most 500 steps, and the avatar keeps what came of it.

Few-to-many, as it was trained: the avatar's own photos are what is fused, all photos given are what must come out, driven by what
the network reads off them. Query-Former, Gaussian heads and rig estimator learn; the encoder stays, so that each photo is encoded
once. Which parts learn, the rates and the loss are ours: the text that we have of the paper tells the number of steps alone.
The rig (shape, displacement) and the bust stay, so that the result is an adapter that can be switched off.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from backend.models.ffavatar import FFAvatarNetwork, Glimpse
from backend.models.interface import Listener
from backend.models.omg.gaussians import joined
from backend.models.omg.splats import head_splats, vertex_bindings
from backend.protocol.adapters import base_of, difference
from backend.protocol.avatar import Avatar, SplatArrays
from backend.protocol.errors import FaceError
from backend.training.losses import ssim

from .ending import Enough, NoImprovementError
from .photometric import LEAST_GAIN, STOPPED, Course, Verdict, one_torch_thread, schedule, turns

KIND = "ffavatar"
"""Of its adapters."""

RATE, READING_RATE = 5e-4, 1e-4
"""Of the Query-Former and the heads; of the rig estimator, which is right already or of no use."""
VERDICT_STEPS, PATIENCE = 25, 6
EVERY = 4
"""Of so many photos one is held out, and at least one."""
SHOW_SECONDS = 2.0
SOLID = 0.9
"""Matte from which a pixel is surely the person's."""


@dataclass(frozen=True)
class Shot:
    """One photo to learn from or to judge by.

    Attributes:
        name, sha256: of its file. image: [1, 3, s, s] the person on black, the square that the network sees. matte: [1, 1, s, s].
    """

    name: str
    sha256: str
    image: Float[Tensor, "1 3 s s"]
    matte: Float[Tensor, "1 1 s s"]


@dataclass(frozen=True)
class Tuned:
    """Levels of the avatar made by the tuned network, the course of the work, what was held out in words, and warnings."""

    lods: tuple[SplatArrays, ...]
    course: Course
    held_out: str
    warnings: tuple[str, ...]


def fine_tune(
    network: FFAvatarNetwork, avatar: Avatar, known: Sequence[Glimpse], shots: Sequence[Shot], listener: Listener, steps: int = 500,
    watch: Callable[[Course], None] | None = None,
) -> Tuned:  # fmt: skip
    """Adapt a network to a person; it is changed, and is of no use for others afterwards.

    Args:
        network: that made the avatar, on any device.
        known: glimpses of the avatar's photos, in the order of its sources.
        shots: two photos or more, squares of one size.
        listener: may raise `Enough` to keep the best so far.
        watch: told the course at each verdict.
    Raises:
        FaceError: one photo only. NoImprovementError: held-out photos got no better by `LEAST_GAIN` dB.
    """
    with one_torch_thread():
        return _Tuning(network, avatar, known, shots, listener, watch).run(steps)


class _Tuning:
    """One adaptation under way."""

    def __init__(
        self, network: FFAvatarNetwork, avatar: Avatar, known: Sequence[Glimpse], shots: Sequence[Shot], listener: Listener,
        watch: Callable[[Course], None] | None,
    ) -> None:  # fmt: skip
        self.network, self.avatar, self.listener, self.watch = network, avatar, listener, watch
        self.device = next(network.parameters()).device
        self.learned, self.held = held_out(avatar, shots)
        self.all = list(known)
        self.known = _without(avatar, known, self.held)
        self.level = min(len(avatar.lods) - 1, network.config.levels)
        self.course, self.warnings, self.shown = Course(), [], time.monotonic()
        network.requires_grad_(False).eval()
        self.groups = [(network.former, RATE), (network.heads, RATE), (network.estimator, READING_RATE)]
        with torch.no_grad():
            self.tokens = {shot.name: self._tokens(shot) for shot in (*self.learned, *self.held)}
            self.start = network.fuse(self.known)  # its rig and bust stay

    def run(self, steps: int) -> Tuned:
        """Learn, judge, keep the best."""
        began, course = time.monotonic(), self.course
        course.before = best_score = self._verdict(0, math.nan)
        best = self._state()
        optimizer = self._adam()
        order, since, waited = turns(len(self.learned)), 0.0, 0
        try:
            for step in range(steps):
                self.listener.progress(step / steps, "personalize", f"step {step} of {steps}")
                value = self._step(optimizer, self.learned[next(order)], step, steps)
                if not math.isfinite(value):
                    course.ended = f"the loss was not a number at step {step}; the last good state is kept"
                    break
                since += value
                course.losses.append(value)
                if (step + 1) % VERDICT_STEPS and step + 1 != steps:
                    continue
                score = self._verdict(step + 1, since / ((step % VERDICT_STEPS) + 1))
                since, waited = 0.0, waited + 1 if score <= best_score else 0
                if score > best_score:
                    best, best_score = self._state(), score
                    self._show()
                if waited >= PATIENCE:
                    course.ended = f"held-out photos got no better for {PATIENCE * VERDICT_STEPS} steps"
                    break
        except Enough:
            course.ended = STOPPED
        course.ended = course.ended or f"all {steps} steps were taken"
        course.after, course.seconds = best_score, time.monotonic() - began
        words = f"{len(self.held)} of {len(self.held) + len(self.learned)} photos: {', '.join(shot.name for shot in self.held)}"
        if course.gain < LEAST_GAIN:
            raise _refusal(course, words)
        for module, _ in self.groups:
            module.load_state_dict(best[id(module)])
        return Tuned(self._levels(), course, words, tuple(self.warnings))

    def _adam(self) -> torch.optim.Adam:
        for module, _ in self.groups:
            module.requires_grad_(True)
        groups = [{"params": list(module.parameters()), "lr": rate, "initial": rate} for module, rate in self.groups]
        return torch.optim.Adam(groups, betas=(0.9, 0.99))

    def _step(self, optimizer: torch.optim.Adam, shot: Shot, step: int, steps: int) -> float:
        """One photo; each level in its turn. Where the GPU has no memory for a level, coarser ones go on."""
        while True:
            try:
                loss = self._loss(shot, step % (self.level + 1))
                optimizer.zero_grad(set_to_none=True)
                if not torch.isfinite(loss):
                    return math.nan
                loss.backward()
                break
            except torch.cuda.OutOfMemoryError:
                if not self.level:
                    raise
                torch.cuda.empty_cache()
                self.warnings.append(f"the GPU has no memory to learn level of detail {self.level}: it follows the coarser ones")
                self.level -= 1
        schedule(optimizer, step / steps)
        optimizer.step()
        return float(loss.detach())

    def _loss(self, shot: Shot, level: int) -> Float[Tensor, ""]:
        drawn, truth = self._draw(shot, level), shot.image.to(self.device)
        return 0.8 * (drawn - truth).abs().mean() + 0.2 * (1 - ssim(drawn, truth).mean())

    def _draw(self, shot: Shot, level: int) -> Float[Tensor, "1 3 s s"]:
        """The person as the avatar has it now, driven by what is read off a photo."""
        fused = self.network.fuse(self.known)
        identity = replace(self.start, features=fused.features)
        return self.network.draw(identity, self.network.estimator(self.tokens[shot.name]), level, shot.image.shape[-1])

    @torch.no_grad()
    def _verdict(self, step: int, loss: float) -> float:
        """PSNR of the held-out photos' persons together, dB."""
        error, count = 0.0, 0
        for shot in self.held:
            solid = (shot.matte > SOLID)[0, 0]
            apart = (self._draw(shot, self.level).clamp(0, 1).cpu() - shot.image)[0][:, solid]
            error, count = error + float(apart.double().square().sum()), count + apart.numel()
        score = -10 * math.log10(max(error / max(count, 1), 1e-12))
        self.course.verdicts.append(Verdict(self.level, step, score, loss))
        if self.watch is not None:
            self.watch(self.course)
        return score

    def _show(self) -> None:
        if time.monotonic() - self.shown > SHOW_SECONDS:
            self.listener.lod(0, self._levels(0)[0], self.avatar.shoulders)
            self.shown = time.monotonic()

    @torch.no_grad()
    def _levels(self, finest: int | None = None) -> tuple[SplatArrays, ...]:
        """The avatar's levels by the network as it is, of all of the avatar's photos, on the avatar's own rig."""
        last = len(self.avatar.lods) - 1 if finest is None else finest
        identity, parts, lods = self.network.fuse(self.all), [], []
        faces, count = self.avatar.rig.faces, len(self.avatar.rig.vertices)
        for level in range(last + 1):
            parts.append(self.network.added(identity, level))
            lods.append(head_splats(self.avatar.rig, joined(parts), *vertex_bindings(faces, count, level)))
        return tuple(lods)

    def _tokens(self, shot: Shot) -> Tensor:
        return self.network.look(shot.image.to(self.device)).tokens

    def _state(self) -> dict[int, dict[str, Tensor]]:
        return {id(module): {key: value.detach().clone() for key, value in module.state_dict().items()} for module, _ in self.groups}


def held_out(avatar: Avatar, shots: Sequence[Shot]) -> tuple[list[Shot], list[Shot]]:
    """(photos to learn from, photos for the verdict): one of four, those first that the avatar was not made of.

    Raises:
        FaceError: one photo: nothing could be held out.
    """
    if len(shots) < 2:
        raise FaceError(
            f"{len(shots)} photo given; the network is adapted to two or more, as some are held out to see whether it helps",
            "give more photos of the person, or a video",
        )
    own = set(_hashes(avatar))
    order = sorted(range(len(shots)), key=lambda i: (shots[i].sha256 in own, -i))
    chosen = set(order[: max(1, len(shots) // EVERY)])
    return [s for i, s in enumerate(shots) if i not in chosen], [shots[i] for i in sorted(chosen)]


def shot_of(name: str, sha256: str, image: Float[Tensor, "1 3 h h"], matte: Float[Tensor, "1 1 h h"], size: int) -> Shot:
    """A photo at the size that is drawn."""
    scaled = lambda x: functional.interpolate(x, (size, size), mode="bilinear", antialias=True)
    return Shot(name, sha256, scaled(image), scaled(matte))


def _without(avatar: Avatar, known: Sequence[Glimpse], held: Sequence[Shot]) -> list[Glimpse]:
    """The avatar's photos but for those held out, which it must not have seen; all where none would be left."""
    hidden = {shot.sha256 for shot in held}
    hashes = _hashes(avatar)
    kept = [g for i, g in enumerate(known) if i >= len(hashes) or hashes[i] not in hidden]
    return kept or list(known)


def _hashes(avatar: Avatar) -> list[str]:
    sources = avatar.provenance.get("sources")
    return [str(s.get("sha256")) for s in sources if isinstance(s, dict)] if isinstance(sources, list) else []


def _refusal(course: Course, held: str) -> NoImprovementError:
    return NoImprovementError(
        f"the photos make the avatar no better: held-out photos ({held}) went from {course.before:.2f} to {course.after:.2f} dB",
        "give other photos of the person, sharper, evenly lit and from several sides; the avatar stays as it is",
        {"before": course.before, "after": course.after, "held_out": held, "stopped": course.ended == STOPPED},
    )


def tuned_difference(avatar: Avatar, tuned: Tuned) -> tuple[dict[str, np.ndarray], ...]:
    """What turns the avatar without adapters into the tuned one."""
    return difference(base_of(avatar), tuned.lods)
