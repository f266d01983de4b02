"""`lookalike render`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import read_avatar
from backend.protocol.errors import LookalikeError

from .output import Assignment, Numbers, Range, TerminalListener, check_target, emit, json_option

if TYPE_CHECKING:
    from backend.protocol.avatar import F32

PICTURES = (".png",)
VIDEOS = (".mp4",)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="PNG, a folder for several, or MP4 for a turntable.")
@click.option("--yaw", type=Numbers(), default="0", show_default=True, help="Degrees; several as in -30,0,30 go into a folder.")
@click.option("--pitch", type=float, default=0.0, show_default=True, help="Degrees.")
@click.option("--size", type=click.IntRange(16, 4096), default=768, show_default=True, help="Height and width, pixels.")
@click.option("--lod", type=click.IntRange(0, 2), help="Level of detail; by default the finest.")
@click.option("--expression", "expressions", multiple=True, type=Assignment(), help="As jawOpen=0.5; repeatable (names: lookalike info).")
@click.option("--jaw", type=float, default=0.0, help="Opening of the jaw joint, degrees.")
@click.option("--background", default="white", show_default=True, help="Colour as white or #808080, or transparent.")
@click.option("--turntable", type=click.IntRange(2, 2000), help="So many pictures of one swing of the head, into a folder or MP4.")
@click.option(
    "--refined", is_flag=True, help="The refiner's picture, on black or transparent: avatars of gagavatar, omg, ..., with its weights."
)
@click.option("--motion", type=click.Path(path_type=Path), help="Frames of a .motion (track, or Blender's Export Motion), into a folder.")
@click.option("--frames", type=Range(), help="Of the motion, as 0:48; by default all.")
@click.option("--sheet", is_flag=True, help="A contact sheet of views and expressions instead.")
@json_option
def render(
    file: Path,
    output: Path,
    yaw: tuple[float, ...],
    pitch: float,
    size: int,
    lod: int | None,
    expressions: tuple[tuple[str, float], ...],
    jaw: float,
    background: str,
    turntable: int | None,
    refined: bool,
    motion: Path | None,
    frames: range | None,
    sheet: bool,
    as_json: bool,
) -> None:
    """Picture, turntable or performance of an avatar."""
    first = next(iter(yaw))
    if refined and (sheet or turntable is not None):
        raise click.UsageError("--refined draws pictures; give several with --yaw")
    if motion is not None and (sheet or turntable is not None or expressions or jaw or len(yaw) > 1):
        raise click.UsageError("--motion goes with one --yaw, and without --sheet, --turntable, --expression and --jaw")
    color = _color(background)
    suffix = output.suffix.lower()
    several = len(yaw) > 1 or turntable is not None or motion is not None
    _check_output(output, several, turntable is not None, sheet)
    avatar = read_avatar(file)
    level = len(avatar.lods) - 1 if lod is None else lod
    with TerminalListener(file.stem, quiet=as_json) as listener:
        listener.progress(0.0, "render")
        if sheet:
            from backend.splats import contact_sheet

            written = save_pictures({output: contact_sheet(avatar, level)})
        elif motion is not None:
            from .sequence import render_motion

            written = render_motion(avatar, file.stem, level, output, motion, frames, first, pitch, size, color, refined, listener)
        elif turntable is not None:
            written = _turntable(avatar, level, output, size, turntable, color, listener)
        else:
            pose = _joints(avatar, math.radians(jaw))
            folder = suffix not in PICTURES
            pictures = {}
            for i, angle in enumerate(yaw):
                listener.progress(i / len(yaw), "render", f"yaw {angle:g}")
                path = output / f"{file.stem}_yaw{angle:+04.0f}.png" if folder else output
                if refined:
                    pictures[path] = _refined(avatar, level, angle, pitch, size, dict(expressions), pose, color is None)
                else:
                    pictures[path] = _picture(avatar, level, angle, pitch, size, dict(expressions), pose, color)
            written = save_pictures(pictures)
    emit(as_json, {"files": [str(p) for p in written], **listener.timings()}, "\n".join(map(str, written)))


def _check_output(output: Path, several: bool, video: bool, sheet: bool) -> None:
    suffix = output.suffix.lower()
    if sheet or (suffix in PICTURES and not several):
        check_target(output, *PICTURES)
    elif suffix in VIDEOS and video:
        check_target(output, *VIDEOS)
    elif suffix and not output.is_dir():
        wanted = "a folder, or .mp4 for a turntable" if several else "a .png file or a folder"
        raise LookalikeError(f"{output.name}: cannot hold this; {wanted} can", "correct -o")
    else:
        try:
            output.mkdir(exist_ok=True)
        except OSError as error:
            raise LookalikeError(f"{output}: the folder cannot be made ({error.strerror})", "correct -o") from error


def _turntable(
    avatar: Avatar, level: int, output: Path, size: int, frames: int, color: tuple[float, ...] | None, listener: TerminalListener
) -> list[Path]:
    from backend.splats import turntable, write_video

    if color is None:
        raise LookalikeError("a turntable has no transparent background", "choose a colour")

    def counted():
        for i, picture in enumerate(turntable(avatar, level, size, frames, background=color)):
            listener.progress(i / frames, "render", f"{i + 1} of {frames}")
            yield picture

    if output.suffix.lower() in VIDEOS:
        write_video(output, counted())
        return [output]
    return [path for i, picture in enumerate(counted()) for path in save_pictures({output / f"{i:04d}.png": picture})]


def _picture(
    avatar: Avatar,
    level: int,
    yaw: float,
    pitch: float,
    size: int,
    expression: dict[str, float],
    pose: F32,
    color: tuple[float, ...] | None,
) -> F32:
    """[size, size, 3], or 4 where `color` is None, which stands for transparent."""
    from backend.splats import portrait_camera
    from backend.splats import render as draw

    rgb, alpha = draw(avatar, level, portrait_camera(avatar, yaw, pitch, size), expression, pose, color or (0.0, 0.0, 0.0))
    if color is not None:
        return rgb
    return straight(rgb, alpha)


def straight(rgb: F32, alpha: F32) -> F32:
    """[H, W, 4] from a picture on black and its alpha: PNG's is not premultiplied."""
    return np.concatenate([np.clip(rgb / np.maximum(alpha, 1e-4)[..., None], 0, 1), alpha[..., None]], 2).astype(np.float32)


def _refined(
    avatar: Avatar, level: int, yaw: float, pitch: float, size: int, expression: dict[str, float], pose: F32, transparent: bool
) -> F32:
    """[size, size, 3], or 4 where transparent, by the refiner of the model that made the avatar, resized from its own size."""
    from backend.models.refiner import refiner_of
    from backend.splats.render import render as draw

    model = refiner_of(avatar)
    picture = np.clip(model.refine(avatar, level, yaw, pitch, expression, pose), 0, 1)
    if not transparent:
        return scaled(picture, size)
    _, coverage = draw(avatar, level, model.refined_camera(avatar, yaw, pitch), expression, pose, (0.0, 0.0, 0.0))
    return straight(scaled(picture, size), scaled(np.maximum(coverage, picture.max(2)), size))


def scaled(picture: F32, size: int) -> F32:
    """A picture made `size` pixels wide."""
    import cv2

    height = round(size * len(picture) / picture.shape[1])
    method = cv2.INTER_AREA if size < picture.shape[1] else cv2.INTER_CUBIC
    return np.clip(np.asarray(cv2.resize(picture, (size, height), interpolation=method), np.float32), 0, 1)


def _joints(avatar: Avatar, jaw: float) -> F32:
    from backend.splats import joint_pose

    return joint_pose(avatar, jaw=(jaw, 0.0, 0.0)) if jaw else joint_pose(avatar)


def _color(text: str) -> tuple[float, ...] | None:
    from PIL import ImageColor

    if text == "transparent":
        return None
    try:
        return tuple(channel / 255 for channel in ImageColor.getrgb(text)[:3])
    except ValueError as error:
        raise LookalikeError(f"{text!r} is not a colour", "write it as white, #808080 or transparent") from error


def save_pictures(pictures: dict[Path, F32]) -> list[Path]:
    from PIL import Image

    for path, picture in pictures.items():
        try:
            Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(path)
        except OSError as error:
            raise LookalikeError(f"{path}: cannot be written ({error.strerror})", "correct -o") from error
    return list(pictures)
