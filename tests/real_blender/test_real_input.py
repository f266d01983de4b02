"""Input that comes from outside Blender: another program drops files onto the window, and Ctrl F12 is pressed on the keyboard."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backend.protocol.interchange import SplatCloud, encode_ply
from tests.synthetic import synthetic_avatar

from .window import Run

NEWEST_ONLY = True
"""It passed in 4.3.2 too; what is shown is Blender's own way of taking input, which costs half a minute a Blender."""


@pytest.fixture(scope="module")
def real_input(blender, share) -> Run:
    Image.new("RGB", (64, 64), "tan").save(share / "photo.png")
    cloud = SplatCloud.of(synthetic_avatar(1).lods[0])
    for number, count in ((1, 500), (2, 700)):
        (share / f"take_{number:04d}.ply").write_bytes(encode_ply(cloud.take(np.arange(count))))
    return blender.run("real_input", share, timeout=200, simulated=False)


def test_a_dropped_photo_is_in_the_panel(real_input) -> None:
    found = real_input.findings
    assert found["drop_photo"] == "finished"
    assert found["photos"] == ["photo.png"]
    assert found["objects_after_photo"] == [], "and is not an image in the scene"


def test_a_dropped_avatar_file_stands_in_the_scene(real_input) -> None:
    assert real_input.findings["drop_avatar"] == "finished"
    assert len(real_input.findings["avatars"]) == 1


def test_numbered_splat_files_dropped_together_play(real_input) -> None:
    assert real_input.findings["drop_sequence"] == "finished"
    assert real_input.findings["sequence"] == ["take"]


def test_ctrl_f12_on_the_keyboard_renders_the_avatars_animation(real_input) -> None:
    frames = [np.asarray(Image.open(real_input.folder / "anim" / f"{frame:04d}.png"), np.float32) / 255 for frame in (1, 2, 3)]
    middles = [float((frame[..., 3] * np.arange(frame.shape[1])).sum() / frame[..., 3].sum()) for frame in frames]
    assert all((frame[..., 3] > 0.9).mean() > 0.05 for frame in frames), "the avatar is there"
    assert middles[1] - middles[0] > 4
    assert middles[2] - middles[1] > 4, "and goes from left to right"


def test_the_panel_is_chinese_where_blender_is(real_input) -> None:
    found = real_input.findings
    if "chinese" not in found:
        pytest.skip("this Blender is installed without its languages")
    assert found["chinese"] == {"Make Render-Ready": "准备渲染", "Import Motion": "导入动作"}
