"""VHAP's folders (NeRF export): one person each, ``transforms.json`` with a camera and a parameter file a frame.

The layout is FLAME's, but nothing in it is FLAME's alone: translation, rotation, neck, jaw and eyes are the joints that every
rig here has, shape and expr its coefficients. The generator writes the same folders for its own rigs, with ``rig`` and depth added.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32
from backend.protocol.errors import RigError
from backend.rig import Rig
from backend.rig.flame import read_npz
from backend.splats import Camera

from .pictures import read_grey, read_rgb, resized
from .view import DataError, View, pose_head

TRANSFORMS = "transforms.json"
MAX_JSON_BYTES = 64 << 20
MAX_FRAMES = 200_000
DEPTH_UNIT = 1e-4
"""Metres a step of a 16-bit depth picture."""
_JOINTS = (("rotation", "root", slice(0, 3)), ("neck_pose", "neck", slice(0, 3)), ("jaw_pose", "jaw", slice(0, 3)),
           ("eyes_pose", "eye_left", slice(0, 3)), ("eyes_pose", "eye_right", slice(3, 6)))  # fmt: skip
_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class _Sequence:
    """One person's folder and the entries of its frames."""

    folder: Path
    frames: list[dict[str, Any]]


class VhapFolders:
    """A `Footage` of VHAP's folders.

    Args:
        root: a sequence's folder, or a folder of such folders.
        rig: FLAME of the generation that the parameters were fitted with; of generated folders, their rig.
        size: side of the pictures that are given, pixels; others are resized, wide ones cut to a square about their middle.

    Raises:
        DataError: no sequence, or one whose list of frames is corrupt.
    """

    def __init__(self, root: Path, rig: Rig, size: int) -> None:
        self.rig, self.size = rig, size
        folders = [root] if (root / TRANSFORMS).is_file() else sorted(p.parent for p in root.glob(f"*/{TRANSFORMS}"))
        if not folders:
            raise DataError(f"{root}: no {TRANSFORMS} in it or in the folders in it", "give a folder that VHAP exported")
        self._sequences = [_read_sequence(folder, rig) for folder in folders]
        self.people = tuple(folder.name for folder in folders)

    def frames(self, person: int) -> int:
        return len(self._sequences[person].frames)

    def view(self, person: int, frame: int) -> View:
        sequence = self._sequences[person]
        entry, name = sequence.frames[frame], f"{sequence.folder.name}, frame {frame}"
        image = read_rgb(sequence.folder / _file(entry, "file_path", name))
        height, width = image.shape[:2]
        matte = np.ones((height, width), np.float32)
        if "fg_mask_path" in entry:
            matte = read_grey(sequence.folder / _file(entry, "fg_mask_path", name))
        depth = None
        if "depth_path" in entry:
            depth = read_grey(sequence.folder / _file(entry, "depth_path", name)) * np.float32(65535 * DEPTH_UNIT)
        for picture, what in ((matte, "mask"), (depth, "depth")):
            if picture is not None and picture.shape != (height, width):
                raise DataError(f"{name}: {what} of {picture.shape} beside a picture of {(height, width)}")
        parameters = _parameters(sequence.folder / _file(entry, "flame_param_path", name), self.rig)
        camera = _camera(entry, (width, height), name)
        # VHAP moves the posed head by a translation; here the camera moves instead.
        view = camera.world_to_camera.copy()
        view[:3, 3] += view[:3, :3] @ parameters["translation"]
        square = _Square.of(width, height, self.size)
        neutral = self.rig.template + self.rig.shape_basis[..., : len(parameters["shape"])] @ parameters["shape"]
        neutral = (neutral + parameters["static_offset"]).astype(np.float32)
        pose = np.zeros((len(self.rig.parents), 3), np.float32)
        for key, joint, part in _JOINTS:
            pose[self.rig.joint_names.index(joint)] = parameters[key][part]
        return View(
            square(image), square(matte), None if depth is None else square(depth, nearest=True), parameters["shape"], parameters["expr"],
            pose, neutral, pose_head(self.rig, neutral, parameters["expr"], pose),
            Camera(view, square.intrinsics(camera.intrinsics), self.size, self.size), self.people[person], str(frame),
        )  # fmt: skip


@dataclass(frozen=True)
class _Square:
    """The middle square of a picture, resized."""

    left: int
    top: int
    side: int
    size: int

    @staticmethod
    def of(width: int, height: int, size: int) -> _Square:
        side = min(width, height)
        return _Square((width - side) // 2, (height - side) // 2, side, size)

    def __call__(self, picture: F32, nearest: bool = False) -> F32:
        return resized(picture[self.top : self.top + self.side, self.left : self.left + self.side], self.size, nearest)

    def intrinsics(self, intrinsics: F32) -> F32:
        moved = intrinsics.copy()
        moved[:2, 2] -= [self.left, self.top]
        moved[:2] *= self.size / self.side
        return moved


def _read_sequence(folder: Path, rig: Rig) -> _Sequence:
    path = folder / TRANSFORMS
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: {path.stat().st_size >> 20} MB is more than a list of frames can be")
        content = json.loads(path.read_text("utf-8"))
        frames = content["frames"]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{path}: not a list of frames ({error})", "export the sequence again") from error
    if not isinstance(frames, list) or not frames or len(frames) > MAX_FRAMES or not all(isinstance(f, dict) for f in frames):
        raise DataError(f"{path}: not a list of 1 to {MAX_FRAMES} frames", "export the sequence again")
    if content.get("rig", rig.rig_id) != rig.rig_id:
        raise DataError(f"{path}: made with rig {content['rig']}, not {rig.rig_id}", "set rig in the [data] section to that one")
    shared = {key: value for key, value in content.items() if key in ("fl_x", "fl_y", "cx", "cy", "w", "h", "camera_angle_x")}
    return _Sequence(folder, [shared | frame for frame in frames])


def _file(entry: dict[str, Any], key: str, name: str) -> str:
    """A file named by an entry, which must lie inside the folder."""
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise DataError(f"{name}: no {key}", "export the sequence again")
    # VHAP's own exports point beside the sequence's folder, never above its parent.
    if Path(value).is_absolute() or value.replace("\\", "/").split("/").count("..") > 1:
        raise DataError(f"{name}: {key} points outside of its folder ({value})", "do not use this folder")
    return value


def _camera(entry: dict[str, Any], size: tuple[int, int], name: str) -> Camera:
    """The camera of an entry, in pixels of the picture that is there (files may be of another size than the entry says)."""
    width, height = size
    try:
        to_world = np.array(entry["transform_matrix"], np.float64)
        stated = float(entry.get("w", width)), float(entry.get("h", height))
        if "fl_x" in entry:
            focal = float(entry["fl_x"]), float(entry.get("fl_y", entry["fl_x"]))
        else:
            focal = (stated[0] / 2 / math.tan(float(entry["camera_angle_x"]) / 2),) * 2
        centre = float(entry.get("cx", stated[0] / 2)), float(entry.get("cy", stated[1] / 2))
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise DataError(f"{name}: no usable camera ({error})", "export the sequence again") from error
    values = np.array([*stated, *focal, *centre])
    if to_world.shape != (4, 4) or not (np.isfinite(to_world).all() and np.isfinite(values).all()) or min(*stated, *focal) <= 0:
        raise DataError(f"{name}: the camera is not usable", "export the sequence again")
    if not (np.allclose(to_world[:3, :3] @ to_world[:3, :3].T, np.eye(3), atol=1e-3) and np.allclose(to_world[3], [0, 0, 0, 1])):
        raise DataError(f"{name}: the camera's rotation is not one", "export the sequence again")
    scale = np.array([width / stated[0], height / stated[1]])
    intrinsics = np.eye(3)
    intrinsics[[0, 1], [0, 1]] = focal * scale
    intrinsics[:2, 2] = centre * scale
    return Camera(np.linalg.inv(to_world @ _TO_OPENCV).astype(np.float32), intrinsics.astype(np.float32), width, height)


def _parameters(path: Path, rig: Rig) -> dict[str, NDArray[np.float32]]:
    """The arrays of a frame's file, flat, checked against the rig."""
    try:
        content = read_npz(path)
    except RigError as error:
        raise DataError(error.message, "export the sequence again") from error
    expected = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6}
    arrays: dict[str, NDArray[np.float32]] = {}
    for key in (*expected, "shape", "expr"):
        if key not in content:
            raise DataError(f"{path}: {key} is missing", "export the sequence again")
        arrays[key] = _numbers(content[key], f"{path}: {key}").reshape(-1)
        if key in expected and len(arrays[key]) != expected[key]:
            raise DataError(f"{path}: {key} has {len(arrays[key])} values, not {expected[key]}")
    if len(arrays["shape"]) > rig.shape_basis.shape[2] or len(arrays["expr"]) > len(rig.expression_names):
        raise DataError(
            f"{path}: {len(arrays['shape'])} shape and {len(arrays['expr'])} expression values, more than {rig.rig_id} has",
            "choose the rig that they were fitted with",
        )
    offset = _numbers(content.get("static_offset", np.zeros((1, len(rig.template), 3))), f"{path}: static_offset")
    if offset.size % 3:
        raise DataError(f"{path}: static_offset has {offset.size} values, not three a vertex", "export the sequence again")
    offset = offset.reshape(-1, 3)
    # VHAP appends 120 vertices of teeth to FLAME's; they have no place on the rig.
    arrays["static_offset"] = offset[: len(rig.template)]
    if len(arrays["static_offset"]) != len(rig.template):
        raise DataError(f"{path}: static_offset has {len(offset)} vertices, {rig.rig_id} has {len(rig.template)}")
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {key} holds numbers that are not finite")
    return arrays


def _numbers(values: Any, name: str) -> NDArray[np.float32]:
    try:
        return np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} holds no numbers ({error})", "export the sequence again") from error
