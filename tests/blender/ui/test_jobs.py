"""From photos to an avatar over a real server process, and every way in which that can end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from .conftest import ROOT, install_backend

VENV_PYTHON = ROOT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
Pump = Callable[..., float]
Photo = Callable[[str], Path]


@pytest.fixture
def panel(addon: SimpleNamespace, installed: Path) -> SimpleNamespace:
    """The add-on with a backend installed."""
    return addon


def only_job(addon: SimpleNamespace):
    assert len(addon.session.jobs) == 1
    return addon.session.jobs[0]


def test_create_makes_an_avatar_and_returns_it(panel: SimpleNamespace, photo: Photo) -> None:
    job = panel.api.create([photo("ada.jpg")], name="Ada", consent="Ada agreed", model="other", rig="flame", wait=True)
    avatar = job.avatar.collection
    assert avatar.name == "Ada"
    assert sorted(job.avatar.splats) == [0, 1, 2]
    assert '"consent": "Ada agreed"' in avatar.lookalike.provenance
    assert '"model": "other"' in avatar.lookalike.provenance
    assert panel.api.active_avatar() == avatar
    assert len(panel.session.jobs) == 0


def test_levels_appear_one_after_the_other(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    panel.api.create([photo("slow.jpg")], name="Ada")
    pump(panel.api.avatars)
    assert panel.api.avatars()[0].name == "Ada"
    assert only_job(panel).state == "RUNNING"
    pump(lambda: only_job(panel).fraction > 0.1005)  # the stage before ends at 0.1, which a Blender property holds as 0.100000001
    assert only_job(panel).stage == "Project"
    assert only_job(panel).text.startswith("step")


def test_creating_is_one_undo_step(panel: SimpleNamespace, photo: Photo) -> None:
    bpy.ops.ed.undo_push(message="before")
    panel.api.create([photo("ada.jpg")], wait=True)
    assert len(panel.api.avatars()) == 1
    bpy.ops.ed.undo()
    assert panel.api.avatars() == []
    assert len(bpy.context.scene.objects) == 0
    bpy.ops.ed.redo()
    assert len(panel.api.avatars()) == 1


def test_operator_creates_from_the_photos_in_the_list(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    for name in ("front.jpg", "left.jpg"):
        bpy.ops.lookalike.add_photos(directory=str(photo(name).parent), files=[{"name": name}])
    panel.session.avatar_name = "Two Views"
    assert bpy.ops.lookalike.create() == {"FINISHED"}
    pump(lambda: not panel.session.jobs)
    (avatar,) = panel.api.avatars()
    assert avatar.name == "Two Views"
    assert '"images": ["front.jpg", "left.jpg"]' in avatar.lookalike.provenance


def test_choices_of_the_panel_come_from_the_backend(panel: SimpleNamespace, pump: Pump) -> None:
    choices = panel.part("ui.choices")
    assert [item[0] for item in choices.model_items(panel.session, bpy.context)] == ["DEFAULT"]
    panel.api.start_backend()
    pump(lambda: panel.backend.offers("models"))
    assert [item[0] for item in choices.model_items(panel.session, bpy.context)] == ["DEFAULT", "projection", "other"]
    panel.session.rig = "flame"
    assert choices.chosen(panel.session.rig) == "flame"
    assert choices.chosen(panel.session.model) == ""


def test_a_rig_of_the_users_own_is_asked_for(panel: SimpleNamespace, photo: Photo, pump: Pump, tmp_path) -> None:
    own = tmp_path / "my_flame.pkl"
    bpy.ops.lookalike.add_photos(directory=str(photo("front.jpg").parent), files=[{"name": "front.jpg"}])
    panel.session.rig_file = str(own)
    assert bpy.ops.lookalike.create() == {"FINISHED"}
    pump(lambda: not panel.session.jobs)
    (avatar,) = panel.api.avatars()
    assert json.loads(avatar.lookalike.provenance)["rig"] == str(own)


def test_two_faces_ask_which(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("ada.jpg"), photo("two.jpg")])
    pump(lambda: only_job(panel).state == "CHOOSING")
    shown = only_job(panel)
    assert shown.photos[shown.faces_photo].name == "two.jpg"
    assert [(face.number, face.place) for face in shown.faces] == [(1, "leftmost"), (0, "rightmost")]
    assert bpy.ops.lookalike.choose_face(job=job.id, face=1) == {"FINISHED"}
    pump(lambda: not panel.session.jobs)
    assert '"faces": [null, 1]' in job.avatar.collection.lookalike.provenance


def test_error_is_shown_with_what_to_do_and_can_be_retried_or_dismissed(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("blank.jpg")])
    pump(lambda: only_job(panel).state == "FAILED")
    assert only_job(panel).error == "blank.jpg: no face found"
    assert only_job(panel).remedy == "choose a photo that shows one"
    assert isinstance(job.error, panel.protocol.FaceError)
    assert bpy.ops.lookalike.retry_job(job=job.id) == {"FINISHED"}
    assert only_job(panel).state == "STARTING"
    assert only_job(panel).error == ""
    pump(lambda: only_job(panel).state == "FAILED")
    assert bpy.ops.lookalike.dismiss_error(job=job.id) == {"FINISHED"}
    assert len(panel.session.jobs) == 0
    assert len(bpy.context.scene.objects) == 0


def test_cancel_ends_the_job_and_removes_what_it_built(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("slow.jpg")])
    pump(panel.api.avatars)
    bpy.ops.lookalike.cancel_job(job=job.id)
    assert only_job(panel).state == "CANCELLING"
    took = pump(lambda: not panel.session.jobs)
    print(f"cancelled after {took:.2f} s")
    assert took < 2.0
    assert panel.api.avatars() == []
    assert len(bpy.context.scene.objects) == 0
    assert isinstance(job.error, panel.protocol.Cancelled)
    assert panel.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"


def test_cancel_before_the_backend_has_started(panel: SimpleNamespace, photo: Photo) -> None:
    job = panel.api.create([photo("ada.jpg")])
    panel.api.cancel(job.id)
    assert len(panel.session.jobs) == 0


def test_warnings_of_the_backend_are_shown_and_the_avatar_stays(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("doubt.jpg")])
    pump(lambda: only_job(panel).state == "WARNED")
    assert only_job(panel).error == "doubt.jpg: the face may be a statue"
    assert bpy.ops.lookalike.dismiss_error(job=job.id) == {"FINISHED"}
    assert [avatar.name for avatar in panel.api.avatars()] == ["doubt"]
    assert len(panel.session.jobs) == 0


def test_two_jobs_queue(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    first, second = panel.api.create([photo("slow.jpg")]), panel.api.create([photo("ada.jpg")])
    pump(lambda: panel.session.jobs[second.id].state == "QUEUED" and panel.api.avatars())
    panel.api.cancel(first.id)
    second.wait(10)
    assert [avatar.name for avatar in panel.api.avatars()] == ["ada"]


def test_backend_killed_mid_job_is_told_within_two_seconds(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("slow.jpg")])
    pump(panel.api.avatars)
    os.kill(panel.backend._launch.process.pid, signal.SIGKILL)
    assert pump(lambda: only_job(panel).state == "FAILED") < 2.0
    assert only_job(panel).error_code == "backend"
    assert only_job(panel).remedy
    assert panel.api.avatars() == []
    assert panel.api.backend_status() == "Not available"
    only_job(panel).photos[0].path = str(photo("ada.jpg"))
    only_job(panel).photos[0].name = "ada.jpg"
    bpy.ops.lookalike.retry_job(job=job.id)
    pump(lambda: not panel.session.jobs)
    assert len(panel.api.avatars()) == 1


def test_undoing_while_a_job_runs_still_delivers_the_avatar(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    bpy.ops.ed.undo_push(message="before")
    job = panel.api.create([photo("ada.jpg")])
    panel.tick.APPLY_SECONDS, usual = 0.0, panel.tick.APPLY_SECONDS
    try:
        pump(panel.api.avatars)
        for obj in list(bpy.data.objects):
            bpy.data.objects.remove(obj)
        bpy.data.collections.remove(panel.api.avatars()[0])
        pump(lambda: not panel.session.jobs)
    finally:
        panel.tick.APPLY_SECONDS = usual
    assert sorted(job.avatar.splats) == [0, 1, 2]


def test_opening_a_file_cancels_the_jobs_politely(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    job = panel.api.create([photo("slow.jpg")])
    pump(panel.api.avatars)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    assert len(bpy.context.window_manager.lookalike.jobs) == 0
    assert isinstance(job.error, panel.protocol.Cancelled)
    for _ in range(20):
        panel.tick.pump()
        time.sleep(0.02)
    assert panel.api.avatars() == []
    assert panel.backend.connected
    assert panel.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"


def test_avatar_arrives_while_the_user_edits_something_else(panel: SimpleNamespace, photo: Photo) -> None:
    mesh = bpy.data.objects.new("plane", bpy.data.meshes.new("plane"))
    bpy.context.scene.collection.objects.link(mesh)
    bpy.context.view_layer.objects.active = mesh
    mesh.select_set(True)
    bpy.ops.object.mode_set(mode="EDIT")
    job = panel.api.create([photo("ada.jpg")], wait=True)
    assert bpy.context.mode == "EDIT_MESH"
    assert bpy.context.view_layer.objects.active == mesh
    assert sorted(job.avatar.splats) == [0, 1, 2]
    bpy.ops.object.mode_set(mode="OBJECT")


@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(1)"])
def test_backend_ends_with_blender(panel: SimpleNamespace, staged: Path, installed: Path, end: str) -> None:
    """In another process: it starts the backend and quits, or dies, without a word."""
    script = f"""
import os, sys, time
sys.path.insert(0, {str(staged.parent)!r})
import bpy, addon_utils
addon_utils.enable({staged.name!r}, default_set=True)
from {staged.name} import api
from {staged.name}.client import backend, tick
api.start_backend()
end = time.monotonic() + 20
while not backend.connected and time.monotonic() < end:
    tick.pump()
    time.sleep(0.02)
print("pid", backend._launch.process.pid, flush=True)
{end}
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    pid = int(next(line for line in result.stdout.splitlines() if line.startswith("pid ")).split()[1])
    exists = panel.part("protocol.keys").process_exists
    began = time.monotonic()
    while exists(pid) and time.monotonic() - began < 10:
        time.sleep(0.05)
    assert not exists(pid)


def test_bug_while_building_ends_the_job_visibly(panel: SimpleNamespace, photo: Photo, pump: Pump, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(panel.part("avatar"), "place_lod", broken)
    job = panel.api.create([photo("ada.jpg")])
    pump(lambda: only_job(panel).state == "FAILED")
    assert "ZeroDivisionError: a bug" in only_job(panel).error
    assert panel.api.avatars() == []
    assert isinstance(job.error.__cause__, ZeroDivisionError)


def test_unreadable_photo_is_told(panel: SimpleNamespace, photo: Photo, pump: Pump) -> None:
    with pytest.raises(panel.protocol.ImageError, match=r"gone\.jpg"):
        panel.api.create(["gone.jpg"])
    with pytest.raises(panel.protocol.ImageError, match="no photo"):
        panel.api.create([])


@pytest.mark.skipif(not VENV_PYTHON.exists(), reason="the backend's own environment is not set up (build.py setup)")
def test_the_backends_own_command_line_is_started(addon: SimpleNamespace, tmp_path: Path, photo: Photo, pump: Pump) -> None:
    """As after `build.py setup`: the environment's Python runs `-m backend serve` with all that the add-on passes."""
    main = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom backend.cli import main\n"
    main += "main([*sys.argv[1:], '--pipeline', 'tests.blender.ui.synthetic_pipeline', '--log-directory', 'logs'])\n"
    root = install_backend(tmp_path / "installed", main=main, python=VENV_PYTHON)
    addon.preferences.log_level = "DEBUG"
    assert addon.api.create([photo("ada.jpg")], wait=True).avatar.name == "ada"
    addon.api.stop_backend()
    assert "worker" in (root / "logs" / "backend.log").read_text()


def test_stopping_the_backend_ends_its_process(panel: SimpleNamespace, pump: Pump) -> None:
    panel.api.start_backend()
    pump(lambda: panel.backend.connected)
    assert panel.api.backend_status().startswith("Connected (this computer")
    process = panel.backend._launch.process
    bpy.ops.lookalike.stop_backend()
    assert process.poll() is not None
    assert panel.api.backend_status() == "Not running"
