"""The server: one loop around the ROUTER socket, which answers at once because the work is done elsewhere."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import zmq

from backend import __version__
from backend.protocol.errors import BackendError, LookalikeError, ProtocolError
from backend.protocol.exchange import map_file
from backend.protocol.frames import Message, decode, encode
from backend.protocol.keys import Endpoint, KeyPair
from backend.protocol.messages import (
    Accepted,
    Bake,
    Body,
    Cancel,
    Error,
    Fetch,
    Goodbye,
    Hello,
    Jobs,
    ListJobs,
    Personalize,
    Ping,
    Pong,
    Progress,
    Reconstruct,
    Render,
    Shutdown,
    Track,
    Welcome,
)
from backend.protocol.payload import MAX_PAYLOAD_BYTES

from .authentication import DOMAIN, Doorkeeper
from .exchange_folder import ExchangeFolder
from .job_desk import OFFERS, JobDesk
from .jobs import Job, Owner
from .parent import ParentWatch
from .worker_process import WorkerProcess

TICK_MILLISECONDS = 100
SILENT_CLIENT_SECONDS = 10.0
SEND_QUEUE = 200
"""Messages kept for a client that does not read; past that its events are dropped and it must fetch."""
LISTED_JOBS = 100

logger = logging.getLogger(__name__)


@dataclass
class _Client:
    """A connected client; `route` is the ROUTER's name for its connection."""

    owner: Owner
    route: bytes
    shares: bool
    heard: float = field(default_factory=time.monotonic)

    @property
    def user(self) -> str:
        return self.owner[0]


class Server:
    """The sockets, the queue and the worker. `run` is the loop; nothing in it waits.

    Args:
        keys: the server's own.
        authorized: gives the public keys that may connect.
        address: to bind, `tcp://HOST:PORT`; port 0 takes a free one.
        pipeline: import path of what the worker runs.
        parent_pid: `run` ends when this process is gone.
    Raises:
        BackendError: the address cannot be bound.
    """

    def __init__(
        self,
        keys: KeyPair,
        authorized: Callable[[], frozenset[str]],
        address: str = "tcp://127.0.0.1:0",
        pipeline: str = "backend.server.pipeline",
        parent_pid: int | None = None,
    ) -> None:
        self.instance = uuid.uuid4().hex
        self.clients: dict[Owner, _Client] = {}
        self.stopping = ""
        self.info = Welcome(f"lookalike {__version__}", self.instance, os.getpid(), OFFERS)
        self._context = zmq.Context()
        self._doorkeeper = Doorkeeper(self._context, authorized)
        self._router = self._bind(address, keys)
        self.exchange = ExchangeFolder()
        self.worker = WorkerProcess(self._context, pipeline, self.exchange.path)
        self.desk = JobDesk(self.worker, self.exchange, self._tell_owner)
        self._parent = ParentWatch(parent_pid) if parent_pid else None
        # Clients of this machine read the address; every interface is no place to connect to.
        bound = self._router.getsockopt_string(zmq.LAST_ENDPOINT).replace("//0.0.0.0:", "//127.0.0.1:")
        self.endpoint = Endpoint(bound, keys.public, os.getpid(), __version__, str(self.exchange.path))
        self._poller = zmq.Poller()
        for source in (self._router, self._doorkeeper.socket, self.worker.events):
            self._poller.register(source, zmq.POLLIN)

    def stop(self, reason: str) -> None:
        """End `run` soon; callable from a signal handler or another thread."""
        self.stopping = reason

    def run(self) -> None:
        """Answer until `stop`."""
        logger.info("listening at %s, public key %s", self.endpoint.address, self.endpoint.server_public)
        last = time.monotonic()
        while not self.stopping:
            ready = dict(self._poller.poll(TICK_MILLISECONDS))
            now = time.monotonic()
            if now - last > 1.0:  # we were held up ourselves; the clients' silence in that time means nothing
                for client in self.clients.values():
                    client.heard += now - last
            last = now
            if self._doorkeeper.socket in ready:
                self._doorkeeper.answer()
            if self._router in ready:
                self._receive()
            if self.worker.events in ready:
                self._hear_worker()
            self._tick(now)
        logger.info("stopping: %s", self.stopping)

    def close(self) -> None:
        """Tell the clients, end the worker, remove the exchange folder. Safe after a failed start."""
        for client in list(self.clients.values()):
            self._tell(client, Message(Goodbye(self.stopping or "the backend stops")))
        self.worker.close()
        self._router.close(linger=500)
        self._doorkeeper.close()
        self._context.destroy(linger=500)
        self.exchange.close()

    def _bind(self, address: str, keys: KeyPair) -> zmq.Socket:
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
        router.setsockopt(zmq.SNDHWM, SEND_QUEUE)
        router.setsockopt(zmq.HANDSHAKE_IVL, 3000)
        router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        router.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 10000)
        router.zap_domain = DOMAIN
        router.curve_server = True
        router.curve_publickey = keys.public.encode()
        router.curve_secretkey = keys.secret.encode()
        address = address if "://" in address else f"tcp://{address}"
        try:
            router.bind(address.replace(":0", ":*") if address.endswith(":0") else address)
        except zmq.ZMQError as error:
            self._doorkeeper.close()
            router.close(0)
            self._context.destroy(0)
            raise BackendError(f"cannot listen at {address} ({error.strerror})", "choose another --address") from error
        return router

    # ------------------------------------------------------------ from clients

    def _receive(self) -> None:
        while True:
            try:
                route, *frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            # The key that the handshake proved; it cannot be chosen by the sender.
            user = str(frames[0].get("User-Id")) if frames else ""
            self._handle(route.bytes, user, [frame.buffer for frame in frames])

    def _handle(self, route: bytes, user: str, frames: list[memoryview]) -> None:
        """One message of one client. Whatever is wrong with it becomes an answer; the loop goes on."""
        message = Message(Error("", ""))
        try:
            message = decode(frames)
            self._answer(route, user, message)
        except LookalikeError as error:
            logger.info("request refused: %s", error)
            request = message.request or str(error.data.pop("request", ""))
            self._send(route, Message(Error.of(error), request, message.job))
        except Exception as error:
            logger.exception("request %s", message.kind)
            text = f"{type(error).__name__}: {str(error)[:300]}"
            self._send(route, Message(Error("bug", text, "report it with the backend's log"), message.request, message.job))

    def _answer(self, route: bytes, user: str, message: Message) -> None:
        body = message.body
        if isinstance(body, Hello):
            self._welcome(route, user, message.request, body)
            return
        client = next((c for c in self.clients.values() if c.route == route), None)
        if isinstance(body, Ping):
            self._send(route, Message(Pong()))
            if client is not None:
                client.heard = time.monotonic()
            return
        if client is None:
            raise ProtocolError(f"{message.kind}: this connection has not said hello")
        client.heard = time.monotonic()
        self._do(client, message)

    def _do(self, client: _Client, message: Message) -> None:
        body = message.body
        if isinstance(body, (Reconstruct, Track, Render, Personalize, Bake)):
            job, position = self.desk.accept(client.owner, message)
            self._tell(client, Message(Accepted(position), job.request, job.id))
            self.desk.start_next()
        elif isinstance(body, Cancel):
            job = self.desk.queue.get(message.job, client.user)
            self.desk.cancel(job)
            self._list(client, message, [job])
        elif isinstance(body, ListJobs):
            self._list(client, message, self.desk.queue.of_user(client.user))
        elif isinstance(body, Fetch):
            self._fetch(client, message, body.parts)
        elif isinstance(body, Shutdown):
            self.stop("a client asked for it")
        else:
            raise ProtocolError(f"{message.kind} is not a request")

    def _welcome(self, route: bytes, user: str, request: str, hello: Hello) -> None:
        owner = (user, hello.client)
        client = _Client(owner, route, shares=hello.proof == self.exchange.proof)
        if owner not in self.clients:
            logger.info("client %r (%r), %s", hello.client[:8], hello.software[:60], "same machine" if client.shares else "remote")
        self.clients[owner] = client
        self._tell(client, Message(replace(self.info, warm=self.worker.warm, shares=client.shares), request))

    def _list(self, client: _Client, message: Message, jobs: list[Job]) -> None:
        newest = jobs[-LISTED_JOBS:]
        self._tell(client, Message(Jobs(tuple(job.info() for job in newest)), message.request, message.job))

    def _fetch(self, client: _Client, message: Message, parts: tuple[str, ...]) -> None:
        """Send what there is; a job still at work henceforth tells this client (Blender was restarted, say)."""
        job = self.desk.queue.get(message.job, client.user)
        if not job.finished:
            job.owner, job.request = client.owner, message.request
        for name, part in job.parts.items():
            if not parts or name in parts:
                self._tell(client, self._with_payload(client, Message(part.body, message.request, job.id, shared=part.file)))
        if job.error is not None:
            self._tell(client, Message(job.error, message.request, job.id))
        elif not job.finished:
            self._tell(client, Message(Progress(job.fraction, job.stage, job.text), message.request, job.id))
        self._list(client, message, [job])

    # ------------------------------------------------------------ to clients

    def _tell_owner(self, job: Job, body: Body, file: str = "") -> None:
        client = self.clients.get(job.owner)
        if client is not None:
            self._tell(client, self._with_payload(client, Message(body, job.request, job.id, shared=file)))

    def _with_payload(self, client: _Client, message: Message) -> Message:
        """The exchange file as it is for a client of this machine, as the second frame for another."""
        if not message.shared or client.shares:
            return message
        return replace(message, payload=map_file(self.exchange.path, message.shared), shared="")

    def _tell(self, client: _Client, message: Message) -> None:
        if not self._send(client.route, message):
            self.clients.pop(client.owner, None)

    def _send(self, route: bytes, message: Message) -> bool:
        """False where the client is gone, or reads so slowly that it counts as gone."""
        try:
            self._router.send_multipart([route, *encode(message)], zmq.NOBLOCK, copy=message.payload is None)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            logger.info("a client is gone or does not read: %s not sent", message.kind)
            return False
        return True

    # ------------------------------------------------------------ the worker and time

    def _hear_worker(self) -> None:
        for message in self.worker.receive():
            if message is not None and isinstance(message.body, Welcome):
                self._worker_is_warm(message.body)
            else:
                self.desk.hear(message)
        self.desk.start_next()

    def _worker_is_warm(self, welcome: Welcome) -> None:
        self.worker.mark_warm()
        self.info = replace(self.info, device=welcome.device, models=welcome.models, rigs=welcome.rigs)
        logger.info("worker is warm: %s", welcome.device)
        for client in list(self.clients.values()):
            self._tell(client, Message(replace(self.info, warm=True, shares=client.shares)))

    def _tick(self, now: float) -> None:
        self.desk.tick(now)
        for client in [c for c in self.clients.values() if now - c.heard > SILENT_CLIENT_SECONDS]:
            logger.info("client %r fell silent", client.owner[1][:8])
            del self.clients[client.owner]
        if self._parent is not None and self._parent.gone():
            self.stop("the parent process has ended")
