"""Splats without a rig as an object of the scene: what an imported splat file becomes. Drawn and rendered as avatars are."""

from __future__ import annotations

import bpy
import numpy as np

from ..avatar import native
from ..avatar.frame_sequence import plays
from ..avatar.host import RADIANCE, read_attribute, write_attribute
from ..protocol.interchange import SplatCloud
from ..protocol.interchange.cloud import change_axes


def cloud_object(name: str, cloud: SplatCloud) -> bpy.types.Object:
    """A new object that holds a cloud given in the avatar's frame (+Y up); linked to no collection."""
    return cloud_holder(name, cloud_data(name, cloud))


def cloud_holder(name: str, data: bpy.types.ID) -> bpy.types.Object:
    """A new object for what `cloud_data` made; linked to no collection."""
    obj = bpy.data.objects.new(name, data)
    obj.lookalike.role = "CLOUD"
    return obj


def cloud_data(name: str, cloud: SplatCloud) -> bpy.types.ID:
    """A new data-block that holds a cloud given in the avatar's frame (+Y up)."""
    turned = change_axes(cloud, "y-up", "z-up")
    radiance = np.concatenate([turned.sh[:, 0], turned.opacity[:, None]], 1)
    count = len(turned.position)
    if native.available():
        data = native.new_cloud(name, count)
        write_attribute(data, RADIANCE, "FLOAT4", radiance)
    else:
        data = bpy.data.meshes.new(name)
        data.vertices.add(count)
        write_attribute(data, RADIANCE, "FLOAT_COLOR", radiance)
        if count > 1:  # without any edge Blender would draw a black dot for every vertex
            data.edges.add(1)
            shortest = int(np.linalg.norm(np.diff(turned.position, axis=0), axis=1).argmin())
            data.edges.foreach_set("vertices", np.array([shortest, shortest + 1], np.int32))
    for attribute, kind in (("position", "FLOAT_VECTOR"), ("rotation", "QUATERNION"), ("scale", "FLOAT_VECTOR")):
        write_attribute(data, attribute, kind, getattr(turned, attribute))
    for k in range(turned.sh.shape[1] - 1):
        write_attribute(data, f"radiance:sh_{k}", "FLOAT_VECTOR", turned.sh[:, k + 1])
    data.update_tag()
    return data


def read_cloud_object(obj: bpy.types.Object) -> SplatCloud:
    """The cloud of an object, in the object's own space and Blender's axes; of a sequence, that of the scene's frame.

    Raises:
        LookupError: an attribute is gone.
    """
    data = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data if plays(obj) else obj.data
    radiance = read_attribute(data, RADIANCE)
    bands = [radiance[:, :3]]
    while f"radiance:sh_{len(bands) - 1}" in data.attributes:
        bands.append(read_attribute(data, f"radiance:sh_{len(bands) - 1}"))
    return SplatCloud(
        position=read_attribute(data, "position"),
        rotation=read_attribute(data, "rotation"),
        scale=read_attribute(data, "scale"),
        opacity=np.ascontiguousarray(radiance[:, 3]),
        sh=np.stack(bands, 1),
    )
