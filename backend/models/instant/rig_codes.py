"""Which motion code a rig's expression has: a linear map, measured while the network learns. The animation does without it.

The network knows drivers by their pictures. Where the training's views come with a rig's coefficients, those are regressed on
the codes that the views got, so that an avatar can be moved by sliders and its motion be baked. Running sums are kept, not
samples; older ones fade, because the encoder changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

FADE = 0.998
"""Share of the sums that a step keeps."""
RIDGE = 1e-3
"""Of the mean square of a coefficient that is 1 in a tenth of the views."""
LEAST_VIEWS = 4.0


@dataclass(frozen=True)
class CodeMap:
    """code = neutral + coefficients @ directions.

    Attributes:
        explained: share of the codes' variance over the views that the map gives, 0..1.
    """

    neutral: Float[Tensor, " k"]
    directions: Float[Tensor, "e k"]
    explained: float

    def code(self, coefficients: Float[Tensor, " e"]) -> Float[Tensor, "1 k"]:
        return (self.neutral + coefficients @ self.directions)[None]


class RigCodes(nn.Module):
    """Running sums of a regression of codes on coefficients.

    Args:
        coefficients: how many; code: channels.
    """

    gram: Tensor
    cross: Tensor
    power: Tensor

    def __init__(self, coefficients: int, code: int) -> None:
        super().__init__()
        # The last coefficient is a constant 1: its own sum is how many views there were.
        self.register_buffer("gram", torch.zeros(coefficients + 1, coefficients + 1))
        self.register_buffer("cross", torch.zeros(coefficients + 1, code))
        self.register_buffer("power", torch.zeros(code))

    @property
    def coefficients(self) -> int:
        """How many coefficients a view has."""
        return len(self.gram) - 1

    @torch.no_grad()
    def observe(self, coefficients: Float[Tensor, "b e"], codes: Float[Tensor, "b k"]) -> None:
        """Add views."""
        given = torch.cat([coefficients, torch.ones_like(coefficients[:, :1])], 1).float()
        codes = codes.detach().float()
        self.gram.mul_(FADE).add_(given.T @ given)
        self.cross.mul_(FADE).add_(given.T @ codes)
        self.power.mul_(FADE).add_(codes.square().sum(0))

    def solve(self) -> CodeMap | None:
        """The map by ridge regression; None where too few views were seen."""
        gram, cross = self.gram.double(), self.cross.double()
        count = float(gram[-1, -1])
        if count < LEAST_VIEWS:
            return None
        ridge = torch.full((len(gram),), 0.1 * RIDGE * count, dtype=torch.float64, device=gram.device)
        ridge[-1] = 0
        found = torch.linalg.solve(gram + ridge.diag() + 1e-9 * count * torch.eye(len(gram), device=gram.device), cross)
        mean = cross[-1] / count
        total = self.power.double() - count * mean.square()
        left = self.power.double() - 2 * (found * cross).sum(0) + (found * (gram @ found)).sum(0)
        explained = 1 - float(left.sum()) / max(float(total.sum()), 1e-12)
        return CodeMap(found[-1].float(), found[:-1].float(), min(max(explained, 0.0), 1.0))


def coefficients_of(expression: Float[Tensor, "b e"], pose: Float[Tensor, "b j 3"]) -> Float[Tensor, "b f"]:
    """Expressions, then the joints that a face moves: all but root and neck, whose turning is the camera's."""
    return torch.cat([expression, pose[:, 2:].flatten(1)], 1)
