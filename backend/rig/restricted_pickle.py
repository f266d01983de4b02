"""FLAME's pickles, read without running anything that they ask for: arrays, SciPy's sparse matrices and chumpy's wrappers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import scipy.sparse as sp
from numpy.typing import NDArray

from backend.protocol import restricted_pickle
from backend.protocol.errors import RigError
from backend.protocol.restricted_pickle import MAX_BYTES, Budget, Recorder, plain


def read_pickle(path: str | Path) -> Any:
    """The plain content of a pickle: dicts, lists, strings, numbers and NumPy arrays (sparse ones made dense).

    Args:
        path: a pickle of any protocol, as Python 2 or 3 wrote it.
    Raises:
        RigError: missing, too large, corrupt, or asking for anything outside the fixed list of names.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RigError(f"{path.name}: {path.stat().st_size >> 20} MB is more than a rig can be")
        data = path.read_bytes()
    except OSError as error:
        raise RigError(f"{path.name}: cannot be read ({error.strerror})", "check the path") from error
    return parse_pickle(data, path.name)


def parse_pickle(data: bytes, name: str = "pickle") -> Any:
    """As `read_pickle`, from bytes; `name` is for messages."""
    return restricted_pickle.parse_pickle(data, name, RigError, _ADMITTED)


class _Sparse(Recorder):
    """Records a compressed sparse matrix."""

    kind: ClassVar[type]

    def array(self, budget: Budget) -> NDArray[Any]:
        shape = tuple(int(n) for n in plain(self.state["_shape"], budget))
        if len(shape) != 2 or min(shape) < 0:
            raise ValueError(f"sparse matrix of shape {shape}")
        data, indices, indptr = (plain(self.state[key], budget) for key in ("data", "indices", "indptr"))
        budget.take(shape[0] * shape[1] * data.itemsize)
        matrix = self.kind((data, indices, indptr), shape=shape)
        matrix.check_format(full_check=True)
        return matrix.toarray()


class _Csc(_Sparse):
    kind = sp.csc_matrix


class _Csr(_Sparse):
    kind = sp.csr_matrix


class _Chumpy(Recorder):
    """Records a chumpy array; its value is the attribute x."""

    def array(self, budget: Budget) -> Any:
        return plain(self.state["x"], budget, 1)


_ADMITTED: dict[tuple[str, str], type] = {("chumpy.ch", "Ch"): _Chumpy}
for _name, _recorder in (("csc", _Csc), ("csr", _Csr)):
    for _module in (f"scipy.sparse.{_name}", f"scipy.sparse._{_name}"):
        _ADMITTED |= {(_module, f"{_name}_matrix"): _recorder, (_module, f"{_name}_array"): _recorder}
