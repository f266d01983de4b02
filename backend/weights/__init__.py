"""Weights that a user brings or fetches: known files, safe reading of foreign checkpoints, one folder of safetensors."""
