"""`lookalike export`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from backend.protocol.avatar_file import read_avatar
from backend.protocol.errors import LookalikeError

from .output import Assignment, check_target, emit, json_option

if TYPE_CHECKING:
    from backend.protocol.avatar import F32, Avatar

SUFFIXES = {"ply": ".ply", "spz": ".spz", "glb": ".glb", "lam": ".zip"}
"""Format -> how its files end."""


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    required=True,
    type=click.Choice([*SUFFIXES]),
    help="3D Gaussian splats, the same at a tenth of the size, splats with mesh and rig, or the zip that LAM's web viewer plays.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="By default FILE with the format's suffix.")
@click.option("--lod", type=click.IntRange(0, 2), help="Level of detail; by default the finest, for lam 0.")
@click.option("--expression", "expressions", multiple=True, type=Assignment(), help="As jawOpen=0.5; repeatable.")
@click.option("--jaw", type=float, default=0.0, help="Opening of the jaw joint, degrees.")
@click.option(
    "--axes",
    type=click.Choice(["y-down", "rdf", "y-up", "z-up"]),
    default="y-down",
    show_default=True,
    help="Of .ply: as viewers of captures expect, as COLMAP and gsplat have it, as is, or as Blender has it.",
)
@json_option
def export(
    file: Path,
    kind: str,
    output: Path | None,
    lod: int | None,
    expressions: tuple[tuple[str, float], ...],
    jaw: float,
    axes: str,
    as_json: bool,
) -> None:
    """Avatar -> .ply or .spz (3D Gaussian splats, one pose), .glb (splats, mesh, skeleton, morph targets) or LAM's web zip."""
    target = output or file.with_suffix(SUFFIXES[kind])
    check_target(target, SUFFIXES[kind])
    if kind == "lam" and (expressions or jaw):
        raise LookalikeError("LAM's web zip holds the neutral face", "leave out --expression and --jaw")
    avatar = read_avatar(file)
    finest = len(avatar.lods) - 1
    level = lod if lod is not None else 0 if kind == "lam" else finest
    _write(target, kind, avatar, level, dict(expressions), math.radians(jaw), axes)
    size = target.stat().st_size
    count = len(avatar.lods[level]) + len(avatar.shoulders)
    emit(as_json, {"file": str(target), "bytes": size, "splats": count, "lod": level}, f"{target}: {count} splats, {size / 1e6:.1f} MB")


def _write(target: Path, kind: str, avatar: Avatar, level: int, expression: dict[str, float], jaw: float, axes: str) -> None:
    from backend.splats import joint_pose, write_glb, write_lam, write_ply, write_spz

    pose: F32 = joint_pose(avatar, jaw=(jaw, 0.0, 0.0)) if jaw else joint_pose(avatar)
    if kind == "ply":
        write_ply(target, avatar, level, expression, pose, axes)  # type: ignore[arg-type]
    elif kind == "spz":
        write_spz(target, avatar, level, expression, pose)
    elif kind == "glb":
        write_glb(target, avatar, level, expression, pose)
    else:
        write_lam(target, avatar, level)
