"""Checkpoints from which training goes on as if it had not stopped: to the bit where the device computes the same twice."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from .errors import TrainingError

FORMAT = 1
_NAME = "step-{:08d}.pt"


@dataclass(frozen=True)
class State:
    """Everything that a training's future depends on.

    Attributes:
        step: how many steps are done; the data's position follows from it. world: how many processes there were.
        model, optimiser, schedule: state dicts. random: torch's random states of each process, CPU and then devices.
        best: best held-out PSNR so far. config: what may not change.
    """

    step: int
    world: int
    model: dict[str, Tensor]
    optimiser: dict[str, Any]
    schedule: dict[str, Any]
    random: list[list[Tensor]]
    best: float
    config: dict[str, Any]


def save(folder: Path, state: State, keep: int) -> Path:
    """Write a checkpoint, then delete all but the last `keep`.

    Raises:
        TrainingError: it cannot be written; older ones are as they were.
    """
    target = folder / _NAME.format(state.step)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state.__dict__}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except (OSError, RuntimeError) as error:  # torch tells a full disk as RuntimeError
        raise TrainingError(f"{target}: cannot be written ({error})", "make room; training goes on from the last checkpoint") from error
    finally:
        partial.unlink(missing_ok=True)
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return target


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load(folder: Path, config: dict[str, Any]) -> State | None:
    """The last checkpoint of a run; None where there is none.

    Raises:
        TrainingError: it cannot be read, or belongs to another configuration (names what changed).
    """
    found = checkpoints(folder)
    if not found:
        return None
    try:
        content = torch.load(found[-1], map_location="cpu", weights_only=True)
        version = content.pop("format")
        state = State(**content)
    except Exception as error:  # torch raises many types on damaged files
        raise TrainingError(f"{found[-1]}: not a readable checkpoint ({error})", "delete it to go on from the one before") from error
    if version != FORMAT:
        raise TrainingError(f"{found[-1]}: of format {version}, this software reads {FORMAT}", "start a new run")
    changed = _changes(state.config, config)
    if changed:
        raise TrainingError(
            f"{found[-1].parent.parent.name}: the configuration changed since: {', '.join(changed)}",
            "undo that, or start a new run with another name",
        )
    return state


def export(path: Path, model: dict[str, Tensor], facts: dict[str, str]) -> None:
    """The network's weights alone, as safetensors.

    Raises:
        TrainingError: they cannot be written.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        save_file({key: value.detach().cpu().contiguous() for key, value in model.items()}, partial, metadata=facts)
        os.replace(partial, path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error})", "make room") from error
    finally:
        partial.unlink(missing_ok=True)


def random_state(device: torch.device) -> list[Tensor]:
    """This process' random states."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def restore_random(state: list[Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state[0])
    if device.type == "cuda" and len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)


def _changes(old: Any, new: Any, where: str = "") -> list[str]:
    """Names of what differs."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [f"{where}.{key}" if where else str(key) for key in sorted({*old, *new}, key=str)]
        return [
            change
            for name, key in zip(names, sorted({*old, *new}, key=str), strict=True)
            for change in _changes(old.get(key), new.get(key), name)
        ]
    if isinstance(old, (list, tuple)) and isinstance(new, (list, tuple)) and len(old) == len(new):
        return [change for i, (a, b) in enumerate(zip(old, new, strict=True)) for change in _changes(a, b, f"{where}[{i}]")]
    return [] if old == new else [where]
