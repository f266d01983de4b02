"""`lookalike drive`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from backend.protocol.avatar_file import read_avatar
from backend.protocol.errors import ImageError, LookalikeError
from backend.protocol.messages import Track

from .output import TerminalListener, check_target, emit, json_option, read_files

if TYPE_CHECKING:
    from backend.models.instant.driving import Drive
    from backend.protocol.avatar import F32
    from backend.tracking.motion import Motion

PHOTO_FPS = 25.0
"""Of a video that photos are driven into."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("drivers", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="MP4, or a folder for numbered PNG.")
@click.option("--lod", type=click.IntRange(0, 2), help="Level of detail; by default the finest.")
@click.option("--still", is_flag=True, help="Expressions only: the head stays turned as in its photo.")
@click.option("--beside", is_flag=True, help="The driver's picture to the left of the avatar's.")
@click.option("--face", type=click.IntRange(min=0), help="Which face of the driver's pictures, counted from the left from 0.")
@json_option
def drive(
    file: Path, drivers: tuple[Path, ...], output: Path, lod: int | None, still: bool, beside: bool, face: int | None, as_json: bool
) -> None:
    """Move an avatar of --model instant by another person's video, or pictures.

    FILE is the avatar; DRIVERS are one video, several pictures of one person, or a folder of pictures. Expressions go from
    the driver's pixels to the network's motion code, with no head model between; one is fitted to find the face and how the
    head is turned. The rate is measured and told.
    """
    from backend.models.instant import Instant
    from backend.models.instant.driving import Drive
    from backend.rig import load_rig
    from backend.server.motion import track_files

    is_video = output.suffix.lower() == ".mp4"
    if is_video:
        check_target(output, ".mp4")
    elif output.suffix:
        raise LookalikeError(f"{output.name}: frames go into an .mp4 or a folder", "correct -o")
    elif not output.absolute().parent.is_dir():
        raise LookalikeError(f"{output}: there is no folder {output.absolute().parent}", "make it first, or correct -o")
    avatar = read_avatar(file)
    sources = _sources(drivers)
    with TerminalListener(file.stem, quiet=as_json) as listener:
        rig = load_rig("builtin")
        model = Instant()
        driven = Drive(model.network(), avatar, len(avatar.lods) - 1 if lod is None else lod, rig, still)
        files = read_files(sources)
        motion = track_files(files, Track(tuple(n for n, _ in files), (face,) * len(files), "builtin"), listener)
        fps = motion.fps or PHOTO_FPS
        drawn = _frames(driven, motion, sources, beside, listener)
        count = _write_video(output, drawn, fps) if is_video else _write_pictures(output, drawn)
    tally = driven.tally
    warnings = [*motion.warnings, *tally.warnings]
    if tally.held:
        warnings.append(f"no face in {tally.held} of {count} frames: the last expression stays there")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    facts = {
        "file": str(output), "frames": count, "held": tally.held, "level": tally.level, "fps": round(tally.fps, 2),
        "device": str(driven.device), **listener.timings(), "warnings": warnings,
    }  # fmt: skip
    emit(as_json, facts, f"{output}: {count} frames, animated at {tally.fps:.1f} a second on {driven.device} at level {tally.level}")


def _sources(drivers: tuple[Path, ...]) -> tuple[Path, ...]:
    """The files; those of a folder in the order of their names.

    Raises:
        ImageError: a folder without pictures.
    """
    folder = next(iter(drivers))
    if len(drivers) > 1 or not folder.is_dir():
        return drivers
    pictures = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not pictures:
        raise ImageError(f"{folder}: no pictures in it", "give a folder of PNG or JPEG files, or a video")
    return tuple(pictures)


def _pictures(sources: tuple[Path, ...]) -> Iterator[F32]:
    """What was measured, once more."""
    from backend.server.motion import VIDEO_SUFFIXES
    from backend.tracking.images import load_image
    from backend.tracking.video import pictures

    if sources[0].suffix.lower() in VIDEO_SUFFIXES:
        yield from pictures(sources[0])
        return
    for path in sources:
        yield load_image(path).image


def _frames(driven: Drive, motion: Motion, sources: tuple[Path, ...], beside: bool, listener: TerminalListener) -> Iterator[F32]:
    from collections import deque

    shown: deque[F32] = deque(maxlen=1)

    def remembered() -> Iterator[F32]:
        for picture in _pictures(sources):
            shown.append(picture)
            yield picture

    for index, drawn in enumerate(driven.frames(motion, remembered())):
        listener.progress((index + 1) / len(motion), "drive", f"frame {index + 1} of {len(motion)}")
        yield np.concatenate([_fitted(shown[-1], len(drawn)), drawn], 1) if beside else drawn


def _fitted(picture: F32, size: int) -> F32:
    """A picture within a square on black."""
    import cv2

    scale = size / max(picture.shape[:2])
    small = cv2.resize(picture, (round(picture.shape[1] * scale), round(picture.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    square = np.zeros((size, size, 3), np.float32)
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    square[top : top + small.shape[0], left : left + small.shape[1]] = small
    return square


def _write_video(output: Path, frames: Iterator[F32], fps: float) -> int:
    from backend.splats import write_video

    return write_video(output, frames, fps)


def _write_pictures(output: Path, frames: Iterator[F32]) -> int:
    from PIL import Image

    count = 0
    try:
        output.mkdir(exist_ok=True)
        for picture in frames:
            Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(output / f"{count:05d}.png")
            count += 1
    except OSError as error:
        raise LookalikeError(f"{output}: cannot be written ({error.strerror})", "correct -o, or make room") from error
    return count
