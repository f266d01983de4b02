"""The backend as the add-on sees it: found, started if need be, connected, and watched. No bpy; main thread only.

The sockets live in the thread of `protocol.connection.Connection` and the process start in `protocol.launch.Launch`;
here is only the order in which they follow each other. Nothing waits: `update` is called from a timer and moves on by
what has become known since.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .location import find_installation

if TYPE_CHECKING:
    from ..protocol import BackendError, LookalikeError
    from ..protocol.connection import Connection, Status
    from ..protocol.frames import Message
    from ..protocol.keys import Endpoint, KeyPair
    from ..protocol.launch import Launch
    from ..protocol.messages import Body

logger = logging.getLogger("lookalike.client")

_ENDED = {"unreachable", "refused", "incompatible", "failed", "stopped"}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Settings:
    """What the user's preferences say about the backend; see `blender_addon.preferences`."""

    software: str
    remote: bool = False
    folder: str = ""
    log_level: str = "INFO"
    address: str = ""
    server_key: str = ""
    allow_sending: bool = False
    online_access: bool = False


class Backend:
    """One backend, of this computer or another.

    Attributes:
        error: why the backend cannot be used, or None.
    """

    def __init__(self) -> None:
        self.error: LookalikeError | None = None
        self._launch: Launch | None = None
        self._connection: Connection | None = None
        self._settings: Settings | None = None
        self._was_ready = False

    @property
    def running(self) -> bool:
        """It is being started, connected to, or used."""
        return self._launch is not None or self._connection is not None

    @property
    def connected(self) -> bool:
        """It has introduced itself and answers."""
        return self._connection is not None and self._connection.status.state == "ready"

    def summary(self) -> tuple[str, str]:
        """One line for the panel, and its icon."""
        if self._connection is not None:
            return self._connection_summary(self._connection)
        if self._launch is not None:
            return "Starting", "SORTTIME"
        return ("Not available", "ERROR") if self.error else ("Not running", "RADIOBUT_OFF")

    def offers(self, kind: str) -> list[tuple[str, str]]:
        """(name, description) of the "models" or "rigs" that the connected backend has; empty before."""
        welcome = self._connection.status.welcome if self._connection is not None else None
        return [(name, f"{name}, as the backend offers it") for name in getattr(welcome, kind, ())]

    def start(self, settings: Settings) -> None:
        """Connect, starting the backend of this computer first where none runs.

        Raises:
            BackendError: it is not installed, or the settings do not allow or name a remote one.
        """
        if self.running:
            return
        self.error, self._settings, self._was_ready = None, settings, False
        try:
            if settings.remote:
                self._connect(_remote(settings), _client_keys())
            else:
                self._start_local(settings)
        except Exception as error:
            self.error = _told(error)
            raise

    def stop(self, error: LookalikeError | None = None, wait: float = 2.0) -> None:
        """Disconnect, and end the backend where it is ours. Safe to call twice.

        Args:
            error: why, where it was not the user's wish.
            wait: so many seconds at most for the connection's thread to end.
        """
        connection, launch = self._connection, self._launch
        self._connection = self._launch = None
        self.error = error
        if connection is not None:
            connection.stop(wait)
        if launch is not None:
            launch.stop()

    def send(self, body: Body, payload: memoryview | None = None, job: str = "") -> str:
        """Put a request on its way; returns its id, which its events carry.

        Raises:
            BackendError: not connected.
            ProtocolError: larger than the wire carries.
        """
        if self._connection is None:
            from ..protocol import BackendError

            raise BackendError("The backend is not connected", "start it")
        return self._connection.send(body, payload, job)

    def update(self) -> list[Message]:
        """Move on, and return the events that have arrived, oldest first. Budget: 1 ms; never waits."""
        if self._launch is not None:
            self._follow_launch(self._launch)
        if self._connection is None:
            return []
        status = self._connection.status  # before the poll: what a dying connection said last is not lost
        messages = self._connection.poll()
        self._follow_connection(status)
        return messages

    def _start_local(self, settings: Settings) -> None:
        from ..protocol.keys import default_directory, read_connection_file

        endpoint = read_connection_file(default_directory())
        if endpoint is not None:
            self._connect(endpoint, _client_keys())
        else:
            self._launch_local(settings)

    def _launch_local(self, settings: Settings) -> None:
        from ..protocol.launch import Launch

        installation = find_installation(settings.folder)
        command = [str(installation.python), "-m", "backend"]
        self._launch = Launch(command, installation.root, ["--log-level", settings.log_level])

    def _connect(self, endpoint: Endpoint, keys: KeyPair) -> None:
        from ..protocol.connection import Connection

        assert self._settings is not None
        self._connection = Connection(endpoint, keys, self._settings.software).start()

    def _follow_launch(self, launch: Launch) -> None:
        from ..protocol import LookalikeError

        try:
            if self._was_ready and launch.process.poll() is not None:
                raise _died(launch)
            endpoint = launch.poll()
        except LookalikeError as error:
            logger.error("%s", error)
            self.stop(error, wait=0.0)
            return
        if endpoint is not None and self._connection is None:
            self._connect(endpoint, launch.keys)

    def _follow_connection(self, status: Status) -> None:
        if status.state in _ENDED:
            own = self._launch is not None
            found = self._settings is not None and not self._settings.remote and not own
            self.stop(status.error, wait=0.0)
            if found and status.state != "failed" and not self._was_ready:
                self._replace_found(self._settings)
        else:
            self._was_ready = self._was_ready or status.state == "ready"
            self.error = status.error

    def _replace_found(self, settings: Settings) -> None:
        """A backend that somebody left running cannot be used: start one of our own."""
        from ..protocol import LookalikeError

        logger.warning("the running backend cannot be used: %s", self.error)
        try:
            self._launch_local(settings)
            self.error = None
        except LookalikeError as error:
            self.error = error

    def _connection_summary(self, connection: Connection) -> tuple[str, str]:
        status = connection.status
        if status.state == "ready":
            where = connection.endpoint.address.removeprefix("tcp://") if self._settings and self._settings.remote else "this computer"
            device = f", {status.welcome.device}" if status.welcome and status.welcome.device else ""
            return f"Connected ({where}{device})", "CHECKMARK"
        if status.state == "connecting":
            return "Connecting", "SORTTIME"
        return "Connection lost, trying again", "ERROR"


def _client_keys() -> KeyPair:
    from ..protocol.keys import client_keys, default_directory

    return client_keys(default_directory())


def _remote(settings: Settings) -> Endpoint:
    from ..protocol import BackendError
    from ..protocol.keys import remote_endpoint

    endpoint = remote_endpoint(settings.address.strip(), settings.server_key)
    host = endpoint.address.removeprefix("tcp://").rpartition(":")[0]
    if host not in LOOPBACK:
        if not settings.online_access:
            raise BackendError(
                f"The backend at {host} is on another computer, and Blender's online access is off",
                "turn on Allow Online Access in Blender's System preferences",
            )
        if not settings.allow_sending:
            raise BackendError(f"Photos may not be sent to {host} yet", "confirm Send Photos to This Computer in the add-on's preferences")
    return endpoint


def _died(launch: Launch) -> BackendError:
    """A backend of ours that was at work and is gone: its last words are about its jobs, not about its end."""
    from ..protocol import BackendError

    code = launch.process.poll()
    how = f"killed by signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return BackendError(f"The backend stopped unexpectedly ({how})", "retry: it is started again, and nothing saved is lost")


def _told(error: Exception) -> LookalikeError:
    """A LookalikeError as it is; anything else is a bug, told as what it is."""
    from ..protocol import BackendError, LookalikeError

    return error if isinstance(error, LookalikeError) else BackendError(f"The backend cannot be started ({error})")
