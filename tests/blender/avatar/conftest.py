"""Avatars to build, in an empty file, with the staged add-on registered."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from tests.synthetic import synthetic_avatar, synthetic_rig, synthetic_splats


@pytest.fixture
def api(lookalike: ModuleType, empty_file: None) -> ModuleType:
    """`blender_addon.avatar` of the staged add-on, in an empty file."""
    return importlib.import_module(f"{lookalike.__name__}.avatar")


@pytest.fixture
def scene(api: ModuleType):
    import bpy

    return bpy.context.scene


@pytest.fixture(scope="session")
def arrays():
    """A small avatar with three levels."""
    return synthetic_avatar()


@pytest.fixture(scope="session")
def full_size():
    """An avatar of production size: 5102 vertices, 10k, 40k and 92k splats, 50 expressions."""
    rig = synthetic_rig(100, 52)
    rng = np.random.default_rng(3)
    wiggles = (rng.standard_normal((47, len(rig.vertices), 3)) * 1e-4).astype(np.float32)
    rig = replace(
        rig,
        expressions=np.concatenate([rig.expressions, wiggles]),
        expression_names=(*rig.expression_names, *(f"wiggle{i:02d}" for i in range(47))),
    )
    return replace(synthetic_avatar(), rig=rig, lods=tuple(synthetic_splats(rig, n) for n in (1, 4, 9)))
