"""Avatar files whose colours follow the face: older readers' part is as it was, and what does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from backend.protocol.avatar_file import decode_avatar, encode_avatar, read_header
from backend.protocol.color_basis import MAX_PATTERNS
from backend.protocol.errors import AvatarFileError
from backend.splats import render
from backend.splats.camera import portrait_camera
from backend.splats.glb import encode_glb


@pytest.fixture
def coloured(refiner):
    return refiner.truth


def rewritten(avatar, change_tensors=None, change_header=None) -> bytes:
    data = encode_avatar(avatar)
    tensors, header = load(data), read_header(data)
    (change_tensors or (lambda _: None))(tensors)
    (change_header or (lambda _: None))(header)
    return save(tensors, metadata={"lookalike": json.dumps(header)})


def test_what_older_readers_read_is_the_neutral_face(coloured, avatar):
    """They take format 1 and the arrays that they know by name."""
    data = encode_avatar(coloured)
    assert read_header(data)["format"] == 1
    plain, grown = (
        load(encode_avatar(replace(coloured, lods=tuple(replace(s, patterns=None) for s in coloured.lods), color_basis=None))),
        load(data),
    )
    assert set(grown) - set(plain) == {"color/mixing", "lod1/patterns"}
    for name, array in plain.items():
        np.testing.assert_array_equal(array, grown[name])
    assert not {"color/mixing", "lod0/patterns"} & set(load(encode_avatar(avatar)))


@pytest.mark.parametrize(
    ("tensors", "header", "told"),
    [
        (lambda t: t.update({"color/mixing": t["color/mixing"][:, :2].copy()}), None, "for 3 controls"),
        (lambda t: t.update({"color/mixing": t["color/mixing"] * np.float32(np.nan)}), None, "NaN"),
        (lambda t: t.pop("color/mixing"), None, "do not fit their mixing"),
        (lambda t: t.update({"lod1/patterns": t["lod1/patterns"][:-1].copy()}), None, "patterns has shape"),
        (lambda t: t.update({"lod1/patterns": t["lod1/patterns"].astype(np.float32)}), None, "not float16"),
        (lambda t: t.update({"lod1/patterns": np.repeat(t["lod1/patterns"], MAX_PATTERNS, 1)}), None, "patterns"),
        (None, lambda h: h.update(color_controls=["mouthSmile", "tail.x", "jaw.x"]), "tail.x"),
        (None, lambda h: h.update(color_controls=["jaw.x", "jaw.x", "mouthSmile"]), "one twice"),
        (None, lambda h: h.update(color_controls=7), "not a valid avatar"),
        (None, lambda h: h.pop("color_controls"), "not a valid avatar"),
    ],
)
def test_a_basis_that_does_not_fit_is_refused(coloured, tensors, header, told):
    with pytest.raises(AvatarFileError, match=told):
        decode_avatar(rewritten(coloured, tensors, header))


def test_pictures_and_exports_have_the_colours_of_the_face(coloured):
    smile = {"mouthSmile": 1.0}
    camera = portrait_camera(coloured, 0, 0, 48)
    still = replace(coloured, color_basis=None)
    assert np.abs(render(coloured, 1, camera, smile)[0] - render(still, 1, camera, smile)[0]).max() > 0.1
    np.testing.assert_array_equal(render(coloured, 1, camera)[0], render(still, 1, camera)[0])
    assert encode_glb(coloured, 1, smile) != encode_glb(still, 1, smile)
    assert encode_glb(coloured, 1) == encode_glb(still, 1)
