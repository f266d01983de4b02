"""An avatar of the open file as arrays again: what is saved as `.lookalike` and sent to others.

The neutral head is exported, whatever the pose; edits of the neutral shape, of expressions and of weights are kept.
"""

from __future__ import annotations

import json
from dataclasses import replace

import bpy
import numpy as np

from ..protocol import Avatar, AvatarFileError, Driver, SplatArrays
from . import parts
from .binding_nodes import REST
from .bound_splats import unbind
from .colour_nodes import color_basis_of
from .frames import points_from_blender, splats_from_blender
from .host import read_attribute, read_splats
from .rig_objects import read_rig


def avatar_arrays(collection: bpy.types.Collection) -> Avatar:
    """The avatar in its own frame (+Y up, face along +Z).

    Raises:
        AvatarFileError: it has lost its armature, head or splats, or the rig mesh does not fit the splats any more.
    """
    armature, head = parts.armature_of(collection), parts.head_of(collection)
    splats = parts.splats_of(collection)
    if armature is None or head is None or not splats:
        raise AvatarFileError(
            f"{collection.name}: has lost its {'splats' if armature and head else 'rig'}", "undo the deletion or import it again"
        )
    try:
        rig = read_rig(armature, head, json.loads(collection.lookalike.joints), collection.lookalike.rig_id)
        rest = read_attribute(head.data, REST)
        sets = [splats_from_blender(unbind(read_splats(obj.data), rig.vertices, rig.faces, rest)) for obj in splats.values()]
    except (LookupError, ValueError) as error:
        raise AvatarFileError(f"{collection.name}: cannot be exported ({error})", "undo the edits of its rig mesh or splats") from error
    rig = replace(
        rig,
        vertices=points_from_blender(rig.vertices),
        joints=points_from_blender(rig.joints),
        expressions=points_from_blender(rig.expressions),
    )
    counts = [obj.lookalike.shoulders for obj in splats.values()]
    heads = tuple(_part(whole, 0, len(whole) - count) for whole, count in zip(sets, counts, strict=True))
    shoulders = _part(sets[-1], len(sets[-1]) - counts[-1], len(sets[-1]))
    provenance = json.loads(collection.lookalike.provenance or "{}") or {"name": collection.lookalike.label}
    basis = next((basis for obj in splats.values() if (basis := color_basis_of(obj)) is not None), None)
    return Avatar(rig, heads, shoulders, _drivers(collection.lookalike.drivers), provenance, color_basis=basis)


def _part(splats: SplatArrays, start: int, stop: int) -> SplatArrays:
    return SplatArrays(*(np.ascontiguousarray(getattr(splats, field)[start:stop]) for field in SplatArrays.__dataclass_fields__))


def _drivers(text: str) -> tuple[Driver, ...]:
    return tuple(
        Driver(
            expression=facts["expression"],
            pose=np.array(facts["pose"], np.float32),
            world_to_camera=np.array(facts["world_to_camera"], np.float32),
            intrinsics=np.array(facts["intrinsics"], np.float32),
            size=(facts["size"][0], facts["size"][1]),
        )
        for facts in json.loads(text or "[]")
    )
