"""Colours of one level as unknowns, and a first guess of them: residuals of refined pictures, regressed on the rig's controls.

A picture is linear in its splats' colours. With A the weights by which splats blend into it, ``A^T r / A^T 1`` spreads a residual r
back over them (one step of SIRT, Gilbert 1972). What is left after the colours of all faces together is regressed, splat by splat,
on the controls by ridge regression; the K strongest singular vectors of the result are the patterns. The angles of view are regressed on
as well and then forgotten: refiners shade by view, which would otherwise be taken for the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.protocol.avatar import F32

RIDGES = (0.1, 0.5, 2.0, 8.0)
"""What may be added to the squares of each control, which is at 1 in a frame or two; held-out frames choose."""
VIEW_RIDGE = 0.1
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
    residuals: Sequence[Tensor], shares: Sequence[Tensor], values: Tensor, views: Tensor, count: int, mixing: Tensor | None, ridge: float
) -> tuple[Tensor, Tensor]:
    """Patterns [N, K, 3] and mixing [K, C] from the residuals of F frames.

    Args:
        residuals: F of [N, 3], spread back. shares: F of [N], how much of each splat the frame shows.
        values: [F, C] of the controls. views: [F, V] of what else the pictures depend on.
        count: most patterns.
        mixing: of a level that was done before, to keep; None finds it.
    """
    total = torch.stack(list(shares)).sum(0)
    sure = [share / (share + UNSURE * total / len(shares) + 1e-6) for share in shares]
    seen = torch.stack([r * s[:, None] for r, s in zip(residuals, sure, strict=True)])
    if mixing is not None:
        weights = values @ mixing.T
        return _slopes(weights, views, seen, ridge).permute(1, 0, 2).contiguous(), mixing
    reach = values.abs().amax(0).clamp_min(1e-6)
    slopes = _slopes(values / reach, views, seen, ridge)
    prominent = (slopes * total.sqrt()[None, :, None]).flatten(1).double()
    strength, vectors = torch.linalg.eigh(prominent @ prominent.T)
    most = min(count, int((strength.clamp_min(0).sqrt() > FAINTEST * strength[-1].clamp_min(1e-12).sqrt()).sum()))
    picked = vectors[:, -most:].flip(1).float()
    found_mixing = picked.T / reach
    patterns = torch.einsum("ck,cnd->nkd", picked, slopes)
    largest = (values @ found_mixing.T).abs().amax(0).clamp_min(1e-6)
    return patterns * largest[None, :, None], found_mixing / largest[:, None]


def _slopes(x: Tensor, views: Tensor, y: Tensor, ridge: float) -> Tensor:
    """[C, N, 3] slopes of y [F, N, 3] on x [F, C], beside an intercept and the views, which are fitted as well."""
    count = x.shape[1]
    design = torch.cat([x, views, torch.ones(len(x), 1, device=x.device)], 1).double()
    held = torch.full((design.shape[1],), VIEW_RIDGE, device=x.device, dtype=torch.float64)
    held[:count], held[-1] = ridge, 1e-6
    solve = torch.linalg.solve(design.T @ design + torch.diag(held), design.T).float()
    return torch.einsum("cf,fnd->cnd", solve[:count], y)


def as_patterns(colors: Colors, free: F32, unit: float) -> F32:
    """[N, K, 3] patterns as an avatar file keeps them: in units of `sh`, at half precision."""
    patterns = colors.patterns.detach().cpu().numpy() * free[:, None, None] / unit
    return patterns.astype(np.float16).astype(np.float32)
