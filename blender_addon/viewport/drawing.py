"""Draw splats into a view: each avatar into a picture of its own, in display space, then laid over the view.

The picture is blended as splats are trained, in display-referred colour; Blender's overlay layer blends in linear
light, so what is laid over it is the finished picture. With the picture goes the depth of the nearest surface at
each pixel, and the final rectangle is tested at that depth against the depth buffer of the scene: no read-back, the
same on every backend. Depth is not written: Blender's depth buffer stays the scene's. Avatars are drawn far to near.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from itertools import product

import gpu
import numpy as np
from mathutils import Matrix, Vector

from . import shader
from .clouds import Cloud
from .sorting import DepthSorter
from .status import status

Rect = tuple[float, float, float, float]


BIAS = 0.0025
"""Metres that avatars are drawn towards the viewer: in Wireframe mode the rig mesh lies at the very depth of the skin."""


@dataclass(frozen=True)
class View:
    """One picture to draw into.

    Attributes:
        view, projection: world to view space (looking along -z), and view space to OpenGL clip space.
        size: (width, height) in pixels.
        key: tells views apart that keep an order each.
        window: camera frame in pixels (left, bottom, right, top), or None where nothing is darkened.
        passepartout: how much is darkened outside `window`, 0..1.
        bias: metres that avatars are drawn towards the viewer.
    """

    view: Matrix
    projection: Matrix
    size: tuple[int, int]
    key: Hashable = "picture"
    window: Rect | None = None
    passepartout: float = 0.0
    bias: float = BIAS

    @property
    def perspective(self) -> bool:
        return self.projection[3][3] == 0.0

    @property
    def near(self) -> float:
        """Nearest distance in front of the viewer that is drawn; negative far behind for orthographic views."""
        a, b = self.projection[2][2], self.projection[2][3]
        return b / (a - 1.0) if self.perspective else (b + 1.0) / a


@dataclass(frozen=True)
class Item:
    """One cloud to draw: where it stands and what it covers.

    Attributes:
        model_view: object to view space.
        rect: left, bottom, right, top in normalised device coordinates.
        middle: view-space z of the middle of its bounds.
        height: of its bounds on screen, pixels.
    """

    cloud: Cloud
    key: Hashable
    model_view: Matrix
    rect: Rect
    middle: float
    height: float


class Canvas:
    """The two targets that splats are blended into; made again when the size changes.

    Textures are shared by all windows, framebuffers are not: each draw makes its own (20 microseconds), which also
    frees it while the context that owns it is active.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.picture = gpu.types.GPUTexture(size, format="RGBA16F")
        self.surface = gpu.types.GPUTexture(size, format="RGBA16F")

    def framebuffer(self) -> gpu.types.GPUFrameBuffer:
        return gpu.types.GPUFrameBuffer(color_slots=(self.picture, self.surface))


class Canvases:
    """The canvases of the newest sizes: several 3D views of one size share one."""

    MAX = 4

    def __init__(self) -> None:
        self._canvases: dict[tuple[int, int], Canvas] = {}

    def get(self, size: tuple[int, int]) -> Canvas:
        canvas = self._canvases.pop(size, None) or Canvas(size)
        self._canvases[size] = canvas
        while len(self._canvases) > self.MAX:
            self._canvases.pop(next(iter(self._canvases)))
        return canvas

    def clear(self) -> None:
        self._canvases.clear()


def lay_out(cloud: Cloud, key: Hashable, matrix: Matrix, view: View) -> Item | None:
    """Where a cloud falls in the view, or None when it is out of sight."""
    model_view = view.view @ matrix
    covered = cover([tuple(cloud.low), tuple(cloud.high)], model_view, view)
    return Item(cloud, key, model_view, *covered) if covered else None


def cover(box: list[tuple[float, float, float]], model_view: Matrix, view: View) -> tuple[Rect, float, float] | None:
    """What a box (two opposite corners) covers: rect, middle and height as in `Item`, or None when out of sight."""
    corners = [model_view @ Vector(corner) for corner in product(*zip(*box, strict=True))]
    depths = [c.z for c in corners]
    middle = 0.5 * (min(depths) + max(depths))
    if -min(depths) < view.near:
        return None
    if view.perspective and -max(depths) < max(view.near, 1e-6):
        return (-1.0, -1.0, 1.0, 1.0), middle, float(view.size[1])
    flat = [view.projection @ c.to_4d() for c in corners]
    xs, ys = [p.x / p.w for p in flat], [p.y / p.w for p in flat]
    height = 0.5 * (max(ys) - min(ys)) * view.size[1]
    margin_x, margin_y = 4.0 / view.size[0], 4.0 / view.size[1]
    rect = (max(min(xs) - margin_x, -1.0), max(min(ys) - margin_y, -1.0), min(max(xs) + margin_x, 1.0), min(max(ys) + margin_y, 1.0))
    if rect[0] >= rect[2] or rect[1] >= rect[3]:
        return None
    return rect, middle, height


def draw_items(items: list[Item], view: View, canvases: Canvases, sorter: DepthSorter | None) -> None:
    """Draw into the bound framebuffer, tested against its depth. Restores the GPU state that it changes."""
    blend, test, mask = gpu.state.blend_get(), gpu.state.depth_test_get(), gpu.state.depth_mask_get()
    canvas = canvases.get(view.size)
    try:
        for item in sorted(items, key=lambda i: i.middle):
            draw_splats(item, view, canvas, sorter)
            _compose(item, view, canvas)
    finally:
        gpu.state.blend_set(blend)
        gpu.state.depth_test_set(test)
        gpu.state.depth_mask_set(mask)


def draw_splats(item: Item, view: View, canvas: Canvas, sorter: DepthSorter | None) -> None:
    """Blend one cloud into the cleared canvas, back to front."""
    towards_viewer = np.array(item.model_view[2][:3], np.float32)
    towards_viewer /= max(float(np.linalg.norm(towards_viewer)), 1e-20)
    order = item.cloud.order(view.key, item.key, towards_viewer, sorter)
    rows = view.projection
    skew = 2 if view.perspective else 3
    framebuffer = canvas.framebuffer()
    with framebuffer.bind():
        gpu.state.viewport_set(0, 0, *canvas.size)
        framebuffer.clear(color=(0.0, 0.0, 0.0, 0.0))
        gpu.state.blend_set("ALPHA_PREMULT")
        gpu.state.depth_test_set("NONE")
        program = shader.splat_shader()
        program.bind()
        program.uniform_float("model_view", item.model_view)
        program.uniform_float("projection", (rows[0][0], rows[1][1], rows[0][skew], rows[1][skew]))
        program.uniform_float("frame", (*view.size, float(view.perspective), view.near))
        program.uniform_float("origin", (item.middle, 0.0, 0.0, 0.0))
        program.uniform_sampler("geometry", item.cloud.geometry)
        program.uniform_sampler("appearance", item.cloud.appearance)
        program.uniform_sampler("order", order)
        shader.quad().draw_instanced(program, instance_start=0, instance_count=len(item.cloud))
    status.draws += 1


def _compose(item: Item, view: View, canvas: Canvas) -> None:
    rows = view.projection
    window = view.window or (0.0, 0.0, float(view.size[0]), float(view.size[1]))
    gpu.state.blend_set("ALPHA_PREMULT")
    gpu.state.depth_test_set("LESS_EQUAL")
    gpu.state.depth_mask_set(False)
    program = shader.compose_shader()
    program.bind()
    program.uniform_float("rect", item.rect)
    program.uniform_float("lens", (rows[2][2], rows[2][3], float(view.perspective), item.middle + view.bias))
    program.uniform_float("darken", (view.passepartout if view.window else 0.0, *view.size, 0.0))
    program.uniform_float("window", window)
    program.uniform_sampler("picture", canvas.picture)
    program.uniform_sampler("surface", canvas.surface)
    shader.quad().draw(program)
