"""One process, or several that torchrun started: who is first, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import TrainingError


@dataclass(frozen=True)
class Processes:
    """This process' rank among `world`, and the device it computes on."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value = value / self.world
        return value.detach()

    def all_true(self, value: bool) -> bool:
        """Whether it is true in all processes."""
        if self.world == 1:
            return value
        flag = torch.tensor(int(value), device=self.device)
        dist.all_reduce(flag, dist.ReduceOp.MIN)
        return bool(flag.item())

    def gathered(self, value: list[Tensor]) -> list[list[Tensor]]:
        """What each process has, in the order of their ranks."""
        if self.world == 1:
            return [value]
        found: list[list[Tensor]] = [[] for _ in range(self.world)]
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, by its environment; alone without one.

    Args:
        device: "auto", "cpu" or "cuda".
    Raises:
        TrainingError: "cuda" where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise TrainingError("no CUDA device can be used", "set device = 'cpu', or install a torch for this GPU")
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    chosen = torch.device(f"cuda:{local}" if device != "cpu" and torch.cuda.is_available() else "cpu")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Processes(0, 1, chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), world, chosen)
    finally:
        dist.destroy_process_group()
