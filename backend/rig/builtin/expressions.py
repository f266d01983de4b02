"""The expression basis: FACS-like motions under ARKit's names, each a smooth displacement field on the control mesh.

ARKit's jawOpen and eyeLook* are joint rotations (see backend.rig.arkit); everything else it names is here.
"""

from __future__ import annotations

import numpy as np

from . import landmarks as lm
from .lids import lid_expressions
from .mesh_operators import Points
from .sculpting import LipMotion, Motion, Sculptor

Fields = dict[str, Points]

CHIN = (152, 175)
CHEEK_EDGE = (234, 454, 93, 323, 127, 356, 132, 361)
BRIDGE = (168, 6, 197)
FOREHEAD_TOP = (10, 109, 338, 67, 297)


def expression_fields(sculptor: Sculptor) -> Fields:
    """Name -> [C, 3] displacement at value 1, metres, in a fixed order; left and right are exact mirror images."""
    fields: Fields = {}
    fields |= _sided(sculptor, _brows_left(sculptor))
    fields["browInnerUp"] = _brow_inner_up(sculptor)
    fields |= _sided(sculptor, lid_expressions(sculptor))
    fields |= _sided(sculptor, _cheeks_left(sculptor))
    fields |= _sided(sculptor, _mouth_left(sculptor))
    fields |= _mouth_whole(sculptor)
    shift = _mouth_shift(sculptor)
    fields |= {"mouthLeft": shift, "mouthRight": sculptor.cage.flipped(shift)}
    return {name: fields[name] for name in sorted(fields)}


def _sided(sculptor: Sculptor, left: Fields) -> Fields:
    """Each left field and its mirror image, named ...Left and ...Right."""
    out: Fields = {}
    for name, field in left.items():
        out[f"{name}Left"] = field
        out[f"{name}Right"] = sculptor.cage.flipped(field)
    return out


def _toward_left(x: float, power: float) -> float:
    """0 on the right half of the mouth, 1 at the left corner."""
    return float(np.clip(x, 0, 1.2)) ** power


def _step(t: float) -> float:
    t = float(np.clip(t, 0, 1))
    return t * t * (3 - 2 * t)


def _left_half(x: float) -> float:
    """Share of a one-sided lip motion: the left half with a soft middle, fading at the corner."""
    return _step((x + 0.25) / 0.6) * (1 - 0.75 * _step((x - 0.55) / 0.45))


def _mouth_left(s: Sculptor) -> Fields:
    rest = (*lm.NOSE, *s.eyes, *lm.FOREHEAD)
    w = _toward_left

    def field(motion: LipMotion, still: tuple[int, ...], extra: dict[int, Motion] | None = None) -> Points:
        return s.solve({**s.lip_handles(motion), **(extra or {})}, still)

    cheek = {425: (1.0, 3.2, 1.5), 427: (2.5, 3.0, 0.5), 436: (2.2, 3.2, 1.2), 280: (0.6, 2.2, 1.6)}
    press = lambda row: (1.0, 0.7, 0.3, 0.05)[row]
    return {
        "mouthSmile": field(lambda x, u, r: (6.0 * w(x, 2), 5.5 * w(x, 2.2) - 0.3 * w(x, 1), -4.0 * w(x, 2)), (*rest, *CHIN), cheek),
        "mouthFrown": field(lambda x, u, r: (1.0 * w(x, 1.6), -5.0 * w(x, 2), -1.0 * w(x, 2)), (*rest, 152)),
        "mouthDimple": field(lambda x, u, r: (2.5 * w(x, 2), 0.4 * w(x, 2), -4.0 * w(x, 2.4)), (*rest, *CHIN)),
        "mouthStretch": field(lambda x, u, r: (6.0 * w(x, 1.6), -1.5 * w(x, 2), -3.0 * w(x, 2)), (*rest, 152)),
        "mouthPress": field(lambda x, u, r: (0.4 * w(x, 2), -1.3 * u * press(r) * _left_half(x), -1.4 * _left_half(x)), (*rest, *CHIN)),
        "mouthUpperUp": field(
            lambda x, u, r: (0, 4.5 * (u == 1) * _left_half(x), 0.8 * (u == 1) * _left_half(x)), (*BRIDGE, *s.eyes, *lm.FOREHEAD, 152)
        ),
        "mouthLowerDown": field(
            lambda x, u, r: (0, -4.5 * (u == -1) * _left_half(x), 0.6 * (u == -1) * _left_half(x)), (*rest, 152, 148, 377)
        ),
        "noseSneer": field(
            lambda x, u, r: (0, 2.2 * (u == 1) * _step((x + 0.2) / 0.5), 0),
            (1, 4, 168, *s.eyes, *lm.FOREHEAD, 152),
            {
                294: (0.5, 2.2, 0.3),
                278: (0.8, 2.6, 0.3),
                327: (0, 1.8, 0.2),
                279: (0.5, 2.2, 0.4),
                429: (0.5, 2.2, 0.6),
                420: (0.3, 1.8, 0.5),
            },
        ),
    }


def _mouth_whole(s: Sculptor) -> Fields:
    rest = (*lm.NOSE, *s.eyes, *lm.FOREHEAD)
    around = (*BRIDGE, 1, 4, 5, *s.eyes, *lm.FOREHEAD, 152, *CHEEK_EDGE)

    def field(motion: LipMotion, still: tuple[int, ...], extra: dict[int, Motion] | None = None) -> Points:
        handles = {**s.lip_handles(motion), **(extra or {})}
        return s.cage.symmetric(s.solve(handles, still))

    row = lambda outer, inner: lambda r: outer + (inner - outer) * r / 3
    puff = {425: (4, 0, 5), 427: (5, 0, 4), 411: (5.5, 0, 4), 436: (3, 0, 4.5), 416: (6, 0, 3)}
    puff |= {int(s.mirror[v]): (-x, y, z) for v, (x, y, z) in puff.items()}
    return {
        "mouthPucker": field(
            lambda x, u, r: (-9.5 * x * min(1, abs(x) + 0.2), -1.6 * u * (1 - abs(x)) * row(1, 0.05)(r), 7.5 * (1 - 0.75 * x * x) + 1),
            around,
        ),
        "mouthFunnel": field(lambda x, u, r: (-6.5 * x, 4.6 * u * (1 - x * x), 6.0 * (1 - 0.8 * x * x)), around),
        "mouthRollLower": field(
            lambda x, u, r: (0, (u == -1) * row(2.6, -0.4)(r) * (1 - x * x), (u == -1) * row(-2.0, -3.6)(r) * (1 - x * x)), (*rest, 152)
        ),
        "mouthRollUpper": field(
            lambda x, u, r: (0, (u == 1) * row(-2.4, 0.4)(r) * (1 - x * x), (u == 1) * row(-1.8, -3.4)(r) * (1 - x * x)), (*rest, 152)
        ),
        "mouthShrugUpper": field(
            lambda x, u, r: (0, (u == 1) * 1.6 * (1 - x * x), (u == 1) * 2.4 * (1 - x * x)), (*BRIDGE, 1, *s.eyes, *lm.FOREHEAD, 152)
        ),
        "mouthShrugLower": field(
            lambda x, u, r: (0, (2.4 if u == -1 else row(1.2, 2.4)(r)) * (1 - x * x), (u == -1) * 2.2 * (1 - x * x)),
            (*BRIDGE, 1, *s.eyes, *lm.FOREHEAD),
            {152: (0, 1.5, 1), 175: (0, 2, 1.5), 199: (0, 2.4, 1.5)},
        ),
        "cheekPuff": field(lambda x, u, r: (0, 0, 0.6 * (1 - x * x)), (*rest, 152, *CHEEK_EDGE), puff),
    }


def _mouth_shift(s: Sculptor) -> Points:
    return s.solve(s.lip_handles(lambda x, u, r: (6.0, 0, -1.5 * x)), (*lm.NOSE, *s.eyes, *lm.FOREHEAD, 152))


def _cheeks_left(s: Sculptor) -> Fields:
    raised = {280: (0.2, 2.5, 1.6), 425: (0.2, 2.2, 1.6), 330: (0, 2.0, 1.3), 347: (0, 1.5, 0.9), 346: (0, 1.6, 0.9),
              348: (0, 1.4, 0.8), 340: (0, 1.3, 0.6), 372: (0, 0.8, 0.2)}  # fmt: skip
    still = (*lm.NOSE, *s.eye_right, 263, 362, *s.cage.lids_left.ravel().tolist(), *lm.FOREHEAD, *s.lips, *s.sack, 152)
    return {"cheekSquint": s.solve(raised, still)}


def _brow_handles(s: Sculptor, motion) -> dict[int, Motion]:
    """Handles of the left brow; `motion` takes 0 at its inner end to 1 at its outer end."""
    x = s.points[list(s.brow_left), 0]
    along = (x - x.min()) / (x.max() - x.min())
    return {v: motion(float(t)) for v, t in zip(s.brow_left, along, strict=True)}


def _brows_left(s: Sculptor) -> Fields:
    still = (*FOREHEAD_TOP, *lm.NOSE, *s.eyes, *s.lips, *s.sack, 152)
    right = s.right(s.brow_left)
    outer = _brow_handles(s, lambda t: (0, 6.0 * _step(t * 1.4), 0.3 * _step(t * 1.4)))
    down = _brow_handles(s, lambda t: (-2.5 * (1 - t), -4.5 * (1 - 0.5 * t), 0.8))
    return {
        "browOuterUp": s.solve(outer, (*still, *right)),
        "browDown": s.solve(down, (*(v for v in still if v not in (168, 6)), *right[5:])),
    }


def _brow_inner_up(s: Sculptor) -> Points:
    left = _brow_handles(s, lambda t: (0, 6.5 * (1 - _step(t * 1.2)), 0.5 * (1 - _step(t * 1.2))))
    both = {**left, **{int(s.mirror[v]): (-x, y, z) for v, (x, y, z) in left.items()}}
    still = (*FOREHEAD_TOP, *lm.NOSE, *s.eyes, *s.lips, *s.sack, 152)
    return s.cage.symmetric(s.solve({**both, 9: (0, 4.0, 0.3), 8: (0, 2.0, 0)}, still))
