"""The architecture page's "Bad input" row on the backend, over real sockets: told within two seconds, and life goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.protocol.connection import Connection
from backend.protocol.errors import BackendError, LookalikeError
from backend.protocol.exchange import read_proof
from backend.protocol.frames import Message, decode, encode
from backend.protocol.keys import Endpoint, KeyPair, authorize_client, client_keys, server_keys
from backend.protocol.launch import Launch
from backend.protocol.messages import Error, Goodbye, Hello, ListJobs, Ping, Reconstruct
from backend.server import Client
from tests.server.conftest import PIPELINE, ROOT, end_backend, is_running, start_backend

PHOTO = ("me.jpg", b"photo")
PROMPT = 2.0


def raw_socket(backend, maximum: int = -1) -> tuple[zmq.Context, zmq.Socket]:
    """A DEALER with this user's key that may send anything."""
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    keys = client_keys(backend.directory)
    dealer.curve_serverkey = backend.endpoint.server_public.encode()
    dealer.curve_publickey, dealer.curve_secretkey = keys.public.encode(), keys.secret.encode()
    dealer.rcvtimeo = 5000
    dealer.connect(backend.endpoint.address)
    return context, dealer


def outcome(endpoint: Endpoint, keys: KeyPair) -> tuple[str, BackendError | None, float]:
    """State, error and seconds of a connection's first attempt; its open request must have been answered."""
    connection = Connection(endpoint, keys, "test").start()
    began = time.monotonic()
    request = connection.send(ListJobs())
    while not connection.status.settled and time.monotonic() - began < 10:
        time.sleep(0.005)
    seconds = time.monotonic() - began
    status = connection.status
    if status.state != "ready":
        answer = connection.receive(1.0)
        assert answer is not None
        assert isinstance(answer.body, Error)
        assert answer.request == request
        assert answer.body.remedy
    connection.stop()
    assert connection.status.state == "stopped"
    return status.state, status.error, seconds


def test_wrong_client_key_is_refused(shared_backend):
    state, error, seconds = outcome(shared_backend.endpoint, KeyPair.generate())
    assert state == "refused"
    assert "refused this client's key" in str(error)
    assert seconds < PROMPT


def test_wrong_server_key_is_told_apart(shared_backend):
    other = replace(shared_backend.endpoint, server_public=KeyPair.generate().public)
    state, error, seconds = outcome(other, client_keys(shared_backend.directory))
    assert state == "refused"
    assert "key" in str(error)
    assert seconds < PROMPT


def test_no_backend_is_told(tmp_path):
    state, error, seconds = outcome(Endpoint("tcp://127.0.0.1:1", KeyPair.generate().public), KeyPair.generate())
    assert state == "unreachable"
    assert str(error) == "no backend is running at tcp://127.0.0.1:1; start it, or correct the address"
    assert seconds < PROMPT
    with pytest.raises(BackendError, match="no backend is running; start one with: lookalike serve"):
        Client.connect(directory=tmp_path)


def test_key_added_by_hand_counts_at_once(shared_backend):
    keys = KeyPair.generate()
    assert outcome(shared_backend.endpoint, keys)[0] == "refused"
    authorize_client(shared_backend.directory, keys.public, "a colleague")
    assert outcome(shared_backend.endpoint, keys)[0] == "ready"


def test_client_without_curve_is_not_served(shared_backend):
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger, dealer.rcvtimeo = 0, 700
    dealer.connect(shared_backend.endpoint.address)
    dealer.send_multipart(encode(Message(Hello("plain", "plain"))))
    with pytest.raises(zmq.Again):
        dealer.recv_multipart()
    context.destroy(0)
    assert outcome(shared_backend.endpoint, client_keys(shared_backend.directory))[0] == "ready"


def test_other_version_is_told_by_both_sides(shared_backend, monkeypatch):
    context, dealer = raw_socket(shared_backend)
    dealer.send(json.dumps({"v": 99, "kind": "hello", "request": "7", "body": {}}).encode())
    answer = decode(dealer.recv_multipart())
    assert (answer.request, answer.body.code) == ("7", "version")
    assert answer.body.message == "protocol version 99 is not spoken here, 1 is"
    context.destroy(0)
    monkeypatch.setattr("backend.protocol.frames.PROTOCOL_VERSION", 99)
    state, error, seconds = outcome(shared_backend.endpoint, client_keys(shared_backend.directory))
    assert state == "incompatible"
    assert "update Lookalike on both sides" in str(error)
    assert seconds < PROMPT


GARBAGE = [
    [b""],
    [b"{"],
    [b"\xff\xfe"],
    [b"[]"],
    [b"null"],
    [b'{"v": 1}'],
    [b'{"v": 1, "kind": "launch_missiles"}'],
    [b'{"v": 1, "kind": ""}'],
    [b'{"v": 1, "kind": "result", "body": {"of": "x"}}'],
    [b'{"v": 1, "kind": "hello", "body": {"client": 5, "software": "x"}}'],
    [b'{"v": 1, "kind": "list", "body": {"extra": 1}}'],
    [b'{"v": 1, "kind": "list", "request": "../../x"}'],
    [b'{"v": 1, "kind": "list", "request": {}}'],
    [b'{"v": 1, "kind": "render", "body": {"yaw": NaN}}'],
    [b"[" * 60_000],
    [b"x" * 70_000],
    [b"a", b"b", b"c"],
    [b'{"v": 1, "kind": "reconstruct", "body": {"portraits": ["a"]}}', b"\xff" * 100],
    [b'{"v": 1, "kind": "reconstruct", "body": {"portraits": ["a"]}}'],
]


def test_garbage_is_answered_and_the_server_lives_on(shared_backend):
    context, dealer = raw_socket(shared_backend)
    dealer.send_multipart(encode(Message(Hello("garbage", "test"), "h")))
    assert decode(dealer.recv_multipart()).kind == "welcome"
    for frames in GARBAGE:
        dealer.send_multipart(frames)
        answer = decode(dealer.recv_multipart())
        assert answer.kind == "error", frames
        assert answer.body.code in ("protocol", "version"), (frames, answer)
    dealer.send_multipart([b'{"v": 1, "kind": "launch_missiles", "request": "9"}'])
    answer = decode(dealer.recv_multipart())
    assert (answer.request, answer.body.message) == ("9", "unknown kind of message: 'launch_missiles'")
    dealer.send_multipart(encode(Message(Ping())))
    assert decode(dealer.recv_multipart()).kind == "pong"
    context.destroy(0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_random_frames_never_end_the_server(fuzz_socket, frames):
    fuzz_socket.send_multipart(frames)
    assert decode(fuzz_socket.recv_multipart()).kind == "error"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda s: st.lists(s, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["hello", "reconstruct", "render", "track", "cancel", "list", "fetch", "personalize", "lod", "progress"]),
    body=st.dictionaries(st.sampled_from(["client", "portraits", "faces", "rig", "yaw", "size", "parts", "level"]), _JSON, max_size=3)
    | _JSON,
    job=_JSON,
)
def test_nearly_right_requests_are_answered(fuzz_socket, kind, body, job):
    envelope = json.dumps({"v": 1, "kind": kind, "request": "5", "job": job, "body": body})
    fuzz_socket.send(envelope.encode())
    answer = decode(fuzz_socket.recv_multipart())
    assert answer.request == "5"
    assert answer.kind in ("error", "jobs", "welcome"), answer
    if answer.kind == "error":
        assert answer.body.code != "bug", answer


@pytest.fixture(scope="module")
def fuzz_socket(shared_backend):
    context, dealer = raw_socket(shared_backend)
    dealer.send_multipart(encode(Message(Hello("fuzz", "test"), "h")))
    assert decode(dealer.recv_multipart()).kind == "welcome"
    yield dealer
    dealer.send_multipart(encode(Message(ListJobs(), "last")))
    while decode(dealer.recv_multipart()).request != "last":
        continue
    context.destroy(0)


def test_oversize_message_is_cut_off_before_it_is_allocated(backend, monkeypatch):
    """The limit stands in the socket: libzmq reads the length, hangs up and allocates nothing."""
    monkeypatch.setattr("backend.protocol.payload.MAX_PAYLOAD_BYTES", 1 << 40)
    with backend.client() as client:
        memory_before = resident(backend.process.pid)
        context, dealer = raw_socket(backend)
        dealer.send_multipart(encode(Message(Hello("big", "test"), "h")))
        assert decode(dealer.recv_multipart()).kind == "welcome"
        dealer.rcvtimeo = 1500
        # 1.25 GiB that are never touched, so this process does not need them either
        import numpy as np

        dealer.send_multipart([b'{"v":1,"kind":"list"}', np.zeros((1 << 30) + (1 << 28), np.uint8)], copy=False)
        with pytest.raises(zmq.Again):
            dealer.recv_multipart()
        assert resident(backend.process.pid) - memory_before < 64 << 20
        context.destroy(0)
        assert client.jobs(timeout=5) == ()


def resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:
        pytest.skip("needs /proc to see the server's memory")


def run_and_kill(client: Client, kill, consent: str = "stages=5") -> tuple[LookalikeError, float]:
    """Start a job, `kill` once it is at work; the job's error and the seconds until it was told."""
    stamp = []

    def note(event):
        if event.kind == "progress" and event.body.stage == "track" and not stamp:
            stamp.append(time.monotonic())
            kill()

    with pytest.raises(LookalikeError) as caught:
        client.reconstruct([PHOTO], consent=consent, on_event=note, timeout=30)
    return caught.value, time.monotonic() - stamp[0]


def test_killed_backend_is_told_within_two_seconds_and_the_job_can_be_retried(tmp_path):
    backend = start_backend(tmp_path / "home")
    with backend.client() as client:
        error, seconds = run_and_kill(client, backend.kill)
        assert "has stopped" in str(error)
        assert "retry" in error.remedy
        assert seconds < PROMPT
        assert client.connection.status.state == "unreachable"
        # Its successor listens elsewhere or at the same address; here at the same, so the connection finds it again.
        successor = start_backend(tmp_path / "home", "--address", read_address(client))
        wait_for(lambda: client.connection.status.state == "ready", 10)
        assert client.reconstruct([PHOTO], timeout=30).avatar()
        successor.process.send_signal(signal.SIGTERM)
        assert successor.process.wait(10) == 0


def read_address(client: Client) -> str:
    return client.connection.endpoint.address


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(os.name != "posix", reason="SIGSTOP")
def test_frozen_backend_is_noticed_and_found_again(backend):
    with backend.client() as client:
        os.kill(backend.process.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            wait_for(lambda: client.connection.status.state == "lost", 5)
            assert time.monotonic() - began < PROMPT + 0.7
        finally:
            os.kill(backend.process.pid, signal.SIGCONT)
        wait_for(lambda: client.connection.status.state == "ready", 5)
        assert client.reconstruct([PHOTO], timeout=30).avatar()


@pytest.mark.parametrize(("manner", "words"), [("segfault", "SIGSEGV"), ("exit", "code 3")])
def test_worker_that_dies_costs_one_job_and_no_more(backend, manner, words):
    with backend.client() as client:
        with pytest.raises(LookalikeError, match=words) as caught:
            client.reconstruct([PHOTO], consent=manner, timeout=30)
        assert caught.value.code == "worker"
        assert client.connection.status.state == "ready"
        assert client.reconstruct([PHOTO], timeout=30).avatar()


def test_worker_killed_from_outside_and_the_job_retried(backend, tmp_path):
    with backend.client() as client:
        error, seconds = run_and_kill(client, lambda: os.kill(backend.worker_pid(), signal.SIGKILL))
        assert error.code == "worker"
        assert "SIGKILL" in str(error)
        assert "memory" in str(error)
        assert seconds < PROMPT
        consent = f"once={tmp_path / 'marker'}"
        with pytest.raises(LookalikeError, match="code 9"):
            client.reconstruct([PHOTO], consent=consent, timeout=30)
        assert client.reconstruct([PHOTO], consent=consent, timeout=30).avatar()


def test_worker_that_cannot_start_is_told(tmp_path):
    backend = start_backend(tmp_path / "home", pipeline=f"{PIPELINE}:CannotStart")
    with Client.connect(directory=backend.directory) as client, pytest.raises(LookalikeError, match="the nets are broken") as caught:
        client.reconstruct([PHOTO], timeout=60)
    assert caught.value.code == "worker"
    backend.process.send_signal(signal.SIGTERM)
    assert backend.process.wait(10) == 0


def test_clean_stop_tells_clients_and_leaves_nothing(backend):
    with backend.client() as client:
        worker, exchange = backend.worker_pid(), backend.endpoint.exchange
        assert read_proof(exchange)
        client.shutdown()
        assert client.connection.status.state in ("lost", "unreachable")
    assert backend.process.wait(10) == 0
    wait_for(lambda: not is_running(worker), 5)
    assert not os.path.exists(exchange)
    assert not (backend.directory / "connection.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_in_order(backend, number):
    with backend.client():
        backend.process.send_signal(number)
        assert backend.process.wait(10) == 0
    assert f"stopping: the backend was stopped ({number.name})" in backend.log.read_text()


def test_backend_and_worker_end_with_their_parent(tmp_path):
    """The parent is killed, as Blender may be; nothing of ours is left."""
    parent = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    backend = start_backend(tmp_path / "home", "--parent-pid", str(parent.pid))
    with backend.client():
        worker = backend.worker_pid()
    parent.kill()
    parent.wait()
    assert backend.process.wait(5) == 0
    wait_for(lambda: not is_running(worker), 5)


def test_worker_ends_with_a_killed_backend(backend):
    with backend.client():
        worker = backend.worker_pid()
    backend.kill()
    wait_for(lambda: not is_running(worker), 5)


def test_second_backend_of_a_user_is_refused(backend):
    second = subprocess.run(
        [sys.executable, "-m", "backend", "serve", "--directory", str(backend.directory), "--log-directory", str(backend.directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert f"lookalike: a backend is running already at {backend.endpoint.address}" in second.stderr


def test_address_that_is_taken_or_none_is_told(backend, tmp_path):
    for address, words in {backend.endpoint.address: "Address already in use", "nonsense": "Invalid argument"}.items():
        command = [sys.executable, "-m", "backend", "serve", "--directory", str(tmp_path), "--log-directory", str(tmp_path)]
        second = subprocess.run([*command, "--address", address], cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert words in second.stderr.splitlines()[-1]
        assert "choose another --address" in second.stderr
        assert not (tmp_path / "connection.json").exists()


def test_backend_on_every_interface_is_found_by_its_user_and_by_remote_ones(tmp_path):
    backend = start_backend(tmp_path / "home", "--address", "0.0.0.0:0")
    try:
        with backend.client() as client:
            assert client.reconstruct([PHOTO], timeout=30).avatar()
        far, endpoint = KeyPair.generate(), backend.endpoint
        authorize_client(backend.directory, far.public)
        host_and_port = endpoint.address.removeprefix("tcp://")
        with Client.connect(host_and_port, endpoint.server_public, keys=far) as remote:
            assert not remote.welcome.shares
            assert remote.reconstruct([PHOTO], timeout=30).avatar()
    finally:
        end_backend(backend)


def test_backend_started_by_a_client_trusts_that_client_alone(tmp_path):
    launch = Launch(
        [sys.executable, "-m", "backend"], ROOT, ["--directory", str(tmp_path), "--log-directory", str(tmp_path), "--pipeline", PIPELINE]
    )
    try:
        wait_for(lambda: launch.poll() is not None, 30)
        endpoint = launch.poll()
        assert endpoint is not None
        with Client.connect(endpoint=endpoint, keys=launch.keys) as client:
            assert client.reconstruct([PHOTO], timeout=30).avatar()
        assert outcome(endpoint, KeyPair.generate())[0] == "refused"
        assert not list(tmp_path.glob("*.key")), "keys of a launched backend never touch the disk"
        assert launch.keys.secret not in " ".join(launch.process.args)
    finally:
        launch.stop()
    with pytest.raises(BackendError, match="the backend ended with code"):
        launch.poll()


def test_launch_that_fails_tells_the_last_words(tmp_path):
    launch = Launch([sys.executable, "-c", "raise SystemExit('no such luck')"], ROOT)
    wait_for(lambda: launch.process.poll() is not None, 10)
    with pytest.raises(BackendError, match="no such luck"):
        launch.poll()
    with pytest.raises(BackendError, match="cannot be started"):
        Launch([str(tmp_path / "nothing")], ROOT)


def test_two_clients_at_once_while_one_vanishes(backend):
    """A client that is gone mid-job leaves the queue running for the other."""
    from backend.protocol.arrays import portrait_payload

    vanishing = backend.client()
    vanishing.connection.send(Reconstruct(("a",), consent="stages=0.3"), portrait_payload([b"x"]))
    with backend.client() as client:
        threading.Timer(0.3, vanishing.close).start()
        assert client.reconstruct([PHOTO], timeout=30).avatar()
        assert [job.state for job in client.jobs()] == ["done", "done"]


def test_goodbye_is_an_event_of_the_wire():
    assert decode(encode(Message(Goodbye("bye")))).body == Goodbye("bye")


def test_server_keys_survive_a_restart(tmp_path):
    assert server_keys(tmp_path) == server_keys(tmp_path)
