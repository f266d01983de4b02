"""The .motion file of `lookalike track`: safetensors with a JSON header, as backend/tracking/motion.py writes it."""

from __future__ import annotations

import json

import numpy as np

from .json_takes import tracked_take
from .take import MAX_FRAMES, MotionError, Take

FORMAT = 1
_HEADER_BYTES = 1 << 20
_ARRAYS = ("expression", "pose", "world_to_camera", "tracked")


def looks_tracked(data: bytes) -> bool:
    """True for a safetensors file with Lookalike's header."""
    length = int.from_bytes(data[:8], "little")
    return 0 < length <= min(_HEADER_BYTES, len(data) - 8) and b"lookalike_motion" in data[8 : 8 + length]


def read_tracked(data: bytes, source: str, fps: float = 0.0) -> Take:
    """A take from a .motion file's bytes.

    Raises:
        MotionError: corrupt, or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        length = int.from_bytes(data[:8], "little")
        header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lookalike_motion"])
        if header["format"] != FORMAT:
            raise MotionError(f"{source}: motion of format {header['format']}; this add-on reads {FORMAT}", "update Lookalike")
        arrays = load(data)
        values, pose, cameras, tracked = (arrays[name] for name in _ARRAYS)
        count, names, joints = len(values), header["expression_names"], header["joint_names"]
        wanted = [(count, len(names)), (count, len(joints), 3), (count, 4, 4), (count,)]
        if not 0 < count <= MAX_FRAMES or [a.shape for a in (values, pose, cameras, tracked)] != wanted:
            raise ValueError("its arrays do not fit each other")
        rate = fps or float(header["fps"]) or 1.0
        warnings = tuple(map(str, header["warnings"]))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, SafetensorError) as error:
        raise MotionError(f"{source}: not a valid motion file ({error})", "track the video again") from error
    wide = (values.astype(np.float64), joints, pose.astype(np.float64), cameras.astype(np.float64))
    return tracked_take(source, names, *wide, tracked.astype(bool), rate, warnings)


def write_tracked(
    names: tuple[str, ...], values: np.ndarray, joints: tuple[str, ...], pose: np.ndarray, fps: float, rig_id: str, source: str
) -> bytes:
    """The bytes of a .motion file of a face before a camera that stands still.

    Args:
        names, values: E expressions, [T, E]. joints, pose: J joints, [T, J, 3] axis-angle in the parent's frame, radians.
    """
    from safetensors.numpy import save

    count = len(values)
    header = {
        "format": FORMAT,
        "expression_names": names,
        "joint_names": joints,
        "size": [1, 1],
        "fps": fps,
        "rig_id": rig_id,
        "source": source,
        "warnings": [],
    }
    arrays = {
        "expression": np.ascontiguousarray(values, np.float32),
        "pose": np.ascontiguousarray(pose, np.float32),
        "world_to_camera": np.repeat(np.eye(4, dtype=np.float32)[None], count, 0),
        "intrinsics": np.repeat(np.eye(3, dtype=np.float32)[None], count, 0),
        "tracked": np.ones(count, np.bool_),
    }
    return save(arrays, metadata={"lookalike_motion": json.dumps(header, allow_nan=False)})
