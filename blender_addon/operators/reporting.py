"""How an operator tells the user what went wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bpy

from ..translations import explained


def reported(execute: Callable[[Any, bpy.types.Context], set[str]]) -> Callable[[Any, bpy.types.Context], set[str]]:
    """Turn a `LookalikeError` of `execute` into the operator's error report; any other error is a bug and keeps its traceback."""

    @functools.wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        from ..protocol import LookalikeError

        try:
            return execute(self, context)
        except LookalikeError as error:
            self.report({"ERROR"}, explained(error))
            return {"CANCELLED"}

    return wrapped


def reported_event(method: Callable[[Any, bpy.types.Context, bpy.types.Event], set[str]]) -> Callable[..., set[str]]:
    """As `reported`, for `invoke` and `modal`: Blender counts the arguments of what it registers."""

    @functools.wraps(method)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return reported(lambda operator, given: method(operator, given, event))(self, context)

    return wrapped
