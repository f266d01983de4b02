"""Rows of the face model (flame.safetensors): the recipe's model itself, posed meshes, joints and landmarks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from backend.models.gagavatar.posing import flame_vertices, full_pose, landmarks, with_picked_eyelids
from backend.rig import Rig

from .fixture_folder import Fixture, FixtureFolder
from .rows import Row, compare

FILES = ("flame",)
MODEL = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights")


def rows(folder: FixtureFolder) -> Iterator[Row]:
    """The model's first rows and sums, then every posed mesh that is stored."""
    if "flame" not in folder:
        return
    file = folder["flame"]
    yield from _model(folder, file)
    rig = fixture_rig(folder)
    for name in ("zero", "src", "drive", "strong"):
        if f"{name}.vertices" in file:
            yield from _posed(folder, file, rig, name)


def fixture_rig(folder: FixtureFolder) -> Rig:
    """The folder's face model as a rig."""
    model = folder.face_model
    parents = model["kintree_table"][0].astype(np.int32)
    return Rig(
        template=model["v_template"],
        faces=model["f"].astype(np.int32),
        shape_basis=model["shapedirs"][..., :300],
        expression_basis=np.ascontiguousarray(model["shapedirs"][..., 300:].transpose(2, 0, 1)),
        expression_names=tuple(f"expr{i:03d}" for i in range(100)),
        joint_regressor=model["J_regressor"],
        joint_names=("root", "neck", "jaw", "eye_left", "eye_right"),
        parents=parents,
        weights=model["weights"],
        rig_id="fixture",
        licence="made up",
        pose_basis=model["posedirs"],
    )


def posed_vertices(folder: FixtureFolder, rig: Rig, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices [5023, 3] in world units and joints [5, 3] in metres of "zero", "src", "drive" or "strong".

    "drive" has the source's shape and all else from "dst".
    """
    if name == "zero":
        codes = {key: np.zeros_like(value) for key, value in folder.codes("src").items()}
    elif name == "drive":
        codes = folder.codes("dst") | {"shape": folder.codes("src")["shape"]}
    else:
        codes = folder.codes(name)
    shape, expression, pose, eyes = (torch.from_numpy(codes[key]) for key in ("shape", "exp", "pose", "eye"))
    return flame_vertices(rig, shape, expression, full_pose(pose, eyes))


def _model(folder: FixtureFolder, file: Fixture) -> Iterator[Row]:
    model = folder.face_model
    for key in MODEL:
        stored = f"model.{key}.head"
        if stored in file:
            rows, columns = file[stored].shape[:2]
            head = model[key][:, :columns] if key == "J_regressor" else model[key][:rows]
            yield compare(f"flame/{stored}", head, file[stored], 1e-7)
    sums = [model[key].astype(np.float64).sum() for key in MODEL]
    yield compare("flame/model.checksum", sums, file["model.checksum"], 1e-3)
    sums = [np.abs(model[key].astype(np.float64)).sum() for key in MODEL]
    yield compare("flame/model.abs_checksum", sums, file["model.abs_checksum"], 1e-3)


def _posed(folder: FixtureFolder, file: Fixture, rig: Rig, name: str) -> Iterator[Row]:
    model = folder.face_model
    vertices, joints = posed_vertices(folder, rig, name)
    index, weights = (torch.from_numpy(model[f"full_lmk_{key}_with_eye"][0]) for key in ("faces_idx", "bary_coords"))
    points = landmarks(vertices, torch.from_numpy(model["f"]), index, weights)
    yield compare(f"flame/{name}.vertices", vertices, file[f"{name}.vertices"], 3e-6)
    yield compare(f"flame/{name}.joints_unscaled", joints, file[f"{name}.joints_unscaled"], 1e-6)
    yield compare(f"flame/{name}.landmarks", points, file[f"{name}.landmarks"], 3e-6)
    picked = with_picked_eyelids(points, vertices)
    yield compare(f"flame/{name}.landmarks_eyes_reselected", picked, file[f"{name}.landmarks_eyes_reselected"], 3e-6)
