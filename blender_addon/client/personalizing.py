"""An avatar refined at the backend by photos or a video of its person: the job of `lookalike.personalize`. Main thread only.

A job like any other: in the panel, with progress, cancel and retry. What comes on the way is shown in the avatar itself
(`adapters`), and taken back unless the job ends well; the first cancel keeps the best so far, the second drops it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
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
LOOK_SECONDS = 2.0
MAX_FILES = 64
"""As `protocol.messages.MAX_PORTRAITS`, whose module loads the wire."""
UNDO_MESSAGE = "Personalize"
METHODS_OF = {"projection": "refine", "ffavatar": "tune", "gagavatar": "registers"}
"""Model that made an avatar -> what personalizes it where the user leaves the choice."""
OF_THE_FILE = "tune"
"""The method that needs `Avatar.features`, which Blender does not keep."""


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
    """The avatar when its job began: what is kept of it (`adapters.begin`), its bytes, and the user's edits of each level."""

    avatar: BlenderAvatar
    kept: Avatar
    data: bytes
    edits: list[Edited]

    def end(self) -> None:
        """The job has come to nothing: show the avatar as it was, if it still is there."""
        from ..adapters import end_work, in_edit_mode
        from ..protocol import AvatarFileError

        try:
            collection = self.avatar.collection
        except LookupError:
            return  # deleted, undone, or another file was opened
        if in_edit_mode(collection):
            _end_later(collection)
            return
        try:
            end_work(collection, self.kept)
        except AvatarFileError as error:  # splats were removed meanwhile: nothing can say which
            logger.warning("%s", error)


_left: set[int] = set()
"""Session uids of avatars whose preview is to be taken back as soon as they leave Edit Mode."""


def _end_later(avatar: bpy.types.Collection) -> None:
    from . import tick

    _left.add(avatar.session_uid)
    tick.start()


def previews_left() -> bool:
    """Whether a preview waits for the end of Edit Mode to be taken back."""
    return bool(_left)


def settle_left() -> None:
    """Take back previews that nobody will finish, brought by undo, by an older file or by a copy; those in Edit Mode when it ends."""
    import bpy

    _left.clear()
    previews = [avatar for avatar in bpy.data.collections if avatar.lookalike.preview >= 0 and avatar.library is None]
    if not previews:
        return
    from ..adapters import in_edit_mode, settle

    busy = busy_avatars()
    for avatar in previews:
        if avatar.session_uid in busy:
            continue
        if in_edit_mode(avatar):
            _end_later(avatar)
        else:
            settle(avatar, over=True)


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


def check_free(avatar: bpy.types.Collection, but: str = "") -> None:
    """Raises LookalikeError where a job, other than that of the name `but`, already works on the avatar."""
    from ..protocol import LookalikeError

    if any(is_active(job) and job.name != but for job in jobs_of(avatar)):
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


def method_of(avatar: bpy.types.Collection, chosen: str) -> str:
    """The method that is used: the chosen one, or, where it is empty, what fits the model that made the avatar; "" where none does."""
    facts = json.loads(avatar.lookalike.provenance or "{}")
    return chosen or METHODS_OF.get(str(facts.get("model", "")), "")


def check_method(avatar: bpy.types.Collection, chosen: str) -> None:
    """Raises LookalikeError where the method needs more of the avatar than Blender keeps."""
    from ..protocol import LookalikeError

    if method_of(avatar, chosen) == OF_THE_FILE:
        message = f"{avatar.name}: FFAvatar's network goes on learning from what only the avatar's file holds"
        raise LookalikeError(message, "personalize that on the command line (lookalike personalize), and import the result")


def check_ready(job: LOOKALIKE_PG_job) -> None:
    """Raises LookalikeError where the job's avatar is gone, linked, in Edit Mode, has lost a part, or is another job's now."""
    from ..adapters import check_editable
    from ..avatar import BlenderAvatar

    collection = _there(BlenderAvatar(held(job)["avatar"]))
    check_editable(collection)
    check_free(collection, job.name)


def prepare(job: LOOKALIKE_PG_job, paths: Sequence[Path]) -> tuple[Future[memoryview], Begun]:
    """Gather the job's avatar, and let a thread read the photos and pack both.

    Raises:
        LookalikeError: it cannot be sent, see `check_ready`.
    """
    from ..adapters import begin
    from ..avatar import BlenderAvatar

    check_ready(job)
    avatar = BlenderAvatar(held(job)["avatar"])
    collection = _there(avatar)
    sent, kept, edits = begin(collection)
    return in_thread(_packed, sent, list(paths)), Begun(avatar, kept, bytes(collection.lookalike.kept), edits)


def request(job: LOOKALIKE_PG_job) -> Personalize:
    """What is asked of the backend."""
    from ..protocol.messages import Personalize

    wanted = held(job)
    more = {name: value for name, value in (("rig", job.rig), ("method", wanted["method"])) if value}
    faces = tuple(photo.face if photo.face >= 0 else None for photo in job.photos)
    return Personalize(tuple(photo.name for photo in job.photos), faces, job.consent, int(wanted["steps"]), **more)


def show(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    """Take up a `lod` event: the level as it is now, in the avatar itself; False where it must be offered again."""
    from ..adapters import in_edit_mode, prepare_preview, show_preview

    begun = work.begun
    assert begun is not None
    collection = _there(begun.avatar)
    if in_edit_mode(collection):
        return False
    if work.preparing is None:
        work.preparing = in_thread(prepare_preview, message, begun.kept, begun.edits)
    if not work.preparing.done():
        return False
    preparing, work.preparing = work.preparing, None
    show_preview(collection, begun.kept, begun.data, message.body.level, preparing.result())
    return True


def show_curve(job: LOOKALIKE_PG_job, message: Message) -> None:
    """Take up a `preview` event: the curve of the work as a picture."""
    curve_picture.show(job.name, message.tensors()["image"])


def finish(job: LOOKALIKE_PG_job, work: Work, message: Message) -> PersonalizeReport | None:
    """Take up the `result` event; None while a thread still prepares it, or the avatar is in Edit Mode.

    Raises:
        LookalikeError: the avatar is gone, or is not what was sent any more.
    """
    from ..adapters import in_edit_mode, keep_again, learn, prepare_learned

    begun = work.begun
    assert begun is not None
    assert message.payload is not None
    collection = _there(begun.avatar)
    if in_edit_mode(collection):
        return None
    if work.preparing is None:
        work.preparing = in_thread(prepare_learned, bytes(message.payload), begun.kept, begun.edits)
    if not work.preparing.done():
        return None
    preparing, work.preparing = work.preparing, None
    learned: Learned = preparing.result()
    keep_again(collection, begun.kept, begun.data)
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
    base = bpy.path.abspath(settings.source_path, library=avatar.library)
    return list(_own_photos(settings.photos, settings.provenance, base, bpy.data.filepath, int(time.monotonic() / LOOK_SECONDS)))


@lru_cache(maxsize=16)
def _own_photos(photos: str, provenance: str, source: str, blend: str, moment: int) -> tuple[Path, ...]:
    """Asks the disk, which may be a slow one, once in `LOOK_SECONDS`: the panel is drawn at each move of the mouse."""
    import bpy

    stored = [Path(bpy.path.abspath(path)) for path in json.loads(photos or "[]")]
    sources = json.loads(provenance or "{}").get("sources", [])
    names = [str(entry.get("name", "")) for entry in sources if isinstance(entry, dict)]
    if not stored and source and names:
        folder = Path(source).parent
        stored = [folder / Path(name).name for name in names if name]
    return tuple(path for path in stored if path.is_file())


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
