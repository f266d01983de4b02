"""A network that was read from a file, kept until the file changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from torch import nn

from backend.protocol.errors import WeightsError

N = TypeVar("N", bound=nn.Module)


class KeptNetwork(Generic[N]):
    """The last network that was read; the next call with the same, unchanged file gives it again.

    Args:
        read: path of the file -> the network.
    """

    def __init__(self, read: Callable[[Path], N]) -> None:
        self.read = read
        self.key: tuple[Path, int] | None = None
        self.network: N | None = None

    def __call__(self, path: str | Path) -> N:
        """The network of a file.

        Raises:
            WeightsError: the file is not there, or what `read` raises.
        """
        path = Path(path)
        try:
            key = path, path.stat().st_mtime_ns
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
        if key != self.key or self.network is None:
            self.key, self.network = None, None  # two refiners at once would take twice the memory
            self.network = self.read(path)
            self.key = key
        return self.network
