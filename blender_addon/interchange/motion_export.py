"""An avatar's performance as a .motion file: what its face does on each frame, whatever moves it, for `lookalike render --motion`."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np

from ..avatar import expression_keys
from ..motion.take import MAX_FRAMES
from ..motion.tracked_file import write_tracked
from ..protocol import AvatarFileError
from ..protocol.avatar_file import write_atomically
from .posed import joint_rotations

SUFFIX = ".motion"


def export_motion(avatar: bpy.types.Collection, path: str | Path, first: int | None = None, last: int | None = None) -> Path:
    """Write every frame's expressions and joints as they are evaluated: keys, strips, drivers, constraints and captured layers.

    Args:
        first, last: frames; the scene's own range by default. The scene's frame is put back at the end.
    Raises:
        AvatarFileError: no frames or too many, an avatar that lost a part, or a folder that cannot be written.
    """
    scene = bpy.context.scene
    start, stop = scene.frame_start if first is None else first, scene.frame_end if last is None else last
    if not 0 < stop - start + 1 <= MAX_FRAMES:
        raise AvatarFileError(f"frames {start} to {stop} are none, or too many", "correct the frame range")
    keys = expression_keys(avatar)
    if not keys:
        raise AvatarFileError(f"{avatar.name}: has lost its rig", "undo the deletion or import it again")
    target = Path(path)
    if target.suffix.lower() != SUFFIX:  # shot.010 keeps its number
        target = target.with_name(target.name + SUFFIX)
    names, joints = tuple(key.name for key in keys), tuple(json.loads(avatar.lookalike.joints))
    values, poses = [], []
    before = scene.frame_current, scene.frame_subframe
    try:
        for frame in range(start, stop + 1):
            scene.frame_set(frame)
            values.append([0.0 if key.mute else key.value for key in expression_keys(avatar)])
            poses.append(joint_rotations(avatar))
    finally:
        scene.frame_set(before[0], subframe=before[1])
    fps = scene.render.fps / scene.render.fps_base
    data = write_tracked(names, np.array(values), joints, np.stack(poses), fps, avatar.lookalike.rig_id, avatar.name)
    write_atomically(target, data)
    return target
