"""MediaPipe's small face nets, taken once from its wheel and run in plain torch."""

from .executor import Net
from .store import NETS, Nets, load_nets, nets_path

__all__ = ["NETS", "Net", "Nets", "load_nets", "nets_path"]
