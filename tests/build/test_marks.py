"""A user's own -m and what a lane leaves out are both heard."""

from __future__ import annotations

import pytest

from build import without_marked


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], ["-m", "not slow"]),
        (["-x", "-k", "smile", "--durations=3"], ["-x", "-k", "smile", "--durations=3", "-m", "not slow"]),
        (["-m", "a or b", "-x"], ["-x", "-m", "(a or b) and not slow"]),
        (["-ma", "-m", "b"], ["-m", "(b) and not slow"]),
    ],
)
def test_both_are_heard(given, sent):
    assert without_marked("slow", given) == sent
