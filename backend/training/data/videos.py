"""A folder of videos, one person each, measured by Lookalike's own tracker; what was measured is kept for the next time."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
import av.error
import cv2
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image
from platformdirs import user_cache_dir

from backend.protocol.avatar import F32
from backend.protocol.avatar_file import write_atomically
from backend.protocol.errors import AvatarFileError, FaceError
from backend.rig import Rig
from backend.splats import Camera
from backend.tracking import Photo, default_tracker, fit, make_portrait
from backend.tracking.matte import portrait_square
from backend.tracking.portrait import Portrait
from backend.tracking.tracker import Tracker

from .pictures import decode_rgb, resized
from .view import DataError, View, pose_head

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
STORED = 512
"""Side of the kept pictures, pixels."""
FORMAT = 2
FEWEST = 2
MAX_SIDE = 1280
MAX_VIDEOS = 100_000

Report = Callable[[str], None]


@dataclass(frozen=True)
class _Measured:
    """What the cache holds of a video: parameters of its frames, and pictures still compressed."""

    arrays: dict[str, np.ndarray]
    pictures: list[bytes]
    mattes: list[bytes]


class Videos:
    """A `Footage` of a folder of videos.

    Args:
        root: folder with the videos. rig: the head that is fitted.
        size: side of the pictures that are given. frames: how many frames of each video, spread over it.
        cache: where measurements are kept; the user's cache folder by default.
        report: told about each video that is measured, and each that cannot be used.

    A video without enough faces is named and left out.

    Raises:
        DataError: no video that can be used.
    """

    def __init__(
        self, root: Path, rig: Rig, size: int, frames: int = 24, cache: Path | None = None, tracker: Tracker | None = None,
        report: Report = lambda line: None,
    ) -> None:  # fmt: skip
        self.rig, self.size, self._count = rig, size, frames
        self._cache = cache or Path(user_cache_dir("lookalike", appauthor=False)) / "training-videos"
        paths = sorted(p for p in root.iterdir() if p.suffix.lower() in SUFFIXES) if root.is_dir() else []
        if not paths or len(paths) > MAX_VIDEOS:
            raise DataError(f"{root}: {len(paths)} videos in it ({', '.join(SUFFIXES)})", "give a folder of videos, one person each")
        self._files: list[Path] = []
        names, why = [], ""
        for path in paths:
            try:
                self._files.append(self._measured(path, tracker, report))
                names.append(path.stem)
            except (DataError, FaceError) as error:
                why = error.message
                report(f"left out: {why}")
        if not names:
            raise DataError(
                f"{root}: none of {len(paths)} videos can be used; the last: {why}", "use videos in which one face is seen well"
            )
        self.people = tuple(names)
        self._counts = [len(_read(file).pictures) for file in self._files]

    def frames(self, person: int) -> int:
        return self._counts[person]

    def view(self, person: int, frame: int) -> View:
        measured = _read(self._files[person])
        arrays, name = measured.arrays, f"{self.people[person]}, frame {frame}"
        image = resized(decode_rgb(measured.pictures[frame], name), self.size)
        matte = resized(decode_rgb(measured.mattes[frame], name)[..., 0], self.size)
        intrinsics = arrays["intrinsics"][frame].copy()
        intrinsics[:2] *= self.size / STORED
        neutral, expression, pose = arrays["neutral"], arrays["expression"][frame], arrays["pose"][frame]
        return View(
            image, matte, None, arrays["shape"], expression, pose, neutral, pose_head(self.rig, neutral, expression, pose),
            Camera(arrays["view"][frame], intrinsics, self.size, self.size), self.people[person], str(frame),
        )  # fmt: skip

    def _measured(self, path: Path, tracker: Tracker | None, report: Report) -> Path:
        """The cache's file of a video; measured now where it is not there."""
        stat = path.stat()
        key = json.dumps([FORMAT, str(path.resolve()), stat.st_size, stat.st_mtime_ns, self.rig.rig_id, self._count])
        file = self._cache / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.zip"
        if not file.is_file():
            report(f"measuring {path.name}")
            data = _measure(path, self.rig, self._count, tracker or default_tracker())
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, data)
            except (OSError, AvatarFileError) as error:
                raise DataError(f"{file}: cannot be written ({error})", "set cache in the [data] section to a folder with room") from error
        return file


def _measure(path: Path, rig: Rig, count: int, tracker: Tracker) -> bytes:
    """Find the face in frames spread over the video, fit one head to all of them, and pack squares around it."""
    portraits: list[Portrait] = []
    for index, picture in enumerate(_spread(path, count)):
        try:
            portraits.append(make_portrait(Photo(picture, None, "", None), f"{path.name}, frame {index}", tracker=tracker))
        except FaceError:
            continue  # frames without one clear face are no training data; too few of the others are told below
    if len(portraits) < FEWEST:
        raise DataError(f"{path.name}: one clear face in only {len(portraits)} of {count} frames")
    found = fit(portraits, rig)
    cameras = []
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for index, (portrait, driver) in enumerate(zip(portraits, found.drivers, strict=True)):
            square = portrait_square(portrait.face)
            intrinsics = driver.intrinsics.astype(np.float64).copy()
            intrinsics[:2, 2] -= [square.x - square.side / 2, square.y - square.side / 2]
            intrinsics[:2] *= STORED / square.side
            cameras.append((driver.world_to_camera, intrinsics))
            archive.writestr(f"{index:06d}.jpg", _encoded(square.cut(portrait.image, STORED, cv2.BORDER_REPLICATE), "JPEG"))
            archive.writestr(f"{index:06d}.png", _encoded(square.cut(portrait.matte, STORED), "PNG"))
        arrays = io.BytesIO()
        np.savez(
            arrays,
            allow_pickle=False,
            shape=found.shape.astype(np.float32),
            neutral=found.vertices.astype(np.float32),
            expression=np.array([[d.expression.get(n, 0.0) for n in rig.expression_names] for d in found.drivers], np.float32),
            pose=np.stack([d.pose for d in found.drivers]).astype(np.float32),
            view=np.stack([view for view, _ in cameras]).astype(np.float32),
            intrinsics=np.stack([lens for _, lens in cameras]).astype(np.float32),
        )
        archive.writestr("arrays.npz", arrays.getvalue())
    return packed.getvalue()


def _spread(path: Path, count: int) -> list[F32]:
    """Pictures [H, W, 3] from the whole length of a video, at most `MAX_SIDE` pixels a side."""
    pictures: list[F32] = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path.name}: no picture in it")
            stream = container.streams.video[0]
            length = container.duration or 0
            for index in range(count):
                frame = _at(container, stream, length * (index + 0.5) / count) if length else next(container.decode(stream), None)
                if frame is None:
                    break
                scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
                array = frame.to_ndarray(format="rgb24", width=round(frame.width * scale), height=round(frame.height * scale))
                turns = round(getattr(frame, "rotation", 0) / 90) % 4
                pictures.append((np.rot90(array, turns) / np.float32(255)).astype(np.float32))
    except av.error.FFmpegError as error:
        if not pictures:
            raise DataError(f"{path.name}: not a video that can be read ({error.strerror or error})") from error
    return pictures


def _at(container: InputContainer, stream: VideoStream, microseconds: float) -> av.VideoFrame | None:
    """The frame that is shown at a time: a seek ends at the key frame before it, which may be the first of the whole video."""
    start = container.start_time or 0
    container.seek(int(start + microseconds))
    shown: av.VideoFrame | None = None
    for frame in container.decode(stream):
        if shown is not None and frame.time is not None and frame.time > (start + microseconds) / av.time_base:
            break
        shown = frame
    return shown


def _read(file: Path) -> _Measured:
    try:
        with zipfile.ZipFile(file) as archive:
            names = sorted(archive.namelist())
            with np.load(io.BytesIO(archive.read("arrays.npz")), allow_pickle=False) as content:
                arrays = {key: content[key] for key in content.files}
            pictures = [archive.read(name) for name in names if name.endswith(".jpg")]
            mattes = [archive.read(name) for name in names if name.endswith(".png")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{file}: the kept measurement is corrupt ({error})", "delete it; it is made again") from error
    return _Measured(arrays, pictures, mattes)


def _encoded(picture: F32, kind: str) -> bytes:
    packed = io.BytesIO()
    Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(packed, kind, quality=95)
    return packed.getvalue()
