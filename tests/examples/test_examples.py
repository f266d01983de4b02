"""The scripts in `examples/` do what their first line says, run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from backend.protocol import read_avatar, write_avatar
from tests.synthetic import synthetic_avatar

ROOT = Path(__file__).resolve().parents[2]


def run_example(name: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT, env=environment, check=False)


@pytest.fixture(scope="module")
def avatar_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("avatar") / "synthetic.lookalike"
    write_avatar(path, synthetic_avatar())
    return path


def test_a_photo_becomes_an_avatar_over_the_wire(tmp_path, portrait_file):
    target = tmp_path / "astronaut.lookalike"
    result = run_example("photo_to_avatar.py", portrait_file, "-o", target, "--consent", "public domain")
    assert result.returncode == 0, result.stderr
    assert result.stdout.index("LOD 0") < result.stdout.index("LOD 1") < result.stdout.index("LOD 2")
    avatar = read_avatar(target)
    assert len(avatar.lods) == 3
    assert avatar.provenance["consent"] == "public domain"


def test_a_photo_without_a_face_is_refused_in_one_sentence(tmp_path):
    blank = tmp_path / "wall.png"
    Image.new("RGB", (400, 300), (120, 130, 140)).save(blank)
    result = run_example("photo_to_avatar.py", blank, "-o", tmp_path / "wall.lookalike")
    assert result.returncode == 1
    assert "wall.png" in result.stderr
    assert "no face" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "wall.lookalike").exists()


def test_the_turntable_shows_the_head_turning(tmp_path, avatar_file):
    video, sheet = tmp_path / "turn.mp4", tmp_path / "sheet.png"
    result = run_example("render_turntable.py", avatar_file, "--video", video, "--sheet", sheet, "--frames", 8, "--size", 128)
    assert result.returncode == 0, result.stderr
    frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in av.open(str(video)).decode(video=0)]
    assert len(frames) == 8
    assert np.abs(frames[0] - frames[2]).mean() > 1  # a quarter turn later
    assert Image.open(sheet).width > 1000


def test_arkit_curves_move_the_face(tmp_path, avatar_file):
    video = tmp_path / "take.mp4"
    result = run_example("drive_with_arkit.py", avatar_file, "-o", video, "--size", 320, "--lod", 0)
    assert result.returncode == 0, result.stderr
    frames = [frame.to_ndarray(format="rgb24").astype(float) for frame in av.open(str(video)).decode(video=0)]
    assert len(frames) == 96
    assert max(np.abs(frame - frames[0]).max() for frame in frames) > 25


def test_a_corrupt_avatar_is_named_not_traced(tmp_path):
    bad = tmp_path / "bad.lookalike"
    bad.write_bytes(b"\xff" * 4000)
    result = run_example("render_turntable.py", bad, "--sheet", tmp_path / "sheet.png")
    assert result.returncode == 1
    assert result.stderr.startswith("bad.lookalike:")
    assert not (tmp_path / "sheet.png").exists()
