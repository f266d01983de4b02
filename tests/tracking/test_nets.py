"""The nets come out of MediaPipe's wheel unharmed, and a damaged file or wheel is refused."""

from __future__ import annotations

import contextlib
import json
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.protocol import WeightsError
from backend.tracking.nets import NETS, load_nets, nets_path
from backend.tracking.nets.flatbuffer import FormatError, flexbuffer
from backend.tracking.nets.install import convert
from backend.tracking.nets.tflite import read_tflite


def test_all_four_nets_are_there_with_their_provenance():
    nets = load_nets()
    assert set(nets.nets) == set(NETS)
    assert nets.provenance["licence"] == "Apache-2.0"
    assert len(nets.provenance["sha256"]) == 64
    assert [nets[n].input_size for n in NETS] == [128, 192, 192, 256]


def test_missing_nets_say_how_to_get_them(tmp_path):
    with pytest.raises(WeightsError, match=r"not installed .* run python3 build.py setup"):
        load_nets(tmp_path / "nothing.safetensors")


def test_truncated_nets_are_refused(tmp_path):
    whole = nets_path().read_bytes()
    for size in (0, 7, 1000, len(whole) - 100):
        path = tmp_path / f"cut{size}.safetensors"
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="corrupt"):
            load_nets(path)


def test_nets_with_an_unknown_operator_are_refused(tmp_path):
    whole = nets_path().read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    table = json.loads(whole[8 : 8 + length])
    header = json.loads(table["__metadata__"]["lookalike_nets"])
    header["graphs"]["matte"]["operators"][0]["name"] = "SYSTEM"
    table["__metadata__"]["lookalike_nets"] = json.dumps(header)
    text = json.dumps(table).encode()
    path = tmp_path / "changed.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])
    with pytest.raises(WeightsError, match="SYSTEM"):
        load_nets(path)


def test_another_wheel_is_refused_before_it_is_opened(tmp_path):
    wheel = tmp_path / "mediapipe.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("mediapipe/modules/face_detection/face_detection_short_range.tflite", b"TFL3")
    with pytest.raises(WeightsError, match=r"sha256 is .* expected"):
        convert(wheel, tmp_path / "nets.safetensors")
    assert not (tmp_path / "nets.safetensors").exists()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_net_or_a_format_error(data):
    for read in (read_tflite, flexbuffer):
        for candidate in (data, b"\x10\0\0\0TFL3" + data):
            with contextlib.suppress(FormatError):
                read(candidate)


def test_a_small_flexbuffer_is_read():
    key, keys, head, values, root = b"a\0", [1, 3], [1, 1, 1], [7, 4], [2, 9 << 2, 1]
    assert flexbuffer(key + bytes(keys + head + values + root)) == {"a": 7}


def test_threads_share_one_net_and_agree():
    nets = load_nets()
    images = torch.rand(8, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    alone = [nets["landmarks"](image[None])["output_mesh_identity"].numpy() for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: nets["landmarks"](image[None])["output_mesh_identity"].numpy(), [*images] * 3))
    for i, result in enumerate(together):
        np.testing.assert_array_equal(result, alone[i % 8])


def test_a_batch_gives_what_its_images_give():
    nets = load_nets()
    images = torch.rand(3, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    batch = nets["short_range"](images)
    for i, image in enumerate(images):
        for name, value in nets["short_range"](image[None]).items():
            np.testing.assert_allclose(batch[name][i].numpy(), value[0].numpy(), atol=1e-4)


def test_a_run_leaves_torchs_threads_as_they_were():
    before = torch.get_num_threads()
    load_nets()["matte"](torch.zeros(1, 3, 256, 256))
    assert torch.get_num_threads() == before
