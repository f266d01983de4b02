"""A backend that is absent, elsewhere, a stranger or of another time: each is said plainly, and nothing hangs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from .conftest import install_backend

Pump = Callable[..., float]
Photo = Callable[[str], Path]
STRANGER = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
"""A valid public key of nobody (the example of ZeroMQ's RFC 26)."""


def remote(addon: SimpleNamespace, address: str, key: str, allow: bool = True) -> None:
    preferences = addon.preferences
    preferences.location, preferences.address, preferences.server_key, preferences.allow_sending = "REMOTE", address, key, allow


def test_not_installed_says_how_to_install(addon: SimpleNamespace, photo: Photo) -> None:
    with pytest.raises(addon.protocol.BackendError, match=r"build\.py setup"):
        addon.api.create([photo("ada.jpg")])
    assert "not installed" in str(addon.backend.error)
    assert addon.api.backend_status() == "Not available"
    assert len(addon.session.jobs) == 0
    bpy.ops.lookalike.add_photos(directory=str(photo("ada.jpg").parent), files=[{"name": "ada.jpg"}])
    with pytest.raises(RuntimeError, match="not installed"):
        bpy.ops.lookalike.create()


@pytest.mark.parametrize(
    ("record", "told"),
    [("not json", "cannot be used"), ("{}", "cannot be used"), ('{"python": "nowhere", "root": "nowhere"}', "no Lookalike backend in")],
)
def test_damaged_record_is_told(addon: SimpleNamespace, tmp_path: Path, record: str, told: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "backend.json").write_text(record)
    with pytest.raises(addon.protocol.BackendError, match=told):
        addon.api.start_backend()


def test_folder_of_the_preferences_comes_first(addon: SimpleNamespace, installed: Path, tmp_path: Path) -> None:
    addon.preferences.folder = str(tmp_path)
    with pytest.raises(addon.protocol.BackendError, match=r"choose the folder that holds build\.py"):
        addon.api.start_backend()
    location = addon.part("client.location")
    (tmp_path / "backend").mkdir()
    (tmp_path / "backend" / "__main__.py").touch()
    python = location.environment_python(tmp_path)
    with pytest.raises(addon.protocol.BackendError, match="no Python environment"):
        location.find_installation(str(tmp_path))
    python.parent.mkdir(parents=True)
    python.touch()
    assert location.find_installation(str(tmp_path)) == location.Installation(python, tmp_path)


def test_not_started_where_the_user_does_not_want_it(addon: SimpleNamespace, installed: Path, photo: Photo) -> None:
    addon.preferences.autostart = False
    with pytest.raises(addon.protocol.BackendError, match="not running"):
        addon.api.create([photo("ada.jpg")])
    assert not addon.backend.running


def test_backend_that_dies_at_start_is_told_with_its_last_words(addon: SimpleNamespace, tmp_path: Path, photo: Photo, pump: Pump) -> None:
    install_backend(tmp_path / "broken", before="sys.exit('no numpy here')")
    job = addon.api.create([photo("ada.jpg")])
    assert pump(lambda: addon.session.jobs[job.id].state == "FAILED") < 2.0
    assert "no numpy here" in addon.session.jobs[job.id].error


def test_running_backend_of_this_user_is_used(addon: SimpleNamespace, other_backend: dict, photo: Photo) -> None:
    assert addon.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"
    assert addon.backend._launch is None
    assert addon.backend._connection.endpoint.pid == other_backend["pid"]


def test_remote_backend_with_the_right_key_works(addon: SimpleNamespace, other_backend: dict, photo: Photo) -> None:
    remote(addon, other_backend["address"].removeprefix("tcp://"), other_backend["server_public"], allow=False)
    assert addon.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"


def test_wrong_key_is_told_within_two_seconds(addon: SimpleNamespace, other_backend: dict, photo: Photo, pump: Pump) -> None:
    remote(addon, other_backend["address"], STRANGER)
    job = addon.api.create([photo("ada.jpg")])
    assert pump(lambda: addon.session.jobs[job.id].state == "FAILED") < 2.0
    assert "key" in f"{addon.session.jobs[job.id].error} {addon.session.jobs[job.id].remedy}"
    assert not addon.backend.running


def test_nobody_there_is_told_within_two_seconds(addon: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    remote(addon, "127.0.0.1:9", STRANGER)
    job = addon.api.create([photo("ada.jpg")])
    assert pump(lambda: addon.session.jobs[job.id].state == "FAILED") < 2.0
    assert "127.0.0.1:9" in addon.session.jobs[job.id].error


def test_other_version_is_told_within_two_seconds(addon: SimpleNamespace, tmp_path: Path, photo: Photo, pump: Pump) -> None:
    install_backend(tmp_path / "newer", before="import backend.protocol.messages\nbackend.protocol.messages.PROTOCOL_VERSION = 99")
    addon.api.start_backend()
    pump(lambda: addon.backend._connection is not None or addon.backend.error)
    job = addon.api.create([photo("ada.jpg")])
    assert pump(lambda: addon.session.jobs[job.id].state == "FAILED") < 2.0
    assert "version" in addon.session.jobs[job.id].error
    assert "update" in addon.session.jobs[job.id].remedy


@pytest.mark.parametrize(("address", "key"), [("", STRANGER), ("host", STRANGER), ("host:port", STRANGER), ("host:5870", "short")])
def test_address_or_key_that_cannot_be_is_told(addon: SimpleNamespace, address: str, key: str) -> None:
    remote(addon, address, key)
    with pytest.raises(addon.protocol.BackendError):
        addon.api.start_backend()


def test_photos_go_to_another_computer_only_with_permission(addon: SimpleNamespace, photo: Photo) -> None:
    remote(addon, "render-01:5870", STRANGER, allow=False)
    settings = addon.api._settings()
    with pytest.raises(addon.protocol.BackendError, match="online access"):
        addon.backend.start(settings)
    online = type(settings)(**{**vars(settings), "online_access": True})
    with pytest.raises(addon.protocol.BackendError, match="may not be sent to render-01"):
        addon.backend.start(online)
    assert not addon.backend.running
    addon.preferences.allow_sending = True
    addon.preferences.address = "render-02:5870"
    assert not addon.preferences.allow_sending, "permission is for one computer"


def test_connection_file_of_a_backend_that_hangs_is_not_a_dead_end(addon: SimpleNamespace, installed: Path, photo: Photo) -> None:
    """A connection file that names a port where nobody listens: a backend of our own is started instead."""
    keys = addon.part("protocol.keys")
    home = keys.private_directory(keys.default_directory())
    keys.write_connection_file(home, keys.Endpoint("tcp://127.0.0.1:9", STRANGER, os.getpid()))
    assert json.loads((home / "connection.json").read_text())["pid"] == os.getpid()
    assert addon.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"
    assert addon.backend._launch is not None


@pytest.mark.skipif(sys.platform == "win32", reason="the folders of other systems are computed by the same function")
def test_folders_are_those_of_platformdirs(addon: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    location = addon.part("client.location")
    monkeypatch.delenv("LOOKALIKE_DATA")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setattr(sys, "platform", "linux")
    assert location.user_data_dir() == Path("/data/lookalike")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert location.user_data_dir() == Path.home() / "Library/Application Support/lookalike"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert location.user_data_dir() == Path("/local/lookalike/lookalike")
    assert location.log_file() == Path("/local/lookalike/Logs/backend.log")
