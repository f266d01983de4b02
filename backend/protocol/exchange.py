"""Payloads that need not travel: files of one private folder, mapped by both ends of a shared machine.

CURVE over loopback encrypts, copies and decrypts every byte; a mapped file does none of that. The folder is named
in the connection file (0600), never on the wire, and the client proves that it can read it (`Hello.proof`), so
neither end can make the other open a file of its choice.
"""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path

from .errors import ProtocolError
from .payload import MAX_PAYLOAD_BYTES

PROBE = "probe"
PROOF_LENGTH = 64

_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")


def read_proof(exchange: str) -> str:
    """What to put into `Hello.proof`; "" where the folder cannot be read, as on another machine."""
    if not exchange:
        return ""
    try:
        with open(Path(exchange) / PROBE, encoding="ascii") as file:
            return file.read(PROOF_LENGTH)
    except (OSError, UnicodeDecodeError):
        return ""


def map_file(exchange: str | os.PathLike[str], name: str) -> memoryview:
    """A file of the folder as read-only memory; it stays readable after the file's name is gone.

    Raises:
        ProtocolError: no such file, or one that no backend of ours would write.
    """
    if not exchange or not _FILE_NAME.fullmatch(name):
        raise ProtocolError(f"shared payload {name!r} is not in the exchange folder")
    try:
        file = os.open(os.path.join(exchange, name), os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(file).st_size
            if not 0 < size <= MAX_PAYLOAD_BYTES:
                raise ProtocolError(f"shared payload {name!r} has an impossible size ({size} bytes)")
            return memoryview(mmap.mmap(file, size, access=mmap.ACCESS_READ))
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise ProtocolError(f"shared payload {name!r} cannot be read ({error})", "fetch it again") from error
