"""Gaussian sets: rasterizing them and meshes, posing them with the rig, and their file formats."""

from .color_operator import ColorOperator
from .cpu_raster import View
from .cpu_threads import set_threads
from .mesh_raster import interpolate, rasterize_mesh
from .rasterization import rasterization, warm_up

__all__ = ["ColorOperator", "View", "interpolate", "rasterization", "rasterize_mesh", "set_threads", "warm_up"]
