"""View-dependent colour: real spherical harmonics up to degree 3, signs and order as in 3D Gaussian splatting."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MAX_DEGREE = 3


def spherical_harmonics(
    degree: int, directions: Float[Tensor, "*b 3"], coefficients: Float[Tensor, "*b k 3"]
) -> Float[Tensor, "*b 3"]:  # fmt: skip
    """Evaluate the first (degree + 1)^2 coefficients along `directions`, which need not be unit length.

    The basis is Sloan 2013 ("Efficient Spherical Harmonic Evaluation") in the order and with the signs of
    Kerbl et al. 2023. The 0.5 that 3DGS adds to a colour is not added here.

    Raises:
        ValueError: a degree above 3, or too few coefficients.
    """
    needed = (degree + 1) ** 2
    if not 0 <= degree <= MAX_DEGREE or coefficients.shape[-2] < needed:
        raise ValueError(f"degree {degree} needs {needed} coefficients and at most degree {MAX_DEGREE}, got {coefficients.shape[-2]}")
    basis = harmonic_basis(degree, torch.nn.functional.normalize(directions, dim=-1))
    return (basis[..., None] * coefficients[..., :needed, :]).sum(-2)


def harmonic_basis(degree: int, unit: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b k"]:
    """The (degree + 1)^2 basis functions at unit directions."""
    x, y, z = unit.unbind(-1)
    basis = [torch.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        basis += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        xx, yy, zz = x * x, y * y, z * z
        basis += [
            1.0925484305920792 * x * y,
            -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * x * z,
            0.5462742152960396 * (xx - yy),
        ]
        if degree >= 3:
            basis += [
                -0.5900435899266435 * y * (3 * xx - yy),
                2.890611442640554 * x * y * z,
                -0.4570457994644658 * y * (4 * zz - xx - yy),
                0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
                -0.4570457994644658 * x * (4 * zz - xx - yy),
                1.445305721320277 * z * (xx - yy),
                -0.5900435899266435 * x * (xx - 3 * yy),
            ]
    return torch.stack(basis, -1)
