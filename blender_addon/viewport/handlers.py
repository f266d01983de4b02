"""When to draw, and when to read again: one draw handler, and marks set by changes of the scene.

The marking handlers only set flags (microseconds) and never read splats: reading happens in the draw handler, so a
render job is never disturbed, hidden objects cost nothing, and a change that nobody looks at is free.
"""

from __future__ import annotations

import atexit
import time

import bpy
from bpy.app.handlers import persistent

from . import lod, shader
from .clouds import Clouds
from .drawing import Canvases, Item, View, cover, draw_items, lay_out
from .placement import Placed, SceneIndex, is_drawn_here, placed_splats
from .sorting import DepthSorter
from .status import status

PICK_UP_INTERVAL = 0.004

_clouds = Clouds()
_canvases = Canvases()
_index = SceneIndex()
_sorter = DepthSorter()
_finished_seen = 0
_draw_handle: object | None = None


def draw_view() -> None:
    """Draw all visible avatars into the 3D view that is being drawn.

    Budget of the Python side: 2 ms with 89k splats and a moving camera (benchmarks/viewport.py).
    """
    started = time.perf_counter()
    try:
        _draw(bpy.context)
    except Exception as error:  # a draw handler that raises is called again at every redraw
        _stop()
        status.fail("the 3D view", error)
    status.handler_time = time.perf_counter() - started


def _draw(context: bpy.types.Context) -> None:
    depsgraph = context.evaluated_depsgraph_get()
    view = region_view(context)
    items = []
    for placed in placed_splats(_index, depsgraph, context.space_data):
        if is_drawn_here(placed.source):
            item = _prepare(placed, depsgraph, view)
            items += [item] if item else []
            height = item.height if item else 0.0
        else:
            height = _native_height(placed, view)
        if not placed.instance:
            lod.measured(placed.source, view.key, height)
    status.splats = sum(len(i.cloud) for i in items)
    if items:
        _draw_items(items, view)


def _prepare(placed: Placed, depsgraph: bpy.types.Depsgraph, view: View) -> Item | None:
    key, cloud = _clouds.get(placed.source, depsgraph)
    if cloud.failed:
        return None
    try:
        cloud.refresh(placed.source, depsgraph)
        return lay_out(cloud, (key, placed.instance), placed.matrix, view) if len(cloud) else None
    except Exception as error:  # one broken avatar must not hide the others, nor flood the console
        cloud.failed = True
        status.fail(placed.source.name, error)
        return None


def _native_height(placed: Placed, view: View) -> float:
    """Height in pixels of splats that Blender draws itself."""
    corners = [tuple(corner) for corner in placed.source.bound_box]
    covered = cover([corners[0], corners[6]], view.view @ placed.matrix, view)
    return covered[2] if covered else 0.0


def _draw_items(items: list[Item], view: View) -> None:
    draw_items(items, view, _canvases, _sorter)
    if _sorter.error is not None:
        error, _sorter.error = _sorter.error, None
        raise error
    if _sorter.busy() and not bpy.app.timers.is_registered(_pick_up):
        bpy.app.timers.register(_pick_up, first_interval=PICK_UP_INTERVAL)


def region_view(context: bpy.types.Context) -> View:
    """The view of the region that is being drawn: quad views, cameras, zoom and borders are in its matrices."""
    import gpu

    region_3d = context.region_data
    _, _, width, height = gpu.state.viewport_get()
    window, passepartout = camera_window(context, width, height)
    return View(
        region_3d.view_matrix.copy(), region_3d.window_matrix.copy(), (width, height), region_3d.as_pointer(), window, passepartout
    )


def camera_window(context: bpy.types.Context, width: int, height: int) -> tuple[tuple[float, float, float, float] | None, float]:
    """The camera's frame in the region, and how dark its surroundings are; None outside a camera view."""
    space, region_3d = context.space_data, context.region_data
    camera = space.camera if space.use_local_camera else context.scene.camera
    if region_3d.view_perspective != "CAMERA" or camera is None or camera.type != "CAMERA":
        return None, 0.0
    data = camera.data
    if not data.show_passepartout or not space.overlay.show_overlays:
        return None, 0.0
    to_clip = region_3d.window_matrix @ region_3d.view_matrix @ camera.matrix_world.normalized()
    corners = [to_clip @ c.to_4d() for c in data.view_frame(scene=context.scene)]
    xs = [(0.5 + 0.5 * c.x / c.w) * width for c in corners]
    ys = [(0.5 + 0.5 * c.y / c.w) * height for c in corners]
    return (min(xs), min(ys), max(xs), max(ys)), data.passepartout_alpha


def tag_redraw() -> None:
    """Ask every 3D view to draw again. Main thread only."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def retry() -> None:
    """Draw again after an error; for a button in the panel."""
    status.last_error = ""
    _clouds.retry()
    _index.invalidate()
    _start()
    tag_redraw()


def _pick_up() -> float | None:
    """Timer that lives only while sorts are under way; each finished one asks for a redraw."""
    global _finished_seen
    if _sorter.finished != _finished_seen:
        _finished_seen = _sorter.finished
        tag_redraw()
    return PICK_UP_INTERVAL if _sorter.busy() else None


@persistent
def _mark_changed(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After an update or a frame change: 0.3 microseconds per updated data-block."""
    if depsgraph.mode != "VIEWPORT":
        return
    changed = set()
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Object):
            if update.is_updated_geometry:
                changed.add(update.id.session_uid)
        elif isinstance(update.id, bpy.types.Collection | bpy.types.Scene):
            _index.invalidate()
    if changed:
        _clouds.mark(changed)


@persistent
def _mark_all(*_: object) -> None:
    """After undo, redo and structural changes: everything is read again, uploaded only where it differs."""
    _index.invalidate()
    _clouds.mark()
    _clouds.keep({o.session_uid for o in bpy.data.objects})


@persistent
def _forget(*_: object) -> None:
    """Before another file is loaded."""
    _sorter.forget()
    _clouds.clear()
    _index.invalidate()
    lod.forget()
    status.last_error = ""


def _handlers() -> tuple[tuple[list, object], ...]:
    on = bpy.app.handlers
    return (
        (on.depsgraph_update_post, _mark_changed),
        (on.frame_change_post, _mark_changed),
        (on.undo_post, _mark_all),
        (on.redo_post, _mark_all),
        (on.load_pre, _forget),
    )


def _start() -> None:
    global _draw_handle
    if _draw_handle is None and not bpy.app.background:
        _draw_handle = bpy.types.SpaceView3D.draw_handler_add(draw_view, (), "WINDOW", "POST_VIEW")


def _stop() -> None:
    global _draw_handle
    if _draw_handle is not None:
        bpy.types.SpaceView3D.draw_handler_remove(_draw_handle, "WINDOW")
        _draw_handle = None


def _release() -> None:
    """Free what lives on the GPU, and end the thread."""
    _sorter.stop()
    _clouds.clear()
    _canvases.clear()
    shader.release()


def register() -> None:
    """No GPU, file or thread yet: those begin with the first avatar that is drawn."""
    for handlers, function in _handlers():
        handlers.append(function)
    # A script's sys.exit() ends Python without unregistering add-ons, and crashes where textures are freed after that.
    atexit.register(_release)
    _start()


def unregister() -> None:
    _stop()
    atexit.unregister(_release)
    for handlers, function in _handlers():
        handlers.remove(function)
    for timer in (_pick_up, lod.apply):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    _release()
    lod.forget()
