"""One picture of a person with all that is known of it: what every source of training data gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backend.protocol.avatar import F32
from backend.protocol.errors import LookalikeError
from backend.rig import Rig, linear_blend_skinning, pose_correctives
from backend.rig.skinning import pose_vertices
from backend.splats import Camera


class DataError(LookalikeError):
    """Training data that is missing, corrupt, or does not fit the rig."""

    code = "data"


@dataclass(frozen=True)
class View:
    """One frame. Metres; camera with OpenCV axes; square pictures.

    Attributes:
        image: [S, S, 3] display-referred 0..1, with its background. matte: [S, S] 0..1, the person.
        depth: [S, S] metres along the view axis, 0 where there is nothing; None where it is not known.
        shape: [s] identity coefficients. expression: [e]. pose: [J, 3] axis-angle, radians.
        neutral: [V, 3] the person's neutral head in the rig's topology. vertices: [V, 3] posed as in this frame.
        person, frame: for messages.
    """

    image: F32
    matte: F32
    depth: F32 | None
    shape: F32
    expression: F32
    pose: F32
    neutral: F32
    vertices: F32
    camera: Camera
    person: str
    frame: str

    def __post_init__(self) -> None:
        name = f"{self.person}, frame {self.frame}"
        if self.image.shape[:2] != self.matte.shape or self.image.shape != (self.camera.height, self.camera.width, 3):
            raise DataError(f"{name}: picture {self.image.shape}, matte {self.matte.shape} and camera do not fit")
        for field in ("image", "matte", "shape", "expression", "pose", "vertices"):
            if not np.isfinite(getattr(self, field)).all():
                raise DataError(f"{name}: {field} holds numbers that are not finite", "leave this frame out")


class Footage(Protocol):
    """A source of views. Everything is read when asked for; nothing large is held.

    Attributes:
        rig: whose coefficients the views have.
        people: names.
    """

    rig: Rig
    people: tuple[str, ...]

    def frames(self, person: int) -> int:
        """How many frames there are of a person."""
        ...

    def view(self, person: int, frame: int) -> View:
        """One frame.

        Raises:
            DataError: it cannot be read; names the file.
        """
        ...


def pose_head(rig: Rig, neutral: F32, expression: F32, pose: F32) -> F32:
    """[V, 3] the neutral head [V, 3] of one identity with expression [e] and pose [J, 3].

    Rigs that have pose correctives (FLAME) are posed with them; the others as their baked rig is in Blender, with lids that
    close on this head.
    """
    if rig.pose_basis is None:
        values = {name: float(value) for name, value in zip(rig.expression_names, expression, strict=False) if value}
        return pose_vertices(rig.bake(neutral), values, pose)
    moved = neutral + np.tensordot(expression, rig.expression_basis[: len(expression)], 1)
    moved = moved + pose_correctives(rig.pose_basis, pose)
    # Code derived from FLAME_PyTorch, trackers' included, regresses joints after the expression.
    joints = rig.joint_regressor @ (neutral + np.tensordot(expression, rig.expression_basis[: len(expression)], 1))
    return linear_blend_skinning(moved, joints, rig.weights, pose, rig.parents.tolist()).astype(np.float32)
