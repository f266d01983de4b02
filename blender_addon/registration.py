"""What Blender knows of the add-on: one ordered tuple of classes, registered forward and taken back in reverse.

Nothing here opens a socket, a file or the GPU, and nothing is caught: a class that does not register is a bug to be seen.
"""

from __future__ import annotations

import sys

import bpy
from bpy.app.handlers import persistent

from . import integration, preferences
from .avatar import properties as avatar_properties
from .client import backend
from .editing import operators as edit_operators
from .editing import panels as edit_panels
from .editing import settings as edit_settings
from .interchange import assets, drop
from .interchange import operators as interchange_operators
from .operators import animation, avatars, files, live, motion, personalize, photos, refined
from .operators import backend as backend_operators
from .operators import jobs as job_operators
from .operators import rendering as rendering_operators
from .rendering import handlers as rendering_handlers
from .ui import avatar_list, avatar_panels, create_panel, face_panels, file_handlers, menus, personalize_panel, properties, render_panel

CLASSES: tuple[type, ...] = (
    *avatar_properties.CLASSES,
    *properties.CLASSES,
    *preferences.CLASSES,
    *photos.CLASSES,
    *job_operators.CLASSES,
    *files.CLASSES,
    *avatars.CLASSES,
    *animation.CLASSES,
    *motion.CLASSES,
    *personalize.CLASSES,
    *live.CLASSES,
    *backend_operators.CLASSES,
    *file_handlers.CLASSES,
    *avatar_list.CLASSES,
    *create_panel.CLASSES,
    *avatar_panels.CLASSES,
    *personalize_panel.CLASSES,
    *face_panels.CLASSES,
    *edit_settings.CLASSES,
    *interchange_operators.CLASSES,
    *assets.CLASSES,
    *drop.CLASSES,
    *edit_operators.CLASSES,
    *edit_panels.CLASSES,
    *rendering_operators.CLASSES,
    *refined.CLASSES,
    *render_panel.CLASSES,
    *menus.CLASSES,
)


def register() -> None:
    """Budget: 50 ms (benchmarks/register.py).

    Raises:
        RuntimeError: another copy of the add-on is enabled; nothing is registered then.
    """
    other = integration.other_copy(__package__)
    if other:
        raise RuntimeError(f"Lookalike is enabled twice: disable “{other}” first, then enable this copy. No data is lost")
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    avatar_properties.attach()
    properties.attach()
    bpy.types.TOPBAR_MT_file_import.append(files.draw_import)
    bpy.types.TOPBAR_MT_file_import.append(motion.draw_import)
    bpy.types.TOPBAR_MT_file_export.append(files.draw_export)
    integration.attach()
    bpy.app.handlers.load_pre.append(_before_load)
    bpy.app.handlers.load_post.append(_after_load)
    bpy.app.handlers.save_pre.append(_before_save)
    bpy.app.handlers.undo_post.append(_after_undo)
    bpy.app.handlers.redo_post.append(_after_undo)
    rendering_handlers.register()
    if not bpy.app.background:  # nothing is drawn there, and timers never run
        # numpy, which drawing needs, takes longer to load than all of this: on the first idle moment, not while Blender starts.
        bpy.app.timers.register(_start_drawing, first_interval=0.0, persistent=True)


def unregister() -> None:
    """Ends jobs, threads and a backend of ours, then takes everything back."""
    _stop_drawing()
    _end_session()
    rendering_handlers.unregister()
    bpy.app.handlers.redo_post.remove(_after_undo)
    bpy.app.handlers.undo_post.remove(_after_undo)
    bpy.app.handlers.save_pre.remove(_before_save)
    bpy.app.handlers.load_post.remove(_after_load)
    bpy.app.handlers.load_pre.remove(_before_load)
    bpy.types.TOPBAR_MT_file_export.remove(files.draw_export)
    bpy.types.TOPBAR_MT_file_import.remove(motion.draw_import)
    bpy.types.TOPBAR_MT_file_import.remove(files.draw_import)
    integration.detach()
    properties.detach()
    avatar_properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)


def _start_drawing() -> None:
    from . import viewport

    viewport.register()


def _stop_drawing() -> None:
    if bpy.app.timers.is_registered(_start_drawing):
        bpy.app.timers.unregister(_start_drawing)
    elif not bpy.app.background:
        from . import viewport

        viewport.unregister()


@persistent
def _before_load(*_arguments: object) -> None:
    """Another file is opened: jobs of this one have nowhere to go, so they are cancelled; the backend stays."""
    if f"{__package__}.client.work" in sys.modules:
        from .client import jobs

        jobs.cancel_all()


@persistent
def _before_save(*_arguments: object) -> None:
    """What a personalization shows on the way is not what is saved; in Edit Mode it is, marked, and taken back when it is loaded."""
    for collection in bpy.data.collections:
        if collection.lookalike.preview >= 0 and collection.library is None:
            from .adapters import settle

            settle(collection, over=False)


@persistent
def _after_undo(*_arguments: object) -> None:
    """Undo may bring back what a personalization showed on the way, long after it has ended."""
    if any(collection.lookalike.preview >= 0 for collection in bpy.data.collections):
        from .client.personalizing import settle_left

        settle_left()


@persistent
def _after_load(*_arguments: object) -> None:
    """A file that was saved in Edit Mode, or is left of a crash, may hold what a personalization showed on the way."""
    _after_undo()


def _end_session() -> None:
    """Jobs, timer, threads and a backend of ours end; where none was ever asked for, nothing is even loaded."""
    if f"{__package__}.client.work" in sys.modules:
        from .client import jobs, tick, work

        jobs.cancel_all()
        tick.stop()
        work.end_threads()
    if f"{__package__}.live.stream" in sys.modules:
        from .live import stream

        stream.stop()
    backend.stop()
