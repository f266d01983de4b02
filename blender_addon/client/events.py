"""What the backend says about a job, applied to the panel and to the file. Main thread only.

What needs no Blender (decoding, binding splats to the rig) runs in a thread meanwhile; what remains is under 50 ms an
event for 92k splats.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import bpy

from ..ui.properties import LOOKALIKE_PG_job, session
from . import backend, personalizing, tracking
from .jobs import dismiss
from .work import Work, fail, in_thread, is_in_file, remove_unfinished, works

if TYPE_CHECKING:
    from ..avatar import BlenderAvatar
    from ..protocol.frames import Message

logger = logging.getLogger("lookalike.jobs")

PROGRESS_SECONDS = 0.25
"""Progress of one stage is shown this often."""
UNDO_MESSAGE = "Create Lookalike avatar"


def take_up(message: Message) -> bool:
    """Apply one event; False where a thread still prepares it, so that it must be offered again."""
    from ..protocol import BackendError, LookalikeError

    name = next((name for name, work in works.items() if work.request and work.request == message.request), "")
    job = session().jobs.get(name)
    handler = _HANDLERS.get(message.kind)
    if job is None or handler is None:
        return True  # of a job that was dismissed, or of a file that was closed; or an answer to something else
    work = works[name]
    if work.error is not None:
        _let_go(work, message)
        return True  # what it has ended with stays to be read
    try:
        return handler(job, work, message)
    except LookalikeError as error:
        logger.error("%s: %s", message.kind, error)
        _drop(work)
        fail(job, error)
        return True
    except Exception as error:
        # A bug of ours. Left alone it would end the timer, and the job would seem to run for ever.
        logger.exception("%s event of job %s", message.kind, name)
        _drop(work)
        told = BackendError(f"The avatar could not be built ({type(error).__name__}: {error})", "report this with Blender's console output")
        told.__cause__ = error
        fail(job, told)
        return True


def _drop(work: Work) -> None:
    """What a personalization still computes is of no use any more; asked once, it would hand over its best so far."""
    from ..protocol.messages import Cancel

    if work.begun is not None and work.remote and backend.connected:
        for _ in range(2):
            backend.send(Cancel(), job=work.remote)


def _let_go(work: Work, message: Message) -> None:
    """A job that ended here before the backend had told its number: only now it can be cancelled there."""
    from ..protocol.messages import Cancel

    if message.kind == "accepted" and not work.remote and backend.connected:
        work.remote = message.job
        for _ in range(2):
            backend.send(Cancel(), job=work.remote)


def _accepted(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    from ..protocol.messages import Cancel

    work.remote = message.job
    if job.state == "CANCELLING":
        backend.send(Cancel(), job=work.remote)
        return True
    personalizing.check_there(work)
    position = message.body.position
    job.state = "QUEUED"
    job.text = f"{position} {'job' if position == 1 else 'jobs'} before it" if position else ""
    return True


def _progress(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    """Blender draws every window again for each property that is set, splats included: so seldom, and only what changed."""
    personalizing.check_there(work)
    body, now = message.body, time.monotonic()
    stage = _readable(body.stage)
    if job.state == "CANCELLING" or (stage == job.stage and now - work.told < PROGRESS_SECONDS):
        return True
    work.told = now
    news = {"state": "QUEUED" if body.stage == "queued" else "RUNNING", "fraction": body.fraction, "stage": stage, "text": body.text}
    for name, value in news.items():
        if getattr(job, name) != value:
            setattr(job, name, value)
    return True


def _readable(stage: str) -> str:
    """`hair` -> `Hair`, `lod 1` -> `LOD 1`: the backend's words for its stages as a label."""
    words = stage.replace("_", " ").replace("lod", "LOD")
    return words[:1].upper() + words[1:]


def _rig(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    from .. import api
    from ..avatar import begin_avatar
    from ..protocol.arrays import rig_from_message

    work.rig = rig_from_message(message)
    work.avatar = begin_avatar(work.rig, bpy.context.scene.collection, job.avatar_name)
    api.add_controls(work.avatar.collection)
    api.welcome_avatar(work.avatar.collection)
    return True


def _lod(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    from ..avatar import place_lod, rest_mesh

    if job.kind == personalizing.KIND:
        return personalizing.show(job, work, message)
    if not is_in_file(work.avatar):
        work.preparing = None
        return True  # the user has undone it; the result brings everything again
    if work.preparing is None:
        work.preparing = in_thread(_bound, message, *rest_mesh(work.avatar.head))
    if not work.preparing.done():
        return False
    preparing, work.preparing = work.preparing, None
    place_lod(work.avatar, message.body.level, preparing.result())
    return True


def _bound(message: Message, vertices: Any, faces: Any) -> Any:
    """Splats of a `lod` event, checked and bound to the rig mesh; runs in a thread."""
    from ..avatar import prepare_lod
    from ..protocol.arrays import splats_from_message

    return prepare_lod(vertices, faces, message.body.level, *splats_from_message(message, len(faces)))


def _result(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    from .. import api
    from ..avatar import build_avatar, set_facts
    from ..protocol import ProtocolError, decode_avatar

    if message.payload is None:
        raise ProtocolError("The backend sent no result", "retry")
    if job.kind == tracking.KIND:
        return _tracked(job, work, message)
    if job.kind == personalizing.KIND:
        return _personalized(job, work, message)
    if work.preparing is None:
        work.preparing = in_thread(decode_avatar, bytes(message.payload), job.avatar_name)
    if not work.preparing.done():
        return False
    preparing, work.preparing = work.preparing, None
    avatar = preparing.result()
    if is_in_file(work.avatar) and len(work.avatar.splats) == len(avatar.lods):
        set_facts(work.avatar, avatar.provenance, avatar.drivers)
    else:
        remove_unfinished(work)
        work.avatar = build_avatar(avatar, bpy.context.scene.collection, job.avatar_name)
        api.add_controls(work.avatar.collection)
    work.finished, work.rig = work.avatar, None
    work.avatar.collection.lookalike.photos = json.dumps([photo.path for photo in job.photos], ensure_ascii=False)
    logger.info("%s: %.1f s at the backend", job.avatar_name, message.body.seconds)
    warnings = [*message.body.warnings, *avatar.provenance.get("warnings", [])]
    if warnings:
        job.state, job.error = "WARNED", "\n".join(str(warning) for warning in warnings)
    else:
        session().jobs.remove(session().jobs.find(job.name))
    _conclude(work.finished)
    return True


def _tracked(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    """The motion of a video: made a take in a thread, then keyed."""
    if work.preparing is None:
        work.preparing = in_thread(tracking.take_of, message, job.photos[0].name)
    if not work.preparing.done():
        return False
    preparing, work.preparing = work.preparing, None
    work.finished = tracking.key(job, preparing.result())
    logger.info("%s: %s", job.avatar_name, work.finished.summary())
    tracking.conclude(job, work.finished)
    return True


def _personalized(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    """An avatar with one more adapter: decoded in a thread, then shown and kept, as one undo step."""
    report = personalizing.finish(job, work, message)
    if report is None:
        return False
    work.finished = report
    logger.info("%s: %s", job.avatar_name, report.summary())
    job.state, job.error = "WARNED", "\n".join([report.summary(), *report.warnings])
    _push_undo(personalizing.UNDO_MESSAGE)
    return True


def _curve(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    if job.kind == personalizing.KIND:
        personalizing.show_curve(job, message)
    return True


def _failed(job: LOOKALIKE_PG_job, work: Work, message: Message) -> bool:
    error = message.body.exception()
    told = personalizing.stop_message(error) if job.kind == personalizing.KIND and error.code == "cancelled" else ""
    if told:
        fail(job, error)
        job.state, job.error = "WARNED", told
    elif error.code == "cancelled":
        dismiss(job.name)
    else:
        fail(job, error)
    return True


_HANDLERS: dict[str, Callable[[LOOKALIKE_PG_job, Work, Any], bool]] = {
    "accepted": _accepted,
    "progress": _progress,
    "rig": _rig,
    "lod": _lod,
    "preview": _curve,
    "result": _result,
    "error": _failed,
}


def _conclude(avatar: BlenderAvatar) -> None:
    """Select the new avatar where that disturbs nothing, and make one undo step of it."""
    from .. import api

    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if windows else None)
    with bpy.context.temp_override(**({"window": window} if window else {})):
        if bpy.context.mode == "OBJECT":
            api.select_avatar(avatar.collection)
    _push_undo(UNDO_MESSAGE)


def _push_undo(message: str) -> None:
    windows = bpy.context.window_manager.windows
    window = bpy.context.window or (windows[0] if windows else None)
    with bpy.context.temp_override(**({"window": window} if window else {})):
        bpy.ops.ed.undo_push(message=message)
