"""A small avatar before a camera, and one way to render it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import bpy
import numpy as np
import pytest
from mathutils import Vector
from PIL import Image

from tests.synthetic import synthetic_avatar

SIZE = (120, 96)
AREA = SIZE[0] * SIZE[1]

FINEST = 1
"""Level of detail of the pictures: 12,000 splats. What is tested holds at every number of splats, and this one takes a second."""

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"

BETWEEN = ((4, 5), (5, 0), (5, 1))
"""Blenders in whose module the pictures are left out: minutes each, and the oldest and the newest render them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if bpy.app.version[:2] in BETWEEN:
        here = Path(__file__).parent
        skip = pytest.mark.skip(reason="final frames are rendered by the oldest and the newest Blender")
        for item in items:
            if here in item.path.parents and {"render", "layered"} & set(getattr(item, "fixturenames", ())):
                item.add_marker(skip)


@pytest.fixture(scope="session")
def part(lookalike: ModuleType):
    """Import a module of the staged extension by its path inside it, e.g. ``rendering.colour``."""
    return lambda name: importlib.import_module(f"{lookalike.__name__}.{name}")


def build_shot(part, levels: int = FINEST + 1, made=synthetic_avatar):
    """A synthetic avatar, in a scene with a camera, a Standard view transform and Cycles at few samples."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    built = part("avatar").build_avatar(made(levels), scene.collection)
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    camera.data.clip_start = 0.01
    camera.location = (0.25, -0.45, 0.1)
    camera.rotation_euler = (Vector((0, 0, -0.02)) - camera.location).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.resolution_x, scene.render.resolution_y = SIZE
    scene.render.film_transparent = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_denoising, scene.cycles.use_adaptive_sampling = 8, False, False
    bpy.context.view_layer.update()
    return built


@pytest.fixture
def avatar(part):
    """See `build_shot`."""
    return build_shot(part)


@pytest.fixture
def render(tmp_path: Path) -> Callable[..., np.ndarray]:
    """Render the open scene as F12 does: [H, W, 4] display-referred, premultiplied, top row first."""

    def rendered(name: str = "frame", frame: int = 1) -> np.ndarray:
        scene = bpy.context.scene
        scene.frame_set(frame)
        settings = scene.render.image_settings
        settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
        scene.render.filepath = str(tmp_path / f"{name}.png")
        bpy.ops.render.render(write_still=True)
        pixels = np.asarray(Image.open(scene.render.filepath), np.float32) / 255
        pixels[..., :3] *= pixels[..., 3:]
        return pixels

    return rendered


@pytest.fixture
def expected(part) -> Callable[..., np.ndarray]:
    """The same view by the numpy reference, which the viewport's shaders match to 50 dB: what a user saw before pressing F12."""
    from tests.ewa import rasterize

    def seen(avatar, colours: np.ndarray | None = None, size: tuple[int, int] = SIZE) -> np.ndarray:
        depsgraph = bpy.context.evaluated_depsgraph_get()
        camera = bpy.context.scene.camera
        obj = next(o for o in avatar.splats.values() if not o.hide_viewport)
        splats = part("avatar.evaluated").read_evaluated(obj, depsgraph)
        matrix = np.array(obj.evaluated_get(depsgraph).matrix_world)
        splats["position"] = splats["position"] @ matrix[:3, :3].T + matrix[:3, 3]
        if colours is not None:
            splats["rgb"] = colours
        view, projection = camera.matrix_world.inverted(), camera.calc_matrix_camera(depsgraph, x=size[0], y=size[1])
        return rasterize(**splats, view=np.array(view), projection=np.array(projection), size=size)

    return seen


def over_grey(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture[..., :3] + 0.5 * (1 - picture[..., 3:]), 0, 1)


def close_up(first: np.ndarray, second: np.ndarray) -> float:
    """PSNR in dB where either picture shows the avatar."""
    shown = (first[..., 3] > 0.02) | (second[..., 3] > 0.02)
    error = np.mean((over_grey(first) - over_grey(second))[shown] ** 2)
    return float(10 * np.log10(1 / max(error, 1e-12)))
