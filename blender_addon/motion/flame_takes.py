"""FLAME parameters over time, however trackers store them: any subset of expression, jaw, eyes, neck and head rotation.

Names are those of VHAP, GaussianAvatars, LAM, GAGAvatar_track, DECA-like trackers and SMPL-X exports.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .rotations import head_on_neck, matrices
from .take import F64, MAX_FRAMES, MotionError, Take, even_times

NAMES: dict[str, tuple[str, ...]] = {
    "expression": ("expr", "expcode", "exp", "expression", "expressions", "expression_params", "exp_code"),
    "jaw": ("jaw_pose", "jaw", "jaw_params"),
    "eyes": ("eyes_pose", "eyecode", "eye_pose", "eyes", "eye_code"),
    "neck": ("neck_pose", "neck", "neck_params"),
    "head": ("rotation", "global_orient", "global_rotation", "root_pose", "R"),
    "posecode": ("posecode", "pose_code"),
    "poses": ("pose", "poses", "full_pose"),
    "transform": ("transform_matrix",),
}
"""What it is -> the names it goes by."""

_WIDTHS = {"jaw": (3,), "eyes": (6,), "neck": (3,), "head": (3,), "posecode": (6,), "poses": (15,)}
MAX_EXPRESSIONS = 400


def flame_name(index: int) -> str:
    """The name of FLAME's expression coefficient on our rigs."""
    return f"expr{index:03d}"


def looks_like_flame(names: object) -> bool:
    """True where at least one array's name is FLAME's."""
    return bool(set(names) & {name for known in NAMES.values() for name in known})  # type: ignore[call-overload]


def read_flame(arrays: Mapping[str, NDArray], source: str, kind: str, fps: float = 0.0, cameras: F64 | None = None) -> Take:
    """A take from arrays with one row a frame.

    Args:
        arrays: by the trackers' names; what is not known is told.
        fps: 0 goes by an `fps` array, 25 where there is none.
        cameras: [T, 3, 3] rotation from the head's world to the camera of each frame, where the camera or the head's pose in it moves.
    Raises:
        MotionError: nothing of FLAME in it, or frames that do not agree.
    """
    found = {what: arrays[name] for what, names in NAMES.items() for name in names if name in arrays}
    if not found:
        raise MotionError(f"{source}: no FLAME parameters in it", f"name the arrays {', '.join(n[0] for n in NAMES.values())}")
    count = _frames(found, source)
    rows = {what: _rows(values, count, what, source) for what, values in found.items() if what != "transform"}
    parts = _split_poses(rows)
    if "transform" in found and cameras is None:
        cameras = _gagavatar_cameras(found["transform"], count, source)
    expressions = {flame_name(i): column for i, column in enumerate(rows.get("expression", np.zeros((count, 0))).T)}
    rate = fps or _rate(arrays) or 25.0
    notes = () if fps or _rate(arrays) else ("no frame rate in it: taken as 25 frames a second",)
    known = {name for names in NAMES.values() for name in names} | {"fps", "shape", "shapecode", "translation", "static_offset", "bbox"}
    known |= {"dynamic_offset", "timestep_id", "focal_length", "betas", "trans", "camera"}
    unknown = sorted(set(arrays) - known)
    if unknown:
        notes += (f"not used: {', '.join(unknown[:6])}{'…' if len(unknown) > 6 else ''}",)
    return Take(kind, source, even_times(count, rate), rate, expressions=expressions, pose=_joints(parts, cameras), warnings=notes)


def _frames(found: Mapping[str, NDArray], source: str) -> int:
    """How many frames there are: the rows of what varies; arrays of one row hold for all."""
    counts = {what: len(np.atleast_2d(values)) for what, values in found.items()}
    many = {count for count in counts.values() if count > 1} or {1}
    if len(many) > 1:
        said = ", ".join(f"{what} {count}" for what, count in counts.items())
        raise MotionError(f"{source}: its arrays have different numbers of frames ({said})", "save one row a frame")
    if max(many) > MAX_FRAMES:
        raise MotionError(f"{source}: has {max(many):,} frames; {MAX_FRAMES:,} can be read", "cut the take into parts")
    return max(many)


def _rows(values: NDArray, count: int, what: str, source: str) -> F64:
    rows = np.atleast_2d(np.asarray(values, np.float64))
    if what == "head" and rows.ndim == 3 and rows.shape[1:] == (3, 3):
        from .rotations import axis_angles

        rows = axis_angles(rows)
    rows = rows.reshape(len(rows), -1)
    widths = _WIDTHS.get(what)
    if (widths and rows.shape[1] not in widths) or rows.shape[1] > MAX_EXPRESSIONS or len(rows) not in (1, count):
        raise MotionError(f"{source}: {what} has shape {np.shape(values)}", f"save {(widths or ('E',))[0]} numbers a frame")
    return np.broadcast_to(rows, (count, rows.shape[1]))


def _split_poses(rows: dict[str, F64]) -> dict[str, F64]:
    """Joints' rotations, taken out of the arrays that hold several."""
    parts = {name: rows[name] for name in ("head", "neck", "jaw", "eyes") if name in rows}
    if "posecode" in rows:  # EMICA: global, jaw; the global one is zero or in the camera
        parts.setdefault("jaw", rows["posecode"][:, 3:6])
    if "poses" in rows:
        for name, columns in (("head", slice(0, 3)), ("neck", slice(3, 6)), ("jaw", slice(6, 9)), ("eyes", slice(9, 15))):
            parts.setdefault(name, rows["poses"][:, columns])
    return parts


def _joints(parts: Mapping[str, F64], cameras: F64 | None) -> dict[str, F64]:
    pose: dict[str, F64] = {}
    if "jaw" in parts:
        pose["jaw"] = parts["jaw"]
    if "eyes" in parts:
        pose |= {"eye_left": parts["eyes"][:, :3], "eye_right": parts["eyes"][:, 3:]}
    head = matrices(parts["head"]) if "head" in parts else None
    if cameras is not None:
        head = cameras if head is None else cameras @ head
    if head is not None:
        pose["neck"] = head_on_neck(head, parts.get("neck"))
    elif "neck" in parts:
        pose["neck"] = parts["neck"]
    return pose


def _gagavatar_cameras(transforms: NDArray, count: int, source: str) -> F64:
    """[T, 3, 3] world to camera of PyTorch3D's row-vector [R | T], where X_cam = X_world R + T."""
    if transforms.shape[-2:] not in ((3, 4), (4, 4)) or transforms.size != count * transforms.shape[-2] * 4:
        raise MotionError(f"{source}: transform_matrix has shape {transforms.shape}", "save one [3, 4] matrix a frame")
    return np.asarray(transforms, np.float64).reshape(count, -1, 4)[:, :3, :3].transpose(0, 2, 1)


def _rate(arrays: Mapping[str, NDArray]) -> float:
    rate = float(np.ravel(arrays["fps"])[0]) if "fps" in arrays and np.size(arrays["fps"]) else 0.0
    return rate if np.isfinite(rate) and 0 < rate <= 1000 else 0.0
