"""Choosing splats in a 3D view and changing them: box, lasso and brush, on every level of detail alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import bpy
import numpy as np

from ..avatar import head_of, splats_of
from ..avatar.frame_sequence import plays
from ..avatar.host import read_attribute
from ..interchange.posed import evaluated_vertices, posed_splats
from ..protocol import AvatarFileError
from ..protocol.avatar import F32, SH_C0
from .edits import Edits
from .mirror_points import mirrored_weights
from .shapes import SURFACE, Front, PaintView, Seen, Stroke, in_box, in_lasso

__all__ = ["Options", "PaintView", "Picker", "Stroke", "brush", "choose_box", "choose_lasso", "targets_of"]


@dataclass(frozen=True)
class Options:
    """What a choice takes.

    Attributes:
        through: also what lies behind the surface that is seen.
        depth: metres behind the front that still count as surface.
        mirror: the same on the other side of the head.
        similar: only colours this near to those under the start of the stroke (0..1); 0 takes all.
    """

    through: bool = False
    depth: float = SURFACE
    mirror: bool = False
    similar: float = 0.0


@dataclass
class Layer:
    """One splat object as it is seen: world positions, pixels, and its edits."""

    obj: bpy.types.Object
    edits: Edits
    rest: F32
    seen: Seen
    visible: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def targets_of(source: bpy.types.Collection | bpy.types.Object) -> list[bpy.types.Object]:
    """The splat objects that edits of an avatar, or of a cloud object, change: the finest level last.

    Raises:
        AvatarFileError: there are none.
    """
    found = [source] if isinstance(source, bpy.types.Object) else list(splats_of(source).values())
    found = [obj for obj in found if obj.lookalike.role in {"SPLATS", "CLOUD"} and obj.data is not None]
    if not found:
        raise AvatarFileError(f"{source.name}: has no splats to edit", "select an avatar or a splat cloud")
    if any(plays(obj) for obj in found):
        raise AvatarFileError(f"{source.name}: is a sequence, whose splats differ from frame to frame", "import a single file to edit it")
    return found


class Picker:
    """The splats of an avatar or a cloud in one view, projected once for a whole stroke. About 0.1 s for 140k splats."""

    def __init__(self, source: bpy.types.Collection | bpy.types.Object, view: PaintView, options: Options) -> None:
        self.view, self.options = view, options
        depsgraph = bpy.context.evaluated_depsgraph_get()
        self.layers = [self._layer(obj, source, depsgraph) for obj in targets_of(source)]
        finest = self.layers[-1]
        self._sampled: tuple[np.ndarray, F32 | None] | None = None
        self._front = Front.of(finest.seen, finest.edits.opacity > 0.3)
        for layer in self.layers:
            layer.visible = (layer.seen.depth > 0) if options.through else self._front.visible(layer.seen, options.depth)

    def _layer(self, obj: bpy.types.Object, source: bpy.types.ID, depsgraph: bpy.types.Depsgraph) -> Layer:
        if isinstance(source, bpy.types.Object):
            matrix, position = obj.matrix_world, read_attribute(obj.data, "position")
        else:
            head = head_of(source)
            assert head is not None
            matrix = head.matrix_world
            position = posed_splats(obj, head, evaluated_vertices(head, depsgraph)).position
        world = np.array(matrix, np.float64)
        return Layer(obj, Edits(obj), read_attribute(obj.data, "position"), self.view.project(position @ world[:3, :3].T + world[:3, 3]))

    def weights(self, shape: Callable[[F32], np.ndarray], start: F32 | None = None) -> list[F32]:
        """[N] weights of every layer for a shape that gives weights of pixels [N, 2]; `start` is where colour is taken from."""
        return [self.layer_weights(i, shape, start) for i in range(len(self.layers))]

    def layer_weights(self, index: int, shape: Callable[[F32], np.ndarray], start: F32 | None = None) -> F32:
        """As `weights`, of one layer."""
        layer = self.layers[index]
        weights = np.where(layer.visible, shape(layer.seen.pixel), 0).astype(np.float32)
        reference = self.reference(start) if start is not None else None
        if reference is not None:
            weights *= self._alike(layer.edits, reference)
        return np.maximum(weights, mirrored_weights(layer.rest, weights)) if self.options.mirror else weights

    def _alike(self, edits: Edits, reference: F32) -> np.ndarray:
        return np.linalg.norm(_colors(edits) - reference, axis=1) < self.options.similar * np.sqrt(3)

    def reference(self, start: F32) -> F32 | None:
        """Median colour of what is seen under the start of the stroke, on the finest level; None where colour does not count."""
        if self.options.similar <= 0:
            return None
        if self._sampled is not None and np.array_equal(self._sampled[0], start):
            return self._sampled[1]
        layer = self.layers[-1]
        distance = np.linalg.norm(layer.seen.pixel - start, axis=1)
        seen = self._front.visible(layer.seen, 0.004) & ~layer.edits.hidden
        near = np.flatnonzero(seen)[np.argsort(distance[seen])[:24]]
        color = np.median(_colors(layer.edits)[near], axis=0) if len(near) else None
        self._sampled = np.array(start), color
        return color

    def apply(self, mode: str, weights: list[F32], strength: float = 1.0) -> int:
        """Change and write every layer; returns how many splats of the finest one were touched."""
        touched = 0
        for layer, chosen in zip(self.layers, weights, strict=True):
            touched = layer.edits.apply(mode, chosen, strength)
            layer.edits.write()
        return touched


def brush(
    source: bpy.types.Collection | bpy.types.Object,
    view: PaintView,
    stroke: Stroke,
    mode: str,
    strength: float = 1.0,
    options: Options | None = None,
) -> int:
    """Draw one stroke over an avatar or a cloud; modes as in `Edits.apply`. Returns how many splats of the finest level changed."""
    picker = Picker(source, view, options or Options())
    return picker.apply(mode, picker.weights(stroke.weights, stroke.points[0] if len(stroke.points) else None), strength)


def choose_box(
    source: bpy.types.Collection | bpy.types.Object,
    view: PaintView,
    corner: tuple[float, float],
    opposite: tuple[float, float],
    mode: str = "HIDE",
    options: Options | None = None,
) -> int:
    """HIDE or SHOW what a rectangle covers. Returns how many splats of the finest level changed."""
    picker = Picker(source, view, options or Options(through=True))
    return picker.apply(mode, picker.weights(lambda pixel: in_box(pixel, corner, opposite)))


def choose_lasso(
    source: bpy.types.Collection | bpy.types.Object, view: PaintView, path: F32, mode: str = "HIDE", options: Options | None = None
) -> int:
    """HIDE or SHOW what a closed path [M, 2] covers. Returns how many splats of the finest level changed."""
    picker = Picker(source, view, options or Options(through=True))
    return picker.apply(mode, picker.weights(lambda pixel: in_lasso(pixel, np.asarray(path, np.float32))))


def _colors(edits: Edits) -> F32:
    return np.clip(edits.radiance[:, :3] * np.float32(SH_C0) + np.float32(0.5), 0, 1)
