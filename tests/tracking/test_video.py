"""A driving video becomes a motion: followed, filled where the face was hidden, smooth, and kept in a file."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from skimage import data

from backend.protocol import AvatarFileError, Cancelled, FaceError, ImageError
from backend.rig import builtin_head
from backend.tracking import FaceChoiceError, fit, motion_of_drivers, read_motion, track_video, write_motion

FRAMES, HIDDEN = 36, range(14, 18)
WIDTH, HEIGHT = 240, 240


def roll(i: int) -> float:
    """Degrees by which the head leans in frame i."""
    return 12 * np.sin(2 * np.pi * i / FRAMES)


def write_video(path: Path, frames) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "18", "preset": "ultrafast"}
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def leaning(i: int) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((226, 124), roll(i), 1.3)
    matrix[:, 2] += [WIDTH / 2 - 226 + 0.5 * i, HEIGHT / 2 - 124]
    picture = cv2.warpAffine(data.astronaut(), matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return np.full_like(picture, 128) if i in HIDDEN else picture


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "leaning.mp4", map(leaning, range(FRAMES)))


@pytest.fixture(scope="module")
def motion(video):
    seen: list[float] = []
    result = track_video(video, builtin_head(), lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert len(seen) > FRAMES
    assert seen[-1] == 1
    return result


def test_every_frame_is_there_and_hidden_ones_are_marked(motion):
    assert len(motion) == FRAMES
    assert motion.fps == 24
    assert motion.size == (WIDTH, HEIGHT)
    np.testing.assert_array_equal(np.flatnonzero(~motion.tracked), list(HIDDEN))
    assert motion.source == "leaning.mp4"


def test_the_heads_lean_is_followed_through_the_hidden_frames(motion):
    lean = np.degrees(np.arctan2(motion.world_to_camera[:, 1, 0], motion.world_to_camera[:, 0, 0]))
    truth = np.array([-roll(i) for i in range(FRAMES)])
    error = (lean - lean.mean()) - (truth - truth.mean())
    assert np.abs(error[motion.tracked]).max() < 1.5
    assert np.abs(error).max() < 4


def test_a_still_face_keeps_its_expression(motion):
    assert motion.expression[motion.tracked].std(0).max() < 0.35
    assert motion.expression[:, motion.expression_names.index("mouthSmileLeft")].mean() > 0.3


def test_rotations_stay_rotations(motion):
    r = motion.world_to_camera[:, :3, :3]
    np.testing.assert_allclose(r @ np.swapaxes(r, 1, 2), np.broadcast_to(np.eye(3), r.shape), atol=1e-5)


def test_the_motion_can_be_put_on_the_neck(motion):
    neck = motion.head_on_neck()
    assert np.ptp(neck.world_to_camera, axis=0).max() == 0
    assert np.degrees(np.ptp(neck.pose[:, 1, 2])) == pytest.approx(24, abs=3)


def test_a_motion_file_reads_back_and_a_damaged_one_does_not(motion, tmp_path):
    path = tmp_path / "leaning.motion"
    write_motion(path, motion)
    again = read_motion(path)
    for name in ("expression", "pose", "world_to_camera", "intrinsics", "tracked"):
        np.testing.assert_array_equal(getattr(again, name), getattr(motion, name))
    assert again.expression_names == motion.expression_names
    assert again.driver(3).expression == motion.driver(3).expression
    whole = path.read_bytes()
    for broken in (b"", whole[:4], whole[:500], whole[:-8], b"\xff" * 100, whole.replace(b"format", b"farmot", 1)):
        path.write_bytes(broken)
        with pytest.raises(AvatarFileError, match=r"leaning\.motion"):
            read_motion(path)


def test_a_photo_is_a_motion_of_one_frame(portrait, tmp_path):
    rig = builtin_head()
    motion = motion_of_drivers(fit([portrait], rig).drivers, rig, portrait.name)
    write_motion(tmp_path / "photo.motion", motion)
    assert len(read_motion(tmp_path / "photo.motion")) == 1


def test_what_is_no_video_says_so(tmp_path):
    text = tmp_path / "clip.mp4"
    text.write_text("this is not a video")
    rig = builtin_head()
    with pytest.raises(ImageError, match=r"clip\.mp4: not a video that can be read"):
        track_video(text, rig)
    with pytest.raises(ImageError, match=r"missing\.mp4: not a video that can be read \(No such file"):
        track_video(tmp_path / "missing.mp4", rig)
    with pytest.raises(ImageError, match="is a folder"):
        track_video(tmp_path, rig)


def test_a_video_that_breaks_off_is_used_as_far_as_it_goes(tmp_path):
    path = tmp_path / "cut.mkv"
    write_video(path, (leaning(0) for _ in range(12)))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    assert 1 <= len(track_video(path, builtin_head())) < 12


def test_a_video_without_a_face_is_refused(tmp_path):
    path = write_video(tmp_path / "empty.mp4", (np.full((HEIGHT, WIDTH, 3), 90, np.uint8) for _ in range(8)))
    with pytest.raises(FaceError, match=r"empty\.mp4: no face found in 8 frames"):
        track_video(path, builtin_head())


def test_two_people_in_a_video_ask_which(tmp_path):
    picture = cv2.resize(np.concatenate([data.astronaut()[40:240, 120:320]] * 2, 1), (WIDTH, HEIGHT // 2))
    path = write_video(tmp_path / "two.mp4", [np.pad(picture, ((0, HEIGHT // 2), (0, 0), (0, 0)))] * 4)
    with pytest.raises(FaceChoiceError, match="two faces found"):
        track_video(path, builtin_head())
    assert len(track_video(path, builtin_head(), face=1)) == 4


def test_tracking_stops_when_the_user_cancels(video):
    def cancel(fraction: float, text: str) -> None:
        if fraction > 0.2:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        track_video(video, builtin_head(), cancel)
