"""What the worker and the command line run: from files' bytes to avatars, motion and pictures.

Thin functions over `backend.tracking`, `backend.models`, `backend.rig` and `backend.splats`; heavy imports happen
inside them, so that importing this module costs nothing.
"""

from __future__ import annotations

import functools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.models.interface import Listener, Silent
from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import decode_avatar
from backend.protocol.errors import Cancelled, LookalikeError
from backend.protocol.messages import Bake, Personalize, Reconstruct, Render, Track

if TYPE_CHECKING:
    from backend.personalize.job import Personalized
    from backend.tracking import Portrait, Tracker

logger = logging.getLogger(__name__)

MIN_PICTURE, MAX_PICTURE = 16, 4096

File = tuple[str, bytes]
"""A name and the file's bytes."""


def warm_up() -> tuple[str, list[str], list[str]]:
    """Load and compile what the first job would otherwise wait for: (device in words, models, rigs)."""
    import torch

    from backend.models import reconstructor
    from backend.rig import load_rig
    from backend.splats import warm_up as compile_kernels
    from backend.tracking.fit import prepare

    began = time.monotonic()
    _tracker()
    compile_kernels()
    for name in _model_names():
        reconstructor(name)
    prepare(load_rig("builtin"))
    logger.info("warm in %.1f s", time.monotonic() - began)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return device, _model_names(), ["builtin"]


def reconstruct(files: Sequence[File], request: Reconstruct, listener: Listener | None = None) -> Avatar:
    """Portraits of one person -> avatar with its provenance.

    Raises:
        ImageError, FaceError, RigError, WeightsError: what the user can mend.
        Cancelled: by the listener.
    """
    from backend.models import reconstructor
    from backend.personalize.identity import check_portraits, doubts
    from backend.rig import load_rig
    from backend.tracking import with_landmarks

    listener = listener or Silent()
    listener.progress(0.0, "load", request.rig)
    model, rig = reconstructor(request.model), with_landmarks(load_rig(request.rig), _tracker())
    portraits = load_portraits(files, request.faces, listener)
    check_portraits(portraits)
    avatar = model.reconstruct(portraits, rig, _Later(listener, _TRACKING_SHARE))
    return replace(avatar, provenance=provenance(avatar, request, portraits, doubts(portraits, rig)))


def extend(
    avatar: Avatar, files: Sequence[File], faces: Sequence[int | None], rig: str, listener: Listener | None = None, consent: str = ""
) -> Avatar:
    """An avatar with more photos of its person, where the model that made it can take them without the earlier ones.

    The new photos are compared with each other as `reconstruct` does; the earlier ones are not there to be compared with.
    `consent` is added to what the avatar's file states already.

    Raises:
        LookalikeError: it cannot. ImageError, FaceError, RigError, WeightsError: what the user can mend.
        Cancelled: by the listener.
    """
    from backend.models import model_names, reconstructor
    from backend.models.interface import Extending
    from backend.personalize.identity import check_portraits, doubts
    from backend.rig import load_rig
    from backend.tracking import with_landmarks

    listener = listener or Silent()
    name = str(avatar.provenance.get("model", ""))
    model = reconstructor(name) if name in model_names() else None
    if not isinstance(model, Extending):
        message = f"{avatar.name} was made by {name or 'an unknown model'}, which takes no photos afterwards"
        raise LookalikeError(message, "reconstruct it from all its photos, or use one made by ffavatar")
    listener.progress(0.0, "load", rig)
    head, portraits = with_landmarks(load_rig(rig), _tracker()), load_portraits(files, faces, listener)
    check_portraits(portraits)
    grown = model.extend(avatar, portraits, head, _Later(listener, _TRACKING_SHARE))
    told = grown.provenance.get("warnings", [])
    warnings = [w for portrait in portraits for w in portrait.warnings] + (told if isinstance(told, list) else [])
    stated = [str(avatar.provenance.get("consent", "not stated")), consent or "not stated for the added photos"]
    facts = {"warnings": [*warnings, *doubts(portraits, head)], "consent": ". ".join(stated)}
    return replace(grown, provenance={**grown.provenance, **facts})


def load_portraits(files: Sequence[File], faces: Sequence[int | None], listener: Listener) -> list[Portrait]:
    """Decode and measure each photo. A choice between faces travels in the error's `data`."""
    from backend.tracking import FaceChoiceError, decode_image, describe_faces, make_portrait

    portraits: list[Portrait] = []
    for i, (name, data) in enumerate(files):
        listener.progress(_TRACKING_SHARE * i / len(files), "track", name)
        choice = faces[i] if i < len(faces) else None
        try:
            portrait = make_portrait(decode_image(data, name), name, choice, _tracker())
        except FaceChoiceError as error:
            describe_faces(error, name, i)
            raise
        twin = next((i for i, known in enumerate(portraits) if known.sha256 == portrait.sha256), None)
        if twin is None:
            portraits.append(portrait)
        else:
            warning = f"{name} is the same picture as {portraits[twin].name}, and was left out"
            portraits[twin] = replace(portraits[twin], warnings=(*portraits[twin].warnings, warning))
    listener.progress(_TRACKING_SHARE, "track")
    return portraits


def provenance(avatar: Avatar, request: Reconstruct, portraits: Sequence[Portrait], doubted: Sequence[str] = ()) -> dict[str, object]:
    """What the model stated (sources, rig, licences, time, software), what only the request knows, and warnings, `doubted` last."""
    tracker = _tracker()
    own = avatar.provenance.get("warnings", [])
    return {
        **avatar.provenance,
        "name": request.name or Path(request.portraits[0]).stem,
        "consent": request.consent or "not stated",
        "tracker": f"{tracker.name} ({tracker.licence})",
        "warnings": [w for portrait in portraits for w in portrait.warnings] + (own if isinstance(own, list) else []) + list(doubted),
    }


def render(avatar: bytes | Avatar, view: Render) -> np.ndarray:
    """One picture, uint8 [size, size, 3].

    Raises:
        AvatarFileError: the bytes are no avatar.
        RigError: it lacks the level or an expression.
        LookalikeError: an impossible size or background.
    """
    from backend.splats import joint_pose, portrait_camera
    from backend.splats import render as draw

    if not MIN_PICTURE <= view.size <= MAX_PICTURE or len(view.background) != 3:
        raise LookalikeError(f"a picture of {view.size} pixels cannot be made", f"choose {MIN_PICTURE} to {MAX_PICTURE}, three colours")
    avatar = decode_avatar(avatar) if isinstance(avatar, bytes) else avatar
    pose = joint_pose(avatar, jaw=(view.jaw, 0.0, 0.0)) if view.jaw else joint_pose(avatar)
    camera = portrait_camera(avatar, math.degrees(view.yaw), math.degrees(view.pitch), view.size)
    rgb, _ = draw(avatar, view.lod, camera, view.expression, pose, view.background)
    return (rgb * 255 + 0.5).astype(np.uint8)


def personalize(avatar: bytes | Avatar, files: Sequence[File], request: Personalize, listener: Listener | None = None) -> Personalized:
    """An avatar adapted to photos, or to one video, of its person (see `backend.personalize.job`).

    Raises:
        AvatarFileError: the bytes are no avatar.
        ImageError, FaceError, RigError, WeightsError: what the user can mend; code "no_improvement" where photos do not help.
        Cancelled: before there was anything better.
    """
    from backend.personalize.ending import Enough, NoImprovementError
    from backend.personalize.job import Wish
    from backend.personalize.job import personalize as adapt
    from backend.rig import load_rig
    from backend.tracking import with_landmarks

    listener = listener or Silent()
    try:
        listener.progress(0.0, "load", request.rig)
        avatar = decode_avatar(avatar) if isinstance(avatar, bytes) else avatar
        rig = with_landmarks(load_rig(request.rig), _tracker())
        wish = Wish(request.faces, request.steps, consent=request.consent, method=request.method)
        return adapt(avatar, files, wish, rig, _tracker(), listener)
    except Enough as error:
        raise Cancelled("the job was cancelled before it had made anything better") from error
    except NoImprovementError as error:
        if error.data.get("stopped"):
            raise Cancelled("the job was cancelled before it had made anything better") from error
        raise


def bake(avatar: bytes | Avatar, request: Bake, listener: Listener | None = None) -> Avatar:
    """What the avatar's refiner draws as its own splats (see `backend.bake`).

    Raises:
        AvatarFileError: the bytes are no avatar.
        RigError, WeightsError: no features, no weights; code "no_improvement" where no level came nearer.
        Cancelled: before there was anything better.
    """
    import torch

    from backend.bake import bake as bake_avatar
    from backend.models.refiner import refiner_of

    avatar = decode_avatar(avatar) if isinstance(avatar, bytes) else avatar
    done = bake_avatar(
        refiner_of(avatar), avatar, listener or Silent(), levels=request.levels or None, frames=request.frames, steps=request.steps,
        patterns=request.patterns, size=request.size, seed=request.seed, device="cuda" if torch.cuda.is_available() else "cpu",
    )  # fmt: skip
    return done.avatar


def track(files: Sequence[File], request: Track, listener: Listener | None = None) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Rig parameters of photos or of one video: (arrays as in `messages.Track`, expression names)."""
    from .motion import arrays_of, track_files

    return arrays_of(track_files(files, request, listener or Silent()))


@functools.cache
def _tracker() -> Tracker:
    from backend.tracking import default_tracker

    return default_tracker()


def _model_names() -> list[str]:
    from backend.models import model_names

    return list(model_names())


class _Later:
    """A listener for a part of the job that starts at `begin` of the whole."""

    def __init__(self, listener: Listener, begin: float) -> None:
        self._listener, self._begin = listener, begin
        self.rig, self.lod = listener.rig, listener.lod

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._listener.progress(self._begin + (1 - self._begin) * fraction, stage, text)


_TRACKING_SHARE = 0.15
