"""LoRA, with registers or without, as a user of the wire asks for it: the network that made an avatar learns from photos and makes it anew.

What the avatar keeps is the difference between what the network makes of the avatar's own photo before and after: an adapter of
splats like any other, switched without the network. The factors themselves, for drawing with the refiner, come from `lookalike adapt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np

from backend.models.interface import Listener, Silent
from backend.protocol.adapters import add, base_of, difference
from backend.protocol.avatar import Adapter, Avatar, SplatArrays
from backend.protocol.errors import Cancelled, FaceError

from .ending import Enough
from .job import TRACKING, File, Part, Personalized, Wish, name_of
from .photos import load_portraits, own_sources, rig_check

if TYPE_CHECKING:
    from torch import nn

    from backend.models.gagavatar.network import GAGAvatarNetwork
    from backend.models.networks.photo import Photo
    from backend.rig import Rig
    from backend.tracking import Tracker
    from backend.tracking.portrait import Portrait

    from .adapt import BridgeKind, CurvePoint
    from .adapter_file import Adapter as Factors
    from .frames import Frame

WIDEST_CURVE = 1000
"""Points of the curve that is drawn."""


def adapt_gagavatar(
    avatar: Avatar, files: Sequence[File], wish: Wish, rig: Rig, tracker: Tracker, listener: Listener
) -> Personalized:  # fmt: skip
    """LoRA + Registers, or plain LoRA where the wish says so, on GAGAvatar with the user's weights.

    Raises:
        WeightsError: there are none. RigError: the rig is not FLAME.
        FaceError: fewer than two pictures, or the avatar's own photo is not among them.
        LearningError: held-out pictures got no better.
        Cancelled: before anything was better.
    """
    import torch

    from backend.models.gagavatar.checkpoint import gagavatar_weights, load_network
    from backend.models.gagavatar.reconstructor import check_flame

    from .adapt import AdaptSettings, adapt, adapted_copy

    weights = gagavatar_weights()
    check_flame(rig)
    rig_check(avatar, rig)
    portraits, warnings = _portraits(avatar, files, wish, tracker, Part(listener, 0.0, TRACKING))
    listener.progress(TRACKING, "network", weights.name)
    network = load_network(weights, perceptual=True).to("cuda" if torch.cuda.is_available() else "cpu")
    photos = [(portrait, *_seen(portrait, avatar, rig)) for portrait in portraits]
    bridge: BridgeKind = "none" if wish.method == "lora" else "registers"
    settings = AdaptSettings(name_of(files), iterations=wish.steps, bridge=bridge)
    watcher = _Watcher(Part(listener, TRACKING, 0.95), listener)
    factors = adapt(network, _frames(network, photos, rig), settings, watcher)
    source = photos[0][1]
    adapted = cast("GAGAvatarNetwork", adapted_copy(network, factors))
    before, after = (_levels(cast("GAGAvatarNetwork", each), avatar, source) for each in (network, adapted))
    return Personalized(add(avatar, _adapter(avatar, before, after, factors, files, wish)), watcher.curve(), tuple(warnings))


def _portraits(
    avatar: Avatar, files: Sequence[File], wish: Wish, tracker: Tracker, listener: Listener
) -> tuple[list[Portrait], list[str]]:  # fmt: skip
    """All pictures, the avatar's own photo first."""
    warnings: list[str] = []
    portraits = list(load_portraits(files, wish.faces, tracker, listener, warnings))
    sources = own_sources(avatar)
    if not any(portrait.sha256 in sources for portrait in portraits):
        raise FaceError(
            f"{avatar.name} can only be made anew from the photo that it was made from, which is not among these", "add that photo"
        )
    if len(portraits) < 2:
        raise FaceError("one photo given: some must be held out to see whether it helps", "add other photos of the person")
    return sorted(portraits, key=lambda portrait: sources.get(portrait.sha256, len(sources))), warnings


def _seen(portrait: Portrait, avatar: Avatar, rig: Rig) -> tuple[Photo, np.ndarray]:
    """A portrait as the network sees it, and the avatar's head [V, 3] posed as in it, metres."""
    from backend.models.networks.photo import Photo
    from backend.rig import pose_vertices
    from backend.tracking.fit import place

    driver = place(portrait, rig, avatar.rig.vertices).driver
    posed = pose_vertices(avatar.rig, driver.expression, driver.pose)
    return Photo.of(portrait, driver, posed), posed


def _frames(network: nn.Module, photos: Sequence[tuple[Portrait, Photo, np.ndarray]], rig: Rig):
    from backend.models.networks import METRE

    from .frames import Frame, PersonFrames

    size = int(network.upsampler.size)  # type: ignore[union-attr,arg-type]

    def frame(portrait: Portrait, photo: Photo, posed: np.ndarray) -> Frame:
        shrunk = lambda array: np.clip(cv2.resize(array, (size, size), interpolation=cv2.INTER_AREA), 0, 1).astype(np.float32)
        matte = photo.person[0, 0].numpy()
        image = shrunk(photo.image[0].permute(1, 2, 0).numpy())
        return Frame(image, shrunk(matte), (METRE * posed).astype(np.float32), photo.camera[0].numpy(), portrait.name)

    return PersonFrames(rig.faces, [frame(*each) for each in photos])


def _levels(network: GAGAvatarNetwork, avatar: Avatar, source: Photo) -> tuple[SplatArrays, ...]:
    """What a network makes of the avatar's own photo."""
    from backend.models.gagavatar import GAGAvatar

    device = next(network.parameters()).device
    return GAGAvatar(device=str(device)).levels(network, avatar.rig, source, Silent())


def _adapter(
    avatar: Avatar, before: Sequence[SplatArrays], after: Sequence[SplatArrays], factors: Factors, files: Sequence[File], wish: Wish
) -> Adapter:
    """The difference, on the triangles that the avatar's splats are bound to already.

    Raises:
        FaceError: the avatar has other splats than its network makes.
    """
    own = base_of(avatar)
    if [len(splats) for splats in own] != [len(splats) for splats in before]:
        raise FaceError(f"{avatar.name}: has other splats than its network makes", "undo the edits of its splats, or make it anew")
    bound = [replace(a, face=b.face, barycentric=b.barycentric) for a, b in zip(after, before, strict=True)]
    facts = {key: value for key, value in factors.facts.items() if key not in ("curve", "settings")}
    return Adapter(
        name=name_of(files),
        kind="lora" if wish.method == "lora" else "registers",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        enabled=True,
        facts={
            **facts,
            "steps": wish.steps,
            "photos": [name for name, _ in files],
            "sources": [{"name": name, "sha256": sha256(data).hexdigest()} for name, data in files],
            "consent": wish.consent or "not stated",
        },
        levels=difference(before, bound),
    )


class _Watcher:
    """Tells a job's listener of iterations and of the curve; its wish to end keeps the best so far."""

    def __init__(self, part: Listener, listener: Listener) -> None:
        self._part, self._show = part, getattr(listener, "curve", None)
        self._points: list[CurvePoint] = []

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        try:
            self._part.progress(fraction, stage, text)
        except Enough as error:
            raise Cancelled("the job was cancelled before it had made anything better") from error

    def learned(self, point: CurvePoint) -> None:
        self._points.append(point)
        if point.held_out is not None and self._show is not None:
            self._show(self.curve())

    def curve(self) -> np.ndarray:
        """Loss and held-out error so far."""
        from .curve import draw_points

        every = max(1, len(self._points) // WIDEST_CURVE)
        losses = [(p.iteration, p.total) for p in self._points[::every]]
        return draw_points(losses, [(p.iteration, p.held_out) for p in self._points if p.held_out is not None], "held-out error")
