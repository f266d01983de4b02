"""FLAME in every form users have it, and the errors for files that are not FLAME."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backend.protocol.errors import RigError
from backend.rig import Rig, load_flame, load_rig, skin

KEYS = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")


def dense(arrays: dict[str, object]) -> dict[str, np.ndarray]:
    plain = {k: arrays[k] for k in KEYS}
    plain["J_regressor"] = arrays["J_regressor"].toarray()  # type: ignore[attr-defined]
    return {k: np.ascontiguousarray(v) for k, v in plain.items()}  # type: ignore[arg-type]


def assert_is_that_model(rig: Rig, arrays: dict[str, object]) -> None:
    plain = dense(arrays)
    assert np.array_equal(rig.template, plain["v_template"].astype(np.float32))
    assert np.array_equal(rig.faces, plain["f"].astype(np.int32))
    assert rig.shape_basis.shape == (320, 3, 300)
    assert np.array_equal(rig.expression_basis[7], plain["shapedirs"][..., 307].astype(np.float32))
    assert rig.expression_names[0] == "expr000"
    assert len(rig.expression_names) == 100
    assert np.array_equal(rig.joint_regressor, plain["J_regressor"].astype(np.float32))
    assert rig.parents.tolist() == [-1, 0, 1, 1, 1]
    assert rig.joint_names == ("root", "neck", "jaw", "eye_left", "eye_right")
    assert rig.labels["eye_left"].tolist() == list(range(20))
    assert rig.pose_basis is not None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickle_as_flame_2023(protocol: int, flame_arrays, tmp_path: Path):
    path = tmp_path / "flame2023.pkl"
    path.write_bytes(pickle.dumps(flame_arrays, protocol=protocol))
    rig = load_flame(path)
    assert_is_that_model(rig, flame_arrays)
    assert rig.rig_id == "flame-2023"


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_chumpy_pickle_as_flame_2020(protocol: int, flame_arrays, chumpy, tmp_path: Path):
    arrays = dict(flame_arrays)
    for key in ("v_template", "shapedirs", "posedirs", "weights"):
        arrays[key] = chumpy(arrays[key])
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    import sys

    sys.modules.pop("chumpy.ch")
    sys.modules.pop("chumpy")
    rig = load_flame(path)
    assert_is_that_model(rig, flame_arrays)
    assert rig.rig_id == "flame-2020"
    assert "non-commercial" in rig.licence
    assert "chumpy" not in sys.modules


def test_old_numpy_and_scipy_module_names(flame_arrays, tmp_path: Path):
    """What numpy 1 and older scipy wrote; same-length names keep protocol 0's text intact."""
    data = pickle.dumps(flame_arrays, protocol=0)
    data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n").replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")
    assert b"numpy.core.multiarray" in data
    (tmp_path / "old.pkl").write_bytes(data)
    assert_is_that_model(load_flame(tmp_path / "old.pkl"), flame_arrays)


def test_flame_2023_open_is_known_by_its_metadata(flame_arrays, tmp_path: Path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(flame_arrays | {"supr_expression_metadata": {"n_expr": 100}}))
    rig = load_flame(path)
    assert rig.rig_id == "flame-2023-open"
    assert rig.licence.startswith("CC-BY-4.0")


def test_npz_and_safetensors_with_the_same_keys(flame_arrays, tmp_path: Path):
    plain = dense(flame_arrays)
    np.savez(tmp_path / "flame.npz", **plain)
    save_file({k: np.ascontiguousarray(v) for k, v in plain.items()}, tmp_path / "flame.safetensors")
    for name in ("flame.npz", "flame.safetensors"):
        assert_is_that_model(load_rig(tmp_path / name), flame_arrays)


def test_loaded_flame_can_be_posed_and_baked(flame_arrays, tmp_path: Path):
    np.savez(tmp_path / "flame.npz", **dense(flame_arrays))
    rig = load_flame(tmp_path / "flame.npz")
    vertices = skin(rig, np.zeros(300, np.float32), np.zeros(100, np.float32), np.zeros((5, 3), np.float32))
    assert np.abs(vertices - rig.template).max() < 1e-6
    baked = rig.bake(rig.template)
    assert np.array_equal(baked.vertices, rig.template)
    assert np.array_equal(baked.expressions, rig.expression_basis)


def test_masks_and_embedding_beside_the_model_are_used(flame_arrays, tmp_path: Path):
    np.savez(tmp_path / "flame.npz", **dense(flame_arrays))
    (tmp_path / "FLAME_masks.pkl").write_bytes(pickle.dumps({"scalp": np.array([3, 4, 5]), "left_ear": np.array([9])}, protocol=2))
    np.savez(
        tmp_path / "mediapipe_landmark_embedding.npz",
        lmk_face_idx=np.array([1, 2]), lmk_b_coords=np.full((2, 3), 1 / 3), landmark_indices=np.array([33, 263]),
    )  # fmt: skip
    rig = load_flame(tmp_path / "flame.npz")
    assert rig.labels["scalp"].tolist() == [3, 4, 5]
    assert rig.labels["ear_left"].tolist() == [9]
    assert rig.landmark_embedding is not None
    assert rig.landmark_embedding[0].tolist() == [33, 263]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"shapedirs": None}, "shapedirs missing"),
        ({"shapedirs": np.zeros((320, 3, 60))}, "shapedirs has shape"),
        ({"weights": np.zeros((320, 24))}, "weights has shape"),
        ({"f": np.array([[0, 1, 320]])}, "faces do not fit"),
        ({"f": np.zeros((0, 3), int)}, "faces do not fit"),
        ({"v_template": np.full((320, 3), np.nan)}, "not finite"),
        ({"kintree_table": np.array([[0, 3, 1, 1, 1], [0, 1, 2, 3, 4]])}, "not a tree"),
        ({"posedirs": "text"}, "not an array of numbers"),
    ],
)
def test_a_model_of_another_kind_is_refused_with_the_reason(change, complaint, flame_arrays, tmp_path: Path):
    arrays = {k: v for k, v in (flame_arrays | change).items() if v is not None}
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(arrays))
    with pytest.raises(RigError, match=complaint):
        load_flame(tmp_path / "model.pkl")


def test_masks_and_embeddings_that_do_not_fit_are_refused(flame_arrays, tmp_path: Path):
    np.savez(tmp_path / "flame.npz", **dense(flame_arrays))
    (tmp_path / "masks.pkl").write_bytes(pickle.dumps({"scalp": np.array([320])}))
    with pytest.raises(RigError, match="mask scalp does not fit"):
        load_flame(tmp_path / "flame.npz", masks=tmp_path / "masks.pkl")
    np.savez(tmp_path / "e.npz", lmk_face_idx=np.array([10**6]), lmk_b_coords=np.zeros((1, 3)), landmark_indices=np.array([0]))
    with pytest.raises(RigError, match="does not fit a mesh"):
        load_flame(tmp_path / "flame.npz", embedding=tmp_path / "e.npz")


def test_an_npz_that_unpacks_to_too_much_is_refused_before_it_does(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("backend.rig.flame.MAX_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "bomb.npz", v_template=np.zeros(1 << 20))
    with pytest.raises(RigError, match="unpacks to more"):
        load_flame(tmp_path / "bomb.npz")


def test_unknown_names_and_other_files_are_refused(tmp_path: Path):
    with pytest.raises(RigError, match="no rig named 'flme'"):
        load_rig("flme")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 100)
    (tmp_path / "empty.pkl").write_bytes(b"")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04" + b"\0" * 40)
    (tmp_path / "bad.safetensors").write_bytes((20).to_bytes(8, "little") + b'{"a": nonsense      ')
    for name in ("photo.jpg", "empty.pkl", "cut.npz", "bad.safetensors"):
        with pytest.raises(RigError, match=name):
            load_rig(tmp_path / name)
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(RigError, match="holds a list"):
        load_rig(tmp_path / "list.pkl")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RigError, match="generic_neutral_mesh"):
        load_rig(tmp_path / "folder")


def test_builtin_is_a_name(head: Rig):
    named = load_rig("builtin")
    assert named.rig_id == head.rig_id
    assert np.array_equal(named.template, head.template)
