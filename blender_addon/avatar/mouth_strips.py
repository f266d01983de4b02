"""Lip-sync as NLA strips: one small action a mouth shape, strips that overlap and add up, in two tracks that take turns.

All is Blender's own and stays editable: strips can be dragged, their blending changed, single ones deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np

from ..motion.coarticulation import Stretch, stretches
from ..motion.cues import Cues
from ..motion.retarget import Fitted, fit_names
from ..motion.take import Take
from ..motion.visemes import RHUBARB
from ..protocol import LookalikeError
from .build import BlenderAvatar
from .control_drivers import control_path
from .controls import add_controls, expression_names
from .face_board import FACE
from .keyframes import bone_angles, write_action_curve

TRACKS = ("Lip-sync 1", "Lip-sync 2")
STEPS = 10
"""Shapes that are reached in part are rounded to so many steps, so that a long recording needs few actions."""


@dataclass(frozen=True)
class LipsyncOptions:
    """How cues become strips.

    Attributes:
        start: frame of the recording's first moment.
        gain: factor of the mouth shapes.
        coarticulation: how much shapes flow into each other: 1 as modelled, 0 not at all.
    """

    start: float = 1.0
    gain: float = 1.0
    coarticulation: float = 1.0


@dataclass(frozen=True)
class LipsyncReport:
    """What came of it: tracks and strips, the last frame, names without a place on the avatar, warnings."""

    tracks: tuple[str, ...]
    strips: int
    first: int
    last: int
    missed: dict[str, float]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """One sentence for the status bar."""
        return f"{self.strips} mouth shapes as strips in “{self.tracks[0]}” and “{self.tracks[1]}”, frames {self.first} to {self.last}"


def apply_lipsync(avatar: BlenderAvatar, cues: Cues, options: LipsyncOptions | None = None) -> LipsyncReport:
    """Lay a recording's mouth shapes into two new NLA tracks; an active action is pushed down below them, where it goes on playing.

    Raises:
        LookalikeError: the avatar has none of the mouth's controls, or cannot be keyed; nothing is changed then.
    """
    options = options or LipsyncOptions()
    collection = avatar.collection
    if avatar.armature.library is not None:
        raise LookalikeError(f"{collection.name}: is linked from another file", "make a library override of it first")
    names = expression_names(collection)
    found = stretches(cues.cues, options.coarticulation)
    if not found:
        raise LookalikeError(f"{cues.source}: nothing is said in it", "choose the cues of a recording with speech")
    poses = {(s.shape, _step(s.weight)): _mouth(s.shape, options.gain * _step(s.weight) / STEPS, names) for s in found}
    add_controls(collection)
    data = avatar.armature.animation_data or avatar.armature.animation_data_create()
    warnings = (*cues.warnings, *_push_down(data))
    actions = {key: _mouth_action(avatar, key, pose) for key, pose in poses.items()}
    tracks = [data.nla_tracks.new() for _ in TRACKS]
    for track, name in zip(tracks, TRACKS, strict=True):
        track.name = name
    rate = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    for i, stretch in enumerate(found):
        _strip(tracks[i % 2], actions[stretch.shape, _step(stretch.weight)], stretch, options.start, rate)
    data.action_blend_type = "COMBINE"  # what is keyed from now on adds to the strips; Blender's default would hide them
    missed = {name: share for pose in poses.values() for name, share in pose.missed.items()}
    first, last = (round(options.start + time * rate) for time in (0.0, cues.seconds))
    return LipsyncReport((tracks[0].name, tracks[1].name), len(found), first, last, missed, warnings)


def _step(weight: float) -> int:
    return max(1, round(weight * STEPS))


def _mouth(shape: str, amount: float, names: list[str]) -> Fitted:
    """One mouth shape on the rig's own controls."""
    weights = {name: np.array([amount * value]) for name, value in RHUBARB[shape].items()}
    return fit_names(Take("mouth shape", shape, np.zeros(1), 1.0, arkit=weights), names, use_arkit_layer=False)


def _mouth_action(avatar: BlenderAvatar, key: tuple[str, int], pose: Fitted) -> bpy.types.Action:
    """A held pose of the mouth, two keys a control, so that a strip of it has a length."""
    shape, step = key
    armature = avatar.armature
    action = bpy.data.actions.new(f"{avatar.name} mouth {shape}" + (f" {100 * step // STEPS}%" if step < STEPS else ""))
    armature.animation_data.action = action
    frames = np.array([0.0, 1.0])
    for name, values in pose.face.items():
        write_action_curve(armature, control_path(FACE, name), 0, FACE, frames, np.repeat(values, 2), "LINEAR")
    for joint, rotation in pose.pose.items():
        angles = bone_angles(armature.data.bones[joint], rotation.astype(np.float32))[0]
        path = f'pose.bones["{bpy.utils.escape_identifier(joint)}"].rotation_euler'
        write_action_curve(armature, path, 0, joint, frames, np.repeat(angles[0], 2), "LINEAR")
    armature.animation_data.action = None
    return action


def _strip(track: bpy.types.NlaTrack, action: bpy.types.Action, stretch: Stretch, start: float, rate: float) -> None:
    begin, full, fading, end = (start + rate * time for time in (stretch.start, stretch.full, stretch.fading, stretch.end))
    strip = track.strips.new(action.name, int(np.ceil(begin)), action)
    strip.action_frame_start, strip.action_frame_end = 0.0, 1.0
    strip.scale = end - begin
    strip.frame_start, strip.frame_end = begin, end
    strip.blend_type, strip.extrapolation = "ADD", "NOTHING"
    strip.use_auto_blend = False
    strip.blend_in, strip.blend_out = full - begin, end - fading
    if hasattr(strip, "action_slot") and strip.action_slot is None:
        strip.action_slot = action.slots[0]


def _push_down(data: bpy.types.AnimData) -> tuple[str, ...]:
    """Make a strip of the active action, which would hide what lies in the NLA."""
    action = data.action
    if action is None:
        return ()
    slot = getattr(data, "action_slot", None)
    data.action = None
    track = data.nla_tracks.new()
    track.name = action.name
    strip = track.strips.new(action.name, round(action.frame_range[0]), action)
    strip.frame_start = action.frame_range[0]
    if slot is not None:
        strip.action_slot = slot
    return (f"the active action “{action.name}” was pushed down into the NLA, so that it does not hide the lip-sync",)
