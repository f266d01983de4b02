"""Refined frames of a motion, as an image sequence, and the note beside it by which Blender places its camera."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from backend.models.interface import Refining
from backend.protocol.avatar import F32, Avatar
from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError
from backend.splats.camera import Camera
from backend.splats.posed import Posable
from backend.splats.render import render_splats
from backend.tracking.motion import Motion, read_motion

FORMAT = 1
NOTE = "sequence.json"
STILL = 1e-5
"""A camera whose matrices differ by less stands still, and the head's turns are in the pose already."""


def face_motion(path: Path) -> Motion:
    """A motion whose head turns by its neck before a camera that stands still.

    Raises:
        AvatarFileError: missing, or not what `lookalike track` and Blender's *Export Motion* write.
    """
    try:
        motion = read_motion(path)
    except AvatarFileError as error:
        told = "in Blender, import it with Import Motion and write it with Export Motion: that reads ARKit, FLAME and others"
        raise AvatarFileError(error.message, error.remedy or told) from error
    moves = np.ptp(motion.world_to_camera, axis=0).max() > STILL
    return motion.head_on_neck() if moves else motion


def unknown_names(motion: Motion, avatar: Avatar) -> list[str]:
    """Expressions that the motion moves and the avatar does not have."""
    used = np.abs(motion.expression).max(0) > 0
    return [name for name, one in zip(motion.expression_names, used, strict=True) if one and name not in avatar.rig.expression_names]


def refined_frames(
    model: Refining, avatar: Avatar, lod: int, motion: Motion, yaw: float, pitch: float, chosen: range
) -> Iterator[tuple[F32, F32]]:
    """Pictures [S, S, 3] on black and coverage [S, S] of the chosen frames.

    The coverage is the avatar's own, and at least as much as the picture needs to be one on black: its alpha.
    """
    camera = model.refined_camera(avatar, yaw, pitch)
    posable = Posable(avatar, lod)
    for index in chosen:
        expression, pose = face_of(motion, index, avatar)
        picture = np.clip(model.refine(avatar, lod, yaw, pitch, expression, pose), 0, 1)
        _, coverage = render_splats(posable.pose(expression, pose), camera, (0.0, 0.0, 0.0))
        yield picture, np.maximum(coverage, picture.max(2))


def face_of(motion: Motion, index: int, avatar: Avatar) -> tuple[dict[str, float], F32]:
    """Expression and pose [J, 3] of one frame on the avatar's rig; names that it does not have are left out."""
    driver = motion.driver(index)
    expression = {name: value for name, value in driver.expression.items() if name in avatar.rig.expression_names}
    pose = np.zeros((len(avatar.rig.joints), 3), np.float32)
    for name, rotation in zip(motion.joint_names, driver.pose, strict=True):
        if name in avatar.rig.joint_names:
            pose[avatar.rig.joint_names.index(name)] = rotation
    return expression, pose


def write_note(folder: Path, stem: str, frames: range, fps: float, camera: Camera, transparent: bool) -> Path:
    """What Blender needs to know of a sequence ``STEM_0001.png``, ...: its camera in the avatar's frame, numbers and rate.

    Args:
        frames: numbers of the files. camera: of the files' size.
    """
    facts = {
        "lookalike_sequence": FORMAT,
        "stem": stem,
        "first": frames.start,
        "count": len(frames),
        "fps": fps,
        "size": [camera.width, camera.height],
        "world_to_camera": np.asarray(camera.world_to_camera, float).tolist(),
        "intrinsics": np.asarray(camera.intrinsics, float).tolist(),
        "transparent": transparent,
    }
    path = folder / f"{stem}.{NOTE}"
    write_atomically(path, json.dumps(facts, allow_nan=False).encode())
    return path


def resized(camera: Camera, size: int) -> Camera:
    """The camera of the picture made `size` pixels wide and as high in proportion."""
    factor = size / camera.width
    intrinsics = camera.intrinsics.astype(np.float32).copy()
    intrinsics[:2] *= factor
    return Camera(camera.world_to_camera, intrinsics, size, round(camera.height * factor))
