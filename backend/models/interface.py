"""What every reconstructor is: portraits and a rig in, an avatar out, with progress on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from backend.protocol.avatar import F32, Avatar, RigArrays, SplatArrays

if TYPE_CHECKING:
    from backend.rig.rig import Rig
    from backend.splats.camera import Camera
    from backend.tracking.portrait import Portrait


class Listener(Protocol):
    """Who watches a reconstruction. A stage calls these; no stage knows about sockets or terminals."""

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        """`fraction` 0..1 of the whole job. Raises Cancelled when the user cancelled; call it at least every 0.5 s."""

    def rig(self, rig: RigArrays) -> None:
        """The identity-baked rig is known."""

    def lod(self, level: int, splats: SplatArrays, shoulders: SplatArrays) -> None:
        """One level of detail is ready to be shown; the next ones are still to come."""


class Silent:
    """A listener that ignores everything."""

    def progress(self, fraction: float, stage: str, text: str = "") -> None:
        pass

    def rig(self, rig: RigArrays) -> None:
        pass

    def lod(self, level: int, splats: SplatArrays, shoulders: SplatArrays) -> None:
        pass


class Reconstructor(Protocol):
    """A way from portraits of one person to an avatar.

    Attributes:
        name: what the user types after ``--model``.
        licence: SPDX id, or words, of code and weights together.
    """

    name: str
    licence: str

    def reconstruct(self, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """Reconstruct; levels are handed to `listener.lod` as they become ready, LOD 0 first.

        Raises:
            FaceError: a portrait cannot be used.
            WeightsError: the weights are missing; says where to get them.
            Cancelled: by the listener.
        """
        ...


class Refining(Protocol):
    """What a reconstructor may be too: one whose avatars carry features that its refiner turns into pictures."""

    def refine(
        self, avatar: Avatar, lod: int, yaw: float, pitch: float, expression: Mapping[str, float] | None = None, pose: F32 | None = None
    ) -> F32:
        """The refined picture [S, S, 3] 0..1, on black, by a camera turned from the photo's by degrees; S is the network's.

        Raises:
            RigError: an avatar without features, or without that level or expression.
            WeightsError: the weights are missing.
        """
        ...

    def refined_camera(self, avatar: Avatar, yaw: float, pitch: float) -> Camera:
        """The camera by which `refine` draws these angles: its size is the picture's.

        Raises:
            RigError: an avatar without features.
            WeightsError: the weights are missing.
        """
        ...


@runtime_checkable
class Extending(Protocol):
    """What a reconstructor may be too: one whose avatars take more photos later, without the earlier ones."""

    def extend(self, avatar: Avatar, portraits: Sequence[Portrait], rig: Rig, listener: Listener) -> Avatar:
        """The avatar with more photos of its person.

        Raises:
            RigError: an avatar that keeps nothing of its photos, or of another network or rig.
            FaceError, WeightsError, Cancelled: as `Reconstructor.reconstruct`.
        """
        ...
