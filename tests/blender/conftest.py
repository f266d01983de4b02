"""Blender tests run inside a `bpy` interpreter: the extension is staged as the zip holds it and imported as a package."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "lookalike_staged"
HAVE_BPY = importlib.util.find_spec("bpy") is not None
_STATUS = pytest.StashKey[int]()
collect_ignore_glob = [] if HAVE_BPY else ["*/test_*.py"]

if HAVE_BPY:
    sys.path.insert(0, str(ROOT))


def pytest_report_header() -> str:
    if not HAVE_BPY:
        return "bpy: not in this interpreter, the Blender tests are left out"
    import bpy

    return f"bpy: {bpy.app.version_string}"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End here: bpy 4.2, as a module, crashes in Python's own shutdown once a property with a callback was registered."""
    if "bpy" in sys.modules and _STATUS in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_STATUS])


@pytest.fixture(scope="session")
def staged() -> Iterator[Path]:
    """Folder of the staged extension, named as an importable package."""
    from build import stage

    with tempfile.TemporaryDirectory(prefix="lookalike-stage-") as folder:
        yield stage(Path(folder) / PACKAGE)


@pytest.fixture(scope="session")
def lookalike(staged: Path) -> Iterator[ModuleType]:
    """The staged add-on, registered as Blender registers it."""
    sys.path.insert(0, str(staged.parent))
    package = importlib.import_module(PACKAGE)
    package.register()
    yield package
    package.unregister()


@pytest.fixture
def empty_file() -> None:
    """A file without objects, as after File > New > General with everything deleted."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
