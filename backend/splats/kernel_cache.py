"""Where Numba keeps the compiled kernels, decided before Numba is first imported.

A kernel compiles for seconds and loads for milliseconds, so the machine code must be kept. Numba
writes it to ``__pycache__`` beside the source and, where that is read-only, to a folder of the user;
with neither it refuses to compile at all, which this module prevents.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import platformdirs


def prepare() -> None:
    """Set ``NUMBA_CACHE_DIR`` when the package's folder is not writable and the user has not chosen one."""
    if "NUMBA_CACHE_DIR" in os.environ or _writable(Path(__file__).parent / "__pycache__"):
        return
    folder = Path(platformdirs.user_cache_dir("lookalike", appauthor=False)) / "numba"
    if not _writable(folder):
        # Private to this process: a shared temporary folder would let another user plant machine code.
        folder = Path(tempfile.mkdtemp(prefix="lookalike-numba-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


prepare()
