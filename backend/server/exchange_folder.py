"""The backend's side of the exchange folder: where portraits wait for the worker and results for clients."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from backend.protocol.exchange import PROBE

ROOMY = 1 << 30
"""Free bytes that a memory file system must have before it is preferred to the temporary folder."""

_PREFIX = "lookalike-exchange-"
_LOCK = "lock"
_YOUNG_SECONDS = 60.0

logger = logging.getLogger(__name__)


class ExchangeFolder:
    """A private folder (0700) that lives as long as the backend.

    Attributes:
        path: of the folder.
        proof: what the probe file holds; who knows it can read the folder.
        budget: bytes that kept results may take.
    """

    def __init__(self) -> None:
        base = _base()
        _sweep(base)
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        self._lock = _locked(self.path / _LOCK)
        self.proof = secrets.token_hex(32)
        (self.path / PROBE).write_text(self.proof, encoding="ascii")
        self.budget = min(2 << 30, shutil.disk_usage(base).free // 2)

    def write(self, name: str, data: bytes | memoryview) -> int:
        """Write one payload. Raises OSError where there is no space."""
        with open(self.path / name, "wb") as file:
            return file.write(data)

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def remove(self, name: str) -> None:
        """Forget a payload; who has mapped it keeps it. On Windows a mapped file stays until `close`."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except PermissionError:
            logger.debug("%s is still mapped", name)

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.path, ignore_errors=True)


def _base() -> Path:
    """Memory where the system has it as files, else the temporary folder."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is private
    if sys.platform.startswith("linux") and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOMY:
        return memory
    return Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    """Remove the folders of backends that were killed.

    A lock tells the living from the dead: process ids do not, where containers share the base but not the ids.
    """
    for folder in base.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            ours = not folder.is_symlink() and (os.name != "posix" or status.st_uid == os.getuid())
            if not ours or time.time() - status.st_mtime < _YOUNG_SECONDS:
                continue
            lock = _locked(folder / _LOCK)
        except OSError as error:
            logger.info("%s is left alone (%s)", folder, error)
            continue
        if lock is not None:
            lock.close()
            logger.info("removing what an earlier backend left: %s", folder)
            shutil.rmtree(folder, ignore_errors=True)


def _locked(path: Path) -> IO[bytes] | None:
    """The file, locked until it is closed or its process ends; None where another process has it."""
    file = open(path, "ab")  # noqa: SIM115 - held as long as the folder lives
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file
