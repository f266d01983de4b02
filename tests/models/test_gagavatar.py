"""GAGAvatar: the released file's keys, its quirks, checkpoints that are checked, and an avatar from a photo.

Its numbers against the released code are in tests/parity. The test of the real checkpoint runs by itself where the file is:
LOOKALIKE_GAGAVATAR=/path/GAGAvatar.pt, or added by `lookalike models add`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.models import reconstructor
from backend.models.gagavatar import GAGAvatar
from backend.models.gagavatar.checkpoint import load_network, load_refiner
from backend.models.gagavatar.drawing import draw, draw_as_released
from backend.models.gagavatar.losses import enlarged_box, losses
from backend.models.gagavatar.network import FLAME_VERTICES, FeatureGaussians, GAGAvatarNetwork
from backend.models.gagavatar.perceptual import FacePerceptualLoss
from backend.models.gagavatar.splats import avatar_splats, pooled
from backend.models.interface import Silent
from backend.models.networks import (
    DinoBase,
    DinoFeatures,
    DinoV2,
    StyleUNet,
    harmonic_embedding,
    lifting_plane,
    opencv_camera,
    to_pytorch3d,
)
from backend.parity import camera, fill, noise_image
from backend.protocol.avatar import Driver
from backend.protocol.avatar_file import decode_avatar, encode_avatar
from backend.protocol.errors import RigError, WeightsError
from backend.rig import builtin_head
from backend.rig.rig import Rig
from backend.splats.covariance import raw_covariances
from backend.splats.posed import Posable
from backend.tracking import load_image
from backend.tracking.fit import Fit
from backend.tracking.portrait import Face, Portrait
from tests.made_up_flame import made_up_flame

KEYS = 597
KEYS_DIGEST = "5ffdfe5c1124ad7bdad5b6035f4b178d2a9e634cb3c16e9789bc6d9e7156f972"
"""Of the sorted lines "key 1x2x3", from the released classes."""
SALT = b"tests"
GAGAVATAR_SHA256 = "75d449fd1d67dd7bbc613cef17f0196b1c84766935adc75d5231bc89e33950f8"


def small_encoder() -> DinoBase:
    return DinoBase(DinoV2(width=48, depth=4, heads=2), width=32, levels=(16, 16, 32, 32))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Small sizes: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> GAGAvatarNetwork:
    """The whole network in small, with the parity recipe's weights: maps of 40 pixels, pictures of 64."""
    net = GAGAvatarNetwork(encoder=small_encoder(), input_size=70, size=64).eval().requires_grad_(False)
    fill(net, SALT)
    return net


@pytest.fixture(scope="module")
def rig() -> Rig:
    return made_up_flame(SALT)


@pytest.fixture(scope="module")
def fitted(rig) -> Fit:
    view = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    view[2, 3] = 0.9
    lens = np.array([[900, 0, 256], [0, 900, 256], [0, 0, 1]], np.float32)
    pose = np.zeros((5, 3), np.float32)
    pose[2, 0] = 0.1
    driver = Driver({"expr000": 0.5, "expr003": -0.4}, pose, view, lens, (512, 512))
    shape = np.zeros(300, np.float32)
    shape[:4] = 0.5
    return Fit(shape, rig.template, (driver,), (np.zeros_like(rig.template),), 0, (0.0,), (0.0,), 0.0)


@pytest.fixture(scope="module")
def portrait() -> Portrait:
    image = noise_image("tests.image", SALT).astype(np.float32) / 255
    turn = 2 * np.pi * np.arange(478) / 478
    landmarks = np.stack([256 + 100 * np.sin(turn), 256 - 120 * np.cos(turn), 0 * turn], -1).astype(np.float32)
    return Portrait(image, (image.max(2) > 0).astype(np.float32), Face(landmarks, 0.99, 0.99), "noise.png", "0" * 64)


@pytest.fixture(scope="module")
def avatar(network, rig, fitted, portrait):
    return GAGAvatar(device="cpu").reconstruct_fitted([portrait], rig, fitted, network, Silent())


def test_keys_and_shapes_are_the_released_checkpoints():
    with torch.device("meta"):
        state = GAGAvatarNetwork(perceptual=True).state_dict()
    lines = sorted(f"{key} {'x'.join(map(str, value.shape))}" for key, value in state.items())
    assert len(lines) == KEYS
    assert sum(value.numel() for value in state.values()) == 186_800_582
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == KEYS_DIGEST


def test_lifted_gaussians_start_from_the_plane_through_the_origin(network):
    transform = torch.from_numpy(camera(20, 5, 3, 9.5))[None]
    points, axis = lifting_plane(transform, 40)
    torch.testing.assert_close(points @ axis[0], torch.zeros(1, 1600), atol=1e-5, rtol=0)
    features = DinoFeatures(torch.randn(1, 32, 40, 40), torch.randn(1, 25, 48))
    gaussians = network.gaussians(features, transform)
    depth = (gaussians.means[0, FLAME_VERTICES:] @ axis[0]).reshape(2, 1600)
    assert (depth[0] > 0).all()
    assert (depth[1] < 0).all()
    assert depth.abs().max() < 1


def test_quirks_of_rotation_and_colour_are_the_released_ones(network):
    features = DinoFeatures(torch.randn(1, 32, 40, 40), torch.randn(1, 25, 48))
    parts = network.branches(features, torch.from_numpy(camera(0, 0, 0, 10.0))[None])
    torch.testing.assert_close(parts.vertex.rotations.norm(dim=1), torch.ones(1, 4))  # Q2: over vertices
    torch.testing.assert_close(parts.front.rotations.norm(dim=2), torch.ones(1, 1600))
    columns = parts.front.colors.reshape(40, 40, 32)
    assert ((columns[:, :3] > 0) & (columns[:, :3] < 1)).all()  # Q3: three columns, all channels
    assert (columns[:, 3:, :3] < 0).any()
    changed = features._replace(tokens=torch.cat([features.tokens[:, :1], 5 + features.tokens[:, 1:]], 1))
    again = network.branches(changed, torch.from_numpy(camera(0, 0, 0, 10.0))[None])
    assert torch.equal(again.vertex.colors, parts.vertex.colors)  # Q1: the first patch token only


def test_direction_embedding_orders_octaves_within_components():
    e = harmonic_embedding(torch.tensor([0.1, 0.2, 0.3]))
    expected = [np.sin(x * s) for x in (0.1, 0.2, 0.3) for s in (1, 2, 4, 8)]
    np.testing.assert_allclose(e[:12], expected, rtol=1e-5)
    np.testing.assert_allclose(e[24:], [0.1, 0.2, 0.3])


def test_cameras_convert_both_ways():
    transform = torch.from_numpy(camera(33, -12, 7, 9.7, 0.1, -0.2))
    torch.testing.assert_close(to_pytorch3d(opencv_camera(transform)[0]), transform)


def some_gaussians(count: int = 3000, seed: int = 0) -> FeatureGaussians:
    g = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=g)
    return FeatureGaussians(
        0.3 * normal(1, count, 3), normal(1, count, 32), torch.rand(1, count, 1, generator=g),
        0.02 * torch.rand(1, count, 3, generator=g) + 0.002, 0.03 * normal(1, count, 4),
    )  # fmt: skip


def test_own_rasterizer_draws_what_the_released_one_drew():
    """With covariances passed, what is left is the cut at tile borders (alpha below a few hundredths) and the cap of alpha."""
    gaussians, transform = some_gaussians(), torch.from_numpy(camera(10, 5, 0, 9.5))[None]
    ours, (released, _) = draw(gaussians, transform, 128), draw_as_released(gaussians, transform, 128)
    error = (ours - released).abs()
    assert error.median() < 1e-3
    assert error.mean() < 0.01 * released.abs().mean()
    wrong = draw(gaussians._replace(rotations=torch.nn.functional.normalize(gaussians.rotations, dim=-1)), transform, 128)
    assert (wrong - released).abs().mean() > 5 * error.mean()  # what normalising the quaternions would do


def test_raw_covariances_agree_with_rotation_matrices_for_unit_quaternions():
    quats, scales = torch.nn.functional.normalize(torch.randn(50, 4), dim=-1), torch.rand(50, 3)
    covariance = raw_covariances(quats, scales)
    torch.testing.assert_close(torch.linalg.eigvalsh(covariance), scales.sort(-1).values ** 2, atol=1e-5, rtol=1e-4)


def test_stored_noise_makes_the_refiner_repeatable(network):
    features = torch.randn(1, 32, 64, 64)
    first = network.refine(features)
    assert torch.equal(first, network.refine(features))
    assert not torch.equal(first, network.refine(features, randomize_noise=True))


def test_losses_flow_back_to_pictures_and_points():
    net = FacePerceptualLoss()
    target = torch.rand(1, 3, 64, 64)
    coarse, refined = (torch.rand(1, 3, 64, 64, requires_grad=True) for _ in range(2))
    lifted = torch.randn(1, 30, 3, requires_grad=True)
    terms = losses(net, coarse, refined, target, torch.tensor([[0.2, 0.2, 0.8, 0.7]]), torch.randn(1, 40, 3), lifted, crop=64)
    sum(terms).backward()
    assert all(tensor.grad.abs().sum() > 0 for tensor in (coarse, refined, lifted))
    same = losses(net, target, target, target, torch.tensor([[0.2, 0.2, 0.8, 0.7]]), torch.randn(1, 40, 3), lifted, crop=64)
    assert same.img_loss == same.box_loss == same.percep_loss == 0


def test_box_stays_square_and_inside():
    box = enlarged_box(torch.tensor([[0.3, 0.3, 0.6, 0.7], [0.0, 0.2, 0.4, 0.6]]))
    torch.testing.assert_close(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1])
    assert (box >= -1e-6).all()
    assert (box <= 1).all()


def test_avatar_has_three_levels_that_render_and_survive_a_file(avatar):
    assert [len(level) for level in avatar.lods] == [FLAME_VERTICES + 2 * side * side for side in (10, 20, 40)]
    assert len(avatar.shoulders) == 0
    again = decode_avatar(encode_avatar(avatar))
    for level in range(3):
        np.testing.assert_array_equal(again.lods[level].position, avatar.lods[level].position)
        assert len(again.features[f"gagavatar.lod{level}"]) == len(avatar.lods[level])
    assert avatar.provenance["model"] == "gagavatar"


def test_lifted_splats_stay_while_the_face_moves(avatar):
    still, moved = (Posable(avatar, 0).pose(expression) for expression in ({}, {"expr000": 2.0, "expr005": -2.0}))
    shift = np.linalg.norm(still.position - moved.position, axis=1)
    assert shift[:FLAME_VERTICES].max() > 1e-3
    assert shift[FLAME_VERTICES:].max() < 1e-4


def test_splats_have_the_networks_covariances_in_metres(rig):
    gaussians = some_gaussians(FLAME_VERTICES + 2 * 4 * 4)
    splats = avatar_splats(rig.bake(rig.template), gaussians)
    own = raw_covariances(torch.from_numpy(splats.rotation), torch.from_numpy(splats.scale))
    expected = raw_covariances(gaussians.rotations[0], gaussians.scales[0]) / 25
    torch.testing.assert_close(own, expected, atol=1e-9, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(splats.rotation, axis=1), 1, atol=1e-5)


def test_pooled_gaussians_keep_their_place_and_cover_as_much(network):
    gaussians = some_gaussians(FLAME_VERTICES + 2 * 16 * 16)
    half = pooled(gaussians, 2)
    assert half.means.shape[1] == FLAME_VERTICES + 2 * 8 * 8
    assert torch.equal(half.means[:, :FLAME_VERTICES], gaussians.means[:, :FLAME_VERTICES])
    first = gaussians.means[0, FLAME_VERTICES:].reshape(2, 16, 16, 3)[0, :2, :2].reshape(4, 3)
    assert (half.means[0, FLAME_VERTICES] >= first.min(0).values - 1e-5).all()
    assert (half.means[0, FLAME_VERTICES] <= first.max(0).values + 1e-5).all()


def test_refined_picture_of_a_saved_avatar(avatar, network, monkeypatch):
    from backend.models.gagavatar import reconstructor as module

    monkeypatch.setattr(module, "load_refiner", lambda path: network.upsampler)
    model = GAGAvatar(weights="unused.pt", device="cpu")
    picture = model.refine(avatar, 0, 20, 0, {"expr001": 1.0})
    assert picture.shape == (64, 64, 3)
    assert np.isfinite(picture).all()
    assert 0 <= picture.min() <= picture.max() <= 1
    assert not np.allclose(picture, model.refine(avatar, 0, -20, 0, {}))
    with pytest.raises(RigError, match="has no features"):
        model.refine(replace(avatar, features={}), 0, 0, 0)


def test_the_environment_names_ones_own_weights(avatar, monkeypatch, tmp_path):
    monkeypatch.setenv("LOOKALIKE_GAGAVATAR", str(tmp_path / "gagavatar-alice.safetensors"))
    with pytest.raises(WeightsError, match=r"gagavatar-alice\.safetensors: cannot be read"):
        GAGAvatar(device="cpu").refine(avatar, 0, 0, 0)


def test_missing_weights_and_another_rig_are_told(monkeypatch, tmp_path, portrait):
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    monkeypatch.delenv("LOOKALIKE_GAGAVATAR", raising=False)
    with pytest.raises(WeightsError, match=r"'gagavatar'.*GAGAvatar\.pt.*models add"):
        reconstructor("gagavatar").reconstruct([portrait], builtin_head(), Silent())
    with pytest.raises(RigError, match="--rig"):
        GAGAvatar(weights=tmp_path / "GAGAvatar.pt").reconstruct([portrait], builtin_head(), Silent())


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"head_base": torch.zeros(4, 256)}, r"head_base has shape \(4, 256\), expected \(5023, 256\)"),
        ({"head_base": torch.zeros(5023, 256)}, r"base_model\..* is missing \(559 of 561 tensors are\)|is missing \(560 of 561"),
        ({"encoder.weight": torch.zeros(3)}, "head_base is missing"),
    ],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_another_model_name_the_tensor(tmp_path, state, said, suffix):
    path = tmp_path / f"GAGAvatar{suffix}"
    if suffix == ".pt":
        torch.save({"model": state, "meta_cfg": {}}, path)
    else:
        save_file(state, path)
    with pytest.raises(WeightsError, match=said) as caught:
        load_network(path)
    assert "lookalike models" in str(caught.value)


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_hostile_truncated_and_missing_checkpoints_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "GAGAvatar.pt"
    with pytest.raises(WeightsError, match=r"GAGAvatar\.pt: cannot be read"):
        load_network(path)
    torch.save({"model": {"head_base": torch.zeros(5023, 256)}, "meta_cfg": Evil()}, path)
    for load in (load_network, load_refiner):
        with pytest.raises(WeightsError, match="which no such file needs"):
            load(path)
    assert not (tmp_path / "ran").exists()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="not a readable torch file"):
        load_network(path)


def test_refiner_alone_is_read_and_checked(tmp_path):
    state = {f"upsampler.{key}": value for key, value in StyleUNet().state_dict().items()}
    path = tmp_path / "gagavatar.safetensors"
    save_file({**state, "head_base": torch.zeros(3)}, path)
    net = load_refiner(path)
    assert torch.equal(net.final_linear.weight, state["upsampler.final_linear.weight"])
    state["upsampler.final_linear.weight"][0, 0] = torch.nan
    save_file(state, path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(WeightsError, match=r"final_linear\.weight holds numbers that are not finite"):
        load_refiner(path)
    save_file({key: value for key, value in state.items() if "final_linear" not in key}, path)
    os.utime(path, ns=(2, 2))
    with pytest.raises(WeightsError, match=r"final_linear\.weight is missing"):
        load_refiner(path)


def real_checkpoint() -> Path | None:
    """Where the user's file is, or what `lookalike models add` made of it."""
    from backend.weights.store import weights_path

    if given := os.environ.get("LOOKALIKE_GAGAVATAR"):
        return Path(given)
    try:
        return weights_path("gagavatar")
    except WeightsError:
        return None


def test_the_real_checkpoint_loads_strictly_and_draws(portrait_file):
    path = real_checkpoint()
    if path is None:
        pytest.skip("needs GAGAvatar.pt: set LOOKALIKE_GAGAVATAR=/path/GAGAvatar.pt, or add it with lookalike models add")
    if path.suffix == ".pt":
        with path.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == GAGAVATAR_SHA256
    net = load_network(path, perceptual=True)
    image = load_image(portrait_file).image
    transform = torch.from_numpy(camera(0, 0, 0, 10.0))[None]
    gaussians = net.gaussians(net.encode(torch.from_numpy(image).permute(2, 0, 1)[None]), transform)
    drawn = draw(gaussians, transform)
    refined = net.refine(drawn)
    # The first three features are trained to be the picture: they have a picture's range.
    low, high = torch.quantile(drawn[0, :3].flatten()[::7], torch.tensor([0.01, 0.99]))
    assert -1 < low < high < 2
    assert refined.std() > 0.05
    # Seen from its own camera the photo comes back, roughly: far nearer than a grey picture.
    target = torch.nn.functional.interpolate(torch.from_numpy(image).permute(2, 0, 1)[None], (512, 512), mode="area")
    assert (refined - target).abs().mean() < (target.mean() - target).abs().mean()
