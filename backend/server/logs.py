"""Where the backend's log goes: a rotating file of the user's log folder, and standard error."""

from __future__ import annotations

import logging
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

import platformdirs

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_file(directory: Path | None = None) -> Path:
    """The log's path; `directory` overrides the system's place for logs."""
    folder = directory or Path(platformdirs.user_log_dir("lookalike", appauthor=False))
    return folder / "backend.log"


def set_up_logging(level: str = "INFO", directory: Path | None = None, to_stderr: bool = True) -> Path | None:
    """Send the root logger to the file (5 x 2 MB) and standard error; None where the file cannot be written.

    A backend whose log folder is read-only still serves: standard error then says so.
    """
    path = log_file(directory)
    root = logging.getLogger()
    root.setLevel(level)
    formatter = logging.Formatter(FORMAT)
    if to_stderr:
        stream = logging.StreamHandler(sys.stderr)
        stream.setFormatter(formatter)
        root.addHandler(stream)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = RotatingFileHandler(path, maxBytes=2 << 20, backupCount=4, encoding="utf-8")
    except OSError as error:
        root.warning("no log file at %s: %s", path, error.strerror)
        return None
    file.setFormatter(formatter)
    root.addHandler(file)
    return path
