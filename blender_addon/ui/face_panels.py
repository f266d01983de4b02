"""The face board in the sidebar: head and eyes, expressions and ARKit's shapes in groups, presets, and motion from files."""

from __future__ import annotations

import re

import bpy
from bpy.types import Panel

from ..motion.visemes import EMOTIONS, LIDS, VISEMES
from ..translations import CONTEXT, said
from .avatar_panels import ActiveAvatarPanel, active
from .create_panel import draw_job
from .expression_groups import grouped, readable, rows
from .properties import session
from .wrapping import draw_wrapped

OPEN_AT_FIRST = {"eyes", "mouth"}
SELECT = "RESTRICT_SELECT_OFF"


NARROW = 250
"""Pixels of the sidebar, at scale 1, below which names and sliders are laid under one another."""


def is_narrow(context: bpy.types.Context) -> bool:
    """True where the sidebar has no room for two things in a row."""
    return context.region is not None and context.region.width < NARROW * (context.preferences.system.ui_scale or 1.0)


def _beside(layout: bpy.types.UILayout, context: bpy.types.Context) -> tuple[bpy.types.UILayout, bpy.types.UILayout]:
    """Where a heading goes, and its sliders: beside it, or below it in a narrow sidebar."""
    if is_narrow(context):
        column = layout.column(align=True)
        return column, column
    split = layout.split(factor=0.34)
    return split.column(), split.column(align=True)


class LOOKALIKE_PT_pose(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_pose"
    bl_label = "Head and Eyes"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        reset = self.layout.operator("lookalike.reset_pose", text="", icon="LOOP_BACK", emboss=False)
        reset.expressions, reset.bones = False, True

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import bone_controls, gaze_bones

        avatar = active(context)
        for heading, controls in bone_controls(avatar):
            button, column = _beside(self.layout, context)
            button.operator("lookalike.select_bone", text=said(heading), translate=False).bone = controls[0][0].name
            for bone, axis, label in controls:
                row = column.row(align=True)
                row.prop(bone, "rotation_euler", index=axis, text=said(label), translate=False)
                row.prop_decorator(bone, "rotation_euler", index=axis)
        bones = gaze_bones(avatar)
        if bones:
            button, column = _beside(self.layout, context)
            button.operator("lookalike.select_bone", text="Gaze").bone = bones[0].name
            row = column.row(align=True)
            row.prop(bones[0], '["follow"]', text="Follow", slider=True)
            row.prop_decorator(bones[0], '["follow"]')


class LOOKALIKE_PT_expressions(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_expressions"
    bl_label = "Face"
    bl_translation_context = CONTEXT

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        layer = session(context).face_layer
        row = self.layout.row(align=True)
        row.operator("lookalike.copy_face", text="", icon="COPYDOWN", emboss=False)
        row.operator("lookalike.paste_face", text="", icon="PASTEDOWN", emboss=False).flipped = False
        row.operator("lookalike.paste_face", text="", icon="PASTEFLIPDOWN", emboss=False).flipped = True
        row.operator("lookalike.flip_face", text="", icon="ARROW_LEFTRIGHT", emboss=False).layer = layer
        row.operator("lookalike.key_controls", text="", icon="KEYINGSET", emboss=False).layer = layer
        row.operator("lookalike.reset_controls", text="", icon="LOOP_BACK", emboss=False).layer = layer

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import armature_of, expression_channels, has_board, moved_by

        layout, avatar, state = self.layout, active(context), session(context)
        board = has_board(armature_of(avatar))
        if board:
            self._draw_layers(layout, state, armature_of(avatar))
        else:
            draw_wrapped(layout, context, "From an older file: its sliders cannot be pose assets, and ARKit's shapes are missing", "INFO")
            layout.operator("lookalike.add_controls", icon="ARMATURE_DATA")
        bar = layout.row(align=True)
        bar.prop(state, "expression_filter", text="", icon="VIEWZOOM", placeholder=said("Filter"))
        mirror = bar.row(align=True)
        mirror.enabled = board and state.face_layer == "face"  # ARKit's shapes are the two sides of a capture
        mirror.prop(state, "symmetric", text="", icon="MOD_MIRROR")
        channels = expression_channels(avatar, state.face_layer if board else "face")
        groups = grouped(channels, state.expression_filter)
        if not groups:
            missing = "This avatar has no expressions"
            if state.expression_filter:
                missing = said("No expression is called “{text}”", text=state.expression_filter)
            draw_wrapped(layout, context, missing)
        moved = moved_by(avatar) if state.face_layer == "face" else {}
        for identifier, label, names in groups:
            lines = [[(name, channels[name], moved.get(name, [])) for name in line] for line in rows(names, state.symmetric and board)]
            self._draw_group(identifier, label, lines, opened=bool(state.expression_filter))

    def _draw_layers(self, layout: bpy.types.UILayout, state: bpy.types.PropertyGroup, armature: bpy.types.Object) -> None:
        row = layout.row(align=True)
        row.prop(state, "face_layer", expand=True)
        row.operator("lookalike.select_bone", text="", icon=SELECT).bone = state.face_layer
        if state.face_layer == "arkit":
            row = layout.row(align=True)
            row.prop(armature.pose.bones["arkit"], '["weight"]', text="Layer Weight", slider=True)
            row.prop_decorator(armature.pose.bones["arkit"], '["weight"]')

    def _draw_group(self, identifier: str, label: str, lines: list, opened: bool) -> None:
        state = session(bpy.context)
        header, body = self.layout.panel(f"LOOKALIKE_face_{identifier}", default_closed=identifier not in OPEN_AT_FIRST)
        header.label(text=said(label), translate=False)
        tools = header.row(align=True)
        tooltips = (
            ("mute_controls", "HIDE_OFF"), ("flip_face", "ARROW_LEFTRIGHT"), ("key_controls", "KEYINGSET"), ("reset_controls", "LOOP_BACK"),
        )  # fmt: skip
        for operator, icon in tooltips:
            if operator != "mute_controls" or state.face_layer == "face":
                button = tools.operator(f"lookalike.{operator}", text="", icon=icon, emboss=False)
                button.layer, button.group = state.face_layer, identifier
        if body is None and opened:
            body = self.layout
        if body is None:
            return
        column = body.column(align=True)
        if any(len(line) == 2 for line in lines) and not is_narrow(bpy.context):
            heading = column.split(factor=0.34)
            heading.label(text="")
            sides = heading.row()
            for side in ("Left", "Right"):
                sides.label(text=side)
        for line in lines:
            self._draw_line(column, line)

    def _draw_line(self, column: bpy.types.UILayout, line: list) -> None:
        """One slider with its name in it, or the name and a slider for each side; then a dot that keys, and an eye that mutes."""
        narrow = is_narrow(bpy.context)
        if len(line) == 1 or narrow:
            for name, channel, keys in line:
                row = column.row(align=True)
                shown = readable(name) if len(line) == 1 else re.sub(r" (L|R)\w+$", r" \1", readable(name))
                _draw_slider(row, name, channel, keys, said(shown), with_eye=not narrow)
            return
        split = column.split(factor=0.34, align=True)
        split.label(text=said(readable(line[0][0]).removesuffix(" Left")), translate=False)
        sides = split.row(align=True)
        for name, channel, keys in line:
            _draw_slider(sides, name, channel, keys, "", with_eye=False)


def _draw_slider(row: bpy.types.UILayout, name: str, channel: tuple, keys: list, text: str, with_eye: bool) -> None:
    """A control; greyed and with a closed eye where what it moves is muted."""
    muted = bool(keys) and all(key.mute for key in keys)
    slider = row.row(align=True)
    slider.active = not muted
    slider.prop(channel.holder, channel.path, text=text, slider=True, translate=False)
    slider.prop_decorator(channel.holder, channel.path)
    if keys and (with_eye or muted):
        button = row.operator("lookalike.mute_controls", text="", icon="HIDE_ON" if muted else "HIDE_OFF", emboss=False)
        button.control = name


class LOOKALIKE_PT_presets(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_presets"
    bl_label = "Presets"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        from ..avatar import own_presets

        layout, state = self.layout, session(context)
        row = layout.row(align=True)
        row.prop(state, "preset_strength", slider=True)
        row.prop(state, "preset_key", text="", icon="REC")
        for label, prefix, presets, columns in (
            ("Emotions", "emotion_", EMOTIONS, 2),
            ("Eyelids", "lids_", LIDS, 2),
            ("Visemes", "viseme_", VISEMES, 3),
        ):
            layout.label(text=label)
            grid = layout.grid_flow(row_major=True, columns=columns, even_columns=True, align=True)
            for key, preset in presets.items():
                button = grid.operator("lookalike.apply_preset", text=said(preset.label), translate=False)
                button.preset, button.strength, button.key = prefix + key, state.preset_strength, state.preset_key
        row = layout.row()
        row.label(text="Own")
        row.operator("lookalike.save_preset", text="", icon="ADD")
        grid = layout.grid_flow(row_major=True, columns=3, even_columns=True, align=False)
        for action in own_presets():
            _draw_own(grid.column(align=True), action, state.preset_strength)


def _draw_own(cell: bpy.types.UILayout, action: bpy.types.Action, strength: float) -> None:
    """A pose of the user's: its picture, a button that applies it, and one for its mirror image."""
    if action.preview is not None and action.preview.icon_id:
        cell.template_icon(icon_value=action.preview.icon_id, scale=4.0)
    row = cell.row(align=True)
    for text, icon, flipped in ((action.name, "NONE", False), ("", "ARROW_LEFTRIGHT", True)):
        button = row.operator("lookalike.apply_own_preset", text=text, icon=icon, translate=False)
        button.action, button.strength, button.flipped = action.name, strength, flipped


class LOOKALIKE_PT_motion(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_motion"
    bl_label = "Motion"
    bl_translation_context = CONTEXT

    def draw(self, context: bpy.types.Context) -> None:
        layout, state = self.layout, session(context)
        column = layout.column(align=True)
        column.operator("lookalike.import_motion", text="Import Motion...", icon="IMPORT")
        column.operator("lookalike.track_video", text="Track Video...", icon="FILE_MOVIE")
        for job in state.jobs:
            if job.kind == "TRACK":
                draw_job(layout.box(), context, job)
        header, body = layout.panel("LOOKALIKE_live", default_closed=True)
        header.label(text="Live Link Face")
        if body is None:
            return
        from ..live import stream

        recorded = stream.recording()
        if stream.running():
            row = body.row(align=True)
            if recorded is None:
                row.operator("lookalike.record_live", text="Record", icon="REC")
            else:
                label = said("Key {count} Frames", count=recorded)
                row.operator("lookalike.record_live", text=label, icon="KEYINGSET", depress=True, translate=False)
            row.operator("lookalike.stop_live", text="", icon="CANCEL")
        else:
            column = body.column(align=True)
            column.prop(state, "live_from", text="")
            column.prop(state, "live_port")
            body.operator("lookalike.start_live", text="Listen", icon="PLAY")
        draw_wrapped(body, context, stream.status(), "INFO")


CLASSES = (LOOKALIKE_PT_pose, LOOKALIKE_PT_expressions, LOOKALIKE_PT_presets, LOOKALIKE_PT_motion)
