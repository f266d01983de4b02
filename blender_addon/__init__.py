"""Lookalike: portraits become animatable Gaussian head avatars. Scripts use `api`; Blender calls `register`."""

from .registration import register, unregister

__all__ = ["register", "unregister"]
