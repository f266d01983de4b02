"""`lookalike train`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .output import TerminalListener, emit, json_option


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder of the run; runs/NAME by default.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--stop-after", type=click.IntRange(min=1), help="Stop with a checkpoint after so many steps of the whole.")
@json_option
def train(config: Path, output: Path | None, resume: bool, stop_after: int | None, as_json: bool) -> None:
    """Train a network as a TOML file says. Several GPUs: torchrun --nproc-per-node=N -m backend train CONFIG."""
    from backend.training.config import read_config
    from backend.training.journal import has_tensorboard
    from backend.training.trainer import train as run

    settings = read_config(builtin_config(config))
    folder = output or Path("runs") / settings.name
    first = os.environ.get("RANK", "0") == "0"
    say = lambda line: click.echo(line, err=True) if first and not as_json else None
    if not has_tensorboard():
        say("TensorBoard is not installed (lookalike[training]); log.jsonl and curve.png are written all the same")
    with TerminalListener(settings.name, quiet=as_json or not first) as listener:
        tell = lambda step, steps, values: listener.progress(step / steps, "train", f"step {step} of {steps}, loss {values['loss']:.4f}")
        outcome = run(settings, folder, resume=resume, stop_after=stop_after, progress=tell, report=say)
    if first:
        values = ", ".join(f"{name} {value:.4g}" for name, value in outcome.values.items())
        facts = {"model": str(outcome.model), "steps": outcome.steps, "held_out": outcome.values, "seconds": round(listener.seconds, 1)}
        emit(
            as_json, facts, f"{outcome.model}: {outcome.steps} steps in {listener.seconds:.0f} s{'; held out: ' + values if values else ''}"
        )


def builtin_config(path: Path) -> Path:
    """The file; or one of those that come with Lookalike, by its bare name."""
    import backend.training

    shipped = Path(backend.training.__file__).parent / "configs" / f"{path.name}.toml"
    return shipped if not path.exists() and path.parent == Path() and shipped.is_file() else path
