"""The toolbar's splat tools under a user's hand: what is dragged over goes, on every level, and undo brings it back."""

from __future__ import annotations

import numpy as np
import pytest

from .window import Run


@pytest.fixture(scope="module")
def editing(blender, share) -> Run:
    return blender.run("editing", share, timeout=900)


def changed(run: Run, before: str, after: str) -> int:
    """Pixels of the view that differ between two screenshots."""
    box = run.findings["box"]
    return int((np.abs(run.picture(before, box) - run.picture(after, box)).max(-1) > 0.1).sum())


def test_the_brush_hides_on_every_level_and_can_be_undone(editing) -> None:
    found = editing.findings
    assert found["error"] == ""
    assert all(count > 10 for count in found["brushed"].values()), found["brushed"]
    assert found["undo_label"] == "Brush Splats"
    assert found["brush_redo"]["points"] >= 10
    assert found["brush_undone"] == {"0": 0, "1": 0, "2": 0}
    assert changed(editing, "start", "brush_after") > 1500
    assert changed(editing, "start", "brush_during") > 1500, "it is seen while the stroke is drawn"


def test_box_hides_and_with_ctrl_shows(editing) -> None:
    assert editing.findings["boxed"]["2"] > 100
    assert editing.findings["box_shown_again"] == {"0": 0, "1": 0, "2": 0}


def test_lasso_hides_and_undo_brings_back(editing) -> None:
    assert editing.findings["lassoed"]["2"] > 100
    assert editing.findings["lasso_undone"] == {"0": 0, "1": 0, "2": 0}


def test_escape_leaves_everything_as_it_was(editing) -> None:
    assert editing.findings["cancelled"] == {"0": 0, "1": 0, "2": 0}


def test_repair_is_an_operation_of_its_own(editing) -> None:
    assert editing.findings["repaired"] == "Brush Splats"
