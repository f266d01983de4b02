"""The client's end: whatever a backend sends, the connection's thread lives, and Blender gets a named fault or nothing."""

from __future__ import annotations

import itertools
import json
import socket
import threading
import time

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.protocol.arrays import lod_message, splats_from_message
from backend.protocol.connection import Connection
from backend.protocol.errors import ProtocolError
from backend.protocol.frames import Message, decode, encode
from backend.protocol.keys import Endpoint, KeyPair
from backend.protocol.messages import Error, ListJobs, Ping, Pong, Welcome
from tests.synthetic import synthetic_avatar


class HostileBackend:
    """Has the right key and the right words of welcome; then sends what it is told to."""

    def __init__(self) -> None:
        self.keys, self._context = KeyPair.generate(), zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        self._router.curve_server = True
        self._router.curve_publickey, self._router.curve_secretkey = self.keys.public.encode(), self.keys.secret.encode()
        port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = Endpoint(f"tcp://127.0.0.1:{port}", self.keys.public, exchange="")
        self.requests: list[Message] = []
        self.to_send: list[list[bytes]] = []
        self.mute = False
        self._route = b""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._ended.is_set():
            if self._router.poll(2):
                self._route, *frames = self._router.recv_multipart()
                message = decode(frames)
                if self.mute:
                    continue
                if message.kind == "hello":
                    self._send(encode(Message(Welcome("hostile", "1", 1, ("reconstruct",)), message.request)))
                elif isinstance(message.body, Ping):
                    self._send(encode(Message(Pong())))
                else:
                    self.requests.append(message)
            while self.to_send:
                self._send(self.to_send.pop(0))

    def _send(self, frames) -> None:
        self._router.send_multipart([self._route, *frames])

    def close(self) -> None:
        self._ended.set()
        self._thread.join()
        self._context.destroy(0)


@pytest.fixture(scope="module")
def hostile():
    backend = HostileBackend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def connection(hostile):
    made = Connection(hostile.endpoint, KeyPair.generate(), "test").start()
    wait_for(lambda: made.status.state == "ready")
    yield made
    made.stop()


def wait_for(condition, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


_MARKS = itertools.count()


def sent_and_received(hostile: HostileBackend, connection: Connection, frames: list[bytes]) -> list[Message]:
    """What the client makes of one message, found between it and a mark sent behind it."""
    mark = f"mark{next(_MARKS)}"
    hostile.to_send += [frames, encode(Message(Error("mark", "m"), mark))]
    received = []
    while True:
        message = connection.receive(5.0)
        assert message is not None
        if message.request == mark:
            return received
        received.append(message)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=120), min_size=1, max_size=3))
def test_noise_becomes_a_named_fault(hostile, connection, frames):
    (message,) = sent_and_received(hostile, connection, frames)
    assert isinstance(message.body, Error)
    assert message.body.code == "protocol"
    assert connection.status.state == "ready"


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda s: st.lists(s, max_size=3), max_leaves=5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["accepted", "progress", "rig", "lod", "preview", "result", "jobs", "error", "welcome", "reconstruct", "x"]),
    body=st.dictionaries(st.sampled_from(["level", "fraction", "stage", "code", "message", "jobs", "of"]), _JSON, max_size=3),
    shared=st.sampled_from(["", "../../etc/passwd", "lod0", ".x", "/etc/passwd"]),
    payload=st.binary(max_size=60) | st.none(),
)
def test_nearly_right_events_are_events_or_named_faults(hostile, connection, kind, body, shared, payload):
    envelope = {"v": 1, "kind": kind, "request": "77", "job": "j", "body": body} | ({"shared": shared} if shared else {})
    frames = [json.dumps(envelope).encode(), *([payload] if payload is not None else [])]
    for message in sent_and_received(hostile, connection, frames):
        assert message.request == "77"
        assert message.kind == kind or isinstance(message.body, Error)
        if message.payload is not None and message.kind == "lod":
            with pytest.raises(ProtocolError):
                splats_from_message(message, 10)
    assert connection.status.state == "ready"


def test_backend_cannot_name_files_of_the_clients_machine(hostile, connection, tmp_path):
    """Without an exchange folder from the connection file no name is opened at all."""
    (message,) = sent_and_received(hostile, connection, [b'{"v":1,"kind":"lod","body":{"level":0},"shared":"passwd"}'])
    assert isinstance(message.body, Error)
    assert "is not in the exchange folder" in message.body.message


def test_good_events_still_arrive(hostile, connection):
    avatar = synthetic_avatar(1)
    body, payload = lod_message(0, avatar.lods[0], avatar.shoulders)
    (message,) = sent_and_received(hostile, connection, [bytes(f) for f in encode(Message(body, "5", "j", payload))])
    head, _ = splats_from_message(message, len(avatar.rig.faces))
    np.testing.assert_array_equal(head.position, avatar.lods[0].position)
    del message  # the arrays keep zmq's memory alive by themselves
    assert np.isfinite(head.position).all()


def test_backend_that_connects_but_never_answers_is_told(hostile):
    silent = HostileBackend()
    silent.mute = True
    try:
        made = Connection(silent.endpoint, KeyPair.generate(), "test").start()
        request = made.send(ListJobs())
        began = time.monotonic()
        answer = made.receive(5.0)
        assert time.monotonic() - began < 2.0
        assert answer is not None
        assert answer.request == request
        assert "does not answer" in answer.body.message
        made.stop()
    finally:
        silent.close()


def test_port_of_something_else_is_told():
    """A service that takes connections and says nothing, as many do; a frozen backend looks the same."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        made = Connection(
            Endpoint(f"tcp://127.0.0.1:{other.getsockname()[1]}", KeyPair.generate().public), KeyPair.generate(), "test"
        ).start()
        wait_for(lambda: made.status.settled, 2.0)
        assert made.status.state == "unreachable"
        assert "does not answer; stop it and start it again" in str(made.status.error)
        made.stop()


def test_version_of_the_future_is_told():
    future = HostileBackend()
    future.mute = True
    try:
        made = Connection(future.endpoint, KeyPair.generate(), "test").start()
        wait_for(lambda: future._route != b"")
        future.to_send.append([b'{"v": 2, "kind": "welcome", "request": "hello", "body": {"everything": "new"}}'])
        wait_for(lambda: made.status.state == "incompatible")
        assert "the backend is of another version: protocol version 2 is not spoken here, 1 is" in str(made.status.error)
        made.stop()
    finally:
        future.close()


def test_stop_is_quick_and_may_be_repeated(hostile):
    made = Connection(hostile.endpoint, KeyPair.generate(), "test").start()
    began = time.monotonic()
    made.stop()
    made.stop()
    assert time.monotonic() - began < 1.0
    assert made.status.state == "stopped"
    made.send(ListJobs())
    assert made.poll() == []
