"""Training learns, resumes to the bit, agrees between one process and two, and stops at what is not a number."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.training import checkpoint
from backend.training.config import read_config
from backend.training.errors import TrainingError
from backend.training.journal import read_log
from backend.training.schedule import Plan
from backend.training.trainer import BEST, CHECKPOINTS, train

ROOT = Path(__file__).parents[2]


def test_six_steps_are_three_and_three_more_to_the_bit(write_config, tmp_path):
    config = read_config(write_config())
    train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop_after=3)
    outcome = train(config, tmp_path / "parts", resume=True)
    assert outcome.steps == 6
    whole, parts = (checkpoint.load(tmp_path / name / CHECKPOINTS, config.fixed()) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert all(torch.equal(whole.model[key], parts.model[key]) for key in whole.model)
    for old, new in zip(whole.optimiser["state"].values(), parts.optimiser["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(old[key]), torch.as_tensor(new[key])) for key in old)
    assert all(torch.equal(a, b) for a, b in zip(whole.random[0], parts.random[0], strict=True))
    assert read_log(tmp_path / "whole") == read_log(tmp_path / "parts")


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(write_config, tmp_path):
    train(read_config(write_config()), tmp_path / "run", stop_after=1)
    with pytest.raises(TrainingError, match="--resume"):
        train(read_config(write_config()), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"changed since: optimiser\.rate"):
        train(read_config(write_config(rate=2e-3)), tmp_path / "run", resume=True)
    (latest,) = (tmp_path / "run" / CHECKPOINTS).glob("*.pt")
    latest.write_bytes(latest.read_bytes()[:1000])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        train(read_config(write_config()), tmp_path / "run", resume=True)


def test_held_out_error_falls(write_config, tmp_path):
    config = read_config(write_config(steps=24, every=24, measured=12, rate=3e-3, dropout=0.0))
    lines = []
    outcome = train(config, tmp_path / "run", report=lines.append)
    log = read_log(tmp_path / "run")
    losses = [entry["loss"] for entry in log if entry["kind"] == "train"]
    assert np.mean(losses[-5:]) < 0.75 * losses[0]
    first, last = (entry for entry in log if entry["kind"] == "held_out")
    assert last["ssim"] > first["ssim"]
    assert last["l1"] < first["l1"]
    assert outcome.values["psnr"] == pytest.approx(last["psnr"], abs=1e-4)
    assert "people: 3 people to learn from, 1 held out" in lines
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {"curve.png", "held_out.png", BEST, "model.safetensors", "log.jsonl"}
    assert set(load_file(outcome.model)) == set(load_file(tmp_path / "run" / BEST))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good(write_config, tmp_path):
    config = read_config(write_config(steps=4, every=1, rate=1e30))
    with pytest.raises(TrainingError, match=r"of step 2 is not finite; the last good checkpoint is step-00000001\.pt"):
        train(config, tmp_path / "run")
    assert [p.name for p in (tmp_path / "run" / CHECKPOINTS).iterdir()] == ["step-00000001.pt"]


def test_two_processes_learn_what_one_learns_from_both_their_samples(write_config, tmp_path):
    alone = train(read_config(write_config("alone.toml", steps=2, batch=2, dropout=0.0)), tmp_path / "alone")
    both = write_config("both.toml", steps=2, dropout=0.0)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "backend", "train", str(both)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if sys.platform == "linux":
        environment["GLOO_SOCKET_IFNAME"] = "lo"  # a host name that leads nowhere stops gloo otherwise
    ran = subprocess.run(
        [*command, "-o", str(tmp_path / "both")], capture_output=True, text=True, env=environment, check=False, timeout=200
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    one, two = load_file(alone.model), load_file(tmp_path / "both" / "model.safetensors")
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-4, rtol=1e-3, msg=key)
    with pytest.raises(TrainingError, match="2 processes, not 1"):
        train(read_config(both), tmp_path / "both", resume=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("stepz = 3\n", "there is no 'stepz'"),
        ('steps = "many"\n', "'many' is not what belongs here"),
        ("size = 64.5\n", "64.5 is not what belongs here"),
        ("batch = 0\n", "batch must be at least 1"),
        ('precision = "fp8"\n', "bf16 or fp32"),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(write_config, change, message):
    path = write_config()
    key = change.split(" ")[0]
    lines = [line for line in path.read_text().splitlines(keepends=True) if not line.startswith(f"{key} =")]
    path.write_text(change + "".join(lines))
    with pytest.raises(TrainingError, match=message):
        read_config(path)


def test_stages_must_add_up_and_find_their_data(write_config):
    path = write_config()
    text = path.read_text()
    path.write_text(text.replace("share = 0.5", "share = 0.4"))
    with pytest.raises(TrainingError, match="add up to 1"):
        read_config(path)
    path.write_text(text.replace('"0" = 0.5, "1" = 0.5', '"0" = 0.5, "2" = 0.5'))
    with pytest.raises(TrainingError, match="levels 0 to 1"):
        read_config(path)
    path.write_text(text.replace('data = "people"', 'data = "nobody"'))
    with pytest.raises(TrainingError, match=r"no \[data\.nobody\]"):
        read_config(path)


@pytest.mark.parametrize("name", ["omg-paper", "three-stages", "omg-small", "cpu-small", "ffavatar-cpu"])
def test_the_shipped_configurations_are_valid(name):
    config = read_config(ROOT / "backend" / "training" / "configs" / f"{name}.toml")
    Plan(config)
    assert config.name == name


def test_levels_rise_as_in_the_paper():
    config = read_config(ROOT / "backend" / "training" / "configs" / "omg-paper.toml")
    plan, steps = Plan(config), config.steps
    drawn = [plan.level(step) for step in range(0, steps, max(1, steps // 4000))]
    count = len(drawn)
    assert set(drawn[: count // 10 - 1]) == {0}
    assert set(drawn[count // 10 + 1 : 3 * count // 10 - 1]) == {1}
    late = np.bincount(drawn[3 * count // 10 + 1 :], minlength=3) / (0.7 * count)
    np.testing.assert_allclose(late, [0.1, 0.2, 0.7], atol=0.03)
    assert plan.rate(0) > 0.99
    assert plan.rate(steps) == pytest.approx(config.optimiser.end)
