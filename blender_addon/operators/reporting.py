"""How an operator tells the user what went wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import bpy


def reported(execute: Callable[[Any, bpy.types.Context], set[str]]) -> Callable[[Any, bpy.types.Context], set[str]]:
    """Turn a `LookalikeError` of `execute` into the operator's error report; any other error is a bug and keeps its traceback."""

    @functools.wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        from ..protocol import LookalikeError

        try:
            return execute(self, context)
        except LookalikeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return wrapped
