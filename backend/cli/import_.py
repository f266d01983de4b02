"""`lookalike import`."""

from __future__ import annotations

from pathlib import Path

import click

from backend.protocol.avatar_file import SUFFIX, write_avatar
from backend.protocol.errors import AvatarFileError
from backend.protocol.interchange import read_bytes
from backend.protocol.interchange.gltf_reader import decode_avatar_glb

from .output import check_target, emit, json_option


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help=f"By default FILE with the suffix {SUFFIX}.")
@json_option
def import_(file: Path, output: Path | None, as_json: bool) -> None:
    """A .glb that was exported at rest -> avatar file: rig, expressions and one level of detail."""
    target = output or file.with_suffix(SUFFIX)
    check_target(target, SUFFIX)
    data, name = read_bytes(file)
    avatar = decode_avatar_glb(data, name)
    if avatar is None:
        raise AvatarFileError(f"{name}: is no avatar that was exported at rest", "export it again without --expression and --jaw")
    write_avatar(target, avatar)
    count = len(avatar.lods[0])
    facts = {"file": str(target), "bytes": target.stat().st_size, "splats": count, "expressions": len(avatar.rig.expression_names)}
    emit(as_json, facts, f"{target}: {count} splats, {len(avatar.rig.expression_names)} expressions")
