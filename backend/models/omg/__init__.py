"""OMG-Avatar: one photo to a head of three levels of detail, by global queries on the rig's vertices and local features of the photo."""

from .checkpoint import load_network
from .config import OMGConfig
from .network import Frame, OMGAvatar
from .reconstructor import OMG

__all__ = ["OMG", "Frame", "OMGAvatar", "OMGConfig", "load_network"]
