"""A small avatar in an empty file, and the packages under test."""

from __future__ import annotations

import importlib
from types import ModuleType, SimpleNamespace

import pytest

from tests.synthetic import synthetic_avatar


@pytest.fixture(scope="session")
def arrays():
    return synthetic_avatar()


@pytest.fixture
def addon(lookalike: ModuleType, empty_file: None) -> SimpleNamespace:
    """Parts of the staged add-on by name: ``addon.part("editing.edits")``."""
    part = lambda name: importlib.import_module(f"{lookalike.__name__}.{name}")
    return SimpleNamespace(part=part, api=part("api"), editing=part("editing"), interchange=part("interchange"), avatar=part("avatar"))


@pytest.fixture
def avatar(addon: SimpleNamespace, arrays):
    """The avatar's collection."""
    import bpy

    return addon.avatar.build_avatar(arrays, bpy.context.scene.collection).collection
