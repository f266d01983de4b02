"""FLAME's coefficients as named expressions: what the backend measures, the add-on solves; its part runs here without Blender."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import backend.protocol
from backend.rig import Rig, load_rig
from backend.tracking.flame_map import encode_flame_map, flame_map

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def addon():
    """A module of the add-on's `motion`, which needs no Blender; `protocol` is the backend's, as in the staged layout."""
    package = ModuleType("addon_without_blender")
    package.__path__ = [str(ROOT / "blender_addon")]
    before = dict(sys.modules)
    sys.modules |= {package.__name__: package, f"{package.__name__}.protocol": backend.protocol}
    yield lambda name: importlib.import_module(f"{package.__name__}.motion.{name}")
    for name in set(sys.modules) - set(before):
        del sys.modules[name]


@pytest.fixture(scope="module")
def head() -> Rig:
    return load_rig("builtin")


@pytest.fixture(scope="module")
def mixed(head: Rig) -> tuple[Rig, np.ndarray]:
    """The built-in head with a basis such as FLAME's: 100 mixtures of its expressions without names; larger, turned, and moved."""
    mix = np.random.default_rng(0).standard_normal((100, len(head.expression_names))) / 10
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    place = lambda points: (1.3 * points @ turn.T).astype(np.float32)
    basis = np.tensordot(mix, head.expression_basis, 1)
    names = tuple(f"expr{i:03d}" for i in range(100))
    moved = replace(
        head, template=place(head.template) + np.float32(0.2), expression_basis=place(basis), expression_names=names, rig_id="flame-2023"
    )
    return moved, mix


def test_expressions_come_back_from_coefficients(addon, head, mixed) -> None:
    flame, mix = mixed
    take, maps = addon("take"), addon("flame_map")
    read = maps.read_flame_map(encode_flame_map(flame_map(flame, head)), "map.npz")
    rng = np.random.default_rng(1)
    shown = rng.uniform(0, 1, (40, mix.shape[1])) * (rng.random((40, mix.shape[1])) < 0.15)
    coefficients = shown @ np.linalg.pinv(mix)
    channels = {f"expr{i:03d}": coefficients[:, i] for i in range(100)}
    solved = maps.with_named_expressions(take.Take("", "", np.arange(40) / 25, 25.0, expressions=channels), read, head.rig_id)
    found = np.stack([solved.expressions[name] for name in head.expression_names], 1)
    assert np.abs(found - shown).mean() < 0.04
    assert found.min() >= 0
    for name in ("mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "mouthPucker"):
        column = head.expression_names.index(name)
        assert np.abs(found[:, column] - shown[:, column]).max() < 0.2, name
    share = float(solved.warnings[-1].partition("%")[0].rpartition(" ")[2])
    assert share < 12


def test_other_rigs_are_told(addon, head, mixed) -> None:
    take, maps = addon("take"), addon("flame_map")
    read = maps.read_flame_map(encode_flame_map(flame_map(mixed[0], head)), "map.npz")
    one = take.Take("", "", np.zeros(1), 25.0, expressions={"expr003": np.ones(1), "expr250": np.ones(1)})
    notes = maps.with_named_expressions(one, read, "ict").warnings
    assert any("this avatar is on ict" in note for note in notes)
    assert any("1 coefficients beyond" in note for note in notes)
    untouched = take.Take("", "", np.zeros(1), 25.0, arkit={"jawOpen": np.ones(1)})
    assert maps.with_named_expressions(untouched, read) is untouched


def test_damaged_maps_are_refused(addon, head, mixed, tmp_path) -> None:
    take, maps = addon("take"), addon("flame_map")
    good = encode_flame_map(flame_map(mixed[0], head))
    facts = np.frombuffer(json.dumps({"format": 9, "expression_names": [], "rig_id": ""}).encode(), np.uint8)
    np.savez(tmp_path / "new.npz", flame_map=facts, source=np.zeros((1, 3, 1)), target=np.zeros((1, 3, 0)))
    np.savez(tmp_path / "other.npz", expr=np.zeros((3, 100)))
    for data in (good[: len(good) // 2], b"", b"PK\x03\x04", (tmp_path / "new.npz").read_bytes(), (tmp_path / "other.npz").read_bytes()):
        with pytest.raises(take.MotionError):
            maps.read_flame_map(data, "map.npz")
    with pytest.raises(take.MotionError, match="cannot be read"):
        maps.read_flame_map_file(tmp_path / "gone.npz")


def test_too_few_landmarks_in_common(head) -> None:
    from backend.protocol.errors import RigError

    with pytest.raises(RigError, match="landmarks"):
        flame_map(replace(head, landmarks=None, landmark_embedding=None), head)
    assert head.landmarks is not None
    half = np.where(np.arange(len(head.landmarks)) < 40, head.landmarks, -1)
    with pytest.raises(RigError, match="in common"):
        flame_map(replace(head, landmarks=half), head)
