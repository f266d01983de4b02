"""Adapting a model, or what it made, to one person: low-rank adapters taught with 3D registers, photometric refinement."""
