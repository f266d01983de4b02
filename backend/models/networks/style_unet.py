"""StyleUNet: splatted features to a picture (Chu & Harada 2024, sec. 3.3), a U-Net that steers StyleGAN2's decoder.

Wang et al. 2021 (GFP-GAN, "clean" variant without custom kernels) in names and arithmetic; Karras et al. 2020 for modulated
convolutions. Parameter names are the released checkpoints'; OMG-Avatar's is the same net with a narrower channel table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

STYLE = 512
SLOPE = 0.2
WIDE_CHANNELS: Mapping[int, int] = {4: 512, 8: 512, 16: 512, 32: 512, 64: 256, 128: 128, 256: 64, 512: 32}
"""GAGAvatar: the decoder's channels by resolution; the U-Net has half of them."""
NARROW_CHANNELS: Mapping[int, int] = {**WIDE_CHANNELS, 4: 256, 8: 256, 16: 256, 32: 256}
"""OMG-Avatar."""


class StyleUNet(nn.Module):
    """Features to RGB at the same size.

    Args:
        inputs: feature channels.
        size: side of the square picture, a power of two, at least 8.
        channels: the decoder's channels by resolution, from 4 to `size`.
    """

    def __init__(self, inputs: int = 32, size: int = 512, channels: Mapping[int, int] = WIDE_CHANNELS) -> None:
        super().__init__()
        self.size = size
        falling = [size >> i for i in range(round(math.log2(size)) - 1)]
        rising = falling[::-1]
        half = {r: channels[r] // 2 for r in falling}
        self.conv_body_first = nn.Conv2d(inputs, half[size], 1)
        self.conv_body_down = nn.ModuleList(ResBlock(half[a], half[b], 0.5) for a, b in pairwise(falling))
        self.final_conv = nn.Conv2d(half[4], half[4], 3, padding=1)
        self.final_linear = nn.Linear(half[4] * 16, STYLE)
        self.conv_body_up = nn.ModuleList(ResBlock(half[a], half[b], 2.0) for a, b in pairwise(rising))
        # Quirk G6: present in the checkpoint, read by nothing.
        self.toRGB = nn.ModuleList(nn.Conv2d(half[r], 3, 1) for r in rising[1:])
        self.stylegan_decoder = StyleDecoder(rising, channels)
        self.condition_scale = nn.ModuleList(_condition(half[r], channels[r]) for r in rising[1:])
        self.condition_shift = nn.ModuleList(_condition(half[r], channels[r]) for r in rising[1:])

    def forward(self, features: Float[Tensor, "b c h w"], randomize_noise: bool = False) -> Float[Tensor, "b 3 h w"]:
        """Refine.

        Args:
            features: splatted features, `size` pixels square.
            randomize_noise: quirk Q4: the released code draws new noise at every call, which flickers from frame to frame. By default
                the checkpoint's stored noise is used, and equal input gives equal output.
        Returns:
            RGB 0..1.
        """
        image = functional.leaky_relu(self.conv_body_first(features), SLOPE)
        skips = []
        for block in self.conv_body_down:
            image = block(image)
            skips.append(image)
        image = functional.leaky_relu(self.final_conv(image), SLOPE)
        style = self.final_linear(image.flatten(1))
        scales, shifts = [], []
        for block, skip, to_scale, to_shift in zip(
            self.conv_body_up, reversed(skips), self.condition_scale, self.condition_shift, strict=True
        ):
            image = block(image + skip)
            scales.append(to_scale(image))
            shifts.append(to_shift(image))
        return self.stylegan_decoder(style, scales, shifts, randomize_noise).sigmoid()


class ResBlock(nn.Module):
    """Two convolutions with a change of size between, and a resampled skip."""

    def __init__(self, inputs: int, outputs: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        inner = _resize(functional.leaky_relu(self.conv1(image), SLOPE), self.factor)
        inner = functional.leaky_relu(self.conv2(inner), SLOPE)
        return inner + self.skip(_resize(image, self.factor))


class StyleDecoder(nn.Module):
    """StyleGAN2's synthesis network whose levels are scaled and shifted by the U-Net (spatial feature transform, GFP-GAN eq. 3)."""

    def __init__(self, sides: list[int], channels: Mapping[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [NormalizeStyle()]
        for _ in range(8):
            layers += [nn.Linear(STYLE, STYLE), nn.LeakyReLU(SLOPE)]
        self.style_mlp = nn.Sequential(*layers)
        self.constant_input = ConstantInput(channels[4])
        self.style_conv1 = StyleConv(channels[4], channels[4])
        self.to_rgb1 = ToRGB(channels[4])
        self.style_convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for a, b in pairwise(sides):
            self.style_convs.extend([StyleConv(channels[a], channels[b], upsample=True), StyleConv(channels[b], channels[b])])
            self.to_rgbs.append(ToRGB(channels[b]))
        self.noises = nn.Module()
        self.noises.register_buffer("noise0", torch.zeros(1, 1, 4, 4))
        for i, side in enumerate(sides[1:]):
            for j in (1, 2):
                self.noises.register_buffer(f"noise{2 * i + j}", torch.zeros(1, 1, side, side))

    def forward(
        self, style: Float[Tensor, "b s"], scales: list[Tensor], shifts: list[Tensor], randomize_noise: bool
    ) -> Float[Tensor, "b 3 h w"]:
        """Synthesise from a style code; scales and shifts [b, c, r, r] for r = 8, 16, ... Returns logits of RGB."""
        latent = self.style_mlp(style)
        noise = lambda i: None if randomize_noise else getattr(self.noises, f"noise{i}")
        image = self.style_conv1(self.constant_input(len(style)), latent, noise(0))
        rgb = self.to_rgb1(image, latent, None)
        for i, to_rgb in enumerate(self.to_rgbs):
            image = self.style_convs[2 * i](image, latent, noise(2 * i + 1))
            image = image * scales[i] + shifts[i]
            image = self.style_convs[2 * i + 1](image, latent, noise(2 * i + 2))
            rgb = to_rgb(image, latent, rgb)
        return rgb


class NormalizeStyle(nn.Module):
    """A style code scaled to a mean square of one."""

    def forward(self, style: Float[Tensor, "b s"]) -> Float[Tensor, "b s"]:
        return style * torch.rsqrt(style.square().mean(1, keepdim=True) + 1e-8)


class ConstantInput(nn.Module):
    """The learnt 4x4 start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, channels, 4, 4))

    def forward(self, batch: int) -> Float[Tensor, "b c 4 4"]:
        return self.weight.expand(batch, -1, -1, -1)


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by the style, its output renormalised (Karras et al. 2020, eq. 1-3)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, demodulate: bool, upsample: bool = False) -> None:
        super().__init__()
        self.demodulate, self.upsample = demodulate, upsample
        self.modulation = nn.Linear(STYLE, inputs)
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel) / math.sqrt(inputs * kernel**2))

    def forward(self, image: Float[Tensor, "b c h w"], latent: Float[Tensor, "b s"]) -> Float[Tensor, "b d y x"]:
        batch, _, outputs, kernel = len(image), *self.weight.shape[:2], self.weight.shape[-1]
        weight = self.weight * self.modulation(latent)[:, None, :, None, None]
        if self.demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        if self.upsample:
            image = _resize(image, 2.0)
        # One group a picture: every picture of the batch has its own kernel.
        grouped = image.reshape(1, -1, *image.shape[-2:])
        result = functional.conv2d(grouped, weight.reshape(batch * outputs, -1, kernel, kernel), padding=kernel // 2, groups=batch)
        return result.reshape(batch, outputs, *result.shape[-2:])


class StyleConv(nn.Module):
    """Modulated convolution, noise, bias, leaky ReLU; the sqrt(2) keeps the variance and comes before the noise (G6)."""

    def __init__(self, inputs: int, outputs: int, upsample: bool = False) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(inputs, outputs, 3, demodulate=True, upsample=upsample)
        self.weight = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(1, outputs, 1, 1))

    def forward(
        self, image: Float[Tensor, "b c h w"], latent: Float[Tensor, "b s"], noise: Float[Tensor, "1 1 y x"] | None
    ) -> Float[Tensor, "b d y x"]:
        image = self.modulated_conv(image, latent) * math.sqrt(2.0)
        if noise is None:
            noise = torch.randn_like(image[:, :1])
        return functional.leaky_relu(image + self.weight * noise + self.bias, SLOPE)


class ToRGB(nn.Module):
    """Features to RGB logits, added to the enlarged picture of the level below."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.modulated_conv = ModulatedConv(inputs, 3, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(
        self, image: Float[Tensor, "b c h w"], latent: Float[Tensor, "b s"], below: Float[Tensor, "b 3 y x"] | None
    ) -> Float[Tensor, "b 3 h w"]:
        rgb = self.modulated_conv(image, latent) + self.bias
        return rgb if below is None else rgb + _resize(below, 2.0)


def _condition(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, inputs, 3, padding=1), nn.LeakyReLU(SLOPE), nn.Conv2d(inputs, outputs, 3, padding=1))


def _resize(image: Float[Tensor, "b c h w"], factor: float) -> Float[Tensor, "b c y x"]:
    return functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
