"""`lookalike reconstruct`."""

from __future__ import annotations

from pathlib import Path

import click

from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import SUFFIX, write_avatar
from backend.protocol.frames import Message
from backend.protocol.messages import Progress, Reconstruct

from .output import TerminalListener, check_target, emit, json_option, read_files


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The avatar file, NAME{SUFFIX}.")
@click.option("--rig", default="builtin", show_default=True, help="Parametric head: a name, or a model's file (see: lookalike rigs).")
@click.option("--model", default="projection", show_default=True, help="Reconstructor (see: lookalike models).")
@click.option(
    "--face", "faces", multiple=True, type=click.IntRange(min=0),
    help="Which face, counted from the left from 0. Once for all photos, or once for each.",
)  # fmt: skip
@click.option("--name", default="", help="Of the avatar; by default the first photo's.")
@click.option("--consent", default="", help="Statement of consent for the file's provenance.")
@click.option("--backend", "use_backend", is_flag=True, help="Let this user's running backend do it (see: lookalike serve).")
@json_option
def reconstruct(
    photos: tuple[Path, ...],
    output: Path,
    rig: str,
    model: str,
    faces: tuple[int, ...],
    name: str,
    consent: str,
    use_backend: bool,
    as_json: bool,
) -> None:
    """Portraits of one person -> avatar file.

    Give one photo, or several of the same person from different sides.
    """
    check_target(output, SUFFIX)
    if len(faces) not in (0, 1, len(photos)):
        raise click.UsageError(f"{len(faces)} --face for {len(photos)} photos")
    files = read_files(photos)
    chosen = faces * len(files) if len(faces) == 1 else faces
    request = Reconstruct(tuple(n for n, _ in files), chosen, rig, model, name or output.stem, consent)
    with TerminalListener(output.stem, quiet=as_json) as listener:
        avatar = _over_the_wire(files, request, listener) if use_backend else _here(files, request, listener)
    write_avatar(output, avatar)
    for warning in _warnings(avatar):
        click.echo(f"warning: {warning}", err=True)
    facts = {
        "file": str(output),
        **listener.timings(),
        "splats": [len(lod) for lod in avatar.lods],
        "shoulders": len(avatar.shoulders),
        "rig": avatar.rig.rig_id,
        "warnings": _warnings(avatar),
    }
    counts = " / ".join(str(len(lod) + len(avatar.shoulders)) for lod in avatar.lods)
    emit(as_json, facts, f"{output}: {counts} splats in {listener.seconds:.1f} s")


def _here(files: list[tuple[str, bytes]], request: Reconstruct, listener: TerminalListener) -> Avatar:
    from backend.server import pipeline

    return pipeline.reconstruct(files, request, listener)


def _over_the_wire(files: list[tuple[str, bytes]], request: Reconstruct, listener: TerminalListener) -> Avatar:
    from backend.server import Client

    def show(event: Message) -> None:
        if isinstance(event.body, Progress):
            listener.progress(event.body.fraction, event.body.stage, event.body.text)

    with Client.connect() as client:
        job = client.reconstruct(
            files, faces=request.faces, rig=request.rig, model=request.model, name=request.name, consent=request.consent, on_event=show
        )
        return job.avatar()


def _warnings(avatar: Avatar) -> list[str]:
    warnings = avatar.provenance.get("warnings", [])
    return [str(w) for w in warnings] if isinstance(warnings, list) else []
