"""Meta-learnt factors to start from (Nichol & Schulman 2018, Reptile), the paper's strongest rival to registers (tab. 2, B.4.2).

Each outer step adapts the factors to one random person for a few steps and then moves the start a little towards where
that ended, so that later people need few steps. The outer move is Adam's, with start - end as the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from .adapt import AdaptSettings, Listener, Silent, learn
from .frames import PersonFrames
from .lora import Pair, fresh_pairs


@dataclass(frozen=True)
class ReptileSettings:
    """The paper's: 4,800 people drawn, 120 steps with batches of 4 for each, rates 2e-4 inside and 2e-5 outside."""

    outer: int = 4800
    inner: int = 120
    batch: int = 4
    rate: float = 2e-4
    step: float = 2e-5

    def inner_settings(self, base: AdaptSettings) -> AdaptSettings:
        """How one person is adapted to, also after the meta-learning."""
        return replace(base, bridge="none", iterations=self.inner, batch=self.batch, rate=self.rate, final_rate=1.0)


def reptile(
    network: nn.Module, people: Sequence[PersonFrames], settings: ReptileSettings, base: AdaptSettings, listener: Listener | None = None
) -> dict[str, Pair]:
    """Factors from which a new person is reached within few steps.

    Args:
        network: given back as it was. people: none of them the one that is adapted to later.
        base: rank, losses and seed.
    Raises:
        Cancelled: by the listener.
    """
    listener = listener or Silent()
    generator = torch.Generator().manual_seed(base.seed)
    start = {layer: [f.clone().requires_grad_() for f in pair] for layer, pair in fresh_pairs(network, base.rank, generator).items()}
    optimizer = torch.optim.Adam([f for pair in start.values() for f in pair], lr=settings.step)
    for outer in range(settings.outer):
        listener.progress(outer / settings.outer, "meta-learn", f"{outer + 1} of {settings.outer}")
        person = people[int(torch.randint(len(people), (1,), generator=generator))]
        pairs = {layer: Pair(*(f.detach().clone() for f in pair)) for layer, pair in start.items()}
        inner = replace(settings.inner_settings(base), start=pairs, keep="last", seed=base.seed + outer, check_every=settings.inner)
        end = learn(network, person, inner, Silent()).pairs
        for layer, pair in start.items():
            for factor, target in zip(pair, end[layer], strict=True):
                factor.grad = factor.detach() - target
        optimizer.step()
    return {layer: Pair(*(f.detach() for f in pair)) for layer, pair in start.items()}
