"""The server's handle on the worker: a child process that is spoken to in the wire's own envelopes, one a line.

Lines go down its standard input and come up its standard output; arrays lie in the exchange folder; what it and
its libraries say on standard error goes into the log. Nothing is pickled. A dead worker is an event like others.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import zmq

from backend.protocol.errors import ProtocolError
from backend.protocol.frames import MAX_ENVELOPE_BYTES, Message, decode, encode

EVENTS_ADDRESS = "inproc://worker-events"
QUICK_FAILURES = 3
"""After so many deaths in a row before it was warm, the worker is not started again until a job is asked for."""

logger = logging.getLogger(__name__)

_LEVEL = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)")


class WorkerProcess:
    """One worker at a time, started, watched and started again.

    Args:
        context: of the server, for the socket on which the reader thread hands over what the worker says.
        pipeline: import path of the module or object that does the work (see `worker`).
        exchange: folder for payloads.
    """

    def __init__(self, context: zmq.Context, pipeline: str, exchange: Path) -> None:
        self.events = context.socket(zmq.PULL)
        self.events.bind(EVENTS_ADDRESS)
        self.warm = False
        self.failures = 0
        self.last_words: deque[str] = deque(maxlen=30)
        self._context, self._pipeline, self._exchange = context, pipeline, exchange
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        self._restart_at = 0.0
        self._exit_code = 0
        self._killed = False

    @property
    def alive(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def gave_up(self) -> bool:
        """It died so often on its way up that starting it again by itself makes no sense."""
        return self.failures >= QUICK_FAILURES and self._process is None

    def start(self) -> None:
        """Start a worker; it says `Welcome` when it is warm."""
        self._generation += 1
        self.warm = False
        self.last_words.clear()
        command = [sys.executable, "-X", "faulthandler", "-m", "backend.server.worker", self._pipeline, str(self._exchange)]
        # The worker must find the same `backend` wherever the server was started from.
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=os.name == "posix",  # Ctrl-C is for the server, which then ends the worker in order
        )
        for target in (self._read_events, self._read_log):
            threading.Thread(target=target, args=(self._process, self._generation), daemon=True).start()
        logger.info("worker %d started", self._process.pid)

    def send(self, message: Message) -> None:
        """Give the worker a job or a cancel; a worker that just died is told by its own event."""
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(bytes(encode(message)[0]) + b"\n")
            self._process.stdin.flush()
        except OSError:
            logger.info("worker %d is gone", self._process.pid)

    def receive(self) -> list[Message | None]:
        """Everything that the worker has said, oldest first; None stands for its death."""
        said: list[Message | None] = []
        while self.events.poll(0):
            generation, line = self.events.recv_multipart()
            if int(generation) != self._generation:
                continue  # a worker that was replaced
            if not line:
                self._buried()
                said.append(None)
                continue
            try:
                said.append(decode([line]))
            except ProtocolError as error:
                logger.error("worker said %r: %s", line[:200], error)
        return said

    def mark_warm(self) -> None:
        self.warm = True
        self.failures = 0

    def restart_if_due(self) -> None:
        """Start the next worker once the pause after a failure is over."""
        if self._process is None and not self.gave_up and time.monotonic() >= self._restart_at:
            self.start()

    def revive(self) -> None:
        """Try again after `gave_up`: a job was asked for."""
        if self.gave_up:
            self.failures = 0
            self._restart_at = 0.0

    def kill(self) -> None:
        """End it at once; its death is told by `receive`."""
        if self._process is not None:
            logger.warning("killing worker %d", self._process.pid)
            self._killed, self.warm = True, False
            self._process.kill()

    def close(self) -> None:
        """End it for good: closing its standard input asks, a second later a kill does not."""
        if self._process is not None:
            assert self._process.stdin is not None
            try:
                self._process.stdin.close()
            except OSError:
                logger.debug("worker's pipe was closed already")
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5.0)
        self.events.close(0)

    def cause_of_death(self) -> str:
        """In words: the exit code or signal and the last line that it said."""
        words = self.last_words[-1] if self.last_words else "it said nothing"
        if self._exit_code < 0:
            name = signal.Signals(-self._exit_code).name if -self._exit_code in set(signal.Signals) else str(-self._exit_code)
            hint = ", which the system sends when memory is short" if name == "SIGKILL" else ""
            return f"killed by {name}{hint}"
        return f"ended with code {self._exit_code}: {words}"

    def _buried(self) -> None:
        assert self._process is not None
        self._exit_code = self._process.wait()
        self._process = None
        self.failures = 0 if self.warm or self._killed else self.failures + 1
        self._restart_at = time.monotonic() + 0.5 * self.failures
        self.warm = self._killed = False
        logger.error("worker %s", self.cause_of_death())

    def _read_events(self, process: subprocess.Popen[bytes], generation: int) -> None:
        """Thread: hand each line to the server's loop, and an empty one at the end."""
        assert process.stdout is not None
        socket = self._context.socket(zmq.PUSH)
        socket.linger = 0
        socket.connect(EVENTS_ADDRESS)
        try:
            while line := process.stdout.readline(MAX_ENVELOPE_BYTES + 2):
                socket.send_multipart([str(generation).encode(), line])
            socket.send_multipart([str(generation).encode(), b""])
        except zmq.ContextTerminated:
            return  # the server has ended
        finally:
            socket.close(1000)

    def _read_log(self, process: subprocess.Popen[bytes], generation: int) -> None:
        """Thread: what the worker says on standard error, at the level that the line begins with."""
        assert process.stderr is not None
        level = "WARNING"
        for raw in process.stderr:
            line = raw.decode("utf-8", "replace").rstrip()
            if match := _LEVEL.match(line):
                level, line = match[1], match[2]
            if line and generation == self._generation:
                self.last_words.append(line[:300])
                logger.log(logging.getLevelNamesMapping()[level], "worker: %s", line)
