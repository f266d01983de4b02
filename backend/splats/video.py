"""Frames to an H.264 file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from backend.protocol.avatar import F32
from backend.protocol.errors import ImageError


def write_video(path: str | os.PathLike[str], frames: Iterable[F32], fps: float = 24.0, quality: int = 18) -> int:
    """Write an MP4 that every player and browser opens (H.264, 4:2:0, moov atom first).

    Args:
        frames: [H, W, 3] display-referred 0..1, all of one size; an odd last row or column is dropped.
        quality: constant rate factor; smaller is better and larger, 18 looks lossless.

    Returns:
        The number of frames.

    Raises:
        ImageError: no frames, frames of different sizes, or a path that cannot be written.
    """
    target, count, size = Path(path), 0, (0, 0)
    try:
        with av.open(str(target), "w", format="mp4", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": str(quality)})
            for frame in frames:
                height, width = frame.shape[0] // 2 * 2, frame.shape[1] // 2 * 2
                if not count:
                    size = (width, height)
                    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                elif size != (width, height):
                    raise ImageError(f"{target.name}: frame {count} is {width} x {height}, the first was {size[0]} x {size[1]}")
                pixels = (np.clip(frame[:height, :width], 0, 1) * 255 + 0.5).astype(np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
                count += 1
            if not count:
                raise ImageError(f"{target.name}: a video needs at least one frame")
            container.mux(stream.encode(None))
    except OSError as error:
        raise ImageError(f"{target}: cannot be written ({error.strerror or error})", "choose another folder") from error
    except ImageError:
        target.unlink(missing_ok=True)
        raise
    return count
