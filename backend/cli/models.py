"""`lookalike models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backend.protocol.errors import WeightsError

from .output import TerminalListener, emit, json_option


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """Which reconstructors and weights there are: licence, size, source, present or not."""
    if ctx.invoked_subcommand is not None:
        return
    from backend.models import model_names, reconstructor
    from backend.weights.catalogue import CATALOGUE
    from backend.weights.store import models_directory

    rows = [{"name": name, "licence": reconstructor(name).licence} for name in model_names()]
    weights = [_row(entry.name) for entry in CATALOGUE]
    lines = ["reconstructors:", *(f"  {row['name']:<16} {row['licence']}" for row in rows), f"weights (kept in {models_directory()}):"]
    for row in weights:
        size = f"{row['size'] / 1e6:.0f} MB" if row["size"] >= 1e6 else f"{row['size'] / 1e3:.0f} kB" if row["size"] else "-"
        how = "fetch" if row["fetchable"] else "add"
        lines.append(f"  {row['name']:<16} {row['state']:<8} {size:>7}  {how:<5} {row['use']}; {row['licence']}")
    lines.append("fetch: lookalike models fetch NAME      add: get the file, then lookalike models add FILE (sources: --json)")
    emit(as_json, {"models": rows, "weights": weights, "folder": str(models_directory())}, "\n".join(lines))


def _row(name: str) -> dict[str, Any]:
    from backend.weights.catalogue import known
    from backend.weights.store import present

    entry = known(name)
    try:
        there = present(name)
        state = "present" if there else "missing"
    except WeightsError:
        there, state = None, "corrupt"
    return {
        "name": name, "use": entry.use, "licence": entry.licence, "terms": entry.terms, "file": entry.file, "size": entry.size,
        "sha256": entry.sha256, "source": entry.source, "fetchable": bool(entry.url), "state": state,
        "path": str(there.path) if there else None, "origin": dict(there.origin) if there else None,
    }  # fmt: skip


@models.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--as", "expected", help="The model that it must be.")
@click.option("--trust", is_flag=True, help="Take a file whose hash is not known, if its tensors are a known model's.")
@json_option
def add(file: Path, expected: str | None, trust: bool, as_json: bool) -> None:
    """Check weights that you have and keep them as safetensors. No code in the file is run."""
    from backend.weights.store import add as add_weights

    with TerminalListener(file.name, quiet=as_json) as listener:
        there = add_weights(file, trust=trust, expected=expected, progress=listener.progress)
    checked = "its hash is the known one" if there.origin["checked"] == "hash" else "its hash is not known; its tensors fit"
    text = f"{there.name}: {there.path} ({there.size / 1e6:.1f} MB; {checked}; {there.origin['licence']})"
    emit(as_json, {"name": there.name, "path": str(there.path), "size": there.size, "origin": dict(there.origin)}, text)


@models.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Accept the licence without being asked.")
@click.option("--url", help="Another address of the same file; its hash is checked.")
@json_option
def fetch(name: str, yes: bool, url: str | None, as_json: bool) -> None:
    """Download weights whose licence allows it. An interrupted download goes on where it stopped."""
    from backend.weights.catalogue import known
    from backend.weights.fetch import fetch as fetch_weights

    entry = known(name)
    if entry.url:
        terms = f" ({entry.terms})" if entry.terms else ""
        size = f", {entry.size / 1e6:.0f} MB" if entry.size >= 1e6 else ""
        click.echo(f"{entry.file}{size} from {url or entry.url}\nlicence: {entry.licence}{terms}", err=True)
        if not yes and not click.confirm("Download it?", err=True):
            raise click.Abort
    with TerminalListener(entry.file, quiet=as_json) as listener:
        there = fetch_weights(name, url=url, progress=lambda fraction, text: listener.progress(fraction, "fetch", text))
    emit(as_json, {"name": there.name, "path": str(there.path), "size": there.size}, f"{there.name}: {there.path}")


@models.command()
@click.argument("name")
@json_option
def remove(name: str, as_json: bool) -> None:
    """Delete weights from the models folder."""
    from backend.weights.store import remove as remove_weights

    path = remove_weights(name)
    emit(as_json, {"name": name, "path": str(path)}, f"deleted {path}")
