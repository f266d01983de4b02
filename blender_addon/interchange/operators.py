"""File > Import and File > Export for files of other programs, and attaching objects to a head."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy.types import Operator

from .. import api
from ..operators.base import CANCELLED, FINISHED, RUNNING, FromFiles, OnAvatar, Telling, ToFile, layout_of, there_is_an_avatar
from ..operators.reporting import reported, reported_event
from ..translations import said
from .numbered_files import FileSequence, find_sequences
from .source import has_source, splat_source

if TYPE_CHECKING:
    from .sequences import ImportedSequence, SequenceOptions

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


class LOOKALIKE_OT_import_splats(FromFiles, Operator):
    """Import Gaussian splats (.ply, .spz, .glb, LAM's .zip), also numbered files that play by frame; our own .glb becomes an avatar"""

    bl_idname = "lookalike.import_splats"
    bl_label = "Import Gaussian Splats"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    filename_ext = ".ply"
    filter_glob: StringProperty(default="*.ply;*.spz;*.glb;*.zip", options={"HIDDEN"})
    axes: EnumProperty(name="Axes", description="Which way a .ply's axes point, where it does not say so itself", items=AXES, default="rdf")
    scale: FloatProperty(
        name="Scale", description="Metres for one unit of the file", default=1.0, min=1e-6, max=1e6, soft_min=0.01, soft_max=100
    )

    use_sequence_detection: BoolProperty(
        name="Detect Sequences",
        description="Of the chosen files, play those that are numbered (name_0001.ply, name_0002.ply, ...) by frame, as one object",
        default=True,
    )
    use_numbers: BoolProperty(
        name="Frames by Number", description="Show each file of a sequence at the frame that its name gives", default=True
    )
    start: IntProperty(name="Start Frame", description="Frame that shows the first file of a sequence", default=1)
    fps: FloatProperty(
        name="Source Frame Rate",
        description="Numbers a second of a sequence; 0 plays one number a frame of the scene",
        default=0.0,
        min=0.0,
        max=1000.0,
        precision=2,
    )
    cyclic: BoolProperty(name="Cyclic", description="Play a sequence again and again, instead of holding its first and last frame")
    memory: FloatProperty(
        name="Memory Limit",
        description="Gigabytes that a sequence may take, in memory and in the .blend",
        default=4.0,
        min=0.1,
        soft_max=64,
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = layout_of(self)
        column = layout.column()
        column.prop(self, "axes")
        column.prop(self, "scale")
        header, body = layout.panel("LOOKALIKE_import_sequence", default_closed=False)
        header.use_property_split = False
        header.prop(self, "use_sequence_detection")
        if body is not None:
            body.active = self.use_sequence_detection
            body.prop(self, "use_numbers")
            start = body.column()
            start.active = not self.use_numbers
            start.prop(self, "start")
            for name in ("fps", "cyclic", "memory"):
                body.prop(self, name)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        sequences, single = find_sequences(self.paths()) if self.use_sequence_detection else ([], self.paths())
        for path in single:
            self._import_file(context, path)
        if sequences and self._asked and not (self.options.is_repeat or self.options.is_repeat_last or context.window is None):
            self._some_are_in, self._left = bool(single), sequences
            context.window_manager.modal_handler_add(self)
            return self._begin(context)
        for sequence in sequences:
            self._import_sequence(context, sequence)
        return FINISHED

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Asked for by a user, who may stop it; scripts go on when all is in."""
        self._asked = not bpy.app.background
        return super().invoke(context, event)

    @reported_event
    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """At most one file a tick; Esc ends it, and of the sequence under way nothing stays."""
        if event.type == "ESC":
            self._stop(context)
            self.tell("Stopped: {name} was not imported", "WARNING", name=self._left[0].name)
            return FINISHED if self._some_are_in else CANCELLED
        if event.type != "TIMER":
            return RUNNING
        try:
            done = next(self._steps)
        except StopIteration as ended:
            self._stop(context)
            self._tell_sequence(self._left[0], ended.value)
            self._left = self._left[1:]
            self._some_are_in = True
            return self._begin(context) if self._left else FINISHED
        except Exception:
            self._stop(context)
            raise
        context.window_manager.progress_update(done)
        files = self._left[0]
        context.workspace.status_text_set(
            said("Lookalike: {name}, {written} of {count}   |   Esc stops", name=files.name, written=done, count=len(files.files))
        )
        return RUNNING

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends it, because another file is opened or the window closes."""
        if self._left:
            self._stop(context)

    _asked = False
    _some_are_in: bool
    _left: Sequence[FileSequence] = ()
    _steps: Generator[int, None, object]  # Blender evaluates annotations when it registers the class
    _timer: bpy.types.Timer

    def _begin(self, context: bpy.types.Context) -> set[str]:
        from .sequences import import_steps

        self._steps = import_steps(self._left[0], self._options(), wait=False)
        self._timer = context.window_manager.event_timer_add(0.01, window=context.window)
        context.window_manager.progress_begin(0, len(self._left[0].files))
        return RUNNING

    def _stop(self, context: bpy.types.Context) -> None:
        self._steps.close()
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)

    def _import_file(self, context: bpy.types.Context, path: Path) -> None:
        from . import import_lam, import_splats
        from .importing import import_glb_avatar

        if path.suffix.lower() == ".zip":
            made = import_lam(path)
        elif path.suffix.lower() == ".glb" and (avatar := import_glb_avatar(path, context.scene.collection)) is not None:
            api.select_avatar(avatar)
            api.welcome_avatar(avatar)
            self.tell("Imported the avatar {name}", name=avatar.name)
            return
        else:
            made = import_splats(path, axes=self.axes, scale=self.scale)
        count = len(made.data.attributes["position"].data)
        self.tell("Imported {count} splats from {name}", count=f"{count:,}", name=path.name)

    def _import_sequence(self, context: bpy.types.Context, files: FileSequence) -> None:
        from .sequences import import_sequence

        manager = context.window_manager
        manager.progress_begin(0, len(files.files))
        try:
            done = import_sequence(files, self._options(), progress=manager.progress_update)
        finally:
            manager.progress_end()
        self._tell_sequence(files, done)

    def _options(self) -> SequenceOptions:
        from .sequences import SequenceOptions

        return SequenceOptions(self.axes, self.scale, None if self.use_numbers else self.start, self.fps, self.cyclic, self.memory)

    def _tell_sequence(self, files: FileSequence, done: ImportedSequence) -> None:
        least, most = (f"{count:,}" for count in done.counts)
        counts = said("{count} splats each", count=least) if least == most else said("{least} to {most} splats", least=least, most=most)
        self.tell(
            "{name}: {frames} files play from frame {first} to {last}, {counts}, {memory} MB in memory and in the .blend",
            name=done.obj.name,
            frames=done.frames,
            first=f"{done.first:g}",
            last=f"{done.last:g}",
            counts=counts,
            memory=f"{done.memory / 1e6:.0f}",
        )
        if done.missing:
            shown = ", ".join(map(str, done.missing[:8])) + (" ..." if len(done.missing) > 8 else "")
            self.tell("{name}: no file for {numbers}; the one before is shown", "WARNING", name=files.name, numbers=shown)


class LOOKALIKE_OT_attach_to_head(OnAvatar, Operator):
    """Let the selected objects (hair as mesh, curves or splats, glasses, a hat) follow the avatar's head from where they stand"""

    bl_idname = "lookalike.attach_to_head"
    bl_label = "Attach to Head"
    bl_options = {"REGISTER", "UNDO"}

    hide_hair: BoolProperty(name="Hide Own Hair", description="Hide the avatar's own hair, as Hide Region does", default=False)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not there_is_an_avatar(cls, context):
            return False
        if not _loose(context):
            cls.poll_message_set("Select the objects to attach, and the avatar if there are several")
            return False
        return True

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..editing import hide_region
        from . import attach_to_head

        loose, avatar = _loose(context), self._avatar(context)
        for obj in loose:
            attach_to_head(obj, avatar)
        if self.hide_hair:
            hide_region(avatar, "HAIR")
        return self.tell("Attached {objects} to {name}", objects=", ".join(obj.name for obj in loose), name=avatar.name)

    def _avatar(self, context: bpy.types.Context) -> bpy.types.Collection:
        from ..avatar import avatar_of

        parts = [avatar_of(o) for o in context.selected_objects if o.lookalike.role in {"ARMATURE", "HEAD", "SPLATS"}]
        return api.avatar(self.avatar or next((avatar.name for avatar in parts if avatar is not None), ""))


class LOOKALIKE_OT_detach_from_head(Telling, Operator):
    """Take the selected objects off the avatar's head; they stay where they are"""

    bl_idname = "lookalike.detach_from_head"
    bl_label = "Detach from Head"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not any(o.parent is not None and o.parent.lookalike.role == "ARMATURE" for o in _loose(context)):
            cls.poll_message_set("Select objects that are attached to an avatar's head")
            return False
        return True

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        from . import detach

        for obj in _loose(context):
            if obj.parent is not None and obj.parent.lookalike.role == "ARMATURE":
                detach(obj, context.scene)
        return FINISHED


def _loose(context: bpy.types.Context) -> list[bpy.types.Object]:
    """Selected objects that are not parts of an avatar."""
    return [o for o in context.selected_objects if o.lookalike.role in {"NONE", "CLOUD"} and o.library is None]


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_splats.bl_idname, text="Gaussian Splats (.ply/.spz/.glb/.zip)")


def draw_export(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entries of File > Export."""
    menu.layout.operator(LOOKALIKE_OT_export_splats.bl_idname, text="Gaussian Splats (.ply/.spz)")
    menu.layout.operator(LOOKALIKE_OT_export_gltf.bl_idname, text="Lookalike Avatar with Splats (.glb)")
    menu.layout.operator(LOOKALIKE_OT_export_lam.bl_idname, text="Lookalike Avatar for the Web (LAM .zip)")


CLASSES = (
    LOOKALIKE_OT_export_splats,
    LOOKALIKE_OT_export_gltf,
    LOOKALIKE_OT_export_lam,
    LOOKALIKE_OT_import_splats,
    LOOKALIKE_OT_attach_to_head,
    LOOKALIKE_OT_detach_from_head,
)
