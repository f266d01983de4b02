"""Sequences of VHAP, GaussianAvatars and LAM, `flame_param/00000.npz ..` beside `transforms.json`, and GAGAvatar_track's pickles."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..protocol.restricted_pickle import parse_pickle
from .flame_takes import NAMES, looks_like_flame, read_flame
from .npz import read_npz
from .take import F64, MAX_FRAMES, MotionError, Take

PARAMETERS = "flame_param"
TRANSFORMS = "transforms.json"
_KNOWN = {name for names in NAMES.values() for name in names}
_PER_FRAME_BYTES = 1 << 24
_FLIP = np.diag([1.0, -1.0, -1.0])
"""OpenGL's camera axes to OpenCV's."""


def folder_of(path: Path) -> Path | None:
    """The sequence's folder that `path` belongs to: itself, its transforms.json, its flame_param folder or a file in that; else None."""
    for candidate in (path, path.parent, path.parent.parent):
        if (candidate / PARAMETERS).is_dir():
            return candidate
    return None


def read_folder(folder: Path, fps: float = 0.0) -> Take:
    """A take from a folder of one .npz a frame; with transforms.json in its order and seen by its cameras.

    Raises:
        MotionError: no frames, or torn ones.
    """
    paths, cameras, said = _listed(folder)
    if not 0 < len(paths) <= MAX_FRAMES:
        raise MotionError(f"{folder.name}: has {len(paths):,} frames of FLAME parameters", "choose a folder with flame_param/00000.npz")
    frames, torn = [], []
    for path in paths:
        try:
            frames.append({k: v for k, v in _read_frame(path).items() if k in _KNOWN})
        except MotionError as error:
            torn.append(str(error))
            frames.append({})
    if len(torn) == len(paths):
        raise MotionError(f"{folder.name}: none of its frames can be read ({torn[0]})")
    take = read_flame(stacked(frames, folder.name), folder.name, "FLAME sequence", fps or said or 30.0, cameras)
    notes = (f"{len(torn)} frames cannot be read: interpolated ({torn[0]})",) if torn else ()
    rate_notes = () if fps or said else ("no frame rate in it: taken as 30 frames a second",)
    return Take(**{**vars(take), "warnings": (*notes, *rate_notes, *take.warnings)})


def read_tracker_pickle(data: bytes, source: str, fps: float = 0.0) -> Take:
    """A take from GAGAvatar_track's smoothed.pkl or optim.pkl, or any pickled dict of FLAME arrays; no code of it runs.

    Raises:
        MotionError: hostile, corrupt, or without FLAME parameters.
    """
    content = parse_pickle(data, source, MotionError)
    if isinstance(content, dict) and content and all(isinstance(v, dict) for v in content.values()):
        keys = sorted(content, key=_number)
        frames = [{k: np.asarray(v) for k, v in content[key].items() if k in _KNOWN and isinstance(v, np.ndarray)} for key in keys]
        return read_flame(stacked(frames, source), source, "GAGAvatar track", fps)
    if isinstance(content, dict) and looks_like_flame(content):
        arrays = {str(k): np.asarray(v) for k, v in content.items() if isinstance(v, np.ndarray | int | float)}
        return read_flame(arrays, source, "FLAME pickle", fps)
    raise MotionError(f"{source}: no FLAME parameters in it", "use smoothed.pkl of GAGAvatar_track, or a dict of arrays")


def stacked(frames: Sequence[dict[str, NDArray]], source: str) -> dict[str, F64]:
    """One array a name with a row a frame; frames that lack it are NaN there."""
    shapes: dict[str, tuple[int, ...]] = {}
    for frame in frames:
        for name, values in frame.items():
            shape = tuple(n for n in values.shape if n != 1) or (1,)
            if shapes.setdefault(name, shape) != shape:
                raise MotionError(f"{source}: {name} has {shape} in one frame and {shapes[name]} in another")
    whole = {name: np.full((len(frames), *shape), np.nan) for name, shape in shapes.items()}
    for i, frame in enumerate(frames):
        for name, values in frame.items():
            whole[name][i] = np.asarray(values, np.float64).reshape(shapes[name])
    return whole


def _listed(folder: Path) -> tuple[list[Path], F64 | None, float]:
    """The frames' files in order, their cameras [T, 3, 3] where known, and the frame rate or 0."""
    transforms = _transforms(folder / TRANSFORMS)
    frames = transforms.get("frames", []) if isinstance(transforms, dict) else []
    chosen: dict[str, Any] = {}
    for frame in frames if isinstance(frames, list) else []:
        name = frame.get("flame_param_path") if isinstance(frame, dict) else None
        if isinstance(name, str) and name not in chosen:  # several cameras see one moment: the first is as good as any
            chosen[name] = frame
    if not chosen:
        found = [p for p in (folder / PARAMETERS).glob("*.npz") if re.search(r"\d", p.stem)]
        return sorted(found, key=lambda p: _number(p.stem)), None, 0.0
    ordered = sorted(chosen.items(), key=lambda item: (_number(item[1].get("timestep_index", item[0])), item[0]))
    # A name in a file may point anywhere: only its last part is used, within this sequence.
    paths = [folder / PARAMETERS / Path(name.replace("\\", "/")).name for name, _ in ordered]
    cameras = _cameras([frame for _, frame in ordered])
    rate = transforms.get("fps", 0.0)
    return paths, cameras, float(rate) if isinstance(rate, int | float) and 0 < rate <= 1000 else 0.0


def _cameras(frames: Sequence[dict]) -> F64 | None:
    """World to camera rotations from OpenGL camera-to-world matrices; None where one camera saw all, or one is missing."""
    if len({frame.get("camera_index", 0) for frame in frames}) > 1:
        return None
    try:
        poses = np.array([frame["transform_matrix"] for frame in frames], np.float64)
    except (KeyError, ValueError, TypeError):
        return None
    if poses.shape != (len(frames), 4, 4) or not np.isfinite(poses).all():
        return None
    return (poses[:, :3, :3] @ _FLIP).transpose(0, 2, 1)


def _transforms(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise MotionError(f"{path.name}: cannot be read ({error})", "export the sequence again") from error


def _read_frame(path: Path) -> dict[str, NDArray]:
    try:
        if path.stat().st_size > _PER_FRAME_BYTES:
            raise MotionError(f"{path.name}: too large for one frame")
        return read_npz(path.read_bytes(), path.name)
    except OSError as error:
        raise MotionError(f"{path.name}: cannot be read ({error.strerror})") from error


def _number(key: object) -> int:
    """The last number in a frame's name: `take_00012` -> 12."""
    if isinstance(key, int):
        return key
    found = re.findall(r"\d+", str(key))
    return int(found[-1][:18]) if found else 0
