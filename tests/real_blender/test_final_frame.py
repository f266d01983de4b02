"""F12 in a real window gives what the viewport showed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from .window import Run


@pytest.fixture(scope="module")
def final(blender, share) -> Run:
    return blender.run("final_frame", share, timeout=400)


def over_grey(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture[..., :3] + 0.5 * (1 - picture[..., 3:]), 0, 1)


def test_f12_looks_like_the_viewport(final) -> None:
    viewport = final.array("viewport")
    rendered = np.asarray(Image.open(final.folder / "final.png"), np.float32) / 255
    rendered[..., :3] *= rendered[..., 3:]
    pair = over_grey(rendered), over_grey(viewport)
    sheet = np.concatenate([*pair, np.clip(0.5 + 4 * (pair[0] - pair[1]), 0, 1)], 1)
    Image.fromarray((sheet * 255).astype(np.uint8)).save(final.folder / "compare.png")
    shown = viewport[..., 3] > 0.02
    error = np.mean((pair[0] - pair[1])[shown] ** 2)
    assert shown.mean() > 0.1
    assert 10 * np.log10(1 / error) > 31


def test_view_transform_was_noticed_without_saving(final) -> None:
    assert final.findings["baked"]
    assert final.findings["bounces"] >= 256


FARMS = {
    "flamenco": "-b -y {blend} --render-output {out}/###### --render-format PNG --render-frame 4..5",
    "flamenco, an earlier chunk later": "-b -y {blend} --render-output {out}/###### --render-format PNG --render-frame 2..2",
    "opencue": "-b -noaudio {blend} -o {out}/###### -F PNG -f 4",
    "cgru": "-b {blend} -y -E CYCLES -o {out}/###### -F PNG -s 2 -e 4 -j 2 -a",
}
"""Command lines as the farms' own sources have them (docs/rendering.md), with frames out of order."""


@pytest.fixture(scope="module")
def farmed(blender, share, final) -> dict[str, dict[int, np.ndarray]]:
    """Frames of each command line, from a copy of the shot in another folder, on nodes without the add-on."""
    assert final.findings["ready"] == ["FINISHED"]
    moved = share / "farm" / "moved"
    shutil.rmtree(moved.parent, ignore_errors=True)
    shutil.copytree(share / "out-final_frame" / "shot", moved)
    made = {}
    for number, (name, line) in enumerate(FARMS.items()):
        out = moved / str(number)
        places = {"blend": moved / "shot_render.blend", "out": out}
        seen = {place: "{share}/" + path.relative_to(share).as_posix() for place, path in places.items()}
        blender.headless(share, tuple(line.format(**seen).split()))
        made[name] = {int(path.stem): np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255 for path in sorted(out.glob("*.png"))}
    return made


def test_farms_command_lines_render_their_frames(farmed) -> None:
    frames = {name: list(pictures) for name, pictures in farmed.items()}
    assert frames == {"flamenco": [4, 5], "flamenco, an earlier chunk later": [2], "opencue": [4], "cgru": [2, 4]}


def test_farms_agree_on_each_frame(farmed) -> None:
    for frame, names in ((4, ("flamenco", "opencue", "cgru")), (2, ("flamenco, an earlier chunk later", "cgru"))):
        first, *others = (farmed[name][frame] for name in names)
        assert (first[..., 3] > 0.9).mean() > 0.05, "the avatar is there without the add-on"
        for other in others:
            assert np.abs(first - other).max() < 3 / 255
    assert np.abs(farmed["cgru"][2] - farmed["cgru"][4]).mean() > 0.02, "and moves"
