"""Start, stop and record a face that a phone or a program streams over UDP."""

from __future__ import annotations

import bpy
from bpy.props import FloatProperty
from bpy.types import Operator

from .. import api
from ..ui.properties import session
from .base import OnAvatar, Telling
from .reporting import reported


class LOOKALIKE_OT_start_live(OnAvatar, Operator):
    """Listen for Live Link Face and show the face on the active avatar, on its ARKit layer"""

    bl_idname = "lookalike.start_live"
    bl_label = "Start Live Stream"
    bl_options = {"REGISTER"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        state = session(context)
        port = api.start_live(self.chosen(), state.live_port, state.live_from == "NETWORK")
        return self.tell("Listening on port {port}", port=port)


class LOOKALIKE_OT_stop_live(Telling, Operator):
    """Stop listening; a recording that runs is keyed first"""

    bl_idname = "lookalike.stop_live"
    bl_label = "Stop Live Stream"
    bl_options = {"REGISTER", "UNDO"}

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        report = api.stop_live()
        if report is not None:
            self.pass_on(report.summary())
        return {"FINISHED"}


class LOOKALIKE_OT_record_live(Telling, Operator):
    """Record the live face from the current frame; pressed again, what was recorded becomes keys in a new action"""

    bl_idname = "lookalike.record_live"
    bl_label = "Record Live Stream"
    bl_options = {"REGISTER", "UNDO"}

    smoothing: FloatProperty(
        name="Smoothing", description="Width of the smoothing in time", default=0.1, min=0.0, max=2.0, unit="TIME_ABSOLUTE"
    )
    tolerance: FloatProperty(
        name="Key Reduction", description="Largest error of an expression that leaving out keys may cause", default=0.005, min=0.0, max=0.5
    )

    @reported
    def execute(self, context: bpy.types.Context) -> set[str]:
        report = api.record_live(smoothing=self.smoothing, tolerance=self.tolerance)
        if report is None:
            return self.tell("Recording from frame {frame}", frame=context.scene.frame_current)
        return self.pass_on(report.summary())


CLASSES = (LOOKALIKE_OT_start_live, LOOKALIKE_OT_stop_live, LOOKALIKE_OT_record_live)
