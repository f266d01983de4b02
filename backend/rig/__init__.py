"""Parametric heads: the built-in open head, FLAME and ICT-FaceKit behind one layout, with skinning and subdivision."""

from .builtin import builtin_head
from .rig import Rig
from .skinning import joint_transforms, linear_blend_skinning, pose_vertices, rotation_matrices, skin
from .subdivision import smoothed_subdivision_matrix, subdivide, subdivision_matrix

__all__ = [
    "Rig",
    "builtin_head",
    "joint_transforms",
    "linear_blend_skinning",
    "pose_vertices",
    "rotation_matrices",
    "skin",
    "smoothed_subdivision_matrix",
    "subdivide",
    "subdivision_matrix",
]
