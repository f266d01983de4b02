"""Build an avatar in Blender from arrays: whole, or level by level as they arrive over the wire.

    avatar = build_avatar(read_avatar("ada.lookalike"), context.scene.collection)

or, while a backend is still working:

    avatar = begin_avatar(rig, context.scene.collection, "Ada")
    avatar.add_lod(0, splats, shoulders)

Arrays come in the avatar's frame (+Y up, face along +Z) and are converted once, here. Nothing pushes an undo step; a
timer that builds calls ``bpy.ops.ed.undo_push`` itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import bpy

from ..protocol import FORMAT_VERSION, Avatar, AvatarFileError, Driver, RigArrays, SplatArrays
from ..protocol.avatar_file import MAX_LODS, check_rig, check_splats
from ..rendering.preparation import prepare_scenes
from . import native, parts
from .binding_nodes import add_binding
from .bound_splats import BoundSplats, bind_splats
from .colour_nodes import set_color_basis
from .frames import rig_to_blender, splats_to_blender
from .host import read_splats, splat_data
from .levels import apply_levels
from .rig_objects import new_armature, new_head, rest_mesh

STANDARD_JOINTS = ("root", "neck", "jaw", "eye_left", "eye_right")
_LONGEST_NAME = 63 - len(".splats.lod0.001")


@dataclass(frozen=True)
class BlenderAvatar:
    """An avatar in the open file. Holds no data-block: they are looked up each time, so it outlives undo and redo.

    Attributes:
        uid: ``session_uid`` of its collection.
    """

    uid: int

    @property
    def collection(self) -> bpy.types.Collection:
        """Raises LookupError where the avatar is gone (deleted, undone, another file opened)."""
        for collection in bpy.data.collections:
            if collection.session_uid == self.uid and collection.lookalike.is_avatar:
                return collection
        raise LookupError("the avatar is no longer in this file")

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def armature(self) -> bpy.types.Object:
        return _present(parts.armature_of(self.collection), "armature")

    @property
    def head(self) -> bpy.types.Object:
        return _present(parts.head_of(self.collection), "rig mesh")

    @property
    def splats(self) -> dict[int, bpy.types.Object]:
        """Splat objects by level of detail."""
        return parts.splats_of(self.collection)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Joints in the rig's own order, which `Driver.pose` follows; bones are named alike."""
        return tuple(json.loads(self.collection.lookalike.joints))

    def add_lod(self, level: int, splats: SplatArrays, shoulders: SplatArrays | None = None) -> bpy.types.Object:
        """As `add_lod`."""
        return add_lod(self, level, splats, shoulders)


def build_avatar(avatar: Avatar, collection: bpy.types.Collection, name: str | None = None, source_path: str = "") -> BlenderAvatar:
    """Build rig and all levels of detail as a collection inside `collection`.

    Everything is checked before the first data-block is made, so a bad avatar leaves the file untouched.

    Args:
        name: of the collection; the avatar's own by default. Blender makes it unique.
        source_path: file it was read from, remembered relative to the .blend where possible.
    Raises:
        AvatarFileError: the arrays do not fit each other.
    """
    _check(avatar.rig, *avatar.lods, avatar.shoulders)
    handle = begin_avatar(avatar.rig, collection, name or avatar.name, source_path)
    for level, splats in enumerate(avatar.lods):
        add_lod(handle, level, splats, avatar.shoulders)
    for obj in handle.splats.values():
        set_color_basis(obj, handle.head, avatar.color_basis)
    set_facts(handle, avatar.provenance, avatar.drivers)
    return handle


def begin_avatar(rig: RigArrays, collection: bpy.types.Collection, name: str, source_path: str = "") -> BlenderAvatar:
    """Build the collection with armature and rig mesh; levels of detail follow by `add_lod`.

    Raises:
        AvatarFileError: the rig's arrays do not fit each other, or it lacks one of the standard joints.
    """
    _check(rig)
    name = fitting_name(name)
    turned = rig_to_blender(rig)
    home = bpy.data.collections.new(name)
    collection.children.link(home)
    label, name = name, home.name
    armature = new_armature(name, turned)
    head = new_head(f"{name}.head", turned, armature)
    for obj in (armature, head):
        home.objects.link(obj)
    settings = home.lookalike
    settings.is_avatar, settings.format_version = True, FORMAT_VERSION
    settings.label, settings.rig_id, settings.joints = label, rig.rig_id, json.dumps(rig.joint_names)
    settings.source_path = _relative(source_path)
    return BlenderAvatar(home.session_uid)


def add_lod(handle: BlenderAvatar, level: int, splats: SplatArrays, shoulders: SplatArrays | None = None) -> bpy.types.Object:
    """Add one level of detail, or replace it, and show what the avatar's settings ask for.

    Args:
        shoulders: appended to the splats of the head; None or empty where there are none.
    Raises:
        AvatarFileError: the splats do not fit the rig.
        LookupError: the avatar is gone.
    """
    bound = prepare_lod(*rest_mesh(handle.head), level, splats, shoulders)
    return place_lod(handle, level, bound, len(shoulders) if shoulders is not None else 0)


def prepare_lod(vertices, faces, level: int, splats: SplatArrays, shoulders: SplatArrays | None = None) -> BoundSplats:
    """The part of `add_lod` without bpy, about 0.1 s for 89k splats: may run in a thread.

    Args:
        vertices, faces: of `rest_mesh`, in Blender's frame.
        splats, shoulders: in the avatar's frame.
    """
    whole = SplatArrays.concatenate([splats, shoulders]) if shoulders is not None and len(shoulders) else splats
    if not 0 <= level < MAX_LODS:
        raise AvatarFileError(f"level of detail {level} is not one of 0 to {MAX_LODS - 1}")
    try:
        check_splats(whole, len(faces))
    except ValueError as error:
        raise AvatarFileError(f"level of detail {level} does not fit the rig ({error})") from error
    return bind_splats(vertices, faces, splats_to_blender(whole))


def place_lod(handle: BlenderAvatar, level: int, bound: BoundSplats, shoulders: int = 0) -> bpy.types.Object:
    """The part of `add_lod` that needs Blender; the last `shoulders` splats are the shoulders."""
    collection, head = handle.collection, handle.head
    name = f"{fitting_name(collection.name)}.splats.lod{level}"
    data = splat_data(name, bound)
    obj = handle.splats.get(level)
    if obj is not None and type(obj.data) is not type(data):  # made by an older Blender: objects cannot change their type
        bpy.data.batch_remove([obj, obj.data] if obj.data.users == 1 else [obj])
        obj = None
    if obj is None:
        obj = bpy.data.objects.new(name, data)
        obj.lookalike.role, obj.lookalike.level = "SPLATS", level
        obj.parent = head
        collection.objects.link(obj)
    else:
        old, obj.data = obj.data, data
        if old.users == 0:
            bpy.data.batch_remove([old])
        data.name = name
    obj.lookalike.shoulders = shoulders
    add_binding(obj, head)
    apply_levels(collection)
    prepare_scenes()
    return obj


def make_native(collection: bpy.types.Collection) -> int:
    """Turn splats that an older Blender stored as meshes into this Blender's own kind.

    Returns:
        How many levels were turned; 0 where there is nothing to do, or nothing better to turn them into.
    """
    handle = BlenderAvatar(collection.session_uid)
    old = {level: obj for level, obj in handle.splats.items() if obj.type == "MESH"} if native.available() else {}
    for level, obj in old.items():
        place_lod(handle, level, read_splats(obj.data), obj.lookalike.shoulders)
    return len(old)


def set_facts(handle: BlenderAvatar, provenance: dict[str, object], drivers: tuple[Driver, ...] = ()) -> None:
    """Remember where the avatar came from and how it was posed in its portraits."""
    settings = handle.collection.lookalike
    settings.label = str(provenance.get("name", settings.label))
    settings.provenance = json.dumps(provenance, ensure_ascii=False)
    settings.drivers = json.dumps(
        [
            {
                "expression": d.expression,
                "pose": d.pose.tolist(),
                "world_to_camera": d.world_to_camera.tolist(),
                "intrinsics": d.intrinsics.tolist(),
                "size": list(d.size),
            }
            for d in drivers
        ]
    )


def _check(rig: RigArrays, *sets: SplatArrays) -> None:
    try:
        check_rig(rig)
        for splats in sets:
            check_splats(splats, len(rig.faces))
    except ValueError as error:
        raise AvatarFileError(f"not a valid avatar ({error})") from error
    missing = [name for name in STANDARD_JOINTS if name not in rig.joint_names]
    if missing:
        raise AvatarFileError(f"the rig lacks the joint {missing[0]!r}", f"it needs {', '.join(STANDARD_JOINTS)}")


def _present(obj: bpy.types.Object | None, what: str) -> bpy.types.Object:
    if obj is None:
        raise LookupError(f"the avatar has lost its {what}")
    return obj


def fitting_name(name: str) -> str:
    """`name` cut so that every part's name fits Blender's 63 bytes."""
    cut = name.strip().encode()[:_LONGEST_NAME].decode(errors="ignore").strip()
    return cut or "avatar"


def _relative(path: str) -> str:
    """`path` relative to the saved .blend where that is possible."""
    if not path or not bpy.data.filepath:
        return path
    try:
        return bpy.path.relpath(path)
    except ValueError:  # another drive on Windows
        return path
