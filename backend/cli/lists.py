"""`lookalike rigs`."""

from __future__ import annotations

import click

from .output import emit, json_option


@click.command()
@json_option
def rigs(as_json: bool) -> None:
    """Which parametric heads there are, and their licences."""
    from backend.rig import builtin_head

    head = builtin_head()
    rows = [{"name": "builtin", "id": head.rig_id, "licence": head.licence, "expressions": len(head.expression_names)}]
    text = "\n".join(f"{row['name']:<14} {row['id']}, {row['expressions']} expressions, {row['licence']}" for row in rows)
    emit(as_json, {"rigs": rows}, f"{text}\nor the path of a model's file: FLAME (.pkl), ICT-FaceKit (folder or .npz)")
