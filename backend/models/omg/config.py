"""What an OMG-Avatar network is made of: its sizes, and whether it repeats what the released code does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backend.protocol.errors import WeightsError

LARGEST_LEVEL = 2


@dataclass(frozen=True)
class OMGConfig:
    """Sizes of the network. The defaults are the paper's, on FLAME.

    Attributes:
        vertices: V of the rig; one learned query each.
        dim: width of queries, of global features and of the feature map; they are added, so it is one number.
        layers: decoder layers.
        levels: finest level of detail, 0 to 2; one attribute head for the vertices that each level adds.
        heads, feedforward: attention heads and hidden width of the decoder.
        token_dim: width of the encoder's tokens.
        hidden: width of the attribute heads and of the shoulders' convolutions.
        size: side of the pictures that are drawn, refined, and tested for visibility, pixels.
        released: repeat the released code where it is wrong (each place is named there). Its checkpoint was trained so;
            networks trained here are not.
    """

    vertices: int = 5023
    dim: int = 256
    layers: int = 2
    levels: int = 2
    heads: int = 8
    feedforward: int = 1024
    token_dim: int = 768
    hidden: int = 128
    size: int = 512
    released: bool = False

    @staticmethod
    def of_checkpoint(meta: Mapping[str, object], shapes: Mapping[str, tuple[int, ...]]) -> OMGConfig:
        """Of a released checkpoint: its ``meta_cfg`` where it says something, checked against its tensors.

        Args:
            meta: the checkpoint's meta_cfg; DIM, N_TRANSFORMER_LAYERS and SUBDIVISION under MODEL, or at the top.
            shapes: shape of each of its tensors.
        Raises:
            WeightsError: not this model's tensors, or a meta_cfg that contradicts them.
        """
        if "head_base" not in shapes or len(shapes["head_base"]) != 2:
            raise WeightsError("these weights are not OMG-Avatar's: head_base is missing", "choose omg_ckpt.pt")
        vertices, dim = shapes["head_base"]
        found = {
            "DIM": dim,
            "N_TRANSFORMER_LAYERS": _count(shapes, "transformer.decoder.layers."),
            "SUBDIVISION": _count(shapes, "gs_head_generators.") - 1,
        }
        model = meta.get("MODEL", meta)
        stated = model if isinstance(model, Mapping) else {}
        for key, value in found.items():
            if key in stated and stated[key] != value:
                raise WeightsError(f"meta_cfg says {key} {stated[key]}, but the tensors are of {key} {value}", "download the file again")
        if not 0 <= found["SUBDIVISION"] <= LARGEST_LEVEL or not found["N_TRANSFORMER_LAYERS"]:
            raise WeightsError("these weights are not OMG-Avatar's: decoder or attribute heads are missing", "choose omg_ckpt.pt")
        return OMGConfig(vertices=vertices, dim=dim, layers=found["N_TRANSFORMER_LAYERS"], levels=found["SUBDIVISION"], released=True)


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    """How many numbered modules there are under a prefix."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in shapes if key.startswith(prefix)})
