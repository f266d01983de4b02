"""Colours of one level as unknowns, and a first guess of them: residuals of refined pictures, regressed on the rig's controls.

A picture is linear in its splats' colours. With A the weights by which splats blend into it, ``A^T r / A^T 1`` spreads a residual r
back over them (one step of SIRT, Gilbert 1972). What is left after the colours of all faces together is regressed, splat by splat,
on the controls by ridge regression; the K strongest singular vectors of the result are the patterns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.protocol.avatar import F32

RIDGE = 0.1
"""Added to the squares of each control, which is at 1 in a frame or two."""
UNSURE = 0.2
"""Share of a splat's mean visibility at which a frame's word on it counts half."""
FAINTEST = 3e-3
"""Singular values below this share of the first are noise."""


@dataclass(frozen=True)
class Colors:
    """Unknowns in display units, to be added to the splats' own colours.

    Attributes:
        tint: [N, 3] whatever the face does. patterns: [N, K, 3]. mixing: [K, C] from controls to the patterns' weights.
    """

    tint: Tensor
    patterns: Tensor
    mixing: Tensor

    @staticmethod
    def zero(splats: int, mixing: Tensor) -> Colors:
        """No change, with the given mixing."""
        empty = lambda *shape: torch.zeros(splats, *shape, device=mixing.device)
        return Colors(empty(3), empty(len(mixing), 3), mixing)

    def change(self, values: Tensor) -> Tensor:
        """[N, 3] where the controls stand at `values` [C]."""
        return self.tint + torch.einsum("k,nkc->nc", self.mixing @ values, self.patterns)

    def copy(self) -> Colors:
        """The numbers as they are now."""
        return Colors(*(getattr(self, name).detach().clone() for name in Colors.__dataclass_fields__))


def first_guess(
    residuals: Sequence[Tensor], shares: Sequence[Tensor], values: Tensor, count: int, mixing: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """What to add to the tint [N, 3], patterns [N, K, 3] and mixing [K, C], from the residuals of F frames.

    Args:
        residuals: F of [N, 3], spread back. shares: F of [N], how much of each splat the frame shows.
        values: [F, C] of the controls.
        count: most patterns.
        mixing: of a level that was done before, to keep; None finds it.
    """
    total = torch.stack(list(shares)).sum(0)
    sure = [share / (share + UNSURE * total / len(shares) + 1e-6) for share in shares]
    seen = torch.stack([r * s[:, None] for r, s in zip(residuals, sure, strict=True)])
    if mixing is not None:
        weights = values @ mixing.T
        found = _ridge(weights, seen)
        return found[0], found[1:].permute(1, 0, 2).contiguous(), mixing
    reach = values.abs().amax(0).clamp_min(1e-6)
    found = _ridge(values / reach, seen)
    slopes = found[1:]
    prominent = (slopes * total.sqrt()[None, :, None]).flatten(1).double()
    strength, vectors = torch.linalg.eigh(prominent @ prominent.T)
    most = min(count, int((strength.clamp_min(0).sqrt() > FAINTEST * strength[-1].clamp_min(1e-12).sqrt()).sum()))
    picked = vectors[:, -most:].flip(1).float()
    found_mixing = picked.T / reach
    patterns = torch.einsum("ck,cnd->nkd", picked, slopes)
    largest = (values @ found_mixing.T).abs().amax(0).clamp_min(1e-6)
    return found[0], patterns * largest[None, :, None], found_mixing / largest[:, None]


def _ridge(x: Tensor, y: Tensor) -> Tensor:
    """[1 + C, N, 3] intercept, which is not held back, and slopes of y [F, N, 3] on x [F, C]."""
    design = torch.cat([torch.ones(len(x), 1, device=x.device), x], 1).double()
    held = torch.eye(design.shape[1], device=x.device, dtype=torch.float64) * RIDGE
    held[0, 0] = 1e-6
    solve = torch.linalg.solve(design.T @ design + held, design.T).float()
    return torch.einsum("cf,fnd->cnd", solve, y)


def as_patterns(colors: Colors, free: F32, unit: float) -> F32:
    """[N, K, 3] patterns as an avatar file keeps them: in units of `sh`, at half precision."""
    patterns = colors.patterns.detach().cpu().numpy() * free[:, None, None] / unit
    return patterns.astype(np.float16).astype(np.float32)
