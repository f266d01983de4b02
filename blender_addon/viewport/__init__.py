"""Draws avatars in 3D views where Blender has no splats of its own (4.2 to 5.2), and chooses their level of detail."""

from .handlers import register, retry, unregister
from .status import status

__all__ = ["register", "retry", "status", "unregister"]
