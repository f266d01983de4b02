"""`lookalike render --motion`: one picture a frame, and the note by which Blender finds the camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from backend.protocol.avatar import Avatar
from backend.protocol.errors import LookalikeError

from .output import TerminalListener
from .render import save_pictures, scaled, straight

if TYPE_CHECKING:
    from backend.models.interface import Refining
    from backend.protocol.avatar import F32
    from backend.tracking.motion import Motion


def render_motion(
    avatar: Avatar,
    stem: str,
    level: int,
    folder: Path,
    path: Path,
    frames: range | None,
    yaw: float,
    pitch: float,
    size: int,
    color: tuple[float, ...] | None,
    refined: bool,
    listener: TerminalListener,
) -> list[Path]:
    """Files ``STEM_0001.png``, ..., numbered from the motion's first frame on, and their note.

    Raises:
        AvatarFileError: the motion cannot be read.
        LookalikeError: it has no such frames.
    """
    from backend.bake.sequence import face_motion, resized, unknown_names, write_note
    from backend.models.refiner import refiner_of
    from backend.splats import portrait_camera

    motion = face_motion(path)
    chosen = frames or range(len(motion))
    if chosen.stop > len(motion):
        raise LookalikeError(f"{path.name}: has {len(motion)} frames, not {chosen.stop}", "correct --frames")
    unknown = unknown_names(motion, avatar)
    if unknown:
        click.echo(f"warning: {avatar.rig.rig_id} has no {', '.join(unknown[:5])}: left out", err=True)
    model = refiner_of(avatar) if refined else None
    camera = resized(model.refined_camera(avatar, yaw, pitch), size) if model is not None else portrait_camera(avatar, yaw, pitch, size)
    written: list[Path] = []
    for i, (rgb, alpha) in enumerate(_pictures(avatar, level, motion, chosen, yaw, pitch, size, color, model)):
        listener.progress(i / len(chosen), "render", f"{i + 1} of {len(chosen)}")
        # A refined picture is on black as the network made it; only the avatar's own is laid over a colour.
        picture = straight(rgb, alpha) if color is None else rgb
        written += save_pictures({folder / f"{stem}_{chosen.start + i + 1:04d}.png": picture})
    numbers = range(chosen.start + 1, chosen.stop + 1)
    return [*written, write_note(folder, stem, numbers, motion.fps, camera, color is None)]


def _pictures(
    avatar: Avatar, level: int, motion: Motion, chosen: range, yaw: float, pitch: float, size: int, color: tuple[float, ...] | None,
    model: Refining | None,
) -> Iterator[tuple[F32, F32]]:  # fmt: skip
    """Colours [size, size, 3] over the background, which is black where transparent, and alpha."""
    from backend.bake.sequence import face_of, refined_frames
    from backend.splats import Posable, portrait_camera, render_splats

    if model is not None:
        for picture, alpha in refined_frames(model, avatar, level, motion, yaw, pitch, chosen):
            yield scaled(picture, size), np.maximum(scaled(alpha, size), scaled(picture, size).max(2))
        return
    posable, camera = Posable(avatar, level), portrait_camera(avatar, yaw, pitch, size)
    for index in chosen:
        yield render_splats(posable.pose(*face_of(motion, index, avatar)), camera, color or (0.0, 0.0, 0.0))
