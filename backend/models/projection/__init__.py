"""The default reconstructor: project the portrait onto a fitted parametric head and complete what it hides."""

from .reconstructor import Projection
from .view import inner_box

__all__ = ["Projection", "inner_box"]
