"""The built-in open head: a procedural parametric head whose only data are the landmark net's own neutral positions."""

from __future__ import annotations

import logging
from functools import cache

from backend.rig.rig import Rig

from .disk_cache import cache_folder, read, version_hash, write
from .disk_cache import to_bytes as _to_bytes

_log = logging.getLogger(__name__)


@cache
def builtin_head() -> Rig:
    """The built-in open head in FLAME's layout; from the cache, or built (a few seconds) and cached.

    Its first 468 vertices are MediaPipe's 468 surface landmarks; `landmarks` has the eyeballs' poles for the iris
    centres 468 (right) and 473 (left) and -1 for the iris rims. The arrays are shared and read-only.
    """
    path = cache_folder() / f"head-{version_hash()}.safetensors"
    rig = read(path)
    if rig is None:
        from .assemble import build

        rig = build()
        try:
            write(path, _to_bytes(rig))
        except OSError as error:
            _log.warning("the built-in head cannot be cached in %s: %s", path.parent, error)
    for array in (rig.template, rig.faces, rig.shape_basis, rig.expression_basis, rig.weights, *rig.labels.values()):
        array.flags.writeable = False
    return rig
