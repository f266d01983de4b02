"""`lookalike bake`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backend.protocol.avatar_file import SUFFIX, read_avatar, write_avatar

from .output import TerminalListener, check_target, emit, interrupts, json_option
from .personalize import Interruptible

if TYPE_CHECKING:
    from backend.bake.bake import Baked


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The baked avatar file, NAME{SUFFIX}.")
@click.option("--lod", "levels", multiple=True, type=click.IntRange(0, 2), help="Level of detail to bake; repeatable; by default all.")
@click.option("--frames", type=click.IntRange(8, 2000), default=96, show_default=True, help="Refined pictures; a quarter is held out.")
@click.option("--steps", type=click.IntRange(1, 20000), default=300, show_default=True, help="Of each level.")
@click.option("--patterns", type=click.IntRange(0, 16), default=6, show_default=True, help="Of colour that follows the face; 0 for none.")
@click.option("--size", type=click.IntRange(32, 1024), default=512, show_default=True, help="Most pixels a side of the pictures.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another plan of views and faces.")
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
    as_json: bool,
) -> None:
    """Turn what a refiner draws (avatars of gagavatar, omg, ...) into native splats whose colours follow the face.

    Ctrl-C keeps the best so far. A level whose held-out frames get no better is left as it was; where all are, nothing is written and
    the exit code is 1. The baked file holds no features for the refiner: keep the first one.
    """
    import torch

    from backend.bake import bake as bake_avatar
    from backend.models.refiner import refiner_of

    check_target(output, SUFFIX)
    avatar = read_avatar(file)
    model = refiner_of(avatar)
    with TerminalListener(file.stem, quiet=as_json) as terminal:
        listener = Interruptible(terminal)
        with interrupts(listener.interrupted):
            done = bake_avatar(
                model, avatar, listener, levels=levels or None, frames=frames, steps=steps, patterns=patterns, size=size, seed=seed,
                device="cuda" if torch.cuda.is_available() else "cpu",
            )  # fmt: skip
        write_avatar(output, done.avatar)
    facts = {"file": str(output), **terminal.timings(), **_facts(done), "stopped": done.stopped}
    emit(as_json, facts, "\n".join([*_lines(done), f"{output}: {output.stat().st_size / 1e6:.1f} MB in {terminal.seconds:.1f} s"]))


def _facts(done: Baked) -> dict[str, Any]:
    told = done.avatar.provenance["baked"]
    assert isinstance(told, dict)
    return told


def _lines(done: Baked) -> list[str]:
    """A table: PSNR against the refined frames."""
    lines = [f"PSNR, dB, against {done.frames[0]} refined frames learned from and {done.frames[1]} held out"]
    for r in done.reports:
        told = f"learned {r.learned[0]:.2f} -> {r.learned[1]:.2f}, held out {r.held_out[0]:.2f} -> {r.held_out[1]:.2f}"
        plain = f" ({r.without_patterns:.2f} without colours that follow the face)"
        lines.append(f"level {r.level}: {told}{plain if r.kept else ' (no better: left as it was)'}")
    return lines
