"""The live session: one stream onto one avatar, shown as it comes, recorded where asked. Main thread only; one timer."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy
import numpy as np
from bpy.app.handlers import persistent

from ..avatar import BlenderAvatar, TakeOptions, TakeReport, add_controls, apply_take, set_expressions
from ..avatar.keyframes import bone_angles
from ..motion.live_link_csv import head_turns
from ..motion.take import MotionError, Take, checked
from ..protocol.live_link import SHAPES
from .receiver import Arrival, Receiver

TICK_SECONDS = 1 / 60
MAX_RECORDED = 60 * 60 * 30
"""Half an hour at 60 frames a second."""


@dataclass
class Stream:
    """One stream under way.

    Attributes:
        uid: of the avatar's collection.
        recorded: the frames since Record; None while not recording.
        first_frame: where the recording begins in the scene.
    """

    receiver: Receiver
    uid: int
    recorded: list[Arrival] | None = None
    first_frame: int = 1
    last: Arrival | None = None
    seen: list[float] = field(default_factory=list)


@dataclass
class _Now:
    """The stream under way, and why the last one ended by itself."""

    stream: Stream | None = None
    error: str = ""


_now = _Now()


def running() -> bool:
    """A stream is being listened to."""
    return _now.stream is not None


def recording() -> int | None:
    """How many frames have been recorded; None where nothing is."""
    return None if _now.stream is None or _now.stream.recorded is None else len(_now.stream.recorded)


def status() -> str:
    """How the stream stands, in a few words."""
    if _now.stream is None:
        return _now.error or "Not listening"
    if _now.stream.last is None:
        return _now.stream.receiver.refused or f"Waiting on port {_now.stream.receiver.port}"
    rate = (len(_now.stream.seen) - 1) / max(_now.stream.seen[-1] - _now.stream.seen[0], 1e-3)
    return f"{_now.stream.last.packet.subject or 'Face'}: {rate:.0f} frames a second"


def start(avatar: BlenderAvatar, host: str, port: int) -> int:
    """Listen, and show what comes on the avatar's ARKit layer; a stream before it ends. Returns the port.

    Raises:
        LookalikeError: the port cannot be listened on, or the avatar has no controls and can be given none.
    """
    stop()
    add_controls(avatar.collection)
    _now.stream, _now.error = Stream(Receiver(host, port), avatar.uid), ""
    if stop_before_load not in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.append(stop_before_load)
    if not bpy.app.background:
        bpy.app.timers.register(_tick, first_interval=TICK_SECONDS)
    return _now.stream.receiver.port


def stop() -> None:
    """End the stream; what was being recorded is lost, `finish` keeps it."""
    ended, _now.stream = _now.stream, None
    if ended is not None:
        ended.receiver.close()
    if stop_before_load in bpy.app.handlers.load_pre:
        bpy.app.handlers.load_pre.remove(stop_before_load)


def record() -> None:
    """Keep what comes from now on, from the scene's current frame."""
    if _now.stream is None:
        raise MotionError("There is no live stream", "start listening first")
    _now.stream.recorded, _now.stream.first_frame = [], bpy.context.scene.frame_current


def finish(options: TakeOptions | None = None) -> TakeReport:
    """Key what was recorded into a new action; the stream goes on.

    Raises:
        LookalikeError: nothing is being recorded, or nothing came.
    """
    if _now.stream is None or _now.stream.recorded is None:
        raise MotionError("Nothing is being recorded", "press Record first")
    recorded, _now.stream.recorded = _now.stream.recorded, None
    return apply_take(BlenderAvatar(_now.stream.uid), take_of(recorded), options or TakeOptions(start=float(_now.stream.first_frame)))


def first_frame() -> int:
    """Where the recording begins in the scene."""
    return 1 if _now.stream is None else _now.stream.first_frame


def take_of(recorded: list[Arrival]) -> Take:
    """The recorded frames as a take, by the sender's clock; by arrival where that one does not run.

    Raises:
        MotionError: nothing came.
    """
    if not recorded:
        raise MotionError("No face came while recording", "check that the phone sends to this computer and port")
    clocks = (np.array([a.packet.time for a in recorded]), np.array([a.at for a in recorded]))
    times = next((clock for clock in clocks if _mostly_increasing(clock)), np.arange(len(recorded)) / 60)
    kept = np.concatenate([[True], np.diff(np.maximum.accumulate(times)) > 1e-6])
    frames, times = [a for a, keep in zip(recorded, kept, strict=True) if keep], times[kept]
    weights = np.array([a.packet.weights for a in frames])
    turns = head_turns(*np.array([a.packet.angles for a in frames]).T)
    rate = 60.0 if len(times) < 2 else float(np.clip(1 / np.median(np.diff(times)), 1, 240))
    arkit = {name: weights[:, i] for i, name in enumerate(SHAPES)}
    name = f"Live {recorded[0].packet.subject}".strip()
    return checked(Take("live stream", name, times - times[0], rate, arkit=arkit, pose={"neck": turns}))


def pump() -> bool:
    """Take up what has come: show the last frame, keep all while recording. True where anything came. Budget: 1 ms."""
    if _now.stream is None:
        return False
    try:
        avatar = BlenderAvatar(_now.stream.uid)
        armature = avatar.armature
    except LookupError as gone:
        stop()
        _now.error = f"Stopped: {gone}"
        return True
    arrived = _now.stream.receiver.take()
    if not arrived:
        return False
    if _now.stream.recorded is not None and len(_now.stream.recorded) < MAX_RECORDED:
        _now.stream.recorded += arrived
    _now.stream.last = arrived[-1]
    _now.stream.seen = [*_now.stream.seen, *(a.at for a in arrived)][-120:]
    packet = arrived[-1].packet
    set_expressions(avatar.collection, dict(zip(SHAPES, packet.weights, strict=True)), "arkit")
    turn = head_turns(*np.array([[angle] for angle in packet.angles]))
    neck = armature.pose.bones["neck"]
    neck.rotation_euler = bone_angles(neck.bone, turn.astype(np.float32))[0].tolist()
    return True


@persistent
def stop_before_load(*_arguments: object) -> None:
    """Another file is opened: its avatars are others."""
    stop()


def _mostly_increasing(clock: np.ndarray) -> bool:
    return len(clock) < 2 or bool((np.diff(clock) > 0).mean() > 0.9)


def _tick() -> float | None:
    if _now.stream is None:
        return None
    from ..client.tick import blocked

    if not blocked() and pump():
        for window in bpy.context.window_manager.windows:
            for area in window.screen.areas:
                if area.type == "VIEW_3D":
                    area.tag_redraw()
    return TICK_SECONDS
