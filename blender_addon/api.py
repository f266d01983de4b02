"""Lookalike from a script: everything that the panel does, without the panel.

    from bl_ext.user_default.lookalike import api

    job = api.create(["ada.jpg"], name="Ada", consent="Ada, 2026-11-20, for this film", wait=True)
    api.set_expressions(job.avatar.collection, {"mouthSmileLeft": 1.0, "jawOpen": 0.3})
    api.export_avatar(job.avatar.collection, "ada.lookalike")

Works in background mode too. Photos are files; an avatar is a collection of the open file. Errors are of the
`LookalikeError` family: a message that says what is wrong with what, and what to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import bpy

from .client import Settings, backend

if TYPE_CHECKING:
    from .adapters import Listed
    from .avatar import BlenderAvatar, LipsyncReport, TakeReport
    from .avatar.controls import Channel
    from .client.personalizing import PersonalizeReport
    from .interchange.sequences import ImportedSequence
    from .protocol import LookalikeError

BESIDE = 0.45
"""Metres between two avatars that would stand in the same place; shoulders are about that wide."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class _Work:
    """Something that the backend is asked for; keeps only an id, so it may be kept as long as one likes."""

    id: str

    @property
    def done(self) -> bool:
        """It has ended, with an avatar or an error."""
        from .client import jobs

        return jobs.outcome(self.id) is not None

    @property
    def error(self) -> LookalikeError | None:
        """Why it failed, or None."""
        from .client import jobs
        from .protocol import LookalikeError

        outcome = jobs.outcome(self.id)
        return outcome if isinstance(outcome, LookalikeError) else None

    def _result(self) -> Any:
        from .client import jobs
        from .protocol import BackendError, LookalikeError

        outcome = jobs.outcome(self.id)
        if outcome is None:
            raise BackendError("The job is not finished yet", "wait for it")
        if isinstance(outcome, LookalikeError):
            raise outcome
        return outcome

    def wait(self, timeout: float = 600.0) -> Any:
        """Wait for the end and return what it made, taking up events meanwhile; blocks Blender, so it is for scripts.

        Raises:
            LookalikeError: it failed or was cancelled.
            TimeoutError: neither within `timeout` seconds; the job goes on.
        """
        from .client import tick

        deadline = time.monotonic() + timeout
        while not self.done:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing after {timeout:.0f} s")
            tick.pump()
            time.sleep(0.01)
        return self._result()


class Job(_Work):
    """A reconstruction under way."""

    @property
    def avatar(self) -> BlenderAvatar:
        """What it made.

        Raises:
            LookalikeError: it failed, was cancelled, or is still under way.
        """
        return self._result()


class TrackJob(_Work):
    """A video that is being tracked."""

    @property
    def report(self) -> TakeReport:
        """What was keyed.

        Raises:
            LookalikeError: it failed, was cancelled, or is still under way.
        """
        return self._result()


class PersonalizeJob(_Work):
    """An avatar that is being refined."""

    @property
    def report(self) -> PersonalizeReport:
        """What was learned.

        Raises:
            LookalikeError: it failed, was cancelled, brought nothing, or is still under way.
        """
        return self._result()


# ---------------------------------------------------------------- creating


def create(
    photos: Iterable[PathLike],
    *,
    faces: Sequence[int | None] = (),
    name: str = "",
    consent: str = "",
    model: str = "",
    rig: str = "",
    wait: bool = False,
) -> Job:
    """Reconstruct an avatar of one person at the backend, which is started if the preferences allow it.

    Args:
        photos: image files of one person.
        faces: for each photo, which of its faces; None where there is but one. Empty: None for all.
        name: of the avatar; the first photo's by default.
        consent: statement that is stored in the avatar's provenance.
        model, rig: as the backend names them; its defaults where empty.
        wait: return only when the job has ended, and raise its error.
    Raises:
        ImageError: there is no photo, or one is not a file.
        BackendError: the backend is not installed or must not be used.
        LookalikeError: with `wait`, whatever ended the job.
    """
    from .client import jobs

    paths = _photo_files(photos)
    if faces and len(faces) != len(paths):
        raise ValueError(f"{len(faces)} faces for {len(paths)} photos")
    _ensure_backend()
    job = Job(jobs.submit(paths, list(faces) or [None] * len(paths), name, consent, model, rig))
    if wait:
        job.wait()
    return job


def cancel(job: str) -> None:
    """Stop a job by its id; it ends within a second."""
    from .client import jobs

    jobs.cancel(job)


def retry(job: str) -> None:
    """Do a failed job again, with the same photos and settings."""
    from .client import jobs

    _ensure_backend()
    jobs.retry(job)


def choose_face(job: str, face: int) -> None:
    """Answer a job that found several faces in a photo."""
    from .client import jobs

    _ensure_backend()
    jobs.choose_face(job, face)


def dismiss(job: str) -> None:
    """Take a job that has ended out of the panel."""
    from .client import jobs

    jobs.dismiss(job)


# ---------------------------------------------------------------- the backend


def backend_status() -> str:
    """How the backend stands, in one line."""
    return backend.summary()[0]


def start_backend() -> None:
    """Start the backend, or connect to the remote one that the preferences name; returns at once.

    Raises:
        BackendError: it is not installed, or the settings do not allow or name a remote one.
    """
    from .client import tick

    backend.start(_settings())
    tick.start()


def stop_backend() -> None:
    """Cancel all jobs and stop the backend, or disconnect from a remote one."""
    from .client import jobs

    jobs.cancel_all()
    backend.stop()


def log_file() -> Path:
    """The backend's log.

    Raises:
        BackendError: nothing was logged yet.
    """
    from .client.location import log_file as location
    from .protocol import BackendError

    path = location()
    if not path.is_file():
        raise BackendError("The backend has not written a log yet", "start it first")
    return path


def client_public_key() -> str:
    """This user's public key, which a remote backend's `authorized_clients` must hold."""
    from .protocol.keys import client_keys, default_directory

    return client_keys(default_directory()).public


# ---------------------------------------------------------------- avatars


def avatars(scene: bpy.types.Scene | None = None) -> list[bpy.types.Collection]:
    """The avatars of a scene, by default the current one."""
    from .avatar import find_avatars

    return find_avatars(scene or bpy.context.scene)


def active_avatar(context: bpy.types.Context | None = None) -> bpy.types.Collection | None:
    """The avatar that the active or selected object belongs to, or the scene's only one."""
    from .avatar import active_avatar as active

    return active(context or bpy.context)


def avatar(name: str = "") -> bpy.types.Collection:
    """The avatar of this name, or the active one.

    Raises:
        AvatarFileError: there is none.
    """
    from .protocol import AvatarFileError

    found = next((c for c in avatars() if c.name == name), None) if name else active_avatar()
    if found is None:
        raise AvatarFileError(f"There is no avatar called “{name}” in this scene" if name else "No avatar is selected", "select an avatar")
    return found


def import_avatar(path: PathLike, collection: bpy.types.Collection | None = None) -> bpy.types.Collection:
    """Build the avatar of a .lookalike file in `collection`, by default the scene's, and select it.

    Raises:
        AvatarFileError: the file is missing, corrupt or of another version; nothing in the scene is changed then.
    """
    from .adapters import adopt
    from .avatar import build_avatar
    from .protocol import read_avatar

    read = read_avatar(path)
    handle = build_avatar(read, collection or bpy.context.scene.collection, source_path=str(path))
    adopt(handle.collection, read)
    add_controls(handle.collection)
    select_avatar(handle.collection)
    return handle.collection


def export_avatar(avatar: bpy.types.Collection, path: PathLike) -> Path:
    """Write an avatar to a .lookalike file: the neutral head, all levels of detail, adapters, provenance. Returns the path with suffix.

    Raises:
        AvatarFileError: the avatar has lost a part, or the folder cannot be written.
    """
    from .adapters import whole_avatar
    from .protocol import SUFFIX, write_avatar

    target = Path(path)
    target = target if target.suffix == SUFFIX else target.with_name(target.name + SUFFIX)
    write_avatar(target, whole_avatar(avatar))
    if avatar.library is None:
        avatar.lookalike.source_path = bpy.path.relpath(str(target)) if bpy.data.filepath else str(target)
    return target


def select_avatar(avatar: bpy.types.Collection) -> None:
    """Select the avatar's armature and head, nothing else, and make the armature active; leaves Edit and Pose Mode."""
    from .avatar import select_avatar as select

    if bpy.context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    select(bpy.context, avatar)


def welcome_avatar(avatar: bpy.types.Collection) -> None:
    """Let a new avatar be seen: beside the others instead of inside one; the scene's first one is centred in the viewports."""
    from .avatar import armature_of, frame_avatar

    armature = armature_of(avatar)
    others = [other for other in (armature_of(each) for each in avatars() if each != avatar) if other is not None]
    if armature is None:
        return
    while any((other.location - armature.location).length < 0.5 * BESIDE for other in others):
        armature.location.x += BESIDE
    if not others:
        bpy.context.view_layer.update()
        frame_avatar(bpy.context, avatar)


def duplicate_avatar(avatar: bpy.types.Collection) -> bpy.types.Collection:
    """An independent copy with its own data, pose and animation; selected."""
    from .avatar import duplicate_avatar as duplicate

    copy = duplicate(avatar).collection
    if copy.lookalike.preview >= 0:  # nobody works on the copy
        from .client.personalizing import settle_left

        settle_left()
    select_avatar(copy)
    return copy


def delete_avatar(avatar: bpy.types.Collection) -> None:
    """Take the avatar and its data out of the file."""
    from .avatar import delete_avatar as delete

    delete(avatar)


def add_controls(avatar: bpy.types.Collection) -> bool:
    """Give an avatar of an older file its face board: controls that key, drive and pose like bones. False where it has one.

    Raises:
        LookalikeError: it is linked, or has lost its rig.
    """
    from .avatar import add_controls as add

    return add(avatar)


def set_expressions(avatar: bpy.types.Collection, values: Mapping[str, float]) -> list[str]:
    """Set expressions by the rig's names or ARKit's, 0 to 1; others stay. Returns the names that mean nothing to this avatar."""
    from .avatar import set_expressions as set_values

    unknown = set_values(avatar, values)
    return set_values(avatar, {name: values[name] for name in unknown}, "arkit") if unknown else []


def apply_preset(avatar: bpy.types.Collection, preset: str, strength: float = 1.0, key: bool = False) -> None:
    """Set a viseme, emotion or the eyelids (`motion.visemes.PRESETS`), with `key` keyed at the current frame.

    Raises:
        LookalikeError: there is no such preset, or it means nothing to this avatar.
    """
    from .avatar import apply_preset as apply
    from .avatar import key_channels

    channels = apply(avatar, preset, strength)
    if key:
        key_channels(channels, bpy.context.scene.frame_current)


def apply_own_preset(avatar: bpy.types.Collection, name: str, strength: float = 1.0, flipped: bool = False) -> None:
    """Pose the avatar by a pose asset of this file, or by its mirror image.

    Raises:
        LookalikeError: there is none of that name, or the avatar has no face board.
    """
    from .avatar import apply_own_preset as apply
    from .protocol import LookalikeError

    if name not in bpy.data.actions:
        raise LookalikeError(f"There is no pose called “{name}”", "save one first")
    apply(avatar, bpy.data.actions[name], strength, flipped)


def save_preset(avatar: bpy.types.Collection, name: str, flipped: bool = False) -> bpy.types.Action:
    """Save face, head and eyes as they stand as a pose asset of this file, with a picture of the face where there are splats.

    Args:
        flipped: save the mirror image of how they stand.
    """
    from .avatar import save_pose_asset, splats_of
    from .interchange import set_preview

    if flipped:
        flip_face(avatar)
    try:
        action = save_pose_asset(avatar, name)
        if splats_of(avatar):
            bpy.context.view_layer.update()
            set_preview(action, avatar, face=True)
    finally:
        if flipped:
            flip_face(avatar)
    return action


def select_bone(avatar: bpy.types.Collection, bone: str, extend: bool = False) -> None:
    """Select one of the avatar's bones in Pose Mode.

    Raises:
        LookalikeError: there is no such bone, or the armature is hidden.
    """
    from .avatar import select_bone as select

    select(bpy.context, avatar, bone, extend)


def key_controls(avatar: bpy.types.Collection, layer: str = "face", group: str = "") -> int:
    """Key a layer's controls, or those of one group (brows, eyes, mouth ..), at the current frame; returns how many."""
    from .avatar import key_channels

    return key_channels(_controls(avatar, layer, group), bpy.context.scene.frame_current)


def reset_controls(avatar: bpy.types.Collection, layer: str = "face", group: str = "") -> None:
    """Set a layer's controls, or those of one group, to zero."""
    from .avatar import reset_channels

    reset_channels(_controls(avatar, layer, group))


def mute_controls(avatar: bpy.types.Collection, group: str = "", control: str = "") -> bool:
    """Mute the expressions of a group, or of one control, or unmute them where all are muted; returns whether they are muted now."""
    from .avatar import expression_names, moved_by, mute_expressions
    from .ui.expression_groups import group_of

    if control:
        return mute_expressions(avatar, [key.name for key in moved_by(avatar).get(control, ())])
    return mute_expressions(avatar, [name for name in expression_names(avatar) if not group or group_of(name) == group])


def flip_face(avatar: bpy.types.Collection, layer: str = "face", group: str = "") -> None:
    """Mirror the whole face, or one group of a layer's controls (brows, eyes, mouth ..)."""
    from .avatar import expression_channels
    from .avatar import flip_face as flip
    from .ui.expression_groups import group_of

    names = [name for name in expression_channels(avatar, layer) if group_of(name) == group] if group else None
    flip(avatar, names, layer)


def copy_face(avatar: bpy.types.Collection) -> None:
    """Put the face as it stands on the clipboard."""
    from .avatar import as_text, read_face

    bpy.context.window_manager.clipboard = as_text(read_face(avatar))


def paste_face(avatar: bpy.types.Collection, flipped: bool = False, strength: float = 1.0) -> None:
    """Set the face that is on the clipboard, or its mirror image.

    Raises:
        LookalikeError: there is none.
    """
    from .avatar import armature_of, filled, from_text, mirrored, write_face

    pose = filled(from_text(bpy.context.window_manager.clipboard), avatar)
    armature = armature_of(avatar)
    write_face(avatar, mirrored(pose, armature) if flipped and armature is not None else pose, strength)


def export_motion(path: PathLike, avatar: bpy.types.Collection | None = None, first: int | None = None, last: int | None = None) -> Path:
    """Write what an avatar's face does on each frame to a .motion file, for `lookalike render --motion`.

    Args:
        avatar: the active one by default. first, last: frames; the scene's range by default.
    Raises:
        LookalikeError: no frames, an avatar that lost a part, or a folder that cannot be written.
    """
    from .interchange import export_motion as write

    return write(avatar or _active(), bpy.path.abspath(os.fspath(path)), first, last)


def import_refined(
    path: PathLike, avatar: bpy.types.Collection | None = None, start: int | None = None, plane: bool = False, use: bool = True
) -> bpy.types.Object:
    """Frames of `lookalike render --refined --motion` before a camera that sees the avatar as they do. Returns the camera.

    Args:
        path: NAME.sequence.json beside the pictures.
        avatar: the active one by default.
        start: the scene's frame of the first picture; the scene's first by default.
        plane: also a plane in the scene that shows the pictures and renders.
        use: make it the scene's camera, with the resolution of the pictures.
    Raises:
        LookalikeError: no such sequence, or an avatar that lost its rig.
    """
    from .interchange import add_refined_sequence

    return add_refined_sequence(avatar or _active(), bpy.path.abspath(os.fspath(path)), start, plane, use)


def import_motion(
    path: PathLike,
    avatar: bpy.types.Collection | None = None,
    fps: float = 0.0,
    flame_map: PathLike = "",
    sound: PathLike | None = None,
    **options: Any,
) -> TakeReport | LipsyncReport:
    """Key a performance from a file or a sequence's folder, known by its content, into an action of its own; cue files become lip-sync.

    Args:
        path: Live Link Face CSV, ARKit JSON, FLAME .npz, folder or .pkl, what `lookalike track` writes, Rhubarb cues.
        avatar: the active one by default.
        fps: frames a second of the take where the file is wrong or silent; 0 goes by the file.
        flame_map: of `lookalike flame-map`, for FLAME's expressions on an avatar that is not built on FLAME.
        sound: audio or video file whose sound begins with the motion; it becomes a strip in the sequencer. What is wrong with it is
            a warning of the report.
        options: as `avatar.TakeOptions`, or for cues `avatar.LipsyncOptions`.
    Raises:
        LookalikeError: the file is missing, corrupt, hostile or of no use to this avatar; nothing is changed then.
    """
    from .avatar import BlenderAvatar, LipsyncOptions, TakeOptions, apply_lipsync, apply_take
    from .motion.cues import Cues
    from .motion.read_file import read_motion
    from .protocol import LookalikeError

    handle = BlenderAvatar((avatar or _active()).session_uid)
    found = read_motion(bpy.path.abspath(os.fspath(path)), fps)
    if flame_map and not isinstance(found, Cues):
        from .motion.flame_map import read_flame_map_file, with_named_expressions

        found = with_named_expressions(
            found, read_flame_map_file(bpy.path.abspath(os.fspath(flame_map))), handle.collection.lookalike.rig_id
        )
    chosen = (LipsyncOptions, TakeOptions) if isinstance(found, Cues) else (TakeOptions, LipsyncOptions)
    mine, others = ({name: value for name, value in options.items() if name in kind.__dataclass_fields__} for kind in chosen)
    unknown = sorted(options.keys() - mine.keys() - others.keys())
    if unknown:
        raise TypeError(f"import_motion has no option {unknown[0]!r}")
    report = (
        apply_lipsync(handle, found, LipsyncOptions(**mine)) if isinstance(found, Cues) else apply_take(handle, found, TakeOptions(**mine))
    )
    scene = bpy.context.scene
    scene.frame_end = max(scene.frame_end, report.last)
    if sound is not None:
        try:
            add_sound(sound, report.first)
        except LookalikeError as error:  # the motion is keyed, and stays
            report = replace(report, warnings=(*report.warnings, str(error)))
    return report


def track_video(
    path: PathLike,
    avatar: bpy.types.Collection | None = None,
    *,
    face: int | None = None,
    sound: bool = True,
    wait: bool = False,
    **options: Any,
) -> TrackJob:
    """Track the user's own video at the backend, which is started if the preferences allow it, and key it on an avatar.

    Args:
        path: a video that FFmpeg reads, up to 1 GB.
        avatar: the active one by default.
        face: which face, where the video shows several.
        sound: lay the video's sound, if it has one, into the sequencer.
        wait: return only when the job has ended, and raise its error.
        options: as `avatar.TakeOptions`.
    Raises:
        ImageError: there is no such video.
        BackendError: the backend is not installed or must not be used.
        LookalikeError: with `wait`, whatever ended the job.
    """
    import json

    from .avatar import TakeOptions
    from .client import jobs, tracking

    collection, video = avatar or _active(), Path(bpy.path.abspath(os.fspath(path)))
    tracking.check_video(video)
    unknown = sorted(options.keys() - TakeOptions.__dataclass_fields__.keys())
    if unknown:
        raise TypeError(f"track_video has no option {unknown[0]!r}")
    _ensure_backend()
    held = json.dumps({"avatar": collection.session_uid, "take": options, "sound": sound})
    job = TrackJob(jobs.submit_video(video, face, tracking.rig_for(collection.lookalike.rig_id), held))
    if wait:
        job.wait()
    return job


def add_sound(path: PathLike, frame: int = 1, scene: bpy.types.Scene | None = None) -> bpy.types.ID | bpy.types.bpy_struct:
    """Lay a sound, or a video's sound, into the sequencer from `frame`, heard while playing and scrubbing; returns the strip.

    Raises:
        LookalikeError: the file is missing, or Blender finds no sound in it.
    """
    from .avatar import add_sound as add

    return add(scene or bpy.context.scene, Path(bpy.path.abspath(os.fspath(path))), frame)


def start_live(avatar: bpy.types.Collection, port: int = 11111, from_network: bool = False) -> int:
    """Listen for Live Link Face packets and show them on the avatar's ARKit layer; returns the port.

    Args:
        port: UDP; 0 takes a free one.
        from_network: from other computers and phones too, which needs Blender's online access; else from this computer only.
    Raises:
        LookalikeError: online access is off, the port is taken, or the avatar cannot be given controls.
    """
    from .avatar import BlenderAvatar
    from .live import stream
    from .protocol import LookalikeError

    if from_network and not bpy.app.online_access:
        raise LookalikeError("Blender must not use the network", "allow online access in Preferences > System")
    return stream.start(BlenderAvatar(avatar.session_uid), "0.0.0.0" if from_network else "127.0.0.1", port)  # noqa: S104 - asked for


def record_live(**options: Any) -> TakeReport | None:
    """Begin to record the live stream, and return None; or, while recording, key what came (`avatar.TakeOptions`) and tell what."""
    from .avatar import TakeOptions
    from .live import stream

    if stream.recording() is None:
        stream.record()
        return None
    report = stream.finish(TakeOptions(**{"start": float(stream.first_frame()), **options}))
    bpy.context.scene.frame_end = max(bpy.context.scene.frame_end, report.last)
    return report


def stop_live() -> TakeReport | None:
    """Stop listening; a recording that runs is keyed first, and told."""
    from .live import stream

    try:
        return record_live() if stream.recording() else None
    finally:
        stream.stop()


def _controls(avatar: bpy.types.Collection, layer: str, group: str) -> list[Channel]:
    from .avatar import expression_channels
    from .ui.expression_groups import group_of

    return [channel for name, channel in expression_channels(avatar, layer).items() if not group or group_of(name) == group]


def _active() -> bpy.types.Collection:
    return avatar()


def reset_pose(avatar: bpy.types.Collection, expressions: bool = True, bones: bool = True) -> None:
    """Return to the neutral face; keyframes stay and win at the next frame change."""
    from .avatar import reset_pose as reset

    reset(avatar, expressions, bones)


def set_lod(avatar: bpy.types.Collection, level: int | None) -> None:
    """Draw this level of detail in the viewport; None chooses by the size on the screen."""
    avatar.lookalike.lod = "AUTO" if level is None else str(level)


def key_performance(avatar: bpy.types.Collection, start: int = 1, frames: int = 80) -> tuple[int, int]:
    """Key the demo performance over `frames` frames from `start`, and extend the scene's range to it; returns first and last frame."""
    from .avatar import BlenderAvatar
    from .avatar.performance import key_demo_performance

    first, last = key_demo_performance(BlenderAvatar(avatar.session_uid), frames, start)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = min(scene.frame_start, first), max(scene.frame_end, last)
    return first, last


# ---------------------------------------------------------------- personalizing


def personalize(
    photos: Iterable[PathLike] = (),
    avatar: bpy.types.Collection | None = None,
    *,
    steps: int = 500,
    faces: Sequence[int | None] = (),
    consent: str = "",
    rig: str = "",
    method: str = "",
    wait: bool = False,
) -> PersonalizeJob:
    """Refine an avatar by photos, or by one video, of its person at the backend, which is started if the preferences allow it.

    It is seen in the avatar on the way. What is learned becomes an adapter of the avatar, which is on; the first `cancel` keeps
    the best so far, a second one drops it.

    Args:
        photos: image files, or one video; none for the photos that the avatar was made from, where they are still known.
        avatar: the active one by default.
        steps: at most so many; the best state on the way is kept.
        faces: for each photo, which of its faces; None where there is but one. Empty: None for all.
        consent: statement that is stored in the adapter.
        rig: the head that the avatar stands on, as the backend names it, or its file; the built-in one where empty.
        method: "refine", "registers" or "lora"; what fits the model that made the avatar where empty. "tune" needs more of the avatar
            than Blender keeps: it is refused here, and works on the command line.
        wait: return only when the job has ended, and raise its error.
    Raises:
        ImageError: there is no photo, or one cannot be sent.
        BackendError: the backend is not installed or must not be used.
        LookalikeError: the avatar is linked, or a job works on it already; with `wait`, whatever ended the job.
    """
    from .adapters import check_editable
    from .client import jobs, personalizing

    collection = avatar or _active()
    check_editable(collection)
    personalizing.check_free(collection)
    personalizing.check_method(collection, method)
    paths = [Path(bpy.path.abspath(os.fspath(photo))) for photo in photos] or personalizing.own_photos(collection)
    personalizing.check_files(paths, collection.name)
    if faces and len(faces) != len(paths):
        raise ValueError(f"{len(faces)} faces for {len(paths)} photos")
    _ensure_backend()
    chosen = list(faces) or [None] * len(paths)
    job = PersonalizeJob(jobs.submit_photos(collection.session_uid, collection.name, paths, chosen, steps, consent, rig, method))
    if wait:
        job.wait()
    return job


def own_photos(avatar: bpy.types.Collection) -> list[Path]:
    """The photos that an avatar was made from, as far as they are still known and there."""
    from .client import personalizing

    return personalizing.own_photos(avatar)


def adapters(avatar: bpy.types.Collection) -> list[Listed]:
    """What an avatar has learned: each with ``name``, ``kind``, ``enabled``, ``facts`` and ``gain`` in dB."""
    from .adapters import listed

    return listed(avatar)


def switch_adapter(avatar: bpy.types.Collection, adapter: str, on: bool | None = None) -> bool:
    """Switch an adapter on or off, by default to the other; returns whether it is on now. Needs no backend.

    Raises:
        AvatarFileError: there is none of that name, the avatar is linked, or its rig mesh or splats were edited too much since.
        LookalikeError: a job works on the avatar.
    """
    from .adapters import switch_adapter as switch

    _unused(avatar)
    now = next((each.enabled for each in adapters(avatar) if each.name == adapter), False)
    wanted = not now if on is None else on
    switch(avatar, adapter, wanted)
    return wanted


def merge_adapter(avatar: bpy.types.Collection, adapter: str) -> None:
    """Make an adapter part of the avatar for good. Raises as `switch_adapter`."""
    from .adapters import merge_adapter as merge

    _unused(avatar)
    merge(avatar, adapter)


def remove_adapter(avatar: bpy.types.Collection, adapter: str) -> None:
    """Take an adapter out of the avatar. Raises as `switch_adapter`."""
    from .adapters import remove_adapter as remove

    _unused(avatar)
    remove(avatar, adapter)


def save_adapter(avatar: bpy.types.Collection, adapter: str, path: PathLike) -> Path:
    """Write an adapter to a .safetensors file of its own; returns the path, with its suffix.

    Raises:
        AvatarFileError: there is none of that name, or the folder cannot be written.
    """
    from .adapters import save_adapter as save

    target = Path(path)
    target = target if target.suffix == ".safetensors" else target.with_name(target.name + ".safetensors")
    save(avatar, adapter, target)
    return target


def load_adapter(avatar: bpy.types.Collection, path: PathLike) -> str:
    """Add an adapter from a file to the avatar that it was saved from; returns its name.

    Raises:
        AvatarFileError: the file is missing, corrupt or of another avatar; nothing is changed then.
        LookalikeError: a job works on the avatar.
    """
    from .adapters import load_adapter as load

    _unused(avatar)
    return load(avatar, Path(path))


def _unused(avatar: bpy.types.Collection) -> None:
    from .client import personalizing

    personalizing.check_free(avatar)


# ---------------------------------------------------------------- files of other programs


def export_splats(source: bpy.types.Collection | bpy.types.Object, path: PathLike, **options: object) -> Path:
    """Write an avatar as it is posed, or a splat cloud, to .ply or .spz. Options as `interchange.export_splats`: level, axes, local."""
    from .interchange import export_splats as export

    return export(source, Path(path), **options)


def export_sequence(
    source: bpy.types.Collection | bpy.types.Object, path: PathLike, first: int, last: int, step: int = 1, **options: object
) -> list[Path]:
    """Write one .ply or .spz a frame, as ``name_0001.ply``; the scene's frame is put back."""
    from .interchange import export_sequence as export

    return list(export(source, Path(path), first, last, step, **options))


def export_glb(avatar: bpy.types.Collection, path: PathLike, *, level: int | None = None, posed: bool = False) -> Path:
    """Write splats, rig and ARKit's morph targets to a .glb."""
    from .interchange import export_glb as export

    return export(avatar, Path(path), level=level, posed=posed)


def export_lam(avatar: bpy.types.Collection, path: PathLike, *, level: int | None = 0) -> Path:
    """Write the zip that LAM's web viewer and OpenAvatarChat play."""
    from .interchange import export_lam as export

    return export(avatar, Path(path), level=level)


def import_splats(path: PathLike, *, axes: str = "rdf", scale: float = 1.0) -> bpy.types.Object:
    """The splats of a .ply, .spz or .glb as an object of the active collection."""
    from .interchange import import_splats as import_file

    return import_file(Path(path), axes=axes, scale=scale)


def import_sequence(first: PathLike, **options: object) -> ImportedSequence:
    """The numbered files beside one of them as one object that plays by frame.

    Options as `interchange.sequences.SequenceOptions`: axes, scale, start, fps, cyclic, memory.
    """
    from .interchange.numbered_files import sequence_beside
    from .interchange.sequences import SequenceOptions
    from .interchange.sequences import import_sequence as import_files

    return import_files(sequence_beside(Path(first)), SequenceOptions(**options))


def attach_to_head(obj: bpy.types.Object, avatar: bpy.types.Collection, hide_hair: bool = False) -> None:
    """Let an object (hair, glasses, a splat cloud) follow the avatar's head from where it stands."""
    from .interchange import attach_to_head as attach

    attach(obj, avatar)
    if hide_hair:
        hide_region(avatar, "HAIR")


# ---------------------------------------------------------------- editing splats


def hide_region(avatar: bpy.types.Collection, region: str, hide: bool = True) -> int:
    """Hide or show HAIR, SHOULDERS, NECK, FACE, EYES or a vertex group of the rig mesh; returns how many splats changed."""
    from .editing import hide_region as hide_splats

    return hide_splats(avatar, region, hide)


def remove_hidden(source: bpy.types.Collection | bpy.types.Object) -> int:
    """Remove hidden splats for good; returns how many went."""
    from .editing import remove_hidden as remove
    from .editing import targets_of

    return remove(targets_of(source))


def reset_edits(source: bpy.types.Collection | bpy.types.Object) -> int:
    """Take edits of visibility, opacity and size back; returns how many splats had any."""
    from .editing import reset_edits as reset
    from .editing import targets_of

    return reset(targets_of(source))


def mirror_repair(avatar: bpy.types.Collection, good_side: str = "LEFT") -> int:
    """Replace the other side of the head by this one mirrored; returns how many splats were put in."""
    from .editing import mirror_repair as repair

    return repair(avatar, good_side)


def rebind(avatar: bpy.types.Collection) -> int:
    """Bind the splats to the rig mesh as it is now, after its vertices were edited; returns how many were bound."""
    from .editing import rebind as bind_again

    return bind_again(avatar)


# ---------------------------------------------------------------- inside


def _photo_files(photos: Iterable[PathLike]) -> list[Path]:
    from .protocol import ImageError

    paths = [Path(bpy.path.abspath(os.fspath(photo))) for photo in photos]
    if not paths:
        raise ImageError("There is no photo to create an avatar from", "add one")
    for path in paths:
        if not path.is_file():
            raise ImageError(f"{path.name}: there is no such file", "choose the photo again")
    return paths


def _ensure_backend() -> None:
    """Have a backend on its way, if the user's preferences allow to start it."""
    from .client import tick
    from .preferences import preferences
    from .protocol import BackendError

    if not backend.running:
        if not preferences().autostart:
            raise BackendError("The backend is not running", "start it in the panel, or turn on Start When Needed in the preferences")
        backend.start(_settings())
    tick.start()


def _settings() -> Settings:
    from .preferences import preferences

    chosen = preferences()
    return Settings(
        software=f"lookalike add-on in Blender {bpy.app.version_string}",
        remote=chosen.location == "REMOTE",
        folder=bpy.path.abspath(chosen.folder) if chosen.folder else "",
        log_level=chosen.log_level,
        address=chosen.address,
        server_key=chosen.server_key,
        allow_sending=chosen.allow_sending,
        online_access=bpy.app.online_access,
    )
