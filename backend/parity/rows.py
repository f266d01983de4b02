"""What a parity run tells: one row a tensor, from every module of this package named rows_*.

Such a module has `FILES`, the fixture files that it reproduces, and `rows(folder) -> Iterator[Row]`, which yields for those of
its files that are present; optionally `GIVEN`, patterns of "file/tensor" that are inputs rather than results. It is found by its
name; nothing else needs to know it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from .fixture_folder import FixtureFolder


@dataclass(frozen=True)
class Row:
    """One tensor compared.

    Attributes:
        name: file/tensor, with a remark in brackets where not the plain maximum is meant.
        max_error: largest absolute difference (or what the remark says); infinite where shapes differ or a value is not finite.
        tolerance: largest error that is accepted, inclusive.
        compared: how many numbers were compared.
    """

    name: str
    max_error: float
    tolerance: float
    compared: int

    @property
    def passed(self) -> bool:
        return self.compared > 0 and self.max_error <= self.tolerance


def compare(name: str, got: Any, expected: Any, tolerance: float, share: float = 1.0, relative: bool = False) -> Row:
    """The row of one tensor.

    Args:
        got, expected: arrays or tensors of the same shape.
        share: 1 for the maximum, else the quantile of the absolute differences that is compared (0.999: all but one in a thousand).
        relative: differences are divided by the largest expected value.
    """
    a, b = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, np.float64) for x in (got, expected))
    if a.shape != b.shape:
        return Row(f"{name} (shape {a.shape}, expected {b.shape})", float("inf"), tolerance, b.size)
    # Where both are the same infinity or NaN they agree; elsewhere a number that is not finite is an error beyond measure.
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        error = np.where(same, 0.0, np.abs(a - b))
    error = np.where(np.isnan(error), np.inf, error).ravel()
    if relative:
        error = error / max(float(np.abs(b).max(initial=0.0)), 1e-30)
    worst = float(np.quantile(error, share, method="higher")) if error.size else 0.0
    remark = "" if share == 1.0 else f" ({share:.1%} of values)"
    return Row(name + remark, worst, tolerance, error.size)


def mean_error(name: str, got: Any, expected: Any, tolerance: float) -> Row:
    """The row of a tensor's mean absolute difference."""
    a, b = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, np.float64) for x in (got, expected))
    error = float(np.abs(a - b).mean()) if a.shape == b.shape and np.isfinite(a).all() else float("inf")
    return Row(f"{name} (mean)", error, tolerance, b.size)


def share_equal(name: str, got: Any, expected: Any, tolerance: float) -> Row:
    """The row of whole numbers of which a small share may differ: the error is that share."""
    a, b = np.asarray(got), np.asarray(expected)
    error = float((a != b).mean()) if a.shape == b.shape else float("inf")
    return Row(f"{name} (share that differs)", error, tolerance, b.size)


def row_modules() -> list[ModuleType]:
    """The modules that reproduce fixtures."""
    names = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name.startswith("rows_"))
    return [importlib.import_module(f"{__package__}.{name}") for name in names]


def all_rows(folder: FixtureFolder) -> Iterator[Row]:
    """Rows of every network whose fixtures are in the folder."""
    for module in row_modules():
        if any(file in folder for file in module.FILES):
            yield from module.rows(folder)


def left_over(folder: FixtureFolder, rows: Iterable[Row]) -> list[str]:
    """Tensors "file/name" of the folder that no row compared, inputs apart; files that no module knows count whole."""
    told = {row.name.split(" (")[0] for row in rows}
    known = {file: getattr(module, "GIVEN", ()) for module in row_modules() for file in module.FILES}
    missed = []
    for file in folder.names:
        if file == "inputs" or file not in folder:
            continue
        if file not in known:
            missed.append(file)
            continue
        for name in sorted(folder[file].names):
            label = f"{file}/{name}"
            if label not in told and not any(fnmatch(label, pattern) for pattern in known[file]):
                missed.append(label)
    return missed
