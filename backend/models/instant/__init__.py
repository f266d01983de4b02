"""Instant Expressive Gaussian Head Avatar: one photo lifted to three planes, animated by a code read from the driver's picture."""

from .checkpoint import instant_weights, load_network
from .config import InstantConfig
from .network import InstantAvatar, Points
from .reconstructor import Instant

__all__ = ["Instant", "InstantAvatar", "InstantConfig", "Points", "instant_weights", "load_network"]
