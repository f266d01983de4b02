#!/usr/bin/env python3
"""Set-up, demo, tests and extension zips of Lookalike: the one script a newcomer runs. Standard library only."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
STAGE = ROOT / "build" / "extension"


def stage(target: Path = STAGE) -> Path:
    """Lay out the extension as the zip holds it: add-on code at the root, `protocol/` and `shaders/` beside it."""
    if target.exists():
        shutil.rmtree(target)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "blender_addon", target, ignore=skip)
    shutil.copytree(ROOT / "backend" / "protocol", target / "protocol", ignore=skip)
    shutil.copytree(ROOT / "shaders", target / "shaders", ignore=skip)
    shutil.copy2(ROOT / "blender_manifest.toml", target)
    return target


if __name__ == "__main__":
    if sys.argv[1:] == ["stage"]:
        print(stage())
