"""A Blender that dies of a signal is tried once more; failed tests are not."""

from __future__ import annotations

from pathlib import Path

import pytest

import build


@pytest.fixture
def runs(monkeypatch):
    """Exit codes that the next runs end with; what is left was not asked for."""
    codes: list[int] = []

    def one(*_: object) -> None:
        code = codes.pop(0)
        if code:
            error = build.StepError(f"exit code {code}")
            error.code = code
            raise error

    monkeypatch.setattr(build, "pytest", one)
    return codes


def test_a_crash_is_tried_once_more(runs, capsys):
    runs += [-11, 0]
    build.bpy_tests(Path("bpy-4.2.0"), [])
    assert not runs
    assert "bpy-4.2.0 was ended by signal 11; once more" in capsys.readouterr().out


@pytest.mark.parametrize("codes", [[1, 0], [-11, -11, 0], [-11, 1, 0]])
def test_failed_tests_and_a_second_crash_are_failures(runs, codes):
    runs += codes
    with pytest.raises(build.StepError, match="exit code"):
        build.bpy_tests(Path("bpy-4.2.0"), [])
    assert runs == [0]


def test_a_command_says_by_what_it_ended():
    with pytest.raises(build.StepError) as caught:
        build.run("sh", "-c", "kill -SEGV $$")
    assert caught.value.code == -11
