"""ICT-FaceKit from its OBJ files and from the npz; the data lie beside the project and the tests skip without them."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from backend.protocol.errors import RigError
from backend.rig import ARKIT_NAMES, Rig, load_ict, load_rig, skin


@pytest.fixture(scope="module")
def archive(shared: Path) -> Path:
    return shared / "data" / "ict_facekit" / "ict_facekit.npz"


@pytest.fixture(scope="module")
def ict(archive: Path) -> Rig:
    return load_rig(archive)


def test_units_sides_and_names(ict: Rig):
    size = np.ptp(ict.template, axis=0)
    assert 0.15 < size[0] < 0.35
    assert 0.25 < size[1] < 0.45
    smile = np.linalg.norm(ict.expression_basis[ict.expression_names.index("mouthSmileLeft")], axis=1)
    assert (smile * ict.template[:, 0]).sum() > 0, "left is +X"
    joints = {n for n in ARKIT_NAMES if n.startswith("eyeLook") or n == "jawOpen"}
    assert set(ARKIT_NAMES) - set(ict.expression_names) == joints | {"tongueOut"}
    assert ict.shape_basis.shape == (len(ict.template), 3, 60)


def test_faces_are_triangles_of_kept_vertices(ict: Rig):
    assert ict.faces.shape[1] == 3
    assert ict.faces.min() >= 0
    assert ict.faces.max() < len(ict.template) == 24591
    corner = ict.template[ict.faces].astype(np.float64)
    assert np.median(np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)) > 1e-7


def test_jaw_reproduces_jaw_open(ict: Rig, archive: Path):
    """The rotation that the joint was made from carries lower teeth where the shape does, and leaves the skull."""
    opened = np.load(archive)["expression_deltas"][30, :24591].astype(np.float64) * 0.01
    pose = np.zeros((5, 3))
    teeth = ict.labels["teeth_lower"]
    best = min(
        np.abs(skin(ict, np.zeros(1), np.zeros(1), _turned(pose, a))[teeth] - ict.template[teeth] - opened[teeth]).mean()
        for a in np.linspace(0.1, 0.6, 26)
    )
    assert best < 0.0012
    posed = skin(ict, np.zeros(1), np.zeros(1), _turned(pose, 0.3))
    moved = np.abs(posed - ict.template).max(1)
    assert moved[ict.labels["teeth_upper"]].max() < 1e-3
    assert moved[ict.template[:, 1] > 0.06].max() < 1e-4
    assert np.abs(ict.weights.sum(1) - 1).max() < 1e-6


def _turned(pose: np.ndarray, angle: float) -> np.ndarray:
    pose = pose.copy()
    pose[2, 0] = angle
    return pose


def test_eyes_turn_about_their_centres(ict: Rig):
    pose = np.zeros((5, 3))
    pose[3] = [0, 0.4, 0]
    eye = ict.labels["eye_left"]
    joint = (ict.joint_regressor @ ict.template)[3]
    posed = skin(ict, np.zeros(1), np.zeros(1), pose)
    radius = lambda v: np.linalg.norm(v[eye] - joint, axis=1)
    assert np.abs(radius(posed) - radius(ict.template)).max() < 1e-5
    assert np.ptp(radius(ict.template)) < 0.005


def test_landmarks_lie_where_a_face_has_them(ict: Rig):
    assert ict.landmarks is not None
    at = lambda i: ict.template[ict.landmarks[i]]
    assert at(33)[0] < at(133)[0] < 0 < at(362)[0] < at(263)[0]
    assert at(13)[1] > at(14)[1] - 1e-4
    assert at(4)[2] > at(168)[2]
    assert at(473)[0] > 0 > at(468)[0]
    assert (ict.landmarks >= 0).sum() == 51 + 2


def test_obj_folder_agrees_with_the_archive(ict: Rig, shared: Path, tmp_path: Path):
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    for file in (shared / "data" / "ict_facekit" / "raw").iterdir():
        shutil.copy(file, folder)
    with gzip.open(folder / "mouthSmile_L.obj.gz") as packed:
        (folder / "mouthSmile_L.obj").write_bytes(packed.read())
    (folder / "mouthSmile_L.obj.gz").unlink()
    rig = load_ict(folder)
    assert rig.expression_names == ("mouthSmileLeft",)
    assert rig.landmarks is None
    assert np.abs(rig.template - ict.template).max() < 1e-6
    assert np.array_equal(rig.faces, ict.faces)
    assert np.abs(rig.shape_basis[..., 0] - ict.shape_basis[..., 0]).max() < 2e-5
    smile = ict.expression_basis[ict.expression_names.index("mouthSmileLeft")]
    assert np.abs(rig.expression_basis[0] - smile).max() < 2e-5
    (folder / "jawOpen.obj.gz").unlink()
    with pytest.raises(RigError, match="without jawOpen"):
        load_ict(folder)


def test_broken_files_are_named(shared: Path, tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "generic_neutral_mesh.obj").write_text("v 1 2 3\nf 1 1 1\n")
    with pytest.raises(RigError, match="1 vertices where ICT-FaceKit has 26719"):
        load_ict(folder)
    (folder / "generic_neutral_mesh.obj").write_text("v 1 2 x\n")
    with pytest.raises(RigError, match=r"generic_neutral_mesh\.obj"):
        load_ict(folder)
    (folder / "generic_neutral_mesh.obj").unlink()
    (folder / "generic_neutral_mesh.obj.gz").write_bytes(b"not gzip")
    with pytest.raises(RigError, match=r"generic_neutral_mesh\.obj\.gz"):
        load_ict(folder)
    np.savez(tmp_path / "ict.npz", neutral=np.zeros((3, 3)), identity_deltas=np.zeros((1, 3, 3)))
    with pytest.raises(RigError, match="faces, expression_deltas missing"):
        load_rig(tmp_path / "ict.npz")
