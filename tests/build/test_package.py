"""The extension zip is what Blender's own rules ask for, and `build.py` says plainly what it cannot do."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def build(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(ROOT / "build.py"), *arguments], capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def archive() -> Path:
    result = build("package", "--platform", "linux-x64")
    assert result.returncode == 0, result.stderr
    return next((ROOT / "dist").glob("*linux_x64.zip"))


def test_the_zip_holds_the_contract_the_shaders_and_the_wheels(archive):
    names = zipfile.ZipFile(archive).namelist()
    assert {"__init__.py", "blender_manifest.toml", "LICENSE", "protocol/avatar_file.py"} <= set(names)
    assert any(name.startswith("shaders/") for name in names)
    assert not [name for name in names if "__pycache__" in name or name.startswith("backend/")]


def test_the_manifest_lists_every_bundled_wheel_and_one_platform(archive):
    with zipfile.ZipFile(archive) as bundle:
        manifest = tomllib.loads(bundle.read("blender_manifest.toml").decode())
        wheels = {f"./{name}" for name in bundle.namelist() if name.endswith(".whl")}
    assert set(manifest["wheels"]) == wheels
    assert manifest["platforms"] == ["linux-x64"]
    assert all(len(reason) <= 64 and not reason.endswith(".") for reason in manifest["permissions"].values())


def test_wheels_serve_every_python_that_blender_runs(archive):
    wheels = [Path(name).name for name in zipfile.ZipFile(archive).namelist() if name.endswith(".whl")]
    exact = {tag for wheel in wheels for tag in wheel.split("-")[-3].split(".") if "abi3" not in wheel}
    assert {"cp311", "cp313", "cp314"} <= exact


def test_the_same_tree_gives_the_same_bytes(archive):
    before = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert build("package", "--platform", "linux-x64").returncode == 0
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == before


def test_help_names_every_command():
    text = build("--help").stdout
    assert all(command in text for command in ("setup", "demo", "test", "package", "benchmark"))


def test_an_unknown_lane_is_refused():
    assert build("test", "no-such-lane").returncode == 2
