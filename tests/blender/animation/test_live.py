"""A phone's stream, as packets on a real socket: shown, recorded to keys, and harmless where it is anything else."""

from __future__ import annotations

import socket
import time

import bpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@pytest.fixture
def stream(part):
    stream = part("live.stream")
    yield stream
    stream.stop()


@pytest.fixture
def send(part):
    """Send a frame of a face to a port: seconds, jawOpen, yaw."""
    packets = part("protocol.live_link")
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def one(port: int, seconds: float, jaw: float, yaw: float = 0.0) -> None:
        weights = [0.0] * 52
        weights[packets.SHAPES.index("jawOpen")] = jaw
        weights[packets.SHAPES.index("browInnerUp")] = 1 - jaw
        sender.sendto(packets.write_packet(packets.Packet("iPhone", seconds, tuple(weights), (yaw, 0.0, 0.0))), ("127.0.0.1", port))

    yield one
    sender.close()


def wait(stream, until, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline
        stream.pump()
        time.sleep(0.005)


def test_packets_round_trip(part):
    packets = part("protocol.live_link")
    weights = tuple(float(np.float32(v)) for v in np.linspace(0, 1, 52))
    sent = packets.Packet("Ada's phone", 12.25, weights, (0.5, -0.25, 0.125))
    assert packets.read_packet(packets.write_packet(sent)) == sent
    assert len(set(packets.SHAPES)) == 52
    assert set(packets.SHAPES) == set(part("motion.arkit").ARKIT_NAMES)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400) | st.binary(max_size=300).map(lambda b: b"\x06\x00\x00\x00\x02ab\x00\x00\x00\x01x" + b))
def test_any_bytes_give_a_packet_none_or_our_error(part, data):
    try:
        part("protocol.live_link").read_packet(data)
    except part("protocol").ProtocolError:
        pass


def test_face_is_shown_as_it_comes(ada, part, stream, send, update):
    port = part("api").start_live(ada.collection, 0)
    send(port, 1.0, 0.5, 0.2)
    wait(stream, lambda: "frames a second" in stream.status())
    update(ada.armature)
    assert ada.arkit["jawOpen"] == pytest.approx(0.5)
    assert ada.keys["browInnerUp"].value == pytest.approx(0.5)
    assert abs(ada.bones["neck"].rotation_euler.y) == pytest.approx(0.2, abs=1e-4)
    assert stream.status().startswith("iPhone")


def test_recording_becomes_keys_by_the_senders_clock(ada, part, stream, send):
    bpy.context.scene.render.fps = 30
    bpy.context.scene.frame_set(20)
    api = part("api")
    port = api.start_live(ada.collection, 0)
    assert api.record_live() is None
    for i in range(61):
        send(port, 100 + i / 60, i / 60)
        if i % 20 == 0:
            wait(stream, lambda i=i: (stream.recording() or 0) > i)
    wait(stream, lambda: stream.recording() == 61)
    report = api.record_live(tolerance=0.0, smoothing=0.0)
    assert (report.first, report.last) == (20, 50)
    bpy.context.scene.frame_set(35)
    assert ada.arkit["jawOpen"] == pytest.approx(0.5, abs=0.02)
    assert stream.running()


def test_stopping_keys_what_runs(ada, part, stream, send):
    api = part("api")
    port = api.start_live(ada.collection, 0)
    api.record_live()
    for i in range(5):
        send(port, i / 60, 0.5)
    wait(stream, lambda: stream.recording() == 5)
    assert api.stop_live() is not None
    assert not stream.running()
    assert ada.armature.animation_data.action is not None
    assert api.stop_live() is None


def test_noise_is_refused_and_told(ada, part, stream):
    port = part("api").start_live(ada.collection, 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"hello", ("127.0.0.1", port))
        sender.sendto(b"\x06" * 1000, ("127.0.0.1", port))
    wait(stream, lambda: "packet" in stream.status())
    assert stream.running()


def test_nothing_came_port_taken_and_network(ada, part, stream):
    api, error = part("api"), part("protocol").LookalikeError
    port = api.start_live(ada.collection, 0)
    api.record_live()
    with pytest.raises(error, match="No face came"):
        api.record_live()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(error, match="cannot be listened on"):
            api.start_live(ada.collection, other.getsockname()[1])
    assert not bpy.app.online_access
    with pytest.raises(error, match="online access"):
        api.start_live(ada.collection, port, from_network=True)


def test_avatar_gone_and_file_changed_end_the_stream(ada, part, stream):
    api = part("api")
    api.start_live(ada.collection, 0)
    part("avatar").delete_avatar(ada.collection)
    stream.pump()
    assert not stream.running()
    assert "no longer in this file" in stream.status()
    assert stream.stop_before_load not in bpy.app.handlers.load_pre
