"""What another program sees in our files: read by independent readers, drawn by gsplat's conventions, compared with our own picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.protocol.interchange import SplatCloud, encode_ply, encode_spz
from backend.splats import joint_pose, portrait_camera, pose_splats, rasterization, render_splats
from tests.synthetic import synthetic_avatar

TO_CAMERA_FRAME = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
"""World of an rdf file (right, down, forward) from the avatar's (+Y up)."""


@pytest.fixture(scope="module")
def scene():
    """A posed avatar with view-dependent colour, and a camera that looks at it from half left."""
    avatar = synthetic_avatar()
    splats = pose_splats(avatar, 2, expression={"mouthSmile": 1.0}, pose=joint_pose(avatar, neck=(0.1, 0.3, 0)))
    rng = np.random.default_rng(0)
    bands = rng.normal(0, 0.12, (len(splats), 8, 3)).astype(np.float32)
    splats = type(splats)(**{**splats.__dict__, "sh": np.concatenate([splats.sh, bands], 1)})
    return splats, portrait_camera(avatar, 25.0, 5.0, 192)


def drawn_as_gsplat(means, quats, log_scales, logits, sh, camera) -> np.ndarray:
    """gsplat's call of a training program: exp of scales, sigmoid of opacities, coefficients [N, K, 3], camera right-down-forward."""
    tensor = lambda values: torch.tensor(np.ascontiguousarray(values, np.float32))
    view = tensor(camera.world_to_camera @ np.linalg.inv(TO_CAMERA_FRAME))
    with torch.no_grad():
        image, alpha, _ = rasterization(
            tensor(means), tensor(quats), torch.exp(tensor(log_scales)), torch.sigmoid(tensor(logits)), tensor(sh),
            view[None], torch.tensor(camera.intrinsics)[None], camera.width, camera.height, sh_degree=2,
        )  # fmt: skip
    return np.clip(image[0].numpy() + (1 - alpha[0].numpy()), 0, 1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(((a - b) ** 2).mean(), 1e-12)))


def test_gsplat_draws_our_ply_as_we_draw_the_avatar(scene, tmp_path):
    plyfile = pytest.importorskip("plyfile", reason="an independent reader of .ply")
    splats, camera = scene
    (tmp_path / "a.ply").write_bytes(encode_ply(SplatCloud.of(splats), "rdf"))
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    take = lambda names: np.stack([vertex[n] for n in names], 1)
    rest = take([f"f_rest_{i}" for i in range(24)]).reshape(-1, 3, 8).transpose(0, 2, 1)
    sh = np.concatenate([take([f"f_dc_{i}" for i in range(3)])[:, None], rest], 1)
    others = take([f"rot_{i}" for i in range(4)]), take([f"scale_{i}" for i in range(3)]), vertex["opacity"], sh, camera
    theirs = drawn_as_gsplat(take("xyz"), *others)
    ours, _ = render_splats(splats, camera)
    assert psnr(ours, theirs) > 60
    mirrored = drawn_as_gsplat(take("xyz") * [-1, 1, 1], *others)
    assert psnr(ours, mirrored) < 30, "the comparison sees a wrong axis"


def test_gsplat_draws_our_spz_nearly_as_we_draw_the_avatar(scene, tmp_path):
    spz = pytest.importorskip("gsply.spz", reason="an independent reader of .spz")
    splats, camera = scene
    (tmp_path / "a.spz").write_bytes(encode_spz(SplatCloud.of(splats)))
    read = spz.read_spz(str(tmp_path / "a.spz"))
    sh = np.concatenate([read.sh0[:, None], read.shN], 1)
    # .spz stands in the avatar's own frame: the camera is given in it.
    camera_here = type(camera)(**{**camera.__dict__, "world_to_camera": camera.world_to_camera @ TO_CAMERA_FRAME})
    theirs = drawn_as_gsplat(read.means, read.quats, read.scales, read.opacities, sh, camera_here)
    ours, _ = render_splats(splats, camera)
    assert psnr(ours, theirs) > 35
