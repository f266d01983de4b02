"""What is done to an avatar that stands in the file."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty
from bpy.types import Operator

from .. import api
from .base import OnAvatar
from .reporting import reported


class LOOKALIKE_OT_copy_provenance(OnAvatar, Operator):
    """Copy where the avatar comes from, whole and as JSON: photos with their hashes, model, licences, consent"""

    bl_idname = "lookalike.copy_provenance"
    bl_label = "Copy Provenance"
    bl_options = {"INTERNAL"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = self.chosen().lookalike.provenance
        return self.tell("Provenance copied")


class LOOKALIKE_OT_retry_drawing(Operator):
    """Draw avatars in the viewport again after an error"""

    bl_idname = "lookalike.retry_drawing"
    bl_label = "Draw Again"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        from ..viewport import retry

        retry()
        return {"FINISHED"}


class LOOKALIKE_OT_select_avatar(OnAvatar, Operator):
    """Select the avatar and make its rig the active object"""

    bl_idname = "lookalike.select_avatar"
    bl_label = "Select Avatar"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.select_avatar(self.chosen())
        return {"FINISHED"}


class LOOKALIKE_OT_duplicate_avatar(OnAvatar, Operator):
    """Make an independent copy of the avatar, with its pose and animation"""

    bl_idname = "lookalike.duplicate_avatar"
    bl_label = "Duplicate Avatar"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        copy = api.duplicate_avatar(self.chosen())
        return self.tell("Created {name}", name=copy.name)


class LOOKALIKE_OT_delete_avatar(OnAvatar, Operator):
    """Delete the avatar with its rig and splats from the file"""

    bl_idname = "lookalike.delete_avatar"
    bl_label = "Delete Avatar"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        avatar = self.chosen()
        name = avatar.name
        api.delete_avatar(avatar)
        return self.tell("Deleted {name}", name=name)


class LOOKALIKE_OT_reset_pose(OnAvatar, Operator):
    """Return expressions and bones to the neutral face; keyframes stay"""

    bl_idname = "lookalike.reset_pose"
    bl_label = "Reset Pose"
    bl_options = {"REGISTER", "UNDO"}

    expressions: BoolProperty(name="Expressions", description="Set every expression to zero", default=True)
    bones: BoolProperty(name="Bones", description="Return neck, jaw and eyes to rest", default=True)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.reset_pose(self.chosen(), expressions=self.expressions, bones=self.bones)
        return {"FINISHED"}


class LOOKALIKE_OT_set_lod(OnAvatar, Operator):
    """Choose the avatar's level of detail"""

    bl_idname = "lookalike.set_lod"
    bl_label = "Set Level of Detail"
    bl_options = {"REGISTER", "UNDO"}

    level: EnumProperty(
        name="Level",
        description="Level of detail that is drawn",
        items=(
            ("AUTO", "Auto", "By the avatar's size on the screen"),
            ("0", "0", "Coarse: one splat a vertex of the rig"),
            ("1", "1", "Medium"),
            ("2", "2", "Fine"),
        ),
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        api.set_lod(self.chosen(), None if self.level == "AUTO" else int(self.level))
        return {"FINISHED"}


class LOOKALIKE_OT_key_performance(OnAvatar, Operator):
    """Key a short performance that shows what the avatar can do: turn, smile, blink, jaw, brows and gaze"""

    bl_idname = "lookalike.key_performance"
    bl_label = "Key Demo Performance"
    bl_options = {"REGISTER", "UNDO"}

    start: IntProperty(name="First Frame", description="Frame of the first key", default=1, min=0, max=1_000_000)
    frames: IntProperty(name="Length", description="Number of frames", default=80, min=20, max=10_000)

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        first, last = api.key_performance(self.chosen(), self.start, self.frames)
        return self.tell("Keyed frames {first} to {last}", first=first, last=last)


CLASSES = (
    LOOKALIKE_OT_select_avatar,
    LOOKALIKE_OT_duplicate_avatar,
    LOOKALIKE_OT_delete_avatar,
    LOOKALIKE_OT_reset_pose,
    LOOKALIKE_OT_set_lod,
    LOOKALIKE_OT_key_performance,
    LOOKALIKE_OT_copy_provenance,
    LOOKALIKE_OT_retry_drawing,
)
