"""What a run tells: lines of JSON, a curve as a picture, and TensorBoard where it is installed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backend.protocol.avatar import F32

from .errors import TrainingError

LOG = "log.jsonl"
_SIZE, _MARGIN = (960, 420), (70, 20, 30, 45)
_COLORS = ((46, 96, 178), (205, 84, 44), (60, 140, 80), (130, 80, 160))


class Journal:
    """Written by the first process only.

    Args:
        folder: of the run. step: entries of steps after it are left out: the run goes on from there, and writes them again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._folder, self._path = folder, folder / LOG
        try:
            kept = [entry for entry in read_log(folder) if entry["step"] <= step]
            self._path.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        except OSError as error:
            raise TrainingError(f"{self._path}: cannot be written ({error.strerror})", "check the folder") from error
        self._board = _tensorboard(folder / "tensorboard", step)

    def scalars(self, step: int, kind: str, values: Mapping[str, float]) -> None:
        """Numbers of a step; `kind` is train or held_out."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "kind": kind, **{key: round(value, 6) for key, value in values.items()}}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, step: int, name: str, picture: F32) -> None:
        """A picture [H, W, 3] of a step; the last one is also kept as a file."""
        pixels = (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)
        Image.fromarray(pixels).save(self._folder / f"{name}.png")
        if self._board is not None:
            self._board.add_image(name, pixels, step, dataformats="HWC")

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _tensorboard(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        # The log and the curve are there all the same; `lookalike train` says once that TensorBoard is not.
        return None
    return SummaryWriter(str(folder), purge_step=step + 1)


def has_tensorboard() -> bool:
    """Whether TensorBoard's files are written."""
    try:
        import torch.utils.tensorboard
    except ImportError:
        return False
    return bool(torch.utils.tensorboard)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's log; none where there is no log. A line that a crash cut short is left out."""
    path = folder / LOG
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text("utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            continue
    return entries


def draw_curves(folder: Path, names: Sequence[str] = ("psnr", "psnr_coarse"), kind: str = "held_out") -> Path | None:
    """``curve.png``: values of the log over the steps; None where there are fewer than two."""
    entries = [entry for entry in read_log(folder) if entry["kind"] == kind]
    curves = {name: [(entry["step"], entry[name]) for entry in entries if name in entry] for name in names}
    curves = {name: points for name, points in curves.items() if len(points) > 1}
    if not curves:
        return None
    every = np.array([point for points in curves.values() for point in points], float)
    low, high = every.min(0), every.max(0)
    span = np.maximum(high - low, 1e-9)
    image = Image.new("RGB", _SIZE, "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    left, top, right, bottom = _MARGIN[0], _MARGIN[1], _SIZE[0] - _MARGIN[2], _SIZE[1] - _MARGIN[3]
    place = lambda point: (left + (point[0] - low[0]) / span[0] * (right - left), bottom - (point[1] - low[1]) / span[1] * (bottom - top))
    for i in range(6):
        step, value = low[0] + span[0] * i / 5, low[1] + span[1] * i / 5
        x, y = place((step, value))
        pen.line([(left, y), (right, y)], fill=(225, 225, 225))
        pen.text((8, y - 8), f"{value:.2f}", fill="black", font=font)
        pen.text((x - 15, bottom + 8), f"{step:.0f}", fill="black", font=font)
    for index, (name, points) in enumerate(curves.items()):
        color = _COLORS[index % len(_COLORS)]
        pen.line([place(point) for point in points], fill=color, width=3, joint="curve")
        pen.text((left + 12 + 150 * index, _SIZE[1] - 22), f"{kind} {name}", fill=color, font=font)
    path = folder / "curve.png"
    image.save(path)
    return path
