"""Losses and held-out measures mean what their names say."""

import numpy as np
import pytest
import torch
from torch import nn

from backend.evaluation import metrics
from backend.models.gagavatar.perceptual import AlexNetSlices
from backend.protocol.errors import WeightsError
from backend.training.config import LossConfig
from backend.training.held_out import Measures, Report, measure
from backend.training.identity_net import IdentityNet, aligned_face, identity_net
from backend.training.losses import Drawn, cut_boxes, person_boxes, ssim, total_loss
from backend.training.perceptual import LPIPS, load_alexnet, load_lpips, load_perceptual_loss
from backend.weights.store import add


def test_ssim_is_the_evaluations():
    rng = np.random.default_rng(0)
    a, b = (rng.uniform(size=(40, 48, 3)).astype(np.float32) for _ in range(2))
    for other in (b, 0.9 * a + 0.1 * b):
        tensors = (torch.from_numpy(x.transpose(2, 0, 1)).double()[None] for x in (a, other))
        assert float(ssim(*tensors)) == pytest.approx(metrics.ssim(a, other), abs=1e-6)


def test_losses_are_means_over_both_pictures_and_only_those_asked_for():
    truth, matte = torch.rand(2, 3, 16, 16), torch.ones(2, 1, 16, 16)
    drawn = Drawn(truth + 0.5, truth, offsets=torch.full((2, 5, 3), 0.1), lifted=torch.zeros(2, 4, 3), vertices=torch.ones(2, 7, 3))
    total, parts = total_loss(drawn, truth, matte, LossConfig(l1=2, l2=1, offsets=10, points=0.5))
    assert {name: pytest.approx(float(value), abs=1e-5) for name, value in parts.items()} == {
        "l1": 0.25, "l2": 0.125, "points": 3.0, "offsets": 0.03,
    }  # fmt: skip
    assert float(total) == pytest.approx(2 * 0.25 + 0.125 + 0.5 * 3 + 10 * 0.03, abs=1e-5)
    assert set(total_loss(drawn, truth, matte, LossConfig(l1=1))[1]) == {"l1"}


def test_the_persons_box_is_cut_out():
    matte = torch.zeros(2, 1, 40, 40)
    matte[0, :, 10:20, 5:12] = 1
    assert person_boxes(matte) == [(3, 9, 14, 20), (0, 0, 40, 40)]
    picture = torch.rand(2, 3, 40, 40)
    assert torch.equal(cut_boxes(picture, person_boxes(matte))[1], picture[1])


@pytest.fixture
def alexnet(tmp_path, monkeypatch):
    """Random weights in torchvision's and LPIPS' layouts, added as a user adds them; the same net made of torch's own layers."""
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    torch.manual_seed(0)
    sizes = ((3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1), (256, 256, 3, 1, 1))
    convolutions = [nn.Conv2d(a, b, k, s, p) for a, b, k, s, p in sizes]
    pool = lambda: nn.MaxPool2d(3, 2)
    layers = [convolutions[0], nn.ReLU(), pool(), convolutions[1], nn.ReLU(), pool()]
    for convolution in convolutions[2:]:
        layers += [convolution, nn.ReLU()]
    net = nn.Sequential(*layers)
    torch.save(
        {f"features.{key}": value for key, value in net.state_dict().items()} | {"classifier.1.bias": torch.zeros(9)}, tmp_path / "a.pth"
    )
    weights = {f"lin{i}.model.1.weight": torch.rand(1, size[1], 1, 1) for i, size in enumerate(sizes)}
    torch.save(weights, tmp_path / "alex.pth", _use_new_zipfile_serialization=False)
    for file in ("a.pth", "alex.pth"):
        add(tmp_path / file, trust=True)
    return net, weights


def test_lpips_is_its_formula(alexnet):
    net, weights = alexnet
    measured = load_lpips()
    assert measured is not None
    a, b = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    mean, std = torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    x, y, expected, index = (a - mean) / std, (b - mean) / std, torch.zeros(2), 0
    for layer in net:
        x, y = layer(x), layer(y)
        if isinstance(layer, nn.ReLU):
            difference = (nn.functional.normalize(x, dim=1) - nn.functional.normalize(y, dim=1)) ** 2
            expected = expected + (difference * weights[f"lin{index}.model.1.weight"]).sum(1).mean((1, 2))
            index += 1
    torch.testing.assert_close(measured(a, b), expected, atol=1e-5, rtol=1e-4)
    assert float(measured(a, a).abs().max()) == 0
    loss = load_perceptual_loss()
    assert float(loss(a, b)) > float(loss(a, 0.9 * a + 0.1 * b)) > 0


def test_perceptual_measures_need_their_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    assert load_lpips() is None
    with pytest.raises(WeightsError, match="models fetch alexnet"):
        load_alexnet()
    with pytest.raises(WeightsError, match="lin0"):
        LPIPS(AlexNetSlices(), {})


def test_arcfaces_layout_gives_its_depth_and_size():
    net = IdentityNet((3, 4, 14, 3))
    # iResNet-50 as InsightFace publishes it: 43.59 million parameters.
    assert round(sum(p.numel() for p in net.parameters()) / 1e6, 2) == 43.59
    small = IdentityNet((1, 1, 1, 1)).eval()
    read = identity_net(small.state_dict())
    face = torch.rand(1, 3, 112, 112)
    torch.testing.assert_close(read(face), small(face))
    assert float(read(face).norm()) == pytest.approx(1, abs=1e-5)
    with pytest.raises(WeightsError, match="not ArcFace"):
        identity_net({"conv1.weight": torch.zeros(1)})


def test_faces_are_aligned_as_arcface_expects():
    landmarks = np.zeros((478, 3), np.float32)
    for index, place in zip((468, 473, 4, 61, 291), ((38.3, 51.7), (73.5, 51.5), (56.0, 71.7), (41.5, 92.4), (70.7, 92.2)), strict=True):
        landmarks[index, :2] = 2 * np.array(place) + [30, 10]
    y, x = np.mgrid[:300, :300].astype(np.float32)
    face = aligned_face(np.stack([x, y, x], -1) / 300, landmarks)
    assert float(face[0, 0, 50, 50]) * 300 == pytest.approx(2 * 50 + 30, abs=2)
    assert float(face[0, 1, 50, 50]) * 300 == pytest.approx(2 * 50 + 10, abs=2)


def test_a_perfect_network_measures_perfect(people_folder, small_rig):
    from backend.training.data.batch import Pairs, Sample
    from backend.training.data.vhap import VhapFolders

    pairs = Pairs({"people": VhapFolders(people_folder, small_rig, 64)}, 0)
    samples = [Sample("people", number, 1) for number in range(3)]
    perfect = measure(lambda batch: Drawn(batch.target.image), pairs, samples, Measures(), torch.device("cpu"))
    assert isinstance(perfect, Report)
    assert perfect.values["ssim"] == pytest.approx(1)
    assert perfect.values["psnr"] == float("inf")
    assert perfect.counts["l1"] == 3
    off = measure(lambda batch: Drawn(batch.target.image * 0.9), pairs, samples, Measures(), torch.device("cpu"))
    assert 20 < off.values["psnr"] < 40
    assert off.picture is not None
    assert off.picture.shape == (3 * 64, 3 * 64, 3)
