"""A pickle from anywhere: nothing in it runs, nothing in it exhausts memory, and every failure is one kind of error."""

from __future__ import annotations

import contextlib
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.protocol.errors import RigError
from backend.rig.restricted_pickle import parse_pickle

CALLED: list[str] = []


def spy(text: str) -> str:
    CALLED.append(text)
    return text


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Extension:
    pass


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "payload",
    [
        Calls(os.system, "touch hacked"),
        Calls(eval, "__import__('os').system('touch hacked')"),
        Calls(getattr, "text", "format"),
        Calls(__import__, "os"),
        Calls(np.load, "x.npy"),
        {"v_template": Calls(Calls, Calls(os.system, "touch hacked"))},
        [Calls(np.memmap, "hacked", "u1", "w+", 0, (10,))],
        Extension(),
    ],
    ids=["system", "eval", "getattr", "import", "numpy.load", "nested", "memmap", "class"],
)
def test_hostile_calls_are_refused(payload, protocol: int, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RigError, match=r"asks for|refers"):
        parse_pickle(pickle.dumps(payload, protocol=protocol))
    assert list(tmp_path.iterdir()) == []


def test_a_function_of_this_test_is_not_called():
    with pytest.raises(RigError):
        parse_pickle(pickle.dumps(Calls(spy, "called")))
    assert CALLED == []


def test_admitted_names_cannot_be_turned_into_others():
    """Dotted names, BUILD on a class, and calls of the marker classes lead nowhere."""
    dotted = b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93."
    with pytest.raises(RigError, match=r"numpy\.ndarray\.dump"):
        parse_pickle(dotted)
    build_on_class = b"\x80\x02cchumpy.ch\nCh\nN}X\x05\x00\x00\x00arrayNs\x86b."
    with pytest.raises(RigError, match=r"sealed|not a readable pickle"):
        parse_pickle(build_on_class)
    from backend.rig import restricted_pickle

    assert callable(restricted_pickle._Chumpy.array)
    huge = b"\x80\x02cnumpy\nndarray\n(\x8a\x05\x00\x00\x00\x00\x10t\x85R."
    with pytest.raises(RigError):
        parse_pickle(huge)


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02r\xff\xff\xff\x7f.",
        b"\x80\x02Nr\xff\xff\xff\x7f.",
        b"N" + b"p2147483647\n.",
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x80\x02\x8b" + struct.pack("<i", 1 << 30) + b".",
    ],
    ids=["memo on nothing", "memo", "memo as text", "bytearray", "bytes", "long"],
)
def test_nothing_large_is_allocated(data: bytes):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RigError):
        parse_pickle(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_arrays_whose_bytes_do_not_fill_their_shape_are_refused():
    array = np.arange(6, dtype=np.float64).reshape(2, 3)
    data = pickle.dumps(array, protocol=2)
    assert np.array_equal(parse_pickle(data), array)
    reduced = array.__reduce__()
    for state in (
        (1, (10**9, 10**9), np.dtype("f8"), False, b"12345678"),
        (1, (-1, 3), np.dtype("f8"), False, b""),
        (1, (2,), np.dtype("O"), False, [1, 2]),
        (1, (2, 3), np.dtype("S8"), False, b"x" * 48),
    ):
        hostile = Calls(reduced[0], *reduced[1])
        hostile.__class__ = type("Hostile", (), {"__reduce__": lambda self, s=state: (reduced[0], reduced[1], s)})
        with pytest.raises(RigError, match="not a readable pickle"):
            parse_pickle(pickle.dumps(hostile, protocol=2))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_honest_content_comes_through(protocol: int):
    import scipy.sparse as sp

    content = {
        "f8": np.random.default_rng(0).standard_normal((4, 3)),
        "f4 fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "u4": np.array([[4294967295, 1]], np.uint32),
        "big endian": np.arange(3, dtype=">i8"),
        "bool": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "scalar": np.float32(1.5),
        "csc": sp.csc_matrix(np.eye(3)),
        "csr": sp.csr_array(np.diag([1.0, 2.0])),
        "text": "lbs", "bytes": b"\xff\x00", "number": 3, "none": None, "list": [1.0, (2, 3)],
    }  # fmt: skip
    result = parse_pickle(pickle.dumps(content, protocol=protocol))
    for key in ("f8", "f4 fortran", "u4", "big endian", "bool", "empty"):
        assert np.array_equal(result[key], content[key]), key
        assert result[key].dtype == content[key].dtype.newbyteorder("="), key
    assert result["scalar"] == np.float32(1.5)
    assert np.array_equal(result["csc"], np.eye(3))
    assert np.array_equal(result["csr"], np.diag([1.0, 2.0]))
    assert (result["text"], result["bytes"], result["number"], result["none"]) == ("lbs", b"\xff\x00", 3, None)
    assert result["list"] == [1.0, (2, 3)]


SEED = pickle.dumps({"a": np.arange(4.0), "b": [1, {"c": "text"}]}, protocol=2)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_rig_error(data: bytes):
    with contextlib.suppress(RigError):
        parse_pickle(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=6), st.booleans())
def test_any_damage_gives_a_value_or_a_rig_error(at: int, patch: bytes, cut: bool):
    data = SEED[:at] + patch + (b"" if cut else SEED[at + len(patch) :])
    with contextlib.suppress(RigError):
        parse_pickle(data)


def doubled(start: bytes, levels: int, pair: bytes) -> bytes:
    """A pickle in which each level refers twice to the one below."""
    body = start + b"q\x00"
    for level in range(levels):
        body += b"0" + pair.replace(b"?", bytes([level])) + b"q" + bytes([level + 1])
    return b"\x80\x02" + body + b"."


@pytest.mark.parametrize(
    "data",
    [
        doubled(b"](K\x00" + b"K\x00" * 7 + b"e", 13, b"](" + b"h?" * 8 + b"e"),
        doubled(b"K\x00", 13, b"}(K\x00h?K\x01h?K\x02h?K\x03h?K\x04h?K\x05h?u"),
        doubled(b"K\x00", 40, b"cchumpy.ch\nCh\n)R}X\x01\x00\x00\x00x](h?h?esb"),
    ],
    ids=["lists", "dicts", "wrappers"],
)
def test_shared_references_do_not_unfold_without_bound(data: bytes):
    assert len(data) < 3000
    with pytest.raises(RigError, match="shared values"):
        parse_pickle(data)


def calls(function: bytes, argument: bytes, count: int) -> bytes:
    """A pickle of a list of `count` calls with one shared argument."""
    return b"\x80\x02" + function + b"q\x00" + argument + b"q\x010](" + b"h\x00h\x01\x85R" * count + b"e."


def test_shared_arrays_and_text_do_not_unfold_without_bound():
    array = np.zeros(1 << 20, np.uint8)
    few, many = (parse_or_message(pickle.dumps([array] * n, protocol=4)) for n in (3, 1000))
    assert len(few) == 3
    assert all(np.array_equal(one, array) for one in few)
    assert "shared arrays" in many
    text = b"X" + struct.pack("<I", 1 << 20) + b"x" * (1 << 20)
    assert parse_or_message(calls(b"c_codecs\nencode\n", text, 3)) == [b"x" * (1 << 20)] * 3
    assert "shared arrays" in parse_or_message(calls(b"c_codecs\nencode\n", text, 1000))


def test_sparse_matrices_that_are_large_when_dense_are_refused():
    import scipy.sparse as sp

    assert "shared arrays" in parse_or_message(pickle.dumps({"j": sp.csc_matrix((5000, 5000))}, protocol=2))


def parse_or_message(data: bytes):
    try:
        return parse_pickle(data)
    except RigError as error:
        return str(error)
