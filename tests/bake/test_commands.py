"""`lookalike bake` and `lookalike render --refined --motion` as they are typed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backend.cli.main import run
from backend.protocol.avatar import Driver
from backend.protocol.avatar_file import encode_avatar, read_avatar, write_avatar
from backend.protocol.errors import LookalikeError
from backend.protocol.messages import Bake
from backend.server import pipeline
from backend.splats import Camera
from backend.tracking.motion import Motion, write_motion

FRAMES = 4


@pytest.fixture
def folder(avatar, refiner, tmp_path, monkeypatch):
    """A folder with the avatar, a performance of it, and the model that made it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("backend.models.refiner.reconstructor", lambda name: refiner)
    write_avatar("ada.lookalike", avatar)
    smile = np.linspace(0, 1, FRAMES, dtype=np.float32)
    pose = np.zeros((FRAMES, 5, 3), np.float32)
    pose[:, 2, 0] = 0.2 * smile
    view = np.repeat(np.eye(4, dtype=np.float32)[None], FRAMES, 0)
    lens = np.repeat(np.eye(3, dtype=np.float32)[None], FRAMES, 0)
    names = ("mouthSmile", "browDownLeft")
    values = np.stack([smile, smile], 1)
    seen = np.ones(FRAMES, np.bool_)
    motion = Motion(values, pose, view, lens, seen, names, avatar.rig.joint_names, (64, 64), 24.0, "synthetic", "smile")
    write_motion("smile.motion", motion)
    return tmp_path


def test_a_baked_file_says_what_it_gained(folder, capfd):
    assert run(["bake", "ada.lookalike", "-o", "baked.lookalike", "--frames", "8", "--steps", "6", "--lod", "0", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert [level["level"] for level in told["levels"]] == [0]
    assert told["levels"][0]["psnr_held_out"][1] > told["levels"][0]["psnr_held_out"][0] + 1
    assert told["frames"] == {"learned": 6, "held_out": 2}
    assert read_avatar("baked.lookalike").provenance["baked"]["levels"] == told["levels"]
    assert run(["bake", "baked.lookalike", "-o", "again.lookalike"]) == 1
    assert "is baked" in capfd.readouterr().err
    assert run(["bake", "ada.lookalike", "-o", "b.lookalike", "--seed", "-1"]) != 0
    told = capfd.readouterr().err
    assert "--seed" in told
    assert "bug" not in told


def test_the_pipelines_own_bake_serves_a_request(folder, avatar):
    """What the worker calls: from the file's bytes and the words of the wire to the baked avatar."""
    wish = Bake((0,), frames=8, steps=6, patterns=1, size=48, seed=3)
    done = pipeline.bake(encode_avatar(avatar), wish)
    (told,) = done.provenance["baked"]["levels"]
    assert told["level"] == 0
    assert told["psnr_held_out"][1] > told["psnr_held_out"][0] + 1
    with pytest.raises(LookalikeError, match="pictures of 0 pixels"):
        pipeline.bake(encode_avatar(avatar), replace(wish, size=0))


def test_a_refined_performance_is_a_sequence_with_its_camera(folder, avatar, refiner, capfd):
    options = ["--yaw", "15", "--size", "128", "--background", "transparent"]
    assert run(["render", "ada.lookalike", "--refined", "--motion", "smile.motion", "-o", "out", *options]) == 0
    captured = capfd.readouterr()
    assert "synthetic has no browDownLeft: left out" in captured.err
    files = sorted(path.name for path in (folder / "out").iterdir())
    assert files == ["ada.sequence.json", *(f"ada_{i + 1:04d}.png" for i in range(FRAMES))]
    note = json.loads((folder / "out" / "ada.sequence.json").read_text())
    assert (note["first"], note["count"], note["fps"], note["size"]) == (1, FRAMES, 24.0, [128, 128])
    picture = np.asarray(Image.open(folder / "out" / f"ada_{FRAMES:04d}.png"), np.float32) / 255
    assert picture.shape == (128, 128, 4)
    pose = np.zeros((5, 3), np.float32)
    pose[2, 0] = 0.2
    wanted = refiner.refine(avatar, 1, 15, 0, {"mouthSmile": 1.0}, pose)
    on_black = picture[..., :3] * picture[..., 3:]
    assert np.abs(on_black[::2, ::2] - wanted).mean() < 0.02
    assert picture[64, 64, 3] > 0.9
    assert picture[2, 2, 3] == 0
    # The note's camera sees the head where the picture has it.
    camera = Camera.of(Driver({}, pose, np.float32(note["world_to_camera"]), np.float32(note["intrinsics"]), (128, 128)))
    x, y, _ = camera.pixels(avatar.rig.vertices).T
    rows, columns = np.nonzero(picture[..., 3] > 0.5)
    assert abs(x.min() - columns.min()) < 5
    assert abs(x.max() - columns.max()) < 5
    assert abs(y.min() - rows.min()) < 5


def test_a_turned_head_before_a_moving_camera_turns_by_its_neck(folder, avatar):
    from backend.bake.sequence import face_motion
    from backend.tracking.motion import read_motion

    still = face_motion(folder / "smile.motion")
    assert not still.pose[:, 1].any()
    motion = read_motion(folder / "smile.motion")
    view = motion.world_to_camera.copy()
    view[1:, :3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]
    write_motion(folder / "turn.motion", replace(motion, world_to_camera=view))
    turned = face_motion(folder / "turn.motion")
    np.testing.assert_allclose(np.abs(turned.pose[2, 1]), [0, np.pi / 2, 0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--motion", "smile.motion", "--refined", "-o", "x.png"], "cannot hold this"),
        (["--motion", "smile.motion", "--refined", "-o", "out", "--frames", "2:9"], "has 4 frames, not 9"),
        (["--motion", "ada.lookalike", "--refined", "-o", "out"], "Export Motion"),
        (["--motion", "smile.motion", "--jaw", "5", "-o", "out"], "--motion goes with one --yaw"),
    ],
)
def test_a_wrong_wish_is_told(folder, capfd, arguments, told):
    assert run(["render", "ada.lookalike", *arguments]) == 1
    assert told in capfd.readouterr().err


def test_without_a_refiner_a_performance_is_drawn_by_the_splats(folder):
    assert run(["render", "ada.lookalike", "--motion", "smile.motion", "--frames", "1:3", "--size", "48", "-o", "out"]) == 0
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["ada.sequence.json", "ada_0002.png", "ada_0003.png"]
