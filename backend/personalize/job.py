"""Personalization as a user asks for it: an avatar and photos of its person in, the avatar with one more adapter out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from backend.models.interface import Listener
from backend.protocol.adapters import add, difference, switch
from backend.protocol.avatar import Adapter, Avatar
from backend.protocol.errors import LookalikeError

if TYPE_CHECKING:
    from backend.rig import Rig
    from backend.tracking import Tracker

    from .photometric import Course

File = tuple[str, bytes]

MAX_STEPS = 5000
TRACKING = 0.15
"""Share of the job that finding the faces takes."""


@dataclass(frozen=True)
class Wish:
    """What is asked for.

    Attributes:
        faces: which face of each photo, None where there is but one.
        steps: of the level that is refined in full.
        size: pixels a side of the photos' crops at most.
        consent: the person's statement, for the adapter's facts.
        method: of `METHODS`; "" takes the first one of the model that made the avatar.
    """

    faces: tuple[int | None, ...] = ()
    steps: int = 500
    size: int = 512
    consent: str = ""
    method: str = ""


@dataclass(frozen=True)
class Personalized:
    """The avatar with its new adapter, the curve of the work as a picture uint8 [H, W, 3], and warnings."""

    avatar: Avatar
    curve: np.ndarray
    warnings: tuple[str, ...]


Method = Callable[[Avatar, Sequence[File], Wish, "Rig", "Tracker", Listener], Personalized]


def personalize(avatar: Avatar, files: Sequence[File], wish: Wish, rig: Rig, tracker: Tracker, listener: Listener) -> Personalized:
    """Adapt an avatar to photos, or to one video, of its person by the method of the model that made it.

    Args:
        rig: that the avatar stands on.
        listener: may have ``curve(picture)`` beside the methods of `Listener`, and may raise `Enough` to keep the best so far.
    Raises:
        LookalikeError: no method for the model, or photos that cannot be used, or no improvement (code "no_improvement").
    """
    if not files:
        raise LookalikeError("no photo to personalize with", "give at least one photo, or a video")
    if not 1 <= wish.steps <= MAX_STEPS:
        raise LookalikeError(f"{wish.steps} steps cannot be taken", f"choose 1 to {MAX_STEPS}")
    model = str(avatar.provenance.get("model", ""))
    methods = METHODS.get(model)
    if methods is None:
        message = f"{avatar.name} was made by {model or 'an unknown model'}, which cannot be personalized"
        raise LookalikeError(message, f"use an avatar made by {' or '.join(METHODS)}")
    if wish.method and wish.method not in methods:
        message = f"{avatar.name} was made by {model}, which cannot be personalized by {wish.method}"
        raise LookalikeError(message, f"choose {' or '.join(methods)}")
    method = methods[wish.method or next(iter(methods))]
    return method(avatar, files, wish, rig, tracker, listener)


def refine_splats(
    avatar: Avatar, files: Sequence[File], wish: Wish, rig: Rig, tracker: Tracker, listener: Listener
) -> Personalized:  # fmt: skip
    """Photometric refinement (see `photometric`) as an adapter."""
    import torch

    from backend.models.projection.anatomy import Anatomy

    from .curve import draw_curve
    from .photometric import refine
    from .photos import load_pictures

    pictures, warnings = load_pictures(files, wish.faces, avatar, rig, tracker, Part(listener, 0.0, TRACKING), wish.size)
    show = getattr(listener, "curve", None)
    watch = (lambda course: show(draw_curve(course))) if show is not None else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = refine(avatar, Anatomy.of(rig), pictures, Part(listener, TRACKING, 1.0), wish.steps, device, watch=watch)
    facts = _facts(found.course, found.held_out, [p.name for p in pictures], wish.steps)
    adapter = _adapter("photometric", files, wish, facts, difference(avatar.lods, found.avatar.lods))
    return Personalized(add(avatar, adapter), draw_curve(found.course), tuple(warnings))


def tune_network(
    avatar: Avatar, files: Sequence[File], wish: Wish, rig: Rig, tracker: Tracker, listener: Listener
) -> Personalized:  # fmt: skip
    """FFAvatar's third stage (see `ffavatar`) as an adapter. It stands for itself: an earlier one of its kind is switched off."""
    from .curve import draw_curve
    from .ffavatar import KIND, tuned_difference
    from .ffavatar_photos import tune

    show = getattr(listener, "curve", None)
    watch = (lambda course: show(draw_curve(course))) if show is not None else None
    loading, learning = Part(listener, 0.0, TRACKING), Part(listener, TRACKING, 1.0)
    tuned, shots, warnings = tune(avatar, files, wish.faces, wish.steps, wish.size, rig, tracker, loading, learning, watch)
    facts = _facts(tuned.course, tuned.held_out, [shot.name for shot in shots], wish.steps)
    for earlier in [a.name for a in avatar.adapters if a.kind == KIND and a.enabled]:
        avatar = switch(avatar, earlier, False)
        warnings.append(f"the adapter {earlier} was switched off: both change the network that made the avatar")
    adapter = _adapter(KIND, files, wish, facts, tuned_difference(avatar, tuned))
    return Personalized(add(avatar, adapter), draw_curve(tuned.course), tuple(warnings))


def adapt_network(
    avatar: Avatar, files: Sequence[File], wish: Wish, rig: Rig, tracker: Tracker, listener: Listener
) -> Personalized:  # fmt: skip
    """GAGAvatar learns low-rank factors from the photos (see `network_job`)."""
    from .network_job import adapt_gagavatar

    return adapt_gagavatar(avatar, files, wish, rig, tracker, listener)


METHODS: dict[str, dict[str, Method]] = {
    "projection": {"refine": refine_splats},
    "ffavatar": {"tune": tune_network},
    "gagavatar": {"registers": adapt_network, "lora": adapt_network},
}
"""Model -> what adapts its avatars, by the method's name; the first one is the default."""


def _adapter(
    kind: str, files: Sequence[File], wish: Wish, facts: dict[str, object], levels: tuple[dict[str, np.ndarray], ...]
) -> Adapter:  # fmt: skip
    told = {
        **facts,
        "sources": [{"name": name, "sha256": sha256(data).hexdigest()} for name, data in files],
        "consent": wish.consent or "not stated",
    }
    return Adapter(name_of(files), kind, datetime.now(UTC).isoformat(timespec="seconds"), True, told, levels)


def _facts(course: Course, held_out: str, photos: list[str], steps: int) -> dict[str, object]:
    return {
        "photos": photos,
        "steps": steps,
        "taken": len(course.losses),
        "judged_by": held_out,
        "psnr_before": round(course.before, 2),
        "psnr_after": round(course.after, 2),
        "ended": course.ended,
        "seconds": round(course.seconds, 1),
    }


def name_of(files: Sequence[File]) -> str:
    """What an adapter is called after its photos."""
    first = files[0][0].rsplit(".", 1)[0][:40]
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


class Part:
    """A listener for the part of the job between two fractions of the whole."""

    def __init__(self, listener: Listener, begin: float, end: float) -> None:
        self._listener, self._begin, self._end = listener, begin, end
        self.rig, self.lod = listener.rig, listener.lod

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._listener.progress(self._begin + (self._end - self._begin) * fraction, stage, text)
