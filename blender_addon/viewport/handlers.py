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
from .region import region_view, tag_redraw
from .sorting import DepthSorter
from .status import status

PICK_UP_INTERVAL = 0.004


class Drawer:
    """Everything that drawing keeps between redraws, and the draw handler itself."""

    def __init__(self) -> None:
        self.clouds = Clouds()
        self.canvases = Canvases()
        self.index = SceneIndex()
        self.sorter = DepthSorter()
        self._sorts_seen = 0
        self._scans_seen = 0
        self._handle: object | None = None

    def start(self) -> None:
        if self._handle is None and not bpy.app.background:
            self._handle = bpy.types.SpaceView3D.draw_handler_add(self.draw, (), "WINDOW", "POST_VIEW")

    def stop(self) -> None:
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            self._handle = None

    def release(self) -> None:
        """Free what lives on the GPU, and end the thread."""
        self.sorter.stop()
        self.clouds.clear()
        self.canvases.clear()
        shader.release()

    def draw(self) -> None:
        """Draw all visible avatars into the 3D view that is being drawn.

        Budget of the Python side: 2 ms with 89k splats and a moving camera (benchmarks/viewport.py).
        """
        started = time.perf_counter()
        try:
            self._draw(bpy.context)
        except Exception as error:  # would be raised again, and printed, at every redraw
            self.stop()
            status.fail("the 3D view", error)
        status.handler_time = time.perf_counter() - started

    def pick_up(self) -> float | None:
        """Timer that lives only while sorts are under way; each finished one asks for a redraw."""
        if self.sorter.finished != self._sorts_seen:
            self._sorts_seen = self.sorter.finished
            tag_redraw()
        return PICK_UP_INTERVAL if self.sorter.busy() else None

    def _draw(self, context: bpy.types.Context) -> None:
        depsgraph = context.evaluated_depsgraph_get()
        view = region_view(context)
        items = []
        for placed in placed_splats(self.index, depsgraph, context.space_data):
            if is_drawn_here(placed.source):
                item = self._prepare(placed, depsgraph, view)
                items += [item] if item else []
                height = item.height if item else 0.0
            else:
                height = _native_height(placed, view)
            if placed.avatar is not None and placed.source.lookalike.role == "SPLATS":
                lod.measured(placed.avatar, placed.source.lookalike.level, view.key, height)
        status.splats = sum(len(item.cloud) for item in items)
        if items:
            self._draw_items(items, view)
        if self.index.scans != self._scans_seen:
            self._scans_seen = self.index.scans
            self.clouds.keep({obj.session_uid for obj, _avatar in self.index.splats()})

    def _prepare(self, placed: Placed, depsgraph: bpy.types.Depsgraph, view: View) -> Item | None:
        key, cloud = self.clouds.get(placed.source, depsgraph)
        if cloud.failed:
            return None
        try:
            cloud.refresh(placed.source, depsgraph)
            return lay_out(cloud, (key, placed.instance), placed.matrix, view) if len(cloud) else None
        except Exception as error:  # one broken avatar must not hide the others, nor flood the console
            cloud.failed = True
            status.fail(placed.source.name, error)
            return None

    def _draw_items(self, items: list[Item], view: View) -> None:
        draw_items(items, view, self.canvases, self.sorter)
        if self.sorter.error is not None:
            error, self.sorter.error = self.sorter.error, None
            raise error
        if self.sorter.busy() and not bpy.app.timers.is_registered(_pick_up):
            bpy.app.timers.register(_pick_up, first_interval=PICK_UP_INTERVAL)


_drawer = Drawer()


def retry() -> None:
    """Draw again after an error; for a button in the panel."""
    status.last_error = ""
    _drawer.clouds.retry()
    _drawer.index.invalidate()
    _drawer.start()
    tag_redraw()


def _native_height(placed: Placed, view: View) -> float:
    """Height in pixels of splats that Blender draws itself."""
    corners = [tuple(corner) for corner in placed.source.bound_box]
    covered = cover([corners[0], corners[6]], view.view @ placed.matrix, view)
    return covered[2] if covered else 0.0


def _pick_up() -> float | None:
    return _drawer.pick_up()


@persistent
def _mark_changed(_scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """After an update or a frame change: 0.3 microseconds per updated data-block."""
    if depsgraph.mode != "VIEWPORT":
        return
    changed = set()
    for update in depsgraph.updates:
        if isinstance(update.id, bpy.types.Object | bpy.types.Mesh):
            if update.is_updated_geometry:
                changed.add(update.id.original.session_uid)
        elif isinstance(update.id, bpy.types.Collection):
            _drawer.index.invalidate()
    if changed:
        _drawer.clouds.mark(changed)


@persistent
def _mark_all(*_: object) -> None:
    """After undo and redo: everything is read again, and uploaded only where it differs."""
    _drawer.index.invalidate()
    _drawer.clouds.mark()


@persistent
def _forget(*_: object) -> None:
    """Before another file is loaded."""
    _drawer.sorter.forget()
    _drawer.clouds.clear()
    _drawer.index.invalidate()
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


def register() -> None:
    """No GPU, file or thread yet: those begin with the first avatar that is drawn."""
    for handlers, function in _handlers():
        handlers.append(function)
    # A script's sys.exit() ends Python without unregistering add-ons, and crashes where textures are freed after that.
    atexit.register(_drawer.release)
    _drawer.start()


def unregister() -> None:
    _drawer.stop()
    atexit.unregister(_drawer.release)
    for handlers, function in _handlers():
        handlers.remove(function)
    for timer in (_pick_up, lod.apply):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    _drawer.release()
    lod.forget()
