"""`lookalike flame-map`."""

from __future__ import annotations

from pathlib import Path

import click

from backend.protocol.avatar_file import write_atomically

from .output import check_target, emit, json_option


@click.command("flame-map")
@click.argument("flame", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="NAME.npz for Import Motion in Blender.")
@click.option("--rig", default="builtin", show_default=True, help="Parametric head of the avatar (see: lookalike rigs).")
@json_option
def flame_map(flame: Path, output: Path, rig: str, as_json: bool) -> None:
    """How FLAME's expression coefficients look on another head, from your FLAME file.

    Import Motion in Blender needs it to put the expressions of FLAME sequences onto avatars that are not built on FLAME.
    """
    from backend.rig import load_rig
    from backend.tracking import with_landmarks
    from backend.tracking.flame_map import encode_flame_map
    from backend.tracking.flame_map import flame_map as compare

    check_target(output, ".npz")
    result = compare(with_landmarks(load_rig(flame)), with_landmarks(load_rig(rig)))
    write_atomically(output, encode_flame_map(result))
    facts = {"file": str(output), "flame": result.flame_id, "rig": result.rig_id, "landmarks": len(result.source)}
    emit(as_json, facts, f"{output}: {result.flame_id} to {result.rig_id} by {len(result.source)} landmarks")
