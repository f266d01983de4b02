"""Posing and keying the face: presets, groups of controls, selecting bones, and motion from files."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, FloatVectorProperty, StringProperty
from bpy.types import Operator, OperatorFileListElement
from bpy_extras.io_utils import ImportHelper

from .. import api
from ..motion.visemes import PRESETS
from .avatars import OnAvatar
from .reporting import reported

PRESET_ITEMS = tuple((key, preset.label, f"Set the face to “{preset.label}”") for key, preset in PRESETS.items())
LAYER_ITEMS = (
    ("face", "Face", "The rig's own expressions"),
    ("arkit", "ARKit", "ARKit's 52 shapes over the same rig; what is captured lies here, and work on the face adds to it"),
)


class LOOKALIKE_OT_add_controls(OnAvatar, Operator):
    """Give an avatar of an older file its face controls: bones with sliders that key, drive and make pose assets.
    Values and keys of its shape keys move there"""

    bl_idname = "lookalike.add_controls"
    bl_label = "Add Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        added = api.add_controls(avatar)
        self.report({"INFO"}, f"{avatar.name} {'has its face controls' if added else 'has face controls already'}")
        return {"FINISHED"} if added else {"CANCELLED"}


class LOOKALIKE_OT_select_bone(OnAvatar, Operator):
    """Select this bone in Pose Mode; Shift-click adds it to the selection"""

    bl_idname = "lookalike.select_bone"
    bl_label = "Select Bone"
    bl_options = {"REGISTER", "UNDO"}

    bone: StringProperty(name="Bone", description="Name of the bone")
    extend: BoolProperty(name="Extend", description="Keep what is selected", default=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.extend = event.shift
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.select_bone(self.chosen(), self.bone, self.extend)
        return {"FINISHED"}


class _OnControls(OnAvatar):
    """An operator on the controls of a layer, or of one of its groups."""

    layer: EnumProperty(name="Layer", description="Which controls", items=LAYER_ITEMS, options={"SKIP_SAVE"})
    group: StringProperty(name="Group", description="Part of the face, such as mouth or brows; empty for all", options={"SKIP_SAVE"})


class LOOKALIKE_OT_key_controls(_OnControls, Operator):
    """Insert a keyframe on these controls at the current frame"""

    bl_idname = "lookalike.key_controls"
    bl_label = "Key Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        count = api.key_controls(self.chosen(), self.layer, self.group)
        self.report({"INFO"}, f"Keyed {count} controls at frame {context.scene.frame_current}")
        return {"FINISHED"}


class LOOKALIKE_OT_reset_controls(_OnControls, Operator):
    """Set these controls to zero; keyframes stay"""

    bl_idname = "lookalike.reset_controls"
    bl_label = "Reset Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.reset_controls(self.chosen(), self.layer, self.group)
        return {"FINISHED"}


class LOOKALIKE_OT_mute_controls(_OnControls, Operator):
    """Switch what these controls move off or on again, whatever they stand at"""

    bl_idname = "lookalike.mute_controls"
    bl_label = "Mute Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        muted = api.mute_controls(self.chosen(), self.group)
        self.report({"INFO"}, f"{'Muted' if muted else 'Unmuted'} {self.group or 'the face'}")
        return {"FINISHED"}


class _Preset(OnAvatar):
    strength: FloatProperty(name="Strength", description="How much of it", default=1.0, min=0.0, soft_max=1.0, max=1.5, subtype="FACTOR")


class LOOKALIKE_OT_apply_preset(_Preset, Operator):
    """Set the part of the face that the preset owns; the rest stays as it is"""

    bl_idname = "lookalike.apply_preset"
    bl_label = "Apply Face Preset"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(name="Preset", description="Viseme, emotion or lids", items=PRESET_ITEMS)
    key: BoolProperty(name="Insert Keyframes", description="Key the controls that it sets at the current frame", default=False)

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return f"Set the face to “{PRESETS[properties.preset].label}”; Adjust Last Operation changes how much, and keys it"

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.apply_preset(self.chosen(), self.preset, self.strength, self.key)
        return {"FINISHED"}


class LOOKALIKE_OT_apply_own_preset(_Preset, Operator):
    """Set face, head and eyes to this pose of yours, or blend towards it"""

    bl_idname = "lookalike.apply_own_preset"
    bl_label = "Apply Own Preset"
    bl_options = {"REGISTER", "UNDO"}

    action: StringProperty(name="Pose", description="Name of the pose asset")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.apply_own_preset(self.chosen(), self.action, self.strength)
        return {"FINISHED"}


class LOOKALIKE_OT_save_preset(OnAvatar, Operator):
    """Save face, head and eyes as they stand as a pose asset: it appears here and in the asset browser and shelf"""

    bl_idname = "lookalike.save_preset"
    bl_label = "Save Face as Pose Asset"
    bl_options = {"REGISTER", "UNDO"}

    asset_name: StringProperty(name="Name", description="Name of the pose asset", default="Face", maxlen=60)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        action = api.save_preset(self.chosen(), self.asset_name)
        self.report({"INFO"}, f"Saved pose asset “{action.name}”; it is kept with this file")
        return {"FINISHED"}


class LOOKALIKE_OT_import_motion(OnAvatar, Operator, ImportHelper):
    """Key a captured performance: Live Link Face CSV, ARKit JSON, FLAME npz, pkl or folder, tracked video (.motion), or mouth cues"""

    bl_idname = "lookalike.import_motion"
    bl_label = "Import Motion"
    bl_options = {"REGISTER", "UNDO", "PRESET"}

    filename_ext = ""
    filter_glob: StringProperty(default="*.csv;*.json;*.npz;*.pkl;*.motion;*.tsv;*.xml", options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})

    start: FloatProperty(name="Start Frame", description="Frame of the take's first moment", default=1.0, step=100, precision=0)
    fps: FloatProperty(
        name="Source Frame Rate",
        description="Frames a second of the take; 0 goes by the file",
        default=0.0,
        min=0.0,
        max=1000.0,
        precision=2,
    )
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
    flame_map: StringProperty(
        name="FLAME Map",
        description="What `lookalike flame-map` made: FLAME's expressions on avatars that are not built on FLAME",
        subtype="FILE_PATH",
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
    coarticulation: FloatProperty(
        name="Coarticulation",
        description="Mouth cues: how much shapes flow into each other",
        default=1.0,
        min=0.0,
        max=2.0,
        subtype="FACTOR",
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory and self.files:  # dropped: the file is known
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split, layout.use_property_decorate = True, False
        for names in (("start", "fps"), ("gain", "smoothing", "tolerance"), ("layer", "to"), ("coarticulation",), ("flame_map",)):
            column = layout.column(align=True)
            for name in names:
                column.prop(self, name)
        layout.prop(self, "use_head")
        head = layout.column()
        head.enabled = self.use_head
        head.prop(self, "head")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        chosen = [Path(self.directory) / file.name for file in self.files if file.name]
        path = chosen[0] if chosen else Path(bpy.path.abspath(self.filepath))
        report = api.import_motion(path, self.chosen(), self.fps, self.flame_map, **self._options())
        for warning in report.warnings:
            self.report({"WARNING"}, f"{path.name}: {warning}")
        self.report({"INFO"}, report.summary())
        return {"FINISHED"}

    def _options(self) -> dict[str, object]:
        """As `avatar.TakeOptions` and `avatar.LipsyncOptions` together; each takes what it knows."""
        return {
            "start": self.start,
            "gain": self.gain,
            "smoothing": self.smoothing,
            "tolerance": self.tolerance,
            "angle_tolerance": 0.35 * self.tolerance,
            "head": tuple(self.head) if self.use_head else (0.0, 0.0, 0.0),
            "arkit_layer": self.layer == "arkit",
            "strip": self.to == "STRIP",
            "coarticulation": self.coarticulation,
        }


def draw_import(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
    """Entry of File > Import."""
    menu.layout.operator(LOOKALIKE_OT_import_motion.bl_idname, text="Lookalike Motion (.csv, .json, .npz, .pkl, .motion, .tsv)")


CLASSES = (
    LOOKALIKE_OT_add_controls,
    LOOKALIKE_OT_select_bone,
    LOOKALIKE_OT_key_controls,
    LOOKALIKE_OT_reset_controls,
    LOOKALIKE_OT_mute_controls,
    LOOKALIKE_OT_apply_preset,
    LOOKALIKE_OT_apply_own_preset,
    LOOKALIKE_OT_save_preset,
    LOOKALIKE_OT_import_motion,
)
