"""`lookalike bake`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backend.protocol.avatar import Avatar
from backend.protocol.avatar_file import SUFFIX, encode_avatar, read_avatar, write_avatar
from backend.protocol.messages import Bake

from .output import TerminalListener, check_target, emit, interrupts, json_option
from .personalize import Interruptible, RemoteWork


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The baked avatar file, NAME{SUFFIX}.")
@click.option("--lod", "levels", multiple=True, type=click.IntRange(0, 2), help="Level of detail to bake; repeatable; by default all.")
@click.option("--frames", type=click.IntRange(8, 2000), default=96, show_default=True, help="Refined pictures; a quarter is held out.")
@click.option("--steps", type=click.IntRange(1, 20000), default=300, show_default=True, help="Of each level.")
@click.option("--patterns", type=click.IntRange(0, 16), default=6, show_default=True, help="Of colour that follows the face; 0 for none.")
@click.option("--size", type=click.IntRange(32, 1024), default=512, show_default=True, help="Most pixels a side of the pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Another plan of views and faces.")
@click.option("--backend", "use_backend", is_flag=True, help="Let this user's running backend do it (see: lookalike serve).")
@json_option
def bake(
    file: Path,
    output: Path,
    levels: tuple[int, ...],
    frames: int,
    steps: int,
    patterns: int,
    size: int,
    seed: int,
    use_backend: bool,
    as_json: bool,
) -> None:
    """Turn what a refiner draws (avatars of gagavatar, omg, ...) into native splats whose colours follow the face.

    Ctrl-C keeps the best so far. A level whose held-out frames get no better is left as it was; where all are, nothing is written and
    the exit code is 1. The baked file holds no features for the refiner: keep the first one.
    """
    check_target(output, SUFFIX)
    avatar = read_avatar(file)
    wish = Bake(levels, frames, steps, patterns, size, seed)
    with TerminalListener(file.stem, quiet=as_json) as terminal:
        done = _over_the_wire(avatar, wish, terminal) if use_backend else _here(avatar, wish, terminal)
    write_avatar(output, done)
    told: Any = done.provenance["baked"]
    facts = {"file": str(output), **terminal.timings(), **told}
    emit(as_json, facts, "\n".join([*_lines(told), f"{output}: {output.stat().st_size / 1e6:.1f} MB in {terminal.seconds:.1f} s"]))


def _here(avatar: Avatar, wish: Bake, terminal: TerminalListener) -> Avatar:
    import torch

    from backend.bake import bake as bake_avatar
    from backend.models.refiner import refiner_of

    model, listener = refiner_of(avatar), Interruptible(terminal)
    with interrupts(listener.interrupted):
        return bake_avatar(
            model, avatar, listener, levels=wish.levels or None, frames=wish.frames, steps=wish.steps, patterns=wish.patterns,
            size=wish.size, seed=wish.seed, device="cuda" if torch.cuda.is_available() else "cpu",
        ).avatar  # fmt: skip


def _over_the_wire(avatar: Avatar, wish: Bake, terminal: TerminalListener) -> Avatar:
    from backend.server import Client

    with Client.connect() as client:
        work = RemoteWork(client, terminal)
        with interrupts(work.interrupted):
            return client.bake(encode_avatar(avatar), wish, on_event=work.show).avatar()


def _lines(told: dict[str, Any]) -> list[str]:
    """A table: PSNR against the refined frames."""
    frames = told["frames"]
    lines = [f"PSNR, dB, against {frames['learned']} refined frames learned from and {frames['held_out']} held out"]
    for level in told["levels"]:
        learned, held = (
            " -> ".join("not measured" if x is None else f"{x:.2f}" for x in level[name]) for name in ("psnr_learned", "psnr_held_out")
        )
        without = level["psnr_held_out_without_patterns"]
        plain = "" if without is None else f" ({without:.2f} without colours that follow the face)"
        tail = plain if level["kept"] else " (no better: left as it was)"
        lines.append(f"level {level['level']}: learned {learned}, held out {held}{tail}")
    return lines
