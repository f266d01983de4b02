"""What a refiner draws, in Blender: the performance out as a .motion file, its refined frames in as a camera's pictures."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty
from bpy.types import Operator

from .. import api
from .base import FromFiles, OnAvatar, ToFile, layout_of
from .reporting import reported


class LOOKALIKE_OT_export_motion(ToFile, Operator):
    """Write what the face does on each frame of the scene to a .motion file, for “lookalike render --motion”"""

    bl_idname = "lookalike.export_motion"
    bl_label = "Export Motion"
    bl_options = {"REGISTER"}

    filename_ext = ".motion"
    filter_glob: StringProperty(default="*.motion", options={"HIDDEN"})

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.tell("Wrote {path}", path=api.export_motion(self.target(), self.chosen()))


class LOOKALIKE_OT_import_refined(FromFiles, OnAvatar, Operator):
    """Show frames of “lookalike render --refined --motion” before a camera that sees the avatar as they do"""

    bl_idname = "lookalike.import_refined"
    bl_label = "Import Refined Frames"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.sequence.json", options={"HIDDEN"})
    own_start: BoolProperty(name="At the Scene's Start", description="The first picture is on the scene's first frame", default=True)
    start: IntProperty(name="Start Frame", description="The scene's frame of the first picture", default=1)
    plane: BoolProperty(name="Plane", description="Also a plane in the scene that shows the pictures and renders", default=False)
    use: BoolProperty(name="Use Camera", description="Make it the scene's camera, with the resolution of the pictures", default=True)

    def draw(self, context: bpy.types.Context) -> None:
        layout = layout_of(self)
        layout.prop(self, "own_start")
        row = layout.row()
        row.enabled = not self.own_start
        row.prop(self, "start")
        layout.prop(self, "plane")
        layout.prop(self, "use")

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        start = None if self.own_start else self.start
        camera = api.import_refined(self.paths()[0], self.chosen(), start=start, plane=self.plane, use=self.use)
        return self.tell("Refined frames lie before the camera {name}", name=camera.name)


CLASSES = (LOOKALIKE_OT_export_motion, LOOKALIKE_OT_import_refined)
