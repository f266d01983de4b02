"""Parametric heads: the built-in open head, FLAME and ICT-FaceKit behind one layout, with skinning and subdivision."""

from .arkit import ARKIT_NAMES, arkit_to_driver
from .builtin import builtin_head
from .flame import load_flame
from .ict import load_ict
from .load import load_rig
from .normals import vertex_normals
from .rig import Rig
from .skinning import joint_transforms, linear_blend_skinning, pose_correctives, pose_vertices, rotation_matrices, skin
from .subdivision import smoothed_subdivision_matrix, subdivide, subdivision_matrix

__all__ = [
    "ARKIT_NAMES",
    "Rig",
    "arkit_to_driver",
    "builtin_head",
    "joint_transforms",
    "linear_blend_skinning",
    "load_flame",
    "load_ict",
    "load_rig",
    "pose_correctives",
    "pose_vertices",
    "rotation_matrices",
    "skin",
    "smoothed_subdivision_matrix",
    "subdivide",
    "subdivision_matrix",
    "vertex_normals",
]
