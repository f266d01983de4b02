"""`lookalike track`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend.protocol.avatar_file import write_atomically
from backend.protocol.messages import Track

from .output import TerminalListener, check_target, emit, json_option, read_files

if TYPE_CHECKING:
    from backend.tracking.motion import Motion


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="NAME.motion for Lookalike, or .json.")
@click.option("--rig", default="builtin", show_default=True, help="Parametric head (see: lookalike rigs).")
@click.option("--face", type=click.IntRange(min=0), help="Which face, counted from the left from 0.")
@json_option
def track(files: tuple[Path, ...], output: Path, rig: str, face: int | None, as_json: bool) -> None:
    """Rig parameters of photos of one person, or of each frame of a video.

    Written are the values of each named expression, the axis-angle of each joint (radians, in its parent's frame) and
    the camera (OpenCV axes, metres and pixels), one entry a photo or frame.
    """
    from backend.server.motion import track_files
    from backend.tracking.motion import write_motion

    check_target(output, ".motion", ".json")
    data = read_files(files)
    request = Track(tuple(name for name, _ in data), (face,) * len(data), rig)
    with TerminalListener(files[0].stem, quiet=as_json) as listener:
        motion = track_files(data, request, listener)
    if output.suffix.lower() == ".json":
        write_atomically(output, json.dumps(_plain(motion), allow_nan=False).encode())
    else:
        write_motion(output, motion)
    for warning in motion.warnings:
        click.echo(f"warning: {warning}", err=True)
    seen = int(motion.tracked.sum())
    facts = {"file": str(output), "frames": len(motion), "seen": seen, "fps": motion.fps, **listener.timings(), "warnings": motion.warnings}
    emit(as_json, facts, f"{output}: {len(motion)} frames, a face seen in {seen}, in {listener.seconds:.1f} s")


def _plain(motion: Motion) -> dict[str, Any]:
    """The motion as JSON, one object a frame."""
    frames = []
    for i in range(len(motion)):
        driver = motion.driver(i)
        frames.append(
            {
                "tracked": bool(motion.tracked[i]),
                "expression": {name: round(value, 5) for name, value in driver.expression.items()},
                "pose": dict(zip(motion.joint_names, driver.pose.tolist(), strict=True)),
                "world_to_camera": driver.world_to_camera.tolist(),
                "intrinsics": driver.intrinsics.tolist(),
            }
        )
    head = {"rig": motion.rig_id, "source": motion.source, "fps": motion.fps, "size": list(motion.size)}
    return {**head, "warnings": list(motion.warnings), "frames": frames}
