"""What the panel shows and edits before an avatar exists: photos, choices and running jobs.

Held by the window manager, so none of it is written into a .blend or undone; what must last is on the
avatar's own data-blocks (`blender_addon.avatar`).
"""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, CollectionProperty, EnumProperty, FloatProperty, IntProperty, PointerProperty, StringProperty
from bpy.types import PropertyGroup

from ..translations import CONTEXT
from . import avatar_list, choices

ACTIVE_STATES = {"STARTING", "QUEUED", "RUNNING", "CANCELLING"}

JOB_KINDS = (
    ("RECONSTRUCT", "Avatar", "An avatar is made from photos"),
    ("TRACK", "Motion", "A video is tracked, and its motion keyed on an avatar"),
    ("PERSONALIZE", "Likeness", "An avatar is refined by photos or a video of its person"),
)

PERSONALIZE_METHODS = (
    ("AUTO", "Automatic", "What fits the model that made the avatar"),
    ("refine", "Refinement", "The splats themselves are refined until they look like the photos"),
    ("tune", "Network", "The network that made the avatar goes on learning from these photos, and makes it anew"),
    ("registers", "LoRA + Registers", "The network that made the avatar learns small factors, helped by registers, and makes it anew"),
    ("lora", "LoRA", "The network that made the avatar learns small factors and makes it anew"),
)

JOB_STATES = (
    ("STARTING", "Starting", "Waiting for the backend to start or to answer"),
    ("QUEUED", "Queued", "The backend has accepted the job and works on another one"),
    ("RUNNING", "Running", "The backend works on the job"),
    ("CANCELLING", "Cancelling", "The backend has been asked to stop"),
    ("CHOOSING", "Choose a Face", "A photo shows several faces: choose the one to use"),
    ("WARNED", "Done, with Warnings", "The avatar is finished, but the photos made something doubtful"),
    ("FAILED", "Failed", "The job ended with an error"),
)


FACE_LAYERS = (
    ("face", "Face", "The rig's own expressions"),
    ("arkit", "ARKit", "ARKit's 52 shapes over the same rig: captured motion lies here, and work on the face adds to it"),
)


class LOOKALIKE_PG_photo(PropertyGroup):
    """One portrait to reconstruct from."""

    path: StringProperty(name="Path", description="Image file on this computer", subtype="FILE_PATH")
    face: IntProperty(
        name="Face",
        description="Which face to use where the photo shows several; -1 asks when there are several",
        default=-1,
        min=-1,
        max=63,
    )


class LOOKALIKE_PG_face(PropertyGroup):
    """One of several faces in a photo, for the user to choose from."""

    number: IntProperty(name="Number", description="Position in the backend's list of faces")
    place: StringProperty(name="Place", description="Where the face is among the others")
    icon: IntProperty(name="Icon", description="Picture of the face, 0 where there is none")
    box: bpy.props.FloatVectorProperty(name="Box", description="Left, top, right and bottom of the face in pixels", size=4)


class LOOKALIKE_PG_job(PropertyGroup):
    """One reconstruction under way, or ended and waiting for the user to retry or dismiss it."""

    kind: EnumProperty(name="Kind", description="What is asked of the backend", items=JOB_KINDS)
    options: StringProperty(name="Options", description="What a tracked video or a personalization is asked for, as JSON")
    state: EnumProperty(name="State", description="What the job is doing", items=JOB_STATES)
    photos: CollectionProperty(type=LOOKALIKE_PG_photo)
    avatar_name: StringProperty(name="Name", description="Name that the avatar gets")
    consent: StringProperty(name="Consent", description="Statement that is stored in the avatar")
    model: StringProperty(name="Model", description="Reconstruction model; empty for the backend's default")
    rig: StringProperty(name="Rig", description="Parametric head; empty for the model's default")
    fraction: FloatProperty(name="Progress", description="How much of the job is done", subtype="FACTOR", min=0.0, max=1.0)
    stage: StringProperty(name="Stage", description="What the backend is doing")
    text: StringProperty(name="Detail", description="Detail of the stage")
    error: StringProperty(name="Error", description="What went wrong")
    remedy: StringProperty(name="Remedy", description="What to do about it")
    error_code: StringProperty(name="Error Code", description="Stable name of the kind of error")
    faces: CollectionProperty(type=LOOKALIKE_PG_face)
    faces_photo: IntProperty(name="Photo", description="Index of the photo that shows several faces", default=-1)


class LOOKALIKE_PG_session(PropertyGroup):
    """The panel's state of this Blender session."""

    photos: CollectionProperty(type=LOOKALIKE_PG_photo)
    photo_index: IntProperty(name="Active Photo", description="Photo that Remove takes out of the list")
    avatar_name: StringProperty(name="Name", description="Name of the new avatar; empty for the first photo's file name", maxlen=48)
    consent: StringProperty(
        name="Consent",
        description="Who allowed this person's likeness to be used, and for what; stored in the avatar's provenance",
        maxlen=1024,
    )
    model: EnumProperty(name="Model", description="How the avatar is reconstructed", items=choices.model_items)
    rig: EnumProperty(name="Rig", description="Parametric head that the avatar is built on", items=choices.rig_items)
    rig_file: StringProperty(
        name="Own Rig",
        description="A parametric head of your own instead: a FLAME file or a folder of ICT-FaceKit, on the backend's computer",
        subtype="FILE_PATH",
    )
    jobs: CollectionProperty(type=LOOKALIKE_PG_job)
    person_photos: CollectionProperty(
        type=LOOKALIKE_PG_photo, name="Photos", description="What the active avatar is personalized with: photos, or one video"
    )
    person_photo_index: IntProperty(name="Active Photo", description="The highlighted photo")
    personalize_method: EnumProperty(name="Method", description="How the avatar is personalized", items=PERSONALIZE_METHODS)
    personalize_steps: IntProperty(
        name="Steps", description="How long it may learn; the best state on the way is kept", default=500, min=1, max=5000
    )
    personalize_consent: StringProperty(
        name="Consent",
        description="Who allowed these photos to be used, and for what; stored in the adapter",
        maxlen=1024,
    )
    avatar_index: IntProperty(
        name="Active Avatar",
        description="Avatar of the active object; choosing another one selects it",
        get=avatar_list.active_index,
        set=avatar_list.select_index,
        options={"SKIP_SAVE"},
    )
    face_layer: EnumProperty(name="Layer", description="Which controls are shown", items=FACE_LAYERS, translation_context=CONTEXT)
    symmetric: BoolProperty(
        name="Symmetric", description="One slider for both sides of the face; off: one for each side, adding to it", default=True
    )
    preset_strength: FloatProperty(
        name="Strength", description="How much of a preset is set", subtype="FACTOR", default=1.0, min=0.0, max=1.0
    )
    preset_key: BoolProperty(name="Key Presets", description="Insert keyframes on what a preset sets", default=False)
    live_port: IntProperty(name="Port", description="UDP port that the phone sends to", default=11111, min=1024, max=65535)
    live_from: EnumProperty(
        name="From",
        description="Who may send",
        items=(
            ("LOCAL", "This Computer", "Only programs on this computer"),
            ("NETWORK", "Network", "Phones and computers of the network; needs Blender's online access"),
        ),
    )
    expression_filter: StringProperty(
        name="Filter", description="Show only the expressions whose names contain this text", options={"TEXTEDIT_UPDATE"}
    )


def is_active(job: LOOKALIKE_PG_job) -> bool:
    """True while the backend, or its start, is being waited for."""
    # A function, because a Python property of a registered class crashes bpy 4.2 at its exit.
    return job.state in ACTIVE_STATES


def session(context: bpy.types.Context | None = None) -> LOOKALIKE_PG_session:
    """The panel's state; works in background mode too."""
    return (context or bpy.context).window_manager.lookalike


CLASSES = (LOOKALIKE_PG_photo, LOOKALIKE_PG_face, LOOKALIKE_PG_job, LOOKALIKE_PG_session)


def attach() -> None:
    """Hang the session on the window manager; call after CLASSES are registered."""
    bpy.types.WindowManager.lookalike = PointerProperty(type=LOOKALIKE_PG_session)


def detach() -> None:
    """Undo `attach`; call before CLASSES are unregistered."""
    del bpy.types.WindowManager.lookalike
