"""Checkpoints as torch.save writes them: read faithfully, and never trusted."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn

from backend.protocol.errors import WeightsError
from backend.weights.store import read_state as read_any_state
from backend.weights.torch_file import read_state, read_torch_file


class Evil:
    """Runs a command where a pickle is trusted."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.fixture
def saved(tmp_path):
    def save(content, name="weights.pt", **options):
        path = tmp_path / name
        torch.save(content, path, **options)
        return path

    return save


def test_checkpoint_reads_as_torch_wrote_it(saved):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(5, 2).half())
    content = {"model": net.state_dict(), "meta_cfg": {"NAME": "net", "SIZES": [1, 2], "LR": 1e-4, "none": None}}
    read = read_torch_file(saved(content))
    assert read["meta_cfg"] == content["meta_cfg"]
    assert list(read["model"]) == list(content["model"])
    for key, value in content["model"].items():
        assert read["model"][key].dtype == value.dtype
        assert torch.equal(read["model"][key], value)


def test_views_and_parameters_and_empty_tensors_keep_their_values(saved):
    base = torch.arange(24.0).reshape(4, 6)
    content = {"t": base.T, "part": base[1:3, ::2], "p": nn.Parameter(torch.ones(3)), "none": torch.empty(0, 7), "scalar": torch.tensor(5)}
    content |= {"bf": torch.ones(3, dtype=torch.bfloat16), "flags": torch.tensor([True, False])}
    read = read_torch_file(saved(content))
    for key, value in content.items():
        assert read[key].dtype == value.dtype
        assert torch.equal(read[key], value.detach()), key
    read["t"].zero_()
    assert read["part"].sum() == base[1:3, ::2].sum()


def test_state_is_found_with_and_without_its_wrapper(saved):
    state = OrderedDict(w=torch.ones(2))
    assert torch.equal(read_state(saved({"model": state, "step": 3}))["w"], state["w"])
    assert torch.equal(read_state(saved(state))["w"], state["w"])
    with pytest.raises(WeightsError, match="'step' is not a tensor"):
        read_state(saved({"w": torch.ones(2), "step": 3}))
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_state(saved([1, 2]))


def test_code_in_a_checkpoint_never_runs(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved({"model": {"w": torch.ones(2)}, "meta_cfg": Evil()})
    with pytest.raises(WeightsError, match=r"system, which no such file needs"):
        read_torch_file(path)
    assert not (tmp_path / "ran").exists()


def test_missing_truncated_and_foreign_files_are_told(saved, tmp_path):
    with pytest.raises(WeightsError, match=r"gone\.pt: cannot be read"):
        read_torch_file(tmp_path / "gone.pt")
    path = saved({"w": torch.ones(5000)})
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 20):
        path.write_bytes(data[:cut])
        with pytest.raises(WeightsError, match=r"weights\.pt: not a readable torch file"):
            read_torch_file(path)
    with pytest.raises(WeightsError, match="older than torch"):
        read_torch_file(saved({"w": torch.ones(3)}, _use_new_zipfile_serialization=False))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match="not one that torch"):
        read_torch_file(path)


def test_bad_zip_directories_are_told(saved):
    """An entry of 4 bytes that takes none, and a name that is no UTF-8."""
    path = saved({"w": torch.ones(1)})
    data = path.read_bytes()
    directory = data.index(b"PK\x01\x02")
    name = data.index(b"data/0", directory)
    entry = data.rindex(b"PK\x01\x02", 0, name)
    assert data[entry + 20 : entry + 28] == b"\x04\0\0\0" * 2
    path.write_bytes(data[: entry + 16] + bytes(8) + data[entry + 24 :])  # with the checksum of nothing
    with pytest.raises(WeightsError, match="compressed entries"):
        read_torch_file(path)
    flags = int.from_bytes(data[entry + 8 : entry + 10], "little") | 0x800
    named = data[: entry + 8] + flags.to_bytes(2, "little") + data[entry + 10 : name] + b"\xff\xfe" + data[name + 2 :]
    path.write_bytes(named)
    with pytest.raises(WeightsError, match=r"weights\.pt: not a readable torch file"):
        read_torch_file(path)


def test_flipped_bytes_are_noticed(saved):
    path = saved({"w": torch.ones(5000)})
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="CRC"):
        read_torch_file(path)


def forged(path, edit_pickle=None, storages=None, compression=zipfile.ZIP_STORED):
    """A saved file rewritten with another pickle or other storages."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            edit = edit_pickle if name.endswith("data.pkl") else storages if "/data/" in name else None
            archive.writestr(name, edit(data) if edit else data)
    return path


def test_tensor_that_claims_more_than_its_storage_is_refused_before_allocation(saved):
    path = saved({"w": torch.ones(300, 2)})
    # BININT2 300 becomes 60,000: a shape of 60,000 x 2 over 600 stored numbers.
    forged(path, lambda data: data.replace(b"M\x2c\x01K\x02", b"M\x60\xeaK\x02"))
    with pytest.raises(WeightsError, match=r"w of shape .60000, 2. does not fit its 600 stored numbers"):
        read_torch_file(path)


def test_expanded_tensor_is_refused_rather_than_unpacked(saved):
    with pytest.raises(WeightsError, match="does not fit its 1 stored numbers"):
        read_torch_file(saved({"w": torch.ones(1).expand(1 << 20, 1 << 10)}))


def test_many_tensors_over_one_storage_are_refused(saved):
    base = torch.ones(200_000)
    with pytest.raises(WeightsError, match="claim more than the file holds"):
        read_torch_file(saved({f"w{i}": base[:] for i in range(50)}))


def test_a_storage_is_read_once_for_all_its_tensors(saved, monkeypatch):
    base = torch.arange(100_000.0)
    path = saved({"other": torch.ones(9), **{f"w{i}": base[i : i + 2] for i in range(300)}})
    read, whole = [], zipfile.ZipFile.read

    def counted(archive, entry, *rest):
        read.append(len(data := whole(archive, entry, *rest)))
        return data

    monkeypatch.setattr(zipfile.ZipFile, "read", counted)
    got = read_torch_file(path)
    assert torch.equal(got["w299"], torch.tensor([299.0, 300.0]))
    got["w0"].zero_()
    assert got["w1"].tolist() == [1.0, 2.0]
    assert sum(read) < path.stat().st_size


@pytest.mark.parametrize("legacy", [False, True])
def test_shapes_that_overflow_are_refused(tmp_path, legacy):
    """Products of 2^32 and 2^32 are 0 in 64 bits; a shape with a zero claims nothing, but torch cannot make it either."""
    for shape in ((1 << 32, 1 << 32), (0, 1 << 47, 1 << 47)):
        path = tmp_path / "weights.pt"
        torch.save({"w": torch.ones(300, 2, dtype=torch.uint8)}, path, _use_new_zipfile_serialization=not legacy)
        lengths = b"".join(b"\x8a\x07" + n.to_bytes(7, "little") for n in shape)
        strides = b"K\x00" * len(shape)
        edit = partial(
            reshaped, old=b"M\x2c\x01K\x02\x86", strides=b"K\x02K\x01\x86", tuples=(lengths, strides, {2: b"\x86", 3: b"\x87"}[len(shape)])
        )
        path.write_bytes(edit(path.read_bytes())) if legacy else forged(path, edit)
        with pytest.raises(WeightsError, match=r"w of shape .* (does not fit its 600|cannot be made)"):
            read_any_state(path)


def reshaped(data, old, strides, tuples):
    """A pickle with another shape and other strides of its only tensor."""
    (start,) = (at for at in range(len(data)) if data.startswith(old, at))
    end = data.index(strides, start) + len(strides)
    middle = data[start + len(old) : end - len(strides)]
    return data[:start] + tuples[0] + tuples[2] + middle + tuples[1] + tuples[2] + data[end:]


def test_storage_of_another_length_and_compressed_entries_are_refused(saved):
    path = saved({"w": torch.ones(100)})
    with pytest.raises(WeightsError, match="holds 396 bytes, not 100 numbers"):
        read_torch_file(forged(path, storages=lambda data: data[:-4]))
    with pytest.raises(WeightsError, match="compressed entries"):
        read_torch_file(forged(saved({"w": torch.zeros(10_000)}), compression=zipfile.ZIP_DEFLATED))


def test_pickle_cannot_change_what_a_storage_type_means(tmp_path):
    path = tmp_path / "weights.pt"
    change = b"\x80\x02ctorch\nFloatStorage\n}X\x08\x00\x00\x00itemsizeK\x01sb."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", change)
    with pytest.raises(WeightsError, match="a state where none belongs"):
        read_torch_file(path)


@pytest.mark.parametrize("pid", [("storage",), ("module", 1, "0", "cpu", 3), ("storage", "FloatStorage", "0", "cpu", 3), 7])
def test_persistent_ids_that_name_no_storage_are_refused(tmp_path, pid):
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return pid if isinstance(obj, Evil) else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"w": Evil()})
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", buffer.getvalue())
    with pytest.raises(WeightsError, match="not a readable pickle"):
        read_torch_file(path)
