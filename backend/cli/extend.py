"""`lookalike extend`."""

from __future__ import annotations

from pathlib import Path

import click

from backend.protocol.avatar_file import SUFFIX, read_avatar, write_avatar

from .output import TerminalListener, check_target, emit, json_option, read_files


@click.command()
@click.argument("avatar_file", metavar="AVATAR", type=click.Path(path_type=Path))
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The new avatar file, NAME{SUFFIX}.")
@click.option("--rig", default="builtin", show_default=True, help="The head that the avatar stands on, as given to reconstruct.")
@click.option("--face", "faces", multiple=True, type=click.IntRange(min=0), help="Which face, counted from the left from 0.")
@click.option("--consent", default="", help="Statement of consent for the added photos, for what the file says of itself.")
@json_option
def extend(
    avatar_file: Path, photos: tuple[Path, ...], output: Path, rig: str, faces: tuple[int, ...], consent: str, as_json: bool
) -> None:
    """More photos of its person into an avatar that ffavatar made, without the earlier photos.

    Only the new ones are looked at; the result is what all photos at once give. Adapters of the avatar are left behind: they
    change what is made anew.
    """
    from backend.server import pipeline

    check_target(output, SUFFIX)
    if len(faces) not in (0, 1, len(photos)):
        raise click.UsageError(f"{len(faces)} --face for {len(photos)} photos")
    avatar, files = read_avatar(avatar_file), read_files(photos)
    chosen = faces * len(files) if len(faces) == 1 else faces
    with TerminalListener(output.stem, quiet=as_json) as listener:
        grown = pipeline.extend(avatar, files, chosen, rig, listener, consent)
    write_avatar(output, grown)
    told = grown.provenance.get("warnings", [])
    warnings = [str(w) for w in told] if isinstance(told, list) else []
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    facts = {"file": str(output), **listener.timings(), "photos": len(grown.drivers), "warnings": warnings}
    emit(as_json, facts, f"{output}: {len(files)} photos added, {len(grown.drivers)} in all, {listener.seconds:.1f} s")
