"""`lookalike key`."""

from __future__ import annotations

import click

from .output import emit, json_option


@click.command()
@json_option
def key(as_json: bool) -> None:
    """This user's public client key: what a backend on another machine must be given with serve --authorize."""
    from backend.protocol.keys import client_keys, default_directory

    public = client_keys(default_directory()).public
    emit(as_json, {"public": public}, public)
