"""The add-on enabled as Blender does it, and a real backend process with a synthetic pipeline for it to find."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[3]

BACKEND_MAIN = """
import sys
sys.path.insert(0, {root!r})
{before}
from backend.server import ServerOptions, serve
pid = int(sys.argv[sys.argv.index("--parent-pid") + 1])
serve(ServerOptions(pipeline="tests.blender.ui.synthetic_pipeline", handover="--handover" in sys.argv, parent_pid=pid))
"""


@pytest.fixture
def addon(staged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The add-on, enabled in an empty file: `api`, `tick`, `backend`, `preferences`, `protocol` and `name` of its package."""
    import addon_utils
    import bpy

    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOOKALIKE_DATA", str(tmp_path / "data"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    sys.path.insert(0, str(staged.parent))
    name = staged.name
    registered = _take_over(name)
    package = addon_utils.enable(name, default_set=True, handle_error=_raise)
    part: Callable[[str], ModuleType] = lambda path: importlib.import_module(f"{name}.{path}")
    backend = part("client").backend
    yield SimpleNamespace(
        name=name,
        package=package,
        part=part,
        api=part("api"),
        tick=part("client.tick"),
        backend=backend,
        protocol=part("protocol"),
        preferences=bpy.context.preferences.addons[name].preferences,
        session=bpy.context.window_manager.lookalike,
    )
    addon_utils.disable(name, default_set=True, handle_error=_raise)
    assert not backend.running
    sys.path.remove(str(staged.parent))
    if registered is not None:
        registered.register()


@pytest.fixture
def installed(addon: SimpleNamespace, tmp_path: Path) -> Path:
    """A backend that the add-on finds by itself, as after `build.py setup`: this Python with the synthetic pipeline."""
    return install_backend(tmp_path / "installed")


def install_backend(root: Path, before: str = "", main: str = BACKEND_MAIN, python: Path = Path(sys.executable)) -> Path:
    """Lay out a backend in `root` and record it as `build.py setup` does; `before` is run before it starts."""
    package = root / "backend"
    package.mkdir(parents=True)
    real = str(ROOT / "backend")
    (package / "__init__.py").write_text(f"__path__.append({real!r})\nexec(open({real + '/__init__.py'!r}).read())\n")
    (package / "__main__.py").write_text(main.format(root=str(ROOT), before=before))
    data = Path(os.environ["LOOKALIKE_DATA"])
    data.mkdir(exist_ok=True)
    (data / "backend.json").write_text(json.dumps({"python": str(python), "root": str(root)}))
    return root


@pytest.fixture
def other_backend(installed: Path, pump: Callable[..., float]) -> Iterator[dict[str, object]]:
    """A backend that somebody else started on this computer; what its connection file says."""
    command = [sys.executable, "-m", "backend", "serve", "--parent-pid", str(os.getpid())]
    process = subprocess.Popen(command, cwd=installed)
    file = Path(os.environ["LOOKALIKE_HOME"]) / "connection.json"
    pump(file.exists)
    yield json.loads(file.read_text())
    process.terminate()
    process.wait(10)


@pytest.fixture
def photo(tmp_path: Path) -> Callable[[str], Path]:
    """Make a file that counts as a photo; the synthetic pipeline goes by its name."""

    def make(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(b"a photo")
        return path

    return make


@pytest.fixture
def pump(addon: SimpleNamespace) -> Callable[..., float]:
    """Let the add-on's tick run until something holds; fails after `seconds`, returns how long it took."""

    def run(until: Callable[[], object], seconds: float = 10.0) -> float:
        began = time.monotonic()
        while not until():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; backend: {addon.api.backend_status()}"
            addon.tick.pump()
            time.sleep(0.01)
        return time.monotonic() - began

    return run


@pytest.fixture
def avatar_file(tmp_path: Path) -> Path:
    """A small avatar as a file."""
    from backend.protocol import write_avatar
    from tests.synthetic import synthetic_avatar

    path = tmp_path / "ada.lookalike"
    write_avatar(path, synthetic_avatar())
    return path


def _raise(error: BaseException) -> None:
    raise error


def _take_over(name: str) -> ModuleType | None:
    """Take back what the session's `lookalike` fixture may have registered."""
    import bpy

    if not hasattr(bpy.types.Collection, "lookalike"):
        return None
    package = importlib.import_module(name)
    package.unregister()
    return package
