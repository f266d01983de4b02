"""View layers for compositing: the avatars alone, with alpha, depth and cryptomatte, cut by what stands before them.

In the layer of the avatars everything else is held out: it hides them and sheds its light on them, but is itself not seen. A collection
can be held out in one layer only; objects that share a collection with avatars, or lie in no collection of their own, cannot, and are
linked into a second collection for that, which the other layers leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy

from ..avatar.parts import find_avatars
from ..protocol import LookalikeError

AVATARS, REST = "Avatars", "Without Avatars"
"""Names of new layers; a layer is known by its mark, so that users may rename it."""

_MARK = "lookalike_layer"
_HELD = {AVATARS: "Held Out by Avatars", REST: "Held Out Avatars"}
_SEEN = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME", "GREASEPENCIL", "GPENCIL"}


@dataclass(frozen=True)
class AvatarLayers:
    """What was set up: names of the layers, and how many avatars they part from the rest."""

    avatars: str
    rest: str | None
    count: int


def set_up_layers(scene: bpy.types.Scene, source: bpy.types.ViewLayer, rest: bool = False, multilayer: bool = True) -> AvatarLayers:
    """Make or bring up to date the view layers of a scene.

    Args:
        source: the layer whose visible collections are taken over. It gets the passes too.
        rest: also a layer of everything else with the avatars held out; both layers' premultiplied colours sum up to the picture.
        multilayer: frames are written as multilayer OpenEXR, which holds all layers and passes.

    The film becomes transparent, because without that no layer has an alpha.

    Raises:
        LookalikeError: the scene shows no avatar.
    """
    avatars = find_avatars(scene)
    if not avatars:
        raise LookalikeError(f"The scene {scene.name} shows no avatar", "import or create one first")
    if _MARK in source:  # run again from one of its own layers
        source = next((layer for layer in scene.view_layers if _MARK not in layer), source)
    is_avatar = _membership(avatars)
    layers = [_layer(scene, source, AVATARS, is_avatar)]
    if rest:
        layers.append(_layer(scene, source, REST, lambda obj: not is_avatar(obj)))
    for layer in (source, *layers):
        layer.use_pass_combined = layer.use_pass_z = True
        layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_asset = True
    scene.render.film_transparent = True
    if multilayer:
        _write_multilayer(scene.render.image_settings)
    return AvatarLayers(layers[0].name, layers[1].name if rest else None, len(avatars))


def avatar_layer(scene: bpy.types.Scene) -> bpy.types.ViewLayer | None:
    """The layer of the avatars alone, or None."""
    return next((layer for layer in scene.view_layers if layer.get(_MARK) == AVATARS), None)


def _membership(avatars: list[bpy.types.Collection]) -> Callable[[bpy.types.Object], bool]:
    """Whether an object belongs to an avatar: lies in its collection, is attached there, or is an empty that instances it."""
    members = {obj for collection in avatars for obj in collection.all_objects}
    return lambda obj: obj in members or (obj.instance_type == "COLLECTION" and obj.instance_collection in avatars)


def _layer(
    scene: bpy.types.Scene, source: bpy.types.ViewLayer, kind: str, shown: Callable[[bpy.types.Object], bool]
) -> bpy.types.ViewLayer:
    """The layer of this kind, in which what is not `shown` is held out."""
    layer = next((made for made in scene.view_layers if made.get(_MARK) == kind), None) or scene.view_layers.new(kind)
    layer[_MARK] = kind
    held = _held_collection(scene, kind)
    mixed: set[bpy.types.Object] = set()
    root = scene.collection
    for ours, theirs in _pairs(layer.layer_collection, source.layer_collection):
        collection = ours.collection
        if collection == held:
            continue
        if collection != root:
            ours.exclude, ours.indirect_only = theirs.exclude, theirs.indirect_only
        hidden = [obj for obj in collection.objects if _seen(obj) and not shown(obj)]
        alone = collection != root and not any(shown(obj) for obj in collection.objects if _seen(obj))
        ours.holdout = theirs.holdout or (alone and bool(hidden))
        if hidden and not alone and not theirs.exclude:
            mixed.update(hidden)
    for obj in set(held.objects) - mixed:
        held.objects.unlink(obj)
    for obj in sorted(mixed - set(held.objects), key=lambda obj: obj.name):
        held.objects.link(obj)
    for other in scene.view_layers:
        place = other.layer_collection.children[held.name]
        place.exclude, place.holdout = other != layer, other == layer
    return layer


def _held_collection(scene: bpy.types.Scene, kind: str) -> bpy.types.Collection:
    held = next((child for child in scene.collection.children if child.get(_MARK) == kind), None)
    if held is None:
        held = bpy.data.collections.new(_HELD[kind])
        held[_MARK] = kind
        scene.collection.children.link(held)
    return held


def _seen(obj: bpy.types.Object) -> bool:
    return not obj.hide_render and (obj.type in _SEEN or obj.instance_type == "COLLECTION")


def _pairs(
    first: bpy.types.LayerCollection, second: bpy.types.LayerCollection
) -> Iterator[tuple[bpy.types.LayerCollection, bpy.types.LayerCollection]]:
    """The same collections in two layers of one scene."""
    yield first, second
    for ours, theirs in zip(first.children, second.children, strict=True):
        yield from _pairs(ours, theirs)


def _write_multilayer(settings: bpy.types.ImageFormatSettings) -> None:
    if hasattr(settings, "media_type"):  # from 5.0
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format = "OPEN_EXR_MULTILAYER"
