"""A generator of multi-view heads with everything known about them."""

from .footage import SyntheticHeads
from .person import Views

__all__ = ["SyntheticHeads", "Views"]
