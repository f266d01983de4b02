"""Blender's own Gaussian splats, where it has them (5.3): a point cloud of type GAUSSIAN_SPLAT.

Attributes by Blender's source (io_ply_import_gsplat_test.cc): position, scale (linear) FLOAT_VECTOR; rotation QUATERNION
wxyz; radiance:base FLOAT4 (SH degree 0, then opacity 0..1); radiance:sh_<k> FLOAT_VECTOR. Chosen by what Blender offers,
never by its version number.
"""

from __future__ import annotations

import bpy

SPLAT_TYPE = "GAUSSIAN_SPLAT"


def available() -> bool:
    """Whether this Blender has Gaussian splat point clouds that Python can fill."""
    return splat_clouds(bpy.types.PointCloud)


def splat_clouds(point_cloud_type: type) -> bool:
    """Whether a PointCloud class (its `bl_rna`) has the splat type and `resize`."""
    kind = point_cloud_type.bl_rna.properties.get("type")
    items = getattr(kind, "enum_items", ())
    return SPLAT_TYPE in {item.identifier for item in items} and "resize" in point_cloud_type.bl_rna.functions


def new_cloud(name: str, count: int) -> bpy.types.PointCloud:
    """An empty Gaussian splat cloud of `count` points, its attributes still to be written."""
    cloud = bpy.data.pointclouds.new(name)
    if hasattr(cloud, "type"):
        cloud.type = SPLAT_TYPE
    cloud.resize(count)
    return cloud
