"""What a stroke will do, shown while it is drawn: on the level that the viewport shows, and taken back before it is done for good."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .picking import Picker
    from .shapes import Stroke


class LiveStroke:
    """Budget of `draw` at 99k splats: 10 ms, Blender's own update apart."""

    def __init__(self, picker: Picker, mode: str, strength: float) -> None:
        self._picker, self._mode, self._strength = picker, mode, strength
        shown = [i for i, layer in enumerate(picker.layers) if not layer.obj.hide_viewport]
        self._index = shown[-1] if shown else len(picker.layers) - 1
        edits = picker.layers[self._index].edits
        self._before = edits.hidden.copy(), edits.gain.copy(), edits.size.copy()
        self._weights = 0.0
        self._drawn = 0

    def draw(self, stroke: Stroke, start: tuple[float, float]) -> None:
        """Show the opacities that the stroke so far would give; only what was added since the last call is looked at."""
        import numpy as np

        added = stroke.since(max(self._drawn - 1, 0))
        self._drawn = len(stroke.points)
        self._weights = np.maximum(self._weights, self._picker.layer_weights(self._index, added.weights, np.float32(start)))
        edits = self._picker.layers[self._index].edits
        self._take_back()
        edits.apply(self._mode, self._weights, self._strength)
        edits.write_looks()

    def restore(self) -> None:
        """As before the stroke."""
        self._take_back()
        self._picker.layers[self._index].edits.write_looks()

    def _take_back(self) -> None:
        edits = self._picker.layers[self._index].edits
        edits.hidden, edits.gain, edits.size = (values.copy() for values in self._before)
