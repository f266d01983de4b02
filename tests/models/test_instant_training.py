"""Instant Expressive learns from frames: errors fall, what it writes is read again, resumption is exact, teachers' videos are read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from backend.models.instant import load_network
from backend.rig import builtin_head
from backend.splats import write_video
from backend.training.config import read_config
from backend.training.data.batch import Pairs, Sample, collate
from backend.training.data.sources import open_footage
from backend.training.data.videos import Videos
from backend.training.data.view import DataError
from backend.training.errors import TrainingError
from backend.training.journal import read_log
from backend.training.learners import make_learner
from backend.training.learners.instant import InstantLearner, disguised, on_other_ground
from backend.training.schedule import Plan
from backend.training.trainer import train

CONFIG = """
name = "tiny"
steps = {steps}
batch = 2
size = 32
precision = "fp32"
device = "cpu"
workers = 0
threads = 1
checkpoint_every = 2
log_every = 1
[model]
name = "instant"
planes = {planes}
basis = 8
rays = 16
code = 8
driver = 32
dim = 16
layers = 1
heads = 2
feedforward = 32
hidden = 16
levels = 1
encoder = "tiny"
picture = 56
[data.heads]
kind = "synthetic"
people = 4
frames = 4
held_out = 0.25
[[stage]]
share = 1.0
data = "heads"
levels = {{ "0" = 0.5, "1" = 0.5 }}
[loss]
l1 = 0.0
l2 = 5.0
[optimiser]
rate = 3e-3
beta1 = 0.9
clip = 1.0
[held_out]
every = {measured}
pairs = 2
level = 1
"""


@pytest.fixture
def write_config(tmp_path):
    def write(**changes):
        path = tmp_path / "tiny.toml"
        path.write_text(CONFIG.format(**({"steps": 4, "planes": 16, "measured": 4} | changes)))
        return path

    return write


def test_held_out_error_falls_and_the_network_is_read_again(write_config, tmp_path):
    config = read_config(write_config(steps=16, measured=8))
    outcome = train(config, tmp_path / "run")
    log = read_log(tmp_path / "run")
    losses = [entry["loss"] for entry in log if entry["kind"] == "train"]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:2])
    first, last = (entry for entry in log if entry["kind"] == "held_out")
    assert last["l1"] < first["l1"]
    network = load_network(outcome.model)
    assert network.config.planes == 16
    codes = network.rig_codes.solve()
    assert codes is not None
    assert codes.directions.shape == (len(builtin_head().expression_names) + 9, 8)
    ball = network.ball / 5
    assert np.allclose(ball[0].numpy(), builtin_head().template.mean(0), atol=0.08)


def test_four_steps_are_two_and_two_more_to_the_bit(write_config, tmp_path):
    config = read_config(write_config())
    whole = train(config, tmp_path / "whole").model
    train(config, tmp_path / "parts", stop_after=2)
    parts = train(config, tmp_path / "parts", resume=True).model
    a, b = load_file(whole), load_file(parts)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_the_code_reads_the_targets_face_and_not_its_colours(write_config):
    config = read_config(write_config())
    rig = builtin_head()
    learner = make_learner(config, rig).eval()
    assert isinstance(learner, InstantLearner)
    footage = open_footage(config.data["heads"], rig, 32)
    batch = collate([Pairs({"heads": footage}, 0)[Sample("heads", 0, 1)]])
    camera = learner._camera(batch.target)
    one, two = (learner._code(views, learner._camera(views)) for views in (batch.target, batch.sources[0]))
    assert not torch.allclose(one, two)
    seen = disguised(batch.target.image)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert not torch.allclose(seen, batch.target.image)
    matte = torch.zeros_like(batch.target.matte)
    ground = on_other_ground(batch.target.image, matte)
    assert (ground == ground[..., :1, :1]).all()
    assert camera.shape == (1, 3, 4)
    with pytest.raises(TrainingError, match="takes one photo"):
        learner(type(batch)((batch.target, batch.target), batch.target), 0)


def test_sizes_that_do_not_fit_are_named(write_config):
    with pytest.raises(TrainingError, match=r"model\.planes must be a multiple of 8"):
        make_learner(read_config(write_config(planes=20)), builtin_head())


@pytest.mark.parametrize("name", ["instant-distill", "instant-small", "instant-cpu"])
def test_the_shipped_configurations_are_valid(name):
    import backend.training

    config = read_config(Path(backend.training.__file__).parent / "configs" / f"{name}.toml")
    Plan(config)
    assert config.name == name
    assert config.model.name == "instant"


def test_a_short_videos_frames_are_different_ones(tmp_path):
    from backend.training.data.videos import _spread

    shades = np.linspace(0.1, 0.9, 8, dtype=np.float32)
    write_video(tmp_path / "one_key_frame.mp4", [np.full((64, 64, 3), shade, np.float32) for shade in shades], 10.0)
    found = [float(picture.mean()) for picture in _spread(tmp_path / "one_key_frame.mp4", 8)]
    np.testing.assert_allclose(found, shades, atol=0.03)


def test_a_teachers_folder_without_videos_or_with_broken_ones_says_so(tmp_path):
    rig = builtin_head()
    with pytest.raises(DataError, match="0 videos in it"):
        Videos(tmp_path, rig, 32)
    (tmp_path / "broken.mp4").write_bytes(b"not a video" * 100)
    told = []
    with pytest.raises(DataError, match="none of 1 videos can be used"):
        Videos(tmp_path, rig, 32, cache=tmp_path / "cache", report=told.append)
    assert any("broken.mp4: not a video" in line for line in told)


def test_synthesize_writes_a_teachers_folder(tmp_path):
    from backend.cli.main import run
    from backend.training.data.videos import _spread

    assert run(["synthesize", str(tmp_path / "teacher"), "--videos", "--count", "2", "--views", "2", "--size", "64"]) == 0
    files = sorted((tmp_path / "teacher").iterdir())
    assert [file.suffix for file in files] == [".mp4", ".mp4"]
    assert len(_spread(files[0], 2)) == 2
