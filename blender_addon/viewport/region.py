"""What a region of a 3D view looks at: matrices, size, and the camera's frame in it."""

from __future__ import annotations

import bpy
import gpu

from .drawing import BIAS, Rect, View

PATH_TRACED_BIAS = 0.012
"""Metres, as `BIAS`: the depth that Blender itself draws for Cycles includes the rig mesh, which at the collar lies before the clothes."""

_WITH_DEPTH = {"BLENDER_EEVEE", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"}


def region_view(context: bpy.types.Context) -> View:
    """The view of the region that is being drawn: quad views, cameras, zoom and borders are in its matrices."""
    region = context.region_data
    _, _, *size = gpu.state.viewport_get()
    window, passepartout = camera_window(context, *size)
    bias = PATH_TRACED_BIAS if _depth_is_of_meshes(context) else BIAS
    return View(region.view_matrix.copy(), region.window_matrix.copy(), tuple(size), region.as_pointer(), window, passepartout, bias)


def _depth_is_of_meshes(context: bpy.types.Context) -> bool:
    """Whether the engine of this view (Cycles, external ones) leaves no depth, so that Blender draws all meshes' depth in its place."""
    return context.space_data.shading.type == "RENDERED" and context.scene.render.engine not in _WITH_DEPTH


def camera_window(context: bpy.types.Context, width: int, height: int) -> tuple[Rect | None, float]:
    """The camera's frame in the region in pixels, and how dark its surroundings are; None where nothing is darkened."""
    space, region = context.space_data, context.region_data
    camera = space.camera if space.use_local_camera else context.scene.camera
    if region.view_perspective != "CAMERA" or camera is None or camera.type != "CAMERA":
        return None, 0.0
    data = camera.data
    if not data.show_passepartout or not space.overlay.show_overlays:
        return None, 0.0
    to_clip = region.window_matrix @ region.view_matrix @ camera.matrix_world.normalized()
    corners = [to_clip @ corner.to_4d() for corner in data.view_frame(scene=context.scene)]
    xs = [(0.5 + 0.5 * c.x / c.w) * width for c in corners]
    ys = [(0.5 + 0.5 * c.y / c.w) * height for c in corners]
    return (min(xs), min(ys), max(xs), max(ys)), data.passepartout_alpha


def tag_redraw() -> None:
    """Ask every 3D view to draw again. Main thread only."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()
