"""Motion from files' bytes: photos of one person, or one video."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.models.interface import Listener
from backend.protocol.errors import ImageError
from backend.protocol.messages import Track

if TYPE_CHECKING:
    from backend.rig import Rig
    from backend.tracking.motion import Motion

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")

File = tuple[str, bytes]


def track_files(files: Sequence[File], request: Track, listener: Listener) -> Motion:
    """Several photos of one person, or one video.

    Raises:
        ImageError: cannot be decoded, or a video beside other files.
        FaceError: no face, or several without a choice.
    """
    from backend.rig import load_rig
    from backend.tracking import fit, with_landmarks
    from backend.tracking.motion import motion_of_drivers

    from .pipeline import load_portraits

    videos = [name for name, _ in files if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    if videos and len(files) > 1:
        raise ImageError(f"{videos[0]}: a video is tracked alone", "track the photos and the video separately")
    listener.progress(0.0, "load", request.rig)
    rig = with_landmarks(load_rig(request.rig))
    if videos:
        return _track_video(files[0], request, rig, listener)
    portraits = load_portraits(files, request.faces, listener)
    listener.progress(0.5, "fit", "fitting the head to the landmarks")
    warnings = tuple(warning for portrait in portraits for warning in portrait.warnings)
    return motion_of_drivers(fit(portraits, rig).drivers, rig, ", ".join(name for name, _ in files), warnings=warnings)


def _track_video(file: File, request: Track, rig: Rig, listener: Listener) -> Motion:
    """FFmpeg reads files, so the bytes become one for as long as it takes, under a name that messages may show."""
    from backend.tracking import FaceChoiceError, describe_faces
    from backend.tracking.video import track_video

    with tempfile.TemporaryDirectory(prefix="lookalike-video-") as folder:
        path = Path(folder) / re.sub(r"[^\w. -]", "_", Path(file[0]).name)[-100:]
        path.write_bytes(file[1])
        progress = lambda fraction, text: listener.progress(fraction, "track", text)
        try:
            return track_video(path, rig, progress, face=request.faces[0] if request.faces else None)
        except FaceChoiceError as error:
            describe_faces(error, file[0], 0)
            raise


def arrays_of(motion: Motion) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """What the wire carries of it: (arrays as in `messages.Track`, expression names)."""
    arrays = {name: getattr(motion, name) for name in ("expression", "pose", "world_to_camera", "intrinsics")}
    arrays |= {
        "tracked": motion.tracked.astype(np.uint8),
        "size": np.array(motion.size, np.int32),
        "fps": np.array([motion.fps], np.float32),
    }
    return arrays, motion.expression_names
