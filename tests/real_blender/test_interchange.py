"""Files of other programs with a window open: sequences show progress and stop at Esc; imported splats are drawn as the avatar was."""

from __future__ import annotations

import numpy as np
import pytest

from .window import Run


@pytest.fixture(scope="module")
def interchange(blender, share) -> Run:
    return blender.run("interchange", share, timeout=600)


def test_a_sequence_is_written_in_the_background_of_the_window(interchange) -> None:
    found = interchange.findings
    assert found["started"] == ["RUNNING_MODAL"]
    assert found["written"] == [f"take_{frame:04d}.ply" for frame in range(1, 7)]
    assert found["frame"] == 7, "the frame is put back"


def test_escape_stops_it_and_puts_the_frame_back(interchange) -> None:
    stopped, later = interchange.findings["stopped"]
    assert 0 < stopped < 5000
    assert later == stopped
    assert interchange.findings["frame_after_stop"] == 7


def test_imported_splats_are_drawn_as_the_avatar_was(interchange) -> None:
    assert interchange.findings["error"] == ""
    box = interchange.findings["box"]
    before, after = (interchange.picture(name, box) for name in ("avatar", "cloud"))
    seen = before.max(-1) - before.min(-1) > 0.25
    assert seen.sum() > 5000
    difference = np.abs(before - after).max(-1)
    assert np.median(difference[seen]) < 0.02
    assert (difference[seen] > 0.1).mean() < 0.05
