"""`lookalike synthesize`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from .output import TerminalListener, emit, json_option


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--count", default=8, show_default=True, type=click.IntRange(1, 100_000), help="How many people.")
@click.option("--views", default=6, show_default=True, type=click.IntRange(1, 1000), help="How many pictures of each.")
@click.option("--size", default=512, show_default=True, type=click.IntRange(32, 2048), help="Side of a picture, pixels.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Another seed, other people.")
@click.option("--rig", default="builtin", show_default=True, help="'builtin', or ICT-FaceKit's folder or .npz.")
@click.option("--around", is_flag=True, help="Cameras on the whole circle, not mostly in front.")
@click.option("--videos", is_flag=True, help="Only one MP4 a person, as a teacher's footage would be: a set of kind videos.")
@json_option
def synthesize(
    folder: Path, count: int, views: int, size: int, seed: int, rig: str, around: bool, videos: bool, as_json: bool
) -> None:  # fmt: skip
    """Draw heads with known shape, expression, camera, matte and depth into FOLDER: VHAP's layout, and a sheet to look at."""
    from backend.rig import load_rig
    from backend.training.synthetic import SyntheticHeads, Views
    from backend.training.synthetic.folder import write_heads, write_videos

    heads = SyntheticHeads(load_rig(rig), count, views, size, seed, Views(around=around))
    started = time.monotonic()
    with TerminalListener("synthesize", quiet=as_json) as listener:
        write = write_videos if videos else write_heads
        written = write(heads, folder, lambda done, total: listener.progress(done / total, "draw", f"{done} of {total}"))
    rate = count * views / (time.monotonic() - started)
    facts = {"folder": str(folder), "people": count, "pictures": count * views, "per_second": round(rate, 2)}
    facts |= {"videos": [str(path) for path in written]} if isinstance(written, list) else {"sheet": str(written)}
    look = "" if videos else f"; look at {written}"
    emit(as_json, facts, f"{folder}: {count} people, {count * views} pictures ({rate:.1f} a second){look}")
