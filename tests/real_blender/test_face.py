"""The face board as an animator meets it: in a window, with undo and redo."""

from __future__ import annotations

import pytest

from .window import Run


@pytest.fixture(scope="module")
def face(blender, share) -> Run:
    return blender.run("face", share, timeout=300)


def test_preset_is_one_undo_step(face) -> None:
    seen = face.findings["preset"]
    assert seen["after"]["values"]["mouthSmile"] == pytest.approx(0.85, abs=0.01)
    assert seen["undone"]["values"]["mouthSmile"] == 0
    assert seen["redone"] == seen["after"]


def test_motion_is_one_undo_step(face) -> None:
    seen = face.findings["motion"]
    assert seen["after"]["action"].endswith("take")
    assert seen["after"]["values"]["mouthSmile"] == pytest.approx(1, abs=0.01)
    assert seen["undone"]["action"] == ""
    assert seen["redone"] == seen["after"]


def test_lipsync_is_one_undo_step(face) -> None:
    seen = face.findings["lipsync"]
    assert seen["after"]["tracks"][-2:] == ["Lip-sync 1", "Lip-sync 2"]
    assert seen["undone"]["tracks"] == []
    assert seen["undone"]["action"].endswith("take")
    assert seen["redone"] == seen["after"]


def test_bones_are_selected_and_streams_are_shown(face) -> None:
    assert face.findings["selected"] == ["POSE", "jaw"]
    assert face.findings["streamed"] == pytest.approx(0.75)
