"""Renaming in the panel's list."""

from __future__ import annotations

import pytest

from .window import Run


@pytest.fixture(scope="module")
def rename(blender, share) -> Run:
    return blender.run("rename", share, timeout=300)


def parts(name: str) -> list[str]:
    objects = [name, f"{name}.head", f"{name}.shadow", *(f"{name}.splats.lod{level}" for level in range(3))]
    return [name, *objects, *objects]


def test_a_name_typed_in_the_list_goes_to_every_part(rename) -> None:
    assert rename.findings["renamed"] == parts("Grace")


def test_undo_takes_it_back(rename) -> None:
    assert rename.findings["undone"] == parts("synthetic")
