"""Bake: what a refiner draws becomes colours of native splats that follow the face, so that Blender shows it without a network."""

from .bake import Baked, bake
from .plan import Frame, plan_frames

__all__ = ["Baked", "Frame", "bake", "plan_frames"]
