"""Operators of the brush, of box and lasso, of regions and repair. Each is one undo step, and Adjust Last Operation works:
what was drawn, and from where, is in the operator's own properties, so scripts can call it the same way.
"""

from __future__ import annotations

import bpy
import numpy as np
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntVectorProperty, StringProperty
from bpy.types import Operator

from ..interchange.source import has_source, splat_source
from ..operators.base import CANCELLED, RUNNING, Telling, layout_of
from ..operators.reporting import reported, reported_event
from ..translations import said
from . import overlay
from .live import LiveStroke
from .settings import MODES, OPPOSITE, LOOKALIKE_PG_point


class _OnSplats(Telling):
    """An operator on the active avatar or splat cloud, or on the one that `target` names."""

    target: StringProperty(
        name="Target", description="Name of the avatar or splat cloud; empty for the active one", options={"HIDDEN", "SKIP_SAVE"}
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not has_source(context):
            cls.poll_message_set("There is no avatar in the scene")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Only in Object Mode")
            return False
        return True


class _OnAvatar(_OnSplats):
    def avatar(self, context: bpy.types.Context) -> bpy.types.Collection:
        """Raises LookalikeError where there is none."""
        from .. import api

        return api.avatar(self.target)


class _Gesture(_OnSplats):
    """Draw something with the left mouse button held, then execute. The view that it was drawn in is kept."""

    points: CollectionProperty(type=LOOKALIKE_PG_point, options={"HIDDEN", "SKIP_SAVE"})
    view: FloatVectorProperty(name="View", description="World to view space", size=16, options={"HIDDEN", "SKIP_SAVE"})
    window: FloatVectorProperty(name="Window", description="View to clip space", size=16, options={"HIDDEN", "SKIP_SAVE"})
    region: IntVectorProperty(
        name="Region", description="Width and height of the region in pixels", size=2, options={"HIDDEN", "SKIP_SAVE"}
    )
    through: BoolProperty(name="Through", description="Change what lies behind the visible surface too", default=True)
    mirror: BoolProperty(name="Mirror", description="Do the same on the other side of the head", default=False)

    hint = "Drag, then let go   |   Esc, Right Mouse: cancel"
    closed = True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if context.region_data is None or context.region is None:
            return self.tell("Move the pointer over a 3D view", "ERROR")
        self.keep_view(context)
        self.points.clear()
        self.add(event)
        return self.begin(context, event)

    def keep_view(self, context: bpy.types.Context) -> None:
        """Remember from where it is drawn."""
        self.view = [value for row in context.region_data.view_matrix for value in row]
        self.window = [value for row in context.region_data.window_matrix for value in row]
        self.region = (context.region.width, context.region.height)

    def begin(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._handle = bpy.types.SpaceView3D.draw_handler_add(self.draw_shape, (context.region.as_pointer(),), "WINDOW", "POST_PIXEL")
        self._area = context.area
        context.area.header_text_set(f"{said(self.bl_label)}: {said(self.hint)}")
        context.window_manager.modal_handler_add(self)
        return RUNNING

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type in {"ESC", "RIGHTMOUSE"}:
            self.end()
            self.cancelled(context)
            return CANCELLED
        if event.type in {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}:
            self.add(event)
            self.moved(context)
            self._area.tag_redraw()
        if event.type == "LEFTMOUSE" and event.value == "RELEASE":
            self.add(event)
            self.end()
            self.cancelled(context)
            return self.execute(context)
        return RUNNING

    def add(self, event: bpy.types.Event) -> None:
        element = self.points.add()
        element.mouse = (event.mouse_region_x, event.mouse_region_y)

    def moved(self, context: bpy.types.Context) -> None:
        """The pointer moved: show what it would do."""

    def cancelled(self, context: bpy.types.Context) -> None:
        """Take back what `moved` showed."""

    def end(self) -> None:
        bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
        self._area.header_text_set(None)
        self._area.tag_redraw()

    def shape(self) -> list[overlay.Point]:
        return [tuple(point.mouse) for point in self.points]

    def draw_shape(self, region: int) -> None:
        if bpy.context.region is not None and bpy.context.region.as_pointer() == region:
            overlay.draw_path(self.shape(), self.closed)

    def paint_view(self, context: bpy.types.Context):
        """The view that was drawn in; of a script that gives none, the current region's. Raises LookalikeError without any."""
        from ..protocol import LookalikeError
        from .picking import PaintView

        if not any(self.view):
            if context.region_data is None:
                raise LookalikeError("There is no 3D view to draw in", "give the operator view, window and region")
            self.keep_view(context)
        size = (int(self.region[0]), int(self.region[1]))
        return PaintView(np.array(self.view, np.float64).reshape(4, 4), np.array(self.window, np.float64).reshape(4, 4), size)

    def told(self, mode: str, changed: int) -> set[str]:
        if not changed:
            self.tell("No splat was under it")
            return CANCELLED
        label = next(label for identifier, label, _ in MODES if identifier == mode)
        return self.tell("{action}: {count} splats", action=said(label), count=f"{changed:,}")


class LOOKALIKE_OT_brush_splats(_Gesture, Operator):
    """Paint over splats to hide, restore, fade, strengthen, shrink, grow or repair them. Ctrl does the opposite"""

    bl_idname = "lookalike.brush_splats"
    bl_label = "Brush Splats"
    bl_options = {"REGISTER", "UNDO"}

    mode: EnumProperty(name="Brush", description="What the brush does", items=MODES, default="HIDE")
    radius: FloatProperty(name="Radius", description="Radius of the brush", default=40, min=1, max=4000, subtype="PIXEL")
    strength: FloatProperty(name="Strength", description="How much the stroke changes", default=0.5, min=0.0, max=1.0, subtype="FACTOR")
    hardness: FloatProperty(
        name="Hardness", description="Share of the radius that gets all of the strength", default=0.5, min=0.0, max=1.0, subtype="FACTOR"
    )
    similar: FloatProperty(
        name="Similar Color", description="Change only colors this near to the one under the start of the stroke; 0 changes all",
        default=0.0, min=0.0, max=1.0, subtype="FACTOR",
    )  # fmt: skip
    opposite: BoolProperty(name="Opposite", description="Do the opposite of what the brush does", default=False, options={"SKIP_SAVE"})

    hint = "drag over splats   |   Ctrl at the start: the opposite   |   Esc, Right Mouse: cancel"

    @reported_event
    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        settings = context.window_manager.lookalike_edit
        for name in ("strength", "hardness", "through", "mirror", "similar"):
            setattr(self, name, getattr(settings, name))
        self.radius = settings.radius * context.preferences.system.ui_scale
        self.mode = OPPOSITE[settings.mode] if self.opposite else settings.mode
        self.opposite = False
        self._live = None
        return super().invoke(context, event)

    @reported_event
    def begin(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.mode != "MIRROR":
            self._live = LiveStroke(self._picker(context), self.mode, self.strength)
            self.moved(context)
        return super().begin(context, event)

    def moved(self, context: bpy.types.Context) -> None:
        if self._live is not None:
            self._live.draw(self._stroke(), self.shape()[0])

    def cancelled(self, context: bpy.types.Context) -> None:
        if self._live is not None:
            self._live.restore()
            self._live = None

    def draw_shape(self, region: int) -> None:
        if bpy.context.region is not None and bpy.context.region.as_pointer() == region and len(self.points):
            overlay.draw_path(overlay.circle(self.shape()[-1], self.radius))

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        if not len(self.points):
            return self.tell("The stroke has no points", "ERROR")
        if self.mode == "MIRROR":
            return self.told(self.mode, self._repair(context))
        picker = self._picker(context)
        weights = picker.weights(self._stroke().weights, np.float32(self.shape()[0]))
        return self.told(self.mode, picker.apply(self.mode, weights, self.strength))

    def _picker(self, context: bpy.types.Context):
        from .picking import Options, Picker

        options = Options(through=self.through, mirror=self.mirror, similar=self.similar)
        return Picker(splat_source(context, self.target), self.paint_view(context), options)

    def _stroke(self):
        from .picking import Stroke

        return Stroke(np.array(self.shape(), np.float32), self.radius, self.hardness)

    def _repair(self, context: bpy.types.Context) -> int:
        from ..protocol import LookalikeError
        from .picking import Options
        from .repair import mirror_repair, side_under

        avatar, view, stroke = splat_source(context, self.target), self.paint_view(context), self._stroke()
        if isinstance(avatar, bpy.types.Object):
            raise LookalikeError(f"{avatar.name}: only avatars are repaired from the other side", "select an avatar")
        bad = side_under(avatar, view, stroke)
        return mirror_repair(avatar, "RIGHT" if bad == "LEFT" else "LEFT", view, stroke, Options(through=self.through))

    def draw(self, context: bpy.types.Context) -> None:
        layout = layout_of(self)
        for name in ("mode", "radius", "strength", "hardness", "through", "mirror", "similar"):
            layout.prop(self, name)


class _TrimShape(_Gesture):
    mode: EnumProperty(name="Action", description="What happens to the splats inside", items=MODES[:2], default="HIDE")

    def choose(self, context: bpy.types.Context) -> int:
        raise NotImplementedError

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        if len(self.points) < 2:
            return self.tell("The shape has no points", "ERROR")
        return self.told(self.mode, self.choose(context))

    def chosen_options(self):
        from .picking import Options

        return Options(through=self.through, mirror=self.mirror)


class LOOKALIKE_OT_trim_box(_TrimShape, Operator):
    """Hide or show the splats inside a rectangle, on every level of detail"""

    bl_idname = "lookalike.trim_box"
    bl_label = "Trim Splats with Box"
    bl_options = {"REGISTER", "UNDO"}

    def shape(self) -> list[overlay.Point]:
        (x0, y0), (x1, y1) = self.points[0].mouse, self.points[-1].mouse
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    def choose(self, context: bpy.types.Context) -> int:
        from .picking import choose_box

        corner, opposite = tuple(self.points[0].mouse), tuple(self.points[-1].mouse)
        return choose_box(splat_source(context, self.target), self.paint_view(context), corner, opposite, self.mode, self.chosen_options())


class LOOKALIKE_OT_trim_lasso(_TrimShape, Operator):
    """Hide or show the splats inside a drawn outline, on every level of detail"""

    bl_idname = "lookalike.trim_lasso"
    bl_label = "Trim Splats with Lasso"
    bl_options = {"REGISTER", "UNDO"}

    def choose(self, context: bpy.types.Context) -> int:
        from .picking import choose_lasso

        path = np.array([tuple(point.mouse) for point in self.points], np.float32)
        return choose_lasso(splat_source(context, self.target), self.paint_view(context), path, self.mode, self.chosen_options())


def _region_items(self: Operator, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    """Regions of every head, then the vertex groups that the user made on this one."""
    from .. import api
    from .regions import region_names

    known = [
        ("HAIR", "Hair", "Scalp and fringe, by place and colour"),
        ("SHOULDERS", "Shoulders", "What lies below the neck"),
        ("NECK", "Neck", "What moves with the neck's root"),
        ("FACE", "Face", "Skin that expressions move"),
        ("EYES", "Eyes", "Both eyeballs"),
    ]
    avatar = api.active_avatar(context) if context is not None else None
    own = region_names(avatar)[len(known) :] if avatar is not None else []
    _region_items.kept = [*known, *((name, name, "Vertex group of the rig mesh") for name in own)]  # Blender keeps no reference to them
    return _region_items.kept


class LOOKALIKE_OT_hide_region(_OnAvatar, Operator):
    """Hide or show a whole region of the head: hair, shoulders, neck, face, eyes, or a vertex group of the rig mesh"""

    bl_idname = "lookalike.hide_region"
    bl_label = "Hide Region"
    bl_options = {"REGISTER", "UNDO"}

    region: EnumProperty(name="Region", description="Which splats", items=_region_items)
    hide: BoolProperty(name="Hide", description="Hide the region; off shows it again", default=True)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from .regions import hide_region

        changed = hide_region(self.avatar(context), self.region, self.hide)
        return self.tell("Hid {count} splats" if self.hide else "Showed {count} splats", count=f"{changed:,}")


class LOOKALIKE_OT_show_hidden(_OnSplats, Operator):
    """Show every hidden splat again; brushed opacity and size stay"""

    bl_idname = "lookalike.show_hidden"
    bl_label = "Show Hidden Splats"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import show_all, targets_of

        return self.tell("Showed {count} splats", count=f"{show_all(targets_of(splat_source(context, self.target))):,}")


class LOOKALIKE_OT_reset_edits(_OnSplats, Operator):
    """Take every edit of visibility, opacity and size back; removed and repaired splats stay so"""

    bl_idname = "lookalike.reset_edits"
    bl_label = "Reset Splat Edits"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import reset_edits, targets_of

        return self.tell("Reset {count} splats", count=f"{reset_edits(targets_of(splat_source(context, self.target))):,}")


class LOOKALIKE_OT_remove_hidden(_OnSplats, Operator):
    """Remove hidden splats from the file for good, which makes it smaller and drawing faster"""

    bl_idname = "lookalike.remove_hidden"
    bl_label = "Remove Hidden Splats"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import remove_hidden, targets_of

        return self.tell("Removed {count} splats", count=f"{remove_hidden(targets_of(splat_source(context, self.target))):,}")


class LOOKALIKE_OT_mirror_repair(_OnAvatar, Operator):
    """Replace one side of the head by the mirrored other one, for what the photo did not show"""

    bl_idname = "lookalike.mirror_repair"
    bl_label = "Repair from the Other Side"
    bl_options = {"REGISTER", "UNDO"}

    good_side: EnumProperty(
        name="Good Side",
        description="Side of the person that is kept and mirrored",
        items=(("LEFT", "Left", "The person's left side is good"), ("RIGHT", "Right", "The person's right side is good")),
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import mirror_repair

        return self.tell("Mirrored {count} splats", count=f"{mirror_repair(self.avatar(context), self.good_side):,}")


class LOOKALIKE_OT_rebind(_OnAvatar, Operator):
    """Bind the splats to the rig mesh as it is now, after vertices were added or removed; splats keep their places at rest"""

    bl_idname = "lookalike.rebind"
    bl_label = "Rebind Splats"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import rebind

        return self.tell("Bound {count} splats", count=f"{rebind(self.avatar(context)):,}")


class LOOKALIKE_OT_make_native(_OnAvatar, Operator):
    """Turn splats that an older Blender stored as meshes into this Blender's own Gaussian splats, which its engines render"""

    bl_idname = "lookalike.make_native"
    bl_label = "Use Blender's Own Splats"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..avatar import make_native

        return self.tell("Turned {count} levels of detail", count=make_native(self.avatar(context)))


CLASSES = (
    LOOKALIKE_OT_brush_splats,
    LOOKALIKE_OT_trim_box,
    LOOKALIKE_OT_trim_lasso,
    LOOKALIKE_OT_hide_region,
    LOOKALIKE_OT_show_hidden,
    LOOKALIKE_OT_reset_edits,
    LOOKALIKE_OT_remove_hidden,
    LOOKALIKE_OT_mirror_repair,
    LOOKALIKE_OT_rebind,
    LOOKALIKE_OT_make_native,
)
