"""The active avatar's likeness: photos or a video that refine it, the job at work with its curve, and the adapters that came of it."""

from __future__ import annotations

import bpy
from bpy.types import Menu, Panel, UIList

from ..client import personalizing, tracking
from ..translations import said
from . import choices, curve_picture
from .avatar_panels import ActiveAvatarPanel, active
from .create_panel import draw_job
from .properties import LOOKALIKE_PG_job, is_active, session
from .wrapping import draw_wrapped

BUILTIN_RIG = "lookalike-head-"
KINDS = {"photometric": "Refinement", "ffavatar": "Network", "registers": "LoRA + Registers", "lora": "LoRA"}
"""Kind of an adapter -> its method, as the panel calls it."""


class LOOKALIKE_UL_person_photos(UIList):
    """Photos, or a video, of the avatar's person"""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0) -> None:
        row = layout.row(align=True)
        video = item.name.lower().endswith(tracking.VIDEO_SUFFIXES)
        row.label(text=item.name, icon="FILE_MOVIE" if video else "IMAGE_DATA", translate=False)
        row.operator("lookalike.remove_person_photo", text="", icon="X", emboss=False).index = index


class LOOKALIKE_MT_personalize(Menu):
    bl_idname = "LOOKALIKE_MT_personalize"
    bl_label = "Personalize"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator_context = "INVOKE_DEFAULT"
        layout.operator("lookalike.personalize", icon="USER")
        layout.operator("lookalike.add_person_photos", text="Add Photos or a Video...", icon="ADD")
        layout.operator("lookalike.stop_personalizing", icon="SNAP_FACE")
        layout.separator()
        layout.operator("lookalike.switch_adapter", icon="CHECKBOX_HLT")
        layout.operator("lookalike.merge_adapter")
        layout.operator("lookalike.remove_adapter", icon="X")
        layout.operator("lookalike.save_adapter", text="Save Adapter...", icon="FILE_TICK")
        layout.operator("lookalike.load_adapter", text="Load Adapter...", icon="FILE_FOLDER")


class LOOKALIKE_PT_personalize(ActiveAvatarPanel, Panel):
    bl_idname = "LOOKALIKE_PT_personalize"
    bl_label = "Personalize"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        from ..adapters import listed

        layout, avatar = self.layout, active(context)
        jobs = personalizing.jobs_of(avatar)
        if avatar.library is not None or avatar.override_library is not None:
            draw_wrapped(layout, context, "Linked avatars are personalized in the file they come from", "LINKED")
        elif not any(is_active(job) for job in jobs):
            _draw_wish(layout, context, avatar)
        for job in jobs:
            _draw_job(layout.box(), context, job)
        adapters = listed(avatar)
        if adapters:
            _draw_adapters(layout, context, avatar, adapters)
        elif avatar.library is None:
            layout.operator("lookalike.load_adapter", text="Load Adapter...", icon="FILE_FOLDER")


def _draw_wish(layout: bpy.types.UILayout, context: bpy.types.Context, avatar: bpy.types.Collection) -> None:
    state = session(context)
    own = [] if state.person_photos else personalizing.own_photos(avatar)
    row = layout.row()
    rows = max(2, min(5, len(state.person_photos)))
    row.template_list("LOOKALIKE_UL_person_photos", "", state, "person_photos", state, "person_photo_index", rows=rows, sort_lock=True)
    column = row.column(align=True)
    column.operator("lookalike.add_person_photos", text="", icon="ADD")
    column.operator("lookalike.clear_person_photos", text="", icon="TRASH")
    if own:
        draw_wrapped(
            layout, context, said("Uses its own photo unless you add others: {names}", names=", ".join(p.name for p in own)), "INFO"
        )
    elif not state.person_photos:
        draw_wrapped(layout, context, "Add photos or a video of this person", "INFO")
    column = layout.column()
    column.prop(state, "personalize_consent", text="", placeholder="Consent: who allowed this likeness", icon="GREASEPENCIL")
    settings = layout.column()
    settings.use_property_split, settings.use_property_decorate = True, False
    settings.prop(state, "personalize_method")
    settings.prop(state, "personalize_steps")
    if not avatar.lookalike.rig_id.startswith(BUILTIN_RIG):
        settings.prop(state, "rig_file", text="Its Head's File")
    method = personalizing.method_of(avatar, choices.chosen_method(state))
    _draw_needs(layout, context, method)
    if method == personalizing.OF_THE_FILE:
        return
    row = layout.row()
    row.scale_y = 1.5
    count = len(state.person_photos) or len(own)
    label = said("Personalize with {count} Files", count=count) if count > 1 else said("Personalize")
    row.operator("lookalike.personalize", text=label, icon="USER", translate=False)


def _draw_needs(layout: bpy.types.UILayout, context: bpy.types.Context, method: str) -> None:
    """What the method needs and does, in words."""
    if method == "refine":
        text = (
            "One photo sharpens what it shows. Four or more also correct colours and shape, and some are held out to judge. "
            "A video gives up to 24. Where held-out pixels get no better, the avatar stays as it is."
        )
    elif method == "tune":
        text = (
            "FFAvatar's network goes on learning from what only the avatar's file holds: personalize that on the command line "
            "(lookalike personalize), and import the result."
        )
    elif method in ("registers", "lora"):
        text = (
            "Adapts GAGAvatar's network: needs its weights at the backend (lookalike models add), your FLAME file, "
            "and two photos or more, its own among them. Minutes on a GPU, hours without."
        )
    else:
        text = "The model that made this avatar has no way to personalize it"
    draw_wrapped(layout, context, text)


def _draw_job(box: bpy.types.UILayout, context: bpy.types.Context, job: LOOKALIKE_PG_job) -> None:
    draw_job(box, context, job)
    if job.state == "CANCELLING":
        draw_wrapped(box, context, "Keeping the best so far. Cancel again to drop it")
    curve = curve_picture.icon(job.name)
    if curve:
        width = context.region.width / (context.preferences.system.ui_scale or 1.0)
        box.template_icon(icon_value=curve, scale=max(5.0, min(14.0, width / 20 - 4)))


def _draw_adapters(layout: bpy.types.UILayout, context: bpy.types.Context, avatar: bpy.types.Collection, adapters: list) -> None:
    """A row for each adapter: on or off, its name, what it gains, and what can be done with it."""
    box = layout.box()
    row = box.row()
    row.label(text="Adapters")
    row.operator("lookalike.load_adapter", text="", icon="FILE_FOLDER", emboss=False)
    for adapter in adapters:
        column = box.column(align=True)
        row = column.row(align=True)
        switch = row.operator(
            "lookalike.switch_adapter", text="", icon="CHECKBOX_HLT" if adapter.enabled else "CHECKBOX_DEHLT", emboss=False
        )
        switch.adapter, switch.state = adapter.name, "OFF" if adapter.enabled else "ON"
        name = row.row()
        name.active = adapter.enabled
        name.label(text=adapter.name, translate=False)
        for operator, icon in (("merge_adapter", "AUTOMERGE_ON"), ("save_adapter", "FILE_TICK"), ("remove_adapter", "X")):
            row.operator(f"lookalike.{operator}", text="", icon=icon, emboss=False).adapter = adapter.name
        kind = said(KINDS.get(adapter.kind, adapter.kind))
        gain = "" if adapter.gain is None else f"{adapter.gain:+.2f} dB  "
        facts = column.row()
        facts.active = adapter.enabled
        facts.label(text=f"{gain}{kind}", icon="BLANK1", translate=False)


CLASSES = (LOOKALIKE_UL_person_photos, LOOKALIKE_MT_personalize, LOOKALIKE_PT_personalize)
