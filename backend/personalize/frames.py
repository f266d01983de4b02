"""The frames that a network is adapted to: pictures of one person with the posed mesh and the camera of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from backend.protocol.avatar import F32
from backend.protocol.errors import FaceError
from backend.rig import Rig

from .register_grid import RegisterGrid, RegisterMesh, grid_of_view, project


@dataclass(frozen=True)
class Frame:
    """One picture. World units and camera as the networks of the GAGAvatar family have them (`models.networks.cameras`).

    Attributes:
        image: [S, S, 3] display-referred 0..1. matte: [S, S] 0..1, the person.
        vertices: [V, 3] the rig posed as in this picture, world units (5 a metre).
        camera: [3, 4] [R | T], focal length 12.
        name: for messages.
        neutral: [V, 3] metres, the neutral head that was fitted to this picture alone; None where all frames share one fit.
        box: x0, y0, x1, y1 of the face in 0..1; None: the box of the projected vertices.
    """

    image: F32
    matte: F32
    vertices: F32
    camera: F32
    name: str
    neutral: F32 | None = None
    box: tuple[float, float, float, float] | None = None

    @property
    def target(self) -> Float[Tensor, "3 s s"]:
        """What the network must draw: the person on black."""
        return torch.from_numpy((self.image * self.matte[..., None]).astype(np.float32)).permute(2, 0, 1)

    @property
    def face_box(self) -> NDArray[np.float32]:
        """[4] `box`, or that of the vertices within the picture."""
        if self.box is not None:
            return np.asarray(self.box, np.float32)
        where = project(self.vertices, self.camera, 1).clip(0, 1)
        return np.concatenate([where.min(0), where.max(0)]).astype(np.float32)


@dataclass
class PersonFrames:
    """All frames of one person; the first is the source that the avatar is made of.

    Attributes:
        faces: [F, 3] the rig's triangles.
        frames: at least two.
    """

    faces: NDArray
    frames: Sequence[Frame]
    _grids: dict[tuple[int, int], RegisterGrid] = field(default_factory=dict, repr=False)
    _mesh: RegisterMesh | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.frames) < 2:
            raise FaceError(
                f"{len(self.frames)} picture given; personalizing needs two or more, as some are held out to see whether it helps",
                "give more photos of the person, or a video",
            )
        shape = self.frames[0].image.shape
        for frame in self.frames:
            if frame.image.shape != shape or frame.matte.shape != shape[:2] or shape[0] != shape[1]:
                raise FaceError(f"{frame.name}: a picture of {frame.image.shape} among square ones of {shape}", "crop all pictures alike")

    @property
    def size(self) -> int:
        """Side of the pictures."""
        return self.frames[0].image.shape[0]

    @property
    def mesh(self) -> RegisterMesh:
        """What carries the registers."""
        if self._mesh is None:
            self._mesh = RegisterMesh.of(self.faces, len(self.frames[0].vertices))
        return self._mesh

    def grid(self, index: int, size: int) -> RegisterGrid:
        """The registers of one frame in a feature plane, worked out once."""
        if (index, size) not in self._grids:
            frame = self.frames[index]
            try:
                self._grids[index, size] = grid_of_view(frame.vertices, frame.camera, self.mesh, size)
            except FaceError as error:
                raise FaceError(f"{frame.name}: {error.message}", error.remedy) from error
        return self._grids[index, size]


def frames_of_views(views: Iterable, rig: Rig) -> PersonFrames:
    """Views of `backend.training.data` (synthetic heads, GAGAvatar's tracked videos, VHAP folders) of one person."""
    from backend.models.networks import METRE
    from backend.training.data.batch import network_camera

    frames = [
        Frame(view.image, view.matte, METRE * view.vertices, network_camera(view), f"{view.person}, frame {view.frame}", view.neutral)
        for view in views
    ]
    return PersonFrames(rig.faces, frames)
