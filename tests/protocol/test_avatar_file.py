"""The .lookalike file: exact, atomic, and deaf to everything hostile."""

from __future__ import annotations

import json
import math
import os
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from backend.protocol.adapters import add, difference
from backend.protocol.avatar import Adapter, Avatar, SplatArrays
from backend.protocol.avatar_file import FORMAT_VERSION, check_splats, decode_avatar, encode_avatar, read_avatar, write_avatar
from backend.protocol.errors import AvatarFileError
from tests.synthetic import synthetic_avatar

AVATAR = synthetic_avatar(1)
DATA = encode_avatar(AVATAR)
SPLAT_FIELDS = ("position", "rotation", "scale", "opacity", "sh", "face", "barycentric")


def header_of(data: bytes) -> tuple[dict, dict]:
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lookalike"]), load(data)


def rewritten(header: dict | None = None, tensors: dict | None = None) -> bytes:
    """The good file with some header entries and tensors replaced; None removes one."""
    old_header, old_tensors = header_of(DATA)
    new_header = {k: v for k, v in (old_header | (header or {})).items() if v is not None}
    new_tensors = {k: v for k, v in (old_tensors | (tensors or {})).items() if v is not None}
    return save(new_tensors, metadata={"lookalike": json.dumps(new_header)})


def test_file_is_exact(tmp_path):
    avatar = synthetic_avatar()
    path = tmp_path / "ada.lookalike"
    write_avatar(path, avatar)
    again = read_avatar(path)
    assert again.provenance == avatar.provenance
    assert again.rig.joint_names == avatar.rig.joint_names
    assert again.rig.expression_names == avatar.rig.expression_names
    for field in ("vertices", "faces", "joints", "parents", "weights", "expressions"):
        np.testing.assert_array_equal(getattr(again.rig, field), getattr(avatar.rig, field))
    for ours, theirs in zip((*again.lods, again.shoulders), (*avatar.lods, avatar.shoulders), strict=True):
        for field in SPLAT_FIELDS:
            np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field))
    assert again.drivers[0].expression == avatar.drivers[0].expression
    assert again.drivers[0].size == (512, 512)
    assert len(again.splats(2)) == len(avatar.lods[2]) + len(avatar.shoulders)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enabled": "false"}, "neither on nor off"),
        ({"enabled": 1}, "neither on nor off"),
        ({"facts": {"psnr": math.nan}}, "not JSON compliant"),
        ({"facts": {"curve": [{"at": math.inf}]}}, "not JSON compliant"),
        ({"facts": [["a", 1]]}, "no table"),
    ],
)
def test_adapters_of_doubtful_words_are_refused(change, message):
    levels = difference(AVATAR.lods, AVATAR.lods)
    data = encode_avatar(add(AVATAR, Adapter("photos", "photometric", "2026", False, {"psnr": 1.0}, levels)))
    assert not decode_avatar(data).adapters[0].enabled
    header, tensors = header_of(data)
    (entry,) = header["adapters"]
    with pytest.raises(AvatarFileError, match=message):
        decode_avatar(save(tensors, metadata={"lookalike": json.dumps({**header, "adapters": [{**entry, **change}]})}))


def test_features_of_a_refiner_travel_with_the_avatar():
    features = {"head": np.arange(6, dtype=np.float16).reshape(3, 2), "camera": np.eye(4, dtype=np.float32)}
    again = decode_avatar(encode_avatar(replace(AVATAR, features=features)))
    assert set(again.features) == {"head", "camera"}
    for name, array in features.items():
        assert again.features[name].dtype == array.dtype
        np.testing.assert_array_equal(again.features[name], array)
    assert not decode_avatar(DATA).features


@pytest.mark.parametrize("bad", [np.array([np.nan], np.float16), np.array([np.inf], np.float32), np.zeros(2, np.int32)])
def test_impossible_features_are_refused(bad):
    with pytest.raises(AvatarFileError, match="features/head"):
        decode_avatar(rewritten(tensors={"features/head": bad}))


def test_avatar_without_shoulders_or_drivers():
    nothing = SplatArrays(*(getattr(AVATAR.shoulders, f)[:0] for f in SPLAT_FIELDS))
    again = decode_avatar(encode_avatar(Avatar(AVATAR.rig, AVATAR.lods, nothing)))
    assert len(again.shoulders) == 0
    assert again.drivers == ()
    assert again.name == "avatar"


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "ada.lookalike"
    write_avatar(path, AVATAR)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AvatarFileError, match=r"ada.lookalike: cannot be written \(No space left on device\); choose another folder"):
        write_avatar(path, synthetic_avatar(2))
    assert path.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["ada.lookalike"]


def test_missing_and_unwritable_are_told(tmp_path):
    with pytest.raises(AvatarFileError, match="cannot be read"):
        read_avatar(tmp_path / "nothing.lookalike")
    with pytest.raises(AvatarFileError, match="cannot be read"):
        read_avatar(tmp_path)
    with pytest.raises(AvatarFileError, match="cannot be written"):
        write_avatar(tmp_path / "no" / "folder.lookalike", AVATAR)


def test_newer_version_is_told():
    with pytest.raises(AvatarFileError, match=rf"x: format version 9, this software reads {FORMAT_VERSION}; update Lookalike"):
        decode_avatar(rewritten({"format": 9}), "x")


def test_sparse_giant_is_refused_unread(tmp_path):
    path = tmp_path / "giant.lookalike"
    with open(path, "wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(AvatarFileError, match="3072 MiB is more than an avatar file may have"):
        read_avatar(path)


def splat_count() -> int:
    return len(AVATAR.lods[0])


BROKEN_HEADERS = [
    {"format": None},
    {"format": float("inf")},
    {"lods": 0},
    {"lods": 4},
    {"lods": 2},
    {"lods": "many"},
    {"lods": float("inf")},
    {"joint_names": ["root"]},
    {"joint_names": 5},
    {"joint_names": ["root", "root", "jaw", "eye_left", "eye_right"]},
    {"expression_names": ["a" * 64, "b", "c"]},
    {"expression_names": ["", "b", "c"]},
    {"drivers": [{"expression": {"a": float("nan")}, "size": [1, 1]}]},
    {"drivers": [{"expression": [], "size": [1, 1]}]},
    {"drivers": [{"expression": {}, "size": []}]},
    {"drivers": [{"expression": {}, "size": [0, -5]}]},
    {"drivers": [{"expression": {}, "size": [1, 1]}] * 2},
    {"drivers": 3},
    {"provenance": 3},
    {"provenance": None},
    {"rig_id": None},
]


@pytest.mark.parametrize("header", BROKEN_HEADERS, ids=str)
def test_broken_header_is_refused(header):
    with pytest.raises(AvatarFileError, match=r"^x: "):
        decode_avatar(rewritten(header), "x")


BROKEN_TENSORS = {
    "missing": {"lod0/position": None},
    "wrong dtype": {"lod0/position": np.zeros((splat_count(), 3), np.float64)},
    "integer as float": {"rig/faces": AVATAR.rig.faces.astype(np.float32)},
    "NaN": {"lod0/scale": np.full((splat_count(), 3), np.nan, np.float32)},
    "infinity": {"rig/vertices": np.full_like(AVATAR.rig.vertices, np.inf)},
    "zero scale": {"lod0/scale": np.zeros((splat_count(), 3), np.float32)},
    "opacity over one": {"lod0/opacity": np.full(splat_count(), 1.5, np.float32)},
    "zero quaternion": {"lod0/rotation": np.zeros((splat_count(), 4), np.float32)},
    "face out of range": {"lod0/face": np.full(splat_count(), len(AVATAR.rig.faces), np.int32)},
    "negative face": {"shoulders/face": np.full(len(AVATAR.shoulders), -1, np.int32)},
    "counts differ": {"lod0/opacity": np.ones(3, np.float32)},
    "SH of no degree": {"lod0/sh": np.zeros((splat_count(), 2, 3), np.float32)},
    "flat SH": {"lod0/sh": np.zeros((splat_count(), 3), np.float32)},
    "triangle out of range": {"rig/faces": AVATAR.rig.faces + 10**6},
    "parents in a circle": {"rig/parents": np.array([-1, 2, 1, 1, 1], np.int32)},
    "no root": {"rig/parents": np.array([0, 0, 1, 1, 1], np.int32)},
    "weights of other joints": {"rig/weights": np.ones((len(AVATAR.rig.vertices), 6), np.float32)},
    "expressions of another mesh": {"rig/expressions": np.zeros((3, 7, 3), np.float32)},
    "pose of other joints": {"driver0/pose": np.zeros((6, 3), np.float32)},
    "flat camera": {"driver0/world_to_camera": np.zeros(16, np.float32)},
    "empty rig": {"rig/vertices": np.zeros((0, 3), np.float32)},
}


@pytest.mark.parametrize("name", BROKEN_TENSORS)
def test_broken_arrays_are_refused(name):
    with pytest.raises(AvatarFileError, match=r"^x: not a valid avatar"):
        decode_avatar(rewritten(tensors=BROKEN_TENSORS[name]), "x")


_OVERFLOWING = (
    b'{"__metadata__": {"lookalike": "{\\"format\\": 1}"}, '
    b'"a": {"dtype": "F32", "shape": [4611686018427387904, 4], "data_offsets": [0, 0]}}'
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, np.float32(3e38)])
@pytest.mark.parametrize("field", ["position", "rotation", "scale", "opacity", "sh", "barycentric"])
def test_one_bad_number_among_many_is_found(field, value):
    parts = [AVATAR.lods[0]] * (40_000 // len(AVATAR.lods[0]) + 1)
    splats = SplatArrays.concatenate(parts)
    check_splats(splats, len(AVATAR.rig.faces))
    getattr(splats, field).reshape(-1)[-1] = value
    if np.isfinite(value) and field in ("position", "sh", "scale", "barycentric"):
        check_splats(splats, len(AVATAR.rig.faces))  # large, but lawful
        return
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=field):
        check_splats(splats, len(AVATAR.rig.faces))


def table(text: bytes, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 8,
        table(b"{}"),
        table(b"[" * 100_000),
        table(b'{"__metadata__": {"lookalike": "' + b"[" * 100_000 + b'"}}'),
        table(b'{"__metadata__": {"lookalike": 5}}'),
        table(b'{"__metadata__": {"lookalike": "[]"}}'),
        table(b'{"__metadata__": {"lookalike": "{\\"format\\": 1}"}}'),
        table(b'{"__metadata__": {"lookalike": "{\\"format\\": 1}"}, "a": {"dtype": "F32", "shape": [1e30], "data_offsets": [0, 4]}}'),
        table(_OVERFLOWING),
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        DATA[:100],
        DATA[:-1],
        DATA + b"\0",
        save({"a": np.zeros(3, np.float32)}),
    ],
    ids=range(16),
)
def test_what_is_no_avatar_is_refused(data):
    with pytest.raises(AvatarFileError, match=r"^x: "):
        decode_avatar(data, "x")


@given(st.binary(max_size=400))
def test_noise_is_refused(noise):
    with pytest.raises(AvatarFileError):
        decode_avatar(noise)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_bytes_are_refused_or_give_a_whole_avatar(data):
    """Most changes hit arrays and are lawful numbers; those in the table or the header must be refused cleanly."""
    broken = bytearray(DATA)
    (length,) = struct.unpack("<Q", DATA[:8])
    for _ in range(data.draw(st.integers(1, 4))):
        limit = length + 7 if data.draw(st.booleans()) else len(broken) - 1
        broken[data.draw(st.integers(0, limit))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken) - 1)) :]
    try:
        avatar = decode_avatar(bytes(broken))
    except AvatarFileError:
        return
    assert len(avatar.lods[0]) == splat_count()
    assert np.isfinite(avatar.lods[0].position).all()


def test_provenance_that_is_no_json_is_a_bug_of_the_writer():
    with pytest.raises((TypeError, ValueError)):
        encode_avatar(replace(AVATAR, provenance={"score": float("nan")}))
