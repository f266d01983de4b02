"""FFAvatar under training: several photos a sample, three stages, and what the set knows of the rig is learned from."""

from pathlib import Path

import pytest
import torch

from backend.models.ffavatar import load_network
from backend.training.config import read_config
from backend.training.data.batch import Sample, collate
from backend.training.errors import TrainingError
from backend.training.learners import FFAvatarLearner, make_learner
from backend.training.schedule import Plan
from backend.training.trainer import _pairs, train

CONFIGS = Path(__file__).resolve().parents[2] / "backend" / "training" / "configs"


@pytest.fixture
def config_file(write_config):
    """The small training, of FFAvatar with one to three photos."""
    path = write_config(measured=4, steps=4, every=2)
    text = path.read_text().replace("[model]", '[model]\nname = "ffavatar"\nanchors = 30')
    text = text.replace('data = "people"\n', 'data = "people"\nphotos = [1, 3]\n').replace("offsets = 1.0", "offsets = 1.0\nrig = 1.0")
    path.write_text(text.replace("pairs = 2", "pairs = 2\nphotos = 2"))
    return path


def test_a_run_leaves_a_network_that_reconstructs(config_file, tmp_path, small_rig):
    outcome = train(read_config(config_file), tmp_path / "run")
    assert outcome.steps == 4
    assert {"psnr", "psnr_coarse"} <= set(outcome.values)
    network = load_network(outcome.model, small_rig)
    assert network.config.anchors == 30
    assert network.config.levels == 1
    assert load_network(tmp_path / "run" / "best.safetensors", small_rig).config == network.config


def test_the_known_rig_teaches_what_is_read_off_the_pixels(config_file, small_rig):
    config = read_config(config_file)
    torch.manual_seed(0)
    learner = make_learner(config, small_rig)
    assert isinstance(learner, FFAvatarLearner)
    learned, _ = _pairs(config, small_rig, lambda line: None)
    batch = collate([learned[Sample("people", number, 2)] for number in range(4)])
    optimiser = torch.optim.Adam(learner.parameters(), 3e-3)
    errors = []
    for _ in range(25):
        error = learner.rig_error(learner.network.look(batch.target.image).rig, batch.target)
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        errors.append(error.item())
    assert errors[-1] < 0.6 * errors[0]


def test_the_three_stages_are_ffavatars():
    config = read_config(CONFIGS / "three-stages.toml")
    plan = Plan(config)
    assert config.model.name == "ffavatar"
    assert config.loss.rig > 0
    sets = [plan.stage(round(config.steps * share)).data for share in (0.1, 0.9, 0.999)]
    assert sets == ["monocular", "multiview", "person"]
    assert config.steps - round(config.steps * sum(stage.share for stage in config.stages[:2])) == 500
    assert len({plan.sample(step)[1] for step in range(200)}) > 1


def test_wrong_sizes_and_photos_are_told(config_file, small_rig):
    text = config_file.read_text()
    config_file.write_text(text.replace("heads = 2", "heads = 3"))
    config = read_config(config_file)
    with pytest.raises(TrainingError, match="heads must divide dim"):
        make_learner(config, small_rig)
    config_file.write_text(text.replace("photos = 2", "photos = 20"))
    with pytest.raises(TrainingError, match="held_out: photos"):
        read_config(config_file)
    config_file.write_text(text.replace('name = "ffavatar"', 'name = "omg"'))
    with pytest.raises(TrainingError, match="takes one photo"):
        read_config(config_file)
