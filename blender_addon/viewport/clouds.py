"""The GPU side of each splat object: uploaded when its evaluated splats changed, and never otherwise.

Objects are known by session uid and view layer; no reference to a data-block outlives a call.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import bpy
import gpu
import numpy as np

from ..avatar.evaluated import changes_colour, read_appearance, read_pose, shown_data
from ..rendering.light import Lighting, relit, scene_lighting, signature, splat_normals
from ..rendering.look import PLAIN, Look, armature_of_splats, grade, read_look
from .sorting import DepthSorter, SortRequest, back_to_front
from .status import status
from .textures import F32, SplatData, pack_geometry, upload

MAX_ORDERS = 8
"""Views that keep an order of their own: four of a quad view, and four more 3D views."""

STEADY = np.cos(np.radians(0.2))
"""A view turned by less than this keeps its order: splats that swap places then are a hair's breadth apart in depth."""


@dataclass
class Order:
    """The drawing order of one cloud in one view."""

    texture: gpu.types.GPUTexture
    direction: F32
    generation: int
    wanted: tuple[int, bytes] | None = None


@dataclass
class Cloud:
    """Textures and bounds of one splat object in one view layer.

    Attributes:
        generation: counts changes of the geometry.
        dirty: the evaluated splats may have changed since the last upload.
        looks_dirty: the object's own data, which holds the colours, may have changed.
        data_uid: session uid of that data.
        look: exposure, tint, contrast and relighting that the colours were uploaded with.
        lit: what the relighting depended on, None where there is none.
        failed: an error stopped the drawing of this object until `Clouds.retry`.
    """

    name: str
    dirty: bool = True
    looks_dirty: bool = True
    data_uid: int = 0
    look: Look = PLAIN
    lit: Hashable = None
    failed: bool = False
    generation: int = 0
    splats: SplatData | None = None
    low: F32 = field(default_factory=lambda: np.zeros(3, np.float32))
    high: F32 = field(default_factory=lambda: np.zeros(3, np.float32))
    geometry: gpu.types.GPUTexture | None = None
    appearance: gpu.types.GPUTexture | None = None
    orders: dict[Hashable, Order] = field(default_factory=dict)

    def __len__(self) -> int:
        return 0 if self.splats is None else len(self.splats)

    def refresh(self, obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> None:
        """Read and upload what changed. Budget at 89k splats: 5 ms when posed, nothing when not dirty.

        Raises:
            LookupError: the object is not evaluated in `depsgraph`, or lost its attributes.
        """
        if obj.data.session_uid != self.data_uid:
            self.data_uid, self.looks_dirty = obj.data.session_uid, True
        look, lighting, lit = self._look(obj, depsgraph)
        self.looks_dirty = self.looks_dirty or look != self.look or lit != self.lit
        if not self.dirty and not self.looks_dirty:
            return
        pose = read_pose(obj, depsgraph)
        appearance = self.splats.appearance if self.splats is not None else None
        if appearance is None or self.looks_dirty or lighting is not None or changes_colour(obj):
            appearance = _read_looks(obj, depsgraph, look, lighting, pose)
        self.look, self.lit = look, lit
        splats = SplatData(pose["position"], pose["rotation"], pose["scale"], appearance)
        if len({len(splats.position), len(splats.rotation), len(splats.scale), len(appearance)}) != 1:
            raise LookupError(f"{obj.name}: its modifiers changed the number of splats")
        self._upload(splats)
        self.dirty = self.looks_dirty = False

    @staticmethod
    def _look(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> tuple[Look, Lighting | None, Hashable]:
        """The avatar's look now; the scene's light, and what tells its changes, only where the avatar is relit."""
        armature = armature_of_splats(obj)
        look = read_look(armature.evaluated_get(depsgraph)) if armature is not None else PLAIN
        if look.relight == 0.0:
            return look, None, None
        lighting = scene_lighting(depsgraph)
        return look, lighting, signature(lighting, obj.evaluated_get(depsgraph).matrix_world)

    def _upload(self, splats: SplatData) -> None:
        before, self.splats = self.splats, splats
        if before is not None and len(before) != len(splats):
            self.orders.clear()
            before = None
        if not len(splats):
            return
        if before is None or not _same(before, splats, ("appearance",)):
            self.appearance = upload(splats.appearance, 4)
            status.appearance_uploads += 1
        if before is None or not _same(before, splats, ("position", "rotation", "scale")):
            self.geometry = upload(pack_geometry(splats), 4)
            self.low, self.high = splats.bounds()
            self.generation += 1
            status.geometry_uploads += 1

    def order(self, view: Hashable, key: Hashable, direction: F32, sorter: DepthSorter | None) -> gpu.types.GPUTexture:
        """The drawing order for `view`, seen from `direction` (unit, object space, towards the viewer).

        With a sorter, an order that is out of date is still returned while the new one is being made; only
        the first sight of a cloud waits for its sort (3 ms at 89k).
        """
        assert self.splats is not None
        order = self.orders.get(view)
        if order is not None and sorter is not None:
            result = sorter.collect((key, view))
            if result is not None and len(result.order) == len(self.splats):
                order.texture = upload(result.order, 1)
                order.direction, order.generation = result.request.direction, result.request.generation
                status.order_uploads += 1
        if order is None or (sorter is None and not self._current(order, direction)):
            while len(self.orders) >= MAX_ORDERS:
                self.orders.pop(next(iter(self.orders)))
            indices = back_to_front(self.splats.position, direction)
            order = self.orders[view] = Order(upload(indices, 1), direction, self.generation)
            status.order_uploads += 1
            status.synchronous_sorts += 1
        elif sorter is not None and not self._current(order, direction):
            wanted = (self.generation, direction.tobytes())
            if order.wanted != wanted:
                order.wanted = wanted
                sorter.submit(SortRequest((key, view), self.splats.position, direction, self.generation))
        return order.texture

    def _current(self, order: Order, direction: F32) -> bool:
        return order.generation == self.generation and float(order.direction @ direction) > STEADY


class Clouds:
    """All clouds of this session, found by object and view layer."""

    def __init__(self) -> None:
        self._clouds: dict[tuple[int, int, str], Cloud] = {}

    def get(self, obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> tuple[tuple[int, int, str], Cloud]:
        """The cloud of `obj` in the depsgraph's view layer, and its key."""
        key = (obj.session_uid, depsgraph.scene.session_uid, depsgraph.view_layer.name)
        cloud = self._clouds.get(key)
        if cloud is None:
            cloud = self._clouds[key] = Cloud(obj.name)
        return key, cloud

    def mark(self, uids: set[int] | None = None) -> None:
        """Let objects be read again at the next draw: those that are, or whose data is, one of these session uids, or all."""
        for key, cloud in self._clouds.items():
            cloud.dirty = cloud.dirty or uids is None or key[0] in uids
            cloud.looks_dirty = cloud.looks_dirty or uids is None or cloud.data_uid in uids

    def keep(self, uids: set[int]) -> None:
        """Free the textures of objects that no longer exist."""
        for key in [k for k in self._clouds if k[0] not in uids]:
            del self._clouds[key]

    def retry(self) -> None:
        """Draw again what failed."""
        for cloud in self._clouds.values():
            cloud.failed = False
            cloud.dirty = cloud.looks_dirty = True

    def clear(self) -> None:
        self._clouds.clear()

    def __len__(self) -> int:
        return len(self._clouds)


def _read_looks(obj: bpy.types.Object, depsgraph: bpy.types.Depsgraph, look: Look, lighting: Lighting | None, pose: dict[str, F32]) -> F32:
    """[N, 4] colour and opacity under the avatar's look. Relighting takes 15 ms for 89k splats and a light."""
    looks = read_appearance(shown_data(obj, depsgraph))
    rgb = grade(looks["rgb"], look)
    normals = splat_normals(obj, pose["rotation"]) if lighting is not None else None
    if lighting is not None and normals is not None:
        matrix = np.array(obj.evaluated_get(depsgraph).matrix_world, np.float32)
        inverse = np.linalg.inv(matrix[:3, :3])
        turned = normals @ inverse
        turned /= np.maximum(np.linalg.norm(turned, axis=1, keepdims=True), 1e-12)
        rgb = relit(rgb, look.relight, turned, pose["position"] @ matrix[:3, :3].T + matrix[:3, 3], lighting)
    return np.concatenate([rgb, looks["opacity"][:, None]], axis=1, dtype=np.float32)


def _same(before: SplatData, after: SplatData, fields: tuple[str, ...]) -> bool:
    return all(np.array_equal(getattr(before, f), getattr(after, f)) for f in fields)
