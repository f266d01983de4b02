"""One door to every rig: by name or by file, told apart by content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from backend.protocol.errors import RigError

from .builtin import builtin_head
from .flame import load_flame
from .ict import describes_ict, load_ict
from .rig import Rig

BUILTIN = "builtin"


def load_rig(name_or_path: str | Path) -> Rig:
    """A rig by name or path.

    Args:
        name_or_path: "builtin"; a FLAME .pkl, .npz or .safetensors; an ICT-FaceKit folder or .npz.
    Raises:
        RigError: no such rig, or a file that is not one; says what is wrong with it.
    """
    if str(name_or_path) == BUILTIN:
        return builtin_head()
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return load_ict(path)
    if not path.is_file():
        raise RigError(
            f"no rig named '{name_or_path}' and no file of that name", "use 'builtin' or the path of a FLAME or ICT-FaceKit file"
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            keys = {Path(entry).stem for entry in archive.namelist()}
        return load_ict(path) if describes_ict(keys) else load_flame(path)
    return load_flame(path)
