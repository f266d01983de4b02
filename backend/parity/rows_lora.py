"""Rows of LoRA + Registers: merged weights and what they draw, the register module, its losses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from backend.models.networks.cameras import viewing_axis
from backend.models.networks.directions import harmonic_embedding
from backend.models.networks.gaussian_heads import ConvGaussians, LinearGaussians
from backend.models.networks.style_unet import StyleUNet
from backend.personalize.lora import ALPHA, RANK, Pair, attach, detach, merge, targets
from backend.personalize.register_grid import (
    RegisterGrid,
    RegisterMesh,
    ReleasedQuirks,
    camera_centre,
    face_region,
    inverse_distance_weights,
    nearest,
    padded,
    project,
    register_grid,
    whole_pixels,
)
from backend.personalize.registers import Registers
from backend.personalize.visible_vertices import visible_vertices

from .fixture_folder import Fixture, FixtureFolder
from .fixture_inputs import blocks, plain_image
from .fixture_weights import fill, normal, tensor
from .rows import Row, compare

FILES = ("lora_weights", "lora_register", "lora_losses")

SIZE = 296
QUIRKS = ReleasedQuirks()
_TABLE = "head_base_emb"


def rows(folder: FixtureFolder) -> Iterator[Row]:
    """Rows of the files that are present."""
    with torch.no_grad():
        if "lora_weights" in folder:
            yield from _weights(folder)
        if "lora_register" in folder:
            yield from _register(folder)
        if "lora_losses" in folder:
            yield from _losses(folder)


def whole(fixture: Fixture, name: str, full: Any, kept: tuple, tolerance: float) -> Iterator[Row]:
    """Rows of a tensor of which a slice is stored, and the statistics of all of it beside."""
    full = np.asarray(full.detach().cpu() if isinstance(full, Tensor) else full, np.float64)
    label = f"{fixture.path.stem}/{name}"
    yield compare(label, full[kept], fixture[name], tolerance)
    if f"{name}.stats" in fixture:
        yield compare(f"{label}.stats", [full.mean(), full.std(), full.min(), full.max()], fixture[f"{name}.stats"], tolerance)
    if f"{name}.ch_mean" in fixture:
        channels = full.reshape(len(full), -1)
        yield compare(f"{label}.ch_mean", channels.mean(1), fixture[f"{name}.ch_mean"], tolerance)
        yield compare(f"{label}.ch_std", channels.std(1), fixture[f"{name}.ch_std"], tolerance)


class _Branches(nn.Module):
    """The adapted part of GAGAvatar, without its encoder."""

    def __init__(self, vertices: int) -> None:
        super().__init__()
        self.head_base = nn.Parameter(torch.empty(vertices, 256))
        self.gs_generator_g = LinearGaussians()
        self.gs_generator_l0 = ConvGaussians()
        self.gs_generator_l1 = ConvGaussians()
        self.upsampler = StyleUNet()


class _Toys(nn.Module):
    """One small layer of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 40)
        self.conv = nn.Conv2d(12, 20, 3)
        self.emb = nn.Embedding(50, 24)
        self.convT = nn.ConvTranspose2d(16, 24, 4)
        self.thin = nn.Linear(128, 1)


def _weights(folder: FixtureFolder) -> Iterator[Row]:
    fixture = folder["lora_weights"]
    yield from _toys(fixture)
    network = _Branches(len(folder.face_model["v_template"]))
    fill(network, fixture.salt)
    pairs = {}
    for target in targets(network):
        key = _TABLE if target.layer == "head_base" else target.layer
        pairs[target.layer] = Pair(*(
            torch.from_numpy(np.float32(0.25) * tensor(f"{key}.parametrizations.weight.0.lora_{part}", shape, fixture.salt))
            for part, shape in zip("AB", target.factor_shapes(RANK), strict=True)
        ))  # fmt: skip
    counts = [2 * len(pairs), sum(factor.numel() for pair in pairs.values() for factor in pair)]
    yield compare("lora_weights/counts", counts, fixture["counts"], 0)
    merge(network, pairs)
    by_layer = {_TABLE if t.layer == "head_base" else t.layer: t.weight for t in targets(network)}
    for layer, weight in by_layer.items():
        if f"effective.{layer}" in fixture:
            matrix = weight.reshape(len(weight), -1)
            rows, columns = matrix.shape
            kept = (slice(None, None, 157), slice(None, None, 8))
            if layer != _TABLE:
                kept = (slice(None, None, max(1, rows // 8)), slice(None, None, max(1, columns // 64)))
            yield from whole(fixture, f"effective.{layer}", matrix, kept, 1e-6)
    yield from _branches(folder, fixture, network)


def _toys(fixture: Fixture) -> Iterator[Row]:
    toys = _Toys()
    pairs = {}
    for target in targets(toys):
        key = f"toy.{target.key}"
        target.weight.copy_(torch.from_numpy(tensor(key, target.weight.shape, fixture.salt)))
        yield compare(f"lora_weights/toy.{target.layer}.original", target.weight, fixture[f"toy.{target.layer}.original"], 0)
        factors = []
        for part, shape in zip("AB", target.factor_shapes(RANK), strict=True):
            name = f"toy.{target.layer}.parametrizations.weight.0.lora_{part}"
            factors.append(torch.from_numpy(tensor(name, shape, fixture.salt)))
            yield compare(f"lora_weights/{name}", factors[-1], fixture[name], 0)
        pairs[target.layer] = Pair(*factors)
    attach(toys, pairs, ALPHA / RANK)
    for target in targets(toys):
        expected = fixture[f"toy.{target.layer}.effective"]
        yield compare(f"lora_weights/toy.{target.layer}.effective", target.weight, expected, 1e-6)
    detach(toys)
    merge(toys, pairs)
    for target in targets(toys):
        expected = fixture[f"toy.{target.layer}.effective"]
        yield compare(f"lora_weights/toy.{target.layer}.effective (merged)", target.weight, expected, 1e-6)


def _branches(folder: FixtureFolder, fixture: Fixture, network: _Branches) -> Iterator[Row]:
    axis = viewing_axis(torch.from_numpy(folder["inputs"]["src.transform"])[None])
    direction = harmonic_embedding(axis)
    yield compare("lora_weights/harmonic", direction[0], fixture["harmonic"], 2e-6)
    token = torch.from_numpy(normal("lora.f_feature1", (1, 768), fixture.salt))
    features = torch.cat([network.head_base[None], token[:, None].expand(-1, len(network.head_base), -1)], -1)
    drawn = network.gs_generator_g(features, direction)
    for name, tolerance in (("colors", 3e-5), ("opacities", 3e-5), ("scales", 3e-7), ("rotations", 1e-6)):
        yield from whole(fixture, f"vertex.{name}", getattr(drawn, name)[0], (slice(None, None, 31),), tolerance)
    plane = torch.from_numpy(blocks("lora.f_feature0", (256, 37, 37), 8, fixture.salt))
    for i, branch in enumerate((network.gs_generator_l0, network.gs_generator_l1)):
        drawn = branch(plane, direction)
        every = (slice(4, None, 32), slice(4, None, 32))
        for name, tolerance in (("colors", 3e-4), ("opacities", 5e-5), ("positions", 5e-5), ("scales", 3e-6), ("rotations", 6e-4)):
            full = getattr(drawn, name)[0].unflatten(0, (SIZE, SIZE))
            yield from whole(fixture, f"lift{i}.{name}", full, every, tolerance)
    image = network.upsampler(torch.from_numpy(blocks("styleunet.input", (32, 128, 128), 4, fixture.salt)))
    yield from whole(fixture, "styleunet.output", image[0], (slice(None), slice(1, None, 16), slice(1, None, 16)), 1e-3)


def _register(folder: FixtureFolder) -> Iterator[Row]:
    fixture = folder["lora_register"]
    mesh = RegisterMesh.of(folder.face_model["f"], len(folder.face_model["v_template"]))
    yield compare("lora_register/subdivision.edges", mesh.edges, fixture["subdivision.edges"], 0)
    camera, vertices = folder["inputs"]["dst.transform"], fixture["vertices"]
    yield from _geometry(fixture, mesh, vertices, camera)
    module = Registers(mesh.count).eval()
    fill(module, fixture.salt, "register_network.")
    visible, pixels = padded(*_listed(fixture), camera, mesh, SIZE)
    region = fixture["mask_pixels"].astype(np.int64)
    neighbours = fixture["knn.ids"].astype(np.int64)
    shares = inverse_distance_weights(_distances(region, pixels, neighbours), QUIRKS)
    grid = register_grid(visible, pixels, region, neighbours, shares, SIZE, QUIRKS)
    yield from _drawn(fixture, module, grid, pixels)
    source = _features(fixture)
    yield from _encoded(fixture, module, grid, source)
    neighbours = fixture["exact_idw.ids"].astype(np.int64)
    shares = inverse_distance_weights(_distances(region, pixels, neighbours))
    exact = register_grid(visible, pixels, region, neighbours, shares, SIZE, QUIRKS)
    yield from whole(fixture, "exact_idw.interpolated", _interpolated(module, exact, region, pixels), _SOME, 1e-5)
    processed = module(source, [exact])[0]
    yield from whole(fixture, "exact_idw.processed", processed, (slice(None, None, 4), *_EVERY), 2e-4)


_EVERY = (slice(4, None, 16), slice(4, None, 16))
_SOME = (slice(None, None, 211), slice(None, None, 8))


def _features(fixture: Fixture) -> Tensor:
    return torch.from_numpy(blocks("register.features", (256, 37, 37), 8, fixture.salt))


def _listed(fixture: Fixture) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The visible registers and their pixels as stored: rounding of halves differs between machines."""
    return fixture["visible_sub"].astype(np.int64), fixture["visible_pixels"].astype(np.int64)


def _distances(region: NDArray[np.int64], pixels: NDArray[np.int64], neighbours: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.linalg.norm((region[:, None] - pixels[neighbours]).astype(np.float64), axis=-1)


def _geometry(fixture: Fixture, mesh: RegisterMesh, vertices: NDArray, camera: NDArray) -> Iterator[Row]:
    label = "lora_register"
    listed, pixels = _listed(fixture)
    seen = np.flatnonzero(visible_vertices(vertices, mesh.faces, camera_centre(camera, QUIRKS)))
    yield Row(f"{label}/visible (vertices that differ)", float(len(np.setxor1d(seen, fixture["visible"]))), 5.0, len(fixture["visible"]))
    points = project(vertices, camera, SIZE)
    yield from whole(fixture, "projected", points, (slice(None, None, 5),), 3e-4)
    fine = project(mesh.refine(vertices)[listed], camera, SIZE)
    yield compare(f"{label}/projected_visible_sub", fine[::7], fixture["projected_visible_sub"], 3e-4)
    clear = (np.abs(fine - np.floor(fine) - 0.5) > 1e-3).all(1)
    yield compare(f"{label}/visible_pixels (away from halves)", np.rint(fine)[clear], pixels[clear], 0)
    yield compare(f"{label}/origin_pixel", project(np.zeros((1, 3)), camera, SIZE)[0], fixture["origin_pixel"], 3e-4)
    yield _overlap(f"{label}/mask_pixels", face_region(pixels, SIZE), fixture["mask_pixels"])
    coarse = whole_pixels(vertices[fixture["visible"].astype(np.int64)], camera, SIZE)
    yield _overlap(f"{label}/mask_pixels_base", face_region(coarse, SIZE), fixture["mask_pixels_base"])
    region, neighbours = fixture["mask_pixels"].astype(np.int64), fixture["knn.ids"].astype(np.int64)
    stored = _distances(region, pixels, neighbours)
    yield compare(f"{label}/knn.ids (their distances)", nearest(region, pixels)[1], np.sort(stored, 1), 1e-9)
    yield compare(f"{label}/knn.int_dists", np.floor(stored), fixture["knn.int_dists"], 0)


def _overlap(name: str, ours: NDArray, theirs: NDArray) -> Row:
    a, b = (set(map(tuple, points.astype(int).tolist())) for points in (ours, theirs))
    return Row(f"{name} (1 - intersection over union)", 1 - len(a & b) / len(a | b), 0.01, len(b))


def _drawn(fixture: Fixture, module: Registers, grid: RegisterGrid, pixels: NDArray[np.int64]) -> Iterator[Row]:
    """The plane before any convolution."""
    label = "lora_register"
    plane = module.plane(grid)
    yield from whole(fixture, "grid", plane, (slice(None, None, 4), slice(None, None, 8), slice(None, None, 8)), 1e-5)
    x, y = pixels[-1]
    yield compare(f"{label}/grid_at_origin", plane[:, y - 2 : y + 3, x - 2 : x + 3], fixture["grid_at_origin"], 1e-5)
    yield compare(f"{label}/grid_corner", plane[::16, :3, :3], fixture["grid_corner"], 0)
    region = fixture["mask_pixels"].astype(np.int64)
    yield from whole(fixture, "interpolated", _interpolated(module, grid, region, pixels), _SOME, 1e-5)
    shared, owners = fixture["shared_pixels_xy"].astype(int), fixture["shared_pixels_last_vertex"].astype(int)
    held = plane[:, shared[:, 1], shared[:, 0]].T
    yield compare(f"{label}/shared_pixels_last_vertex (its embedding)", held, module.embeddings.weight[owners], 0)


def _interpolated(module: Registers, grid: RegisterGrid, region: NDArray[np.int64], pixels: NDArray[np.int64]) -> Tensor:
    """[M, 512] the region's pixels, zero where a vertex projects."""
    held = module.plane(grid)[:, region[:, 1], region[:, 0]].T
    hit = set(map(tuple, pixels.tolist()))
    return held * torch.tensor([[float(tuple(p) not in hit)] for p in region.tolist()])


def _encoded(fixture: Fixture, module: Registers, grid: RegisterGrid, source: Tensor) -> Iterator[Row]:
    register = module.encode([grid])
    yield from whole(fixture, "register", register[0], (slice(None, None, 2), slice(None, None, 16), slice(None, None, 16)), 1e-4)
    total = register.double().sum().reshape(1)
    yield compare("lora_register/register.sum (relative)", total, fixture["register.sum"], 1e-6, relative=True)
    yield from whole(fixture, "processed", module.output_processing(source + register)[0], (slice(None), *_EVERY), 2e-4)
    module.train()
    register = module.encode([grid])
    yield from whole(fixture, "train.register", register[0], (slice(None, None, 4), slice(None, None, 16), slice(None, None, 16)), 1e-2)
    yield from whole(fixture, "train.processed", module.output_processing(source + register)[0], (slice(None, None, 4), *_EVERY), 1e-2)
    first = module.convert_convnet.net[1]
    for name in ("mean", "var"):
        expected = fixture[f"train.bn0_running_{name}_after"]
        yield compare(f"lora_register/train.bn0_running_{name}_after", getattr(first, f"running_{name}"), expected, 1e-3)
    module.eval()
    fill(module, fixture.salt, "register_network.")


def _losses(folder: FixtureFolder) -> Iterator[Row]:
    from backend.models.gagavatar.perceptual import FacePerceptualLoss
    from backend.personalize.losses import LossWeights, boxed, cosine_loss, feature_loss, perceptual_terms, picture_loss, point_loss

    fixture = folder["lora_losses"]
    salt, weights = fixture.salt, LossWeights()
    truth, coarse, refined = (
        torch.from_numpy(plain_image(f"loss.{name}", salt, grid=32)) for name in ("t_image", "gen_image", "sr_gen_image")
    )
    box = torch.from_numpy(fixture["bbox"])
    factors = [weights.picture, weights.cosine, weights.feature]
    yield compare("lora_losses/lambda", factors, fixture["lambda"], 0)
    nets = FacePerceptualLoss()
    fill(nets, salt, "percep_loss.")
    lifted = torch.from_numpy(0.5 * normal("loss.p_points", (4000, 3), salt))[None]
    vertices = torch.from_numpy(folder["flame"]["drive.vertices"])[None]
    features, target = (
        torch.from_numpy(blocks(f"loss.{name}", (256, side, side), SIZE // side, salt))
        for name, side in (("f_feature0", 37), ("target_f_feature0", 74))
    )
    registers = torch.from_numpy(tensor("register_network.embeddings.weight", (_register_count(folder) + 1, 512), salt))[:-1]
    terms = {
        "img_loss": weights.picture * picture_loss(coarse, refined, truth),
        "box_loss": weights.box * picture_loss(*boxed(coarse, refined, truth, box)),
        "percep_loss": weights.perceptual * perceptual_terms(nets, coarse, refined, truth, box),
        "point_loss": weights.point * point_loss(lifted, vertices),
        "f_feature0_loss": weights.feature * feature_loss(features, target),
        "register_reg": weights.cosine * cosine_loss(registers),
    }
    for name, value in terms.items():
        # The release sums an N x N matrix in float32 and subtracts N of it: only its double is exact.
        tolerance = 1e-4 if name == "register_reg" else 1e-5
        yield compare(f"lora_losses/loss.{name}", value.reshape(1), fixture[f"loss.{name}"], tolerance, relative=True)
    exact = weights.cosine * cosine_loss(registers.double())
    yield compare("lora_losses/loss.register_reg_double", exact.reshape(1), fixture["loss.register_reg_double"], 1e-9, relative=True)
    yield compare("lora_losses/total", torch.stack(list(terms.values())).sum().reshape(1), fixture["total"], 1e-5, relative=True)


def _register_count(folder: FixtureFolder) -> int:
    return RegisterMesh.of(folder.face_model["f"], len(folder.face_model["v_template"])).count
