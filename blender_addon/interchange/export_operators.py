"""File > Export: splats, glTF and LAM's zip."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty
from bpy.types import Operator

from ..operators.base import CANCELLED, RUNNING, ToFile, layout_of
from ..operators.reporting import reported, reported_event
from ..translations import said
from .source import has_source, splat_source

AXES = (
    ("y-down", "Y Down, Viewers", "Half a turn about Z, as SuperSplat and PlayCanvas expect captures"),
    ("rdf", "Y Down, Camera", "Right, down, forward: COLMAP, gsplat, the spz tools, Spark"),
    ("y-up", "Y Up", "As glTF: up along Y, face along Z"),
    ("z-up", "Z Up", "As Blender: up along Z, face along -Y"),
)
LEVELS = (
    ("HIGHEST", "Finest", "The finest level that the avatar has"),
    ("0", "0", "Coarse: one splat a vertex of the rig"),
    ("1", "1", "Medium"),
    ("2", "2", "Fine"),
)


def _level(choice: str) -> int | None:
    return None if choice == "HIGHEST" else int(choice)


class _Export(ToFile):
    """An exporter with a level of detail."""

    level: EnumProperty(name="Detail", description="Level of detail that is written", items=LEVELS, default="HIGHEST")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if has_source(context):
            return True
        cls.poll_message_set("There is no avatar in the scene")
        return False


class LOOKALIKE_OT_export_splats(_Export, Operator):
    """Write the splats as they stand at this frame, or one file for each frame, for splat viewers and editors"""

    bl_idname = "lookalike.export_splats"
    bl_label = "Export Gaussian Splats"
    bl_options = {"PRESET"}

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply;*.spz", options={"HIDDEN"})
    kind: EnumProperty(
        name="Format",
        description="Kind of file",
        items=(
            (".ply", "PLY", "3D Gaussian splatting .ply: exact, read by every splat viewer"),
            (".spz", "SPZ", "Niantic .spz: a fifth to a tenth of the size, quantised"),
        ),
        update=lambda self, context: self.check(context),
    )
    axes: EnumProperty(name="Axes", description="Which way the file's axes point", items=AXES, default="y-down")
    version: EnumProperty(
        name="Version",
        description="Version of the .spz format",
        items=(("3", "3", "Rotations to 0.2 degrees"), ("2", "2", "Coarser rotations, for older programs")),
    )
    local: BoolProperty(
        name="At the Origin", description="Write the avatar about its own origin, wherever it stands in the scene", default=True
    )
    attached: BoolProperty(name="Attached Splats", description="Write splat clouds that are attached to the avatar too", default=True)
    animation: BoolProperty(name="Animation", description="Write one file for each frame", default=False)
    first: IntProperty(name="First Frame", description="First frame that is written", default=1, min=0)
    last: IntProperty(name="Last Frame", description="Last frame that is written", default=250, min=0)
    step: IntProperty(name="Step", description="Write every so many frames", default=1, min=1)

    def check(self, context: bpy.types.Context) -> bool:
        """Keep the file's suffix that of the format."""
        path = Path(self.filepath)
        if path.suffix.lower() == self.kind or not path.name:
            return False
        stem = path.with_suffix("") if path.suffix.lower() in {".ply", ".spz"} else path
        self.filepath = str(stem) + self.kind
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.first, self.last = context.scene.frame_start, context.scene.frame_end
        return super().invoke(context, event)

    def draw(self, context: bpy.types.Context) -> None:
        layout = layout_of(self)
        column = layout.column()
        column.prop(self, "kind")
        column.prop(self, "axes" if self.kind == ".ply" else "version")
        column.prop(self, "level")
        column.prop(self, "local")
        column.prop(self, "attached")
        header, body = layout.panel("LOOKALIKE_export_animation", default_closed=False)
        header.use_property_split = False
        header.prop(self, "animation")
        if body is not None:
            body.active = self.animation
            column = body.column(align=True)
            for name in ("first", "last", "step"):
                column.prop(self, name)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from .exporting import export_sequence, export_splats

        self.check(context)
        path = Path(bpy.path.abspath(self.filepath))
        source = splat_source(context, self.avatar)
        options = {"level": _level(self.level), "axes": self.axes, "spz_version": int(self.version)}
        options |= {"local": self.local, "attached": self.attached}
        if not self.animation:
            return self.tell("Wrote {path}", path=export_splats(source, path, **options))
        self._frames = export_sequence(source, path, self.first, self.last, self.step, **options)
        self._written, self._count = 0, len(range(self.first, self.last + 1, self.step))
        if bpy.app.background or context.window is None:
            for _ in self._frames:
                self._written += 1
            return self._ended(context)
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.modal_handler_add(self)
        context.window_manager.progress_begin(0, max(self._count, 1))
        return RUNNING

    @reported_event
    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One frame a tick; Esc ends it, and what is written stays."""
        if event.type == "ESC":
            self._frames.close()
            self._stop(context)
            self.tell("Stopped after {written} of {count} files", "WARNING", written=self._written, count=self._count)
            return CANCELLED
        if event.type != "TIMER":
            return RUNNING
        try:
            path = next(self._frames, None)
        except Exception:
            self._stop(context)
            raise
        if path is None:
            self._stop(context)
            return self._ended(context)
        self._written += 1
        context.window_manager.progress_update(self._written)
        context.workspace.status_text_set(
            said("Lookalike: {name}, {written} of {count}   |   Esc stops", name=path.name, written=self._written, count=self._count)
        )
        return RUNNING

    _frames: Iterator[Path]
    _timer: bpy.types.Timer
    _written: int
    _count: int

    def _stop(self, context: bpy.types.Context) -> None:
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)

    def _ended(self, context: bpy.types.Context) -> set[str]:
        return self.tell("Wrote {count} files", count=self._written)


class LOOKALIKE_OT_export_gltf(_Export, Operator):
    """Write splats (KHR_gaussian_splatting), rig as skin, and expressions as morph targets with ARKit's names"""

    bl_idname = "lookalike.export_gltf"
    bl_label = "Export Avatar as glTF"
    bl_options = {"PRESET"}

    filename_ext = ".glb"
    filter_glob: StringProperty(default="*.glb", options={"HIDDEN"})
    posed: BoolProperty(
        name="As Posed",
        description="Let splats and rig stand as at this frame; otherwise at rest, and the file can become an avatar again",
        default=False,
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from .exporting import export_glb

        return self.tell("Wrote {path}", path=export_glb(self.chosen(), self.target(), level=_level(self.level), posed=self.posed))


class LOOKALIKE_OT_export_lam(_Export, Operator):
    """Write the zip that LAM's web viewer and OpenAvatarChat play, with this person's own shape in its mesh"""

    bl_idname = "lookalike.export_lam"
    bl_label = "Export Avatar for the Web (LAM)"
    bl_options = {"PRESET"}

    filename_ext = ".zip"
    filter_glob: StringProperty(default="*.zip", options={"HIDDEN"})
    level: EnumProperty(name="Detail", description="Level of detail that is written", items=LEVELS, default="0")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from .exporting import export_lam

        return self.tell("Wrote {path}", path=export_lam(self.chosen(), self.target(), level=_level(self.level)))
