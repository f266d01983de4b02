"""OMG-Avatar: levels that nest, sight that is right, weights that are checked, learning, and an avatar from a photo."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.models import reconstructor
from backend.models.interface import Silent
from backend.models.networks import ellipsoids, opencv_camera
from backend.models.networks.photo import long_lens, network_camera
from backend.models.omg import OMG, OMGAvatar, OMGConfig, load_network
from backend.models.omg import reconstructor as omg_reconstructor
from backend.models.omg.checkpoint import GEOMETRY, TRAINING_ONLY
from backend.models.omg.encoder import TINY_WIDTH, make_encoder, make_refiner
from backend.models.omg.levels import MeshLevels
from backend.models.omg.posing import PosedHead
from backend.models.omg.sampling import project, sample
from backend.models.omg.splats import vertex_bindings
from backend.models.omg.steady import steady_shoulders
from backend.models.omg.visibility import depth_buffer, hidden, normalized
from backend.protocol.avatar_file import decode_avatar, encode_avatar
from backend.protocol.errors import RigError, WeightsError
from backend.rig import builtin_head, pose_vertices
from backend.rig.rig import Rig
from backend.splats.covariance import raw_covariances
from tests.synthetic import JOINT_NAMES, synthetic_rig

SIZE, PICTURE = 64, 56


def small_rig() -> Rig:
    """The ellipsoid head as a parametric rig of 302 vertices."""
    arrays = synthetic_rig(20, 16)
    vertices = arrays.vertices
    shape = np.stack([vertices * [0.1, 0, 0], vertices * [0, 0.1, 0]], -1).astype(np.float32)
    regressor = np.zeros((5, len(vertices)), np.float32)
    distance = np.linalg.norm(vertices[None] - arrays.joints[:, None], axis=2)
    regressor[np.arange(5), distance.argmin(1)] = 1
    return Rig(
        vertices, arrays.faces, shape, arrays.expressions, arrays.expression_names, regressor, JOINT_NAMES, arrays.parents,
        arrays.weights, "synthetic", "test",
    )  # fmt: skip


RIG = small_rig()


def small_network(seed: int = 0, rig: Rig = RIG, **changes) -> OMGAvatar:
    torch.manual_seed(seed)
    sizes = {"dim": 32, "layers": 1, "heads": 4, "feedforward": 64, "token_dim": TINY_WIDTH, "hidden": 32, "size": SIZE}
    config = OMGConfig(vertices=len(rig.template), **(sizes | changes))
    return OMGAvatar(config, rig.faces, make_encoder("tiny", config.dim, PICTURE), make_refiner("tiny", SIZE), PICTURE)


def write_network(path, network: OMGAvatar) -> None:
    """As `lookalike train` writes it."""
    model = {"heads": network.config.heads, "picture": PICTURE, "encoder": "tiny", "refiner": "tiny"}
    header = {"lookalike_model": "omg", "config": json.dumps({"model": model, "size": SIZE})}
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path, metadata=header)


def frontal(yaw: float = 0.0) -> torch.Tensor:
    """[1, 3, 4] the network's camera two metres in front of the head."""
    turn = np.deg2rad(yaw)
    view = np.eye(4, dtype=np.float32)
    view[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    view[2, 3] = 2.0
    return network_camera(view)[None]


HEAD = PosedHead.of_rig(RIG)


def still(offsets: torch.Tensor | None) -> torch.Tensor:
    count = 1 if offsets is None else len(offsets)
    return HEAD(torch.zeros(count, 5), torch.zeros(count, 5, 3), offsets)


def test_levels_nest_and_midpoints_are_midpoints():
    levels = MeshLevels(RIG.faces, len(RIG.template), 2)
    points = torch.from_numpy(RIG.template)[None]
    for level in (0, 1, 2):
        fine = levels.subdivide(points, level)
        assert fine.shape[1] == levels.counts[level]
        face, barycentric = vertex_bindings(RIG.faces, len(RIG.template), level)
        placed = np.einsum("nk,nkd->nd", barycentric, RIG.template[RIG.faces[face]])
        np.testing.assert_allclose(placed, fine[0].numpy(), atol=1e-7)
        if level:
            assert torch.equal(fine[:, : levels.counts[level - 1]], levels.subdivide(points, level - 1))


def test_coarse_level_is_a_part_of_the_fine_one():
    network = small_network().eval()
    with torch.no_grad():
        seen = network.look(torch.rand(1, 3, SIZE, SIZE), frontal(), still)
        fine, coarse = network.head(seen, 2), network.head(seen, 0)
    count = network.levels.counts[0]
    for ours, theirs in zip(coarse.attributes[:4], fine.attributes[:4], strict=True):
        assert torch.equal(ours, theirs[:, :count])
    assert torch.equal(coarse.hidden, fine.hidden[:, :count])
    # Unit quaternions, red, green and blue in range: not as the released code has them.
    assert torch.allclose(fine.attributes.rotations.norm(dim=-1), torch.ones(1))
    shoulders = network.shoulders(seen)
    assert shoulders.attributes.colors[..., :3].min() >= 0
    assert shoulders.attributes.colors[..., :3].max() <= 1


def test_lean_attention_gives_the_same_features():
    network = small_network().eval()
    tokens = torch.rand(1, 16, TINY_WIDTH)
    with torch.no_grad():
        lean = network.transformer(network.head_base[None], tokens)
        for layer in network.transformer.layers:
            layer.written_out = True
        torch.testing.assert_close(lean, network.transformer(network.head_base[None], tokens), atol=1e-5, rtol=0)


def test_the_front_is_seen_and_the_back_is_hidden():
    levels = MeshLevels(RIG.faces, len(RIG.template), 2)
    points = levels.subdivide(still(None), 2)
    screen = project(points, frontal(20))
    buffer = depth_buffer(project(still(None), frontal(20)), RIG.faces, 512)
    unseen = hidden(screen, buffer)[0].numpy()
    turn = np.deg2rad(20)
    outward = points[0].numpy() / [0.075**2, 0.11**2, 0.095**2]
    facing = (outward / np.linalg.norm(outward, axis=1, keepdims=True)) @ [-np.sin(turn), 0, np.cos(turn)]
    assert not unseen[facing > 0.3].any()
    assert unseen[facing < -0.1].all()
    scaled = normalized(buffer)
    assert scaled.min() == 0
    assert scaled.max() == 1
    assert (normalized(torch.full((1, 4, 4), torch.inf)) == 1).all()


def test_features_are_read_where_the_vertex_appears():
    ticks = (torch.arange(32) + 0.5) / 16 - 1
    position = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"))[None]  # each pixel holds its own x and y
    screen = torch.rand(1, 200, 2, generator=torch.Generator().manual_seed(1)) * 1.8 - 0.9
    torch.testing.assert_close(sample(position, screen), screen, atol=1e-6, rtol=0)
    off = (sample(position, screen, released=True) - screen).mean() * 16
    assert 0.4 < off < 0.6  # the released code reads half a pixel away


def test_long_lens_finds_its_place():
    points = RIG.template.astype(np.float64)
    camera = opencv_camera(frontal(25)[0])[0].numpy().astype(np.float64)
    camera[:3, 3] = [0.02, -0.01, 1.9]
    seen = points @ camera[:3, :3].T + camera[:3, 3]
    found, error = long_lens(points, 12 * seen[:, :2] / seen[:, 2:], camera)
    np.testing.assert_allclose(found, camera, atol=1e-5)
    assert error < 1e-6
    camera[2, 3] = 1.0  # half as far, through a lens of half the length: the same picture but for the perspective
    seen = points @ camera[:3, :3].T + camera[:3, 3]
    found, error = long_lens(points, 6 * seen[:, :2] / seen[:, 2:], camera)
    assert abs(found[2, 3] - 2.0) < 0.15
    assert error < 0.01


def test_shoulders_stay_in_the_picture_while_the_head_turns():
    points = torch.tensor([[0.5, -1.0, 0.2], [0.1, 0.5, 0.3]])
    source, view = frontal()[0], frontal(15)[0]
    moved = steady_shoulders(points, source, view, top=0.2, bottom=-0.9)
    before, after = project(points[None], source[None])[0], project(moved[None], view[None])[0]
    torch.testing.assert_close(after[0], before[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[1], points[1], atol=1e-5, rtol=0)


def test_ellipsoids_of_short_quaternions_are_what_is_drawn():
    network = small_network(released=True).eval()
    with torch.no_grad():
        seen = network.look(torch.rand(1, 3, SIZE, SIZE), frontal(), still)
        attributes = network.head(seen, 1).attributes
    assert attributes.rotations.norm(dim=-1).max() < 0.9  # released: normalised over the vertices
    rotation, scale = ellipsoids(attributes)
    drawn = raw_covariances(attributes.rotations[0], attributes.scales[0]) / 25
    ours = raw_covariances(torch.from_numpy(rotation), torch.from_numpy(scale))
    torch.testing.assert_close(ours, drawn, atol=2e-8, rtol=2e-3)


def test_a_training_step_lowers_the_loss_as_its_gradient_says():
    network = small_network().eval()  # without dropout
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    target = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(4)).repeat_interleave(8, 2).repeat_interleave(8, 3)

    def loss():
        frame = network(image, frontal(), still, still, frontal(-10), 1)
        return (frame.coarse - target).square().mean() + (frame.refined - target).square().mean() + frame.offsets.square().mean()

    before = loss()
    before.backward()
    # Read by nothing, or above this level.
    unused = ("toRGB", "mask_token", "refinenet.0.resConfUnit1", "gs_head_generators.2")
    assert [n for n, p in network.named_parameters() if p.grad is None and not any(u in n for u in unused)] == []
    gradients = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    slope = sum(float(g.square().sum()) for _, g in gradients)
    rate = 0.01 * before.item() / slope  # a step that should lower the loss by one per cent
    with torch.no_grad():
        for parameter, gradient in gradients:
            parameter.sub_(rate * gradient)
        after = loss()
    assert 0.5 < (before.item() - after.item()) / (rate * slope) < 1.5


def test_weights_round_trip_and_are_checked(tmp_path):
    network = small_network().eval()
    path = tmp_path / "small.safetensors"
    write_network(path, network)
    again, warnings = load_network(path, RIG)
    assert warnings == []
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))
    other = replace(RIG, template=RIG.template[:-1])
    with pytest.raises(WeightsError, match=f"{len(RIG.template)} vertices"):
        load_network(path, other)
    network.gs_generator_offset.offset_layers[0] = torch.nn.Linear(7, 32)
    write_network(path, network)
    with pytest.raises(WeightsError, match=r"gs_generator_offset\.offset_layers\.0\.weight"):
        load_network(path, RIG)
    torch.save({"model": {"head_base": torch.zeros(3), "other": torch.zeros(2)}}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="head_base"):
        load_network(tmp_path / "other.pt", RIG)
    spoilt = small_network()
    spoilt.head_base.data[0, 0] = torch.nan
    write_network(path, spoilt)
    with pytest.raises(WeightsError, match="head_base holds numbers that are not finite"):
        load_network(path, RIG)
    save_file({"head_base": torch.zeros(2, 2)}, path, metadata={"lookalike_model": "omg", "config": "{}"})
    with pytest.raises(WeightsError, match="description"):
        load_network(path, RIG)
    with pytest.raises(WeightsError, match=r"none\.pt"):
        load_network(tmp_path / "none.pt", RIG)


def test_released_names_and_shapes(shared):
    table = {}
    for line in (shared / "parity" / "keys_omg.tsv").read_text().splitlines():
        key, shape, _ = line.split("\t")
        table[key] = tuple(int(n) for n in shape.strip("(),").split(",") if n.strip())
    config = OMGConfig.of_checkpoint({"MODEL": {"DIM": 256, "N_TRANSFORMER_LAYERS": 2, "SUBDIVISION": 2}}, table)
    assert config == OMGConfig(released=True)
    with torch.device("meta"):
        network = OMGAvatar(config, RIG.faces)
    ours = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert ours == {key: shape for key, shape in table.items() if not key.startswith((*TRAINING_ONLY, *GEOMETRY))}
    with pytest.raises(WeightsError, match="SUBDIVISION"):
        OMGConfig.of_checkpoint({"MODEL": {"SUBDIVISION": 1}}, table)


def test_missing_weights_say_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path))
    monkeypatch.delenv("LOOKALIKE_OMG", raising=False)
    with pytest.raises(WeightsError) as error:
        omg_reconstructor.omg_weights()
    assert "omg_ckpt.pt" in str(error.value)
    assert "academic" in str(error.value)
    assert "academic" in reconstructor("omg").licence
    monkeypatch.setenv("LOOKALIKE_OMG", str(tmp_path / "own.safetensors"))
    assert omg_reconstructor.omg_weights() == tmp_path / "own.safetensors"


class Recorder(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def rig(self, rig):
        self.told.append("rig")

    def lod(self, level, splats, shoulders):
        self.told.append(f"lod {level}")


@pytest.fixture(scope="module")
def portrait():
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut portrait")
    from backend.tracking import Photo, make_portrait

    return make_portrait(Photo(data.astronaut().astype(np.float32) / 255, None, "0" * 64, None), "astronaut.png")


@pytest.fixture(scope="module")
def builtin_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "builtin.safetensors"
    write_network(path, small_network(rig=builtin_head(), levels=1))
    return path


def test_a_photo_becomes_an_avatar_coarse_level_first(portrait, builtin_weights, monkeypatch):
    rig, recorder, model = builtin_head(), Recorder(), OMG(builtin_weights, "cpu")
    fits, fit = [], omg_reconstructor.fit_while_reporting
    monkeypatch.setattr(omg_reconstructor, "fit_while_reporting", lambda *given: fits.append(fit(*given)) or fits[0])
    avatar = decode_avatar(encode_avatar(model.reconstruct([portrait], rig, recorder)))
    assert recorder.told == ["rig", "lod 0", "lod 1"]
    levels = MeshLevels(rig.faces, len(rig.template), 1)
    assert [len(lod) for lod in avatar.lods] == levels.counts
    driver = avatar.drivers[0]
    # Drawn by the photo's camera the head lies on the photo's face.
    posed = pose_vertices(avatar.rig, driver.expression, driver.pose)
    seen = posed @ driver.world_to_camera[:3, :3].T + driver.world_to_camera[:3, 3]
    pixel = (seen @ driver.intrinsics.T)[:, :2] / seen[:, 2:]
    x0, y0, x1, y1 = portrait.face.box
    assert ((pixel.min(0) < [x0, y0]) & (pixel.max(0) > [x1, y1])).all()
    picture = model.refine(avatar, 1, 20, 0, {"cheekPuff": 0.3})
    assert picture.shape == (SIZE, SIZE, 3)
    with pytest.raises(RigError, match="features"):
        model.refine(replace(avatar, features={}), 0, 0, 0)

    whole = OMGAvatar.added

    def without_memory(self, seen, level, unseen=None):
        if level == 1:
            raise torch.cuda.OutOfMemoryError("no memory")
        return whole(self, seen, level, unseen)

    monkeypatch.setattr(OMGAvatar, "added", without_memory)
    monkeypatch.setattr(omg_reconstructor, "fit_while_reporting", lambda *_: fits[0])  # the same photo: the same fit
    smaller = model.reconstruct([portrait], rig, Silent())
    assert len(smaller.lods) == 1
    assert any("level of detail 1" in str(w) for w in smaller.provenance["warnings"])
