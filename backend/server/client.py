"""A backend's client for Python programs: the add-on's connection with waiting calls around it.

>>> with Client.connect() as client:
...     done = client.reconstruct(["me.jpg"], on_event=print)
...     Path("me.lookalike").write_bytes(done.payload)
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backend.protocol.arrays import portrait_payload
from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import decode_avatar
from backend.protocol.connection import Connection
from backend.protocol.errors import BackendError, ImageError
from backend.protocol.frames import Message
from backend.protocol.keys import Endpoint, KeyPair, client_keys, default_directory, read_connection_file, remote_endpoint
from backend.protocol.messages import (
    Bake,
    Body,
    Cancel,
    Error,
    Fetch,
    JobInfo,
    Jobs,
    ListJobs,
    Personalize,
    Preview,
    Reconstruct,
    Render,
    Result,
    Shutdown,
    Track,
    Welcome,
)

Photo = str | os.PathLike[str] | tuple[str, bytes]
"""A file's path, or a name and the file's bytes."""


@dataclass(frozen=True)
class Finished:
    """A job that is done.

    Attributes:
        job: its id, for `fetch`.
        body: `Result` or `Preview`; `Jobs` where only other parts were fetched.
        payload: of a reconstruction, the `.lookalike` file's bytes.
        message: the event itself, for its `tensors()`.
    """

    job: str
    body: Body
    payload: memoryview
    message: Message

    def avatar(self) -> Avatar:
        """The reconstruction's result, decoded. Raises AvatarFileError."""
        return decode_avatar(bytes(self.payload), self.job)


class Client:
    """Waits where the add-on polls. For one thread, but `cancel` may be called from any."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._inbox: dict[str, deque[Message]] = {}

    @staticmethod
    def connect(
        address: str | None = None,
        server_public: str | None = None,
        *,
        endpoint: Endpoint | None = None,
        keys: KeyPair | None = None,
        directory: Path | None = None,
        timeout: float = 5.0,
    ) -> Client:
        """Connect to this user's running backend, or to the one given.

        Args:
            address, server_public: of a backend on another machine; its `authorized_clients` must hold our public key.
            endpoint: in place of both, what a launched backend said.
            keys: ours; by default this user's.
            directory: of keys and connection file, by default this user's.
        Raises:
            BackendError: none is running, or it refuses the key, or is of another version.
        """
        directory = directory or default_directory()
        if endpoint is None and address is not None:
            endpoint = remote_endpoint(address, server_public or "")
        endpoint = endpoint or read_connection_file(directory)
        if endpoint is None:
            raise BackendError("no backend is running", "start one with: lookalike serve")
        connection = Connection(endpoint, keys or client_keys(directory), "lookalike Python client").start()
        end = time.monotonic() + timeout
        while not connection.status.settled and time.monotonic() < end:
            time.sleep(0.005)
        status = connection.status
        if status.state != "ready":
            connection.stop()
            raise status.error or BackendError(f"the backend at {endpoint.address} did not answer in {timeout:g} s", "retry")
        return Client(connection)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect; jobs at the backend go on."""
        self.connection.stop()

    @property
    def welcome(self) -> Welcome:
        """The backend's introduction."""
        welcome = self.connection.status.welcome
        assert welcome is not None
        return welcome

    def reconstruct(
        self,
        photos: Sequence[Photo],
        *,
        faces: Sequence[int | None] = (),
        rig: str = "builtin",
        model: str = "projection",
        name: str = "",
        consent: str = "",
        on_event: Callable[[Message], None] | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Portraits of one person -> avatar; `on_event` sees progress, rig and levels as they arrive.

        Raises:
            LookalikeError: of the class that the backend raised.
        """
        names, files = _read(photos)
        body = Reconstruct(names, tuple(faces), rig, model, name, consent)
        return self.wait(self.connection.send(body, portrait_payload(files)), on_event, timeout)

    def personalize(
        self,
        avatar: bytes,
        photos: Sequence[Photo],
        *,
        faces: Sequence[int | None] = (),
        steps: int = 500,
        rig: str = "builtin",
        consent: str = "",
        method: str = "",
        on_event: Callable[[Message], None] | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """An avatar file's bytes adapted to photos, or to one video, of its person; `on_event` sees levels and curve on the way.

        Raises:
            LookalikeError: of the class that the backend raised; code "no_improvement" where the photos do not help.
        """
        names, files = _read(photos)
        body = Personalize(names, tuple(faces), consent, steps, rig, method)
        return self.wait(self.connection.send(body, portrait_payload(files, avatar=avatar)), on_event, timeout)

    def bake(
        self, avatar: bytes, wish: Bake, *, on_event: Callable[[Message], None] | None = None, timeout: float | None = None
    ) -> Finished:  # fmt: skip
        """An avatar file's bytes with its refiner's pictures as native splats; `on_event` sees levels on the way.

        Raises:
            LookalikeError: of the class that the backend raised; code "no_improvement" where no level came nearer.
        """
        return self.wait(self.connection.send(wish, portrait_payload([], avatar=avatar)), on_event, timeout)

    def track(
        self,
        photos: Sequence[Photo],
        *,
        faces: Sequence[int | None] = (),
        rig: str = "builtin",
        on_event: Callable[[Message], None] | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Rig parameters of portraits or of one video (see `messages.Track`)."""
        names, files = _read(photos)
        return self.wait(self.connection.send(Track(names, tuple(faces), rig), portrait_payload(files)), on_event, timeout)

    def render(self, view: Render, avatar: bytes | None = None, job: str = "", timeout: float | None = None) -> Finished:
        """A picture of an avatar file's bytes, or of a finished job; `tensors()["image"]` is uint8 [H, W, 3 or 4]."""
        payload = portrait_payload([], avatar=avatar) if avatar is not None else None
        return self.wait(self.connection.send(view, payload, job), None, timeout)

    def cancel(self, job: str) -> None:
        """Ask for the end of a job; who waits for it gets `Cancelled` within a second."""
        self.connection.send(Cancel(), job=job)

    def jobs(self, timeout: float = 5.0) -> tuple[JobInfo, ...]:
        """What the backend has done and has to do, oldest first."""
        answer = self._answer(self.connection.send(ListJobs()), timeout)
        assert isinstance(answer.body, Jobs)
        return answer.body.jobs

    def fetch(
        self, job: str, parts: Sequence[str] = (), on_event: Callable[[Message], None] | None = None, timeout: float | None = None
    ) -> Finished:
        """The result of a job, also of one that another client, or we before a restart, asked for; waits for its end."""
        return self.wait(self.connection.send(Fetch(tuple(parts)), job=job), on_event, timeout)

    def shutdown(self) -> None:
        """Stop the backend."""
        self.connection.send(Shutdown())
        end = time.monotonic() + 5.0
        while self.connection.status.state == "ready" and time.monotonic() < end:
            time.sleep(0.01)

    def wait(self, request: str, on_event: Callable[[Message], None] | None = None, timeout: float | None = None) -> Finished:
        """Wait for the last event of a request: its result, a rendered picture, or, of a fetch, the word that the job is done.

        Raises:
            LookalikeError: the job's error; BackendError also where `timeout` seconds pass.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            message = self._answer(request, None if end is None else end - time.monotonic())
            if on_event is not None:
                on_event(message)
            body = message.body
            drawn = isinstance(body, Preview) and not body.text  # one with a text is the curve of work that goes on
            if drawn or isinstance(body, Result) or (isinstance(body, Jobs) and body.jobs and body.jobs[0].state == "done"):
                return Finished(message.job, message.body, message.payload or memoryview(b""), message)

    def _answer(self, request: str, timeout: float | None) -> Message:
        """The next event of one request; the others' are kept for later. Raises the event's error."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            box = self._inbox.get(request)
            if box:
                return _checked(box.popleft())
            message = self.connection.receive(0.2)
            if message is not None:
                self._inbox.setdefault(message.request, deque()).append(message)
            elif self.connection.status.state in ("failed", "stopped"):
                raise self.connection.status.error or BackendError("the connection was closed")
            if end is not None and time.monotonic() > end:
                raise BackendError(f"no answer within {timeout:.1f} s", "wait longer, or see the backend's log")


def _checked(message: Message) -> Message:
    if isinstance(message.body, Error):
        raise message.body.exception()
    return message


def _read(photos: Sequence[Photo]) -> tuple[tuple[str, ...], list[bytes]]:
    names, files = [], []
    for photo in photos:
        if isinstance(photo, tuple):
            name, data = photo
        else:
            path = Path(photo)
            try:
                name, data = path.name, path.read_bytes()
            except OSError as error:
                raise ImageError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
        names.append(name)
        files.append(data)
    return tuple(names), files
