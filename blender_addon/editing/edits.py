"""The edited state of one splat object: hidden, opacity and size, kept beside the original values.

Attributes on the points, all 1 float: ``lookalike:own_opacity`` the opacity before the first edit, ``lookalike:hidden`` 0 or 1,
``lookalike:gain`` factor of the opacity, ``lookalike:size`` factor of the scale. What is drawn, rendered and exported is the
result, in the attributes that it always is.
"""

from __future__ import annotations

from collections.abc import Iterable

import bpy
import numpy as np

from ..avatar.host import RADIANCE, SPREAD, read_attribute, write_attribute
from ..protocol import AvatarFileError
from ..protocol.avatar import F32

OWN_OPACITY = "lookalike:own_opacity"
HIDDEN, GAIN, SIZE = "lookalike:hidden", "lookalike:gain", "lookalike:size"
SMALLEST, LARGEST = 0.05, 8.0
"""Limits of gain and size: a splat of no size would stretch the range that Blender packs sizes into."""


class Edits:
    """The state of one object's splats, read once, changed in numpy, written back where it changed.

    Attributes:
        hidden: [N] bool; gain, size: [N] factors.
    """

    def __init__(self, obj: bpy.types.Object) -> None:
        """Raises AvatarFileError where the object has lost its splats' attributes, or is linked."""
        if obj.library is not None or obj.data.library is not None:
            raise AvatarFileError(f"{obj.name}: is linked from {_source(obj)}", "append it, or edit it in that file")
        self.data = obj.data
        try:
            self.radiance = read_attribute(self.data, RADIANCE)
        except LookupError as error:
            raise AvatarFileError(f"{obj.name}: cannot be edited ({error})", "undo the edits of its splats") from error
        count = len(self.radiance)
        self.own = self._read(OWN_OPACITY, self.radiance[:, 3])
        self.hidden = self._read(HIDDEN, np.zeros(count)) > 0.5
        self.gain = self._read(GAIN, np.ones(count))
        self.size = self._read(SIZE, np.ones(count))
        self._size_before = self.size.copy()

    def __len__(self) -> int:
        return len(self.radiance)

    @property
    def opacity(self) -> F32:
        """[N] what the edits give."""
        return np.where(self.hidden, 0, np.clip(self.own * self.gain, 0, 1)).astype(np.float32)

    def apply(self, mode: str, weights: F32, strength: float = 1.0) -> int:
        """Change the splats by a brush's or a shape's weights [N] 0..1; returns how many it touched.

        HIDE and SHOW act where the weight is half or more, the others in proportion to it. SHOW also takes gain and size back.
        """
        touched = weights > 0
        amount = np.clip(weights * strength, 0, 1)
        if mode == "HIDE":
            touched = (weights >= 0.5) & ~self.hidden
            self.hidden |= touched
        elif mode == "SHOW":
            half = weights >= 0.5
            touched = half & (self.hidden | (self.gain != 1) | (self.size != 1))
            self.hidden &= ~half
            self.gain[half] = self.size[half] = 1
        elif mode == "FADE":
            self.gain *= 1 - amount
        elif mode == "STRENGTHEN":
            self.gain = np.minimum(np.maximum(self.gain, SMALLEST) * (1 + amount), 1 / np.maximum(self.own, 1e-3)).astype(np.float32)
        elif mode in {"SHRINK", "GROW"}:
            factor = 1 - 0.5 * amount if mode == "SHRINK" else 1 + amount
            self.size = np.clip(self.size * factor, SMALLEST, LARGEST).astype(np.float32)
        else:
            raise ValueError(f"unknown edit {mode!r}")
        return int(np.count_nonzero(touched))

    def write(self) -> None:
        """Put the state and its result on the data-block. Budget at 99k splats: 4 ms, 1 ms where sizes did not change."""
        for name, values in ((OWN_OPACITY, self.own), (HIDDEN, self.hidden), (GAIN, self.gain), (SIZE, self.size)):
            write_attribute(self.data, name, "FLOAT", values)
        self.write_looks()
        if not np.array_equal(self.size, self._size_before):
            ratio = (self.size / self._size_before)[:, None].astype(np.float32)
            write_attribute(self.data, "scale", "FLOAT_VECTOR", read_attribute(self.data, "scale") * ratio)
            for name in SPREAD:
                if name in self.data.attributes:
                    write_attribute(self.data, name, "FLOAT_VECTOR", read_attribute(self.data, name) * ratio**2)
            self._size_before = self.size.copy()
        self.data.update_tag()

    def write_looks(self) -> None:
        """Only what shows of opacity: while a stroke is being drawn. Budget: 1 ms."""
        self.radiance[:, 3] = self.opacity
        attribute = self.data.attributes[RADIANCE]
        write_attribute(self.data, RADIANCE, attribute.data_type, self.radiance)
        self.data.update_tag()

    def _read(self, name: str, default: np.ndarray) -> F32:
        if name not in self.data.attributes:
            return np.array(default, np.float32)
        return read_attribute(self.data, name)


def reset_edits(objects: Iterable[bpy.types.Object]) -> int:
    """Take all edits of opacity, size and visibility back; returns how many splats had any. Removed splats stay removed."""
    changed = 0
    for obj in objects:
        edits = Edits(obj)
        changed += edits.apply("SHOW", np.ones(len(edits), np.float32))
        edits.write()
    return changed


def show_all(objects: Iterable[bpy.types.Object]) -> int:
    """Show every hidden splat; opacity and size stay as they were brushed. Returns how many were hidden."""
    changed = 0
    for obj in objects:
        edits = Edits(obj)
        changed += int(edits.hidden.sum())
        edits.hidden[:] = False
        edits.write()
    return changed


def _source(obj: bpy.types.Object) -> str:
    library = obj.library or obj.data.library
    return bpy.path.basename(library.filepath)
