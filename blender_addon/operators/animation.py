"""Posing and keying the face: presets, groups of controls, mirror, clipboard, selecting bones."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, StringProperty
from bpy.types import Operator

from .. import api
from ..motion.visemes import PRESETS
from ..translations import said
from ..ui.expression_groups import group_label
from .base import CANCELLED, FINISHED, OnAvatar
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
        if api.add_controls(avatar):
            return self.tell("{name} has its face controls", name=avatar.name)
        self.tell("{name} has face controls already", name=avatar.name)
        return CANCELLED


class LOOKALIKE_OT_select_bone(OnAvatar, Operator):
    """Select this bone in Pose Mode; Shift-click adds it to the selection"""

    bl_idname = "lookalike.select_bone"
    bl_label = "Select Bone"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}  # the board's buttons know which

    bone: StringProperty(name="Bone", description="Name of the bone")
    extend: BoolProperty(name="Extend", description="Keep what is selected", default=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.extend = event.shift
        return self.execute(context)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.select_bone(self.chosen(), self.bone, self.extend)
        return FINISHED


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
        return self.tell("Keyed {count} controls at frame {frame}", count=count, frame=context.scene.frame_current)


class LOOKALIKE_OT_reset_controls(_OnControls, Operator):
    """Set these controls to zero; keyframes stay"""

    bl_idname = "lookalike.reset_controls"
    bl_label = "Reset Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.reset_controls(self.chosen(), self.layer, self.group)
        return FINISHED


class LOOKALIKE_OT_mute_controls(_OnControls, Operator):
    """Switch what these controls move off or on again, whatever they stand at"""

    bl_idname = "lookalike.mute_controls"
    bl_label = "Mute Face Controls"
    bl_options = {"REGISTER", "UNDO"}

    control: StringProperty(name="Control", description="One control; empty for the whole group", options={"SKIP_SAVE"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        muted = api.mute_controls(self.chosen(), self.group, self.control)
        what = self.control or said(group_label(self.group))
        return self.tell("Muted {what}" if muted else "Unmuted {what}", what=what)


class LOOKALIKE_OT_flip_face(_OnControls, Operator):
    """Mirror the face: what the left side does, the right side does, with head, eyes and gaze; or one part of the face alone"""

    bl_idname = "lookalike.flip_face"
    bl_label = "Flip Face"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.flip_face(self.chosen(), self.layer, self.group)
        return FINISHED


class LOOKALIKE_OT_copy_face(OnAvatar, Operator):
    """Copy face, head, eyes and gaze as they stand, to paste them at another frame, on another avatar or in another Blender"""

    bl_idname = "lookalike.copy_face"
    bl_label = "Copy Face"
    bl_options = {"REGISTER"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.copy_face(self.chosen())
        return self.tell("Face copied")


class LOOKALIKE_OT_paste_face(OnAvatar, Operator):
    """Paste the copied face; what the avatar does not have is left out"""

    bl_idname = "lookalike.paste_face"
    bl_label = "Paste Face"
    bl_options = {"REGISTER", "UNDO"}

    flipped: BoolProperty(name="Flipped", description="Paste its mirror image", default=False, options={"SKIP_SAVE"})
    strength: FloatProperty(name="Strength", description="How much of it", default=1.0, min=0.0, max=1.0, subtype="FACTOR")

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        return said("Paste the mirror image of the copied face") if properties.flipped else said(cls.__doc__)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.paste_face(self.chosen(), self.flipped, self.strength)
        return FINISHED


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
        label = said(PRESETS[properties.preset].label)
        return said("Set the face to “{name}”; Adjust Last Operation changes how much, and keys it", name=label)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.apply_preset(self.chosen(), self.preset, self.strength, self.key)
        return FINISHED


class LOOKALIKE_OT_apply_own_preset(_Preset, Operator):
    """Set face, head and eyes to this pose of yours, or blend towards it"""

    bl_idname = "lookalike.apply_own_preset"
    bl_label = "Apply Own Preset"
    bl_options = {"REGISTER", "UNDO"}

    action: StringProperty(name="Pose", description="Name of the pose asset")
    flipped: BoolProperty(name="Flipped", description="Take its mirror image", default=False, options={"SKIP_SAVE"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.apply_own_preset(self.chosen(), self.action, self.strength, self.flipped)
        return FINISHED


class LOOKALIKE_OT_save_preset(OnAvatar, Operator):
    """Save face, head and eyes as they stand as a pose asset: it appears here and in the asset browser and shelf"""

    bl_idname = "lookalike.save_preset"
    bl_label = "Save Face as Pose Asset"
    bl_options = {"REGISTER", "UNDO"}

    asset_name: StringProperty(name="Name", description="Name of the pose asset", default="Face", maxlen=60)
    mirrored: BoolProperty(
        name="With Mirror Image",
        description="Save its mirror image as a second asset: Flip of Blender's pose library swaps bones, but not the sides of sliders",
        default=False,
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_props_dialog(self)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        action = api.save_preset(avatar, self.asset_name)
        if self.mirrored:
            api.save_preset(avatar, said("{name}, mirrored", name=action.name), flipped=True)
        return self.tell("Saved pose asset “{name}”; it is kept with this file", name=action.name)


CLASSES = (
    LOOKALIKE_OT_add_controls,
    LOOKALIKE_OT_select_bone,
    LOOKALIKE_OT_key_controls,
    LOOKALIKE_OT_reset_controls,
    LOOKALIKE_OT_mute_controls,
    LOOKALIKE_OT_flip_face,
    LOOKALIKE_OT_copy_face,
    LOOKALIKE_OT_paste_face,
    LOOKALIKE_OT_apply_preset,
    LOOKALIKE_OT_apply_own_preset,
    LOOKALIKE_OT_save_preset,
)
