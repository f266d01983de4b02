"""The face board as an animator meets it: in a window, with undo and redo, by key and search, in other themes and on other displays."""

from __future__ import annotations

import numpy as np
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


def test_the_menu_opens_by_its_key_which_nobody_else_has(face) -> None:
    assert face.findings["default_items"] > 1000
    assert face.findings["key_taken_by"] == []
    box = face.findings["view_box"]
    changed = np.abs(face.picture("menu", box) - face.picture("end", box)).max(axis=2) > 0.05
    assert 0.03 < changed.mean() < 0.5


def test_search_finds_and_runs_an_operator(face) -> None:
    assert face.findings["search"] == [0.5, 0.0]


def test_the_panel_follows_the_theme_and_the_display(face) -> None:
    """The light theme makes the sidebar light, and stays legible: all have dark and light pixels. Twice the scale is twice the size."""
    seen = face.findings["appearance"]
    dark, light, large = (face.picture(f"theme_{name}", seen[name]["box"]).mean(axis=2) for name in ("dark", "light", "large"))
    assert np.median(dark) < 0.3
    assert np.median(light) > np.median(dark) + 0.3
    assert np.median(large) == pytest.approx(np.median(light), abs=0.1)
    for picture in (dark, light, large):
        assert np.percentile(picture, 99) - np.percentile(picture, 1) > 0.4
    assert seen["large"]["pixel_size"] == 2 * seen["dark"]["pixel_size"]
    assert seen["large"]["ui_scale"] == pytest.approx(2 * seen["dark"]["ui_scale"], rel=0.05)
    assert seen["last_error"] == ""


def test_nothing_failed_while_panels_and_menus_were_drawn(face) -> None:
    """Exceptions in draw functions do not end Blender: they are printed."""
    wrong = [line for line in face.output.splitlines() if "Traceback" in line or line.startswith(("Error", "RuntimeError", "rna_uiItem"))]
    assert wrong == []
