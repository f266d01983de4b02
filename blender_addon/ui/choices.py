"""The models and rigs that the backend offers, as enum items."""

from __future__ import annotations

import bpy

from ..client import backend

DEFAULT = "DEFAULT"

_kept: dict[str, list[tuple[str, str, str]]] = {}
"""Blender keeps only pointers to the strings of dynamic items, so they must stay referenced here."""


def model_items(session: bpy.types.PropertyGroup, context: bpy.types.Context) -> list[tuple[str, str, str]]:
    """Items of the reconstruction models; one default before the backend has told what it has."""
    return _items("models", "The backend's default model")


def rig_items(session: bpy.types.PropertyGroup, context: bpy.types.Context) -> list[tuple[str, str, str]]:
    """Items of the rigs; one default before the backend has told what it has."""
    return _items("rigs", "The built-in open head")


def chosen(value: str) -> str:
    """The name that the backend expects for an item: empty for its default."""
    return "" if value in {"", DEFAULT} else value


def chosen_rig(session: bpy.types.PropertyGroup) -> str:
    """The user's own file, else the item's name, else empty."""
    return bpy.path.abspath(session.rig_file) if session.rig_file else chosen(session.rig)


def chosen_method(session: bpy.types.PropertyGroup) -> str:
    """How to personalize, as the wire names it; empty for what fits the avatar."""
    return "" if session.personalize_method == "AUTO" else session.personalize_method


def _items(kind: str, default: str) -> list[tuple[str, str, str]]:
    offered = backend.offers(kind)
    items = [(DEFAULT, "Default", default), *((name, name, description) for name, description in offered)]
    if _kept.get(kind) != items:
        _kept[kind] = items
    return _kept[kind]
