"""Instant Expressive: points where the head is, motion that is local and read from pixels, checked weights, an avatar that is driven."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from backend.cli.main import run
from backend.models import reconstructor
from backend.models.instant import Instant, InstantAvatar, InstantConfig, checkpoint, load_network
from backend.models.instant import reconstructor as instant_reconstructor
from backend.models.instant.checkpoint import instant_weights
from backend.models.instant.config import EXTENT, PER_RAY, SIZE_NAMES
from backend.models.instant.driving import Drive
from backend.models.instant.head_frame import SkullFrame, rigid
from backend.models.instant.motion import face_picture, face_square
from backend.models.instant.planes import lay_on_ball, read_planes
from backend.models.instant.rays import inverse_transform, ray_grid, sample_points, stopped
from backend.models.instant.reconstructor import turned
from backend.models.instant.rig_codes import RigCodes
from backend.models.instant.splats import binding_loss, rest_splats
from backend.models.interface import Silent
from backend.models.networks import METRE
from backend.models.networks.photo import network_camera
from backend.models.omg.encoder import TINY_WIDTH, make_encoder
from backend.protocol.avatar_file import decode_avatar, encode_avatar, write_avatar
from backend.protocol.errors import RigError, WeightsError
from backend.rig import builtin_head, pose_vertices
from backend.tracking.motion import motion_of_drivers
from tests.synthetic import synthetic_rig

SIZE, PICTURE = 48, 56
SIZES = InstantConfig(
    planes=16, basis=8, rays=16, levels=1, code=6, driver=32, dim=16, layers=1, heads=2, feedforward=16, token_dim=TINY_WIDTH, hidden=16,
    size=SIZE,
)  # fmt: skip


def small_network(coefficients: int = 3, seed: int = 0, sizes: InstantConfig = SIZES) -> InstantAvatar:
    torch.manual_seed(seed)
    return InstantAvatar(sizes, coefficients, make_encoder("tiny", sizes.dim, PICTURE), PICTURE).eval()


def builtin_network() -> InstantAvatar:
    """A network that was taught the built-in head's sliders by made-up codes, with motion that can be seen."""
    rig = builtin_head()
    network = small_network(len(rig.expression_names) + 9)
    network.ball.copy_(SkullFrame(rig).ball)
    generator = torch.Generator().manual_seed(1)
    given = torch.rand(200, network.rig_codes.coefficients, generator=generator)
    network.rig_codes.observe(given, given @ torch.randn(network.rig_codes.coefficients, SIZES.code, generator=generator))
    with torch.no_grad():
        network.fusion.change[2].weight.mul_(20)  # pyright: ignore[reportOperatorIssue, reportCallIssue, reportArgumentType]
    return network


def write_network(path, network: InstantAvatar) -> None:
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)


def frontal(yaw: float = 0.0) -> torch.Tensor:
    """[1, 3, 4] the network's camera two metres and a half in front of the head, which is turned."""
    turn = np.deg2rad(yaw)
    view = np.eye(4, dtype=np.float32)
    view[:3, :3] = np.diag([1.0, -1.0, -1.0]) @ [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    view[2, 3] = 2.5
    return network_camera(view)[None]


BALL = torch.tensor([[0.0, 0.1, 0.05], [0.4, 0.6, 0.5]])


def test_rays_put_points_on_the_surface_that_stops_them():
    radius = 0.5

    def opacity(points):
        return ((points - BALL[0]).norm(dim=-1) < radius).float() * 0.95

    middles, ways = ray_grid(24, BALL[0])
    assert torch.allclose(ways.norm(dim=1), torch.ones(1))
    assert torch.allclose(((middles - BALL[0]) * ways).sum(1), torch.zeros(1), atol=1e-6)
    points, share = sample_points(opacity, middles, ways, 1, jitter=False)
    assert points.shape == (1, 4 * 24**2 * PER_RAY, 3)
    hit = (middles - BALL[0]).norm(dim=1) < 0.8 * radius
    first = points[0].reshape(-1, PER_RAY, 3)[hit, 0] - BALL[0]
    # At the surface to a stretch of the second pass, on the side that the ray comes from.
    assert (first.norm(dim=1) - radius).abs().max() < EXTENT / 8
    assert (first * ways[hit]).sum(1).max() < 0
    missed = ((middles - BALL[0]).norm(dim=1) > 1.1 * radius)[:, None].expand(-1, PER_RAY).reshape(-1)
    assert share[0][missed].max() == 0
    assert share[0].reshape(-1, PER_RAY)[hit].min() > 0.9


def test_more_samples_of_a_ray_stop_no_more_light():
    coarse = torch.linspace(-1.3, 1.3, 16)[None]
    fine = torch.linspace(-1.3, 1.3, 61)[None]
    few, many = (stopped(depth, torch.full_like(depth, 0.1)).sum() for depth in (coarse, fine))
    assert few == pytest.approx(float(many), abs=0.01)
    weights = torch.tensor([[0.0, 1.0, 0.0]])
    drawn = inverse_transform(torch.tensor([[-1.0, 0.0, 1.0]]), weights, 5, jitter=False)
    assert drawn.abs().max() < 0.5  # half-way to the neighbours
    assert (drawn.diff() > 0).all()


def test_planes_are_read_where_the_point_projects():
    side = 32
    line = ((torch.arange(side) + 0.5) / side * 2 - 1) * EXTENT
    column, row = torch.meshgrid(line, -line, indexing="xy")
    downwards = -row
    zero = torch.zeros_like(column)
    # Each plane holds the coordinates of its own texels; the sum counts every coordinate twice.
    planes = torch.stack([torch.stack([column, row, zero]), torch.stack([zero, row, column]), torch.stack([column, zero, downwards])])[None]
    points = (torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1) * 0.9 * EXTENT
    torch.testing.assert_close(read_planes(planes, points + BALL[0], BALL), 2 * points, atol=1e-5, rtol=0)
    assert read_planes(planes, torch.full((1, 1, 3), 3.0), BALL).abs().max() == 0


def test_the_photo_is_laid_on_the_front_of_the_ball():
    ticks = (torch.arange(64) + 0.5) / 32 - 1
    screen = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"))[None]  # each pixel holds its own x and y
    laid = lay_on_ball(screen, frontal(20), BALL, 32)
    middle = laid[0, :, 15:17, 15:17].mean((1, 2))
    place, _ = face_square(frontal(20), torch.stack([BALL[0] - torch.tensor([0, -0.06, 0.3]) + torch.tensor([0, 0, 0.5]), BALL[1]]))
    assert torch.allclose(middle, place[0], atol=0.05)


def test_turning_head_is_a_turning_camera():
    rig = builtin_head()
    frame, baked = SkullFrame(rig), rig.bake(rig.template)
    pose = np.zeros((5, 3), np.float32)
    pose[1] = [0.1, -0.3, 0.05]
    posed = pose_vertices(baked, {"mouthSmileLeft": 1.0}, pose)
    camera = frame.camera(frontal(), METRE * torch.from_numpy(posed)[None])
    seen = frame.points @ camera[0, :, :3] + camera[0, :, 3]
    world = METRE * torch.from_numpy(posed[frame.index.numpy()]) @ frontal()[0, :, :3] + frontal()[0, :, 3]
    torch.testing.assert_close(seen, world, atol=5e-3, rtol=0)  # the skull is what an expression moves by less than a millimetre
    # The camera that an avatar's neck turns is the same one.
    from backend.models.networks.photo import opencv_pose

    ours = turned(opencv_pose(frontal()[0]), baked, pose)
    torch.testing.assert_close(network_camera(ours), camera[0], atol=5e-3, rtol=0)
    turn, move = rigid(frame.points[None], frame.points[None] + 1)
    torch.testing.assert_close(turn[0], torch.eye(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(move[0], torch.ones(3), atol=1e-4, rtol=0)


def test_face_picture_is_the_faces_square():
    image = torch.zeros(1, 3, 64, 64)
    centre, reach = face_square(frontal(), BALL)
    x, y = ((centre[0] + 1) * 32).tolist()
    image[:, :, round(y) - 1 : round(y) + 1, round(x) - 1 : round(x) + 1] = 1
    found = face_picture(image, frontal(), BALL, 32)[0, 0]
    row, column = divmod(int(found.argmax()), 32)
    assert abs(row - 15.5) < 3
    assert abs(column - 15.5) < 3
    assert 0.1 < float(reach) < 0.6
    assert face_picture(image, frontal(), BALL, 32, jitter=0.05).shape == (1, 3, 32, 32)


def test_motion_is_local_to_a_gaussians_own_basis():
    network = small_network()
    basis, code = torch.randn(1, 20, SIZES.basis), torch.randn(1, SIZES.code)
    basis[0, 7] = 0
    change = network.fusion(basis, code)
    assert change[0, 7].abs().max() == 0  # no basis, no motion
    other = basis.clone()
    other[0, 3] += 1
    moved = (network.fusion(other, code) - change).abs().sum(-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == [3]


def test_code_map_finds_a_linear_law_again():
    codes, generator = RigCodes(4, 5), torch.Generator().manual_seed(0)
    assert codes.solve() is None
    neutral, directions = torch.randn(5, generator=generator), torch.randn(4, 5, generator=generator)
    for _ in range(20):
        given = torch.rand(8, 4, generator=generator)
        codes.observe(given, neutral + given @ directions)
    found = codes.solve()
    assert found is not None
    torch.testing.assert_close(found.neutral, neutral, atol=0.02, rtol=0)
    torch.testing.assert_close(found.directions, directions, atol=0.02, rtol=0)
    assert found.explained > 0.99


def test_a_training_step_lowers_the_loss_as_its_gradient_says():
    network = small_network()
    image = torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    target = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(4)).repeat_interleave(8, 2).repeat_interleave(8, 3)
    with torch.no_grad():
        points = network.points(network.look(image, frontal()), network.code(image, frontal()), 1)

    def loss():
        # The points are fixed, as they are to the gradient.
        planes = network.look(image, frontal())
        appearance, basis = network._read(planes, points.position)
        code = network.code(image, frontal(-10))
        drawn = network.draw(network.animate(replace(points, appearance=appearance, basis=basis), code), frontal(-10))
        return (drawn - target).square().mean()

    before = loss()
    before.backward()
    unused = ("mask_token", "refinenet.0.resConfUnit1")  # read by nothing
    assert [n for n, p in network.named_parameters() if p.grad is None and not any(u in n for u in unused)] == []
    gradients = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    slope = sum(float(g.square().sum()) for _, g in gradients)
    rate = 0.005 * before.item() / slope
    with torch.no_grad():
        for parameter, gradient in gradients:
            parameter.sub_(rate * gradient)
        after = loss()
    assert 0.5 < (before.item() - after.item()) / (rate * slope) < 1.5


@pytest.mark.skipif("LOOKALIKE_LEARNING_TESTS" not in os.environ, reason="150 steps: set LOOKALIKE_LEARNING_TESTS to run them")
def test_a_learned_driver_moves_what_it_shows():
    """Two drivers, one with a light above and one with it below, teach a head to hold it there; photo and camera stay."""
    network = small_network(sizes=replace(SIZES, levels=0))
    network.ball.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.4, 0.4, 0.4]]))
    y, x = torch.meshgrid(torch.linspace(-1, 1, SIZE), torch.linspace(-1, 1, SIZE), indexing="ij")
    disc = (x**2 + y**2 < 0.16).float()
    light = lambda height: (disc * (0.3 + 0.7 * torch.exp(-(x**2 + (y - height) ** 2) / 0.02)))[None, None].repeat(1, 3, 1, 1)
    drivers = light(-0.2), light(0.2)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3, (0.9, 0.99))
    drawn = lambda photo, driver: network(photo, frontal(), network.code(photo, frontal()), network.code(driver, frontal()), frontal(), 0)
    for step in range(150):
        photo, driver = drivers[step // 2 % 2], drivers[step % 2]
        optimiser.zero_grad()
        (drawn(photo, driver) - driver).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        errors = [[float((drawn(drivers[0], driver) - truth).square().mean()) for truth in drivers] for driver in drivers]
    assert errors[0][0] < 0.75 * errors[0][1]
    assert errors[1][1] < 0.75 * errors[1][0]


def test_weights_round_trip_and_are_checked(tmp_path, monkeypatch):
    network, path = small_network(), tmp_path / "small.safetensors"
    write_network(path, network)
    again = load_network(path)
    assert again.config == network.config
    finer = small_network(sizes=replace(SIZES, rays=32))  # weights may go on learning with finer rays
    finer.load_state_dict(network.state_dict())
    write_network(tmp_path / "finer.safetensors", finer)
    assert load_network(tmp_path / "finer.safetensors").config.rays == 32
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))
    state = network.state_dict()
    spoilt = {
        r"fusion\.change\.0\.weight has shape": {"fusion.change.0.weight": torch.zeros(3, 3)},
        r"lifter\.start has shape": {"lifter.start": torch.zeros(3, 3)},
        r"decoder\.layers\.0\.bias is missing": {"decoder.layers.0.bias": None},
        "extra is not part": {"extra": torch.zeros(2)},
        "ball holds numbers that are not finite": {"ball": torch.full((2, 3), torch.nan)},
        "sizes is damaged": {"sizes": torch.zeros(14, dtype=torch.int32)},
        "sizes is missing: these are not": {"sizes": None},
    }
    for index, (message, change) in enumerate(spoilt.items()):
        other = {key: value for key, value in (state | change).items() if value is not None}
        target = tmp_path / f"{index}.safetensors"
        save_file({key: value.contiguous() for key, value in other.items()}, target)
        with pytest.raises(WeightsError, match=message):
            load_network(target)
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match=r"cut\.safetensors"):
        load_network(tmp_path / "cut.safetensors")
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LOOKALIKE_INSTANT", raising=False)
    with pytest.raises(WeightsError, match="published none") as error:
        instant_weights()
    assert "lookalike train instant-distill" in str(error.value)
    assert "none are published" in reconstructor("instant").licence
    # What `models add` keeps is used, and what the variable names before it.
    assert run(["models", "add", "--trust", str(path)]) == 0
    assert load_network(instant_weights()).config == network.config
    monkeypatch.setenv("LOOKALIKE_INSTANT", str(path))
    assert instant_weights() == path


def test_sizes_that_a_file_merely_states_take_no_memory(tmp_path, monkeypatch):
    """Small tensors that state a network of gigabytes are told before any of it is made."""
    state = dict(small_network().state_dict())
    names = dict(zip(SIZE_NAMES, range(len(SIZE_NAMES)), strict=True))
    wide = state["sizes"].clone()
    wide[names["hidden"]] = 4096
    width = state["decoder.layers.0.weight"].shape[1]
    made = []
    first = checkpoint.InstantAvatar
    monkeypatch.setattr(checkpoint, "InstantAvatar", lambda *a: made.append(first(*a)) or made[-1])
    save_file(state | {"sizes": wide, "decoder.layers.0.weight": torch.zeros(4096, width)}, tmp_path / "wide.safetensors")
    with pytest.raises(WeightsError, match="has shape"):
        load_network(tmp_path / "wide.safetensors")
    assert [{p.device.type for p in network.parameters()} for network in made] == [{"meta"}]
    deep = state["sizes"].clone()
    deep[names["layers"]] = 4000
    save_file(state | {"sizes": deep}, tmp_path / "deep.safetensors")
    with pytest.raises(WeightsError, match="sizes is damaged"):
        load_network(tmp_path / "deep.safetensors")


def test_binding_tells_how_far_the_rig_is_from_the_network():
    rig = synthetic_rig(20, 16)
    with torch.no_grad():
        moved = np.linalg.norm(rig.expressions, axis=2).max(0).argsort()[-50:]
        points = METRE * torch.from_numpy(rig.vertices[moved])[None]
        gaussians = small_network().decoder(torch.zeros(1, 50, SIZES.basis), points, 0.05, BALL)
    splats = rest_splats(rig, gaussians, np.eye(3, dtype=np.float32), np.zeros(3, np.float32))
    still = np.zeros((len(rig.expressions), 50, 3))
    loss = binding_loss(rig, splats, still)
    assert loss.network == 0
    assert loss.apart == pytest.approx(loss.rig)
    corners = rig.faces[splats.face]
    as_rig = np.einsum("nk,enkd->end", splats.barycentric, rig.expressions[:, corners])
    assert binding_loss(rig, splats, as_rig).apart < 0.6 * loss.apart
    assert "mm" in loss.sentence


@pytest.fixture(scope="module")
def portrait():
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the astronaut portrait")
    from backend.tracking import Photo, make_portrait

    return make_portrait(Photo(data.astronaut().astype(np.float32) / 255, None, "0" * 64, None), "astronaut.png")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "instant.safetensors"
    write_network(path, builtin_network())
    return path


@pytest.fixture(scope="module")
def avatar(portrait, weights):
    made = Instant(weights, "cpu").reconstruct([portrait], builtin_head(), Silent())
    return decode_avatar(encode_avatar(made))


def test_a_photo_becomes_an_avatar_that_the_network_draws(avatar, weights):
    model = Instant(weights, "cpu")
    assert len(avatar.lods) == 2
    assert len(avatar.lods[0]) < len(avatar.lods[1])
    assert "in Blender the splats follow the rig" in str(avatar.provenance["warnings"])
    # The splats lie about the head that the photo's landmarks gave.
    middle = np.median(avatar.lods[1].position, 0)
    assert np.linalg.norm(middle - (avatar.rig.vertices.max(0) + avatar.rig.vertices.min(0)) / 2) < 0.06
    neutral = model.refine(avatar, 1, 0, 0)
    assert neutral.shape == (SIZE, SIZE, 3)
    assert np.abs(model.refine(avatar, 1, 0, 0, {"mouthSmileLeft": 1.0}) - neutral).max() > 1e-3
    assert model.refined_camera(avatar, 30, 0).width == SIZE
    pose = np.zeros((5, 3), np.float32)
    pose[1, 1] = np.deg2rad(30)
    # A neck that turns is a camera that goes about the head the other way; only the pivot differs.
    assert np.abs(model.refine(avatar, 1, 0, 0, None, pose) - model.refine(avatar, 1, 30, 0)).mean() < 0.06
    with pytest.raises(RigError, match="nosuch"):
        model.refine(avatar, 1, 0, 0, {"nosuch": 1.0})
    with pytest.raises(RigError, match="level of detail 2"):
        model.refine(avatar, 2, 0, 0)
    with pytest.raises(RigError, match="nothing of Instant"):
        model.refine(replace(avatar, features={}), 0, 0, 0)


def test_another_network_is_told_from_the_one_that_made_the_avatar(avatar, tmp_path):
    write_network(tmp_path / "wide.safetensors", small_network(sizes=replace(SIZES, basis=12)))
    with pytest.raises(RigError, match="8 channels"):
        Instant(tmp_path / "wide.safetensors", "cpu").refine(avatar, 0, 0, 0)
    write_network(tmp_path / "other.safetensors", small_network(3))
    stranger = Instant(tmp_path / "other.safetensors", "cpu")
    assert stranger.refine(avatar, 0, 0, 0).shape == (SIZE, SIZE, 3)  # the photo's own expression needs no sliders
    with pytest.raises(RigError, match="knows none of its sliders"):
        stranger.refine(avatar, 0, 0, 0, {"mouthSmileLeft": 1.0})


def test_without_gpu_memory_coarser_levels_remain(portrait, weights, avatar, monkeypatch):
    whole = InstantAvatar.points

    def scarce(self, planes, code, level, jitter=False):
        if level == 1:
            raise torch.cuda.OutOfMemoryError("no memory")
        return whole(self, planes, code, level, jitter)

    monkeypatch.setattr(InstantAvatar, "points", scarce)
    fits, fit = [], instant_reconstructor.fit_while_reporting
    monkeypatch.setattr(instant_reconstructor, "fit_while_reporting", lambda *given: fits.append(fit(*given)) or fits[0])
    smaller = Instant(weights, "cpu").reconstruct([portrait], builtin_head(), Silent())
    assert len(smaller.lods) == 1
    assert "no memory for level of detail 1" in str(smaller.provenance["warnings"])

    drawn, driven = InstantAvatar.animate, Drive(load_network(weights), avatar, 1, builtin_head())
    coarse = len(avatar.features["instant.lod0.position"])

    def tight(self, points, code):
        if points.position.shape[1] > coarse:
            raise torch.cuda.OutOfMemoryError("no memory")
        return drawn(self, points, code)

    monkeypatch.setattr(InstantAvatar, "animate", tight)
    motion = motion_of_drivers(fits[0].drivers, builtin_head(), "astronaut")
    assert len(list(driven.frames(motion, [portrait.image]))) == 1
    assert driven.tally.level == 0
    assert "no memory" in driven.tally.warnings[0]
    # The driver's face is the face: the square that the encoder is given is around the nose.
    square = driven._cut(portrait.image, motion, 0)
    x, y = portrait.face.landmarks[4, :2]
    painted = portrait.image.copy()
    painted[int(y) - 6 : int(y) + 6, int(x) - 6 : int(x) + 6] = [0, 1, 0]
    changed = (driven._cut(painted, motion, 0) - square).abs().sum(1)[0]
    row, column = divmod(int(changed.argmax()), changed.shape[1])
    assert abs(row - 15.5) < 6
    assert abs(column - 15.5) < 6


def test_drive_from_pictures_and_a_video(avatar, weights, portrait, tmp_path, monkeypatch, capsys):
    from PIL import Image

    from backend.splats import write_video

    monkeypatch.setenv("LOOKALIKE_INSTANT", str(weights))
    write_avatar(tmp_path / "a.lookalike", avatar)
    write_video(tmp_path / "driver.mp4", [portrait.image] * 3)
    Image.fromarray((portrait.image * 255).astype(np.uint8)).save(tmp_path / "driver.png")
    assert run(["drive", str(tmp_path / "a.lookalike"), str(tmp_path / "driver.mp4"), "-o", str(tmp_path / "out.mp4"), "--beside"]) == 0
    assert "3 frames, animated at" in capsys.readouterr().out
    assert (tmp_path / "out.mp4").stat().st_size > 500
    assert run(["drive", str(tmp_path / "a.lookalike"), str(tmp_path / "driver.png"), "-o", str(tmp_path / "out"), "--still"]) == 0
    assert Image.open(tmp_path / "out" / "00000.png").size == (SIZE, SIZE)
    capsys.readouterr()
    write_video(tmp_path / "nobody.mp4", [np.full((64, 64, 3), 0.5, np.float32)] * 3)
    assert run(["drive", str(tmp_path / "a.lookalike"), str(tmp_path / "nobody.mp4"), "-o", str(tmp_path / "no.mp4")]) == 1
    assert "no face found" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["drive", str(tmp_path / "a.lookalike"), str(tmp_path / "empty"), "-o", str(tmp_path / "no.mp4")]) == 1
    assert "no pictures in it" in capsys.readouterr().err
    write_avatar(tmp_path / "b.lookalike", replace(avatar, features={}))
    assert run(["drive", str(tmp_path / "b.lookalike"), str(tmp_path / "driver.png"), "-o", str(tmp_path / "out")]) == 1
    assert "reconstruct it with --model instant" in capsys.readouterr().err
