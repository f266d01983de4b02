"""DINOv2: both published layouts, positions at any size, and the same numbers as transformers' own model."""

from __future__ import annotations

import pytest
import torch

from backend.models.networks import DinoV2, dinov2
from backend.models.networks.dinov2 import SIZES
from backend.protocol.errors import WeightsError

PARAMETERS = {"small": 22_056_576, "base": 86_580_480, "large": 304_368_640}


def tiny(**options) -> DinoV2:
    torch.manual_seed(1)
    net = DinoV2(width=48, depth=3, heads=4, trained_patches=5, **options).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    return net


def as_transformers(net: DinoV2) -> dict[str, torch.Tensor]:
    """A state dict under the names of a Hugging Face file, written out the other way round than the reader does it."""
    out = {}
    for key, value in net.state_dict().items():
        parts = key.split(".")
        if parts[0] != "blocks":
            names = {
                "cls_token": "embeddings.cls_token",
                "mask_token": "embeddings.mask_token",
                "pos_embed": "embeddings.position_embeddings",
            }
            name = names.get(key) or key.replace("patch_embed.proj", "embeddings.patch_embeddings.projection").replace(
                "norm.", "layernorm."
            )
            out[name] = value
            continue
        layer, rest = f"encoder.layer.{parts[1]}.", ".".join(parts[2:])
        if rest.startswith("attn.qkv"):
            for name, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[f"{layer}attention.attention.{name}.{parts[-1]}"] = third
        else:
            renamed = {"attn.proj": "attention.output.dense", "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1"}
            for old, new in renamed.items():
                rest = rest.replace(old, new)
            out[layer + rest] = value
    return out


@pytest.mark.parametrize("size", list(SIZES))
def test_sizes_have_the_published_parameter_counts(size):
    with torch.device("meta"):
        state = dinov2(size).state_dict()
    assert sum(value.numel() for value in state.values()) == PARAMETERS[size]
    assert len(state) == 7 + 14 * SIZES[size].depth


def test_both_layouts_load_and_give_the_same():
    source, target = tiny(), DinoV2(48, 3, 4, 5).eval()
    image = torch.randn(2, 3, 70, 70)
    for state in (source.state_dict(), as_transformers(source)):
        target.load(state, "file")
        torch.testing.assert_close(target(image), source(image))


def test_wrong_files_name_the_tensor():
    state = as_transformers(tiny())
    missing = {key: value for key, value in state.items() if key != "encoder.layer.1.attention.attention.key.weight"}
    with pytest.raises(WeightsError, match=r"file: blocks\.1\.attn\.qkv\.weight cannot be joined, its key is missing"):
        tiny().load(missing, "file")
    with pytest.raises(WeightsError, match=r"file: pos_embed has shape \(1, 26, 48\), expected \(1, 1370, 48\)"):
        DinoV2(48, 3, 4).load(state, "file")
    with pytest.raises(WeightsError, match="register_tokens is not part of this model"):
        tiny().load({**tiny().state_dict(), "register_tokens": torch.zeros(1, 4, 48)}, "file")


def test_positions_resize_as_torch_hub_does_it():
    net = tiny()
    assert net.positions(5, 5) is net.pos_embed
    resized = net.positions(7, 4)
    assert resized.shape == (1, 29, 48)
    assert torch.equal(resized[:, :1], net.pos_embed[:, :1])
    grid = net.pos_embed[:, 1:].reshape(1, 5, 5, 48).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, scale_factor=(7.1 / 5, 4.1 / 5), mode="bicubic")
    torch.testing.assert_close(resized[0, 1:], expected[0].flatten(1).T)
    exact = tiny(interpolate_offset=0).positions(7, 4)
    assert 1e-4 < (exact - resized).abs().max() < 1  # the offset matters, a little
    with pytest.raises(ValueError, match="whole 14-pixel patches"):
        net(torch.zeros(1, 3, 75, 70))


def test_last_layers_are_normed_and_have_no_class_token():
    net, image = tiny(), torch.randn(1, 3, 70, 70)
    last = net.last_layers(image, 2)
    assert [layer.shape for layer in last] == [(1, 25, 48)] * 2
    torch.testing.assert_close(last[-1], net(image)[:, 1:])


@pytest.mark.parametrize("pixels", [70, 98])
def test_transformers_own_model_agrees(pixels):
    """Transformers resizes positions to the exact size; everything else is the same arithmetic."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install transformers), which nothing else does")
    config = transformers.Dinov2Config(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, image_size=70, patch_size=14)
    theirs = transformers.Dinov2Model(config).eval()
    ours = tiny(interpolate_offset=0)
    # save_pretrained writes the published layout whatever the names in memory are.
    expected = as_transformers(ours)
    own = {key: key for key in theirs.state_dict()}
    if set(own) == set(expected):
        theirs.load_state_dict(expected)
    else:
        theirs = _through_a_file(transformers, config, expected)
    image = torch.randn(2, 3, pixels, pixels)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), theirs(image).last_hidden_state, atol=2e-5, rtol=1e-4)


def _through_a_file(transformers, config, state):
    """Loaded as users load it: transformers renames what it reads."""
    import tempfile
    from pathlib import Path

    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_file({key: value.contiguous() for key, value in state.items()}, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        model, told = transformers.Dinov2Model.from_pretrained(folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    return model.eval()
