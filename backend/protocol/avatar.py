"""An avatar as plain arrays: what the wire carries, the file stores and Blender builds from.

Frames and units everywhere: metres, right-handed, +Y up, the face looks along +Z; quaternions are
w, x, y, z and unit length; angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .color_basis import ColorBasis

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]

SH_C0 = 0.28209479177387814
"""Degree-0 real spherical harmonic: ``rgb = SH_C0 * dc + 0.5`` (Kerbl et al. 2023)."""


@dataclass(frozen=True)
class RigArrays:
    """A parametric head with one identity baked in: what Blender needs to pose it.

    Attributes:
        vertices: [V, 3] neutral rest positions (identity applied, expression zero).
        faces: [F, 3] triangles, counter-clockwise seen from outside.
        joints: [J, 3] rest positions of the joints.
        parents: [J] index of each joint's parent, -1 for the root; parents come first.
        weights: [V, J] skinning weights, rows sum to 1.
        expressions: [E, V, 3] displacement of each named expression at value 1.
        joint_names: J names; the first five are always root, neck, jaw, eye_left, eye_right.
        expression_names: E names, unique.
        rig_id: which parametric head this is, e.g. "lookalike-head-1" or "flame-2023".
    """

    vertices: F32
    faces: I32
    joints: F32
    parents: I32
    weights: F32
    expressions: F32
    joint_names: tuple[str, ...]
    expression_names: tuple[str, ...]
    rig_id: str


@dataclass(frozen=True)
class SplatArrays:
    """Gaussians in the neutral rest pose, each bound to one triangle of the rig (see `binding`).

    Attributes:
        position: [N, 3] centres, metres.
        rotation: [N, 4] unit quaternions wxyz.
        scale: [N, 3] standard deviations along the splat's axes, metres (linear, > 0).
        opacity: [N] in 0..1.
        sh: [N, K, 3] spherical-harmonic coefficients, K = (degree + 1)^2, display-referred.
        face: [N] index of the rig triangle.
        barycentric: [N, 3] weights of the triangle's vertices, rows sum to 1.
        patterns: [N, K, 3] how the colour follows the face, in units of `sh` (see `color_basis`); K = 0 where it does not, which None
            stands for.
    """

    position: F32
    rotation: F32
    scale: F32
    opacity: F32
    sh: F32
    face: I32
    barycentric: F32
    patterns: F32 = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.patterns is None:
            object.__setattr__(self, "patterns", np.zeros((len(self.position), 0, 3), np.float32))

    def __len__(self) -> int:
        return len(self.position)

    @property
    def rgb(self) -> F32:
        """[N, 3] display-referred colour of the degree-0 band, unclamped."""
        return (SH_C0 * self.sh[:, 0] + 0.5).astype(np.float32)

    @staticmethod
    def concatenate(parts: list[SplatArrays]) -> SplatArrays:
        """Join sets that have the same SH degree; patterns that a set lacks are zero."""
        count = max(p.patterns.shape[1] for p in parts)
        patterns = [np.pad(p.patterns, ((0, 0), (0, count - p.patterns.shape[1]), (0, 0))) for p in parts]
        fields = [f for f in SplatArrays.__dataclass_fields__ if f != "patterns"]
        return SplatArrays(*(np.concatenate([getattr(p, f) for p in parts]) for f in fields), patterns=np.concatenate(patterns))


@dataclass(frozen=True)
class Driver:
    """Rig parameters of one frame.

    Attributes:
        expression: value of each named expression; a missing name is 0.
        pose: [J, 3] axis-angle rotation of each joint in its parent's frame, radians.
        world_to_camera: [4, 4] OpenCV camera (x right, y down, z forward), model frame to camera.
        intrinsics: [3, 3] pixels; pixel centres at +0.5.
        size: (width, height) of the image that the intrinsics belong to.
    """

    expression: dict[str, float]
    pose: F32
    world_to_camera: F32
    intrinsics: F32
    size: tuple[int, int]


@dataclass(frozen=True)
class Adapter:
    """A refinement of an avatar: a difference to its splats that can be switched (see `adapters`).

    Attributes:
        name: unique in its avatar. kind: what made it, e.g. "photometric". created: ISO 8601 UTC.
        enabled: whether it shows.
        facts: JSON-able: photos, steps, figures on what was held out.
        levels: for each level the float16 differences of `adapters.FIELDS`.
    """

    name: str
    kind: str
    created: str
    enabled: bool
    facts: dict[str, object]
    levels: tuple[dict[str, NDArray[np.float16]], ...]


@dataclass(frozen=True)
class Avatar:
    """One identity: rig, splats for each level of detail, shoulders and provenance.

    Attributes:
        rig: the identity-baked rig.
        lods: splats of the head for LOD 0, 1, 2 (as many as exist), without the shoulders.
        shoulders: the part below the neck, shared by all LODs; may be empty.
        drivers: how the rig was posed in each source portrait, in order.
        provenance: JSON-able facts: name, source image sha256, model, weights and licences,
            consent statement, creation time (ISO 8601 UTC), software version.
        features: what a network's refiner needs beside the splats, by name, float16 or float32; mostly empty.
        adapters: refinements, on or off; `lods` show those that are on. base: the levels without them, empty where there are none.
        color_basis: what the splats' patterns are weighted by; None where no colour follows the face.
    """

    rig: RigArrays
    lods: tuple[SplatArrays, ...]
    shoulders: SplatArrays
    drivers: tuple[Driver, ...] = ()
    provenance: dict[str, object] = field(default_factory=dict)
    features: dict[str, NDArray[np.floating]] = field(default_factory=dict)
    adapters: tuple[Adapter, ...] = ()
    base: tuple[SplatArrays, ...] = ()
    color_basis: ColorBasis | None = None

    @property
    def name(self) -> str:
        return str(self.provenance.get("name", "avatar"))

    def splats(self, lod: int) -> SplatArrays:
        """Head and shoulders of one level of detail.

        Raises:
            IndexError: the avatar has no such level.
        """
        return SplatArrays.concatenate([self.lods[lod], self.shoulders])
