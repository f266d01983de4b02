"""The default reconstructor: project the portrait onto a fitted parametric head and complete what it hides."""

from .reconstructor import Projection
from .view import crop_box

__all__ = ["Projection", "crop_box"]
