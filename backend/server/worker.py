"""The worker process: one job after another, warm from the start, spoken to by `worker_process`.

Run as `python -m backend.server.worker PIPELINE EXCHANGE`, where PIPELINE is the import path of a module or object
with the functions of `backend.server.pipeline`. Standard input carries requests and cancels; its end is the order to
leave. Standard output carries events; whatever a library prints goes to standard error instead.
"""

from __future__ import annotations

import importlib
import logging
import os
import queue
import signal
import sys
import threading
import time
from _thread import interrupt_main
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO

import numpy as np

from backend.protocol.arrays import lod_message, portraits_from_message, rig_message
from backend.protocol.avatar import RigArrays, SplatArrays
from backend.protocol.avatar_file import encode_avatar
from backend.protocol.errors import Cancelled, LookalikeError
from backend.protocol.exchange import map_file
from backend.protocol.frames import Frame, Message, decode, encode
from backend.protocol.messages import Bake, Body, Cancel, Error, Personalize, Preview, Progress, Reconstruct, Render, Result, Track, Welcome
from backend.protocol.payload import pack

OFFERS = (Reconstruct.KIND, Track.KIND, Render.KIND, Personalize.KIND, Bake.KIND)
PROGRESS_SECONDS = 0.05
"""Progress events closer together than this are left out, unless the stage changes."""

NUDGE_SECONDS = 0.05
"""How often a cancelled job is interrupted until it has ended; the server's patience ends it after that."""

logger = logging.getLogger("worker")


class Interrupted(BaseException):
    """A cancel that came between two instructions of a job; like KeyboardInterrupt no mistake of the code that it hits."""


class JobListener:
    """Turns a reconstruction's calls into events."""

    def __init__(self, worker: Worker, job: str) -> None:
        self.stages: dict[str, float] = {}
        self._worker, self._job = worker, job
        self._stage, self._stage_began = "", time.monotonic()
        self._told = 0.0

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        self._worker.obey()
        if self._job in self._worker.content:
            from backend.personalize.ending import Enough

            raise Enough
        now = time.monotonic()
        if stage != self._stage:
            self._close_stage(now)
            self._stage = stage
        elif now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        self._worker.say(Message(Progress(min(max(float(fraction), 0.0), 1.0), stage, text), job=self._job))

    def rig(self, rig: RigArrays) -> None:
        body, payload = rig_message(rig)
        self._worker.say_with(body, payload, self._job, "rig")

    def lod(self, level: int, splats: SplatArrays, shoulders: SplatArrays) -> None:
        body, payload = lod_message(level, splats, shoulders)
        self._worker.say_with(body, payload, self._job, f"lod{level}")

    def curve(self, picture: np.ndarray) -> None:
        """A picture of how the work goes, uint8 [H, W, 3]."""
        self._worker.say_with(Preview("curve"), pack({"image": picture}), self._job, "preview")

    def finish(self) -> dict[str, float]:
        """Seconds of each stage, in order."""
        self._close_stage(time.monotonic())
        return {stage: round(seconds, 4) for stage, seconds in self.stages.items()}

    def _close_stage(self, now: float) -> None:
        if self._stage:
            self.stages[self._stage] = self.stages.get(self._stage, 0.0) + now - self._stage_began
        self._stage_began = now


class Worker:
    """Reads requests in a thread, works on them in the main thread.

    A cancel interrupts the work between any two of its Python instructions, as Ctrl-C does: stages need not ask, and
    one that computes for seconds on end is left within the time of its longest native call.
    """

    def __init__(self, pipeline: Any, exchange: Path, requests: BinaryIO, events: BinaryIO) -> None:
        self.cancelled: set[str] = set()
        self.content: set[str] = set()  # jobs whose best so far the user wants, cancelled once
        self._kept: set[str] = set()  # jobs that keep their best so far when cancelled
        self._pipeline, self._exchange = pipeline, exchange
        self._requests, self._events = requests, events
        self._saying = threading.Lock()
        self._jobs: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._current = ""  # the job that an interrupt may end; "" while there is none, or its result is being said
        self._in_a_line = False

    def run(self) -> None:
        """Warm up, then work until the process is ended by `_read`."""
        signal.signal(signal.SIGINT, self._interrupted)
        threading.Thread(target=self._read, daemon=True).start()
        device, models, rigs = self._pipeline.warm_up()
        self.say(Message(Welcome("worker", "", os.getpid(), OFFERS, tuple(models), tuple(rigs), device, warm=True)))
        while True:
            self._work(self._jobs.get())

    def obey(self) -> None:
        """Raises Interrupted if the job under way was cancelled; once, for what cleans up behind it must not be interrupted."""
        if self._current in self.cancelled:
            self._current = ""
            raise Interrupted

    def say(self, message: Message) -> None:
        line = bytes(encode(message)[0]) + b"\n"
        self._in_a_line = True  # half of one would garble all that follow
        with self._saying:
            self._events.write(line)
            self._events.flush()
        self._in_a_line = False

    def say_with(self, body: Body, payload: Frame, job: str, part: str) -> None:
        """An event whose arrays lie in the exchange folder as `JOB.PART`.

        A part that is said again takes the old one's place whole: who has mapped that still reads it. Where the system does
        not allow it (Windows), the newer one is left out; another will follow.
        """
        name = f"{job}.{part}"
        if (self._exchange / name).exists():
            newer = self._exchange / f"{name}.new"
            newer.write_bytes(payload)
            try:
                os.replace(newer, self._exchange / name)
            except PermissionError:
                newer.unlink()
                return
        else:
            (self._exchange / name).write_bytes(payload)
        self.say(Message(body, job=job, shared=name))

    def _read(self) -> None:
        for line in self._requests:
            message = decode([line.rstrip(b"\n")])
            if isinstance(message.body, Cancel) and message.job in self._kept - self.content:
                self.content.add(message.job)
            elif isinstance(message.body, Cancel):
                self.cancelled.add(message.job)
                self._nudge(message.job)
            else:
                if isinstance(message.body, (Personalize, Bake)):
                    self._kept.add(message.job)
                self._jobs.put(message)
        os._exit(0)  # the server has gone or wants us gone; a job in the middle of native code cannot be asked

    def _nudge(self, job: str) -> None:
        """Interrupt the main thread until it has left the job; more than once, for it may be saying something just then."""
        while self._current == job:
            interrupt_main(signal.SIGINT)
            time.sleep(NUDGE_SECONDS)

    def _interrupted(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._in_a_line:
            self.obey()

    def _work(self, message: Message) -> None:
        job, listener, began = message.job, JobListener(self, message.job), time.monotonic()
        try:
            if message.shared:
                message = Message(message.body, message.request, job, map_file(self._exchange, message.shared))
            self._current = job
            self._do(message, listener, began)
        except Interrupted:
            self.say(Message(Error.of(Cancelled("the job was cancelled")), job=job))
        except LookalikeError as error:
            self.say(Message(Error.of(error), job=job))
        except Exception as error:
            logger.exception("job %s", job)
            self.say(Message(_bug(error), job=job))
        finally:
            self._current = ""
            for jobs in (self.cancelled, self.content, self._kept):
                jobs.discard(job)

    def _do(self, message: Message, listener: JobListener, began: float) -> None:
        body, job = message.body, message.job
        if isinstance(body, Reconstruct):
            avatar = self._pipeline.reconstruct(_files(message, body.portraits), body, listener)
            self._current = ""
            stages = listener.finish()
            result = Result("reconstruct", avatar.name, time.monotonic() - began, stages)
            self.say_with(result, encode_avatar(avatar), job, "result")
        elif isinstance(body, Track):
            tensors, names = self._pipeline.track(_files(message, body.portraits), body, listener)
            self._current = ""
            result = Result("track", body.portraits[0], time.monotonic() - began, listener.finish(), names=names)
            self.say_with(result, pack(tensors), job, "result")
        elif isinstance(body, Personalize):
            avatar_bytes = message.tensors().get("avatar")
            if avatar_bytes is None:
                raise LookalikeError("personalize: no avatar was sent", "send the avatar file's bytes")
            done = self._pipeline.personalize(avatar_bytes.tobytes(), _files(message, body.portraits), body, listener)
            self._current = ""
            listener.curve(done.curve)
            result = Result("personalize", done.avatar.name, time.monotonic() - began, listener.finish(), warnings=done.warnings)
            self.say_with(result, encode_avatar(done.avatar), job, "result")
        elif isinstance(body, Bake):
            avatar_bytes = message.tensors().get("avatar") if message.payload is not None else None
            if avatar_bytes is None:
                raise LookalikeError("bake: no avatar was sent", "send the avatar file's bytes")
            baked = self._pipeline.bake(avatar_bytes.tobytes(), body, listener)
            self._current = ""
            result = Result("bake", baked.name, time.monotonic() - began, listener.finish())
            self.say_with(result, encode_avatar(baked), job, "result")
        elif isinstance(body, Render):
            avatar_bytes = message.tensors().get("avatar") if message.payload is not None else None
            if avatar_bytes is None:
                raise LookalikeError("render: no avatar was sent", "send the avatar file's bytes, or name a finished job")
            image = self._pipeline.render(avatar_bytes.tobytes(), body)
            self._current = ""
            self.say_with(Preview(), pack({"image": image}), job, "preview")
        else:
            raise LookalikeError(f"{message.kind} is not offered by this backend")


def _files(message: Message, names: tuple[str, ...]) -> list[tuple[str, bytes]]:
    return [(name, bytes(data)) for name, data in zip(names, portraits_from_message(message, names), strict=True)]


def _bug(error: Exception) -> Error:
    """What the user is told of an error that is no user's mistake."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Error("memory", f"out of memory ({str(error)[:300]})", "use a smaller photo, close other programs, or use the CPU")
    if isinstance(error, OSError) and error.errno == 28:  # ENOSPC, the same number on every system
        return Error("disk", "no space left for the result", "free some space in the temporary folder")
    return Error("bug", f"{type(error).__name__}: {str(error)[:500]}", "report it with the backend's log")


def main(pipeline_path: str, exchange: str) -> None:
    """Entry of the process."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    # Only events may reach the server: what libraries print to file descriptor 1 goes where descriptor 2 goes.
    events = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    module, _, name = pipeline_path.partition(":")
    pipeline = importlib.import_module(module)
    Worker(getattr(pipeline, name)() if name else pipeline, Path(exchange), requests, events).run()


if __name__ == "__main__":
    main(*sys.argv[1:3])
