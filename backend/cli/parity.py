"""`lookalike parity`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .output import emit, json_option

if TYPE_CHECKING:
    from backend.parity import Row


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--only", multiple=True, metavar="FILE", help="One file of the set, e.g. gaga_encoder; may be repeated.")
@json_option
def parity(folder: Path, only: tuple[str, ...], as_json: bool) -> None:
    """Reproduce the numbers that the papers' released networks gave, and compare.

    FOLDER holds .safetensors of one set: inputs, and for each network what it put out for deterministic weights (the metadata's
    salt names them). Every tensor is computed anew by this program's own networks. Told are name, largest error and tolerance; the
    exit code is 1 if any is out. Needs 3 GB of memory and some minutes on a CPU.
    """
    from backend.parity import FixtureFolder, all_rows, left_over

    fixtures = FixtureFolder(folder, only)
    rows: list[Row] = []
    for row in all_rows(fixtures):
        rows.append(row)
        if not as_json:
            click.echo(_line(row))
    missed = left_over(fixtures, rows)
    failed = [row for row in rows if not row.passed]
    summary = f"{len(rows)} rows, {sum(row.compared for row in rows):,} numbers, {len(failed)} out of tolerance"
    if missed:
        summary += f"; {len(missed)} tensors not compared: {', '.join(missed)}"
    emit(as_json, {"ok": bool(rows) and not failed, "rows": [_facts(row) for row in rows], "not_compared": missed}, summary)
    if failed or not rows:
        click.echo(f"lookalike: {len(failed)} of {len(rows)} rows out of tolerance" if rows else "lookalike: nothing to compare", err=True)
        raise click.exceptions.Exit(1)


def _line(row: Row) -> str:
    return f"{'ok ' if row.passed else 'OUT'}  {row.name:<62} {row.max_error:9.2e}  <= {row.tolerance:8.1e}  {row.compared:>9,}"


def _facts(row: Row) -> dict[str, Any]:
    """JSON has no infinity: an error beyond measure (another shape, not a number) is null."""
    error = row.max_error if math.isfinite(row.max_error) else None
    return {"name": row.name, "max_error": error, "tolerance": row.tolerance, "compared": row.compared, "passed": row.passed}
