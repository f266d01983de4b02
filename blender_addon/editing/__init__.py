"""Editing the splats of an avatar or of a cloud: hide, fade, size, regions, repair from the other side; and rebinding.

Edits change attributes of the splats, never their binding, and are the same at every level of detail, because a splat is
chosen by where it is seen. Hiding and brushing keep the original values beside the edited ones, so that they can be taken
back long after Undo has forgotten them.
"""

from typing import TYPE_CHECKING

from ..lazy_names import loader

if TYPE_CHECKING:
    from .edits import reset_edits, show_all
    from .health import problems
    from .picking import PaintView, Stroke, brush, choose_box, choose_lasso, targets_of
    from .rebind import rebind
    from .regions import hide_region, region_names, region_weights
    from .repair import mirror_repair
    from .replacing import remove_hidden

__all__ = [
    "PaintView",
    "Stroke",
    "brush",
    "choose_box",
    "choose_lasso",
    "hide_region",
    "mirror_repair",
    "problems",
    "rebind",
    "region_names",
    "region_weights",
    "remove_hidden",
    "reset_edits",
    "show_all",
    "targets_of",
]

_HOMES = {
    "edits": "reset_edits show_all",
    "health": "problems",
    "picking": "PaintView Stroke brush choose_box choose_lasso targets_of",
    "rebind": "rebind",
    "regions": "hide_region region_names region_weights",
    "repair": "mirror_repair",
    "replacing": "remove_hidden",
}
"""Module -> the public names that it defines; loaded when first used, so that registering does not wait for numpy."""


__getattr__ = loader(__name__, _HOMES)
