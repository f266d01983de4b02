"""Ending with the process that started us, also where that one was killed."""

from __future__ import annotations

import os

from backend.protocol.keys import process_exists


class ParentWatch:
    """Tells when the process `pid` is gone.

    Where `pid` is our real parent, being adopted by another is the sign: it works for a killed parent whose entry
    in the process table lingers. Elsewhere, and on Windows, the process is looked up.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._adopted_when_gone = os.name == "posix" and os.getppid() == pid

    def gone(self) -> bool:
        return os.getppid() != self.pid if self._adopted_when_gone else not process_exists(self.pid)
