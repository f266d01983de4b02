"""What the viewport did, and what went wrong: counters that tests and the panel read."""

from __future__ import annotations

import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)


@dataclass
class Status:
    """Counters since registration (or `reset`), times in seconds.

    Attributes:
        draws: avatars drawn into a view.
        geometry_uploads, appearance_uploads, order_uploads: textures made.
        synchronous_sorts: sorts that a draw had to wait for (first sight of an avatar only).
        handler_time: Python side of the newest draw handler call, all avatars.
        splats: splats drawn by the newest draw handler call.
        last_error: message of the newest failure, "" when there is none; the panel shows it.
    """

    draws: int = 0
    geometry_uploads: int = 0
    appearance_uploads: int = 0
    order_uploads: int = 0
    synchronous_sorts: int = 0
    handler_time: float = 0.0
    splats: int = 0
    last_error: str = ""

    def fail(self, what: str, error: BaseException) -> None:
        """Record a failure: the traceback goes to the log once, not once a frame."""
        said = str(error) or type(error).__name__
        message = said if said.startswith(what) else f"{what}: {said}"
        if message != self.last_error:
            log.error("drawing stopped for %s", what, exc_info=error)
        self.last_error = message

    def reset(self) -> None:
        self.__init__()


status = Status()
