"""`lookalike serve`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from backend.protocol.keys import Endpoint


@click.command()
@click.option("--address", default="tcp://127.0.0.1:0", show_default=True, help="Where to listen; port 0 takes a free one.")
@click.option("--directory", type=click.Path(path_type=Path), help="Keys and connection file, in place of this user's own.")
@click.option("--parent-pid", type=click.IntRange(min=1), help="End when this process is gone.")
@click.option("--handover", is_flag=True, help="Read the client's key from standard input, print the address there (for the add-on).")
@click.option("--authorize", "new_client", metavar="KEY", help="Admit this client's public key from now on.")
@click.option("--log-level", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]), default="INFO", show_default=True)
@click.option("--log-directory", type=click.Path(path_type=Path), help="In place of the system's folder for logs.")
@click.option("--pipeline", default="backend.server.pipeline", hidden=True, help="Import path of what the worker runs.")
def serve(
    address: str,
    directory: Path | None,
    parent_pid: int | None,
    handover: bool,
    new_client: str | None,
    log_level: str,
    log_directory: Path | None,
    pipeline: str,
) -> None:
    """Run the backend that Blender talks to, until Ctrl-C.

    Clients of this user find it by themselves. One on another machine needs the address and the public key that
    are printed here, and its own public key passed to --authorize (or added to the file authorized_clients).
    """
    from backend.protocol.keys import authorize_client, default_directory
    from backend.server.logs import set_up_logging
    from backend.server.serving import ServerOptions
    from backend.server.serving import serve as run_server

    log = set_up_logging(log_level, log_directory)
    logging.getLogger("lookalike").info("log: %s", log)
    if new_client:
        authorize_client(directory or default_directory(), new_client, "added by serve --authorize")
    run_server(ServerOptions(address, directory, pipeline, handover, parent_pid), None if handover else _tell)


def _tell(endpoint: Endpoint) -> None:
    click.echo(f"listening at {endpoint.address}\npublic key   {endpoint.server_public}", err=True)
