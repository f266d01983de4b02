"""Running the server as a process: its keys, its connection file, its signals."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.protocol.errors import BackendError
from backend.protocol.keys import (
    Endpoint,
    KeyPair,
    authorized_clients,
    client_keys,
    default_directory,
    is_key,
    read_connection_file,
    remove_connection_file,
    server_keys,
    write_connection_file,
)
from backend.protocol.launch import endpoint_line

from .server import Server


@dataclass(frozen=True)
class ServerOptions:
    """What `serve` needs to know.

    Attributes:
        address: to bind, `tcp://HOST:PORT`; port 0 takes a free one.
        directory: keys and connection file; None for this user's own.
        pipeline: import path of what the worker runs.
        handover: read the client's public key from standard input and print the endpoint there; nothing is
            written to `directory`, and that client alone is admitted.
        parent_pid: end when this process is gone.
    """

    address: str = "tcp://127.0.0.1:0"
    directory: Path | None = None
    pipeline: str = "backend.server.pipeline"
    handover: bool = False
    parent_pid: int | None = None


def serve(options: ServerOptions | None = None, on_ready: Callable[[Endpoint], None] | None = None) -> None:
    """Serve until SIGINT, SIGTERM, a client's `Shutdown`, or the end of the parent.

    Args:
        on_ready: told where the server listens.
    Raises:
        BackendError: the address cannot be bound, or a backend of this user is running already.
    """
    options = options or ServerOptions()
    directory = options.directory or default_directory()
    if options.handover:
        client = _handed_over()
        server = _server(options, KeyPair.generate(), lambda: frozenset({client}))
    else:
        running = read_connection_file(directory)
        if running is not None:
            raise BackendError(f"a backend is running already at {running.address} (process {running.pid})", "use it, or stop it first")
        client_keys(directory)  # made and authorised, so that this user's clients find them
        server = _server(options, server_keys(directory), lambda: authorized_clients(directory))
    try:
        with _Signals(server):
            endpoint = server.endpoint
            if options.handover:
                print(endpoint_line(endpoint), flush=True)
            else:
                write_connection_file(directory, endpoint)
            if on_ready is not None:
                on_ready(endpoint)
            server.run()
    finally:
        server.close()
        if not options.handover:
            remove_connection_file(directory, os.getpid())


def _server(options: ServerOptions, keys: KeyPair, authorized: Callable[[], frozenset[str]]) -> Server:
    return Server(keys, authorized, options.address, options.pipeline, options.parent_pid)


def _handed_over() -> str:
    """The client's public key from the line that `launch.Launch` writes."""
    try:
        client = json.loads(sys.stdin.readline(4096))["client_public"]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError("no key was handed over on standard input", "leave out --handover; it is for the add-on") from error
    if not isinstance(client, str) or not is_key(client):
        raise BackendError("what was handed over on standard input is not a key")
    return client


class _Signals:
    """SIGINT and SIGTERM stop the server in order; what was set before is put back."""

    def __init__(self, server: Server) -> None:
        self._server = server
        names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
        there = [getattr(signal, name) for name in names if hasattr(signal, name)]
        self._signals = [number for number in there if signal.getsignal(number) != signal.SIG_IGN]  # nohup stays in force
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        try:
            self._before = {number: signal.signal(number, self._stop) for number in self._signals}
        except ValueError:  # not the main thread: who runs the server in a thread stops it by `Server.stop`
            self._before = {}

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        self._server.stop(f"the backend was stopped ({signal.Signals(number).name})")
