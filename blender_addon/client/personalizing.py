"""An avatar refined at the backend by photos or a video of its person: the job of `lookalike.personalize`. Main thread only.

A job like any other: in the panel, with progress, cancel and retry. What comes on the way is shown in the avatar itself
(`adapters`), and taken back unless the job ends well; the first cancel keeps the best so far, the second drops it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..translations import said
from ..ui import curve_picture
from ..ui.properties import LOOKALIKE_PG_job, is_active, session
from . import tracking
from .work import in_thread

if TYPE_CHECKING:
    import bpy

    from ..adapters import Edited, Learned
    from ..avatar import BlenderAvatar
    from ..protocol import Avatar, LookalikeError
    from ..protocol.frames import Message
    from ..protocol.messages import Personalize
    from .work import Work

logger = logging.getLogger("lookalike.jobs")

KIND = "PERSONALIZE"
MAX_FILES = 64
"""As `protocol.messages.MAX_PORTRAITS`, whose module loads the wire."""
UNDO_MESSAGE = "Personalize"


@dataclass(frozen=True)
class PersonalizeReport:
    """What a personalization came to: the avatar, its new adapter's name, and what the backend tells of it."""

    avatar: BlenderAvatar
    adapter: str
    facts: dict[str, Any]
    warnings: tuple[str, ...] = ()

    def summary(self) -> str:
        """In a sentence for the panel."""
        before, after = self.facts.get("psnr_before"), self.facts.get("psnr_after")
        if not isinstance(before, (int, float)) or not isinstance(after, (int, float)):
            return said("The adapter {adapter} is on", adapter=self.adapter)
        gain = f"{after - before:+.2f}"
        return said(
            "The adapter {adapter} is on: held-out pixels went from {before} to {after} dB ({gain})",
            adapter=self.adapter, before=f"{before:.2f}", after=f"{after:.2f}", gain=gain,
        )  # fmt: skip


@dataclass(frozen=True)
class Begun:
    """The avatar when its job began: what is kept of it (`adapters.begin`), and the user's edits of each level."""

    avatar: BlenderAvatar
    kept: Avatar
    edits: list[Edited]

    def end(self) -> None:
        """The job has come to nothing: show the avatar as it was, if it still is there."""
        from ..adapters import end_work
        from ..protocol import AvatarFileError

        try:
            end_work(self.avatar.collection, self.kept)
        except LookupError:
            return  # deleted, undone, or another file was opened
        except AvatarFileError as error:  # splats were removed meanwhile: nothing can say which
            logger.warning("%s", error)


def check_files(paths: Sequence[Path], avatar: str) -> None:
    """Raises ImageError where photos, or a video, cannot be sent."""
    from ..protocol import ImageError

    if not paths:
        raise ImageError(f"There is no photo to personalize {avatar} with", "add photos or a video of this person")
    videos = [path for path in paths if path.suffix.lower() in tracking.VIDEO_SUFFIXES]
    if videos and len(paths) > 1:
        raise ImageError(f"{videos[0].name}: a video is used alone", "take the other files out of the list")
    if len(paths) > MAX_FILES:
        raise ImageError(f"{len(paths)} photos are more than can be sent", f"use at most {MAX_FILES}")
    for path in paths:
        if not path.is_file():
            raise ImageError(f"{path.name}: there is no such file", "choose the photo again")
    size = sum(path.stat().st_size for path in paths)
    if size > tracking.MAX_VIDEO_BYTES:
        raise ImageError(f"{paths[0].name}: {size >> 20} MB are more than can be sent", "use fewer or smaller files")


def check_free(avatar: bpy.types.Collection) -> None:
    """Raises LookalikeError where a job already works on the avatar."""
    from ..protocol import LookalikeError

    if job_of(avatar) is not None:
        raise LookalikeError(f"{avatar.name}: is being personalized already", "wait for it, or stop it")


def job_of(avatar: bpy.types.Collection) -> LOOKALIKE_PG_job | None:
    """The job that works on an avatar now, or None."""
    return next((job for job in jobs_of(avatar) if is_active(job)), None)


def jobs_of(avatar: bpy.types.Collection) -> list[LOOKALIKE_PG_job]:
    """Personalizations of an avatar, under way or ended."""
    return [job for job in session().jobs if job.kind == KIND and held(job)["avatar"] == avatar.session_uid]


def other_jobs(avatar: bpy.types.Collection | None) -> list[LOOKALIKE_PG_job]:
    """Personalizations of other avatars than this one, and of avatars that are gone: its own panel shows the rest."""
    own = avatar.session_uid if avatar is not None else 0
    return [job for job in session().jobs if job.kind == KIND and held(job)["avatar"] != own]


def busy_avatars() -> set[int]:
    """Session uids of the avatars that jobs work on now."""
    return {held(job)["avatar"] for job in session().jobs if job.kind == KIND and is_active(job)}


def held(job: LOOKALIKE_PG_job) -> dict[str, Any]:
    """What the job was asked for: ``avatar`` (session uid), ``steps``, ``method``."""
    return json.loads(job.options)


def prepare(job: LOOKALIKE_PG_job, paths: Sequence[Path]) -> tuple[Future[memoryview], Begun]:
    """Gather the job's avatar, and let a thread read the photos and pack both.

    Raises:
        LookalikeError: the avatar is gone, linked, or has lost a part.
    """
    from ..adapters import begin, check_editable
    from ..avatar import BlenderAvatar

    avatar = BlenderAvatar(held(job)["avatar"])
    collection = _there(avatar)
    check_editable(collection)
    sent, kept, edits = begin(collection)
    return in_thread(_packed, sent, list(paths)), Begun(avatar, kept, edits)


def request(job: LOOKALIKE_PG_job) -> Personalize:
    """What is asked of the backend."""
    from ..protocol.messages import Personalize

    wanted = held(job)
    more = {name: value for name, value in (("rig", job.rig), ("method", wanted["method"])) if value}
    faces = tuple(photo.face if photo.face >= 0 else None for photo in job.photos)
    return Personalize(tuple(photo.name for photo in job.photos), faces, job.consent, int(wanted["steps"]), **more)


def show(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    """Take up a `lod` event: the level as it is now, in the avatar itself."""
    from ..adapters import prepare_preview, show_preview

    begun = work.begun
    assert begun is not None
    collection = _there(begun.avatar)
    if work.preparing is None:
        work.preparing = in_thread(prepare_preview, message, begun.kept, begun.edits)
    if not work.preparing.done():
        return False
    preparing, work.preparing = work.preparing, None
    show_preview(collection, begun.kept, message.body.level, preparing.result())
    return True


def show_curve(job: LOOKALIKE_PG_job, message: Message) -> None:
    """Take up a `preview` event: the curve of the work as a picture."""
    curve_picture.show(job.name, message.tensors()["image"])


def finish(job: LOOKALIKE_PG_job, work: Work, message: Message) -> PersonalizeReport | None:
    """Take up the `result` event; None while a thread still prepares it.

    Raises:
        LookalikeError: the avatar is gone, or is not what was sent any more.
    """
    from ..adapters import learn, prepare_learned

    begun = work.begun
    assert begun is not None
    assert message.payload is not None
    collection = _there(begun.avatar)
    if work.preparing is None:
        work.preparing = in_thread(prepare_learned, bytes(message.payload), begun.kept, begun.edits)
    if not work.preparing.done():
        return None
    preparing, work.preparing = work.preparing, None
    learned: Learned = preparing.result()
    name = learn(collection, learned)
    return PersonalizeReport(begun.avatar, name, learned.kept.adapters[-1].facts, tuple(message.body.warnings))


def check_there(work: Work) -> None:
    """Raises AvatarFileError where the job's avatar is gone."""
    if work.begun is not None:
        _there(work.begun.avatar)


def own_photos(avatar: bpy.types.Collection) -> list[Path]:
    """The photos that an avatar was made from, as far as they are still known: where they were, or beside its file."""
    import bpy

    settings = avatar.lookalike
    stored = [Path(bpy.path.abspath(path)) for path in json.loads(settings.photos or "[]")]
    sources = json.loads(settings.provenance or "{}").get("sources", [])
    names = [str(entry.get("name", "")) for entry in sources if isinstance(entry, dict)]
    if not stored and settings.source_path and names:
        folder = Path(bpy.path.abspath(settings.source_path, library=avatar.library)).parent
        stored = [folder / Path(name).name for name in names if name]
    return [path for path in stored if path.is_file()]


def stop_message(error: LookalikeError) -> str:
    """What the panel says of a job that was cancelled before anything was better."""
    return "Stopped before anything was better: the avatar is as it was" if "better" in error.message else ""


def _there(avatar: BlenderAvatar) -> bpy.types.Collection:
    from ..protocol import AvatarFileError

    try:
        return avatar.collection
    except LookupError as error:
        raise AvatarFileError("The avatar that the photos are for is gone", "select another one and personalize that") from error


def _packed(avatar: Avatar, paths: Sequence[Path]) -> memoryview:
    """Avatar and photos as the wire carries them; runs in a thread."""
    from ..protocol import encode_avatar
    from ..protocol.arrays import portrait_payload

    return portrait_payload([path.read_bytes() for path in paths], avatar=encode_avatar(avatar))
