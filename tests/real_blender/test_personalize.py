"""The Personalize panel in a real window: clicked, watched while the avatar changes, cancelled, its adapter switched and undone."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.protocol.keys import client_keys

from .window import ROOT, Run


@pytest.fixture(scope="module")
def server(share: Path) -> Iterator[Path]:
    """A real server whose worker refines without looking at photos, slowly enough to be watched."""
    home = share / "home"
    client_keys(home)
    command = [sys.executable, "-m", "backend", "serve", "--directory", str(home), "--log-directory", str(share / "log")]
    told = share / "server.txt"  # a pipe that nobody reads would fill and stop the server
    with told.open("w") as output:
        process = subprocess.Popen([*command, "--pipeline", "tests.blender.ui.synthetic_pipeline"], cwd=ROOT, stderr=output)
    endpoint = _endpoint(process, told)
    (share / "endpoint.json").write_text(json.dumps(endpoint))
    (share / "slow.jpg").write_bytes(b"a photo that this pipeline does not look at")
    yield share
    process.terminate()
    process.wait(20)


def _endpoint(process: subprocess.Popen[bytes], told: Path) -> dict[str, str]:
    """Address and key that a server tells when it has started; fails after 30 s."""
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        lines = [line.split() for line in told.read_text().splitlines(keepends=True) if line.endswith("\n")]
        addresses = [words[-1].removeprefix("tcp://") for words in lines if words[:2] == ["listening", "at"]]
        keys = [words[-1] for words in lines if words[:2] == ["public", "key"]]
        if addresses and keys:
            return {"address": addresses[0], "key": keys[0]}
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the backend did not start: {told.read_text()}")


@pytest.fixture(scope="module")
def panel(blender, server: Path) -> Run:
    return blender.run("personalize", server, ("synthetic", "slow.jpg"), timeout=300)


def test_the_avatar_changes_before_the_end_and_the_curve_is_shown(panel) -> None:
    found = panel.findings
    assert found["pressed"][0] == "lookalike.personalize"
    assert found["first_preview"][1] < found["before"] - 1e-3
    assert found["progress"][:2] == ["RUNNING", "LOD 1"]
    assert found["curve"] > 0
    assert abs(panel.picture("curve", found["ui_box"]) - panel.picture("panel", found["ui_box"])).max(axis=2).mean() > 0.01


def test_cancel_keeps_the_best_so_far_and_the_animators_work(panel) -> None:
    found = panel.findings
    assert found["pressed"][1:] == ["lookalike.cancel_job", "lookalike.switch_adapter"]
    assert found["told"][0] == "WARNED"
    assert "slow is on" in found["told"][1]
    assert found["after"] < found["first_preview"][1]
    assert found["keys_after"] == found["keys"]
    [[name, enabled, gain]] = found["adapters"]
    assert (name, enabled) == ("slow", True)
    assert gain > 0


def test_the_switch_is_clicked_and_all_is_undone(panel) -> None:
    found = panel.findings
    assert found["off"][0] is False
    assert found["off"][1] == pytest.approx(found["before"], abs=1e-5)
    undone, undone_twice, redone = found["history"]
    assert undone[1] == 1
    assert undone[2] == pytest.approx(found["after"], abs=1e-5)
    assert undone_twice[1] == 0
    assert undone_twice[2] == pytest.approx(found["before"], abs=1e-5)
    assert redone[1:] == undone[1:]


def test_it_draws_in_narrow_and_wide_sidebars_without_a_word_on_the_console(panel) -> None:
    assert panel.findings["narrow"] < 200 < panel.findings["wide"]
    assert panel.findings["uploads"]["last_error"] == ""
    wrong = [line for line in panel.output.splitlines() if "Traceback" in line or line.startswith(("Error", "RuntimeError", "rna_uiItem"))]
    assert wrong == []
