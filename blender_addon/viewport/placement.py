"""Which splat objects stand where in a view: visible ones, and those inside visible collection instances.

A linked avatar is usually an empty that instances its collection, so instances are drawn like the objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
from mathutils import Matrix

from ..avatar.evaluated import splat_objects
from ..avatar.parts import avatar_of

Identity = tuple[str, str | None]
"""Name and library path: what finds a data-block again without keeping a reference to it."""

MAX_NESTING = 8


@dataclass(frozen=True)
class Placed:
    """A splat object and where to draw it.

    Attributes:
        source: the object that holds the splats.
        matrix: object space to world.
        avatar: the collection it is a part of; None inside instances, whose level of detail is not theirs to choose.
        instance: which instance this is; "" for the object itself.
    """

    source: bpy.types.Object
    matrix: Matrix
    avatar: bpy.types.Collection | None = None
    instance: str = ""


class SceneIndex:
    """Names of the splat objects and of the empties that instance them, scanned again only after changes.

    A scan costs about 1 microsecond an object.
    """

    def __init__(self) -> None:
        self._splats: list[tuple[Identity, Identity | None]] = []
        self._instancers: list[Identity] = []
        self._count = -1
        self.scans = 0
        """How often the file was scanned: when it changes, objects may be gone."""

    def invalidate(self) -> None:
        self._count = -1

    def splats(self) -> Iterator[tuple[bpy.types.Object, bpy.types.Collection | None]]:
        """Every splat object of the file, with its avatar."""
        self._scan()
        for identity, avatar in self._splats:
            obj = _find(bpy.data.objects, identity)
            if obj is not None:
                yield obj, _find(bpy.data.collections, avatar) if avatar else None

    def instancers(self) -> Iterator[bpy.types.Object]:
        """Every empty whose instanced collection holds splats."""
        self._scan()
        return (o for o in (_find(bpy.data.objects, i) for i in self._instancers) if o is not None)

    def _scan(self) -> None:
        if self._count == len(bpy.data.objects):
            return
        found = splat_objects(bpy.data.objects)
        avatars = [avatar_of(o) for o in found]
        self._splats = [(_identify(o), _identify(a) if a else None) for o, a in zip(found, avatars, strict=True)]
        self._instancers = [_identify(o) for o in _instancers_of(found)]
        self._count = len(bpy.data.objects)
        self.scans += 1


def placed_splats(index: SceneIndex, depsgraph: bpy.types.Depsgraph, space: bpy.types.SpaceView3D | None) -> Iterator[Placed]:
    """What to draw in a 3D view (`space` None: in a view layer), by the rules of visibility of Blender's own objects."""
    view_layer = depsgraph.view_layer
    for obj, avatar in index.splats():
        if _visible(obj, view_layer, space):
            yield Placed(obj, obj.evaluated_get(depsgraph).matrix_world, avatar)
    for empty in index.instancers():
        if _visible(empty, view_layer, space):
            yield from _inside(empty.instance_collection, empty.evaluated_get(depsgraph).matrix_world, empty.name_full, depsgraph, 0)


def is_drawn_here(obj: bpy.types.Object) -> bool:
    """Whether our shaders draw the object: Blender 5.3 draws its own splat clouds itself."""
    return obj.type == "MESH"


def _inside(
    collection: bpy.types.Collection, matrix: Matrix, instance: str, depsgraph: bpy.types.Depsgraph, depth: int
) -> Iterator[Placed]:
    origin = matrix @ Matrix.Translation(-collection.instance_offset)
    for obj in collection.all_objects:
        if obj.hide_viewport:
            continue
        if obj.instance_type == "COLLECTION" and obj.instance_collection and depth < MAX_NESTING:
            nested = origin @ obj.evaluated_get(depsgraph).matrix_world
            yield from _inside(obj.instance_collection, nested, f"{instance}/{obj.name_full}", depsgraph, depth + 1)
        elif obj.lookalike.role in {"SPLATS", "CLOUD"}:
            yield Placed(obj, origin @ obj.evaluated_get(depsgraph).matrix_world, instance=instance)


def _visible(obj: bpy.types.Object, view_layer: bpy.types.ViewLayer | None, space: bpy.types.SpaceView3D | None) -> bool:
    if view_layer is None:
        return False
    if space is None:
        return obj.visible_get(view_layer=view_layer)
    return obj.visible_get(view_layer=view_layer, viewport=space)


def _instancers_of(splats: list[bpy.types.Object]) -> list[bpy.types.Object]:
    """Empties that show splats through collections, also through collections that hold such empties."""
    holders = {c.session_uid for o in splats for c in o.users_collection}
    candidates = [o for o in bpy.data.objects if o.instance_type == "COLLECTION" and o.instance_collection] if holders else []
    found: list[bpy.types.Object] = []
    while True:
        new = [o for o in candidates if o not in found and _holds(o.instance_collection, holders)]
        if not new:
            return found
        found += new
        holders |= {c.session_uid for o in new for c in o.users_collection}


def _holds(collection: bpy.types.Collection, holders: set[int]) -> bool:
    return collection.session_uid in holders or any(c.session_uid in holders for c in collection.children_recursive)


def _identify(data: bpy.types.ID) -> Identity:
    return data.name, data.library.filepath if data.library else None


def _find(collection: bpy.types.bpy_prop_collection, identity: Identity) -> bpy.types.ID | None:
    return collection.get(identity)
