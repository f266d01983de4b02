"""Weights that a user brings: reading foreign checkpoints safely."""
