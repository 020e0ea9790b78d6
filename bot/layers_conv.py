"""Layers of UNets and of decoders, computed in another way that a GPU is quicker at. The same comes out, but for rounding.

As in `bot.layers`, each takes the place of a layer that is there, with its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch.nn.functional import conv2d, linear, silu

from bot.layers_time import give_part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Norm(torch.nn.GroupNorm):
    """Group norm by a kernel of ours, and the SiLU after it, if there is one."""

    normalize: Callable[..., torch.Tensor]
    bent: bool

    def forward(self, input: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:  # noqa: A002  its name in torch
        """Normalize (rows, channels, height, width); add (some, channels) before, to the pixels of so many rows each time."""
        return self.normalize(input, added, self.weight, self.bias, self.num_groups, self.eps, self.bent)


def convolved(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolve pictures in the usual way."""
    return conv2d(given, weight, bias, padding=1)


class Resnet(ResnetBlock2D):
    """A residual block with such norms. `Times` tells it what to add to each pixel, the bias of its first layer included.

    `convolve` may be put in for one that is quicker.
    """

    convolve: Callable[..., torch.Tensor] = staticmethod(convolved)

    def forward(self, input_tensor: torch.Tensor, temb: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Take pictures, (rows, channels, height, width), one block further."""
        hidden = self.convolve(self.norm1(input_tensor), self.conv1.weight, None)
        hidden = self.convolve(self.norm2(hidden, temb), self.conv2.weight, self.conv2.bias)
        rest = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return (rest + hidden) / self.output_scale_factor


class Timeless(Resnet):
    """The same in a decoder, which knows of no time: there is the bias alone."""

    def forward(self, input_tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """Take pictures, (rows, channels, height, width), one block further."""
        return super().forward(input_tensor, self.conv1.bias[None])  # type: ignore[index]


class Attending(Transformer2DModel):
    """Attention in a UNet that leaves the channels of a pixel side by side; diffusers writes them in another order."""

    def _get_output_for_continuous_inputs(
        self, hidden_states: torch.Tensor, residual: torch.Tensor, batch_size: int, height: int, width: int, inner_dim: int
    ) -> torch.Tensor:
        def laid_out(pixels: torch.Tensor) -> torch.Tensor:
            return pixels.reshape(batch_size, height, width, inner_dim).permute(0, 3, 1, 2)

        if self.use_linear_projection:
            return laid_out(self.proj_out(hidden_states)) + residual
        return self.proj_out(laid_out(hidden_states)) + residual  # type: ignore[no-any-return]


class Times(torch.nn.Module):
    """What all residual blocks of a UNet make of the time of a step, side by side: in one product instead of one in each."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, blocks: Sequence[Any]) -> None:
        """Take the blocks, and let each be given its own part."""
        super().__init__()
        self.register_buffer("weight", torch.cat([block.time_emb_proj.weight for block in blocks]))
        self.register_buffer("bias", torch.cat([block.time_emb_proj.bias + block.conv1.bias for block in blocks]))
        start = 0
        for block in blocks:
            give_part(block, start, start + block.out_channels)
            start += block.out_channels

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        """Take (rows, numbers of a time)."""
        return linear(silu(time), self.weight, self.bias)


USUAL: Final[dict[type, type]] = {
    Norm: torch.nn.GroupNorm,
    Resnet: ResnetBlock2D,
    Timeless: ResnetBlock2D,
    Attending: Transformer2DModel,
}


@torch.no_grad()
def even(network: Any) -> None:
    """Let a UNet normalize, and where pictures are smallest convolve, by kernels of ours: on a GPU only."""
    from bot.kernels_conv import convolve  # noqa: PLC0415  Triton is not on every computer

    if not _alike(network) or network.time_embed_act:
        return
    blocks = _even_blocks(network, Resnet)
    for block in _deepest(network):
        block.convolve = convolve
    for layer in network.modules():
        if type(layer) is Transformer2DModel:
            _even_norm(layer.norm, bent=False)
            layer.__class__ = Attending
    network.time_embed_act = Times(blocks)


def even_decoder(decoder: Any) -> None:
    """Let the decoder of an autoencoder normalize by that kernel, if it is of the usual kind."""
    if isinstance(decoder, Decoder) and _alike(decoder):
        _even_blocks(decoder, Timeless)


def _alike(network: Any) -> bool:
    """Say whether all its residual blocks, and its end, are what such layers can take the place of."""
    return isinstance(network.conv_act, torch.nn.SiLU) and all(map(_usual, _blocks(network)))


def _blocks(network: Any) -> list[Any]:
    return [block for block in network.modules() if isinstance(block, ResnetBlock2D)]


def _even_blocks(network: Any, kind: type[Resnet]) -> list[Any]:
    blocks = _blocks(network)
    for block in blocks:
        _even_norm(block.norm1, bent=True)
        _even_norm(block.norm2, bent=True)
        block.__class__ = kind
    _even_norm(network.conv_norm_out, bent=True)
    network.conv_act = torch.nn.Identity()
    return blocks


def _even_norm(norm: Any, *, bent: bool) -> None:
    from bot.kernels_norm import normalize  # noqa: PLC0415  Triton is not on every computer

    norm.__class__, norm.normalize, norm.bent = Norm, normalize, bent


def _deepest(network: Any) -> list[Any]:
    """Return the blocks where pictures are smallest, if they are so small there that the usual way to convolve is slow."""
    from bot.kernels_conv import MOST, fits  # noqa: PLC0415

    side = network.config.sample_size >> len(network.down_blocks) - 1  # where a picture has the size that it was trained with
    guided = 2 * side**2  # pixels, as a guided picture has two rows
    if guided > MOST or not fits(network.device):
        return []
    parts = network.down_blocks[-1], network.mid_block, network.up_blocks[0]
    return [block for part in parts for block in part.resnets]


def _usual(block: Any) -> bool:
    bends = isinstance(block.nonlinearity, torch.nn.SiLU)
    adds = block.time_embedding_norm in ("default", "group")  # the other ones multiply too
    return bends and adds and not (block.up or block.down or block.skip_time_act)


def put_back(layer: Any) -> None:
    """Let a layer compute as diffusers has it; `bot.layers_time` takes back that blocks are given their parts."""
    if type(layer) in USUAL:
        layer.__class__ = USUAL[type(layer)]
        layer.__dict__.pop("convolve", None)
    if type(getattr(layer, "conv_norm_out", None)) is Norm:
        layer.conv_act = torch.nn.SiLU()
    if isinstance(getattr(layer, "time_embed_act", None), Times):
        layer.time_embed_act = None
