"""`lookalike ablation`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .adapt import Watcher, frames_option, tracked_person, users_network
from .output import TerminalListener, emit, json_option

if TYPE_CHECKING:
    from backend.personalize.ablation import Measures, Result


@click.command()
@click.argument("frames", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the table, the curves and a picture.")
@click.option("--variants", help="Which, with commas; by default all (meta-learning only with the drawn people).")
@click.option("--iterations", type=click.IntRange(1), help="Of each adaptation.  [default: 40 in the demonstration, else 1000]")
@click.option("--rank", type=click.IntRange(1, 256), help="Of the factors.  [default: 8 in the demonstration, else 32]")
@click.option("--person", default=0, show_default=True, type=click.IntRange(0), help="Which person of FRAMES.")
@frames_option
@click.option("--rig", default="builtin", show_default=True, help="FLAME's file with FRAMES, else the head that is drawn.")
@click.option("--teach", default=150, show_default=True, type=click.IntRange(0), help="Steps that the demonstration's network is taught.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of people and learning.")
@click.option("--threads", default=0, type=click.IntRange(0), help="torch's threads; by default one a core.")
@json_option
def ablation(
    frames: Path | None, output: Path | None, variants: str | None, iterations: int | None, rank: int | None, person: int, most: int,
    rig: str, teach: int, seed: int, threads: int, as_json: bool,
) -> None:  # fmt: skip
    """Personalize one person by LoRA + Registers and by what the paper compares it with, and print its table.

    FRAMES is a folder that GAGAvatar_track wrote; the network is then GAGAvatar with your checkpoint (lookalike models).
    Without FRAMES a small network is taught on drawn heads and adapted to another drawn head: minutes on a CPU, to see it work.
    Told are means over held-out frames: LPIPS, ArcFace's distance where their weights are there, else named substitutes.
    """
    import torch

    from backend.personalize.ablation import ablate, table

    if threads:
        torch.set_num_threads(threads)
    with TerminalListener("ablation", quiet=as_json) as terminal:
        listener = Watcher(terminal)
        work = _tracked(frames, person, rig, most, seed) if frames else _drawn(rig, teach, seed, listener)
        chosen = [v.strip() for v in variants.split(",")] if variants else _all(bool(work["others"]))
        settings = replace(work["settings"], seed=seed)
        settings = replace(settings, iterations=iterations or settings.iterations)
        if rank:
            settings = replace(settings, rank=rank, alpha=settings.alpha * rank / settings.rank)
        measures = _measures()
        results = ablate(work["network"], work["person"], chosen, settings, work["others"], work["meta"], measures, listener)
    text = table(results, measures)
    if output is not None:
        _write(output, text, results, work["person"], settings)
    emit(as_json, {"measures": [measures.perceptual[0]], "results": [_plain(r) for r in results]}, text)


def _all(several: bool) -> list[str]:
    from backend.personalize.ablation import VARIANTS

    return [name for name in VARIANTS if several or name != "reptile"]


def _drawn(rig: str, steps: int, seed: int, listener: Watcher) -> dict[str, Any]:
    from backend.personalize.demonstration import META, SETTINGS, demonstration
    from backend.rig import load_rig

    made = demonstration(load_rig(rig), steps=steps, seed=seed, listener=listener)
    return {"network": made.network, "person": made.person, "others": made.others, "settings": SETTINGS, "meta": META}


def _tracked(folder: Path, person: int, rig: str, most: int, seed: int) -> dict[str, Any]:
    from backend.personalize.adapt import AdaptSettings

    network, frames = users_network(), tracked_person(folder, person, rig, most)
    return {"network": network, "person": frames, "others": [], "settings": AdaptSettings(seed=seed), "meta": None}


def _measures() -> Measures:
    from backend.personalize.ablation import Measures
    from backend.personalize.measures import identity_measure, perceptual_measure

    perceptual = perceptual_measure()
    return Measures(perceptual=perceptual or Measures().perceptual, identity=identity_measure())


def _plain(result: Result) -> dict[str, Any]:
    return {key: value for key, value in vars(result).items() if key != "pictures"}


def _write(folder: Path, text: str, results: list[Result], person: Any, settings: Any) -> None:
    import json

    import numpy as np
    from PIL import Image

    from backend.personalize.ablation import VARIANTS
    from backend.personalize.adapt import split
    from backend.splats.contact_sheet import arrange

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.txt").write_text(text + "\n", encoding="utf-8")
    (folder / "table.json").write_text(json.dumps([_plain(r) for r in results], indent=1), encoding="utf-8")
    first = split(len(person.frames), settings.hold_out)[0][0]
    pictures = [("held-out frame", person.frames[first].target.permute(1, 2, 0).numpy())]
    pictures += [(VARIANTS[r.variant], r.pictures[0]) for r in results]
    tiles = [(name, _tile(picture)) for name, picture in pictures]
    sheet = arrange(tiles, len(tiles[0][1]), 3)
    Image.fromarray(np.rint(255 * np.clip(sheet, 0, 1)).astype(np.uint8)).save(folder / "held_out.png")


def _tile(picture: Any) -> Any:
    """Small pictures enlarged pixel by pixel, with a white strip for the label."""
    import numpy as np

    factor = max(1, 256 // len(picture))
    large = picture.repeat(factor, 0).repeat(factor, 1)
    return np.pad(large, ((24, 0), (12, 12), (0, 0)), constant_values=1.0)
