"""A camera's pictures as ARKit's shapes: the head leans as it does in the picture, and what is sent is what Live Link Face sends."""

from __future__ import annotations

import socket

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from skimage import data

from backend.protocol.avatar import Driver
from backend.protocol.live_link import SHAPES, read_packet
from backend.rig import arkit_to_driver, builtin_head
from backend.rig.arkit import ARKIT_NAMES
from backend.tracking.live import CALIBRATION_FRAMES, LiveTracker, arkit_weights, head_angles
from backend.tracking.rotation import rotation_matrix

SIDE = 320


def leaning(degrees: float) -> np.ndarray:
    """The astronaut's face, turned in the picture against the clock."""
    matrix = cv2.getRotationMatrix2D((226, 124), degrees, 1.6)
    matrix[:, 2] += [SIDE / 2 - 226, SIDE / 2 - 124]
    return cv2.warpAffine(data.astronaut(), matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)


def test_shapes_are_the_inverse_of_driving() -> None:
    assert set(SHAPES) == set(ARKIT_NAMES)
    rng = np.random.default_rng(0)
    sent = {name: float(rng.uniform(0, 1)) for name in ARKIT_NAMES}
    for side in ("Left", "Right"):  # an eye looks one way at a time
        sent |= {f"eyeLookUp{side}": 0.0, f"eyeLookIn{side}": 0.0}
    expression, pose = arkit_to_driver(sent)
    names = ("root", "neck", "jaw", "eye_left", "eye_right")
    measured = Driver(expression, pose, np.eye(4, dtype=np.float32), np.eye(3, dtype=np.float32), (1, 1))
    assert arkit_weights(measured, names) == pytest.approx(sent, abs=1e-6)


@pytest.mark.parametrize(("axis", "angles"), [((0, 0.3, 0), (-0.3, 0, 0)), ((0.3, 0, 0), (0, -0.3, 0)), ((0, 0, 0.3), (0, 0, 0.3))])
def test_head_angles_are_live_links(axis, angles) -> None:
    assert head_angles(rotation_matrix(np.array(axis))) == pytest.approx(angles, abs=1e-9)


def test_head_leans_as_in_the_picture_and_a_lost_face_comes_back() -> None:
    tracker = LiveTracker(builtin_head())
    straight = leaning(0).astype(np.float32) / 255
    seen = [tracker.track(straight) for _ in range(CALIBRATION_FRAMES + 1)]
    assert seen[0] is None
    assert tracker.calibrated
    weights, angles = seen[-1]
    assert np.abs(angles).max() < 0.02
    assert weights["mouthSmileLeft"] > 0.2
    assert weights["eyeBlinkLeft"] < 0.3
    assert tracker.track(np.full_like(straight, 0.5)) is None
    for degrees in (10, -10):
        found = tracker.track(leaning(degrees).astype(np.float32) / 255)
        assert found is not None
        # Against the clock in the picture is towards the subject's right shoulder.
        assert np.degrees(found[1][2]) == pytest.approx(degrees, abs=2.5)


def test_command_streams_packets(tmp_path) -> None:
    from backend.cli.live import live

    path = tmp_path / "face.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (SIDE, SIDE))
    for i in range(14):
        writer.write(np.ascontiguousarray(leaning(i)[..., ::-1]))
    writer.release()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1.0)
        result = CliRunner().invoke(live, [str(path), "--to", f"127.0.0.1:{receiver.getsockname()[1]}", "--name", "test"])
        assert result.exit_code == 0, result.output
        packets = [read_packet(receiver.recv(2048)) for _ in range(int(result.output.split()[0]))]
    assert len(packets) >= 8
    assert all(packet is not None and packet.subject == "test" for packet in packets)
    assert packets[-1].angles[2] > packets[0].angles[2] + np.radians(4)


def test_a_camera_that_is_not_there_is_told() -> None:
    from backend.cli.live import live
    from backend.protocol.errors import ImageError

    result = CliRunner().invoke(live, ["no-such-video.mp4"])
    assert isinstance(result.exception, ImageError)
    assert CliRunner().invoke(live, ["0", "--to", "nowhere"]).exit_code == 2
