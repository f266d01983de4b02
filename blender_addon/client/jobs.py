"""Jobs: photos go to the backend, and what comes back becomes an avatar. Main thread only.

What the panel shows of a job is a property group of the window manager (`ui.properties.LOOKALIKE_PG_job`); what cannot
be a property (arrays on their way, ids of the wire) is a `_Work` here, under the same name. No data-block is held
between two calls: an avatar is looked up by its session uid each time, because undo replaces all of them.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from ..ui.properties import is_active, session
from ..ui.redraw import redraw
from . import backend

if TYPE_CHECKING:
    from ..avatar import BlenderAvatar
    from ..protocol import LookalikeError, RigArrays
    from ..protocol.frames import Message

logger = logging.getLogger("lookalike.jobs")

TICK_SECONDS = 0.1
APPLY_SECONDS = 0.02
"""A tick stops taking up events after this long. One event is never split; the longest, LOD 2, takes about 0.1 s."""
UNDO_MESSAGE = "Create Lookalike avatar"


@dataclass
class _Work:
    """The part of a job that is not a property.

    Attributes:
        payload: the photos' bytes, being read and packed in a thread.
        request, remote: ids on the wire; "" before they are known.
        rig: of the identity, once it has come.
        avatar: what has been built so far.
        finished: the avatar, complete.
        error: why it failed.
    """

    payload: Future[memoryview]
    request: str = ""
    remote: str = ""
    rig: RigArrays | None = None
    avatar: BlenderAvatar | None = None
    finished: BlenderAvatar | None = None
    error: LookalikeError | None = None
    warnings: tuple[str, ...] = field(default=())


_works: dict[str, _Work] = {}
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lookalike-photos")


def submit(
    photos: Sequence[Path], faces: Sequence[int | None], name: str = "", consent: str = "", model: str = "", rig: str = ""
) -> str:
    """Add a job and return its id; it is sent as soon as the backend is connected."""
    job = session().jobs.add()
    job.name = uuid.uuid4().hex
    for path, face in zip(photos, faces, strict=True):
        photo = job.photos.add()
        photo.name, photo.path, photo.face = path.name, str(path), -1 if face is None else face
    job.avatar_name, job.consent, job.model, job.rig = name or photos[0].stem, consent, model, rig
    _begin(job)
    return job.name


def retry(job_id: str) -> None:
    """Do a job that has ended once more."""
    job = find(job_id)
    if not is_active(job):
        _begin(job)


def choose_face(job_id: str, face: int) -> None:
    """Answer a job that asked which face, and do it again with that one."""
    job = find(job_id)
    if 0 <= job.faces_photo < len(job.photos):
        job.photos[job.faces_photo].face = face
    _begin(job)


def cancel(job_id: str) -> None:
    """Ask the backend to stop; a job that was not sent yet goes at once."""
    from ..protocol.messages import Cancel

    job, work = find(job_id), _works[job_id]
    if not work.request:
        dismiss(job_id)
        return
    job.state, job.text = "CANCELLING", ""
    if work.remote:
        backend.send(Cancel(), job=work.remote)


def dismiss(job_id: str) -> None:
    """Take a job out of the panel, and what it left half built out of the file."""
    jobs = session().jobs
    work = _works.pop(job_id, None)
    if work is not None:
        _remove_unfinished(work)
    index = jobs.find(job_id)
    if index >= 0:
        jobs.remove(index)


def find(job_id: str):
    """The job's property group.

    Raises:
        BackendError: there is none (any more).
    """
    from ..protocol import BackendError

    job = session().jobs.get(job_id)
    if job is None:
        raise BackendError("This job is not in the list any more", "create the avatar again")
    return job


def outcome(job_id: str) -> BlenderAvatar | LookalikeError | None:
    """What a job has come to: the avatar, the error, or None while it is under way."""
    work = _works.get(job_id)
    if work is None:
        from ..protocol import Cancelled

        return Cancelled("The job was cancelled")
    return work.finished or work.error


def forget(job_id: str) -> None:
    """Let go of a finished job's outcome."""
    _works.pop(job_id, None)


def cancel_all() -> None:
    """Cancel every job and drop what they have built; for file loading and the add-on's end."""
    from ..protocol.messages import Cancel

    for work in _works.values():
        if work.remote and work.finished is None and backend.connected:
            backend.send(Cancel(), job=work.remote)
    _works.clear()
    session().jobs.clear()


def pump() -> bool:
    """Take up what the backend has said since the last call; True when the panel should be drawn again.

    Budget: `APPLY_SECONDS` and one event.
    """
    before = (backend.summary(), backend.error)
    deadline = time.monotonic() + APPLY_SECONDS
    _inbox.extend(backend.update())
    changed = (backend.summary(), backend.error) != before
    if backend.error is not None and not backend.running:
        _fail_unsent(backend.error)
    _send_ready()
    while _inbox and not _blocked():
        _take_up(_inbox.pop(0))
        changed = True
        if time.monotonic() > deadline:
            break
    return changed


_inbox: list[Message] = []


def busy() -> bool:
    """Whether there is anything to wait for: a job, or a backend to watch."""
    return backend.running or bool(_inbox) or any(is_active(job) for job in session().jobs)


def ensure_ticking() -> None:
    """Start the timer that calls `pump`; it ends by itself when nothing is left to wait for."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_SECONDS, persistent=True)


def stop_ticking() -> None:
    """End the timer, for the add-on's end."""
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _tick() -> float | None:
    """The add-on's only timer. Budget: that of `pump`; 0.1 ms when nothing has happened."""
    if pump():
        redraw()
    return TICK_SECONDS if busy() else None


def _begin(job) -> None:
    from ..protocol.arrays import portrait_payload

    paths = [Path(photo.path) for photo in job.photos]
    old = _works.get(job.name)
    if old is not None:
        _remove_unfinished(old)
    _works[job.name] = _Work(_reader.submit(lambda: portrait_payload([path.read_bytes() for path in paths])))
    job.state, job.stage, job.text, job.fraction = "STARTING", "", "", 0.0
    job.error = job.remedy = job.error_code = ""
    job.faces.clear()
    job.faces_photo = -1
    ensure_ticking()
    redraw()


def _send_ready() -> None:
    """Send the jobs whose photos are read, once the backend is there."""
    for job in [job for job in session().jobs if job.state == "STARTING"]:
        work = _works[job.name]
        if work.payload.done() and work.payload.exception() is not None:
            _fail_reading(job, work.payload.exception())
        elif work.payload.done() and not work.request and backend.connected:
            _send(job, work)


def _send(job, work: _Work) -> None:
    from ..protocol import LookalikeError
    from ..protocol.messages import Reconstruct

    choices = {key: value for key, value in (("model", job.model), ("rig", job.rig)) if value}
    request = Reconstruct(
        portraits=tuple(photo.name for photo in job.photos),
        faces=tuple(photo.face if photo.face >= 0 else None for photo in job.photos),
        name=job.avatar_name,
        consent=job.consent,
        **choices,
    )
    try:
        work.request = backend.send(request, work.payload.result())
    except LookalikeError as error:
        _fail(job, error)


def _fail_reading(job, error: BaseException | None) -> None:
    from ..protocol import ImageError, LookalikeError

    if isinstance(error, OSError):
        _fail(job, ImageError(f"{Path(error.filename or 'the photo').name}: cannot be read ({error.strerror})", "choose the photo again"))
    elif isinstance(error, LookalikeError):
        _fail(job, error)
    else:
        raise error or RuntimeError("no error")


def _fail_unsent(error: LookalikeError) -> None:
    """The backend cannot be had: say so in each job that still waits for it."""
    for job in session().jobs:
        if is_active(job) and not _inbox:
            _fail(job, error)


def _blocked() -> bool:
    """Whether the file must not be changed now: a render reads it, or the user is dragging something."""
    if bpy.app.is_job_running("RENDER"):
        return True
    windows = bpy.context.window_manager.windows
    return any(op.bl_idname.startswith("TRANSFORM_OT_") for window in windows for op in window.modal_operators)


def _take_up(message: Message) -> None:
    name = next((name for name, work in _works.items() if work.request and work.request == message.request), "")
    job = session().jobs.get(name)
    if job is None:
        return  # of a job that was dismissed, or of a file that was closed
    from ..protocol import LookalikeError

    try:
        _HANDLERS.get(message.kind, _ignore)(job, _works[name], message)
    except LookalikeError as error:
        logger.error("%s: %s", message.kind, error)
        _fail(job, error)


def _ignore(job, work: _Work, message: Message) -> None:
    """Answers to other requests (previews, lists) are not for a job."""


def _accepted(job, work: _Work, message: Message) -> None:
    from ..protocol.messages import Cancel

    work.remote = message.job
    if job.state == "CANCELLING":
        backend.send(Cancel(), job=work.remote)
        return
    job.state = "QUEUED"
    job.text = f"{message.body.position} before it" if message.body.position else ""


def _progress(job, work: _Work, message: Message) -> None:
    if job.state == "CANCELLING":
        return
    body = message.body
    job.state = "QUEUED" if body.stage == "queued" else "RUNNING"
    job.fraction, job.stage, job.text = body.fraction, body.stage.capitalize(), body.text


def _rig(job, work: _Work, message: Message) -> None:
    from .. import api
    from ..avatar import begin_avatar
    from ..protocol.arrays import rig_from_message

    work.rig = rig_from_message(message)
    work.avatar = begin_avatar(work.rig, bpy.context.scene.collection, job.avatar_name)
    api.welcome_avatar(work.avatar.collection)


def _lod(job, work: _Work, message: Message) -> None:
    from ..avatar import add_lod
    from ..protocol.arrays import splats_from_message

    if work.rig is None or work.avatar is None:
        return
    head, shoulders = splats_from_message(message, len(work.rig.faces))
    if _exists(work.avatar):  # else the user has undone it; the result brings everything again
        add_lod(work.avatar, message.body.level, head, shoulders)


def _result(job, work: _Work, message: Message) -> None:
    from ..avatar import build_avatar, set_facts
    from ..protocol import ProtocolError, decode_avatar

    if message.payload is None:
        raise ProtocolError("The backend sent no avatar", "retry")
    avatar = decode_avatar(bytes(message.payload), job.avatar_name)
    if work.avatar is not None and _exists(work.avatar) and len(work.avatar.splats) == len(avatar.lods):
        set_facts(work.avatar, avatar.provenance, avatar.drivers)
    else:
        _remove_unfinished(work)
        work.avatar = build_avatar(avatar, bpy.context.scene.collection, job.avatar_name)
    work.finished, work.rig, work.warnings = work.avatar, None, message.body.warnings
    logger.info("%s: %.1f s at the backend", job.avatar_name, message.body.seconds)
    session().jobs.remove(session().jobs.find(job.name))
    _conclude(work.finished, work.warnings)


def _failed(job, work: _Work, message: Message) -> None:
    error = message.body.exception()
    if error.code == "cancelled":
        dismiss(job.name)
        return
    _fail(job, error)


_HANDLERS: dict[str, Callable] = {
    "accepted": _accepted,
    "progress": _progress,
    "rig": _rig,
    "lod": _lod,
    "result": _result,
    "error": _failed,
}


def _fail(job, error: LookalikeError) -> None:
    work = _works[job.name]
    _remove_unfinished(work)
    work.error = error
    job.error, job.remedy, job.error_code = error.message, error.remedy, error.code
    job.state = "CHOOSING" if _offer_faces(job, error) else "FAILED"


def _offer_faces(job, error: LookalikeError) -> bool:
    """Show the faces that the error lists, where it asks for a choice. Boxes in pixels, left to right."""
    faces = error.data.get("faces")
    name = error.data.get("portrait")
    photo = next((i for i, photo in enumerate(job.photos) if photo.name == name and photo.face < 0), -1)
    if not isinstance(faces, list) or len(faces) < 2 or photo < 0:
        return False
    order = sorted(range(len(faces)), key=lambda i: faces[i]["box"][0])
    for place, number in enumerate(order):
        face = job.faces.add()
        face.number, face.box = number, faces[number]["box"]
        face.place = _place(place, len(faces))
    job.faces_photo = photo
    return True


def _place(place: int, count: int) -> str:
    if place in {0, count - 1}:
        return "leftmost" if place == 0 else "rightmost"
    return "middle" if count == 3 else f"{place + 1}th from the left" if place > 2 else ("2nd", "3rd")[place - 1] + " from the left"


def _exists(avatar: BlenderAvatar) -> bool:
    try:
        avatar.collection  # noqa: B018  the look-up is the question
    except LookupError:
        return False
    return True


def _remove_unfinished(work: _Work) -> None:
    from ..avatar import delete_avatar

    if work.avatar is not None and work.finished is None and _exists(work.avatar):
        delete_avatar(work.avatar.collection)
    if work.finished is None:
        work.avatar = None


def _conclude(avatar: BlenderAvatar, warnings: tuple[str, ...]) -> None:
    """Select the new avatar where that disturbs nothing, and make one undo step of it."""
    from .. import api

    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if windows else None)
    with bpy.context.temp_override(**({"window": window} if window else {})):
        if bpy.context.mode == "OBJECT":
            api.select_avatar(avatar.collection)
        bpy.ops.ed.undo_push(message=UNDO_MESSAGE)
    for warning in warnings:
        logger.warning("%s: %s", avatar.name, warning)
