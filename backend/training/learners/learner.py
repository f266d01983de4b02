"""What every network under training is: a batch of photos and drivers in, drawn pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import OptimiserConfig
from ..data.batch import Batch
from ..losses import Drawn

STYLE_RATE = 0.1


class Learner(nn.Module):
    """A network under training.

    Attributes:
        network: what is saved; its state dict is the model's.
    """

    network: nn.Module

    def learned(self) -> Iterator[nn.Parameter]:
        """What the optimiser changes: all but a pretrained encoder, which is frozen when it is loaded."""
        return (parameter for parameter in self.network.parameters() if parameter.requires_grad)

    def groups(self, optimiser: OptimiserConfig) -> list[dict[str, Any]]:
        """`learned` with learning rates: the refiner's style learns a tenth as fast as the rest of it, as GAGAvatar trains it.

        The refiner has no momentum, whatever the others have (GAGAvatar: betas 0 and 0.99): with it, its logits overshoot within
        ten steps to where the sigmoid is flat, and its picture stays black.
        """
        parts: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                refiner = name.startswith("upsampler.")
                factor = optimiser.refiner if refiner else 1.0
                factor *= STYLE_RATE if "style_mlp" in name or "final_linear" in name else 1.0
                parts.setdefault((factor, 0.0 if refiner else optimiser.beta1), []).append(parameter)
        return [
            {"params": parameters, "lr": factor * optimiser.rate, "betas": (beta1, optimiser.beta2)}
            for (factor, beta1), parameters in parts.items()
        ]

    def heavy(self) -> Sequence[nn.Module]:
        """Parts that may compute in half precision; geometry may not."""
        raise NotImplementedError

    def forward(self, batch: Batch, level: int) -> Drawn:
        """Draw the batch's target at a level of detail.

        Raises:
            TrainingError: another number of photos than the network takes.
        """
        raise NotImplementedError


def half_precision(learner: Learner, device: torch.device) -> None:
    """Let the heavy parts compute in bfloat16 (autocast); what they give is float32 again, so geometry and drawing never are less."""
    for module in learner.heavy():
        module.forward = _autocast(module.forward, device.type)  # pyright: ignore[reportAttributeAccessIssue]


def _autocast(forward: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def run(*arguments: Any, **named: Any) -> Any:
        with torch.autocast(kind, torch.bfloat16):
            return _float(forward(*arguments, **named))

    return run


def _float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_float, value))
    return type(value)(map(_float, value)) if isinstance(value, (tuple, list)) else value
