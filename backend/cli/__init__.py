"""The command line: `python -m backend`, or `lookalike` where it is installed."""

from .main import main

__all__ = ["main"]
