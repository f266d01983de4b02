"""A user's video becomes keys: sent, followed, cancelled, asked about, and keyed, over a real server process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

Pump = Callable[..., float]


@pytest.fixture
def panel(addon: SimpleNamespace, installed: Path, avatar_file: Path) -> SimpleNamespace:
    """The add-on with a backend installed and an avatar in the file."""
    bpy.context.scene.render.fps = 25
    addon.avatar = addon.api.import_avatar(avatar_file)
    return addon


@pytest.fixture
def video(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        (tmp_path / name).write_bytes(b"not looked at")
        return tmp_path / name

    return make


def neck(panel: SimpleNamespace) -> bpy.types.PoseBone:
    return panel.part("avatar").armature_of(panel.avatar).pose.bones["neck"]


def test_a_video_becomes_keys(panel: SimpleNamespace, video) -> None:
    report = panel.api.track_video(video("take.mp4"), panel.avatar, start=11, tolerance=0.0, wait=True).report
    assert (report.first, report.last) == (11, 35)
    assert report.missed == {}
    bpy.context.scene.frame_set(35)
    bones = neck(panel).id_data.pose.bones
    assert bones["face"]["mouthSmile"] == pytest.approx(1)
    assert bones["jaw"].rotation_euler.x == pytest.approx(0.3, abs=1e-4)
    assert np.linalg.norm(neck(panel).rotation_euler) == pytest.approx(0.4, abs=1e-3)
    assert bpy.context.scene.frame_end >= 35
    assert len(panel.session.jobs) == 0


def test_operator_tracks_the_dropped_file(panel: SimpleNamespace, video) -> None:
    path = video("take.mov")
    assert bpy.ops.lookalike.track_video(directory=str(path.parent), files=[{"name": path.name}], start=5, to="STRIP") == {"FINISHED"}
    tracks = neck(panel).id_data.animation_data.nla_tracks
    assert [round(strip.frame_start) for track in tracks for strip in track.strips] == [5]


def test_dropped_videos_are_offered_to_be_tracked(panel: SimpleNamespace) -> None:
    handler = bpy.types.LOOKALIKE_FH_video
    assert handler.bl_import_operator == "lookalike.track_video"
    assert ".mp4" in handler.bl_file_extensions.split(";")
    area = SimpleNamespace(area=SimpleNamespace(type="VIEW_3D"), scene=bpy.context.scene)
    assert handler.poll_drop(area)
    panel.api.delete_avatar(panel.avatar)
    assert not handler.poll_drop(area)


def test_tracking_shows_progress_and_is_cancelled(panel: SimpleNamespace, video, pump: Pump) -> None:
    job = panel.api.track_video(video("slow.mp4"), panel.avatar)
    pump(lambda: panel.session.jobs[0].state == "RUNNING" and panel.session.jobs[0].fraction > 0)
    assert panel.session.jobs[0].kind == "TRACK"
    panel.api.cancel(job.id)
    pump(lambda: not panel.session.jobs)
    assert neck(panel).id_data.animation_data is None or neck(panel).id_data.animation_data.action is None


def test_two_faces_ask_which(panel: SimpleNamespace, video, pump: Pump) -> None:
    job = panel.api.track_video(video("two.mp4"), panel.avatar)
    pump(lambda: panel.session.jobs[0].state == "CHOOSING")
    panel.api.choose_face(job.id, 1)
    pump(lambda: not panel.session.jobs)
    assert neck(panel).id_data.animation_data.action is not None


def test_an_avatar_that_went_meanwhile_is_told(panel: SimpleNamespace, video, pump: Pump) -> None:
    panel.api.track_video(video("take.mp4"), panel.avatar)
    panel.api.delete_avatar(panel.avatar)
    pump(lambda: panel.session.jobs[0].state == "FAILED")
    assert "is gone" in panel.session.jobs[0].error


def test_what_cannot_be_sent_is_refused_at_once(panel: SimpleNamespace, video, tmp_path: Path) -> None:
    with pytest.raises(panel.protocol.ImageError, match="no such file"):
        panel.api.track_video(tmp_path / "gone.mp4", panel.avatar)
    with pytest.raises(panel.protocol.ImageError, match="not a video"):
        panel.api.track_video(video("photo.jpg"), panel.avatar)
    assert len(panel.session.jobs) == 0


def test_a_torn_result_is_refused(panel: SimpleNamespace) -> None:
    tracking, errors = panel.part("client.tracking"), panel.protocol
    body = SimpleNamespace(names=("jawOpen",), warnings=())
    arrays = {"expression": np.zeros((3, 2)), "pose": np.zeros((3, 5, 3)), "world_to_camera": np.zeros((3, 4, 4)),
              "tracked": np.ones(3, np.uint8), "fps": np.ones(1)}  # fmt: skip
    for tensors in ({}, arrays, {**arrays, "expression": np.zeros((0, 1))}):
        with pytest.raises(errors.ProtocolError, match=r"sent (no|a) motion"):
            tracking.take_of(SimpleNamespace(body=body, tensors=lambda tensors=tensors: tensors), "take.mp4")
