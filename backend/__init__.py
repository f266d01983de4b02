"""Lookalike's backend: portraits in, animatable Gaussian head avatars out. Never imports Blender."""

__version__ = "0.1.0"
