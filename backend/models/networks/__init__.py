"""Building blocks that the papers' networks share: encoder, refiner, Gaussian heads, cameras."""

from .cameras import FOCAL, METRE, camera_centre, lifting_plane, opencv_camera, project_to_ndc, rasterizer_matrices, to_pytorch3d
from .dinov2 import DinoV2, convert_transformers, dinov2
from .directions import harmonic_embedding
from .dpt import DinoBase, DinoFeatures
from .ellipsoids import ellipsoids
from .gaussian_heads import ConvGaussians, GaussianAttributes, LinearGaussians
from .kept import KeptNetwork
from .state import check_state
from .style_unet import NARROW_CHANNELS, WIDE_CHANNELS, StyleUNet

__all__ = [
    "FOCAL",
    "METRE",
    "NARROW_CHANNELS",
    "WIDE_CHANNELS",
    "ConvGaussians",
    "DinoBase",
    "DinoFeatures",
    "DinoV2",
    "GaussianAttributes",
    "KeptNetwork",
    "LinearGaussians",
    "StyleUNet",
    "camera_centre",
    "check_state",
    "convert_transformers",
    "dinov2",
    "ellipsoids",
    "harmonic_embedding",
    "lifting_plane",
    "opencv_camera",
    "project_to_ndc",
    "rasterizer_matrices",
    "to_pytorch3d",
]
