"""The backend's side of the exchange folder: where portraits wait for the worker and results for clients."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from backend.protocol.exchange import PROBE
from backend.protocol.keys import process_exists

ROOMY = 1 << 30
"""Free bytes that a memory file system must have before it is preferred to the temporary folder."""

_FOLDER = re.compile(r"lookalike-exchange-(\d+)-\w+")

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
        self.path = Path(tempfile.mkdtemp(prefix=f"lookalike-exchange-{os.getpid()}-", dir=base))
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
        shutil.rmtree(self.path, ignore_errors=True)


def _base() -> Path:
    """Memory where the system has it as files, else the temporary folder."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder made in it is private
    if sys.platform.startswith("linux") and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= ROOMY:
        return memory
    return Path(tempfile.gettempdir())


def _sweep(base: Path) -> None:
    """Remove the folders of backends that were killed."""
    for folder in base.glob("lookalike-exchange-*"):
        match = _FOLDER.fullmatch(folder.name)
        ours = os.name != "posix" or (not folder.is_symlink() and folder.stat().st_uid == os.getuid())
        if match and ours and not process_exists(int(match[1])):
            logger.info("removing what an earlier backend left: %s", folder)
            shutil.rmtree(folder, ignore_errors=True)
