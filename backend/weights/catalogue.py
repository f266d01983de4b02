"""Every weights file that Lookalike knows: what it is for, on which terms, where it comes from, and how it is told apart.

Hashes: GAGAvatar's and FLAME_with_eye's from ARTalk's asset manifest, DINOv2's as many projects publish them, LPIPS' of the files
in its repository; torchvision writes the first eight digits of a file's SHA-256 into its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backend.protocol.errors import WeightsError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Known:
    """A file that is known.

    Attributes:
        name: what the user types. use: one line. licence: SPDX id or words. terms: what else must be known before use.
        file: its usual file name. size: bytes, 0 where not known. sha256: of the file, or its first digits, or "".
        source: page to get it from. url: direct address where the licence lets Lookalike fetch it, else "".
        shapes: tensors that tell it apart; any of these layouts.
        tensors: how many tensors it has, 0 where that may differ.
    """

    name: str
    use: str
    licence: str
    file: str
    source: str
    shapes: tuple[Shapes, ...]
    size: int = 0
    sha256: str = ""
    terms: str = ""
    url: str = ""
    tensors: int = 0

    def fits(self, shapes: Shapes) -> bool:
        """Whether tensors of these shapes are this model's."""
        if self.tensors and len(shapes) != self.tensors:
            return False
        return any(all(shapes.get(key) == shape for key, shape in layout.items()) for layout in self.shapes)

    def matches(self, digest: str) -> bool:
        """Whether a file of this SHA-256 is this very file."""
        return bool(self.sha256) and digest.startswith(self.sha256)


_ASK = "its page states no licence for the weights: ask the authors before any commercial use"


def _dino(letter: str, title: str, width: int, size: int, digest: str) -> Known:
    return Known(
        name=f"dinov2-{letter}",
        use=f"image encoder ViT-{title}/14 of the networks",
        licence="Apache-2.0",
        file=f"dinov2_vit{letter}14_pretrain.pth",
        source="https://github.com/facebookresearch/dinov2",
        url=f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{letter}14/dinov2_vit{letter}14_pretrain.pth",
        size=size,
        sha256=digest,
        shapes=(
            {"cls_token": (1, 1, width), "pos_embed": (1, 1370, width)},
            {"embeddings.cls_token": (1, 1, width), "embeddings.position_embeddings": (1, 1370, width)},
        ),
    )


CATALOGUE: tuple[Known, ...] = (
    Known(
        name="gagavatar", use="reconstructor GAGAvatar", licence="MIT (code); weights: none stated", file="GAGAvatar.pt",
        source="https://huggingface.co/xg-chu/GAGAvatar", size=747_434_426, tensors=597, terms=_ASK,
        sha256="75d449fd1d67dd7bbc613cef17f0196b1c84766935adc75d5231bc89e33950f8",
        shapes=({"head_base": (5023, 256), "base_model.dino_model.pos_embed": (1, 1370, 768)},),
    ),
    Known(
        name="flame-with-eye", use="the FLAME rig that GAGAvatar was trained on", file="FLAME_with_eye.pt", size=26_819_643,
        licence="FLAME 2020: non-commercial scientific research", source="https://huggingface.co/xg-chu/GAGAvatar",
        terms="you must have accepted FLAME's licence at flame.is.tue.mpg.de",
        sha256="b87a1d3513b3df0504f1e1f93bcb85ac01abe4dadf92e75ac08046c4a68403be",
        shapes=({"v_template": (5023, 3), "shapedirs": (5023, 3, 400)},),
    ),
    Known(
        name="omg-avatar", use="reconstructor OMG-Avatar", licence="academic research only (its README)", file="omg_ckpt.pt",
        source="https://github.com/JianqiangRen/OMG-Avatar",
        terms="no commercial use; FLAME's data is inside, so FLAME's licence holds too",
        shapes=({"base_dino_model.dino_model.pos_embed": (1, 1370, 768), "gs_shoulder_generator.gaussian_conv.6.weight": (41, 128, 1, 1)},),
    ),
    Known(
        name="ffavatar", use="reconstructor FFAvatar: networks of `lookalike train`", licence="that of whoever trained them",
        file="best.safetensors", source="https://ffavatar.github.io",
        terms="its authors have released none: train one, lookalike train three-stages",
        shapes=({"sizes": (13,), "rig_digest": (32,)},),
    ),
    Known(
        name="instant", use="reconstructor Instant Expressive: networks of `lookalike train`", licence="that of whoever trained them",
        file="best.safetensors", source="https://research.nvidia.com/labs/amri/projects/instant4d",
        terms="its authors have released none: train one, lookalike train instant-distill",
        shapes=({"sizes": (14,), "ball": (2, 3), "decoder.layers.4.bias": (14,)},),
    ),
    _dino("s", "S", 384, 88_283_115, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    _dino("b", "B", 768, 346_378_731, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    _dino("l", "L", 1024, 0, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
    Known(
        name="alexnet", licence="BSD-3-Clause (torchvision)",
        use="features of LPIPS and of the perceptual loss (only 32 bits of its hash are published: shows damage, not forgery)",
        file="alexnet-owt-7be5be79.pth", source="https://pytorch.org/vision/stable/models.html", sha256="7be5be79",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", terms="trained on ImageNet, whose terms are research only",
        shapes=({"features.0.weight": (64, 3, 11, 11), "features.10.weight": (256, 256, 3, 3)},),
    ),
    Known(
        name="lpips-alex", use="how LPIPS weighs AlexNet's features", licence="BSD-2-Clause", file="alex.pth", size=6009,
        source="https://github.com/richzhang/PerceptualSimilarity", tensors=5,
        url="https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth",
        sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0",
        shapes=({"lin0.model.1.weight": (1, 64, 1, 1), "lin1.model.1.weight": (1, 192, 1, 1)},),
    ),
    Known(
        name="arcface", use="identity similarity (CSIM) of the held-out metrics", licence="non-commercial research (InsightFace)",
        file="backbone.pth", source="https://github.com/deepinsight/insightface/tree/master/recognition/arcface_torch",
        terms="InsightFace's models are for non-commercial research", shapes=({"conv1.weight": (64, 3, 3, 3), "fc.weight": (512, 25088)},),
    ),
)  # fmt: skip


def known(name: str) -> Known:
    """The entry of that name.

    Raises:
        WeightsError: there is none; lists them.
    """
    for entry in CATALOGUE:
        if entry.name == name:
            return entry
    raise WeightsError(f"no weights are called {name!r}", f"choose one of: {', '.join(entry.name for entry in CATALOGUE)}")


def by_hash(digest: str) -> Known | None:
    """The entry whose file has this SHA-256."""
    return next((entry for entry in CATALOGUE if entry.matches(digest)), None)


def by_shapes(shapes: Shapes) -> Known | None:
    """The entry that these tensors are of."""
    return next((entry for entry in CATALOGUE if entry.fits(shapes)), None)
