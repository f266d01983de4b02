"""A small FLAME-shaped rig and folders of pictures of it, so that training takes seconds."""

import json

import numpy as np
import pytest
from PIL import Image

from backend.rig import load_rig
from tests.synthetic import ellipsoid

EXPRESSIONS, SHAPES, SIZE = 100, 300, 64


@pytest.fixture(scope="package")
def rig_file(tmp_path_factory):
    """An ellipsoid with FLAME's arrays."""
    vertices, faces = ellipsoid(12, 8)
    count, rng = len(vertices), np.random.default_rng(0)
    basis = rng.normal(0, 1e-3, (count, 3, SHAPES + EXPRESSIONS)).astype(np.float32)
    weights = np.zeros((count, 5), np.float32)
    weights[:, 1] = 1
    weights[vertices[:, 1] < -0.05] = [0, 0.5, 0.5, 0, 0]
    path = tmp_path_factory.mktemp("rig") / "flame2020_small.npz"
    np.savez(
        path, v_template=vertices, f=faces, shapedirs=basis, posedirs=rng.normal(0, 1e-5, (count, 3, 36)).astype(np.float32),
        J_regressor=np.full((5, count), 1 / count, np.float32), weights=weights,
        kintree_table=np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
    )  # fmt: skip
    return path


@pytest.fixture(scope="package")
def small_rig(rig_file):
    return load_rig(rig_file)


@pytest.fixture(scope="package")
def people_folder(tmp_path_factory, small_rig):
    """Four people, four frames each, in VHAP's layout: coloured discs, cameras that turn."""
    root, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(1)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    disc = ((x / 0.3) ** 2 + (y / 0.4) ** 2 < 1).astype(np.float32)
    for person in range(4):
        folder, color, entries = root / f"person{person}", rng.uniform(0.2, 0.9, 3), []
        for part in ("images", "fg_masks", "flame_param"):
            (folder / part).mkdir(parents=True)
        shape = rng.normal(size=SHAPES).astype(np.float32)
        for frame in range(4):
            picture = disc[..., None] * color * (0.8 + 0.4 * (x + 0.5)[..., None]) + (1 - disc[..., None]) * 0.5
            Image.fromarray((picture * 255).astype(np.uint8)).save(folder / f"images/{frame}.png")
            Image.fromarray((disc * 255).astype(np.uint8)).save(folder / f"fg_masks/{frame}.png")
            joints = {"translation": (1, 3), "rotation": (1, 3), "neck_pose": (1, 3), "jaw_pose": (1, 3), "eyes_pose": (1, 6)}
            arrays = {key: rng.normal(0, 0.02, size).astype(np.float32) for key, size in joints.items()}
            np.savez(folder / f"flame_param/{frame}.npz", shape=shape, expr=rng.normal(0, 0.5, (1, 100)).astype(np.float32), **arrays)
            angle = 0.3 * (frame - 1.5)
            turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
            to_world = np.eye(4)
            to_world[:3, :3], to_world[:3, 3] = turn, turn @ [0, 0, 1.5]
            entries.append({
                "file_path": f"images/{frame}.png", "fg_mask_path": f"fg_masks/{frame}.png", "flame_param_path": f"flame_param/{frame}.npz",
                "transform_matrix": to_world.tolist(), "fl_x": 300.0, "fl_y": 300.0, "cx": SIZE / 2, "cy": SIZE / 2, "w": SIZE, "h": SIZE,
            })  # fmt: skip
        (folder / "transforms.json").write_text(json.dumps({"frames": entries}))
    return root


CONFIG = """
name = "small"
rig = {rig}
size = 64
steps = {steps}
batch = {batch}
precision = "fp32"
device = "cpu"
workers = 0
threads = 1
checkpoint_every = {every}
log_every = 1
[model]
dim = 16
layers = 1
heads = 2
feedforward = 16
hidden = 16
levels = 1
dropout = {dropout}
encoder = "tiny"
picture = 56
refiner = "tiny"
[data.people]
kind = "vhap"
path = {data}
held_out = 0.25
[[stage]]
share = 0.5
data = "people"
[[stage]]
share = 0.5
data = "people"
levels = {{ "0" = 0.5, "1" = 0.5 }}
[loss]
l1 = 1.0
ssim = 0.1
offsets = 1.0
[optimiser]
rate = {rate}
beta1 = 0.9
refiner = 0.1
[held_out]
every = {measured}
pairs = 2
"""


@pytest.fixture
def write_config(tmp_path, rig_file, people_folder):
    """Write a small training's TOML; numbers can be changed."""

    def write(name="config.toml", **changes):
        values = {"steps": 6, "batch": 1, "every": 3, "dropout": 0.1, "rate": 1e-3, "measured": 3} | changes
        path = tmp_path / name
        path.write_text(CONFIG.format(rig=json.dumps(str(rig_file)), data=json.dumps(str(people_folder)), **values))
        return path

    return write
