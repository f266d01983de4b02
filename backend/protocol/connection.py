"""A client's connection to a backend: one thread with a DEALER socket between two queues.

Nothing here blocks the caller and nothing touches bpy: `send` puts a message on its way, `poll` takes what has
arrived, `status` says how the connection stands. The add-on polls from a timer, `backend.server.Client` from a loop.

Whatever was asked gets an answer: where the backend dies, refuses the key or speaks another version, each request
that is still open ends with an `Error` event, so that no progress bar is left hanging.
"""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue

import zmq
from zmq.utils.monitor import recv_monitor_message

from .errors import BackendError, LookalikeError, ProtocolError
from .exchange import map_file, read_proof
from .frames import Frame, Message, decode, encode
from .keys import Endpoint, KeyPair
from .messages import Accepted, Body, Error, Fetch, Goodbye, Hello, Jobs, LodReady, Ping, Pong, Preview, Progress, Result, RigReady, Welcome
from .payload import MAX_PAYLOAD_BYTES

HEARTBEAT_SECONDS = 0.5
SILENCE_SECONDS = 2.0
"""Without a word from the backend for so long, the connection counts as lost; TCP tells of a killed one at once."""
ANSWER_SECONDS = 1.5
"""So long may a first connection, and the answer to `Hello`, take."""
HANDSHAKE_MILLISECONDS = 5000
"""Then the attempt is given up and made anew. Longer than the wait for an answer: who hangs up is told from who is silent."""
GRACE_SECONDS = 10.0
"""So long do open requests wait for a lost backend that may come back."""

logger = logging.getLogger("lookalike.connection")

_Encoded = tuple[Message, list[Frame]]
"""A request and its frames."""

_MONITORED = (
    zmq.EVENT_CONNECTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@dataclass(frozen=True)
class Status:
    """How a connection stands.

    Attributes:
        state: "connecting", "ready", "unreachable" (nobody listens), "refused" (wrong key), "incompatible" (other
            version), "lost" (it was ready and fell silent; tried again by itself), "failed" (a bug of ours), "stopped".
        error: what to tell the user in the states that are none of "connecting", "ready" and "stopped".
        welcome: the backend's introduction, once it was ready.
    """

    state: str
    error: LookalikeError | None = None
    welcome: Welcome | None = None

    @property
    def settled(self) -> bool:
        """It is known whether the backend can be used."""
        return self.state not in ("connecting", "lost")


class Connection:
    """Talks to one backend from its own thread, until `stop`.

    Args:
        endpoint: from `keys.read_connection_file`, `keys.remote_endpoint` or `launch.Launch.poll`.
        keys: of this client; the backend must have authorised the public half.
        software: name and version of the caller, for the backend's log.
    """

    def __init__(self, endpoint: Endpoint, keys: KeyPair, software: str) -> None:
        self.endpoint = endpoint
        self.client_id = uuid.uuid4().hex
        self._keys, self._software = keys, software
        self._status = Status("connecting")
        self._incoming: SimpleQueue[Message] = SimpleQueue()
        self._outgoing: SimpleQueue[_Encoded] = SimpleQueue()
        self._numbers = itertools.count(1)
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._woken.setblocking(False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookalike-connection", daemon=True)

    @property
    def status(self) -> Status:
        return self._status

    def start(self) -> Connection:
        self._thread.start()
        return self

    def stop(self, timeout: float = 2.0) -> None:
        """End the thread and close the socket; jobs at the backend go on. Safe to call twice."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout)

    def send(self, body: Body, payload: memoryview | None = None, job: str = "") -> str:
        """Put a request on its way and return its id, which its events carry.

        Raises:
            ProtocolError: it is too large for the wire.
        """
        message = Message(body, str(next(self._numbers)), job, payload)
        # Encoded here, so that the caller, not the thread, is told of a message that cannot be sent.
        self._outgoing.put((message, encode(message)))
        self._wake()
        return message.request

    def poll(self) -> list[Message]:
        """All events that have arrived, oldest first; never waits."""
        messages = []
        while True:
            try:
                messages.append(self._incoming.get_nowait())
            except Empty:
                return messages

    def receive(self, timeout: float) -> Message | None:
        """The next event, or None after `timeout` seconds; for callers that have a thread to spare."""
        try:
            return self._incoming.get(timeout=timeout)
        except Empty:
            return None

    def _wake(self) -> None:
        try:
            self._waker.send(b"\0")
        except (BlockingIOError, OSError):
            return  # its buffer is full of wake-ups already, or the thread has ended and closed it

    def _run(self) -> None:
        context = zmq.Context()
        line = None
        try:
            line = _Line(context, self)
            line.serve()
        except Exception as error:
            logger.exception("connection thread")
            self._set(Status("failed", BackendError(f"the connection broke down ({error})", "report it with the log, then reconnect")))
        finally:
            if line is not None:
                line.close()
            self._woken.close()
            self._waker.close()
            context.destroy(linger=0)
            if self._status.state != "failed":
                self._set(Status("stopped"))

    def _set(self, status: Status) -> None:
        self._status = status


class _Line:
    """What the thread owns: the socket, its monitor and the requests without an answer."""

    def __init__(self, context: zmq.Context, owner: Connection) -> None:
        self.owner = owner
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 100)
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 2000)
        self.socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MILLISECONDS)
        self.socket.curve_serverkey = owner.endpoint.server_public.encode()
        self.socket.curve_publickey = owner._keys.public.encode()
        self.socket.curve_secretkey = owner._keys.secret.encode()
        self.monitor = self.socket.get_monitor_socket(_MONITORED)
        self.poller = zmq.Poller()
        for source in (self.socket, self.monitor, owner._woken):
            self.poller.register(source, zmq.POLLIN)
        self.waiting: deque[_Encoded] = deque()
        self.open: dict[str, Message] = {}  # request id -> the request, later with its job; until its last event
        self.instance = ""
        self.began = self.heard = self.beaten = time.monotonic()
        self.lost_at: float | None = None
        self.greeted = False
        self.connected_at: float | None = None
        self.socket.connect(owner.endpoint.address)

    def serve(self) -> None:
        last = time.monotonic()
        while not self.owner._stopping.is_set():
            ready = dict(self.poller.poll(100))
            now = time.monotonic()
            if now - last > 1.0:
                self.heard += now - last  # this process was held up (a render, a debugger): the silence is not the backend's
            last = now
            if self.monitor in ready:
                self._watch()
            if self.socket in ready:
                self._receive()
            if self.owner._woken.fileno() in ready or self.owner._woken in ready:
                self.owner._woken.recv(4096)
            self._take_outgoing()
            self._check_time(time.monotonic())
            self._flush()

    def close(self) -> None:
        self.socket.disable_monitor()
        self.socket.close(linger=0)

    def _take_outgoing(self) -> None:
        while not self.owner._outgoing.empty():
            message, frames = self.owner._outgoing.get()
            self.open[message.request] = replace(message, payload=None)
            self.waiting.append((message, frames))
        status = self.owner.status
        if self.waiting and status.error is not None and status.state != "lost":
            self._fail_open(status.error)

    def _flush(self) -> None:
        while self.waiting and self.owner.status.state == "ready" and self._send(*self.waiting[0]):
            self.waiting.popleft()

    def _send(self, message: Message, frames: list[Frame] | None = None) -> bool:
        try:
            self.socket.send_multipart(frames or encode(message), zmq.NOBLOCK, copy=message.payload is None)
        except zmq.Again:
            return False
        return True

    def _watch(self) -> None:
        """Follow the handshake: the only place where a wrong key differs from an absent backend."""
        while self.monitor.poll(0):
            event = recv_monitor_message(self.monitor)["event"]
            address = self.owner.endpoint.address
            if event == zmq.EVENT_CONNECTED:
                self.greeted, self.connected_at = False, time.monotonic()
            elif event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._greet()
            elif event in (
                zmq.EVENT_HANDSHAKE_FAILED_AUTH,
                zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
                zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
            ):
                self._give_up("refused", BackendError(f"the backend at {address} refused this client's key", _KEY_REMEDY))
            elif event == zmq.EVENT_DISCONNECTED:
                self._disconnected()
            elif event == zmq.EVENT_CLOSED and self.owner.status.state in ("connecting", "lost", "refused"):
                self._absent()

    def _greet(self) -> None:
        self.greeted = True
        self.heard = self.beaten = time.monotonic()
        proof = read_proof(self.owner.endpoint.exchange)
        self._send(Message(Hello(self.owner.client_id, self.owner._software, proof), "hello"))

    def _disconnected(self) -> None:
        state, address = self.owner.status.state, self.owner.endpoint.address
        if state == "ready":
            self._lose("the backend closed the connection")
        elif self._hung_up() and state in ("connecting", "unreachable"):
            # A backend that cannot open our first message, locked with another public key than its own, just hangs up.
            self._give_up("refused", BackendError(f"{address} is no backend with the expected key", _KEY_REMEDY))
        self.greeted, self.connected_at = False, None

    def _hung_up(self) -> bool:
        """The other side ended the connection during the handshake, of its own accord and not by being silent."""
        return not self.greeted and self.connected_at is not None and time.monotonic() - self.connected_at < ANSWER_SECONDS

    def _absent(self) -> None:
        address = self.owner.endpoint.address
        if self.lost_at is not None:
            error = BackendError(f"the backend at {address} has stopped", "start it again and retry; nothing saved is lost")
        else:
            error = BackendError(f"no backend is running at {address}", "start it, or correct the address")
        self._give_up("unreachable", error)

    def _lose(self, reason: str) -> None:
        self.lost_at = time.monotonic()
        error = BackendError(f"{reason}; trying again")
        self.owner._set(replace(self.owner.status, state="lost", error=error))

    def _give_up(self, state: str, error: LookalikeError) -> None:
        """No answer will come for now: say so to all who wait. zmq goes on trying to connect."""
        if self.owner.status.state != state:
            logger.warning("%s", error)
        self.owner._set(Status(state, error))
        self._fail_open(error)

    def _fail_open(self, error: LookalikeError) -> None:
        self.waiting.clear()
        for request in self.open.values():
            self.owner._incoming.put(Message(Error.of(error), request.request, request.job))
        self.open.clear()

    def _check_time(self, now: float) -> None:
        status = self.owner.status
        if status.state == "connecting" and now - self.began > ANSWER_SECONDS:
            if self.connected_at is not None:
                address = self.owner.endpoint.address
                self._give_up("unreachable", BackendError(f"the backend at {address} does not answer", "stop it and start it again"))
            else:
                self._absent()
        elif status.state == "ready" and now - self.heard > SILENCE_SECONDS:
            self._lose("the backend does not answer")
        elif status.state == "lost" and self.lost_at is not None and now - self.lost_at > GRACE_SECONDS:
            self._absent()
        if self.greeted and now - self.beaten > HEARTBEAT_SECONDS:
            self.beaten = now
            self._send(Message(Ping()))

    def _receive(self) -> None:
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self.heard = time.monotonic()
            try:
                # The frame's memory is zmq's own; the views of it keep the frame, and nothing is copied.
                message = decode([frame.buffer for frame in frames])
            except ProtocolError as error:
                self._undecodable(error, str(error.data.get("request", "")))
                continue
            try:
                if message.shared:
                    message = replace(message, payload=map_file(self.owner.endpoint.exchange, message.shared))
            except ProtocolError as error:
                self._undecodable(error, message.request)
                continue
            self._dispatch(message)

    def _undecodable(self, error: ProtocolError, request: str) -> None:
        logger.warning("message from the backend: %s", error)
        if error.code == "version":
            self._give_up("incompatible", BackendError(f"the backend is of another version: {error.message}", error.remedy))
        else:
            asked = self.open.pop(request, None)
            self.owner._incoming.put(Message(Error.of(error), request, asked.job if asked else ""))

    def _dispatch(self, message: Message) -> None:
        body = message.body
        if isinstance(body, Welcome):
            self._welcomed(body)
        elif isinstance(body, Error) and body.code == "version":
            self._give_up("incompatible", BackendError(body.message, body.remedy))
        elif isinstance(body, Goodbye):
            self._lose("the backend was stopped")
        elif isinstance(body, Pong):
            if self.owner.status.state == "lost" and self.greeted:
                self._greet()
        else:
            self._note(message)
            self.owner._incoming.put(message)

    def _welcomed(self, welcome: Welcome) -> None:
        restarted = bool(self.instance) and self.instance != welcome.instance
        self.instance, self.lost_at = welcome.instance, None
        self.owner._set(Status("ready", welcome=welcome))
        if restarted:
            unsent = list(self.waiting)
            for message, _ in unsent:
                del self.open[message.request]
            self._fail_open(BackendError("the backend was restarted and has forgotten this job", "retry"))
            self.waiting.extend(unsent)
            self.open = {message.request: replace(message, payload=None) for message, _ in unsent}

    def _note(self, message: Message) -> None:
        """Keep track of which requests are still without a last word."""
        asked = self.open.get(message.request)
        if asked is None:
            return
        body = message.body
        unfinished = isinstance(asked.body, Fetch) and isinstance(body, Jobs) and any(j.state in ("queued", "running") for j in body.jobs)
        if unfinished or isinstance(body, (Accepted, Progress, RigReady, LodReady)):
            self.open[message.request] = replace(asked, job=message.job)
        elif not (isinstance(asked.body, Fetch) and isinstance(body, (Preview, Result))):
            del self.open[message.request]  # a fetch ends with `Jobs`


_KEY_REMEDY = "connect with a key that stands in the backend's authorized_clients, and with the backend's own public key"
