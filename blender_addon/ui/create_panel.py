"""The panel that turns photos into an avatar: photos, name, consent, Create, and the jobs under way."""

from __future__ import annotations

import bpy
from bpy.types import Panel, UIList

from ..client import backend
from ..translations import said
from .properties import LOOKALIKE_PG_job, is_active, session
from .wrapping import draw_wrapped


class LOOKALIKE_UL_photos(UIList):
    """Photos of one person"""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0) -> None:
        row = layout.row(align=True)
        row.label(text=item.name, icon="IMAGE_DATA", translate=False)
        if item.face >= 0:
            row.label(text=said("Face {number}", number=item.face + 1), icon="USER", translate=False)
        row.operator("lookalike.remove_photo", text="", icon="X", emboss=False).index = index


class SidebarPanel:
    """Where all panels of Lookalike live."""

    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Lookalike"


class LOOKALIKE_PT_create(SidebarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_create"
    bl_label = "Create Avatar"

    def draw(self, context: bpy.types.Context) -> None:
        layout, state = self.layout, session(context)
        _draw_photos(layout, context)
        column = layout.column()
        column.prop(state, "avatar_name", text="", placeholder="Name", icon="USER")
        column.prop(state, "consent", text="", placeholder="Consent: who allowed this likeness", icon="GREASEPENCIL")
        _draw_method(layout, context)
        row = layout.row()
        row.scale_y = 1.5
        count = len(state.photos)
        label = said("Create from {count} Photos", count=count) if count > 1 else said("Create")
        row.operator("lookalike.create", text=label, icon="OUTLINER_OB_ARMATURE", translate=False)
        if backend.error is not None and not backend.running and not any(job.error_code == "backend" for job in state.jobs):
            _draw_backend_error(layout.box(), context, str(backend.error))
        for job in state.jobs:
            if job.kind == "RECONSTRUCT":
                draw_job(layout.box(), context, job)


class LOOKALIKE_PT_backend(SidebarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_backend"
    bl_label = "Backend"
    bl_order = 100
    bl_options = {"DEFAULT_CLOSED"}

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        text, icon = backend.summary()
        row = self.layout.row()
        row.active = backend.connected
        row.label(text="" if context.region.width < 260 else said(text.split(" (")[0]), icon=icon, translate=False)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        text, icon = backend.summary()
        draw_wrapped(layout, context, text, icon)
        if backend.error is not None:
            draw_wrapped(layout, context, str(backend.error))
        row = layout.row(align=True)
        row.operator("lookalike.start_backend", text="Start", icon="PLAY")
        row.operator("lookalike.stop_backend", text="Stop", icon="SNAP_FACE")
        row = layout.row(align=True)
        row.operator("lookalike.open_log", icon="TEXT")
        row.operator("lookalike.open_preferences", text="", icon="PREFERENCES")


def _draw_photos(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    state = session(context)
    row = layout.row()
    rows = max(2, min(5, len(state.photos)))
    row.template_list("LOOKALIKE_UL_photos", "", state, "photos", state, "photo_index", rows=rows, sort_lock=True)
    column = row.column(align=True)
    column.operator("lookalike.add_photos", text="", icon="ADD")
    column.operator("lookalike.clear_photos", text="", icon="TRASH")
    if not state.photos:
        draw_wrapped(layout, context, "Add photos of one person, or drop them onto the viewport", "INFO")


def _draw_method(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    header, body = layout.panel("LOOKALIKE_method", default_closed=True)
    header.label(text="Method")
    if body is None:
        return
    body.use_property_split = True
    body.use_property_decorate = False
    body.prop(session(context), "model")
    rig = body.column()
    rig.active = not session(context).rig_file
    rig.prop(session(context), "rig")
    body.prop(session(context), "rig_file")
    if not backend.connected:
        draw_wrapped(body, context, "More choices appear once the backend runs", "INFO")


def _draw_backend_error(box: bpy.types.UILayout, context: bpy.types.Context, error: str) -> None:
    draw_wrapped(box, context, error, "ERROR")
    row = box.row(align=True)
    row.operator("lookalike.start_backend", text="Try Again", icon="FILE_REFRESH")
    row.operator("lookalike.open_preferences", text="Preferences", icon="PREFERENCES")


def draw_job(box: bpy.types.UILayout, context: bpy.types.Context, job: LOOKALIKE_PG_job) -> None:
    """A job's progress, question, warnings or error, with the buttons that answer."""
    if is_active(job):
        _draw_progress(box, job)
    elif job.state == "CHOOSING":
        _draw_face_choice(box, context, job)
    elif job.state == "WARNED":
        _draw_warnings(box, context, job)
    else:
        _draw_failure(box, context, job)


def _draw_progress(box: bpy.types.UILayout, job: LOOKALIKE_PG_job) -> None:
    row = box.row()
    row.label(text=job.avatar_name, icon="SORTTIME", translate=False)
    row.operator("lookalike.cancel_job", text="", icon="X").job = job.name
    stage = said(job.stage if job.state == "RUNNING" else job.bl_rna.properties["state"].enum_items[job.state].name)
    box.progress(factor=job.fraction, type="BAR", text=f"{stage}  {job.fraction:.0%}" if job.fraction else stage)
    if job.text:
        box.label(text=job.text, translate=False)


def _draw_face_choice(box: bpy.types.UILayout, context: bpy.types.Context, job: LOOKALIKE_PG_job) -> None:
    photo = job.photos[job.faces_photo]
    draw_wrapped(box, context, said("{name} shows {count} faces. Which one?", name=photo.name, count=len(job.faces)), "QUESTION")
    pictures = all(face.icon for face in job.faces)
    grid = box.grid_flow(columns=2 if pictures else 1, row_major=True, even_columns=True, align=not pictures)
    for face in job.faces:
        left, top, right, bottom = face.box
        text = face.place.capitalize() if pictures else f"{face.place.capitalize()}, {right - left:.0f} × {bottom - top:.0f} px"
        cell = grid.column(align=True)
        if pictures:
            cell.template_icon(icon_value=face.icon, scale=5.0)
        choice = cell.operator("lookalike.choose_face", text=text, icon="NONE" if pictures else "USER")
        choice.job, choice.face = job.name, face.number
    box.operator("lookalike.dismiss_error", text="Cancel", icon="X").job = job.name


def _draw_warnings(box: bpy.types.UILayout, context: bpy.types.Context, job: LOOKALIKE_PG_job) -> None:
    box.label(text=said("{name} is finished", name=job.avatar_name), icon="INFO", translate=False)
    draw_wrapped(box, context, job.error)
    box.operator("lookalike.dismiss_error", text="OK").job = job.name


def _draw_failure(box: bpy.types.UILayout, context: bpy.types.Context, job: LOOKALIKE_PG_job) -> None:
    box.label(text=job.avatar_name, icon="ERROR", translate=False)
    draw_wrapped(box, context, job.error[:1].upper() + job.error[1:] if job.error_code == "backend" else job.error)
    if job.remedy:
        draw_wrapped(box, context, job.remedy[:1].upper() + job.remedy[1:], "INFO")
    row = box.row(align=True)
    row.operator("lookalike.retry_job", icon="FILE_REFRESH").job = job.name
    row.operator("lookalike.dismiss_error", icon="X").job = job.name


CLASSES = (LOOKALIKE_UL_photos, LOOKALIKE_PT_create, LOOKALIKE_PT_backend)
