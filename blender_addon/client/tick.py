"""The add-on's only timer: takes what has arrived from the backend, while there is anything to wait for. Main thread only."""

from __future__ import annotations

import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

import bpy

from ..ui.properties import is_active, session
from ..ui.redraw import redraw
from . import backend, events, jobs, personalizing
from .work import works

if TYPE_CHECKING:
    from ..protocol.frames import Message

TICK_SECONDS = 0.1
PREPARING_SECONDS = 0.02
APPLY_SECONDS = 0.02
"""A tick takes up no further event after this long; one event is never split (see `events`)."""

_inbox: deque[Message] = deque()


def pump() -> bool:
    """Take up what the backend has said since the last call; True when the panel should be drawn again.

    Budget: 0.2 ms where nothing has happened, else `APPLY_SECONDS` and one event.
    """
    before = (backend.summary(), backend.error)
    deadline = time.monotonic() + APPLY_SECONDS
    _inbox.extend(backend.update())
    changed = (backend.summary(), backend.error) != before
    jobs.send_ready()
    if personalizing.previews_left():
        personalizing.settle_left()
    while _inbox and not blocked() and (_superseded(_inbox[0]) or events.take_up(_inbox[0])):
        changed = _inbox.popleft().kind != "progress" or changed  # progress draws by itself
        if time.monotonic() > deadline:
            break
    if backend.error is not None and not backend.running and not _inbox:
        jobs.fail_active(backend.error)
    return changed


def _superseded(message: Message) -> bool:
    """A level that has come again since is left out: a slow Blender shows the newest state of a refinement, not all of them."""
    if message.kind != "lod" or any(work.preparing is not None for work in works.values()):
        return False
    later = (other for other in islice(_inbox, 1, None) if other.kind == "lod" and other.request == message.request)
    return any(other.body.level == message.body.level for other in later)


def blocked() -> bool:
    """Whether the file must not be changed now: a render reads it, or the user is dragging something."""
    if bpy.app.is_job_running("RENDER"):
        return True
    windows = bpy.context.window_manager.windows
    return any(operator.bl_idname.startswith("TRANSFORM_OT_") for window in windows for operator in window.modal_operators)


def start() -> None:
    """Start the timer; it ends by itself when nothing is left to wait for. Not in background mode, where timers do not run."""
    if not bpy.app.background and not bpy.app.timers.is_registered(_tick):
        bpy.app.timers.register(_tick, first_interval=TICK_SECONDS, persistent=True)


def stop() -> None:
    """End the timer, for the add-on's end."""
    _inbox.clear()
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)


def _busy() -> bool:
    return backend.running or bool(_inbox) or personalizing.previews_left() or any(is_active(job) for job in session().jobs)


def _tick() -> float | None:
    """Budget: that of `pump`."""
    if pump():
        redraw()
    if not _busy():
        return None
    return PREPARING_SECONDS if any(work.preparing for work in works.values()) else TICK_SECONDS
