"""Gaussian sets: rasterizing them and meshes, posing them with the rig, and their file formats."""

from .mesh_raster import interpolate, rasterize_mesh

__all__ = ["interpolate", "rasterize_mesh"]
