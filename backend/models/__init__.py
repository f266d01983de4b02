"""Feed-forward and classical reconstructors behind one interface: portraits and a rig in, an avatar out."""

from backend.protocol import LookalikeError

from .interface import Listener, Reconstructor, Refining, Silent

__all__ = ["Listener", "Reconstructor", "Refining", "Silent", "model_names", "reconstructor"]


def model_names() -> tuple[str, ...]:
    """What `reconstructor` accepts, the default first."""
    return ("projection", "omg", "gagavatar", "ffavatar", "instant")


def reconstructor(name: str = "projection") -> Reconstructor:
    """The reconstructor of that name.

    Raises:
        LookalikeError: no such model.
    """
    if name == "projection":
        from .projection import Projection

        return Projection()
    if name == "omg":
        from .omg import OMG

        return OMG()
    if name == "gagavatar":
        from .gagavatar import GAGAvatar

        return GAGAvatar()
    if name == "ffavatar":
        from .ffavatar import FFAvatar

        return FFAvatar()
    if name == "instant":
        from .instant import Instant

        return Instant()
    raise LookalikeError(f"no model named {name!r}", f"choose one of: {', '.join(model_names())}")
