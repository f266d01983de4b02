"""What our operators share: telling the user, finding the avatar, files in and out."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import CollectionProperty, StringProperty
from bpy.types import OperatorFileListElement
from bpy_extras.io_utils import ExportHelper, ImportHelper

from .. import api
from ..translations import explained, said

FINISHED, CANCELLED, RUNNING = {"FINISHED"}, {"CANCELLED"}, {"RUNNING_MODAL"}


class Telling:
    """Reports in the user's language."""

    def tell(self, text: str, kind: str = "INFO", /, **values: object) -> set[str]:
        """Report a text, its {places} filled, and return what `execute` returns then: errors cancel."""
        self.report({kind}, said(text, **values))  # type: ignore[attr-defined]
        return CANCELLED if kind == "ERROR" else FINISHED

    def pass_on(self, text: str, kind: str = "INFO") -> set[str]:
        """Report a text that was put together elsewhere: a summary, a warning of a reader."""
        self.report({kind}, explained(text))  # type: ignore[attr-defined]
        return FINISHED


def there_is_an_avatar(cls: type, context: bpy.types.Context) -> bool:
    """For `poll`: whether the scene has one; tells why not."""
    if api.avatars(context.scene):
        return True
    cls.poll_message_set("There is no avatar in the scene")  # type: ignore[attr-defined]
    return False


class OnAvatar(Telling):
    """An operator on the avatar of the active object, or on the one that `avatar` names."""

    avatar: StringProperty(name="Avatar", description="Name of the avatar; empty for the active one", options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return there_is_an_avatar(cls, context)

    def chosen(self) -> bpy.types.Collection:
        """Raises LookalikeError where there is no such avatar."""
        return api.avatar(self.avatar)


class FromFiles(Telling, ImportHelper):
    """An operator on files that are dropped, or else chosen in the file browser."""

    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    files: CollectionProperty(type=OperatorFileListElement, options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if self.directory and self.files:  # dropped: the files are known
            return self.execute(context)  # type: ignore[attr-defined]
        context.window_manager.fileselect_add(self)
        return RUNNING

    def paths(self) -> list[Path]:
        """The files that were dropped or chosen, at least one."""
        chosen = [Path(self.directory) / file.name for file in self.files if file.name]
        return chosen or [Path(bpy.path.abspath(self.filepath))]


class ToFile(OnAvatar, ExportHelper):
    """An operator that writes a file, by default named after the avatar."""

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        active = api.active_avatar(context)
        name = self.avatar or getattr(active or context.active_object, "name", "")
        if not self.filepath and name:
            self.filepath = bpy.path.clean_name(name) + self.filename_ext
        context.window_manager.fileselect_add(self)
        return RUNNING

    def target(self) -> Path:
        """Where to write."""
        return Path(bpy.path.abspath(self.filepath))


def layout_of(operator: bpy.types.Operator) -> bpy.types.UILayout:
    """The operator's layout, with names beside values and no dots that key."""
    layout = operator.layout
    layout.use_property_split, layout.use_property_decorate = True, False
    return layout
