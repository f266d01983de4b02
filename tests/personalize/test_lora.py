"""Adapters: merged they leave no trace, switched off they are gone, and no other model takes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.models.networks import DinoFeatures
from backend.personalize.adapter_file import (
    Adapter,
    AdapterSwitch,
    encode_adapter,
    from_released,
    list_adapters,
    read_adapter,
    to_released,
    write_adapter,
)
from backend.personalize.lora import ALPHA, RANK, Pair, attach, base_digest, detach, fresh_pairs, merge, targets
from backend.personalize.small_network import SmallAvatarNetwork
from backend.protocol.errors import WeightsError

VERTICES = 60
CAMERA = torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 9.6]]])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed: int = 0, vertices: int = VERTICES) -> SmallAvatarNetwork:
    torch.manual_seed(seed)
    return SmallAvatarNetwork(vertices).eval()


def random_pairs(net: torch.nn.Module, rank: int = 4, seed: int = 1) -> dict[str, Pair]:
    torch.manual_seed(seed)
    return {layer: Pair(pair.a, 0.3 * torch.randn_like(pair.b)) for layer, pair in fresh_pairs(net, rank).items()}


@torch.no_grad()
def outputs(net: SmallAvatarNetwork) -> list[torch.Tensor]:
    torch.manual_seed(2)
    features = DinoFeatures(torch.randn(1, 48, 32, 32), torch.randn(1, 16, 48))
    return [*net.gaussians(features, CAMERA), net.refine(torch.randn(1, 32, 64, 64))]


def equal(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_fresh_factors_change_nothing():
    net = network()
    before = outputs(net)
    attach(net, fresh_pairs(net, 4), 0.25)
    assert equal(outputs(net), before)


def test_merged_is_the_trained_one_to_the_bit_with_the_keys_of_the_base():
    net = network()
    keys, pairs, base = list(net.state_dict()), random_pairs(net), outputs(net)
    attach(net, pairs, 0.25)
    trained = outputs(net)
    detach(net)
    assert equal(outputs(net), base)
    merge(net, pairs, 0.25)
    assert equal(outputs(net), trained)
    assert not equal(trained, base)
    assert list(net.state_dict()) == keys
    assert type(net) is SmallAvatarNetwork


def test_merged_runs_the_graph_of_the_base():
    base, merged = network(), network()
    merge(merged, random_pairs(merged), 0.25)
    graphs = [torch.jit.trace(net.upsampler, torch.zeros(1, 32, 64, 64), check_trace=False).inlined_graph for net in (base, merged)]
    kinds = [[node.kind() for node in graph.nodes()] for graph in graphs]
    assert kinds[0] == kinds[1]


def test_the_encoder_is_left_alone_and_every_other_layer_is_adapted():
    layers = [t.layer for t in targets(network())]
    assert layers[0] == "head_base"
    assert not [name for name in layers if name.startswith("base_model")]
    assert {name.split(".")[0] for name in layers} == {"head_base", "gs_generator_g", "gs_generator_l0", "gs_generator_l1", "upsampler"}
    assert not [name for name in layers if name.endswith("modulated_conv")]  # raw weights of modulated convolutions, as released


def test_file_gives_back_what_was_written(tmp_path):
    net = network()
    adapter = Adapter("Ada", random_pairs(net), 4, 1.0, "Small", base_digest(net), {"x": torch.ones(2)}, {"after": 0.1})
    write_adapter(tmp_path / "ada.safetensors", adapter)
    got = read_adapter(tmp_path / "ada.safetensors")
    got.check_base(net)
    assert (got.name, got.rank, got.scale, got.base, got.facts) == ("Ada", 4, 0.25, "Small", {"after": 0.1})
    assert list(got.pairs) == list(adapter.pairs)
    assert equal([f for p in got.pairs.values() for f in p], [f for p in adapter.pairs.values() for f in p])


def test_released_layout_is_read(tmp_path):
    net = network()
    adapter = Adapter("me", random_pairs(net, RANK), RANK, ALPHA, registers={"filler_embedding": torch.ones(8)})
    torch.save(to_released(adapter), tmp_path / "me.pt")
    got = read_adapter(tmp_path / "me.pt")
    assert "head_base_emb.parametrizations.weight.0.lora_A" in to_released(adapter)["lora_weights"]
    assert got.rank == RANK
    assert got.registers is not None
    got.check_base(net)  # the layers fit; a released file does not tell its base
    with pytest.raises(WeightsError, match="lora_weights"):
        from_released({"model": {}}, "GAGAvatar.pt")
    with pytest.raises(WeightsError, match="one of its two"):
        from_released({"lora_weights": {"a.parametrizations.weight.0.lora_A": torch.ones(2, 2)}}, "x.pt")


def test_adapter_of_another_base_is_refused_by_name(tmp_path):
    adapter = Adapter("Ada", random_pairs(network()), 4, 1.0, "Small", base_digest(network()))
    with pytest.raises(WeightsError, match="another base model 'Small'"):
        adapter.check_base(network(seed=5))
    with pytest.raises(WeightsError, match="factors of head_base"):
        adapter.check_base(network(vertices=VERTICES + 1))


def test_rank_mismatch_names_the_layer(tmp_path):
    net = network()
    pairs = random_pairs(net)
    layer = list(pairs)[3]
    write_adapter(tmp_path / "bad.safetensors", Adapter("bad", {**pairs, layer: Pair(torch.ones(5, 9), torch.ones(7, 5))}, 4))
    with pytest.raises(WeightsError, match=layer.replace(".", r"\.")):
        read_adapter(tmp_path / "bad.safetensors")


def test_broken_files_are_refused_and_listed_as_such(tmp_path):
    net = network()
    adapter = Adapter("Ada", random_pairs(net), 4)
    write_adapter(tmp_path / "ada.safetensors", adapter)
    whole = (tmp_path / "ada.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    nan = {**adapter.pairs, "head_base": Pair(adapter.pairs["head_base"].a * float("nan"), adapter.pairs["head_base"].b)}
    write_adapter(tmp_path / "nan.safetensors", replace(adapter, pairs=nan))
    with pytest.raises(WeightsError, match="truncated"):
        read_adapter(tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match="not finite"):
        read_adapter(tmp_path / "nan.safetensors")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_adapter(tmp_path / "none.safetensors")
    listed = {facts.path.stem: facts for facts in list_adapters(tmp_path)}
    assert listed["ada"].problem == ""
    assert listed["ada"].parameters == adapter.parameters
    assert "truncated" in listed["cut"].problem
    assert "not finite" in listed["nan"].problem


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rank": 4', '"rank": Infinity'),
        ('"rank": 4', '"rank": 1e999'),
        ('"alpha": 1.0', '"alpha": NaN'),
        ('"alpha": 1.0', '"alpha": 1e999'),
        ('"facts": {}', '"facts": {"a": NaN}'),
    ],
)
def test_numbers_of_a_header_that_are_none_are_refused(tmp_path, old, new):
    path = tmp_path / "ada.safetensors"
    data = encode_adapter(Adapter("Ada", random_pairs(network()), 4, 1.0))
    start, (a, b) = 8 + int.from_bytes(data[:8], "little"), (text.replace('"', '\\"').encode() for text in (old, new))
    assert a in data[8:start]
    header = data[8:start].replace(a, b)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[start:])
    with pytest.raises(WeightsError, match=r"ada\.safetensors: its (header|alpha)"):
        read_adapter(path)


@pytest.mark.parametrize("registers", [torch.ones(3), torch.ones(1), [torch.ones(2)], {"a": 3}, 7])
def test_registers_that_are_no_tensors_by_name_are_refused(tmp_path, registers):
    adapter = Adapter("me", random_pairs(network()), 4)
    torch.save({**to_released(adapter), "register_network": registers}, tmp_path / "me.pt")
    with pytest.raises(WeightsError, match="'register_network' is no dict of tensors"):
        read_adapter(tmp_path / "me.pt")


def test_adapters_are_switched_on_and_off():
    net = network()
    base = outputs(net)
    digest = base_digest(net)
    switch = AdapterSwitch(net)
    switch.add(Adapter("a", random_pairs(net, seed=3), 4, digest=digest))
    switch.add(Adapter("b", random_pairs(net, seed=4), 4, digest=digest))
    assert switch.names == ["a", "b"]
    switch.switch("a")
    first = outputs(net)
    switch.switch("b")
    assert not equal(outputs(net), first)
    switch.switch("a")
    assert equal(outputs(net), first)
    switch.switch(None)
    assert equal(outputs(net), base)
    with pytest.raises(WeightsError, match="known are: a, b"):
        switch.switch("c")
    with pytest.raises(WeightsError, match="another base"):
        switch.add(Adapter("c", random_pairs(net), 4, digest="0" * 64))
