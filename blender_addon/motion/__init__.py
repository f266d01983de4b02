"""Performances as arrays: files and streams in, names matched, resampled, smoothed and reduced to keys. No bpy anywhere in here."""
