"""What drawing costs and survives in a real window."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ewa import psnr

from .window import Run

UPLOADS = ("geometry_uploads", "appearance_uploads", "order_uploads", "synchronous_sorts")


@pytest.fixture(scope="module")
def upkeep(blender, share) -> Run:
    return blender.run("upkeep", share, timeout=400)


def view(upkeep: Run, name: str) -> np.ndarray:
    return upkeep.picture(name, upkeep.findings["box"])


def colourful(picture: np.ndarray) -> int:
    """Pixels of the avatar: Blender's own are gray."""
    return int((picture.max(-1) - picture.min(-1) > 0.25).sum())


def test_nothing_is_uploaded_when_nothing_changed(upkeep) -> None:
    before, after = upkeep.findings["idle_before"], upkeep.findings["idle_after"]
    assert after["draws"] >= before["draws"] + 5, "it was redrawn"
    assert {k: after[k] for k in UPLOADS} == {k: before[k] for k in UPLOADS}


def test_orbiting_uploads_orders_only_and_never_waits(upkeep) -> None:
    before, after = upkeep.findings["idle_after"], upkeep.findings["orbited"]
    assert after["order_uploads"] > before["order_uploads"]
    for name in ("geometry_uploads", "appearance_uploads", "synchronous_sorts"):
        assert after[name] == before[name], name
    assert psnr(view(upkeep, "before_orbit"), view(upkeep, "after_orbit")) < 30, "the picture turned"


def test_a_pose_uploads_once_and_a_move_not_at_all(upkeep) -> None:
    assert upkeep.findings["posed"] == {"geometry_uploads": 1, "appearance_uploads": 0}
    assert upkeep.findings["moved"] == {"geometry_uploads": 0, "appearance_uploads": 0}


def test_playback_shows_the_keys(upkeep) -> None:
    played = upkeep.findings["played"]
    assert played["frames"] >= 3
    assert 0 < played["uploads"] <= played["frames"] + 1, "at most one upload a frame"
    assert np.abs(view(upkeep, "frame_1") - view(upkeep, "frame_20")).max() > 0.1


def test_levels_by_hand_and_by_size(upkeep) -> None:
    counts = upkeep.findings["splats_by_level"]
    assert counts["0"] < counts["1"] < counts["2"]
    assert upkeep.findings["automatic"] == {"far": 0, "middle": 1, "near": 2}
    for name, least in (("far", 30), ("middle", 1000), ("near", 20000)):
        assert colourful(view(upkeep, f"auto_{name}")) > least, name


def test_undo_brings_the_picture_back(upkeep) -> None:
    before, moved, after = (view(upkeep, f"undo_{name}") for name in ("before", "moved", "after"))
    assert psnr(before, moved) < 30
    assert psnr(before, after) > 45


def test_a_broken_avatar_is_reported_once_and_the_others_are_drawn(upkeep) -> None:
    assert "scale" in upkeep.findings["broken"]["last_error"]
    assert upkeep.output.count("Traceback (most recent call last)") == 1, "one traceback, however many redraws"
    assert upkeep.findings["broken"]["splats"] == upkeep.findings["splats_by_level"]["2"]
    assert upkeep.findings["mended"]["last_error"] == ""
    assert upkeep.findings["mended"]["splats"] > upkeep.findings["broken"]["splats"]
    assert psnr(view(upkeep, "two_avatars"), view(upkeep, "mended")) > 40


def test_deleting_one_avatar_leaves_the_other(upkeep) -> None:
    assert upkeep.findings["deleted"]["splats"] == upkeep.findings["splats_by_level"]["2"]
    assert upkeep.findings["deleted"]["last_error"] == ""


def test_an_instance_is_drawn_beside_the_original(upkeep) -> None:
    assert colourful(view(upkeep, "instance")) > 1.4 * colourful(view(upkeep, "one_deleted"))


def test_the_addon_goes_off_and_on(upkeep) -> None:
    assert colourful(view(upkeep, "addon_off")) < 0.1 * colourful(view(upkeep, "one_deleted"))
    assert psnr(view(upkeep, "addon_on"), view(upkeep, "one_deleted")) > 40
    assert upkeep.findings["other_file"]["last_error"] == ""
    assert upkeep.findings["other_file"]["splats"] == 0
