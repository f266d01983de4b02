"""GAGAvatar (Chu & Harada 2024): the released network, with weights and FLAME that the user brings."""

from .reconstructor import GAGAvatar

__all__ = ["GAGAvatar"]
