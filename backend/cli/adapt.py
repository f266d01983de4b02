"""`lookalike adapt` and `lookalike merge-adapter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from backend.protocol.errors import Cancelled

from .output import TerminalListener, check_target, emit, interrupts, json_option

if TYPE_CHECKING:
    from torch import Tensor, nn

    from backend.personalize.frames import PersonFrames

SUFFIX = ".safetensors"


FRAMES = 300
"""Most frames of a video by default: all are held in memory, 4 MB each."""
frames_option = click.option(
    "--frames", "most", default=FRAMES, show_default=True, type=click.IntRange(2), help="At most so many, spread evenly over the video."
)


def tracked_person(folder: Path, person: int, rig: str, most: int = FRAMES) -> PersonFrames:
    """One person of a folder that GAGAvatar_track wrote, at most so many frames, the first and the last among them.

    Raises:
        LookalikeError: no such person; DataError: the folder, or it does not fit the rig.
    """
    from backend.personalize.frames import frames_of_views
    from backend.protocol.errors import LookalikeError
    from backend.rig import load_rig
    from backend.training.data.gagavatar_track import TrackedLmdb

    head = load_rig(rig)
    footage = TrackedLmdb(folder, head, 512)
    if person >= len(footage.people):
        raise LookalikeError(f"{folder}: has {len(footage.people)} people, no number {person}", "correct --person")
    count = footage.frames(person)
    chosen = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int))
    return frames_of_views([footage.view(person, int(index)) for index in chosen], head)


def users_network(perceptual: bool = True) -> nn.Module:
    """GAGAvatar with the user's checkpoint, on the GPU where there is one.

    Raises:
        WeightsError: the checkpoint is not there; says where to get it.
    """
    import torch

    from backend.models.gagavatar.checkpoint import gagavatar_weights, load_network

    return load_network(gagavatar_weights(), perceptual).to("cuda" if torch.cuda.is_available() else "cpu")


@click.command()
@click.argument("frames", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The adapter, NAME{SUFFIX}.")
@click.option("--rig", required=True, help="Your FLAME file; the tracked parameters are FLAME's.")
@click.option("--person", default=0, show_default=True, type=click.IntRange(0), help="Which person of FRAMES.")
@frames_option
@click.option("--iterations", default=1000, show_default=True, type=click.IntRange(1))
@click.option("--batch", default=2, show_default=True, type=click.IntRange(1, 64), help="Pictures at once; halved where memory lacks.")
@click.option("--rank", default=32, show_default=True, type=click.IntRange(1, 256), help="Of the factors.")
@click.option("--bridge", default="registers", show_default=True, type=click.Choice(["registers", "none", "noise", "embedding"]))
@click.option("--keep-registers", is_flag=True, help="Keep them in the file; drawing never needs them.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@json_option
def adapt(
    frames: Path, output: Path, rig: str, person: int, most: int, iterations: int, batch: int, rank: int, bridge: Any,
    keep_registers: bool, seed: int, as_json: bool,
) -> None:  # fmt: skip
    """LoRA + Registers: adapt GAGAvatar to one person, whose tracked video is FRAMES (a folder that GAGAvatar_track wrote).

    The checkpoint is yours (see: lookalike models). A tenth of the frames is held out and decides which iteration is kept;
    what is not better there than the generic model is refused. Ctrl-C keeps the best so far.
    """
    from backend.personalize import adapt as adaptation
    from backend.personalize.adapter_file import write_adapter

    check_target(output, SUFFIX)
    with TerminalListener(output.stem, quiet=as_json) as terminal:
        network, person_frames = users_network(), tracked_person(frames, person, rig, most)
        settings = adaptation.AdaptSettings(
            name=output.stem, iterations=iterations, batch=batch, rank=rank, bridge=bridge, keep_registers=keep_registers, seed=seed
        )
        watcher = Watcher(terminal)
        with interrupts(watcher.interrupted):
            adapter = adaptation.adapt(network, person_frames, settings, watcher)
    write_adapter(output, adapter)
    facts = {key: value for key, value in adapter.facts.items() if key not in ("curve", "settings")}
    change = f"held-out error {facts['before']:.4f} -> {facts['after']:.4f} at iteration {facts['best_iteration']}"
    emit(as_json, {"file": str(output), **facts, **terminal.timings()}, f"{output}: {change}")


@click.command()
@click.argument("adapter", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=f"The merged weights, NAME{SUFFIX}.")
@json_option
def merge_adapter(adapter: Path, output: Path, as_json: bool) -> None:
    """Merge an adapter (ours, or a LoRAvatar checkpoint) into GAGAvatar's weights.

    The file has all that draws, and not the nets of the training's loss. Name it with the environment variable
    LOOKALIKE_GAGAVATAR, and --model gagavatar uses it. The base is the checkpoint in the models folder.
    """
    from backend.personalize.adapter_file import read_adapter
    from backend.personalize.lora import merge

    check_target(output, SUFFIX)
    read = read_adapter(adapter)
    network = users_network(perceptual=False).cpu()
    read.check_base(network)
    merge(network, read.pairs, read.scale)
    _save({key: value.contiguous() for key, value in network.state_dict().items()}, output)
    emit(as_json, {"file": str(output), "adapter": read.name, "layers": len(read.pairs)}, f"{output}: {len(read.pairs)} layers merged")


def _save(state: dict[str, Tensor], output: Path) -> None:
    """Write weights under another name first: a full disk or Ctrl-C leaves no half file, and an older one as it was.

    Raises:
        WeightsError: they cannot be written.
    """
    import errno
    import os
    import secrets

    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from backend.protocol.errors import WeightsError

    partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        save_file(state, partial)
        os.replace(partial, output)
    except (OSError, SafetensorError) as error:
        full = "No space left" in str(error) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT))
        size = (sum(tensor.numel() * tensor.element_size() for tensor in state.values()) >> 20) + 1
        remedy = f"make {size} MB of room in {output.absolute().parent}" if full else "choose another folder"
        raise WeightsError(f"{output}: cannot be written ({error})", remedy) from error
    finally:
        partial.unlink(missing_ok=True)


class Watcher:
    """The terminal's bar for the parts that personalization tells it about."""

    def __init__(self, terminal: TerminalListener) -> None:
        self._terminal, self._held_out, self._enough = terminal, "", False

    def interrupted(self, presses: int) -> None:
        """Ctrl-C ends the learning, which keeps the best so far; a second one ends the command."""
        if presses > 1:
            raise KeyboardInterrupt
        self._enough = True

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        if self._enough:
            raise Cancelled("ended by Ctrl-C")
        self._terminal.progress(fraction, stage, f"{text} {self._held_out}".strip())

    def learned(self, point: Any) -> None:
        if point.held_out is not None:
            self._held_out = f"(held out {point.held_out:.4f})"
