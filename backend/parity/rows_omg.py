"""OMG-Avatar's fixtures: decoder, sampling, visibility, fusion, heads, shoulders and pictures at three levels, and the refiner."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from backend.models.networks import FOCAL, GaussianAttributes, StyleUNet, project_to_ndc, rasterizer_matrices
from backend.models.networks.style_unet import NARROW_CHANNELS
from backend.models.omg.config import OMGConfig
from backend.models.omg.gaussians import joined, kept
from backend.models.omg.network import Head, OMGAvatar, Seen, Shoulders
from backend.models.omg.posing import PosedHead
from backend.models.omg.sampling import project, sample, sampling_positions
from backend.models.omg.shoulders import NEAR_HALF
from backend.models.omg.steady import released_limits, steady_shoulders
from backend.models.omg.visibility import depth_buffer, normalized
from backend.splats.covariance import raw_covariances
from backend.splats.tile_raster import footprints, tile_raster

from .captures import captured, compare_slice
from .fixture_folder import Fixture, FixtureFolder
from .fixture_inputs import blocks
from .fixture_weights import fill
from .rows import Row, compare, mean_error

FILES = ("omg_sub0", "omg_sub1", "omg_sub2", "omg_refiner")
EVERY = {0: 7, 1: 29, 2: 113}
"""Of the vertices of each level, which are stored."""
WHOLE = np.s_[:]
SHOULDERS = {"colors": 3e-4, "opacities": 6e-5, "rotations": 6e-4, "scales": 3e-6}
"""Tolerances; ten times what the official code in float32 differs from itself in double precision, as everywhere here."""
OUTLINE = 10
"""Pixels of the feature map, of 87,616, whose place in or outside the mesh's outline may depend on rounding."""
CLEAR = 1.0
"""Margins of the visibility test below this are float32 rounding: the released test subtracts numbers that differ by 1e-4."""


@dataclass
class Stage:
    """The released network on one set of inputs."""

    network: OMGAvatar
    flame: PosedHead
    folder: FixtureFolder
    seen: Seen
    target: Tensor
    view: Tensor

    @staticmethod
    def of(folder: FixtureFolder, salt: bytes) -> Stage:
        model, inputs = folder.face_model, folder["inputs"]
        network = OMGAvatar(OMGConfig(released=True), model["f"]).eval()
        fill(network, salt)
        for layer in network.transformer.layers:
            layer.written_out = True
        flame = PosedHead(
            model["v_template"], model["shapedirs"].transpose(2, 0, 1), model["J_regressor"], model["weights"],
            np.array([-1, *model["kintree_table"][0, 1:]]), model["posedirs"], late_joints=True,
        )  # fmt: skip
        source, driver = folder.codes("src"), folder.codes("dst")
        camera = lambda name: torch.from_numpy(inputs[f"{name}.transform"])[None]
        seen = network.look(_image(folder), camera("src"), lambda offsets: _posed(flame, source, source, offsets))
        target = _posed(flame, source, driver, seen.offsets)
        return Stage(network, flame, folder, seen, target, camera("dst"))


def _image(folder: FixtureFolder) -> Tensor:
    return torch.from_numpy(folder["inputs"]["image.noise"]).permute(2, 0, 1)[None].float() / 255


def _posed(flame: PosedHead, shape: dict[str, np.ndarray], other: dict[str, np.ndarray], offsets: Tensor | None) -> Tensor:
    """FLAME's vertices: one person's shape; expression, jaw and eyes of another; the neck straight."""
    coefficients = torch.from_numpy(np.concatenate([shape["shape"], other["exp"]]))[None]
    turns = np.concatenate([other["pose"][:3], np.zeros(3, np.float32), other["pose"][3:], other["eye"]])
    return flame(coefficients, torch.from_numpy(turns.reshape(1, 5, 3)), offsets)


def rows(folder: FixtureFolder) -> Iterator[Row]:
    """One row a stored tensor."""
    with torch.no_grad():
        stage: Stage | None = None
        for level in range(3):
            if f"omg_sub{level}" in folder:
                fixture = folder[f"omg_sub{level}"]
                stage = stage or Stage.of(folder, fixture.salt)
                if level == 0:
                    yield from _once(stage, fixture)
                yield from _level(stage, fixture, level)
        if "omg_refiner" in folder:
            yield from _refiner(folder["omg_refiner"], stage)


class _Stored:
    """One fixture file: what is kept of an array against the whole array, and the whole array's statistics where these are kept."""

    def __init__(self, fixture: Fixture, name: str) -> None:
        self.fixture, self.name = fixture, name

    def __call__(self, key: str, whole: Any, part: Any, tolerance: float) -> Iterator[Row]:
        """Rows of `whole[part]`, and of mean, deviation, minimum and maximum of `whole`, and of each channel (its first axis)."""
        array = np.asarray(whole)
        return compare_slice(self.name, self.fixture, key, array, array[part], tolerance)

    def statistics(self, key: str, whole: Any, tolerance: float) -> Iterator[Row]:
        """Rows of the whole array's statistics alone."""
        rows = compare_slice(self.name, self.fixture, key, whole, self.fixture[key], tolerance)
        return (row for row in rows if row.name != f"{self.name}/{key}")


def _once(stage: Stage, fixture: Fixture) -> Iterator[Row]:
    """What does not depend on the level."""
    network, seen, stored = stage.network, stage.seen, _Stored(fixture, "omg_sub0")
    tokens = network.encode(_image(stage.folder)).tokens
    queries = network.transformer.input_projection(network.head_base[None])
    memory = network.transformer.memory_projection(tokens)
    yield from stored("dino.tokens", tokens[0], np.s_[::97], 5e-5)
    yield from stored("feature_map", seen.features[0], np.s_[:, ::16, ::16], 3e-4)
    yield from stored("decoder.proj_v", queries[0], np.s_[::23], 5e-5)
    yield from stored("decoder.proj_m", memory[0], np.s_[::23], 5e-5)
    for index, layer in enumerate(network.transformer.layers):
        queries = layer(queries, memory)
        yield from stored(f"decoder.layer{index}", queries[0], np.s_[::23], 1e-4)
    yield from stored("decoder.tokens", seen.global_features[0], np.s_[::11], 1e-4)
    yield from stored("offset", seen.offsets[0], WHOLE, 1e-5)
    yield from stored("target.vertices", stage.target[0], WHOLE, 6e-6)
    levels = network.levels
    # Released: level 2 keeps level 1's faces.
    counts = [[levels.counts[i], len(levels.faces[min(i, 1)]), len(levels.edges(i + 1)) if i < 2 else -1] for i in range(3)]
    yield from stored("subdivision.counts", counts, WHOLE, 0)
    yield from stored("subdivision.edges1", levels.edges(1), WHOLE, 0)
    yield from stored("subdivision.edges2.every_37th", levels.edges(2), np.s_[::37], 0)
    yield from stored("subdivision.faces1.every_41st", levels.faces[1], np.s_[::41], 0)
    raw = network.gs_shoulder_generator(seen.features, seen.direction)
    size = seen.features.shape[-1]
    for name, tolerance in (*SHOULDERS.items(), ("positions", 5e-5)):
        yield from stored(f"shoulder_raw.{name}", getattr(raw, name)[0].reshape(size, size, -1), np.s_[::16, ::16], tolerance)
    # Released: 1 minus the nearer half of the mesh; the picture's own mask is multiplied by zero.
    yield from stored("bg_mask512", (normalized(seen.depth)[0] >= NEAR_HALF).float(), np.s_[::8, ::8], 2e-5)


def _level(stage: Stage, fixture: Fixture, level: int) -> Iterator[Row]:
    network, seen, name = stage.network, stage.seen, f"omg_sub{level}"
    stored, some = _Stored(fixture, name), np.s_[:: EVERY[level]]
    points, driven = network.levels.subdivide(seen.points, level), network.levels.subdivide(stage.target, level)
    screen = project(points, seen.camera)[..., :2]
    yield from stored("target.vertices_sub", driven[0], some, 6e-6)
    yield from stored("ndc", project_to_ndc(points, seen.camera)[0], some, 5e-6)
    yield from stored("sample.grid", sampling_positions(screen, seen.features.shape[-1], True)[0], some, 1e-5)
    yield from stored("sample.features", sample(seen.features, screen, True)[0], some, 5e-4)
    occluded = torch.from_numpy(np.unpackbits(fixture["occluded"])[: points.shape[1]].astype(bool))[None]
    yield from _visibility(name, network.unseen(seen, points)[0], occluded[0], fixture)
    yield from _buffers(stage, stored, level)
    # From here on with the stored visibility: vertices near the limit are decided by rounding, and each moves its level's norm.
    head = network.head(seen, level, occluded)
    yield from stored("fused", head.fused[0], some, 5e-4)
    for part, tolerance in (("colors", 4e-4), ("opacities", 5e-5), ("rotations", 4e-6), ("scales", 4e-6)):
        yield from stored(f"head.{part}", getattr(head.attributes, part)[0], some, tolerance)
    yield from stored("head.xyz", driven[0], some, 6e-6)
    shoulders = network.shoulders(seen)
    yield from _shoulders(shoulders, stored)
    yield from _pictures(stage, stored, driven, head, shoulders)


def _visibility(name: str, unseen: Bool[Tensor, " n"], occluded: Bool[Tensor, " n"], fixture: Fixture) -> Iterator[Row]:
    """Ours against the released code's, and both against the margins that were found in double precision, where these are clear."""
    margin = fixture["visibility.margin_f64"].astype(np.float64)
    outside = np.isnan(margin)
    clear = outside | (np.abs(margin) > CLEAR)
    remark = f"(margin above {CLEAR:g})"
    yield compare(f"{name}/occluded {remark}", unseen.numpy()[clear], occluded.numpy()[clear], 0)
    yield compare(f"{name}/visibility.margin_f64 {remark}", unseen.numpy()[clear], (outside | (margin >= 0))[clear], 0)
    unclear = int((~clear).sum())
    yield compare(f"{name}/occluded.count", [int(unseen.sum()), len(unseen)], fixture["occluded.count"], unclear)


def _buffers(stage: Stage, stored: _Stored, level: int) -> Iterator[Row]:
    network, seen, model = stage.network, stage.seen, stage.folder.face_model
    buffer = normalized(seen.depth)[0]
    yield from stored("zbuffer", buffer, np.s_[::8, ::8], 2e-5)
    yield from stored("zbuffer.patch", buffer, np.s_[240:272, 240:272], 2e-5)
    bare = ~np.isin(model["f"], np.concatenate([model["mask_neck"], model["mask_boundary"]])).any(1)
    faces = np.ascontiguousarray(model["f"][bare])
    levels = network.levels
    sizes = [[levels.counts[level], len(levels.faces[min(level, 1)])], *[[levels.counts[0], len(faces)]] * 2]
    yield from stored("mesh_sizes", sizes, WHOLE, 0)
    for who, points, camera in (("source", seen.points, seen.camera), ("target", stage.target, stage.view)):
        face = normalized(depth_buffer(project(points, camera), faces, network.config.size))[0]
        yield from stored(f"{who}_face_zbuffer", face, np.s_[4::16, 4::16], 2e-5)


def _shoulders(shoulders: Shoulders, stored: _Stored) -> Iterator[Row]:
    """At the pixels that the fixture names: pixels on the mesh's outline are kept or not by rounding, which shifts all that follow."""
    chosen, pixel = shoulders.kept, torch.from_numpy(stored.fixture["shoulder.pixel"]).long()
    yield compare(f"{stored.name}/shoulder.count", [int(chosen.sum()), len(chosen)], stored.fixture["shoulder.count"], OUTLINE)
    yield compare(f"{stored.name}/shoulder.pixel (kept)", chosen[pixel], np.ones(len(pixel)), 0)
    yield from stored("shoulder.mask296", shoulders.mask[0, 0], np.s_[::8, ::8], 2e-5)
    parts = {name: (getattr(shoulders.attributes, name), tolerance) for name, tolerance in SHOULDERS.items()}
    for name, (values, tolerance) in {**parts, "xyz": (shoulders.points, 5e-5)}.items():
        yield compare(f"{stored.name}/shoulder.{name}", values[0, pixel], stored.fixture[f"shoulder.{name}"], tolerance)
        yield from stored.statistics(f"shoulder.{name}", values[0, chosen], max(tolerance, 5e-5))


def _pictures(stage: Stage, stored: _Stored, driven: Tensor, head: Head, shoulders: Shoulders) -> Iterator[Row]:
    """Splatted, blended and refined; with the shoulders held still where that was stored."""
    network, chosen, fixture, name = stage.network, shoulders.kept, stored.fixture, stored.name
    points = torch.cat([shoulders.points[:, chosen], driven], 1)
    attributes = joined([kept(shoulders.attributes, chosen), head.attributes])
    features, light = _drawn(points, attributes, stage.view)
    # Single pixels end one Gaussian earlier or later: the official code's own two builds differ there by up to 1.7e-3.
    sparse, wanted = features[0, :, 3::16, 3::16], fixture["render.features"]
    yield compare(f"{name}/render.features", sparse, wanted, 2e-3, share=0.999)
    yield mean_error(f"{name}/render.features", sparse, wanted, 1e-4)
    yield from stored.statistics("render.features", features[0], 4e-3)
    yield compare(f"{name}/render.final_t", light[3::16, 3::16], fixture["render.final_t"], 5e-4, share=0.999)
    yield from stored.statistics("render.final_t", light, 5e-4)
    image = network.upsampler(features)[0]
    yield from stored("render.image", image, np.s_[:, 1::8, 1::8], 1e-4)
    yield from stored("render.image_patch", image, np.s_[:, 240:272, 240:272], 1e-4)
    if "enhanced.xyz" in fixture:
        # Released: the driver's translation is overwritten with the photo's.
        view = torch.cat([stage.view[..., :3], stage.seen.camera[..., 3:]], -1)
        moved = steady_shoulders(points[0], stage.seen.camera[0], view[0], *released_limits(points[0], driven[0]))
        yield from stored("enhanced.transform", view[0], WHOLE, 0)
        yield from stored("enhanced.xyz", moved, np.s_[:: int(fixture["enhanced.index_step"][0])], 5e-5)
        image = network.upsampler(_drawn(moved[None], attributes, view)[0])[0]
        yield from stored("enhanced.image", image, np.s_[:, 1::16, 1::16], 1e-4)


def _drawn(points: Tensor, attributes: GaussianAttributes, camera: Tensor) -> tuple[Tensor, Tensor]:
    """Features on black [1, 32, 512, 512] and the light left [512, 512], by the released rasterizer's arithmetic."""
    size, tangent = 512, 1 / FOCAL
    shapes = raw_covariances(attributes.rotations[0], attributes.scales[0])
    view, projection = (matrix.numpy() for matrix in rasterizer_matrices(camera[0]))
    prints = footprints(points[0].numpy(), shapes.numpy(), view, projection, size, size, (tangent, tangent))
    picture = tile_raster(prints, attributes.opacities[0].numpy(), attributes.colors[0].numpy(), size, size)
    return torch.from_numpy(picture.image).permute(2, 0, 1)[None], torch.from_numpy(picture.transmittance)


def _refiner(fixture: Fixture, stage: Stage | None) -> Iterator[Row]:
    """The narrow StyleUNet on its own input of square blocks."""
    if stage is None:
        net = StyleUNet(channels=NARROW_CHANNELS).eval()
        fill(net, fixture.salt, "upsampler.")
    else:
        net = stage.network.upsampler
    decoder = net.get_submodule("stylegan_decoder")
    watched = {"style": net.get_submodule("final_linear"), "latent": decoder.get_submodule("style_mlp")}
    watched |= {"mid.conv1": decoder.get_submodule("style_conv1"), "mid.rgb1": decoder.get_submodule("to_rgb1")}
    watched |= {f"mid.{key}": net.get_submodule(f"conv_body_{key[:-1]}.{key[-1]}") for key in ("down6", "up0", "up6")}
    watched |= {f"mid.rgb_level{i}": decoder.get_submodule(f"to_rgbs.{i}") for i in range(7)}
    with captured(watched) as caught:
        output = net(torch.from_numpy(blocks("styleunet.input", (32, 128, 128), 4, fixture.salt)))[0]
    stored = _Stored(fixture, "omg_refiner")
    for name, batch in caught.items():
        got = batch[0]
        step = max(got.shape[-1] // 4, 1)
        part = np.s_[:16, step // 2 :: step, step // 2 :: step] if name.startswith("mid") else WHOLE
        yield from stored(name, got, part, 1e-3 if name.startswith("mid") else 5e-5)
    yield from stored("output", output, np.s_[:, 1::4, 1::4], 2e-5)
    yield from stored("output_patch", output, np.s_[:, 256:320, 128:192], 2e-5)
