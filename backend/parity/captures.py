"""Keeping what the parts of a network put out while it runs, and comparing slices of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .fixture_folder import Fixture
from .rows import Row, compare


@contextmanager
def captured(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """A dict that fills with the output of each named module as the network runs; a second run overwrites."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            outputs[name] = output.detach().clone()

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def compare_slice(
    label: str, file: Fixture, name: str, whole: Any, kept: Any, tolerance: float, statistics: float | None = None
) -> Iterator[Row]:  # fmt: skip
    """Rows of a stored slice and of the statistics of the whole array that are stored beside it.

    Args:
        label: of the file, for the rows' names.
        whole: the array; its first axis are the channels. kept: the slice of it that the file holds.
        statistics: tolerance of mean, deviation, minimum and maximum; by default `tolerance`.
    """
    yield compare(f"{label}/{name}", kept, file[name], tolerance)
    array = (whole.detach().cpu().numpy() if isinstance(whole, torch.Tensor) else np.asarray(whole)).astype(np.float64)
    bound = tolerance if statistics is None else statistics
    if f"{name}.stats" in file:
        summary = [array.mean(), array.std(), array.min(), array.max()]
        yield compare(f"{label}/{name}.stats", summary, file[f"{name}.stats"], bound)
    for suffix, of in (("ch_mean", np.mean), ("ch_std", np.std)):
        if f"{name}.{suffix}" in file:
            yield compare(f"{label}/{name}.{suffix}", of(array.reshape(len(array), -1), 1), file[f"{name}.{suffix}"], bound)
