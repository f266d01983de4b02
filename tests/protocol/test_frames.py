"""Messages: each kind survives the journey; what does not belong is refused by name."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.protocol import messages
from backend.protocol.arrays import (
    lod_message,
    portrait_payload,
    portraits_from_message,
    rig_from_message,
    rig_message,
    splats_from_message,
)
from backend.protocol.errors import FaceError, LookalikeError, ProtocolError
from backend.protocol.frames import MAX_ENVELOPE_BYTES, Message, decode, encode
from backend.protocol.messages import BODIES, Error, Fetch, JobInfo, Jobs, Progress, Reconstruct, Render, Result
from backend.protocol.payload import pack
from tests.synthetic import synthetic_avatar

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def bodies() -> st.SearchStrategy:
    def build(cls):
        if cls is Error:
            return st.builds(Error, data=st.dictionaries(st.text(max_size=5), JSON, max_size=3))
        return st.from_type(cls)

    return st.sampled_from([cls for kind, cls in BODIES.items() if kind]).flatmap(build)


def within_bounds(body) -> bool:
    try:
        encode(Message(body))
    except ProtocolError:  # NaN does not travel
        return False
    text = json.dumps(json.loads(encode(Message(body))[0])["body"])
    return not any(abs(n) >= 1 << 53 for n in _integers(json.loads(text)))


def _integers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [n for v in value for n in _integers(v)]
    return [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else []


def test_every_word_of_the_design_has_a_body():
    requests = {"hello", "reconstruct", "personalize", "bake", "track", "render", "cancel", "list", "fetch", "shutdown", "ping"}
    events = {"accepted", "progress", "lod", "rig", "preview", "result", "error", "pong", "welcome", "jobs", "goodbye"}
    assert set(BODIES) - {""} == requests | events


@given(bodies().filter(within_bounds), st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,62}", fullmatch=True))
def test_every_body_survives(body, name):
    message = Message(body, name, name)
    again = decode(encode(message))
    assert again == message
    assert type(again.body) is type(body)


@given(st.sampled_from(sorted(BODIES)), JSON, JSON, JSON)
def test_any_json_is_a_message_or_a_named_fault(kind, body, request, job):
    envelope = json.dumps({"v": 1, "kind": kind, "request": request, "job": job, "body": body}).encode()
    try:
        message = decode([envelope])
    except ProtocolError:
        return
    assert message.kind == kind


@given(st.lists(st.binary(max_size=100), max_size=4))
def test_noise_is_refused(frames):
    with pytest.raises(ProtocolError):
        decode(frames)


@pytest.mark.parametrize("cls", [cls for kind, cls in BODIES.items() if kind], ids=lambda c: c.KIND)
def test_missing_superfluous_and_wrong_fields_are_named(cls):
    required = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    if required:
        with pytest.raises(ProtocolError, match=f"{cls.KIND}: {required[0]} is missing"):
            decode([json.dumps({"v": 1, "kind": cls.KIND, "body": {}}).encode()])
    with pytest.raises(ProtocolError, match=f"{cls.KIND}: unknown field 'bogus'"):
        decode([json.dumps({"v": 1, "kind": cls.KIND, "body": {"bogus": 1}}).encode()])
    for field in fields(cls):
        with pytest.raises(ProtocolError, match=f"{cls.KIND}: "):
            decode([json.dumps({"v": 1, "kind": cls.KIND, "body": {field.name: {"nested": [None]}} | {}}).encode()])


def test_bounds():
    with pytest.raises(ProtocolError, match="envelope of"):
        encode(Message(Error("x", "m", data={"long": "y" * MAX_ENVELOPE_BYTES})))
    with pytest.raises(ProtocolError, match="envelope of"):
        decode([b" " * (MAX_ENVELOPE_BYTES + 1)])
    with pytest.raises(ProtocolError, match="progress: text is not str or is out of bounds"):
        decode([json.dumps({"v": 1, "kind": "progress", "body": {"fraction": 1, "stage": "a", "text": "x" * 9000}}).encode()])
    with pytest.raises(ProtocolError, match="fetch: parts is not"):
        decode([json.dumps({"v": 1, "kind": "fetch", "body": {"parts": ["x"] * 2000}}).encode()])
    with pytest.raises(ProtocolError, match="has one or two frames"):
        decode([])
    with pytest.raises(ProtocolError, match="unknown field 'pickle' in the envelope"):
        decode([b'{"v": 1, "kind": "ping", "pickle": "gASV"}'])
    with pytest.raises(ProtocolError, match="progress: fraction"):
        decode([b'{"v": 1, "kind": "progress", "body": {"fraction": 1e999, "stage": "x"}}'])


def test_names_that_could_be_paths_are_refused():
    for name in ("../x", "a/b", "a\\\\b", ".hidden", "", "x" * 65, "é"):
        envelope = json.dumps({"v": 1, "kind": "ping", "shared": name or "/"}).encode()
        with pytest.raises(ProtocolError, match="shared is not a name"):
            decode([envelope])


def test_whole_numbers_are_floats_too_but_booleans_are_no_numbers():
    assert decode([b'{"v":1,"kind":"progress","body":{"fraction":1,"stage":"x"}}']).body == Progress(1.0, "x")
    with pytest.raises(ProtocolError, match="lod: level"):
        decode([b'{"v":1,"kind":"lod","body":{"level":true}}'])
    with pytest.raises(ProtocolError, match="protocol version True"):
        decode([b'{"v":true,"kind":"ping"}'])


def test_nested_rows_and_optional_numbers():
    jobs = Jobs((JobInfo("a1", "reconstruct", "Ada", "done", 1.0, "solve", 1.5),))
    assert decode(encode(Message(jobs))).body == jobs
    request = Reconstruct(("a.jpg", "b.jpg"), (None, 1))
    assert decode(encode(Message(request))).body == request
    assert decode(encode(Message(Render(expression={"jawOpen": np.float32(0.5)})))).body.expression == {"jawOpen": 0.5}


def test_errors_keep_their_class_remedy_and_data():
    sent = Error.of(FaceError("photo.jpg: two faces found", "choose one with --face 0 or --face 1", {"faces": [{"box": [1, 2, 3, 4]}]}))
    error = decode(encode(Message(sent))).body.exception()
    assert type(error) is FaceError
    assert str(error) == "photo.jpg: two faces found; choose one with --face 0 or --face 1"
    assert error.data["faces"] == [{"box": [1, 2, 3, 4]}]
    unknown = Error("from_the_future", "something").exception()
    assert type(unknown) is LookalikeError
    assert unknown.code == "from_the_future"


def test_rig_and_levels_survive():
    avatar = synthetic_avatar()
    body, payload = rig_message(avatar.rig)
    rig = rig_from_message(decode(encode(Message(body, payload=payload))))
    assert rig.joint_names == avatar.rig.joint_names
    np.testing.assert_array_equal(rig.weights, avatar.rig.weights)
    for level, splats in enumerate(avatar.lods):
        body, payload = lod_message(level, splats, avatar.shoulders)
        head, shoulders = splats_from_message(decode(encode(Message(body, payload=payload))), len(rig.faces))
        for field in ("position", "rotation", "scale", "opacity", "sh", "face", "barycentric"):
            np.testing.assert_array_equal(getattr(head, field), getattr(splats, field))
            np.testing.assert_array_equal(getattr(shoulders, field), getattr(avatar.shoulders, field))


def damaged(tensors: dict, **changes) -> Message:
    avatar = synthetic_avatar(1)
    body, payload = lod_message(0, avatar.lods[0], avatar.shoulders)
    arrays = dict(decode(encode(Message(body, payload=payload))).tensors()) | changes
    return Message(body, payload=pack({k: v for k, v in arrays.items() if v is not None}))


@pytest.mark.parametrize(
    "changes",
    [
        {"head/position": None},
        {"head/position": np.zeros((3, 3), np.float32)},
        {"head/face": np.full(2976, 10**6, np.int32)},
        {"head/opacity": np.full(2976, np.nan, np.float32)},
        {"head/scale": np.zeros((2976, 3), np.float32)},
        {"head/face": np.zeros(2976, np.float32)},
    ],
)
def test_levels_that_do_not_fit_their_rig_are_refused(changes):
    with pytest.raises(ProtocolError, match="lod event"):
        splats_from_message(damaged({}, **changes), 2976)


def test_portraits_travel_as_bytes():
    payload = portrait_payload([b"one", b""], avatar=b"file")
    message = decode(encode(Message(Reconstruct(("a", "b")), payload=payload)))
    assert [bytes(p) for p in portraits_from_message(message, ("a", "b"))] == [b"one", b""]
    with pytest.raises(ProtocolError, match="portrait2 is missing"):
        portraits_from_message(message, ("a", "b", "c"))
    with pytest.raises(ProtocolError, match="65 portraits"):
        portraits_from_message(message, ["x"] * 65)
    with pytest.raises(ProtocolError, match="portrait0 is missing, or is not a row of bytes"):
        portraits_from_message(Message(Reconstruct(("a",)), payload=pack({"portrait0": np.zeros((2, 2), np.float32)})), ("a",))


def test_every_body_is_documented():
    for kind, cls in BODIES.items():
        assert not kind or not cls.__doc__.startswith(f"{cls.__name__}("), f"{cls.__name__} has no docstring"
    assert messages.PROTOCOL_VERSION == 1
    assert Fetch().parts == Result("x").names == ()
