"""Drivers of photos or of a video's frames, as arrays that the wire and files carry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.models.interface import Listener
from backend.protocol.avatar import Driver
from backend.protocol.errors import ImageError
from backend.protocol.messages import Track

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

File = tuple[str, bytes]


def track_files(files: Sequence[File], request: Track, listener: Listener) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Several photos of one person, or one video -> (arrays as in `messages.Track`, expression names).

    Raises:
        ImageError: cannot be decoded, or a video beside other files.
        FaceError: no face, or several without a choice.
    """
    from backend.rig import load_rig
    from backend.tracking import fit

    from .pipeline import load_portraits

    rig = load_rig(request.rig)
    videos = [name for name, _ in files if is_video(name)]
    if videos and len(files) > 1:
        raise ImageError(f"{videos[0]}: a video is tracked alone", "track the photos and the video separately")
    if videos:
        from .video_frames import track_video_bytes

        face = request.faces[0] if request.faces else None
        return stack_drivers(track_video_bytes(files[0], rig, face, listener), rig.expression_names)
    portraits = load_portraits(files, request.faces, listener)
    listener.progress(0.5, "fit", "fitting the head to the landmarks")
    return stack_drivers(fit(portraits, rig).drivers, rig.expression_names)


def is_video(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def stack_drivers(drivers: Sequence[Driver], names: Sequence[str]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """One row a frame: expression [F, E], pose [F, J, 3], world_to_camera [F, 4, 4], intrinsics [F, 3, 3], size [F, 2]."""
    rows = [[driver.expression.get(name, 0.0) for name in names] for driver in drivers]
    arrays = {
        "expression": np.array(rows, np.float32).reshape(len(drivers), len(names)),
        "pose": np.stack([driver.pose for driver in drivers]).astype(np.float32),
        "world_to_camera": np.stack([driver.world_to_camera for driver in drivers]).astype(np.float32),
        "intrinsics": np.stack([driver.intrinsics for driver in drivers]).astype(np.float32),
        "size": np.array([driver.size for driver in drivers], np.int32),
    }
    return arrays, tuple(names)
