"""Splats drawn into a picture outside any window: for tests, thumbnails and renders. Needs a GPU context."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from .clouds import Clouds
from .drawing import Canvas, View, draw_splats, lay_out
from .placement import SceneIndex, is_drawn_here, placed_splats
from .textures import F32


def draw_picture(depsgraph: bpy.types.Depsgraph, view: Matrix, projection: Matrix, size: tuple[int, int]) -> F32:
    """The visible splats of a view layer, sorted exactly, without the scene's meshes.

    Args:
        view: world to view space, looking along -z (a camera's inverted ``matrix_world``).
        projection: OpenGL clip space (``camera.calc_matrix_camera``).
        size: (width, height) in pixels.
    Returns:
        [height, width, 4] display-referred colour premultiplied by alpha, top row first.
    """
    here = View(view, projection, size)
    clouds, canvas = Clouds(), Canvas(size)
    items = []
    for placed in placed_splats(SceneIndex(), depsgraph, None):
        if not is_drawn_here(placed.source):
            continue
        key, cloud = clouds.get(placed.source, depsgraph)
        cloud.refresh(placed.source, depsgraph)
        item = lay_out(cloud, key, placed.matrix, here) if len(cloud) else None
        if item is not None:
            items.append(item)
    picture = np.zeros((size[1], size[0], 4), np.float32)
    for item in sorted(items, key=lambda i: i.middle):
        draw_splats(item, here, canvas, None)
        layer = read_canvas(canvas)
        picture = layer + picture * (1 - layer[..., 3:])
    return picture


def read_canvas(canvas: Canvas) -> F32:
    """[height, width, 4] of a canvas, top row first."""
    width, height = canvas.size
    framebuffer = canvas.framebuffer()
    with framebuffer.bind():
        pixels = framebuffer.read_color(0, 0, width, height, 4, 0, "FLOAT")
    pixels.dimensions = width * height * 4
    return np.array(pixels, np.float32).reshape(height, width, 4)[::-1]
