"""Jobs as the user handles them: submitted, retried, cancelled, dismissed. Main thread only."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..ui import curve_picture, face_pictures
from ..ui.properties import LOOKALIKE_PG_job, is_active, session
from ..ui.redraw import redraw
from . import backend, personalizing, tracking
from .work import Work, fail, in_thread, remove_unfinished, works

if TYPE_CHECKING:
    from ..avatar import BlenderAvatar, TakeReport
    from ..protocol import LookalikeError
    from .personalizing import PersonalizeReport


def submit(photos: Sequence[Path], faces: Sequence[int | None], name: str = "", consent: str = "", model: str = "", rig: str = "") -> str:
    """Add a job and return its id; it is sent as soon as the backend is connected."""
    job = session().jobs.add()
    job.name = uuid.uuid4().hex
    for path, face in zip(photos, faces, strict=True):
        photo = job.photos.add()
        photo.name, photo.path, photo.face = path.name, str(path), -1 if face is None else face
    job.avatar_name, job.consent, job.model, job.rig = name or photos[0].stem, consent, model, rig
    _begin(job)
    return job.name


def submit_video(video: Path, face: int | None, rig: str, options: str) -> str:
    """Add a job that tracks a video (`tracking`) and return its id."""
    job = session().jobs.add()
    job.name, job.kind, job.options = uuid.uuid4().hex, tracking.KIND, options
    photo = job.photos.add()
    photo.name, photo.path, photo.face = video.name, str(video), -1 if face is None else face
    job.avatar_name, job.rig = video.name, rig
    _begin(job)
    return job.name


def submit_photos(
    avatar: int, name: str, photos: Sequence[Path], faces: Sequence[int | None], steps: int, consent: str, rig: str, method: str
) -> str:
    """Add a job that personalizes the avatar of this session uid (`personalizing`) and return its id.

    Raises:
        LookalikeError: the avatar cannot be sent; there is no job then.
    """
    job = session().jobs.add()
    job.name, job.kind = uuid.uuid4().hex, personalizing.KIND
    job.options = json.dumps({"avatar": avatar, "steps": steps, "method": method})
    for path, face in zip(photos, faces, strict=True):
        photo = job.photos.add()
        photo.name, photo.path, photo.face = path.name, str(path), -1 if face is None else face
    job.avatar_name, job.consent, job.rig = name, consent, rig
    job_id = job.name
    try:
        _begin(job)
    except Exception:
        session().jobs.remove(session().jobs.find(job_id))
        raise
    return job_id


def retry(job_id: str) -> None:
    """Do a job that has ended once more."""
    job = find(job_id)
    if not is_active(job):
        _begin(job)


def choose_face(job_id: str, face: int) -> None:
    """Answer a job that asked which face, and do it again with that one."""
    job = find(job_id)
    if job.kind == personalizing.KIND:
        personalizing.check_ready(job)
    if 0 <= job.faces_photo < len(job.photos):
        job.photos[job.faces_photo].face = face
    _begin(job)


def cancel(job_id: str) -> None:
    """Ask the backend to stop; a job that was not sent yet goes at once. A personalization keeps its best so far when it is asked
    once, and is dropped when it is asked again."""
    from ..protocol.messages import Cancel

    job, work = find(job_id), works[job_id]
    if not work.request:
        dismiss(job_id)
        return
    job.state, job.text = "CANCELLING", ""
    if work.remote:
        backend.send(Cancel(), job=work.remote)


def dismiss(job_id: str) -> None:
    """Take a job out of the panel, and what it left half built out of the file."""
    work = works.pop(job_id, None)
    if work is not None:
        remove_unfinished(work)
    face_pictures.drop(job_id)
    curve_picture.drop(job_id)
    jobs = session().jobs
    index = jobs.find(job_id)
    if index >= 0:
        jobs.remove(index)


def find(job_id: str) -> LOOKALIKE_PG_job:
    """The job's property group.

    Raises:
        BackendError: there is none (any more).
    """
    from ..protocol import BackendError

    job = session().jobs.get(job_id)
    if job is None:
        raise BackendError("This job is not in the list any more", "create the avatar again")
    return job


def outcome(job_id: str) -> BlenderAvatar | TakeReport | PersonalizeReport | LookalikeError | None:
    """What a job has come to: the avatar, what a tracked video or a personalization came to, the error, or None while it is under way."""
    work = works.get(job_id)
    if work is None:
        from ..protocol import Cancelled

        return Cancelled("The job was cancelled")
    return work.finished or work.error


def cancel_all() -> None:
    """Cancel every job and forget what they have built; for file loading and the add-on's end."""
    from ..protocol.messages import Cancel

    for work in works.values():
        if work.remote and work.finished is None and backend.connected:
            for _ in range(1 if work.begun is None else 2):  # once only keeps the best so far of a personalization
                backend.send(Cancel(), job=work.remote)
        if work.begun is not None and work.finished is None:
            work.begun.end()
    works.clear()
    session().jobs.clear()
    face_pictures.drop()
    curve_picture.drop()


def send_ready() -> None:
    """Send the jobs whose photos are read, once the backend is there."""
    for job in [job for job in session().jobs if job.state == "STARTING"]:
        work = works[job.name]
        if work.payload is None or not work.payload.done():
            continue
        error = work.payload.exception()
        if error is not None:
            fail(job, _reading_error(error))
        elif backend.connected:
            _send(job, work, work.payload.result())


def fail_active(error: LookalikeError) -> None:
    """The backend cannot be had: say so in each job that waits for it."""
    for job in session().jobs:
        if is_active(job):
            fail(job, error)


def _begin(job: LOOKALIKE_PG_job) -> None:
    from . import tick

    if job.kind == personalizing.KIND:
        personalizing.check_ready(job)  # before anything is taken back: another job may be at work on the avatar
    old = works.get(job.name)
    if old is not None:
        remove_unfinished(old)
    paths = [Path(photo.path) for photo in job.photos]
    if job.kind == personalizing.KIND:
        payload, begun = personalizing.prepare(job, paths)
        works[job.name] = Work(payload, begun=begun)
    else:
        works[job.name] = Work(in_thread(_packed, paths))
    job.state, job.stage, job.text, job.fraction = "STARTING", "", "", 0.0
    job.error = job.remedy = job.error_code = ""
    job.faces.clear()
    job.faces_photo = -1
    face_pictures.drop(job.name)
    curve_picture.drop(job.name)
    tick.start()
    redraw()


def _packed(paths: Sequence[Path]) -> memoryview:
    """Photos from the disk as the wire carries them; runs in a thread."""
    from ..protocol.arrays import portrait_payload

    return portrait_payload([path.read_bytes() for path in paths])


def _send(job: LOOKALIKE_PG_job, work: Work, photos: memoryview) -> None:
    from ..protocol import LookalikeError
    from ..protocol.messages import Reconstruct

    choices = {key: value for key, value in (("model", job.model), ("rig", job.rig)) if value}
    if job.kind == tracking.KIND:
        request = tracking.request(job)
    elif job.kind == personalizing.KIND:
        request = personalizing.request(job)
    else:
        request = Reconstruct(
            portraits=tuple(photo.name for photo in job.photos),
            faces=tuple(photo.face if photo.face >= 0 else None for photo in job.photos),
            name=job.avatar_name,
            consent=job.consent,
            **choices,
        )
    try:
        work.request, work.payload = backend.send(request, photos), None
    except LookalikeError as error:
        fail(job, error)


def _reading_error(error: BaseException) -> LookalikeError:
    """What to tell of a photo that could not be read; a bug is raised again."""
    from ..protocol import ImageError, LookalikeError

    if isinstance(error, OSError):
        return ImageError(f"{Path(error.filename or 'The photo').name}: cannot be read ({error.strerror})", "choose the photo again")
    if isinstance(error, LookalikeError):
        return error
    raise error
