"""`lookalike adapters`."""

from __future__ import annotations

from pathlib import Path

import click

from backend.protocol import adapters as refinements
from backend.protocol.avatar_file import SUFFIX, read_avatar, write_avatar

from .output import check_target, emit, json_option
from .personalize import gain_of


@click.command()
@click.argument("avatar_file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--enable", multiple=True, metavar="NAME", help="Switch on.")
@click.option("--disable", multiple=True, metavar="NAME", help="Switch off: without any, the avatar is the original to the bit.")
@click.option("--merge", multiple=True, metavar="NAME", help="Make part of the avatar for good.")
@click.option("--remove", multiple=True, metavar="NAME", help="Take out of the file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write; by default FILE itself.")
@json_option
def adapters(
    avatar_file: Path,
    enable: tuple[str, ...],
    disable: tuple[str, ...],
    merge: tuple[str, ...],
    remove: tuple[str, ...],
    output: Path | None,
    as_json: bool,
) -> None:
    """List an avatar's refinements, and switch, merge or remove them."""
    if output is not None:
        check_target(output, SUFFIX)
    avatar = read_avatar(avatar_file)
    for name in enable:
        avatar = refinements.switch(avatar, name, True)
    for name in disable:
        avatar = refinements.switch(avatar, name, False)
    for name in merge:
        avatar = refinements.merge(avatar, name)
    for name in remove:
        avatar = refinements.remove(avatar, name)
    if enable or disable or merge or remove or output is not None:
        write_avatar(output or avatar_file, avatar)
    facts = [{"name": a.name, "kind": a.kind, "created": a.created, "enabled": a.enabled, **a.facts} for a in avatar.adapters]
    lines = [f"{'on ' if a.enabled else 'off'} {a.name}: {a.kind}, {a.created}, {gain_of(a)}" for a in avatar.adapters]
    emit(as_json, {"file": str(output or avatar_file), "adapters": facts}, "\n".join(lines) or "no adapters")
