"""A FLAME-shaped model small enough to write in every file format, and the built-in head built once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.sparse as sp

from backend.rig import Rig, builtin_head


@pytest.fixture(scope="session")
def head(tmp_path_factory) -> Iterator[Rig]:
    """The built-in head, built into a cache of its own."""
    before = os.environ.get("LOOKALIKE_CACHE")
    os.environ["LOOKALIKE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    builtin_head.cache_clear()
    yield builtin_head()
    if before is None:
        del os.environ["LOOKALIKE_CACHE"]
    else:
        os.environ["LOOKALIKE_CACHE"] = before
    builtin_head.cache_clear()


@pytest.fixture(scope="session")
def flame_arrays() -> dict[str, object]:
    """What FLAME's pickle holds, for an ellipsoid of 320 vertices."""
    rng = np.random.default_rng(7)
    columns, rows = 20, 16
    theta, phi = np.meshgrid(np.pi * (np.arange(rows) + 0.5) / rows, 2 * np.pi * np.arange(columns) / columns, indexing="ij")
    body = np.stack([0.08 * np.sin(theta) * np.sin(phi), 0.12 * np.cos(theta), 0.1 * np.sin(theta) * np.cos(phi)], -1)
    template = body.reshape(-1, 3)
    faces = []
    for i in range(rows - 1):
        for j in range(columns):
            a, b = i * columns + j, i * columns + (j + 1) % columns
            faces += [(a, a + columns, b), (b, a + columns, b + columns)]
    count = len(template)
    weights = rng.dirichlet(np.ones(5), count)
    weights[:20] = np.eye(5)[3]
    weights[20:40] = np.eye(5)[4]
    regressor = rng.random((5, count)) * (rng.random((5, count)) < 0.05) + 1e-3 * np.eye(5, count)
    return {
        "v_template": template,
        "f": np.array(faces, np.uint32),
        "shapedirs": 0.002 * rng.standard_normal((count, 3, 400)),
        "posedirs": 0.001 * rng.standard_normal((count, 3, 36)),
        "J_regressor": sp.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "weights": weights,
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }


@pytest.fixture
def chumpy(tmp_path: Path) -> Iterator[type]:
    """A stand-in for chumpy.ch.Ch, importable only while the test writes its pickle."""

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x
            self.dterms = ("x",)

    package, module = ModuleType("chumpy"), ModuleType("chumpy.ch")
    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module.Ch = Ch
    package.ch = module
    sys.modules |= {"chumpy": package, "chumpy.ch": module}
    yield Ch
    sys.modules.pop("chumpy", None)
    sys.modules.pop("chumpy.ch", None)


@pytest.fixture(scope="session")
def parity_model(shared: Path) -> dict[str, np.ndarray]:
    """The synthetic FLAME-shaped model that the parity fixtures were computed with."""
    return _parity_synth(shared)[0].face_model(_parity_synth(shared)[1])


@pytest.fixture(scope="session")
def parity_inputs(shared: Path) -> dict[str, np.ndarray]:
    """Shape, expression and pose codes of the parity fixtures, named src.shape and so on."""
    from safetensors.numpy import load_file

    return load_file(shared / "parity" / "inputs.safetensors")


def _parity_synth(shared: Path):
    import importlib

    from safetensors import safe_open

    folder = str(shared / "parity")
    sys.path.insert(0, folder)
    try:
        synth = importlib.import_module("synth")
    finally:
        sys.path.remove(folder)
    with safe_open(shared / "parity" / "inputs.safetensors", "np") as file:
        return synth, file.metadata()["salt"].encode()
