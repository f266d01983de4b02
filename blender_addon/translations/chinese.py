"""Simplified Chinese."""

CHINESE: dict[str, str] = {}
