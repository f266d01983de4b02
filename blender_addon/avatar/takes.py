"""A take onto an avatar: fitted to its controls, brought to the scene's frames, reduced to keys, in an action of its own.

Nothing that was there is lost: the action before it is kept, and by choice stays the active one with the take as an NLA strip.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import bpy
import numpy as np

from ..motion.key_reduction import kept_keys, largest_error
from ..motion.resampling import smoothed, to_frames
from ..motion.retarget import Fitted, fit_names, with_gain
from ..motion.take import F64, JOINTS, Take
from ..protocol import LookalikeError
from .build import BlenderAvatar
from .control_drivers import control_path
from .controls import add_controls, expression_names
from .face_board import ARKIT, FACE
from .keyframes import bone_angles, write_action_curve
from .rig_objects import SLIDER_MAX, SLIDER_MIN


@dataclass(frozen=True)
class TakeOptions:
    """How a take is put onto an avatar.

    Attributes:
        start: frame of the take's first moment.
        gain: factor of expressions and jaw.
        head: factors of the head's nod, turn and tilt; zeros leave the head alone.
        smoothing: width of the smoothing window in seconds, 0 for none.
        tolerance: largest error of an expression (of 0..1) from leaving out keys; 0 keys every frame.
        angle_tolerance: the same for rotations, radians.
        arkit_layer: ARKit's shapes go to the ARKit layer, so that work by hand on the face layer adds to them.
        strip: put the take into the NLA and leave the active action as it is.
    """

    start: float = 1.0
    gain: float = 1.0
    head: tuple[float, float, float] = (1.0, 1.0, 1.0)
    smoothing: float = 0.0
    tolerance: float = 0.005
    angle_tolerance: float = float(np.radians(0.1))
    arkit_layer: bool = True
    strip: bool = False


@dataclass(frozen=True)
class TakeReport:
    """What came of it.

    Attributes:
        action: name of the new action.
        first, last: frames.
        controls: how many channels were keyed.
        keys, frames: keys written, and as many as there would be with one a frame.
        error, angle_error: largest error from leaving out keys, of expressions and of rotations in radians.
        missed: names without a place on the avatar -> share of the motion.
        warnings: what the user should know.
    """

    action: str
    first: int
    last: int
    controls: int
    keys: int
    frames: int
    error: float
    angle_error: float
    missed: dict[str, float]
    warnings: tuple[str, ...]

    def summary(self) -> str:
        """One sentence for the status bar."""
        text = f"“{self.action}”: frames {self.first} to {self.last}, {self.controls} controls, {self.keys:,} of {self.frames:,} keys"
        text += f", error at most {self.error:.3f} and {np.degrees(self.angle_error):.2f}°"
        if self.missed:
            shown = ", ".join(sorted(self.missed, key=lambda name: -self.missed[name])[:4])
            more = f" and {len(self.missed) - 4} more" if len(self.missed) > 4 else ""
            text += f"; not on this avatar: {shown}{more} ({sum(self.missed.values()):.1%} of the motion)"
        return text


def apply_take(avatar: BlenderAvatar, take: Take, options: TakeOptions | None = None) -> TakeReport:
    """Key a take.

    Raises:
        LookalikeError: nothing of it fits the avatar, or the avatar cannot be keyed; nothing is changed then.
    """
    options = options or TakeOptions()
    collection = avatar.collection
    if avatar.armature.library is not None:
        raise LookalikeError(f"{collection.name}: is linked from another file", "make a library override of it first")
    fitted = fit_names(take, expression_names(collection), options.arkit_layer)
    fitted = with_gain(fitted, options.gain, options.head, (SLIDER_MIN, SLIDER_MAX))
    even = smoothed(to_frames(_as_take(take, fitted), _scene_fps()), options.smoothing)
    add_controls(collection)
    channels = _channels(avatar, even, options)
    return _write(avatar, even, channels, fitted, take, options)


def _as_take(take: Take, fitted: Fitted) -> Take:
    return replace(take, arkit=fitted.arkit, expressions=fitted.face, pose={j: v for j, v in fitted.pose.items() if j in JOINTS})


@dataclass(frozen=True)
class _Channel:
    path: str
    index: int
    group: str
    values: F64
    tolerance: float


def _channels(avatar: BlenderAvatar, take: Take, options: TakeOptions) -> list[_Channel]:
    channels = []
    for layer, values in ((ARKIT, take.arkit), (FACE, take.expressions)):
        channels += [_Channel(control_path(layer, name), 0, layer, track, options.tolerance) for name, track in values.items()]
    bones = avatar.armature.data.bones
    for joint, rotations in take.pose.items():
        if joint not in bones or (joint == "neck" and not any(options.head)):
            continue
        path = f'pose.bones["{bpy.utils.escape_identifier(joint)}"].rotation_euler'
        angles = bone_angles(bones[joint], rotations.astype(np.float32)).astype(np.float64)
        channels += [_Channel(path, axis, joint, angles[:, axis], options.angle_tolerance) for axis in range(3)]
    return channels


def _write(avatar: BlenderAvatar, take: Take, channels: list[_Channel], fitted: Fitted, source: Take, options: TakeOptions) -> TakeReport:
    armature = avatar.armature
    data = armature.animation_data or armature.animation_data_create()
    before, slot = data.action, getattr(data, "action_slot", None)
    action = bpy.data.actions.new(f"{avatar.name} {source.source.rpartition('.')[0] or source.source}"[:60])
    data.action = action
    errors, keys = {True: 0.0, False: 0.0}, 0
    frames = options.start + np.arange(len(take))
    for channel in channels:
        kept = kept_keys(channel.values, channel.tolerance)
        turns = channel.path.endswith("rotation_euler")
        errors[turns] = max(errors[turns], largest_error(channel.values, kept))
        keys += len(kept)
        write_action_curve(armature, channel.path, channel.index, channel.group, frames[kept], channel.values[kept], "LINEAR")
    action.use_fake_user = True
    if before is not None:
        before.use_fake_user = True
    if options.strip:
        _to_strip(data, action, options.start, before, slot)
    first, last = round(options.start), round(float(frames[-1]))
    warnings = (*source.warnings, *fitted.warnings)
    sizes = (len(channels), keys, len(channels) * len(take))
    return TakeReport(action.name, first, last, *sizes, errors[False], errors[True], fitted.missed, warnings)


def _to_strip(data: bpy.types.AnimData, action: bpy.types.Action, start: float, before: bpy.types.Action | None, slot: object) -> None:
    """Move the active action into a track of its own, and make active again what was."""
    new_slot = getattr(data, "action_slot", None)
    data.action = None
    track = data.nla_tracks.new()
    track.name = action.name
    strip = track.strips.new(action.name, round(start), action)
    if new_slot is not None and hasattr(strip, "action_slot"):
        strip.action_slot = new_slot
    strip.extrapolation = "NOTHING"
    if before is not None:
        data.action = before
        if slot is not None:
            data.action_slot = slot


def _scene_fps() -> float:
    render = bpy.context.scene.render
    return render.fps / render.fps_base
