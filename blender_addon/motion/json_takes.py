"""Motion in JSON: ARKit weights (LAM's and OpenAvatarChat's layout, or a plain dict of lists) and what `lookalike track` writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arkit import arkit_name
from .rotations import head_on_neck
from .take import F64, JOINTS, MAX_FRAMES, MotionError, Take, even_times


def read_json(data: Any, source: str, fps: float = 0.0) -> Take:
    """A take from parsed JSON, told apart by its keys.

    Args:
        fps: frames a second where the user knows better; 0 goes by the file, 30 where it does not say.
    Raises:
        MotionError: none of the layouts, or torn.
    """
    try:
        if isinstance(data, dict) and isinstance(data.get("frames"), list):
            if "names" in data:
                return _arkit_frames(data, source, fps)
            if data["frames"] and isinstance(data["frames"][0], dict) and "pose" in data["frames"][0]:
                return _tracked(data, source, fps)
        if isinstance(data, dict) and sum(arkit_name(str(key)) is not None for key in data) >= 3:
            return _columns(data, source, fps)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise MotionError(f"{source}: not a motion that can be read ({error})", "export it again") from error
    raise MotionError(f"{source}: JSON, but not a motion", "use ARKit curves, `lookalike track` output or Rhubarb cues")


def _arkit_frames(data: dict, source: str, fps: float) -> Take:
    names, frames = data["names"], data["frames"]
    _check_count(len(frames), source)
    weights = np.full((len(frames), len(names)), np.nan)
    torn = 0
    for i, frame in enumerate(frames):
        row = np.array(frame["weights"], np.float64).ravel()
        torn += len(row) != len(names)
        weights[i, : len(row)] = row[: len(names)]
    stamps = np.array([frame.get("time", np.nan) for frame in frames], np.float64)
    times, rate, notes = _stamped(stamps, fps)
    shapes = [arkit_name(str(name)) for name in names]
    arkit = {shape: weights[:, i] for i, shape in enumerate(shapes) if shape}
    others = {str(name): weights[:, i] for i, (name, shape) in enumerate(zip(names, shapes, strict=True)) if not shape}
    if torn:
        notes += (f"{torn} frames have another number of weights than there are names",)
    return Take("ARKit JSON", source, times, rate, arkit=arkit, expressions=others, pose=_head_pose(data, len(frames)), warnings=notes)


def _head_pose(data: dict, count: int) -> dict[str, F64]:
    """The head's axis-angle [T, 3] where the file has one a frame: `head_pose`, or each frame's `rotation`."""
    rows = data.get("head_pose") or [frame.get("rotation") or [] for frame in data["frames"]]
    if len(rows) != count or not all(isinstance(row, list) and len(row) == 3 for row in rows):
        return {}
    return {"neck": np.array(rows, np.float64)}


def _columns(data: dict, source: str, fps: float) -> Take:
    columns = {shape: np.array(values, np.float64) for key, values in data.items() if (shape := arkit_name(str(key)))}
    lengths = {values.shape for values in columns.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise MotionError(f"{source}: its curves have different lengths", "export it again")
    count = next(iter(lengths))[0]
    _check_count(count, source)
    rate = fps or float(data.get("fps") or 30.0)
    return Take("ARKit JSON", source, even_times(count, rate), rate, arkit=columns)


def _tracked(data: dict, source: str, fps: float) -> Take:
    frames = data["frames"]
    _check_count(len(frames), source)
    names = list(dict.fromkeys(name for frame in frames for name in frame["expression"]))
    joints = list(frames[0]["pose"])
    values = np.array([[frame["expression"].get(name, 0.0) for name in names] for frame in frames], np.float64)
    pose = np.array([[frame["pose"][joint] for joint in joints] for frame in frames], np.float64)
    cameras = np.array([frame["world_to_camera"] for frame in frames], np.float64)
    tracked = np.array([bool(frame.get("tracked", True)) for frame in frames])
    rate = fps or float(data.get("fps") or 0.0) or 30.0
    take = (names, values, joints, pose, cameras, tracked, rate)
    return tracked_take(source, *take, warnings=tuple(map(str, data.get("warnings", ()))))


def tracked_take(
    source: str, names, values: F64, joints, pose: F64, cameras: F64, tracked, rate: float, warnings: tuple[str, ...] = ()
) -> Take:
    """What the backend tracked, with the head's turn before the camera put onto the neck.

    Args:
        names, values: E expressions, [T, E].
        joints, pose: J joints, [T, J, 3] axis-angle.
        cameras: [T, 4, 4] world to camera.
        tracked: [T] False where no face was seen.
    """
    turns = {name: np.asarray(pose[:, i], np.float64) for i, name in enumerate(joints) if name in JOINTS}
    first = int(np.argmax(tracked))
    turns["neck"] = head_on_neck(cameras[:, :3, :3], turns.get("neck"), first)
    expressions = {str(name): np.asarray(values[:, i], np.float64) for i, name in enumerate(names)}
    lost = int(len(tracked) - np.sum(tracked))
    notes = (*warnings, f"no face in {lost} frames: interpolated") if lost else warnings
    return Take("tracked video", source, even_times(len(values), rate), rate, expressions=expressions, pose=turns, warnings=tuple(notes))


def _stamped(stamps: F64, fps: float) -> tuple[F64, float, tuple[str, ...]]:
    """Times, rate and notes from the frames' own times."""
    if fps:
        return even_times(len(stamps), fps), fps, ()
    steps = np.diff(stamps)
    if not np.isfinite(stamps).all() or not len(steps) or (steps <= 0).any():
        notes = ("its times do not increase: taken as 30 frames a second",) if len(steps) else ()
        return even_times(len(stamps), 30.0), 30.0, notes
    return stamps - stamps[0], float(np.clip(round(1 / float(np.median(steps)), 3), 0.1, 1000)), ()


def _check_count(count: int, source: str) -> None:
    if not 0 < count <= MAX_FRAMES:
        reason = f"has {count:,} frames; {MAX_FRAMES:,} can be read" if count else "has no frames"
        raise MotionError(f"{source}: {reason}", "cut the take into parts" if count else "record it again")
