"""The Lookalike menu and its parts. F3 searches menus, so every operator that a user may call stands in one of them."""

from __future__ import annotations

import bpy
from bpy.types import Menu

from ..editing.tools import BOX, BRUSH, LASSO
from ..translations import CONTEXT
from .avatar_panels import LOOKALIKE_MT_avatar
from .personalize_panel import LOOKALIKE_MT_personalize


class LOOKALIKE_MT_own_presets(Menu):
    bl_idname = "LOOKALIKE_MT_own_presets"
    bl_label = "Apply Own Preset"

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import own_presets

        actions = own_presets()
        if not actions:
            self.layout.label(text="No pose of your own is saved yet")
        for action in actions:
            self.layout.operator("lookalike.apply_own_preset", text=action.name, translate=False).action = action.name


class LOOKALIKE_MT_face(Menu):
    bl_idname = "LOOKALIKE_MT_face"
    bl_label = "Face"
    bl_translation_context = CONTEXT

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator_menu_enum("lookalike.apply_preset", "preset")
        layout.menu(LOOKALIKE_MT_own_presets.bl_idname)
        layout.operator("lookalike.save_preset", text="Save Face as Pose Asset...")
        layout.separator()
        layout.operator("lookalike.copy_face", icon="COPYDOWN")
        layout.operator("lookalike.paste_face", icon="PASTEDOWN").flipped = False
        layout.operator("lookalike.paste_face", text="Paste Face Flipped", icon="PASTEFLIPDOWN").flipped = True
        layout.operator("lookalike.flip_face", icon="ARROW_LEFTRIGHT")
        layout.separator()
        layout.operator("lookalike.key_controls", icon="KEYINGSET")
        layout.operator("lookalike.reset_controls")
        layout.operator("lookalike.mute_controls")
        layout.operator("lookalike.reset_pose", icon="LOOP_BACK")
        layout.operator("lookalike.add_controls")


class LOOKALIKE_MT_motion(Menu):
    bl_idname = "LOOKALIKE_MT_motion"
    bl_label = "Motion"
    bl_translation_context = CONTEXT

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("lookalike.import_motion", text="Import Motion...", icon="IMPORT")
        layout.operator("lookalike.track_video", text="Track Video...", icon="FILE_MOVIE")
        layout.operator("lookalike.key_performance")
        layout.operator("lookalike.export_motion", text="Export Motion...", icon="EXPORT")
        layout.separator()
        layout.operator("lookalike.start_live")
        layout.operator("lookalike.record_live", icon="REC")
        layout.operator("lookalike.stop_live")


class LOOKALIKE_MT_splats(Menu):
    bl_idname = "LOOKALIKE_MT_splats"
    bl_label = "Edit Splats"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        for tool, label in ((BRUSH, "Splat Brush"), (BOX, "Splat Box"), (LASSO, "Splat Lasso")):
            layout.operator("wm.tool_set_by_id", text=label).name = tool
        layout.separator()
        layout.operator_menu_enum("lookalike.hide_region", "region")
        layout.operator("lookalike.show_hidden")
        layout.operator("lookalike.remove_hidden")
        layout.operator("lookalike.reset_edits")
        layout.operator_menu_enum("lookalike.mirror_repair", "good_side")
        layout.separator()
        layout.operator("lookalike.attach_to_head")
        layout.operator("lookalike.detach_from_head")
        layout.operator("lookalike.rebind")
        layout.operator("lookalike.make_native")


class LOOKALIKE_MT_render(Menu):
    bl_idname = "LOOKALIKE_MT_render"
    bl_label = "Look and Render"

    def draw(self, context: bpy.types.Context) -> None:
        from ..rendering import native_splats

        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("lookalike.reset_look", icon="LOOP_BACK")
        native = layout.column()
        native.enabled = native_splats()  # elsewhere the look is always shown
        native.operator("lookalike.use_look").use = True
        native.operator("lookalike.use_look", text="As Blender Shows Splats").use = False
        layout.separator()
        layout.operator_menu_enum("lookalike.set_lod", "level")
        layout.operator("lookalike.import_refined", text="Import Refined Frames...", icon="IMAGE_BACKGROUND")
        layout.operator("lookalike.set_up_layers", icon="RENDERLAYERS")
        layout.operator("lookalike.make_render_ready", icon="RENDER_ANIMATION")


class LOOKALIKE_MT_tools(Menu):
    """All that Lookalike does with the active avatar, for the Object and Pose menus, the context menu and its own key"""

    bl_idname = "LOOKALIKE_MT_tools"
    bl_label = "Lookalike"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("lookalike.import_avatar", text="Import Avatar...", icon="IMPORT")
        layout.operator("lookalike.select_avatar", icon="RESTRICT_SELECT_OFF")
        layout.separator()
        for menu in (
            LOOKALIKE_MT_face, LOOKALIKE_MT_motion, LOOKALIKE_MT_personalize, LOOKALIKE_MT_splats, LOOKALIKE_MT_render, LOOKALIKE_MT_avatar
        ):  # fmt: skip
            layout.menu(menu.bl_idname)
        layout.separator()
        layout.operator("lookalike.mark_asset", icon="ASSET_MANAGER")
        layout.operator("lookalike.export_avatar", text="Export Avatar...")
        layout.operator("lookalike.export_splats", text="Export Gaussian Splats...")
        layout.operator("lookalike.export_gltf", text="Export Avatar as glTF...")
        layout.operator("lookalike.export_lam", text="Export Avatar for the Web (LAM)...")


CLASSES = (
    LOOKALIKE_MT_own_presets,
    LOOKALIKE_MT_face,
    LOOKALIKE_MT_motion,
    LOOKALIKE_MT_splats,
    LOOKALIKE_MT_render,
    LOOKALIKE_MT_tools,
)
