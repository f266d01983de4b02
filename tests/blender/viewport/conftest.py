"""An avatar in a fresh file, and a GPU context where this Blender gives one without a window (5.2 and newer)."""

from __future__ import annotations

import importlib
from types import ModuleType

import bpy
import pytest
from mathutils import Vector

from tests.synthetic import synthetic_avatar


@pytest.fixture(scope="session")
def part(lookalike: ModuleType):
    """Import a module of the staged extension by its path inside it, e.g. ``viewport.sorting``."""
    return lambda name: importlib.import_module(f"{lookalike.__name__}.{name}")


@pytest.fixture
def avatar(part, empty_file):
    """The synthetic avatar, built as the add-on builds it."""
    return part("avatar").build_avatar(synthetic_avatar(), bpy.context.scene.collection)


@pytest.fixture
def camera(empty_file) -> bpy.types.Object:
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    bpy.context.scene.collection.objects.link(camera)
    look_from(camera, (0.45, -0.75, 0.2))
    return camera


def look_from(camera: bpy.types.Object, location: tuple[float, float, float]) -> None:
    camera.location = location
    camera.rotation_euler = (Vector((0, 0, -0.03)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    bpy.context.view_layer.update()


@pytest.fixture(scope="session")
def gpu() -> ModuleType:
    import gpu

    if not hasattr(gpu, "init"):
        pytest.skip(f"Blender {bpy.app.version_string} has no GPU without a window (gpu.init came with 5.2)")
    try:
        gpu.init()
    except Exception as error:
        pytest.skip(f"no GPU context on this machine: {error}")
    return gpu
