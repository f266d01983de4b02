"""What a job needs beside its properties: arrays on their way, ids of the wire, and threads for what takes long. Main thread only.

The property group of a job (`ui.properties.LOOKALIKE_PG_job`) and its `Work` share a name. No data-block is held
between two calls: an avatar is looked up by its session uid each time, because undo replaces all of them.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ui import face_pictures
from ..ui.properties import LOOKALIKE_PG_job

if TYPE_CHECKING:
    from ..avatar import BlenderAvatar, TakeReport
    from ..protocol import LookalikeError, RigArrays
    from .personalizing import Begun, PersonalizeReport


@dataclass
class Work:
    """The part of a job that is not a property.

    Attributes:
        payload: the photos' bytes, being read and packed in a thread; None once they are sent.
        request, remote: ids on the wire; "" before they are known.
        rig: of the identity, once it has come.
        told: when progress was shown last, by the monotonic clock.
        preparing: what a thread makes of the event that is being taken up.
        avatar: what has been built so far.
        begun: the avatar that is personalized, as it was when that began.
        finished: the avatar, complete; or what a tracked video or a personalization came to.
        error: why the job failed.
    """

    payload: Future[memoryview] | None
    request: str = ""
    remote: str = ""
    rig: RigArrays | None = None
    told: float = 0.0
    preparing: Future[Any] | None = None
    avatar: BlenderAvatar | None = None
    begun: Begun | None = None
    finished: BlenderAvatar | TakeReport | PersonalizeReport | None = None
    error: LookalikeError | None = None


works: dict[str, Work] = {}
"""Job -> its work, until somebody has asked for the outcome of a finished one or dismissed a failed one."""

_threads: ThreadPoolExecutor | None = None


def in_thread(function, *arguments: object) -> Future[Any]:
    """Run what takes long and needs no Blender."""
    global _threads  # noqa: PLW0603  made at the first use, because registering must start no thread
    if _threads is None:
        _threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="lookalike")
    return _threads.submit(function, *arguments)


def end_threads() -> None:
    """For the add-on's end; what has begun is finished, which takes well under a second."""
    global _threads  # noqa: PLW0603
    if _threads is not None:
        _threads.shutdown(wait=True, cancel_futures=True)
        _threads = None


def is_in_file(avatar: BlenderAvatar | None) -> bool:
    """Whether an avatar still is there: the user may have undone or deleted it, or opened another file."""
    if avatar is None:
        return False
    try:
        avatar.collection  # noqa: B018  the look-up is the question
    except LookupError:
        return False
    return True


def remove_unfinished(work: Work) -> None:
    """Take what a job has built so far out of the file, and a preview back; a finished avatar is the user's and stays."""
    from ..avatar import delete_avatar

    if work.finished is None:
        if work.begun is not None:
            work.begun.end()
            work.begun = None  # once only: later, another job's preview or an adapter may be there
        if work.avatar is not None and is_in_file(work.avatar):
            delete_avatar(work.avatar.collection)
        work.avatar = None
    work.preparing = None


def fail(job: LOOKALIKE_PG_job, error: LookalikeError) -> None:
    """Show in the panel why a job ended, or which faces it wants the user to choose from."""
    work = works[job.name]
    remove_unfinished(work)
    work.error = error
    job.error, job.remedy, job.error_code = error.message, error.remedy, error.code
    job.state = "CHOOSING" if _offer_faces(job, error.data) else "FAILED"


def _offer_faces(job: LOOKALIKE_PG_job, data: dict[str, Any]) -> bool:
    """List the faces of an ambiguous portrait, left to right, boxes in pixels; False where the error is about something else."""
    faces = data.get("faces")
    photo = next((i for i, photo in enumerate(job.photos) if photo.name == data.get("portrait") and photo.face < 0), -1)
    if not isinstance(faces, list) or len(faces) < 2 or photo < 0:
        return False
    for place, number in enumerate(sorted(range(len(faces)), key=lambda i: faces[i]["box"][0])):
        face = job.faces.add()
        face.number, face.box, face.place = number, faces[number]["box"], _place(place, len(faces))
    job.faces_photo = photo
    icons = face_pictures.make(job.name, Path(job.photos[photo].path), [tuple(face.box) for face in job.faces])
    for face, icon in zip(job.faces, icons, strict=False):  # no icons where Blender cannot read the photo
        face.icon = icon
    return True


def _place(place: int, count: int) -> str:
    """Where the face stands in a row of `count`, in words."""
    if place == 0:
        return "leftmost"
    if place == count - 1:
        return "rightmost"
    if count == 3:
        return "middle"
    return {1: "2nd", 2: "3rd"}.get(place, f"{place + 1}th") + " from the left"
