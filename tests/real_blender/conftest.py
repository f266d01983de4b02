"""The built extension in real Blender windows. Needs root on a Debian-like host, or LOOKALIKE_BLENDER=/path/to/blender.

Environment: LOOKALIKE_BLENDER (any binary instead of Debian's), LOOKALIKE_CACHE (where root tarballs are kept),
LOOKALIKE_BLENDER_ROOTS (a folder of unpacked roots to use, one a suite). Screenshots are kept in artefacts/.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from backend.protocol import write_avatar
from tests.synthetic import portrait_avatar, synthetic_avatar

from .window import Blender, UnavailableError, find

BLENDERS = (("binary", "opengl"),) if "LOOKALIKE_BLENDER" in os.environ else (("sid", "opengl"), ("trixie", "opengl"))
WITH_VULKAN = BLENDERS if "LOOKALIKE_BLENDER" in os.environ else (*BLENDERS, ("sid", "vulkan"))
_found: dict[tuple[str, str], Blender | UnavailableError] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.real_blender)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory):
    """Where Debian roots are unpacked for this session."""
    folder = tmp_path_factory.mktemp("roots")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every Blender; with Vulkan only where a module says that its findings depend on the graphics backend; or the newest alone."""
    if "blender" in metafunc.fixturenames:
        chosen = WITH_VULKAN if getattr(metafunc.module, "EVERY_GRAPHICS_BACKEND", False) else BLENDERS
        chosen = chosen[:1] if getattr(metafunc.module, "NEWEST_ONLY", False) else chosen
        metafunc.parametrize("blender", chosen, ids="-".join, indirect=True, scope="session")


@pytest.fixture(scope="session")
def blender(request: pytest.FixtureRequest, roots: Path) -> Blender:
    """Each Blender in turn; skipped, with the reason, where it cannot be had."""
    if request.param not in _found:
        try:
            _found[request.param] = find(*request.param, roots)
        except UnavailableError as reason:
            _found[request.param] = reason
    found = _found[request.param]
    if isinstance(found, UnavailableError):
        pytest.skip(str(found))
    return found


@pytest.fixture(scope="session")
def extension_zip() -> Path:
    """The zip that a user installs, for this platform."""
    from build import package, this_platform

    return package([this_platform()])[0]


@pytest.fixture(scope="session")
def share(blender: Blender, extension_zip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that Blender sees: the extension and avatars to open."""
    folder = tmp_path_factory.mktemp(f"share-{blender.name}-{blender.gpu}")
    shutil.copy2(extension_zip, folder / "lookalike.zip")
    write_avatar(folder / "synthetic.lookalike", synthetic_avatar())
    write_avatar(folder / "portrait.lookalike", portrait_avatar())
    return folder
