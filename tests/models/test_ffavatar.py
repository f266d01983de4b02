"""FFAvatar: any photos in any order, one more at the price of one, the rig read off pixels, weights that are checked, an avatar."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from backend import models
from backend.cli.main import run
from backend.models import reconstructor
from backend.models.ffavatar import FFAvatar, FFAvatarNetwork, FFConfig, load_network
from backend.models.ffavatar import network as ff_network
from backend.models.ffavatar.bust import bust_mesh
from backend.models.ffavatar.config import ENCODERS
from backend.models.ffavatar.reconstructor import FEW, ffavatar_weights
from backend.models.ffavatar.rig_estimator import rotation_of_six, shared_shape
from backend.models.ffavatar.sitting import TOKENS
from backend.models.interface import Silent
from backend.models.networks import METRE
from backend.models.omg.sampling import project
from backend.protocol.avatar_file import decode_avatar, encode_avatar, read_avatar, write_avatar
from backend.protocol.errors import FaceError, RigError, WeightsError
from backend.rig import builtin_head, pose_vertices
from backend.rig.rig import Rig
from tests.models.test_omg import RIG

SIZE, PICTURE = 48, 56


def small_network(seed: int = 0, rig: Rig = RIG, **changes: int) -> FFAvatarNetwork:
    torch.manual_seed(seed)
    sizes = {"dim": 24, "layers": 2, "heads": 2, "feedforward": 32, "hidden": 16, "encoder": ENCODERS.index("tiny"), "picture": PICTURE}
    network = FFAvatarNetwork(FFConfig.of_rig(rig, **(sizes | changes)), rig)
    # At the start every picture is the mean head from the front; here pictures shall differ.
    torch.nn.init.normal_(network.estimator.out.weight, std=0.1)
    return network.eval().requires_grad_(False)


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(count))


def write(path, network: FFAvatarNetwork, **changed: torch.Tensor) -> None:
    save_file({key: value.contiguous() for key, value in (network.state_dict() | changed).items()}, path)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_photos_in_any_order_is_one_head(count):
    network = small_network()
    seen = network.look(pictures(count)).split(count)
    head, other = network.fuse(seen), network.fuse(seen[::-1])
    for name in ("shape", "features", "offsets", "bust_features", "bust_offsets"):
        torch.testing.assert_close(getattr(head, name), getattr(other, name), atol=1e-5, rtol=0)
    if count > 1:
        fewer = network.fuse(seen[:-1])
        assert (fewer.features - head.features).abs().max() > 1e-3  # every photo has its say
        assert (fewer.shape - head.shape).abs().max() > 1e-4


def test_a_photo_looks_the_same_alone_and_among_others():
    network, images = small_network(), pictures(3)
    together, alone = network.look(images).split(3)[1], network.look(images[1:2])
    torch.testing.assert_close(together.tokens, alone.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.rig.camera, alone.rig.camera, atol=1e-5, rtol=0)


def test_the_sure_photo_decides_the_shared_shape():
    network = small_network()
    one, two = (glimpse.rig for glimpse in network.look(pictures(2)).split(2))
    sure = replace(two, confidence=one.confidence + 30)
    torch.testing.assert_close(shared_shape([one, sure]), two.shape)
    equal = replace(two, confidence=one.confidence)
    torch.testing.assert_close(shared_shape([one, equal]), (one.shape + two.shape) / 2)


def test_the_camera_shows_the_head_where_the_estimate_says():
    network = small_network()
    raw = torch.tensor([[0.3, -0.2, 0.1, 0.2, 0.1, -0.4, 0.2, -0.1, 0.3], [0.0] * 9])
    camera = network.estimator._camera(raw)
    middle = METRE * torch.from_numpy(RIG.template.mean(0))
    screen = project(middle.expand(2, 1, 3), camera)[:, 0]
    torch.testing.assert_close(screen[:, :2], raw[:, 6:8].tanh(), atol=1e-5, rtol=0)
    torch.testing.assert_close(screen[:, 2], 12 * raw[:, 8].tanh().exp(), atol=1e-4, rtol=0)
    turn = rotation_of_six(raw[:, :6])
    torch.testing.assert_close(turn @ turn.transpose(1, 2), torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0)
    assert torch.det(turn).min() > 0.999
    # No turn is a head that looks into the camera, upright: its right ear to the picture's left, nose nearer than nape.
    ear, crown, nose = (METRE * torch.tensor([p]) for p in ([-0.07, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.0, 0.09]))
    seen = project(torch.cat([ear, crown, nose])[None], camera[1:])[0]
    assert seen[0, 0] < -0.1
    assert seen[1, 1] < -0.1
    assert seen[2, 2] < seen[0, 2] - 0.2


def test_coarse_level_is_a_part_of_the_fine_one():
    network = small_network()
    head = network.fuse([network.look(pictures(1))])
    fine, coarse = network.head_gaussians(head, 2), network.head_gaussians(head, 0)
    for ours, theirs in zip(coarse[:4], fine[:4], strict=True):
        assert torch.equal(ours, theirs[:, : network.levels.counts[0]])
    assert [network.head_gaussians(head, level).opacities.shape[1] for level in (0, 1, 2)] == network.levels.counts
    torch.testing.assert_close(fine.rotations.norm(dim=-1), torch.ones(1, network.levels.counts[2]))


def test_few_anchors_are_spread_and_all_queries_still_look_at_them():
    network = small_network(anchors=20)
    places = np.concatenate([RIG.template, bust_mesh(RIG.template)[0]])
    chosen = places[network.former.get_buffer("anchors").numpy()]
    apart = np.linalg.norm(chosen[:, None] - chosen, axis=2) + np.eye(20)
    assert apart.min() > 0.03
    assert np.linalg.norm(places[:, None] - chosen, axis=2).min(1).max() < 0.12
    assert network.fuse([network.look(pictures(1))]).features.shape[1] == len(RIG.template)


def test_a_training_step_lowers_the_loss_as_its_gradient_says():
    network = small_network().requires_grad_(True)
    images = pictures(3)
    target = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(4)).repeat_interleave(8, 2).repeat_interleave(8, 3)

    def loss():
        *photos, driver = network.look(images).split(3)
        head = network.fuse(photos)
        return (network.draw(head, driver.rig, 2, SIZE) - target).square().mean() + head.offsets.square().mean()

    before = loss()
    before.backward()
    assert [n for n, p in network.named_parameters() if p.grad is None and "mask_token" not in n] == []
    gradients = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    taught = network.estimator.out.weight.grad
    assert taught is not None
    assert taught.abs().max() > 0  # the drawn picture teaches what is read off the photos
    slope = sum(float(g.square().sum()) for _, g in gradients)
    rate = 0.003 * before.item() / slope
    with torch.no_grad():
        for parameter, gradient in gradients:
            parameter.sub_(rate * gradient)
        after = loss()
    assert 0.5 < (before.item() - after.item()) / (rate * slope) < 1.5


def test_weights_round_trip_and_are_checked(tmp_path):
    network, path = small_network(), tmp_path / "best.safetensors"
    write(path, network)
    again = load_network(path, RIG)
    assert again.config == network.config
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(WeightsError, match=f"{len(RIG.template)} vertices"):
        load_network(path, replace(RIG, template=RIG.template[:-1]))
    with pytest.raises(WeightsError, match="other triangles or expressions"):
        load_network(path, replace(RIG, expression_names=tuple(reversed(RIG.expression_names))))
    with pytest.raises(WeightsError, match="3 expressions"):
        load_network(path, replace(RIG, expression_names=RIG.expression_names[:2], expression_basis=RIG.expression_basis[:2]))
    write(path, network, **{"former.place.0.weight": torch.zeros(24, 3)})
    with pytest.raises(WeightsError, match=r"former\.place\.0\.weight has shape \(24, 3\), expected \(24, 39\)"):
        load_network(path, RIG)
    write(path, network, **{"former.own": torch.full_like(network.former.own, torch.nan)})
    with pytest.raises(WeightsError, match=r"former\.own holds numbers that are not finite"):
        load_network(path, RIG)
    for layers in (1 << 40, 65):  # more than any network has: no module is made for them
        huge = network.config.tensor
        huge[5] = layers
        write(path, network, sizes=huge)
        with pytest.raises(WeightsError, match=r"sizes is damaged.*layers"):
            load_network(path, RIG)
    save_file({"head_base": torch.zeros(5023, 256)}, path)
    with pytest.raises(WeightsError, match="sizes is missing"):
        load_network(path, RIG)
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        load_network(tmp_path / "none.safetensors", RIG)


def test_missing_weights_say_that_nobody_released_any(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    monkeypatch.delenv("LOOKALIKE_FFAVATAR", raising=False)
    with pytest.raises(WeightsError, match=r"released none.*lookalike train"):
        ffavatar_weights()
    monkeypatch.setenv("LOOKALIKE_FFAVATAR", str(tmp_path / "own.safetensors"))
    assert ffavatar_weights() == tmp_path / "own.safetensors"
    assert reconstructor("ffavatar").name == "ffavatar"


def test_trained_weights_can_be_added_to_the_models_folder(tmp_path, monkeypatch):
    from backend.weights.store import add

    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LOOKALIKE_FFAVATAR", raising=False)
    write(tmp_path / "best.safetensors", small_network())
    kept = add(tmp_path / "best.safetensors", trust=True, expected="ffavatar")
    assert ffavatar_weights() == kept.path
    load_network(kept.path, RIG)


@pytest.fixture(scope="module")
def portraits():
    """The astronaut's portrait, and its mirror image, which has other pixels everywhere."""
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut portrait")
    from backend.tracking import Photo, make_portrait

    image = data.astronaut().astype(np.float32) / 255
    mirrored = np.ascontiguousarray(image[:, ::-1])
    return [make_portrait(Photo(one, None, digit * 64, None), f"{digit}.png") for one, digit in ((image, "a"), (mirrored, "b"))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "builtin.safetensors"
    write(path, small_network(rig=builtin_head(), levels=1, anchors=64))
    return path


class Recorder(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def rig(self, rig):
        self.told.append("rig")

    def lod(self, level, splats, shoulders):
        self.told.append(f"lod {level}")


def test_photos_become_an_avatar_and_one_more_photo_costs_one_look(portraits, weights, monkeypatch):
    rig, model, recorder = builtin_head(), FFAvatar(weights, "cpu"), Recorder()
    monkeypatch.setattr(sys.modules["backend.tracking.fit"], "fit_faces", lambda *_: pytest.fail("FFAvatar fits no landmarks"))
    looks, look = [], ff_network.FFAvatarNetwork.look
    monkeypatch.setattr(ff_network.FFAvatarNetwork, "look", lambda self, image: looks.append(len(image)) or look(self, image))
    both = decode_avatar(encode_avatar(model.reconstruct(portraits, rig, recorder)))
    assert recorder.told == ["rig", "lod 0", "lod 1"]
    assert looks == [1, 1]
    assert both.provenance["warnings"] == []
    one = decode_avatar(encode_avatar(model.reconstruct(portraits[:1], rig, Silent())))
    assert one.provenance["warnings"] == [FEW]
    looks.clear()
    grown = model.extend(one, portraits[1:], rig, Silent())
    assert looks == [1]
    assert [s["name"] for s in cast(list, grown.provenance["sources"])] == ["a.png", "b.png"]
    assert grown.provenance["warnings"] == []
    np.testing.assert_allclose(grown.rig.vertices, both.rig.vertices, atol=1e-6)
    for ours, theirs in zip(grown.lods, both.lods, strict=True):
        np.testing.assert_allclose(ours.sh, theirs.sh, atol=1e-4)
        np.testing.assert_allclose(ours.scale, theirs.scale, atol=1e-6)
    assert len(grown.drivers) == len(both.drivers) == 2
    other = weights.with_name("other.safetensors")
    write(other, small_network(1, builtin_head(), levels=1, anchors=64))
    with pytest.raises(RigError, match="another network"):
        FFAvatar(other, "cpu").extend(one, portraits[1:], rig, Silent())
    with pytest.raises(RigError, match="keeps nothing of its photos"):
        model.extend(replace(one, features={}), portraits[1:], rig, Silent())
    with pytest.raises(RigError, match="damaged"):
        model.extend(replace(one, features=one.features | {TOKENS: one.features[TOKENS][:, :, :3]}), portraits[1:], rig, Silent())
    with pytest.raises(FaceError, match="no portrait"):
        model.reconstruct([], rig, Silent())


def test_what_is_drawn_in_training_is_what_the_avatar_is(portraits, weights):
    """Posed by its driver, the avatar's splats stand where the network drew its Gaussians, and the camera sees them there."""
    rig, model = builtin_head(), FFAvatar(weights, "cpu")
    avatar = model.reconstruct(portraits[:1], rig, Silent())
    network, driver = load_network(weights, rig), avatar.drivers[0]
    seen = ff_network.FFAvatarNetwork.look(network, _crop(portraits[0]).image)
    head = network.fuse([seen])
    drawn = project(network.driven(head, seen.rig, 0), seen.rig.camera)[0].numpy()
    placed = pose_vertices(avatar.rig, driver.expression, driver.pose)
    local = placed @ driver.world_to_camera[:3, :3].T + driver.world_to_camera[:3, 3]
    pixels = local @ driver.intrinsics.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    x0, y0, x1, _ = _crop(portraits[0]).box
    away = np.linalg.norm((pixels - [x0, y0]) / (x1 - x0) * 2 - 1 - drawn[:, :2], axis=1)
    skin = np.setdiff1d(np.arange(len(away)), np.concatenate([rig.labels[n] for n in ("eye_left", "eye_right", "lids")]))
    assert np.median(away[skin]) < 1e-3  # of a half picture; lids are seated on the identity when it is baked
    assert np.percentile(away[skin], 99) < 0.02


def test_a_level_that_the_gpu_has_no_memory_for_is_left_out(portraits, weights, monkeypatch):
    added = FFAvatarNetwork.added

    def scarce(self, identity, level):
        if level == 1:
            raise torch.cuda.OutOfMemoryError("full")
        return added(self, identity, level)

    monkeypatch.setattr(FFAvatarNetwork, "added", scarce)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    avatar = FFAvatar(weights, "cpu").reconstruct(portraits[:1], builtin_head(), Silent())
    assert len(avatar.lods) == 1
    assert any("no memory for level of detail 1" in str(w) for w in cast(list, avatar.provenance["warnings"]))


def test_a_driving_picture_is_read_without_a_fit(portraits, weights):
    driver = FFAvatar(weights, "cpu").drive(portraits[0], builtin_head())
    assert set(driver.expression) == set(builtin_head().expression_names)
    assert driver.size == portraits[0].image.shape[1::-1]
    assert not driver.pose[0].any()


def _crop(portrait):
    from backend.models.ffavatar.photo import Crop

    return Crop.of(portrait)


def test_extend_as_it_is_typed_checks_the_photos_and_states_consent(portraits, weights, tmp_path, monkeypatch):
    """The command itself, on the tiny network: a photo is added; two people's photos are refused where ArcFace tells."""
    monkeypatch.setattr(models, "reconstructor", lambda name: FFAvatar(weights, "cpu"))
    one = FFAvatar(weights, "cpu").reconstruct(portraits[:1], builtin_head(), Silent())
    write_avatar(tmp_path / "a.lookalike", replace(one, provenance=one.provenance | {"consent": "Ada, 2026"}))
    for i in (1, 2):
        Image.fromarray((portraits[1].image[:, i:] * 255).astype(np.uint8)).save(tmp_path / f"{i}.png")
    target = tmp_path / "b.lookalike"
    assert run(["extend", str(tmp_path / "a.lookalike"), str(tmp_path / "1.png"), "-o", str(target), "--consent", "Ada, film X"]) == 0
    grown = read_avatar(target)
    assert [s["name"] for s in cast(list, grown.provenance["sources"])] == ["a.png", "1.png"]
    assert len(grown.drivers) == 2
    assert grown.provenance["consent"] == "Ada, 2026. Ada, film X"
    vectors = iter(np.eye(2))
    monkeypatch.setattr("backend.personalize.measures.arcface_embedding", lambda: lambda image: next(vectors))
    files = [str(tmp_path / f"{i}.png") for i in (1, 2)]
    assert run(["extend", str(tmp_path / "a.lookalike"), *files, "-o", str(tmp_path / "c.lookalike")]) == 1
    assert not (tmp_path / "c.lookalike").exists()
