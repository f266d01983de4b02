"""What programs of others make of our files: PlayCanvas' splat-transform, Khronos' glTF validator, glTF-Transform.

They need Node and are asked for: ``npm install gltf-validator @gltf-transform/core @playcanvas/splat-transform`` in any folder, then
``LOOKALIKE_NODE_MODULES=folder/node_modules``. Passed with 2.0.0-dev.3.10, 4.5.1 and 2.7.1 of them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from backend.protocol.interchange import SplatCloud, decode_glb, decode_ply, encode_glb, encode_ply, encode_spz
from tests.synthetic import synthetic_avatar

MODULES = Path(os.environ.get("LOOKALIKE_NODE_MODULES", ""))
pytestmark = pytest.mark.skipif(
    "LOOKALIKE_NODE_MODULES" not in os.environ or shutil.which("node") is None, reason="LOOKALIKE_NODE_MODULES names no Node packages"
)

VALIDATE = """
const validator = require(process.argv[1]), fs = require('fs');
validator.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2]))).then(r => console.log(JSON.stringify(r)));
"""
READ = """
import { NodeIO } from 'MODULES/@gltf-transform/core/dist/index.js';
const doc = await new NodeIO().read(process.argv[1]);
const mesh = doc.getRoot().listMeshes().find(m => m.listPrimitives()[0].listTargets().length);
const part = mesh.listPrimitives()[0], skin = doc.getRoot().listSkins()[0];
console.log(JSON.stringify({
  names: mesh.getExtras().targetNames, joints: skin.listJoints().map(j => j.getName()), vertices: part.getAttribute('POSITION').getCount(),
  targets: part.listTargets().map(t => Array.from(t.getAttribute('POSITION').getArray())),
  position: Array.from(part.getAttribute('POSITION').getArray()), weights: Array.from(part.getAttribute('WEIGHTS_0').getArray()) }));
"""


@pytest.fixture(scope="module")
def avatar():
    return synthetic_avatar(1)


@pytest.fixture(scope="module")
def glb(avatar, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "ada.glb"
    path.write_bytes(encode_glb(avatar, avatar.lods[0], avatar.lods[0]))
    return path


def cloud_with_harmonics(avatar) -> SplatCloud:
    """Opacities from clear to solid, uneven sizes, degree 1: nothing that a wrong order or a missing logarithm would leave unseen."""
    cloud = SplatCloud.of(avatar.lods[0])
    rng = np.random.default_rng(5)
    sh = np.concatenate([cloud.sh, rng.normal(0, 0.1, (len(cloud.position), 3, 3)).astype(np.float32)], 1)
    return cloud._replace(sh=sh, opacity=rng.uniform(0.05, 0.95, len(cloud.position)).astype(np.float32))


def node(*words: str) -> str:
    done = subprocess.run(["node", *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def transformed(source: Path, target: Path) -> Path:
    node(str(MODULES / "@playcanvas/splat-transform/bin/cli.mjs"), "-q", "-w", str(source), str(target))
    return target


def columns(path: Path) -> dict[str, np.ndarray]:
    names, *rows = path.read_text().splitlines()
    return dict(zip(names.split(","), np.array([row.split(",") for row in rows if row], np.float64).T, strict=True))


def stacked(table: dict[str, np.ndarray], *names: str) -> np.ndarray:
    return np.stack([table[name] for name in names], 1)


@pytest.mark.parametrize(
    ("suffix", "turned", "loss"),
    [(".ply", (-1, -1, 1), 1e-5), (".spz", (1, -1, -1), 0.06)],
    ids=["ply: half a turn about Z, as viewers undo", "spz: up along Y in the file, which it turns to right-down-forward"],
)
def test_splat_transform_reads_our_splats(avatar, tmp_path, suffix, turned, loss) -> None:
    cloud = cloud_with_harmonics(avatar)
    source = tmp_path / f"ada{suffix}"
    source.write_bytes(encode_ply(cloud, "y-down") if suffix == ".ply" else encode_spz(cloud))
    read = columns(transformed(source, tmp_path / "ada.csv"))
    assert np.abs(stacked(read, "x", "y", "z") * turned - cloud.position).max() < 1e-4
    assert np.abs(stacked(read, "f_dc_0", "f_dc_1", "f_dc_2") - cloud.sh[:, 0]).max() < loss
    assert np.abs(1 / (1 + np.exp(-read["opacity"])) - cloud.opacity).max() < loss
    seen = cloud.scale > 5e-5  # thinner ones a .spz cannot hold
    assert np.abs(stacked(read, "scale_0", "scale_1", "scale_2") - np.log(cloud.scale))[seen].max() < loss


def test_turned_by_splat_transform_our_ply_is_the_avatar_again(avatar, tmp_path) -> None:
    """Half a turn about Z, as its viewer makes it: the order of rotations and harmonics, and how both turn, agree."""
    cloud = cloud_with_harmonics(avatar)
    (tmp_path / "ada.ply").write_bytes(encode_ply(cloud, "y-down"))
    cli = str(MODULES / "@playcanvas/splat-transform/bin/cli.mjs")
    node(cli, "-q", "-w", str(tmp_path / "ada.ply"), "-r", "0,0,180", str(tmp_path / "turned.ply"))
    back = decode_ply((tmp_path / "turned.ply").read_bytes(), axes="y-up")
    assert np.abs(back.position - cloud.position).max() < 1e-5
    assert np.abs(np.abs((back.rotation * cloud.rotation).sum(1)) - 1).max() < 1e-5
    assert np.abs(back.sh - cloud.sh).max() < 1e-4


def test_we_read_the_gltf_splats_that_splat_transform_writes(avatar, tmp_path) -> None:
    """Another writer of KHR_gaussian_splatting: both agree on what its attributes mean."""
    cloud = cloud_with_harmonics(avatar)
    (tmp_path / "ada.ply").write_bytes(encode_ply(cloud, "y-down"))
    back = decode_glb(transformed(tmp_path / "ada.ply", tmp_path / "theirs.glb").read_bytes(), "theirs.glb")
    assert np.abs(back.position - cloud.position).max() < 1e-5
    assert np.abs(back.opacity - cloud.opacity).max() < 1e-2
    assert np.abs(np.log(back.scale / cloud.scale)).max() < 1e-2
    assert np.abs(np.abs((back.rotation * cloud.rotation).sum(1)) - 1).max() < 1e-3
    assert np.abs(back.sh - cloud.sh).max() < 1e-3


def test_khronos_validator_finds_no_error_but_the_extensions_names(glb) -> None:
    """It does not know the release candidate, whose attributes are named KHR_gaussian_splatting:SCALE and so on."""
    report = json.loads(node("-e", VALIDATE, str((MODULES / "gltf-validator").resolve()), str(glb)))
    errors = [m for m in report["issues"]["messages"] if m["severity"] == 0 and "/attributes/KHR_gaussian_splatting:" not in m["pointer"]]
    assert not errors
    assert not report["issues"]["truncated"]
    assert report["info"]["hasSkins"]
    assert report["info"]["hasMorphTargets"]


def test_gltf_transform_reads_skin_and_morph_targets(avatar, glb) -> None:
    read = json.loads(node("--input-type=module", "-e", READ.replace("MODULES", str(MODULES.resolve())), str(glb)))
    rig = avatar.rig
    assert set(read["joints"]) == set(rig.joint_names)
    assert read["names"][: len(rig.expression_names)] == list(rig.expression_names)
    assert "jawOpen" in read["names"]
    position = np.array(read["position"]).reshape(-1, 3)
    nearest = np.linalg.norm(position[:, None] - rig.vertices[None], axis=2).argmin(1)
    for index in range(len(rig.expression_names)):
        moved = np.array(read["targets"][index]).reshape(-1, 3)
        assert np.abs(moved - rig.expressions[index][nearest]).max() < 1e-6
    assert np.abs(np.array(read["weights"]).reshape(len(position), -1).sum(1) - 1).max() < 1e-3
