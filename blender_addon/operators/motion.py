"""Motion from files, and from the user's own videos, which the backend tracks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, IntProperty, StringProperty
from bpy.types import Operator

from .. import api
from ..client.tracking import VIDEO_SUFFIXES
from .base import FromFiles, OnAvatar, layout_of
from .reporting import reported

if TYPE_CHECKING:
    from ..avatar import LipsyncReport, TakeReport


class _Keying(FromFiles, OnAvatar):
    """An operator that keys a performance from a file: how it becomes keys, as `avatar.TakeOptions`, and what is told of it."""

    filename_ext = ""
    start: FloatProperty(name="Start Frame", description="Frame of the take's first moment", default=1.0, step=100, precision=0)
    gain: FloatProperty(name="Gain", description="Factor of expressions and jaw", default=1.0, min=0.0, soft_max=2.0, max=10.0)
    smoothing: FloatProperty(
        name="Smoothing",
        description="Width of the smoothing in time; 0 for none",
        default=0.0,
        min=0.0,
        soft_max=0.5,
        max=5.0,
        unit="TIME_ABSOLUTE",
    )
    tolerance: FloatProperty(
        name="Key Reduction",
        description="Largest error of an expression, of 1, that leaving out keys may cause; 0 keys every frame. Angles: 0.1° at 0.005",
        default=0.005,
        min=0.0,
        soft_max=0.05,
        max=0.5,
        precision=4,
    )
    use_head: BoolProperty(name="Head Rotation", description="Turn the neck by the take's head rotation", default=True)
    head: FloatVectorProperty(
        name="Head Gain",
        description="Factors of nod, turn and tilt; a negative one turns the other way",
        default=(1.0, 1.0, 1.0),
        soft_min=-2.0,
        soft_max=2.0,
    )
    layer: EnumProperty(
        name="Shapes to",
        description="Where ARKit's shapes are keyed; other names always go to the face",
        items=(
            ("arkit", "ARKit Layer", "Work by hand on the face adds to it"),
            ("face", "Face", "Onto expressions, jaw and eyes themselves"),
        ),
    )
    to: EnumProperty(
        name="Keys to",
        description="Where the take's action goes",
        items=(
            ("ACTION", "New Action", "It becomes the active action; the one before is kept"),
            ("STRIP", "NLA Strip", "Into a track of its own; the active action stays"),
        ),
    )

    use_sound: BoolProperty(
        name="Sound", description="Add the recording to the sequencer, so that it is heard while playing and scrubbing", default=True
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = layout_of(self)
        self.draw_source(layout)
        for names in (("start",), ("gain", "smoothing", "tolerance"), ("layer", "to")):
            column = layout.column(align=True)
            for name in names:
                column.prop(self, name)
        layout.prop(self, "use_head")
        head = layout.column()
        head.enabled = self.use_head
        head.prop(self, "head")
        layout.prop(self, "use_sound")
        self.draw_more(layout)

    def draw_source(self, layout: bpy.types.UILayout) -> None:
        """What is asked about the file, above how it is keyed."""

    def draw_more(self, layout: bpy.types.UILayout) -> None:
        """What only this operator has, below."""

    def keying(self) -> dict[str, object]:
        """Options of `avatar.TakeOptions`."""
        return {
            "start": self.start,
            "gain": self.gain,
            "smoothing": self.smoothing,
            "tolerance": self.tolerance,
            "angle_tolerance": 0.35 * self.tolerance,
            "head": tuple(self.head) if self.use_head else (0.0, 0.0, 0.0),
            "arkit_layer": self.layer == "arkit",
            "strip": self.to == "STRIP",
        }

    def tell_report(self, path: Path, report: TakeReport | LipsyncReport) -> set[str]:
        """Warnings, then the summary."""
        for warning in report.warnings:
            self.pass_on(f"{path.name}: {warning}", "WARNING")
        return self.pass_on(report.summary())


class LOOKALIKE_OT_import_motion(_Keying, Operator):
    """Key a captured performance: Live Link Face CSV, ARKit JSON, FLAME npz, pkl or folder, tracked video (.motion), or mouth cues"""

    bl_idname = "lookalike.import_motion"
    bl_label = "Import Motion"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    filter_glob: StringProperty(default="*.csv;*.json;*.npz;*.pkl;*.motion;*.tsv;*.xml", options={"HIDDEN"})
    fps: FloatProperty(
        name="Source Frame Rate",
        description="Frames a second of the take; 0 goes by the file",
        default=0.0,
        min=0.0,
        max=1000.0,
        precision=2,
    )
    sound: StringProperty(
        name="Sound File",
        description="Empty takes the sound or video of the same name beside the file, if there is one",
        subtype="FILE_PATH",
    )
    flame_map: StringProperty(
        name="FLAME Map",
        description="What `lookalike flame-map` made: FLAME's expressions on avatars that are not built on FLAME",
        subtype="FILE_PATH",
    )
    coarticulation: FloatProperty(
        name="Coarticulation",
        description="Mouth cues: how much shapes flow into each other",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )

    def draw_source(self, layout: bpy.types.UILayout) -> None:
        layout.prop(self, "fps")

    def draw_more(self, layout: bpy.types.UILayout) -> None:
        sound = layout.column()
        sound.enabled = self.use_sound
        sound.prop(self, "sound", text="File")
        layout.prop(self, "coarticulation")
        layout.prop(self, "flame_map")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = self.paths()[0]
        # For a take or for cues: each takes what it knows.
        options = {**self.keying(), "coarticulation": self.coarticulation}
        report = api.import_motion(path, self.chosen(), self.fps, self.flame_map, sound=self._sound(path), **options)
        return self.tell_report(path, report)

    def _sound(self, path: Path) -> Path | None:
        """The sound to lay below it: the chosen one, or the one beside the file, if it is wanted."""
        from ..avatar import sound_beside

        if not self.use_sound:
            return None
        return Path(bpy.path.abspath(self.sound)) if self.sound else sound_beside(path)


class LOOKALIKE_OT_track_video(_Keying, Operator):
    """Track the face in a video of your own at the backend and key it on the avatar; Blender stays free to work in while it runs"""

    bl_idname = "lookalike.track_video"
    bl_label = "Track Video"
    bl_options = {"REGISTER", "PRESET"}

    filter_glob: StringProperty(default=";".join(f"*{suffix}" for suffix in VIDEO_SUFFIXES), options={"HIDDEN"})
    face: IntProperty(
        name="Face", description="Which face, counted from the left from 0; -1 asks where there are several", default=-1, min=-1, max=63
    )

    def draw_source(self, layout: bpy.types.UILayout) -> None:
        layout.prop(self, "face")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        path = self.paths()[0]
        face = self.face if self.face >= 0 else None
        wait = bpy.app.background  # a script without a window has nothing else to do, and no timers
        job = api.track_video(path, self.chosen(), face=face, sound=self.use_sound, wait=wait, **self.keying())
        if wait:
            return self.tell_report(path, job.report)
        return self.tell("Tracking {name}: progress and Cancel are in the panel", name=path.name)


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_motion.bl_idname, text="Lookalike Motion (.csv, .json, .npz, .pkl, .motion, .tsv)")


CLASSES = (LOOKALIKE_OT_import_motion, LOOKALIKE_OT_track_video)
