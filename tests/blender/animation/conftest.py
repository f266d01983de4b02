"""Avatars with a face board, in an empty file, with the staged add-on registered."""

from __future__ import annotations

import importlib
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from tests.synthetic import synthetic_avatar


@pytest.fixture
def part(lookalike: ModuleType, empty_file: None):
    """A module of the staged add-on by its path, e.g. ``part("avatar")``; the file is empty."""
    return lambda path: importlib.import_module(f"{lookalike.__name__}.{path}")


@pytest.fixture(scope="session")
def arrays():
    """A small avatar with one level, whose expressions are eleven of ARKit's and one that ARKit does not have."""
    avatar = synthetic_avatar()
    rng = np.random.default_rng(5)
    names = ("mouthSmileLeft", "mouthSmileRight", "eyeBlinkLeft", "eyeBlinkRight", "browInnerUp", "mouthClose", "mouthFunnel",
             "mouthPucker", "mouthRollLower", "mouthUpperUpLeft", "mouthUpperUpRight", "lipsParted")  # fmt: skip
    shapes = (rng.standard_normal((len(names), len(avatar.rig.vertices), 3)) * 1e-3).astype(np.float32)
    return replace(avatar, rig=replace(avatar.rig, expressions=shapes, expression_names=names), lods=avatar.lods[:1])


@pytest.fixture
def ada(part, arrays) -> SimpleNamespace:
    """An avatar with controls: `handle`, `collection`, `armature`, `head`, `face`, `arkit`, `bones`, `keys`."""
    import bpy

    avatar = part("avatar")
    handle = avatar.build_avatar(arrays, bpy.context.scene.collection, "Ada")
    avatar.add_controls(handle.collection)
    bones = handle.armature.pose.bones
    return SimpleNamespace(
        handle=handle, collection=handle.collection, armature=handle.armature, head=handle.head,
        bones=bones, face=bones["face"], arkit=bones["arkit"], keys=handle.head.data.shape_keys.key_blocks,
    )  # fmt: skip


@pytest.fixture
def update():
    """Evaluate after a script has set custom properties."""
    import bpy

    def run(*changed: bpy.types.ID) -> bpy.types.Depsgraph:
        for block in changed:
            block.update_tag()
        bpy.context.view_layer.update()
        return bpy.context.evaluated_depsgraph_get()

    return run
