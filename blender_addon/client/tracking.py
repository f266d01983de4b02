"""A user's video, tracked by the backend and keyed on an avatar: the job of `lookalike.track_video`. Main thread only.

It is a job like any other: in the panel's list, with progress, cancel and retry. What is to be done with the result is in the
job's properties, so that a retry does the same.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ui.properties import LOOKALIKE_PG_job, session
from . import backend

if TYPE_CHECKING:
    from ..avatar import TakeReport
    from ..motion.take import Take
    from ..protocol.frames import Message
    from ..protocol.messages import Track

KIND = "TRACK"
VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi")
"""As `backend/server/motion.py` knows videos."""
MAX_VIDEO_BYTES = (1 << 30) - (1 << 20)
"""What one message carries, less its table."""
_ARRAYS = ("expression", "pose", "world_to_camera", "tracked", "fps")


def check_video(path: Path) -> None:
    """Raises LookalikeError where a video cannot be sent."""
    from ..protocol import ImageError

    if not path.is_file():
        raise ImageError(f"{path.name}: there is no such file", "choose the video again")
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        raise ImageError(f"{path.name}: not a video that is known here", f"choose one of {', '.join(VIDEO_SUFFIXES)}")
    if path.stat().st_size > MAX_VIDEO_BYTES:
        raise ImageError(f"{path.name}: {path.stat().st_size >> 20} MB are more than can be sent", "cut it into parts")


def request(job: LOOKALIKE_PG_job) -> Track:
    """What is asked of the backend."""
    from ..protocol.messages import Track

    faces = tuple(photo.face if photo.face >= 0 else None for photo in job.photos)
    rig = {"rig": job.rig} if job.rig else {}
    return Track(tuple(photo.name for photo in job.photos), faces, **rig)


def rig_for(rig_id: str) -> str:
    """The rig to track on: the avatar's own where the backend has it, else the backend's default; names are matched afterwards."""
    return rig_id if rig_id in {name for name, _ in backend.offers("rigs")} else ""


def take_of(message: Message, source: str) -> Take:
    """The motion of a `result` event.

    Raises:
        ProtocolError: it is not a motion, or its arrays do not fit each other.
    """
    import numpy as np

    from ..motion.json_takes import tracked_take
    from ..motion.take import JOINTS, MAX_FRAMES, checked
    from ..protocol import ProtocolError

    tensors = message.tensors()
    names, joints = message.body.names, ("root", *JOINTS)
    try:
        values, pose, cameras, tracked, fps = (tensors[name] for name in _ARRAYS)
        count = len(values)
        wanted = [(count, len(names)), (count, len(joints), 3), (count, 4, 4), (count,), (1,)]
        fits = [array.shape for array in (values, pose, cameras, tracked, fps)] == wanted
    except (KeyError, TypeError) as error:
        raise ProtocolError(f"{source}: the backend sent no motion", "update the backend") from error
    if not fits or not 0 < count <= MAX_FRAMES:
        raise ProtocolError(f"{source}: the backend sent a motion whose arrays do not fit each other", "update the backend")
    wide = (values.astype(np.float64), joints, pose.astype(np.float64), cameras.astype(np.float64))
    return checked(tracked_take(source, names, *wide, tracked.astype(bool), float(fps[0]) or 1.0, message.body.warnings))


def key(job: LOOKALIKE_PG_job, take: Take) -> TakeReport:
    """Key a take on the job's avatar, with the video's sound where it has one.

    Raises:
        LookalikeError: the avatar is gone, or nothing of the take fits it.
    """
    import bpy

    from .. import api
    from ..avatar import BlenderAvatar, TakeOptions, apply_take
    from ..protocol import AvatarFileError, LookalikeError

    held: dict[str, Any] = json.loads(job.options)
    avatar = BlenderAvatar(held["avatar"])
    try:
        avatar.collection  # noqa: B018  the look-up is the question
    except LookupError as error:
        raise AvatarFileError("The avatar that the video was for is gone", "select another one and track the video again") from error
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in held["take"].items()}
    report = apply_take(avatar, take, TakeOptions(**options))
    scene = bpy.context.scene
    scene.frame_end = max(scene.frame_end, report.last)
    if held["sound"]:
        with contextlib.suppress(LookalikeError):  # a silent video is no mistake
            api.add_sound(job.photos[0].path, report.first)
    bpy.ops.ed.undo_push(message="Track video")
    return report


def conclude(job: LOOKALIKE_PG_job, report: TakeReport) -> None:
    """Take a finished job out of the panel, or leave what the user should know of it."""
    warnings = [report.summary(), *report.warnings]
    if report.warnings or report.missed:
        job.state, job.error = "WARNED", "\n".join(warnings)
    else:
        session().jobs.remove(session().jobs.find(job.name))
