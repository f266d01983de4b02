"""Jobs: what was asked, how far it is, what it produced, and how long that is kept."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, field

from backend.protocol.errors import BackendError
from backend.protocol.messages import Body, Error, JobInfo, Render

MAX_QUEUED = 64
MAX_FINISHED = 64
MAX_PICTURES = 8
"""Of the finished jobs; pictures are cheap to make again and must not push out avatars."""
MAX_JOB_SECONDS = 3600.0

Owner = tuple[str, str]
"""A client: its public key and the random id that it says in `Hello`."""


@dataclass(frozen=True)
class Part:
    """One thing that a job has produced: the event's body, the exchange file with its arrays, and that file's size."""

    body: Body
    file: str
    size: int


@dataclass(eq=False)
class Job:
    """One unit of work.

    Attributes:
        owner, request: who is told, under which request id.
        body: the request.
        spool, spooled: exchange file that holds the request's arrays, or "", and its size.
        parts: by "rig", "lod0", ..., "result", in order of arrival.
        cancel_by: when the worker must have answered a cancel (monotonic seconds), or None. dropped: nothing of it is wanted any more.
    """

    owner: Owner
    request: str
    body: Body
    name: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    spool: str = ""
    spooled: int = 0
    state: str = "queued"
    fraction: float = 0.0
    stage: str = "queued"
    text: str = ""
    created: float = field(default_factory=time.time)
    started: float | None = None
    cancel_by: float | None = None
    dropped: bool = False
    error: Error | None = None
    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def size(self) -> int:
        """Bytes of what it has produced."""
        return sum(part.size for part in self.parts.values())

    def info(self) -> JobInfo:
        error = str(self.error)[:200] if self.error else ""
        return JobInfo(self.id, self.body.KIND, self.name[:80], self.state, self.fraction, self.stage, self.created, error)


class JobQueue:
    """First come, first served; one job runs at a time; finished ones are kept within bounds."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> int:
        """Queue a job and return how many come before it. Raises BackendError where the queue is full."""
        waiting = len(self.queued())
        if waiting >= MAX_QUEUED:
            raise BackendError(f"{waiting} jobs are waiting already", "retry when some are done")
        self._jobs[job.id] = job
        return waiting + (self.running() is not None)

    def remove(self, job: Job) -> None:
        del self._jobs[job.id]

    def get(self, job_id: str, user: str) -> Job:
        """A user's job. Raises BackendError where it is unknown or forgotten, or another's, which is not told apart."""
        if job_id not in self._jobs or self._jobs[job_id].owner[0] != user:
            raise BackendError(f"there is no job {job_id[:20]!r}", "it was never accepted, or is long done and forgotten; run it again")
        return self._jobs[job_id]

    def of_user(self, user: str) -> list[Job]:
        """All jobs of one user, that is of one key, oldest first."""
        return [job for job in self._jobs.values() if job.owner[0] == user]

    def queued(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.state == "queued"]

    def running(self) -> Job | None:
        return next((job for job in self._jobs.values() if job.state == "running"), None)

    def surplus(self, budget: int) -> list[Job]:
        """Remove and return the oldest finished jobs that exceed the counts, or the bytes that results may take."""
        finished = [job for job in self._jobs.values() if job.finished]
        pictures = [job for job in finished if isinstance(job.body, Render)]
        removed = pictures[: max(0, len(pictures) - MAX_PICTURES)]
        kept = [job for job in finished if job not in removed]
        total = sum(job.size for job in kept)
        # The newest stays even where it alone exceeds the budget: its client has yet to read it.
        while len(kept) > 1 and (len(kept) > MAX_FINISHED or total > budget):
            oldest = kept.pop(0)
            total -= oldest.size
            removed.append(oldest)
        for job in removed:
            del self._jobs[job.id]
        return removed
