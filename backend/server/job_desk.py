"""Where jobs are accepted, handed to the worker, cancelled and finished; knows neither sockets nor clients."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from backend.protocol.arrays import portrait_payload, portraits_from_message
from backend.protocol.errors import BackendError, LookalikeError, ProtocolError
from backend.protocol.exchange import map_file
from backend.protocol.frames import Message
from backend.protocol.messages import (
    Bake,
    Body,
    Cancel,
    Error,
    LodReady,
    Personalize,
    Preview,
    Progress,
    Reconstruct,
    Render,
    Result,
    RigReady,
    Track,
)

from .exchange_folder import ExchangeFolder
from .jobs import MAX_JOB_SECONDS, Job, JobQueue, Owner, Part
from .worker_process import WorkerProcess

CANCEL_SECONDS = 0.7
"""So long may the worker take to obey a cancel; then it is killed, which is still within the promised second."""

KEEP_SECONDS = 60.0
"""So long may it take to hand over the best so far of a personalization that was cancelled once: the other levels take over what was
learned, without steps of their own, and see where each of up to 24 pictures shows them. Who will not wait cancels again."""

OFFERS = (Reconstruct.KIND, Track.KIND, Render.KIND, Personalize.KIND, Bake.KIND)

logger = logging.getLogger(__name__)

_CANCELLED = Error("cancelled", "the job was cancelled")
_NO_SPACE = "free some space in the temporary folder"


class JobDesk:
    """The queue and the worker.

    Args:
        tell: passes an event of a job, and the exchange file that goes with it or "", to who asked for the job.
    """

    def __init__(self, worker: WorkerProcess, exchange: ExchangeFolder, tell: Callable[[Job, Body, str], None]) -> None:
        self.queue = JobQueue()
        self._worker, self._exchange, self._tell = worker, exchange, tell

    def accept(self, owner: Owner, message: Message) -> tuple[Job, int]:
        """Queue a request, its arrays spooled for the worker; also how many jobs come before it.

        Raises:
            ProtocolError: portraits are missing.
            BackendError: the queue or the disk is full, or a render names no avatar.
        """
        body = message.body
        if isinstance(body, (Reconstruct, Track, Personalize)):
            portraits_from_message(message, body.portraits)
            if body.faces and len(body.faces) != len(body.portraits):
                raise ProtocolError(f"{message.kind}: {len(body.faces)} face choices for {len(body.portraits)} portraits")
        payload = message.payload
        if isinstance(body, Render) and payload is None:
            payload = self._result_as_avatar(message.job, owner[0])
        job = Job(owner, message.request, body, _job_name(body))
        position = self.queue.add(job)
        try:
            self._spool(job, payload)
        except BaseException:
            self.queue.remove(job)
            raise
        logger.info("job %s: %s %r", job.id, message.kind, job.name)
        self._worker.revive()
        return job, position

    def cancel(self, job: Job) -> None:
        """End a queued job now, a running one within a second; a finished one stays as it is.

        A personalization is asked for its best so far first, and dropped by a second cancel.
        """
        if job.state == "queued":
            self._end(job, _CANCELLED)
        elif job.state == "running" and not (job.cancel_by is not None and job.dropped):
            job.dropped = job.cancel_by is not None or not isinstance(job.body, (Personalize, Bake))
            job.cancel_by = time.monotonic() + (CANCEL_SECONDS if job.dropped else KEEP_SECONDS)
            self._worker.send(Message(Cancel(), job=job.id))

    def start_next(self) -> None:
        """Hand the oldest queued job to the worker if that is warm and idle."""
        queued = self.queue.queued()
        if not queued or not self._worker.warm or self.queue.running() is not None:
            return
        job = queued[0]
        job.state, job.started = "running", time.monotonic()
        self._worker.send(Message(job.body, job=job.id, shared=job.spool))
        for position, waiting in enumerate(queued[1:], 1):
            self._progress(waiting, Progress(0.0, "queued", f"{position} job{'s' * (position > 1)} before this one"))

    def hear(self, message: Message | None) -> None:
        """What the worker said of its job; None: it died. A fault in passing it on ends the job, not the server."""
        job = self.queue.running()
        try:
            if message is None:
                self._worker_died(job)
            elif job is not None and job.id == message.job:
                self._event(job, message)
            elif message.shared:
                self._exchange.remove(message.shared)  # of a job that was ended before
        except (LookalikeError, OSError) as error:
            logger.exception("event of job %s", job.id if job else "")
            if job is not None and not job.finished:
                self._end(job, Error("disk", f"a result was lost ({error})", _NO_SPACE))

    def tick(self, now: float) -> None:
        """What is due by time: a cancel that was not obeyed, a job without end, the next worker."""
        self._worker.restart_if_due()
        job = self.queue.running()
        if job is not None and job.cancel_by is not None and now > job.cancel_by:
            self._end(job, _CANCELLED)
            self._worker.kill()
        elif job is not None and job.started is not None and now - job.started > MAX_JOB_SECONDS:
            self._end(job, Error("timeout", f"the job took longer than {MAX_JOB_SECONDS:.0f} s", "use fewer or smaller portraits"))
            self._worker.kill()
        if self._worker.gave_up:
            remedy = "see the backend's log; run build.py setup"
            for waiting in self.queue.queued():
                self._end(waiting, Error("worker", f"the worker cannot start: {self._worker.cause_of_death()}", remedy))

    def _spool(self, job: Job, payload: memoryview | None) -> None:
        if payload is None:
            return
        waiting = sum(other.spooled for other in self.queue.queued())
        if waiting + payload.nbytes > self._exchange.budget:
            raise BackendError(f"{(waiting + payload.nbytes) >> 20} MiB of photos would be waiting", "retry when some jobs are done")
        job.spool = f"{job.id}.request"
        try:
            job.spooled = self._exchange.write(job.spool, payload)
        except OSError as error:
            self._exchange.remove(job.spool)
            raise BackendError(f"no space for the request ({error.strerror})", _NO_SPACE) from error

    def _result_as_avatar(self, job_id: str, user: str) -> memoryview:
        """The payload of a `Render` that names a finished job in place of an avatar."""
        job = self.queue.get(job_id, user)
        if "result" not in job.parts or not isinstance(job.body, (Reconstruct, Personalize, Bake)):
            raise BackendError(f"job {job.id} has no avatar to render", "wait until it is done, or send the avatar")
        return portrait_payload([], avatar=bytes(map_file(self._exchange.path, job.parts["result"].file)))

    def _event(self, job: Job, message: Message) -> None:
        body = message.body
        if isinstance(body, Progress):
            self._progress(job, body)
        elif isinstance(body, Error):
            self._end(job, body)
        else:
            job.parts[_part_name(body)] = Part(body, message.shared, self._exchange.size(message.shared))
            if isinstance(body, Result) or (isinstance(body, Preview) and isinstance(job.body, Render)):
                self._end(job, None)
            self._tell(job, body, message.shared)

    def _progress(self, job: Job, progress: Progress) -> None:
        job.fraction, job.stage, job.text = progress.fraction, progress.stage, progress.text
        self._tell(job, progress, "")

    def _worker_died(self, job: Job | None) -> None:
        if job is None:
            return
        if job.cancel_by is not None:
            self._end(job, _CANCELLED)
        else:
            said = f"the worker process died while at work ({self._worker.cause_of_death()})"
            self._end(job, Error("worker", said, "retry; if it dies again, see the backend's log"))

    def _end(self, job: Job, error: Error | None) -> None:
        """The job's last state; what nobody needs any more is removed."""
        job.error = error
        job.state = "done" if error is None else "cancelled" if error.code == "cancelled" else "failed"
        if job.state == "failed":
            logger.warning("job %s failed: %s", job.id, error)
        if job.spool:
            self._exchange.remove(job.spool)
        if error is None:
            job.fraction = 1.0
        else:
            self._tell(job, error, "")
        for old in self.queue.surplus(self._exchange.budget):
            for part in old.parts.values():
                self._exchange.remove(part.file)


def _job_name(body: Body) -> str:
    if isinstance(body, Reconstruct):
        return body.name or Path(body.portraits[0] if body.portraits else "").stem
    return body.portraits[0] if isinstance(body, (Track, Personalize)) and body.portraits else ""


def _part_name(body: Body) -> str:
    if isinstance(body, LodReady):
        return f"lod{body.level}"
    return {RigReady: "rig", Result: "result", Preview: "preview"}[type(body)]
