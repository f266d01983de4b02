"""A performance as rig parameters over time, and its file: one safetensors file with a JSON header."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from backend.protocol.avatar import F32, Driver
from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError
from backend.rig.rig import Rig

from .rotation import axis_angle

FORMAT = 1
SUFFIX = ".motion"
MAX_BYTES = 1 << 30
MAX_FRAMES = 18_000
"""Ten minutes at 30 frames a second."""

_HEADER_BYTES = 1 << 20
_ARRAYS = ("expression", "pose", "world_to_camera", "intrinsics", "tracked")


@dataclass(frozen=True)
class Motion:
    """T frames of one person. Metres and radians; cameras as in `Driver`.

    Attributes:
        expression: [T, E] value of each named expression.
        pose: [T, J, 3] axis-angle of each joint in its parent's frame.
        world_to_camera: [T, 4, 4]; the head's own motion is in here, see `head_on_neck`.
        intrinsics: [T, 3, 3] pixels.
        tracked: [T] False where no face was seen and the values are interpolated.
        expression_names, joint_names: E and J names.
        size: (width, height) of the pictures.
        fps: frames a second; 0 for photos.
        rig_id: which rig the names and poses belong to.
        source: file name.
        warnings: what the user should know.
    """

    expression: F32
    pose: F32
    world_to_camera: F32
    intrinsics: F32
    tracked: NDArray[np.bool_]
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    size: tuple[int, int]
    fps: float
    rig_id: str
    source: str
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.expression)

    def driver(self, frame: int) -> Driver:
        """One frame's rig parameters."""
        values = dict(zip(self.expression_names, map(float, self.expression[frame]), strict=True))
        return Driver(values, self.pose[frame], self.world_to_camera[frame], self.intrinsics[frame], self.size)

    def head_on_neck(self) -> Motion:
        """The same motion seen by a camera that stands still: the head's turn, relative to the first tracked frame's
        camera, becomes the neck's rotation. Its small translations are dropped: a neck cannot make them."""
        first = int(np.argmax(self.tracked))
        still = self.world_to_camera[first].astype(np.float64)
        pose = self.pose.copy()
        neck = self.joint_names.index("neck")
        for i, view in enumerate(self.world_to_camera.astype(np.float64)):
            pose[i, neck] = axis_angle(still[:3, :3].T @ view[:3, :3])
        return replace(self, pose=pose, world_to_camera=np.repeat(self.world_to_camera[first][None], len(self), 0))


def motion_of_drivers(drivers: Sequence[Driver], rig: Rig, source: str, fps: float = 0.0, warnings: tuple[str, ...] = ()) -> Motion:
    """Drivers in order, e.g. a fit's, as a motion. They must be of pictures of one size, or of photos (then the first's is kept)."""
    expression = [[d.expression.get(name, 0.0) for name in rig.expression_names] for d in drivers]
    return Motion(
        expression=np.array(expression, np.float32),
        pose=np.stack([d.pose for d in drivers]).astype(np.float32),
        world_to_camera=np.stack([d.world_to_camera for d in drivers]).astype(np.float32),
        intrinsics=np.stack([d.intrinsics for d in drivers]).astype(np.float32),
        tracked=np.ones(len(drivers), np.bool_),
        expression_names=rig.expression_names,
        joint_names=rig.joint_names,
        size=drivers[0].size,
        fps=fps,
        rig_id=rig.rig_id,
        source=source,
        warnings=warnings,
    )


def write_motion(path: str | os.PathLike[str], motion: Motion) -> None:
    """Write atomically.

    Raises:
        AvatarFileError: the folder cannot be written.
    """
    header = {
        "format": FORMAT,
        "expression_names": motion.expression_names,
        "joint_names": motion.joint_names,
        "size": motion.size,
        "fps": motion.fps,
        "rig_id": motion.rig_id,
        "source": motion.source,
        "warnings": motion.warnings,
    }
    arrays = {name: np.ascontiguousarray(getattr(motion, name)) for name in _ARRAYS}
    write_atomically(Path(path), save(arrays, metadata={"lookalike_motion": json.dumps(header, allow_nan=False)}))


def read_motion(path: str | os.PathLike[str]) -> Motion:
    """Read and check a motion file.

    Raises:
        AvatarFileError: missing, truncated, corrupt, of another version, or inconsistent.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AvatarFileError(f"{path.name}: too large to be a motion file")
        data = path.read_bytes()
    except OSError as error:
        raise AvatarFileError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > min(_HEADER_BYTES, len(data) - 8):
            raise ValueError("no header")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lookalike_motion"])
        if header["format"] != FORMAT:
            raise ValueError(f"format version {header['format']}, this software reads {FORMAT}")
        arrays = load(data)
        motion = Motion(
            **{name: arrays[name] for name in _ARRAYS},
            expression_names=tuple(map(str, header["expression_names"])),
            joint_names=tuple(map(str, header["joint_names"])),
            size=(int(header["size"][0]), int(header["size"][1])),
            fps=float(header["fps"]),
            rig_id=str(header["rig_id"]),
            source=str(header["source"]),
            warnings=tuple(map(str, header["warnings"])),
        )
        _check(motion)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, SafetensorError) as error:
        raise AvatarFileError(f"{path.name}: not a valid motion file ({error})") from error
    return motion


def _check(motion: Motion) -> None:
    frames = len(motion.expression)
    shapes = {
        "expression": (frames, len(motion.expression_names)),
        "pose": (frames, len(motion.joint_names), 3),
        "world_to_camera": (frames, 4, 4),
        "intrinsics": (frames, 3, 3),
        "tracked": (frames,),
    }
    if not 0 < frames <= MAX_FRAMES:
        raise ValueError(f"{frames} frames")
    for name, shape in shapes.items():
        array = getattr(motion, name)
        if array.shape != shape or array.dtype != (np.bool_ if name == "tracked" else np.float32):
            raise ValueError(f"{name} is {array.dtype} {array.shape}, not {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
