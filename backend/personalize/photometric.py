"""Refine an avatar's splats against photos: set aside -> light -> descend -> verdict, level by level.

Unknowns are each splat's place, size, turn, opacity and colour, the head's shape, and each photo's expression and camera.
Gradients come from the rasterizer (our kernels on the CPU, gsplat on CUDA). Adam (Kingma and Ba 2015) descends in u of
``bound * tanh(u)``. What is kept are the unknowns that did best on pixels that no loss has seen; if these are not better
than the avatar as it was, the refinement is refused.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from backend.models.interface import Listener
from backend.models.projection.anatomy import Anatomy
from backend.protocol.avatar import F32, Avatar, SplatArrays

from .ending import Enough, NoImprovementError
from .photometric_levels import OWN, transfer
from .photometric_loss import photometric_loss
from .photometric_pictures import RESAMPLED, Picture, Target, set_aside
from .photometric_splats import Cloud, Freedom, Posed, Unknowns, shape_influence
from .photometric_views import Seen, draw, freedom_of, light_of, sight_of, weights_of

LEVEL = 1
"""The level that is refined in full; the others follow."""
FAINT = 2e-6
"""Adam's epsilon for a splat's own unknowns: what moves the loss less than a pixel's error does is noise, not evidence."""
RISE = 0.1
"""Share of the steps over which the rates rise."""
RATES = {
    "shift": 0.01, "turn": 0.01, "stretch": 0.01, "fade": 0.01, "tint": 0.01, "shape": 0.01, "expression": 0.002, "camera": 0.0002,
}  # fmt: skip
PULL = {"shift": 6e-3, "turn": 6e-3, "stretch": 6e-3, "fade": 4e-3, "tint": 2e-3, "shape": 2e-2}
"""Weight of each unknown's mean square (in u) in the loss: what is not worth it stays as it was."""
EXPRESSION_PULL, CAMERA_PULL = 0.3, 40.0
SILHOUETTE = 0.1
VERDICT_STEPS, PATIENCE = 25, 6
"""Steps between verdicts, and how many without a new best end the work."""
LEAST_GAIN = 0.05
"""dB by which held-out pixels must get better."""
FOLLOWING = 0.16
"""Steps of each other level as a share of the first one's."""
SHOW_SECONDS = 2.0
"""Time between two levels shown while the work goes on."""
STOPPED = "ended by the user; the best so far is kept"


@dataclass(frozen=True)
class Verdict:
    """Held-out PSNR, dB, after so many steps of a level; `loss` is the mean over the photos' known pixels since the last one."""

    level: int
    step: int
    held_out: float
    loss: float


@dataclass
class Course:
    """What happened: verdicts in order, the loss of each step of `LEVEL`, and why it ended."""

    verdicts: list[Verdict] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ended: str = ""
    seconds: float = 0.0
    before: float = 0.0
    after: float = 0.0

    @property
    def gain(self) -> float:
        """dB on held-out pixels at the level that is refined in full."""
        return self.after - self.before


@dataclass(frozen=True)
class Refinement:
    """The refined avatar (its neutral rig is the one that was given), the course of the work, and what was held out, in words."""

    avatar: Avatar
    course: Course
    held_out: str


@dataclass(frozen=True)
class Judged:
    """A picture for the verdict: posed splats, its tensors, and its row among the unknowns (None for one that has none)."""

    target: Target
    posed: Posed
    seen: Seen
    index: int | None


@dataclass
class Task:
    """One refinement under way.

    Attributes:
        pictures: to learn from. verdict: set aside whole; empty where blocks are held out.
        lights: [3, 3] of each of both, in this order.
        shown: who is told of steps; what it raises ends the work.
    """

    avatar: Avatar
    anatomy: Anatomy
    shape: F32
    pictures: list[Picture]
    verdict: list[Picture]
    device: torch.device
    shown: _Showing
    course: Course = field(default_factory=Course)
    lights: list[F32] = field(default_factory=list)


def refine(
    avatar: Avatar,
    anatomy: Anatomy,
    pictures: Sequence[Picture],
    listener: Listener,
    steps: int = 500,
    device: str = "cpu",
    watch: Callable[[Course], None] | None = None,
) -> Refinement:
    """Refine every level of an avatar.

    Args:
        anatomy: of the avatar's rig.
        pictures: of the one person; the first gives the light in which the avatar stays and its camera is not moved.
        listener: told of progress, and of LOD 1 as it improves; `Enough` raised by it keeps the best so far.
        steps: of LOD 1.
        watch: shown the course after each verdict, at most every `SHOW_SECONDS`.
    Raises:
        NoImprovementError: held-out pixels did not get better by `LEAST_GAIN` dB.
        Cancelled: by the listener.
    """
    with one_torch_thread():
        return _refine(avatar, anatomy, pictures, listener, steps, device, watch)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """The rasterizer has its own threads; torch's small operations only lose by waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _refine(
    avatar: Avatar, anatomy: Anatomy, pictures: Sequence[Picture], listener: Listener, steps: int, device: str,
    watch: Callable[[Course], None] | None,
) -> Refinement:  # fmt: skip
    began = time.monotonic()
    learned, verdict = set_aside(pictures)
    shown = _Showing(listener, len(avatar.lods), watch)
    task = Task(avatar, anatomy, shape_influence(avatar.rig, anatomy), learned, verdict, torch.device(device), shown)
    level = min(LEVEL, len(avatar.lods) - 1)
    _prepare(task, level)
    cloud, unknowns = _descend(task, level, steps, None)
    course = task.course
    if course.gain < LEAST_GAIN:
        raise _refusal(course, _held_words(task))
    refined = {level: cloud.written(unknowns)}
    for other in (i for i in range(len(avatar.lods)) if i != level):
        refined[other] = _following(task, other, round(FOLLOWING * steps), cloud, unknowns)
    course.seconds = time.monotonic() - began
    lods = tuple(_head_of(refined[i], len(avatar.lods[i])) for i in range(len(avatar.lods)))
    return Refinement(replace(avatar, lods=lods), course, _held_words(task))


def held_out_psnr(cloud: Cloud, unknowns: Unknowns, judged: Sequence[Judged]) -> float:
    """dB over the solid pixels of all judged pictures together."""
    error, count = 0.0, 0
    for one in judged:
        mask = one.target.solid
        with torch.no_grad():
            image, _ = draw(cloud, one.posed, unknowns, one.seen, one.index)
        difference = np.clip(image.cpu().numpy()[mask], 0, 1) - one.target.image[mask]
        error, count = error + float((difference.astype(np.float64) ** 2).sum()), count + difference.size
    return -10 * math.log10(max(error / max(count, 1), 1e-12))


def _prepare(task: Task, level: int) -> None:
    """Weight where the head shows, and each picture's light: the first one's is the avatar's, the others' is found from it."""
    cloud = _cloud(task, level, None)
    for group in (task.pictures, task.verdict):
        for i, picture in enumerate(group):
            posed = cloud.posed(picture)
            weigh = lambda target, posed=posed: replace(target, weight=target.weight * _head_share(cloud, posed, target))
            group[i] = replace(picture, full=weigh(picture.full), resampled=weigh(picture.resampled))
    none = np.zeros((3, 3), np.float32)
    for i, picture in enumerate((*task.pictures, *task.verdict)):
        with torch.no_grad():
            image, coverage = draw(cloud, cloud.posed(picture), _zero(task, cloud), Seen.of(picture.full, none, task.device), None)
        task.lights.append(light_of(picture, image.cpu().numpy(), coverage.cpu().numpy()) if i else none)


def _head_share(cloud: Cloud, posed: Posed, target: Target) -> F32:
    """[H, W] 1 - how much of each pixel is shoulders, which are not refined: on another day the clothes are others."""
    seen = Seen.of(target, np.zeros((3, 3), np.float32), cloud.device)
    return 1 - weights_of(cloud, posed, seen, slice(cloud.head, None)).cpu().numpy()


def _cloud(task: Task, level: int, sight: tuple[F32, F32] | None) -> Cloud:
    """A level with the freedom that sight gives its splats; none without."""
    none = np.zeros(len(task.avatar.splats(level)), np.float32)
    freedom: Callable[..., Freedom] = lambda _: freedom_of(task.avatar, level, task.anatomy, task.shape, sight or (none, none))
    return Cloud(task.avatar, level, freedom, task.device)


def _judged(task: Task, cloud: Cloud) -> list[Judged]:
    """The pictures set aside; where there are none, those that are learned from, on another grid of pixels."""
    one = lambda picture, target, light, index: Judged(target, cloud.posed(picture), Seen.of(target, light, task.device), index)
    count = len(task.pictures)
    if task.verdict:
        return [one(p, p.full, task.lights[count + i], None) for i, p in enumerate(task.verdict)]
    return [one(p, p.resampled, task.lights[i], i) for i, p in enumerate(task.pictures)]


def _zero(task: Task, cloud: Cloud) -> Unknowns:
    return Unknowns.zero(len(cloud.rest), task.shape.shape[1], len(task.pictures), len(task.avatar.rig.expressions), task.device)


def _descend(task: Task, level: int, steps: int, start: Callable[[Cloud], list[Unknowns]] | None) -> tuple[Cloud, Unknowns]:
    """The cloud and its best unknowns by the verdict; these are zero where nothing was better.

    Args:
        start: candidates to begin from; the best of them is taken. None begins from zero.
    """
    seen = [Seen.of(p.full, light, task.device) for p, light in zip(task.pictures, task.lights, strict=False)]
    cloud = _cloud(task, level, sight_of(_cloud(task, level, None), task.pictures, seen))
    posed, judged = [cloud.posed(p) for p in task.pictures], _judged(task, cloud)
    before = held_out_psnr(cloud, _zero(task, cloud), judged)
    unknowns, best_score = _best(cloud, [_zero(task, cloud), *(start(cloud) if start is not None else [])], judged)
    best = unknowns.copy()
    course, main = task.course, start is None
    course.verdicts.append(Verdict(level, 0, before, math.nan))
    still = _still(task, main)
    for name in still:
        getattr(unknowns, name).requires_grad_(False)  # no gradient is carried to what stays as it is
    optimizer = _adam(unknowns, still)
    since, waited = 0.0, 0
    order = turns(len(posed))
    try:
        for step in range(steps):
            task.shown.report(level, step, steps)
            index = next(order)
            loss = _loss(cloud, posed[index], unknowns, seen[index], index)
            value = float(loss.detach())
            if not math.isfinite(value):
                course.ended = f"the loss was not a number at step {step}; the last good state is kept"
                break
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            schedule(optimizer, step / steps)
            optimizer.step()
            since += value
            if main:
                course.losses.append(value)
            if (step + 1) % VERDICT_STEPS == 0 or step + 1 == steps:
                score = held_out_psnr(cloud, unknowns, judged)
                course.verdicts.append(Verdict(level, step + 1, score, since / ((step % VERDICT_STEPS) + 1)))
                since = 0.0
                if main:
                    task.shown.course(course)
                waited = waited + 1 if score <= best_score else 0
                if score > best_score:
                    best, best_score = unknowns.copy(), score
                    if main:
                        task.shown.level(level, cloud, best)
                if waited >= PATIENCE:
                    course.ended = course.ended or f"held-out pixels got no better for {PATIENCE * VERDICT_STEPS} steps"
                    break
    except Enough:
        course.ended = STOPPED
    task.shown.close(level)
    if main:
        course.before, course.after = before, best_score
        course.ended = course.ended or f"all {steps} steps were taken"
    return cloud, best


def turns(count: int) -> Iterator[int]:
    """Every picture once in each round, in another order each time."""
    order = np.random.default_rng(0)
    while True:
        yield from map(int, order.permutation(count))


def _best(cloud: Cloud, candidates: Sequence[Unknowns], judged: Sequence[Judged]) -> tuple[Unknowns, float]:
    """The candidate with the best verdict, ready to be optimised, and its PSNR."""
    scores = [held_out_psnr(cloud, candidate, judged) for candidate in candidates]
    index = int(np.argmax(scores))
    return candidates[index].copy().map(lambda t: t.requires_grad_()), scores[index]


def _loss(cloud: Cloud, posed: Posed, unknowns: Unknowns, seen: Seen, index: int) -> Tensor:
    image, coverage = draw(cloud, posed, unknowns, seen, index)
    loss = photometric_loss(image, seen.reference, seen.weight)
    loss = loss + SILHOUETTE * ((coverage - seen.matte).abs() * seen.weight).sum() / seen.weight.sum().clamp(min=1)
    for name, weight in PULL.items():
        loss = loss + weight * (getattr(unknowns, name) ** 2).mean()
    own = (unknowns.expression[index] ** 2).sum() * EXPRESSION_PULL
    return loss + own + (unknowns.camera[index] ** 2).sum() * CAMERA_PULL


def _adam(unknowns: Unknowns, still: set[str]) -> torch.optim.Adam:
    groups = [
        {"params": [getattr(unknowns, name)], "lr": rate, "initial": rate, "eps": FAINT if name in OWN else 1e-8}
        for name, rate in RATES.items()
        if name not in still
    ]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)


def _still(task: Task, main: bool) -> set[str]:
    """What stays as it is: shape and colours where no other photo could gainsay them, expressions and cameras of one photo."""
    still = set() if task.verdict else {"shape", "tint"}
    if not main:
        still.add("shape")
    return still if main and len(task.pictures) > 1 else still | {"expression", "camera"}


def schedule(optimizer: torch.optim.Adam, share: float) -> None:
    """Rates rise over the first steps, while Adam knows nothing of the gradients' sizes, and fall to a twentieth along a cosine."""
    factor = min(1.0, (share + 0.004) / RISE) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * share)))
    for group in optimizer.param_groups:
        group["lr"] = group["initial"] * factor


def _following(task: Task, level: int, steps: int, source: Cloud, unknowns: Unknowns) -> SplatArrays:
    """Another level: what was learned carried over, then some steps of its own unless the user has had enough."""
    ended = task.course.ended
    cloud, best = _descend(task, level, 0 if ended == STOPPED else steps, transfer(source, unknowns))
    task.course.ended = STOPPED if STOPPED in (ended, task.course.ended) else ended
    return cloud.written(best)


def _head_of(splats: SplatArrays, count: int) -> SplatArrays:
    return SplatArrays(*(np.ascontiguousarray(getattr(splats, name)[:count]) for name in SplatArrays.__dataclass_fields__))


def _held_words(task: Task) -> str:
    if task.verdict:
        return f"{len(task.verdict)} of {len(task.verdict) + len(task.pictures)} photos: {', '.join(p.name for p in task.verdict)}"
    return f"the same {'photo' if len(task.pictures) == 1 else 'photos'} on another grid of pixels, {RESAMPLED:.0%} as large"


def _refusal(course: Course, held: str) -> NoImprovementError:
    return NoImprovementError(
        f"the photos make the avatar no better: held-out pixels ({held}) went from {course.before:.2f} to {course.after:.2f} dB",
        "give other photos of the person, sharper, evenly lit and from several sides; the avatar stays as it is",
        {"before": course.before, "after": course.after, "held_out": held, "stopped": course.ended == STOPPED},
    )


class _Showing:
    """Brings steps to a listener: progress of the whole job, and the refined level from time to time."""

    def __init__(self, listener: Listener, levels: int, watch: Callable[[Course], None] | None) -> None:
        self._listener, self._watch = listener, watch
        self._weights = {i: (1.0 if i == min(LEVEL, levels - 1) else FOLLOWING * (0.5, 1.0, 3.0)[i]) for i in range(levels)}
        self._done: dict[int, float] = {}
        self._shown = self._watched = time.monotonic()

    def report(self, level: int, step: int, steps: int) -> None:
        self._done[level] = step / max(steps, 1)
        share = sum(self._weights[i] * done for i, done in self._done.items()) / sum(self._weights.values())
        self._listener.progress(share, f"lod {level}", f"step {step} of {steps}")

    def course(self, course: Course) -> None:
        if self._watch is not None and time.monotonic() - self._watched > SHOW_SECONDS:
            self._watch(course)
            self._watched = time.monotonic()

    def close(self, level: int) -> None:
        self._done[level] = 1.0

    def level(self, level: int, cloud: Cloud, unknowns: Unknowns) -> None:
        if time.monotonic() - self._shown < SHOW_SECONDS:
            return
        written = cloud.written(unknowns)
        self._listener.lod(level, *(SplatArrays(*(getattr(written, n)[part] for n in SplatArrays.__dataclass_fields__))
                                    for part in (slice(cloud.head), slice(cloud.head, None))))  # fmt: skip
        self._shown = time.monotonic()
