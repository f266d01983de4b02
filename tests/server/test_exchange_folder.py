"""Folders of killed backends are removed, those of living ones never, whatever process ids say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from backend.server import exchange_folder
from backend.server.exchange_folder import ExchangeFolder
from tests.server.conftest import ROOT


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange_folder, "_base", lambda: tmp_path)
    return tmp_path


def age(path) -> None:
    os.utime(path, (1, 1))


def test_living_folder_survives_the_start_of_another(base):
    first = ExchangeFolder()
    first.write("job.lod0", b"arrays")
    age(first.path)
    second = ExchangeFolder()
    assert first.size("job.lod0") == 6
    first.close()
    second.close()
    assert list(base.iterdir()) == []


def test_folder_of_a_killed_backend_is_removed(base):
    code = (
        "import sys, os, pathlib\n"
        "from backend.server import exchange_folder\n"
        "exchange_folder._base = lambda: pathlib.Path(sys.argv[1])\n"
        "exchange_folder.ExchangeFolder()\n"
        "os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(base)], cwd=ROOT, check=False)
    (left,) = base.iterdir()
    young = ExchangeFolder()
    assert left.exists(), "a folder this young may be on its way up"
    age(left)
    ExchangeFolder().close()
    assert not left.exists()
    young.close()


@pytest.mark.skipif(os.name != "posix", reason="symbolic links")
def test_links_are_left_alone(base, tmp_path_factory):
    treasure = tmp_path_factory.mktemp("treasure")
    (treasure / "keep").write_text("me")
    (base / "lookalike-exchange-link").symlink_to(treasure)
    ExchangeFolder().close()
    assert (treasure / "keep").exists()


def test_files_come_and_go(base):
    folder = ExchangeFolder()
    assert folder.write("a", b"123") == 3
    folder.remove("a")
    folder.remove("a")
    assert not (folder.path / "a").exists()
    assert folder.budget > 0
    if os.name == "posix":
        assert folder.path.stat().st_mode & 0o077 == 0
    folder.close()
