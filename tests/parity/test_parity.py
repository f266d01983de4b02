"""`lookalike parity`: the recipe, sets of other salts, and that it fails where it must.

The released networks' own numbers lie beside the project (../shared/parity). Their small files are compared here; all of them, some
minutes, where LOOKALIKE_PARITY names the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from backend.cli.main import run
from backend.parity import FixtureFolder, compare, fixture_folder, normal, tensor
from backend.parity.rows import mean_error, share_equal
from backend.protocol.errors import LookalikeError
from tests.parity.other_set import write_set

DIGESTS = {
    (b"parity-a", "head_base", (5023, 256)): "e91fa1e4c558b828",
    (b"parity-a", "base_model.dino_model.blocks.0.attn.qkv.weight", (2304, 768)): "ce32267dbdcc935b",
    (b"parity-a", "upsampler.stylegan_decoder.style_conv1.modulated_conv.weight", (1, 512, 512, 3, 3)): "d4860645ff077f20",
    (b"other", "head_base", (5023, 256)): "baea0486a25456bc",
    (b"other", "gs_generator_g.feature_layers.0.weight", (256, 1024)): "6a2ccdc2faa42355",
    (b"other", "percep_loss.vggface.network.28.bias", (512,)): "83604f137394beb7",
}
"""First digits of the SHA-256 of recipe tensors, as the recipe's own program printed them (Linux x86-64)."""


def told(capsys, *arguments: str) -> tuple[int, dict]:
    code = run(["parity", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A set of another salt, whose files carry a suffix."""
    folder = tmp_path_factory.mktemp("other")
    write_set(folder, "another-salt", "_other")
    return folder


@pytest.mark.parametrize("which", DIGESTS, ids=lambda which: f"{which[0].decode()}-{which[1]}")
def test_weights_follow_the_recipe_bit_by_bit(which):
    salt, key, shape = which
    assert hashlib.sha256(tensor(key, shape, salt).tobytes()).hexdigest().startswith(DIGESTS[which])


def test_names_and_salts_give_other_numbers():
    assert not np.array_equal(normal("a", (4,), b"s"), normal("b", (4,), b"s"))
    assert not np.array_equal(normal("a", (4,), b"s"), normal("a", (4,), b"t"))
    assert np.array_equal(normal("a", (4,), b"s"), normal("a", (4,), b"s"))


def test_set_of_another_salt_and_other_inputs_is_reproduced(other, capsys):
    code, facts = told(capsys, str(other))
    assert [row for row in facts["rows"] if not row["passed"]] == []
    assert code == 0
    names = {row["name"] for row in facts["rows"]}
    assert {"flame/drive.vertices", "raster/third.image", "raster/third.radius"} <= names
    assert facts["not_compared"] == []


def test_one_changed_number_is_out_of_tolerance(other, tmp_path, capsys):
    for file in other.iterdir():
        shutil.copy(file, tmp_path / file.name)
    path = tmp_path / "raster_other.safetensors"
    tensors = load_file(path)
    tensors["third.image"][5, 7, 9] += 1e-3
    save_file(tensors, path, metadata={"salt": "another-salt"})
    code, facts = told(capsys, str(tmp_path), "--only", "raster")
    assert code == 1
    assert [row["name"] for row in facts["rows"] if not row["passed"]] == ["raster/third.image"]
    assert run(["parity", str(tmp_path), "--only", "raster"]) == 1
    printed = capsys.readouterr()
    assert "OUT  raster/third.image" in printed.out
    assert "1 of 11 rows out of tolerance" in printed.err


def test_another_salt_in_the_metadata_does_not_pass(other, tmp_path, capsys):
    for file in other.iterdir():
        save_file(load_file(file), tmp_path / file.name, metadata={"salt": "not-the-one"})
    code, facts = told(capsys, str(tmp_path), "--only", "flame")
    assert code == 1
    assert any(row["name"] == "flame/drive.vertices" and not row["passed"] for row in facts["rows"])


def test_tensors_that_nothing_reproduces_are_told(other, tmp_path, capsys):
    for file in other.iterdir():
        shutil.copy(file, tmp_path / file.name)
    save_file({"x": np.zeros(3, np.float32)}, tmp_path / "novelty_other.safetensors", metadata={"salt": "s"})
    _, facts = told(capsys, str(tmp_path), "--only", "raster")
    assert facts["not_compared"] == []
    _, facts = told(capsys, str(tmp_path))
    assert facts["not_compared"] == ["novelty"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "no salt", "pickle", "missing tensor"])
def test_damaged_folders_are_told(other, tmp_path, capsys, damage):
    for file in other.iterdir():
        shutil.copy(file, tmp_path / file.name)
    path = tmp_path / "raster_other.safetensors"
    data = path.read_bytes()
    if damage == "no salt":
        save_file(load_file(path), path)
    elif damage == "missing tensor":
        save_file({k: v for k, v in load_file(path).items() if k != "third.in.bg"}, path, metadata={"salt": "another-salt"})
    else:
        path.write_bytes({"empty": b"", "truncated": data[: len(data) // 2], "pickle": b"\x80\x04cos\nsystem\n"}[damage])
    code, facts = told(capsys, str(tmp_path), "--only", "raster")
    assert code == 1
    assert facts["error"]["code"] == "error"
    assert "raster_other.safetensors" in facts["error"]["message"]
    assert facts["error"]["remedy"]


def test_folders_that_are_no_set_are_told(tmp_path, other, capsys):
    code, facts = told(capsys, str(tmp_path))
    assert (code, facts["error"]["message"]) == (1, f"{tmp_path}: no inputs.safetensors in this folder")
    code, facts = told(capsys, str(other), "--only", "nothing")
    assert code == 1
    assert "choose of: flame, inputs, raster" in facts["error"]["remedy"]


def test_errors_cannot_hide_in_shapes_or_nans():
    assert not compare("x", np.zeros(3), np.zeros(4), 1).passed
    assert not compare("x", [np.nan, 0], [0, 0], 1).passed
    assert not compare("x", [np.inf], [0], 1e30).passed
    assert compare("x", [np.nan], [np.nan], 0).passed
    assert not compare("x", [], [], 1).passed
    assert not mean_error("x", [np.nan, 0], [0, 0], 1).passed
    assert not share_equal("x", [1, 2], [1], 1).passed
    values = np.zeros(2000)
    values[:2] = 1
    assert not compare("x", values, np.zeros(2000), 0.5, share=0.999).passed
    values[1] = 0
    assert compare("x", values, np.zeros(2000), 0.5, share=0.999).passed


def test_released_rasterizer_and_face_model_are_reproduced(shared, capsys):
    code, facts = told(capsys, str(shared / "parity"), "--only", "raster", "--only", "flame")
    assert [row for row in facts["rows"] if not row["passed"]] == []
    assert code == 0
    assert facts["not_compared"] == []


def test_every_released_network_is_reproduced(capsys):
    folder = os.environ.get("LOOKALIKE_PARITY")
    if not folder:
        pytest.skip("needs LOOKALIKE_PARITY=/path of a folder of parity fixtures; takes some minutes")
    code, facts = told(capsys, folder)
    assert [row for row in facts["rows"] if not row["passed"]] == []
    assert code == 0


def test_fixtures_are_never_read_beyond_their_size(tmp_path, monkeypatch):
    save_file({"a": np.zeros(2, np.float32)}, tmp_path / "inputs.safetensors", metadata={"salt": "s"})
    folder = FixtureFolder(tmp_path)
    assert folder.salt == b"s"
    with safe_open(tmp_path / "inputs.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("a"), folder["inputs"]["a"])
    size = (tmp_path / "inputs.safetensors").stat().st_size
    monkeypatch.setattr(fixture_folder, "MAX_BYTES", size)
    assert FixtureFolder(tmp_path).salt == b"s"
    monkeypatch.setattr(fixture_folder, "MAX_BYTES", size - 1)
    with pytest.raises(LookalikeError, match=r"inputs\.safetensors: 0 MB is more than a parity file can be"):
        _ = FixtureFolder(tmp_path).salt
