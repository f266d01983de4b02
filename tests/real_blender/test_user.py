"""The whole path in a real window: a photo, a click on Create, a keyed avatar, saved, reopened without a backend."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.protocol.keys import client_keys
from tests.ewa import psnr

from .window import ROOT, Run


@pytest.fixture(scope="module")
def server(share: Path) -> Iterator[Path]:
    """A backend of this machine, which the add-on reaches at 127.0.0.1 with keys of this test."""
    home = share / "home"
    client_keys(home)
    command = [sys.executable, "-m", "backend", "serve", "--directory", str(home), "--log-directory", str(share / "log")]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    endpoint = {}
    assert process.stderr is not None
    for line in process.stderr:
        words = line.split()
        if line.startswith("listening at"):
            endpoint["address"] = words[-1].removeprefix("tcp://")
        if line.startswith("public key"):
            endpoint["key"] = words[-1]
            break
    assert len(endpoint) == 2, "the backend did not start"
    (share / "endpoint.json").write_text(json.dumps(endpoint))
    yield share
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def user(blender, server: Path, portrait_file: Path) -> Run:
    shutil.copy2(portrait_file, server / "astronaut.png")
    run = blender.run("user", server, ("astronaut.png",), timeout=600)
    shutil.copy2(run.folder / "avatar.blend", server / "avatar.blend")
    return run


@pytest.fixture(scope="module")
def reopened(blender, user: Run, share: Path) -> Run:
    return blender.run("reopen", share, timeout=300)


def view(run: Run, name: str) -> np.ndarray:
    picture = run.picture(name, run.findings["box"])
    height, width = picture.shape[:2]
    return picture[int(0.12 * height) : int(0.95 * height), int(0.12 * width) : int(0.9 * width)]


def test_clicking_create_makes_an_avatar(user) -> None:
    assert user.findings["sidebar"] is True
    assert user.findings["tab"] == "Lookalike"
    assert user.findings["pressed"] == ["lookalike.create"]
    roles = {name: role for name, role in user.findings["avatar"].items() if not name.endswith(".shadow")}
    assert len(roles) == len(user.findings["avatar"]) - 1, "one object casts the shadow"
    assert set(roles.values()) == {"ARMATURE", "HEAD", "SPLATS"}
    assert user.findings["uploads"]["splats"] > 5000
    assert user.findings["uploads"]["last_error"] == ""


def test_levels_arrive_one_by_one_with_progress(user) -> None:
    job = user.findings["job"]
    times = [job["levels"][level] for level in ("0", "1", "2")]
    assert times == sorted(times)
    assert times[0] < times[2], "the first level is shown while the others are still made"
    assert len(job["stages"]) >= 3


def test_a_click_on_the_face_selects_the_avatar(user) -> None:
    assert user.findings["clicked"] in {"HEAD", "SPLATS"}


def test_the_keyed_face_moves(user) -> None:
    assert psnr(view(user, "frame_1"), view(user, "frame_40")) < 32


def test_the_reopened_file_draws_frame_40_without_a_backend(user, reopened) -> None:
    assert reopened.findings["backend_running"] is False
    assert reopened.findings["uploads"]["last_error"] == ""
    assert psnr(view(user, "frame_40"), view(reopened, "frame_40")) >= 35
    assert psnr(view(user, "frame_1"), view(reopened, "frame_1")) >= 35
    assert psnr(view(reopened, "frame_40"), view(reopened, "turned")) < 30


def test_blender_draws_what_the_backend_renders(reopened) -> None:
    """LOD 1 at rest through the photo's camera: our GLSL against the backend's rasterizer."""
    from backend.protocol import read_avatar
    from backend.splats.camera import Camera
    from backend.splats.render import render

    drawn = reopened.array("photo_view")
    avatar = read_avatar(reopened.folder / "exported.lookalike")
    expected, alpha = render(avatar, 1, Camera.of(avatar.drivers[0]), background=(0.0, 0.0, 0.0))
    assert alpha.mean() > 0.1
    assert psnr(drawn[..., :3], expected) >= 35
