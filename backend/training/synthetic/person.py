"""Who is drawn: a head's shape, skin, hair, clothes and light, all fixed by a seed; and a face and a view of them for each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.protocol.avatar import F32
from backend.rig import Rig
from backend.splats import Camera
from backend.splats.camera import orbit_camera

F64 = NDArray[np.float64]

# Ends of the ranges that colours are mixed from, display-referred: skins by melanin and by redness, hair by pigment.
_SKINS = np.array([[0.90, 0.74, 0.66], [0.84, 0.64, 0.53], [0.72, 0.52, 0.40], [0.52, 0.35, 0.25], [0.34, 0.22, 0.16]])
_HAIRS = np.array([[0.05, 0.04, 0.04], [0.16, 0.10, 0.06], [0.30, 0.18, 0.09], [0.45, 0.22, 0.10], [0.66, 0.50, 0.28], [0.55, 0.54, 0.53]])
_IRISES = np.array([[0.20, 0.11, 0.06], [0.36, 0.24, 0.12], [0.30, 0.36, 0.24], [0.28, 0.40, 0.52], [0.42, 0.46, 0.48]])

SHAPE_SPREAD = (0.4, 0.9)
"""Standard deviation of the shape coefficients, itself drawn for each person between these."""


@dataclass(frozen=True)
class Hair:
    """A hair style. Lengths in metres; angles in radians.

    Attributes:
        hairline: how much higher (or lower) than a usual one. fall: how far the hair hangs below the nape's hairline.
        thickness: of the shell. curl: size of its waves. covers_ears: whether ears are under it.
        bald: nothing grows. part: where the parting lies, metres to the subject's left.
        ragged: how uneven the hairline is, metres. stubble: 0..1 beard. brow: how much thicker the brows are than outlined, metres.
    """

    color: F64
    hairline: float
    fall: float
    thickness: float
    curl: float
    covers_ears: bool
    bald: bool
    part: float
    ragged: float
    stubble: float
    brow: float


@dataclass(frozen=True)
class Light:
    """One soft lamp and the room. `direction` points to the lamp in the head's frame; colours are strengths."""

    direction: F64
    lamp: F64
    sky: F64
    ground: F64
    gloss: float


@dataclass(frozen=True)
class Person:
    """One identity of the generator.

    Attributes:
        shape: [S] the rig's coefficients.
        skin, lips, iris: [3] colours. blotch: how uneven the skin is. freckles: 0..1.
        cloth: [2, 3] colours; `stripes` a metre, 0 for none. shoulders: width and height over the rig's base, metres.
        backdrop: [2, 3] colours of a gradient, `clutter` how much blotch is in it.
        noise: seed of everything uneven.
    """

    shape: F32
    skin: F64
    lips: F64
    iris: F64
    blotch: float
    freckles: float
    hair: Hair
    light: Light
    cloth: F64
    stripes: float
    shoulders: tuple[float, float]
    backdrop: F64
    clutter: float
    noise: int


@dataclass(frozen=True)
class Frame:
    """A face and a view: expression [E], pose [J, 3] radians, camera."""

    expression: F32
    pose: F32
    camera: Camera


@dataclass(frozen=True)
class Views:
    """How cameras are spread: standard deviations of yaw and pitch in degrees; `around` draws yaw from the whole circle."""

    yaw: float = 30.0
    pitch: float = 10.0
    roll: float = 4.0
    around: bool = False
    extent: tuple[float, float] = (0.34, 0.46)
    field_of_view: tuple[float, float] = (10.0, 30.0)


def draw_person(rig: Rig, seed: tuple[int, ...]) -> Person:
    """The person of this seed, always the same one."""
    rng = np.random.default_rng(seed)
    count = rig.shape_basis.shape[2]
    shape = rng.normal(0, rng.uniform(*SHAPE_SPREAD), count) * (rng.uniform(size=count) < rng.uniform(0.5, 1))
    melanin = rng.uniform(0, len(_SKINS) - 1)
    skin = _mixed(_SKINS, melanin) + rng.normal(0, 0.02, 3) * [1, 0.6, 0.6]
    return Person(
        shape=shape.astype(np.float32),
        skin=np.clip(skin, 0.08, 0.95),
        lips=np.clip(skin * rng.uniform([0.88, 0.55, 0.58], [1.05, 0.75, 0.8]), 0, 1),
        iris=_mixed(_IRISES, rng.uniform(0, len(_IRISES) - 1)),
        blotch=float(rng.uniform(0.02, 0.07)),
        freckles=float(max(0.0, rng.uniform(-1.5, 1))),
        hair=_draw_hair(rng, melanin),
        light=_draw_light(rng),
        cloth=np.clip(rng.uniform(0.03, 0.85, (2, 1)) + rng.normal(0, 0.15, (2, 3)), 0.02, 0.9),
        stripes=float(rng.choice([0.0, 0.0, rng.uniform(20, 80)])),
        shoulders=(float(rng.uniform(0.17, 0.23)), float(rng.uniform(-0.004, 0.02))),
        backdrop=np.clip(rng.uniform(0.05, 0.95, (2, 1)) + rng.normal(0, 0.12, (2, 3)), 0, 1),
        clutter=float(max(0.0, rng.uniform(-0.2, 0.25))),
        noise=int(rng.integers(1 << 31)),
    )


def _draw_hair(rng: np.random.Generator, melanin: float) -> Hair:
    # Light hair is rare on dark skin; grey on anyone.
    lightest = np.interp(melanin, [0, 2, 4], [4.0, 2.0, 0.8])
    pigment = 5.0 if rng.uniform() < 0.12 else rng.uniform(0, lightest)
    long = rng.uniform() < 0.4
    return Hair(
        color=np.clip(_mixed(_HAIRS, pigment) + rng.normal(0, 0.015, 3), 0.02, 0.9),
        hairline=float(rng.normal(0.004, 0.006)),
        fall=float(rng.uniform(0.03, 0.12) if long else rng.uniform(-0.02, 0.015)),
        thickness=float(rng.uniform(0.008, 0.026)),
        curl=float(rng.uniform(0, 0.3)),
        covers_ears=bool(long and rng.uniform() < 0.7),
        bald=bool(rng.uniform() < 0.06),
        part=float(rng.normal(0, 0.02)),
        ragged=float(rng.uniform(0.001, 0.006)),
        stubble=float(max(0.0, rng.uniform(-1.0, 0.8)) if not long else 0.0),
        brow=float(rng.normal(0.0002, 0.0008)),
    )


def _draw_light(rng: np.random.Generator) -> Light:
    direction = np.array([rng.normal(0, 0.5), rng.normal(0.45, 0.3), 0.8])
    warmth = rng.normal(0, 0.05)
    lamp = rng.uniform(0.4, 0.75) * np.array([1 + warmth, 1.0, 1 - warmth])
    sky = rng.uniform(0.36, 0.55) * (1 + rng.normal(0, 0.03, 3))
    ground = sky * rng.uniform(0.45, 0.85)
    return Light(direction / np.linalg.norm(direction), lamp, sky, ground, float(rng.uniform(0.02, 0.14)))


def draw_frame(rig: Rig, seed: tuple[int, ...], size: int, middle: F32, views: Views) -> Frame:
    """The face and the camera of this seed.

    Args:
        size: side of the picture, pixels. middle: [3] of the head, metres.
    """
    rng = np.random.default_rng(seed)
    expression, pose = _draw_face(rig, rng)
    yaw = float(rng.uniform(-180, 180)) if views.around else float(np.clip(rng.normal(0, views.yaw), -100, 100))
    pitch = float(np.clip(rng.normal(0, views.pitch), -40, 40))
    target = middle + rng.normal(0, 0.006, 3) + [0, -0.012, 0]
    extent = float(rng.uniform(*views.extent))
    camera = orbit_camera(yaw, pitch, size, target.astype(np.float32), extent, np.radians(rng.uniform(*views.field_of_view)))
    return Frame(expression, pose, _rolled(camera, np.radians(rng.normal(0, views.roll))))


def _rolled(camera: Camera, angle: float) -> Camera:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return Camera((turn @ camera.world_to_camera).astype(np.float32), camera.intrinsics, camera.width, camera.height)


def _draw_face(rig: Rig, rng: np.random.Generator) -> tuple[F32, F32]:
    """Expression and pose of one of several kinds of face. The weights of left and right are nearly equal."""
    values: dict[str, float] = {}

    def both(stem: str, low: float, high: float) -> None:
        value = rng.uniform(low, high)
        for side in ("Left", "Right", ""):
            if stem + side in rig.expression_names:
                values[stem + side] = float(np.clip(value + rng.normal(0, 0.05), 0, 1))

    jaw = 0.0
    kind = rng.integers(5)
    if kind == 1:  # smile
        both("mouthSmile", 0.3, 1.0)
        both("cheekSquint", 0.0, 0.6)
        both("mouthUpperUp", 0.0, 0.4)
        jaw = rng.uniform(0, 0.08)
    elif kind == 2:  # speech
        both("mouthLowerDown", 0.0, 0.4)
        both(str(rng.choice(["mouthFunnel", "mouthPucker", "mouthStretch", "mouthShrugUpper"])), 0.0, 0.7)
        jaw = rng.uniform(0, 0.3)
    elif kind == 3:  # brows and eyes
        both(str(rng.choice(["browInnerUp", "browDown", "browOuterUp"])), 0.2, 1.0)
        both(str(rng.choice(["eyeBlink", "eyeWide", "eyeSquint"])), 0.1, 1.0)
    elif kind == 4:  # a mix
        names = [name for name in rig.expression_names if not name.startswith(("eyeBlink", "Pupil", "tongue", "jaw"))]
        for name in rng.permutation(names)[:5]:
            values[str(name)] = float(rng.uniform(0, 0.6))
        jaw = rng.uniform(0, 0.12)
    expression = np.array([values.get(name, 0.0) for name in rig.expression_names], np.float32)
    pose = np.zeros((len(rig.parents), 3), np.float32)
    joint = {name: i for i, name in enumerate(rig.joint_names)}
    pose[joint["neck"]] = rng.normal(0, 0.05, 3)
    pose[joint["jaw"], 0] = jaw
    pose[[joint["eye_left"], joint["eye_right"]], :2] = rng.normal(0, [0.08, 0.14])
    return expression, pose


def _mixed(palette: F64, at: float) -> F64:
    """A colour between the entries of a palette [N, 3]."""
    index = np.arange(len(palette))
    return np.array([np.interp(at, index, palette[:, k]) for k in range(3)])
