"""`lookalike export`."""

from __future__ import annotations

import math
from pathlib import Path

import click

from backend.protocol.avatar_file import read_avatar

from .output import Assignment, check_target, emit, json_option


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--format", "kind", required=True, type=click.Choice(["ply", "glb"]), help="3D Gaussian splats, or splats with mesh and rig.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="By default FILE with the format's suffix.")
@click.option("--lod", type=click.IntRange(0, 2), help="Level of detail; by default the finest.")
@click.option("--expression", "expressions", multiple=True, type=Assignment(), help="As jawOpen=0.5; repeatable.")
@click.option("--jaw", type=float, default=0.0, help="Opening of the jaw joint, degrees.")
@click.option(
    "--axes", type=click.Choice(["y-down", "y-up"]), default="y-down", show_default=True, help="Of .ply: as viewers expect, or as is."
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
    """Avatar -> .ply (3D Gaussian splats, one pose) or .glb (splats, mesh, skeleton, morph targets)."""
    target = output or file.with_suffix(f".{kind}")
    check_target(target, f".{kind}")
    avatar = read_avatar(file)
    level = len(avatar.lods) - 1 if lod is None else lod
    from backend.splats import joint_pose, write_glb, write_ply

    pose = joint_pose(avatar, jaw=(math.radians(jaw), 0.0, 0.0)) if jaw else joint_pose(avatar)
    if kind == "ply":
        write_ply(target, avatar, level, dict(expressions), pose, axes)  # type: ignore[arg-type]
    else:
        write_glb(target, avatar, level, dict(expressions), pose)
    size = target.stat().st_size
    count = len(avatar.lods[level]) + len(avatar.shoulders)
    emit(as_json, {"file": str(target), "bytes": size, "splats": count, "lod": level}, f"{target}: {count} splats, {size / 1e6:.1f} MB")
