"""A driving video as a motion: find the face, follow it, fit the head once, then each frame's expression and pose.

Frames are measured one after another, and smoothed afterwards without delay: a Savitzky-Golay filter of second order over
0.2 s, which keeps the height of a blink. Frames without a face are interpolated and marked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from numpy.typing import NDArray
from scipy.signal import savgol_filter

from backend.protocol.avatar import F32, Driver
from backend.protocol.errors import FaceError, ImageError
from backend.rig.rig import Rig

from .fit import driver, fit_faces, prepare, view_of
from .landmark_model import LandmarkModel
from .motion import MAX_FRAMES, Motion, motion_of_drivers
from .portrait import Face
from .rotation import F64
from .solver import ViewState, solve, start
from .tracker import Tracker, choose_face, default_tracker

MAX_SIDE = 1280
MAX_VIDEO_SIDE = 8192
FOCAL = 1.2
"""Focal length in longer sides of the picture: what phones and webcams have between 55 and 45 degrees."""

SHAPE_FRAMES = 8
SMOOTHING_SECONDS = 0.2
STEPS = 8
LOST_CHECK = 10
"""While no face is seen, the detectors look at every so many-th frame only."""

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Clip:
    """Faces over time, None where none was seen; (height, width) of the measured pictures, and their scale to the video's."""

    faces: list[Face | None]
    size: tuple[int, int]
    scale: float
    fps: float
    warnings: tuple[str, ...]


def track_video(
    path: str | os.PathLike[str], rig: Rig, progress: Progress | None = None, *, face: int | None = None, tracker: Tracker | None = None
) -> Motion:
    """Measure a performance.

    Args:
        path: what FFmpeg reads; at most `MAX_FRAMES` frames are used.
        rig: the head to drive.
        progress: called with 0..1 and a text after every frame; what it raises (Cancelled) ends the work.
        face: which face, from the left, where the first picture with faces has several.
    Raises:
        ImageError: not a video, or damaged before its first picture.
        FaceChoiceError: several faces and no choice.
        FaceError: no face in the whole video, or too small a one.
    """
    report = progress or (lambda fraction, text: None)
    clip = watch(path, report, face, tracker or default_tracker())
    seen = [f for f in clip.faces if f is not None]
    if not seen:
        message = f"{Path(path).name}: no face found in {len(clip.faces)} frames"
        raise FaceError(message, "use a video where the face is seen from the front")
    camera = video_camera(clip.size)
    drivers = _drivers(clip, camera, rig, report)
    filled, tracked = _fill(drivers)
    motion = motion_of_drivers(filled, rig, Path(path).name, clip.fps, clip.warnings)
    motion = replace(motion, tracked=tracked)
    report(1.0, "done")
    return _at_video_size(_smoothed(motion), clip)


def watch(path: str | os.PathLike[str], report: Progress, face: int | None, tracker: Tracker) -> Clip:
    """Find and follow one face through a video."""
    name = Path(path).name
    faces: list[Face | None] = []
    current: Face | None = None
    chosen = False
    frame: _Frame | None = None
    warnings: tuple[str, ...] = ()
    for frame in _frames(Path(path)):
        if len(faces) == MAX_FRAMES:
            warnings = (f"{name}: only the first {MAX_FRAMES} frames are used",)
            break
        current = tracker.follow(frame.picture, current) if current is not None else None
        if current is None and len(faces) % (LOST_CHECK if _long_lost(faces) else 1) == 0:
            found = tracker.faces(frame.picture)
            if found and not chosen:
                current, chosen = choose_face(found, name, face), True
            elif found:
                current = nearest_face(found, faces)
        faces.append(current)
        report(0.7 * min(1.0, len(faces) / max(frame.expected, 1)), f"frame {len(faces)}")
    if frame is None:
        raise ImageError(f"{name}: no picture in it", "use a video with a picture track")
    height, width = frame.picture.shape[:2]
    return Clip(faces, (height, width), frame.scale, frame.fps, warnings)


def pictures(path: str | os.PathLike[str]) -> Iterator[F32]:
    """Every frame [H, W, 3] 0..1 that `track_video` measures, upright, at most `MAX_SIDE` pixels a side.

    Raises:
        ImageError: not a video, or damaged before its first picture.
    """
    for index, frame in enumerate(_frames(Path(path))):
        if index == MAX_FRAMES:
            return
        yield frame.picture


@dataclass(frozen=True)
class _Frame:
    """A picture [H, W, 3], its scale to the video's, and the video's frame rate and expected number of frames."""

    picture: F32
    scale: float
    fps: float
    expected: int


def _frames(path: Path) -> Iterator[_Frame]:
    if path.is_dir():
        raise ImageError(f"{path}: is a folder", "give the video in it")
    opened = False
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ImageError(f"{path.name}: no picture in it", "use a video with a picture track")
            stream = container.streams.video[0]
            if max(stream.width, stream.height) > MAX_VIDEO_SIDE:
                size = f"{stream.width} x {stream.height} pixels"
                raise ImageError(f"{path.name}: {size} is too large", f"use a video of at most {MAX_VIDEO_SIDE} pixels a side")
            stream.thread_type = "AUTO"
            fps = float(stream.average_rate or Fraction(30))
            length = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            expected = min(stream.frames or round(length * fps), MAX_FRAMES)
            for frame in container.decode(stream):
                scale = min(1.0, MAX_SIDE / max(frame.width, frame.height))
                array = frame.to_ndarray(format="rgb24", width=round(frame.width * scale), height=round(frame.height * scale))
                array = np.rot90(array, round(getattr(frame, "rotation", 0) / 90) % 4)
                opened = True
                yield _Frame((array / np.float32(255)).astype(np.float32), scale, fps, expected)
    except av.error.FFmpegError as error:
        if not opened:  # a video that breaks off later is used as far as it goes
            reason = error.strerror or error
            raise ImageError(f"{path.name}: not a video that can be read ({reason})", "use an MP4, MOV or WebM file") from error


def _long_lost(faces: list[Face | None]) -> bool:
    return len(faces) >= LOST_CHECK and all(f is None for f in faces[-LOST_CHECK:])


def nearest_face(found: Sequence[Face], faces: Sequence[Face | None]) -> Face:
    """The face that lies nearest to where the followed one was last."""
    last = next(f for f in reversed(faces) if f is not None)
    middle = last.landmarks[:, :2].mean(0)
    return min(found, key=lambda f: float(np.linalg.norm(f.landmarks[:, :2].mean(0) - middle)))


def video_camera(size: tuple[int, int]) -> F64:
    """Intrinsics [3, 3] of a video of (height, width) pixels, as phones and webcams have them."""
    height, width = size
    focal = FOCAL * max(width, height)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def _drivers(clip: Clip, camera: F64, rig: Rig, report: Progress) -> list[Driver | None]:
    """Fit the head to a few frontal frames, then pose and expression to every frame, each from where the last one stood."""
    prepared = prepare(rig)
    chosen = _shape_frames([f for f in clip.faces if f is not None])
    head = fit_faces(chosen, [camera] * len(chosen), [clip.size] * len(chosen), rig)
    baked = rig.bake(head.vertices)
    model = personal_model(prepared.model, head.vertices)
    shape = np.zeros(model.shape.shape[2])
    state: ViewState | None = None
    drivers: list[Driver | None] = []
    for i, face in enumerate(clip.faces):
        if face is None:
            state = None
            drivers.append(None)
            continue
        view = view_of(face, camera, model)
        steps = STEPS if state else 3 * STEPS
        _, (state,) = solve(model, [view], [state or start(model, view)], shape, fixed_shape=True, steps=steps)
        drivers.append(driver(face, rig, prepared.fitted, state, baked, camera, clip.size))
        report(0.7 + 0.3 * i / len(clip.faces), f"fit {i + 1} of {len(clip.faces)}")
    return drivers


def _shape_frames(faces: list[Face]) -> list[Face]:
    """Frames to fit the head by: spread over the video, the most frontal of each stretch."""
    stretches = np.array_split(np.arange(len(faces)), min(SHAPE_FRAMES, len(faces)))
    return [faces[min(s, key=lambda i: abs(faces[i].yaw))] for s in stretches]


def personal_model(model: LandmarkModel, vertices: F32) -> LandmarkModel:
    """The landmark model of one person: the fitted head is its template."""
    return replace(model, template=model.pick @ vertices.astype(np.float64))


def _fill(drivers: list[Driver | None]) -> tuple[list[Driver], NDArray[np.bool_]]:
    """Frames without a face stand between their neighbours, by time; before the first and after the last they stand still."""
    tracked = np.array([d is not None for d in drivers])
    at = np.flatnonzero(tracked)
    filled: list[Driver] = []
    for i in range(len(drivers)):
        before, after = at[at <= i], at[at >= i]
        a, b = drivers[before[-1] if len(before) else at[0]], drivers[after[0] if len(after) else at[-1]]
        assert a is not None
        assert b is not None
        span = (after[0] - before[-1]) if len(before) and len(after) else 0
        share = (i - before[-1]) / span if span else 0.0
        filled.append(a if share == 0 else _between(a, b, float(share)))
    return filled, tracked


def _between(a: Driver, b: Driver, share: float) -> Driver:
    mix = lambda x, y: (x * (1 - share) + y * share).astype(np.float32)
    expression = {k: v * (1 - share) + b.expression[k] * share for k, v in a.expression.items()}
    view = _proper(mix(a.world_to_camera, b.world_to_camera)[None])[0]
    return Driver(expression, mix(a.pose, b.pose), view, a.intrinsics, a.size)


def _smoothed(motion: Motion) -> Motion:
    """Savitzky-Golay over `SMOOTHING_SECONDS`; videos shorter than the window stay as they are."""
    window = max(5, 2 * round(motion.fps * SMOOTHING_SECONDS / 2) + 1)
    if len(motion) < window:
        return motion
    smooth = lambda a: np.asarray(savgol_filter(a, window, 2, axis=0), np.float32)
    return replace(
        motion,
        expression=smooth(motion.expression),
        pose=smooth(motion.pose),
        world_to_camera=_proper(smooth(motion.world_to_camera)),
    )


def _proper(views: F32) -> F32:
    """[T, 4, 4] with the nearest rotation in place of each mixed one."""
    u, _, vt = np.linalg.svd(views[:, :3, :3])
    result = views.copy()
    result[:, :3, :3] = u @ vt
    result[:, 3] = [0, 0, 0, 1]
    return result


def _at_video_size(motion: Motion, clip: Clip) -> Motion:
    """Cameras in the video's own pixels."""
    intrinsics = motion.intrinsics.copy()
    intrinsics[:, :2] /= clip.scale
    height, width = clip.size
    return replace(motion, intrinsics=intrinsics, size=(round(width / clip.scale), round(height / clip.scale)))
