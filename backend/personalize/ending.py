"""How a personalization can end before its time; apart from the work itself, because who only watches needs no torch."""

from __future__ import annotations

from backend.protocol.errors import LookalikeError


class NoImprovementError(LookalikeError):
    """Held-out pixels did not get better."""

    code = "no_improvement"


class Enough(Exception):  # noqa: N818 - a wish, not a fault
    """Raised by a listener to end the work and keep the best so far."""
