"""Adapters in Blender: what a personalization has learned, kept in the file, switched on and off without the backend.

The names are loaded when they are first used: registering the add-on must not wait for numpy.
"""

from typing import TYPE_CHECKING

from ..lazy_names import loader

if TYPE_CHECKING:
    from .changes import Learned, learn, load_adapter, merge_adapter, prepare_learned, remove_adapter, save_adapter, switch_adapter
    from .gathering import Edited, begin, hold, renew, whole_avatar
    from .keeping import Listed, adopt, check_editable, has_adapters, in_edit_mode, listed
    from .previewing import end_preview, end_work, keep_again, prepare_preview, settle, show_preview

__all__ = [
    "Edited",
    "Learned",
    "Listed",
    "adopt",
    "begin",
    "check_editable",
    "end_preview",
    "end_work",
    "has_adapters",
    "hold",
    "in_edit_mode",
    "keep_again",
    "learn",
    "listed",
    "load_adapter",
    "merge_adapter",
    "prepare_learned",
    "prepare_preview",
    "remove_adapter",
    "renew",
    "save_adapter",
    "settle",
    "show_preview",
    "switch_adapter",
    "whole_avatar",
]

_HOMES = {
    "changes": "Learned learn load_adapter merge_adapter prepare_learned remove_adapter save_adapter switch_adapter",
    "gathering": "Edited begin hold renew whole_avatar",
    "keeping": "Listed adopt check_editable has_adapters in_edit_mode listed",
    "previewing": "end_preview end_work keep_again prepare_preview settle show_preview",
}
"""Module -> the public names that it defines."""


__getattr__ = loader(__name__, _HOMES)
