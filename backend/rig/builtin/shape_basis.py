"""Identity basis: the smoothest displacement fields of the head, its manifold harmonics, along each axis.

Manifold harmonics are the eigenfunctions of the Laplace-Beltrami operator (Vallet and Levy 2008). They know nothing of
people, but with amplitudes that fall with frequency they are a well-conditioned space to fit one in. Each is
symmetric or antisymmetric, and none opens the closed mouth: that is an expression's or the jaw's to do.

The unit is a generous prior, not a population's: fitted faces have coefficients of a few tenths, and 180 independent
standard normal numbers are not a person.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla

from . import landmarks as lm
from .mesh_operators import Points, cotangent_laplacian, solve_with_fixed
from .sculpting import Sculptor

HARMONICS = 60
AMPLITUDE = 0.004
"""Root mean square displacement of the lowest fields for one standard deviation, metres."""


def shape_fields(s: Sculptor) -> Points:
    """[C, 3, 3 HARMONICS] displacement per standard deviation, metres; order: harmonic-major, axis-minor."""
    values, functions = _harmonics(s)
    functions = _with_lips_together(s, functions)
    scaled = functions * AMPLITUDE / (1 + values / values[8])
    fields = np.zeros((len(scaled), 3, 3 * HARMONICS))
    for axis in range(3):
        fields[:, axis, axis::3] = scaled
    return fields


def _harmonics(s: Sculptor) -> tuple[Points, Points]:
    """Eigenvalues [H] and functions [C, H] of root mean square 1.

    One call with a fixed start vector and fixed signs: ARPACK's default start is random, and so would the signs be.
    """
    cage = s.cage
    stiffness, mass = cotangent_laplacian(cage.vertices, cage.faces)
    masses = sp.diags(mass)
    values, functions = sla.eigsh(stiffness + 1e-8 * masses, k=HARMONICS, M=masses, sigma=-1e-2, which="LM", v0=np.ones(len(mass)))
    order = np.argsort(values, kind="stable")
    values, functions = values[order], functions[:, order] * np.sqrt(mass.sum())
    even = (functions + functions[cage.mirror]) / 2
    odd = (functions - functions[cage.mirror]) / 2
    functions = np.where((even**2).sum(0) >= (odd**2).sum(0), even, odd)
    peak = np.abs(functions[: lm.COUNT] * (s.points[:, :1] >= 0)).argmax(0)
    return values, functions * np.sign(functions[peak, np.arange(HARMONICS)])


def _with_lips_together(s: Sculptor, functions: Points) -> Points:
    """The functions, changed near the mouth so that facing points of the inner lips move alike."""
    upper, lower = np.array(lm.UPPER_LIP_ROWS[3][:-1]), np.array(lm.LOWER_LIP_ROWS[3][:-1])
    upper = np.concatenate([upper, s.mirror[upper[1:]]])
    lower = np.concatenate([lower, s.mirror[lower[1:]]])
    half_gap = (functions[upper] - functions[lower]) / 2
    still = np.array(sorted({*lm.NOSE, *s.eyes, 291, 61, 306, 76, 292, 62, 308, 78, 152, 50, 280, 205, 425, *s.far, *s.sack[40:]}))
    fixed = np.concatenate([upper, lower, still])
    values = np.concatenate([-half_gap, half_gap, np.zeros((len(still), functions.shape[1]))])
    moved = functions + solve_with_fixed(s.energy, fixed, values)
    even = (functions[s.cage.mirror] == functions).all(0)
    other = moved[s.cage.mirror] * np.where(even, 1, -1)
    return (moved + other) / 2
