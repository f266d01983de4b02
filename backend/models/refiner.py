"""Which model draws an avatar's refined pictures."""

from __future__ import annotations

from typing import cast

from backend.protocol import Avatar, LookalikeError

from . import reconstructor
from .interface import Refining


def refiner_of(avatar: Avatar) -> Refining:
    """The model that made an avatar, where it has a refiner.

    Raises:
        LookalikeError: it has none, is not known here, or the avatar was baked and has no features any more.
    """
    name = str(avatar.provenance.get("model", "projection"))
    model = reconstructor(name)
    if not hasattr(model, "refine"):
        raise LookalikeError(f"{avatar.name}: {name} has no refiner", "take an avatar made with --model omg, gagavatar or instant")
    if "baked" in avatar.provenance:
        raise LookalikeError(f"{avatar.name}: is baked, and has no features for a refiner any more", "take the file that it was baked from")
    return cast("Refining", model)
