"""Where the backend is installed: what `build.py setup` wrote down, or the folder that the user names."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

SETUP_COMMAND = "python3 build.py setup"


@dataclass(frozen=True)
class Installation:
    """A backend on this machine: `python` runs it, `root` holds its package."""

    python: Path
    root: Path


def user_data_dir() -> Path:
    """Lookalike's folder for the user's data, the same one that platformdirs names in the backend, or `LOOKALIKE_DATA`."""
    if chosen := os.environ.get("LOOKALIKE_DATA"):
        return Path(chosen)
    if sys.platform == "win32":
        return _local_app_data() / "lookalike" / "lookalike"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "lookalike"
    base = os.environ.get("XDG_DATA_HOME", "").strip()
    return Path(base or Path.home() / ".local" / "share") / "lookalike"


def log_file() -> Path:
    """Where the backend writes its log: the same file that platformdirs names in the backend."""
    if sys.platform == "win32":
        return _local_app_data() / "lookalike" / "Logs" / "backend.log"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Logs" / "lookalike" / "backend.log"
    base = os.environ.get("XDG_STATE_HOME", "").strip()
    return Path(base or Path.home() / ".local" / "state") / "lookalike" / "log" / "backend.log"


def find_installation(folder: str = "") -> Installation:
    """The backend in `folder`, or, where that is empty, the one that `build.py setup` recorded.

    Raises:
        BackendError: there is none, or what is there cannot run.
    """
    if folder.strip():
        root = Path(folder.strip()).expanduser()
        return _checked(Installation(environment_python(root), root))
    return _checked(_recorded())


def _local_app_data() -> Path:
    return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")


def environment_python(root: Path) -> Path:
    """The Python of the environment that `build.py setup` makes in `root`."""
    return root / ".venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _recorded() -> Installation:
    from ..protocol import BackendError

    record = user_data_dir() / "backend.json"
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        return Installation(Path(facts["python"]), Path(facts["root"]))
    except FileNotFoundError as error:
        raise BackendError(
            "The backend is not installed on this computer",
            f"run “{SETUP_COMMAND}” in the Lookalike folder, or set Backend Folder in the add-on's preferences",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackendError(f"{record} cannot be used ({error})", f"run “{SETUP_COMMAND}” again") from error


def _checked(installation: Installation) -> Installation:
    from ..protocol import BackendError

    if not (installation.root / "backend" / "__main__.py").is_file():
        raise BackendError(f"There is no Lookalike backend in {installation.root}", "choose the folder that holds build.py")
    if not installation.python.is_file():
        raise BackendError(f"The backend in {installation.root} has no Python environment", f"run “{SETUP_COMMAND}” there")
    return installation
