"""Configurations: what could only fail after hours, or not be what was meant, is refused when they are read."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from backend.protocol.errors import WeightsError
from backend.training.config import read_config
from backend.training.errors import TrainingError
from backend.training.learners import make_learner


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pairs = 2", "pairs = 0", "every and pairs must be at least 1"),
        ("every = 3\npairs", "every = 0\npairs", "every and pairs must be at least 1"),
        ("l1 = 1.0\nssim = 0.1", "l1 = 0.0", "l1, l2, ssim or perceptual is more than 0"),
        ("l1 = 1.0", "l1 = -1.0", "no factor is negative"),
        ('[data.people]\nkind = "vhap"', '[data.people]\nframes = 501\nkind = "videos"', "at most 500"),
        ('levels = { "0" = 0.5', 'photos = [1, 2]\nlevels = { "0" = 0.5', "omg takes one photo"),
    ],
)
def test_what_could_only_fail_hours_later_is_refused_at_once(write_config, old, new, message):
    path = write_config()
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(TrainingError, match=message):
        read_config(path)


@pytest.mark.parametrize(("named", "file"), [("dino.safetensors", True), ("dinov2-b", False)])
def test_an_encoders_file_lies_beside_the_configuration(write_config, tmp_path, named, file):
    path = write_config()
    path.write_text(path.read_text().replace('encoder = "tiny"', f'encoder = "tiny"\nencoder_weights = "{named}"'))
    assert read_config(path).model.encoder_weights == (str(tmp_path / named) if file else named)


def test_training_starts_from_weights_that_carry_the_losss_nets_and_geometry(write_config, small_rig, tmp_path):
    config = read_config(write_config())
    made = make_learner(config, small_rig).network.state_dict()
    carried = {"percep_loss.net.weight": torch.zeros(3), "flame_model.v_template": torch.zeros(3), "subdivider.faces": torch.zeros(3)}
    save_file({**made, **carried}, tmp_path / "released.safetensors")
    started = replace(config, model=replace(config.model, weights=str(tmp_path / "released.safetensors")))
    network = make_learner(started, small_rig).network
    assert all(torch.equal(value, made[key]) for key, value in network.state_dict().items())
    save_file({**made, "another.weight": torch.zeros(3)}, tmp_path / "released.safetensors")
    with pytest.raises(WeightsError, match=r"another\.weight is not part"):
        make_learner(started, small_rig)
