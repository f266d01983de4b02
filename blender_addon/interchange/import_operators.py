"""File > Import: splats, one file or a sequence that a user may stop."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty
from bpy.types import Operator

from .. import api
from ..operators.base import CANCELLED, FINISHED, RUNNING, FromFiles, layout_of
from ..operators.reporting import reported, reported_event
from ..translations import said
from .export_operators import AXES

if TYPE_CHECKING:
    from .numbered_files import FileSequence
    from .sequences import ImportedSequence, SequenceOptions


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
        from .numbered_files import find_sequences  # with it safetensors, which registering must not load

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
    _left: Sequence = ()  # of FileSequence; Blender evaluates the annotations of a class, so it cannot be named here
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
