"""What can be said on the wire: one typed body for every request and event (how they travel: `frames`).

Requests go from client to backend, events back. Arrays travel beside the body, in the message's payload.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from .errors import LookalikeError, error_class

PROTOCOL_VERSION = 1
MAX_PORTRAITS = 64
MAX_TEXT = 8192
MAX_DATA = 16384

BODIES: dict[str, type[Body]] = {}
"""Kind on the wire -> its body's class."""


@dataclass(frozen=True)
class Body:
    """What one kind of message says; `KIND` is its name on the wire."""

    KIND: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        BODIES[cls.KIND] = cls


# ---------------------------------------------------------------- requests


@dataclass(frozen=True)
class Hello(Body):
    """First message of a connection, sent again after each reconnect; answered by `Welcome`.

    Attributes:
        client: the same random id for the life of the client, so that its jobs find it again after a reconnect.
        software: name and version, for the backend's log.
        proof: what the client read in the exchange folder's `probe` file, or "": equal means one machine, one user.
    """

    KIND: ClassVar[str] = "hello"
    client: str
    software: str
    proof: str = ""


@dataclass(frozen=True)
class Reconstruct(Body):
    """Portraits of one person -> avatar. Payload: `portrait0`, `portrait1`, ... uint8 [n], the files' bytes.

    Attributes:
        portraits: file names, for messages and provenance.
        faces: which face of each portrait; None where there is but one. Empty: None for all.
        rig: name as in `Welcome.rigs`.
        model: name as in `Welcome.models`.
        name: the avatar's name; "" takes the first portrait's.
        consent: the consent statement that goes into the provenance.
    """

    KIND: ClassVar[str] = "reconstruct"
    portraits: tuple[str, ...]
    faces: tuple[int | None, ...] = ()
    rig: str = "builtin"
    model: str = "projection"
    name: str = ""
    consent: str = ""


@dataclass(frozen=True)
class Personalize(Body):
    """Adapt an avatar to photos of its person, or to one video. Payload: `avatar` uint8 [n] (a .lookalike) and `portrait0`, ...
    as in `Reconstruct`.

    Beside `Progress` come `LodReady` as a level improves and `Preview` with the curve of the work; the `Result`'s payload is the
    avatar's file with one more adapter. A first `Cancel` of the running job keeps the best so far and still ends it with a
    `Result`, or with "cancelled" where nothing was better yet; a second one ends it at once.

    Attributes:
        steps: of the level that is refined in full.
        rig: the parametric head that the avatar stands on, as in `Reconstruct`.
        method: as in `backend.personalize.job.METHODS`; "" takes what fits the model that made the avatar.
    """

    KIND: ClassVar[str] = "personalize"
    portraits: tuple[str, ...]
    faces: tuple[int | None, ...] = ()
    consent: str = ""
    steps: int = 500
    rig: str = "builtin"
    method: str = ""


@dataclass(frozen=True)
class Bake(Body):
    """Turn what the avatar's refiner draws into native splats. Payload: `avatar` uint8 [n] (a .lookalike with the refiner's features).

    Beside `Progress` come `LodReady` as levels are done; the `Result`'s payload is the baked avatar's file. Cancelled as `Personalize`:
    the first `Cancel` keeps the best so far.

    Attributes:
        levels: to bake; () for all.
        frames: refined pictures, a quarter of them held out. steps: of each level. patterns: of colour that follows the face.
        size: most pixels a side of the pictures. seed: of the plan of views and faces.
    """

    KIND: ClassVar[str] = "bake"
    levels: tuple[int, ...] = ()
    frames: int = 96
    steps: int = 300
    patterns: int = 6
    size: int = 512
    seed: int = 0


@dataclass(frozen=True)
class Track(Body):
    """Rig parameters of each portrait or video frame. Payload as in `Reconstruct`; the `Result`'s payload holds
    `expression` [frames, E], `pose` [frames, J, 3], `world_to_camera` [frames, 4, 4], `intrinsics` [frames, 3, 3],
    `tracked` uint8 [frames] (0: no face seen, interpolated), `size` int32 [2] (width, height), `fps` [1] (0 for photos)."""

    KIND: ClassVar[str] = "track"
    portraits: tuple[str, ...]
    faces: tuple[int | None, ...] = ()
    rig: str = "builtin"


@dataclass(frozen=True)
class Render(Body):
    """Picture of an avatar, answered by `Preview`. Payload: `avatar` uint8 [n]; or none, and the envelope's job.

    Attributes:
        yaw, pitch: of the camera around the head, radians.
        size: the picture's height and width, pixels.
        jaw: rotation of the jaw joint about x, radians.
    """

    KIND: ClassVar[str] = "render"
    yaw: float = 0.0
    pitch: float = 0.0
    size: int = 512
    lod: int = 1
    expression: dict[str, float] = field(default_factory=dict)
    jaw: float = 0.0
    background: tuple[float, ...] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Cancel(Body):
    """Stop the envelope's job; it ends with an `Error` of code "cancelled" within a second."""

    KIND: ClassVar[str] = "cancel"


@dataclass(frozen=True)
class ListJobs(Body):
    """Answered by `Jobs`."""

    KIND: ClassVar[str] = "list"


@dataclass(frozen=True)
class Fetch(Body):
    """Send again what the envelope's job has produced: any of "rig", "lod0", "lod1", "lod2", "preview", "result"; empty for all.

    Each part that exists comes as its own event; a job that failed sends its `Error`, one still at work its `Progress`.
    """

    KIND: ClassVar[str] = "fetch"
    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shutdown(Body):
    """Stop the backend; every client is told by `Goodbye`."""

    KIND: ClassVar[str] = "shutdown"


@dataclass(frozen=True)
class Ping(Body):
    """Heartbeat of the client, answered at once by `Pong`."""

    KIND: ClassVar[str] = "ping"


# ---------------------------------------------------------------- events


@dataclass(frozen=True)
class Welcome(Body):
    """Answer to `Hello`.

    Attributes:
        instance: random id of this run of the backend; another one after a reconnect means that all jobs are gone.
        device: what it computes on, in words; "" until the worker is warm.
        offers: kinds of requests that this backend can do.
        shares: the exchange folder is in use for this client.
    """

    KIND: ClassVar[str] = "welcome"
    software: str
    instance: str
    pid: int
    offers: tuple[str, ...]
    models: tuple[str, ...] = ()
    rigs: tuple[str, ...] = ()
    device: str = ""
    warm: bool = False
    shares: bool = False


@dataclass(frozen=True)
class Accepted(Body):
    """The request became the envelope's job; `position` jobs come before it."""

    KIND: ClassVar[str] = "accepted"
    position: int = 0


@dataclass(frozen=True)
class Progress(Body):
    """`fraction` 0..1 of the whole job; `stage` is a word ("queued", "track", "fit", ...), `text` a sentence or ""."""

    KIND: ClassVar[str] = "progress"
    fraction: float
    stage: str
    text: str = ""


@dataclass(frozen=True)
class RigReady(Body):
    """The identity's rig. Payload: the arrays of `RigArrays` (see `rig_from_message`)."""

    KIND: ClassVar[str] = "rig"
    rig_id: str
    joint_names: tuple[str, ...]
    expression_names: tuple[str, ...]


@dataclass(frozen=True)
class LodReady(Body):
    """One level of detail. Payload: the arrays of the head's and the shoulders' splats (see `splats_from_message`)."""

    KIND: ClassVar[str] = "lod"
    level: int


@dataclass(frozen=True)
class Preview(Body):
    """A picture. Payload: `image` uint8 [H, W, 3 or 4], display-referred sRGB."""

    KIND: ClassVar[str] = "preview"
    text: str = ""


@dataclass(frozen=True)
class Result(Body):
    """The job is done. Payload of a reconstruction: the `.lookalike` file's bytes; of a track: see `Track`.

    Attributes:
        of: kind of the request.
        seconds: from start of work to end, waiting in the queue not counted.
        stages: seconds of each stage in order.
        names: expression names of a track's columns.
    """

    KIND: ClassVar[str] = "result"
    of: str
    name: str = ""
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobInfo:
    """One row of `Jobs`. `state`: queued, running, done, failed or cancelled; `created`: Unix time, seconds."""

    job: str
    of: str
    name: str
    state: str
    fraction: float = 0.0
    stage: str = ""
    created: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Jobs(Body):
    """Answer to `ListJobs`, oldest first."""

    KIND: ClassVar[str] = "jobs"
    jobs: tuple[JobInfo, ...] = ()


@dataclass(frozen=True)
class Pong(Body):
    """Heartbeat of the backend."""

    KIND: ClassVar[str] = "pong"


@dataclass(frozen=True)
class Goodbye(Body):
    """The backend stops now, of its own will."""

    KIND: ClassVar[str] = "goodbye"
    text: str = ""


@dataclass(frozen=True)
class Error(Body):
    """The request or job failed: `LookalikeError` on the wire. Code "bug" is anything else; its traceback is in the backend's log."""

    KIND: ClassVar[str] = "error"
    code: str
    message: str
    remedy: str = ""
    data: dict[str, object] = field(default_factory=dict)

    @staticmethod
    def of(error: LookalikeError) -> Error:
        """An error of ours as an event; data too large for an envelope stay behind."""
        data = error.data if len(repr(error.data)) < MAX_DATA else {}
        return Error(error.code, error.message[:MAX_TEXT], error.remedy[:MAX_TEXT], data)

    def exception(self) -> LookalikeError:
        """The error of the code's class, ready to be raised."""
        error = error_class(self.code)(self.message, self.remedy, self.data)
        error.code = self.code
        return error

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}" if self.remedy else self.message
