"""Thin operators over `blender_addon.api`."""
