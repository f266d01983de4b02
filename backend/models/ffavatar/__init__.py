"""FFAvatar: any number of unposed portraits to one head, its rig read off the pixels, three levels of detail from one network."""

from .checkpoint import load_network
from .config import FFConfig
from .network import FFAvatarNetwork, Glimpse, Identity
from .reconstructor import FFAvatar
from .rig_estimator import RigEstimate

__all__ = ["FFAvatar", "FFAvatarNetwork", "FFConfig", "Glimpse", "Identity", "RigEstimate", "load_network"]
