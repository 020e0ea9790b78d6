"""Layers of diffusers' networks, computed in another way that a GPU is quicker at. The same comes out, but for rounding.

Each takes the place of a layer that is there, with its weights; bench/LOG.md has what each gains. Eight bits are the exception:
they do change pictures, and only a model's row can ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.activations import GELU
from diffusers.models.attention_processor import Attention, AttnProcessor2_0, FusedAttnProcessor2_0
from diffusers.models.transformers.transformer_flux import FluxSingleTransformerBlock
from torch.nn.functional import gelu, rms_norm, scaled_dot_product_attention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

LARGEST_FP8: Final = torch.finfo(torch.float8_e4m3fn).max  # 448
FP8_SIDE: Final = 512  # rows and columns: smaller layers take longer to convert than they save
PARTS: Final = 4  # of a picture, one after the other, in a decoder's attention: all at once takes four times the memory


class ChannelsLastNorm(torch.nn.GroupNorm):
    """Group norm as suits pictures whose channels lie side by side: over the pixels of each, then over the channels of a group.

    Compiled as it usually is, in one go, it reads a few bytes here and a few there: nearly half of a decoder's time.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  its name in torch
        """Normalize (rows, channels, …)."""
        exact = input.float()
        variances, means = torch.var_mean(exact.flatten(2), dim=2, correction=0)
        variances, means = (each.view(len(input), self.num_groups, -1) for each in (variances, means))
        mean = means.mean(2, keepdim=True)
        variance = variances.mean(2, keepdim=True) + (means - mean).square().mean(2, keepdim=True)
        shape = (*input.shape[:2], *[1] * (input.ndim - 2))
        mean, scale = (each.expand_as(means).reshape(shape) for each in (mean, torch.rsqrt(variance + self.eps)))
        weight, bias = (each.float().view(shape[1:]) for each in (self.weight, self.bias))
        return ((exact - mean) * (scale * weight) + bias).to(input.dtype)


class OneHead:
    """Attention in an autoencoder: of every pixel to every other, in one head, too wide for the kernels made for attention.

    So it is two products of matrices, and between them a softmax in full precision.
    """

    def __call__(self, attn: Any, hidden_states: torch.Tensor, temb: None = None, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Attend: (1, channels, height, width) to the same. diffusers says a `temb` that is None, and wants to see it named."""
        pixels = attn.group_norm(hidden_states.flatten(2)).transpose(1, 2)
        query, key, value = attn.to_q(pixels), attn.to_k(pixels), attn.to_v(pixels)
        found = []
        for part in query.unflatten(1, (PARTS, -1)).unbind(1):
            weights = torch.softmax(_exact_product(part, key.mT) * query.shape[-1] ** -0.5, -1)
            found.append(torch.bmm(weights.to(value.dtype), value))
        pixels = attn.to_out[0](torch.cat(found, 1))
        return pixels.transpose(1, 2).reshape(hidden_states.shape) + hidden_states  # type: ignore[no-any-return]


def decode(decoder: torch.nn.Module) -> None:
    """Let the decoder of an autoencoder normalize and attend quicker."""
    layer: Any
    for layer in decoder.modules():
        if type(layer) is torch.nn.GroupNorm:
            layer.__class__ = ChannelsLastNorm
        elif isinstance(layer, Attention):
            layer.set_processor(OneHead())  # type: ignore[arg-type]


def _exact_product(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Multiply, and round nothing to the short numbers that go in."""
    if one.is_cuda:
        return torch.bmm(one, other, out_dtype=torch.float32)
    return torch.bmm(one.float(), other.float())  # what torch has for GPUs alone


class Words:
    """Attention to words, whose keys and values are the same at every step: they are given, side by side for all layers.

    Where it is given the words themselves, it does what is usual.
    """

    def __init__(self, start: int) -> None:
        """Take where this layer's keys begin; its values are behind them."""
        self._start = start

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: torch.Tensor, *_: Any, **__: Any
    ) -> torch.Tensor:
        """Attend: (rows, pixels, channels) to the same."""
        query = attn.to_q(hidden_states)
        if encoder_hidden_states.shape[-1] == attn.cross_attention_dim:
            key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        else:
            key, value = encoder_hidden_states.narrow(-1, self._start, 2 * attn.inner_kv_dim).chunk(2, -1)
        query, key, value = (each.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for each in (query, key, value))
        found = scaled_dot_product_attention(query, key, value)
        return attn.to_out[0](found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def attend(network: torch.nn.Module) -> Sequence[Any]:
    """Let a UNet attend quicker: to pixels by one product, to words by what it is given; return its layers for words."""
    layers: list[Any] = [layer for layer in network.modules() if isinstance(layer, Attention)]
    start = 0
    for layer in layers:
        if layer.is_cross_attention:
            layer.set_processor(Words(start))
            start += 2 * layer.inner_kv_dim
        else:
            layer.fuse_projections()
            layer.set_processor(FusedAttnProcessor2_0())  # type: ignore[no-untyped-call]
    return [layer for layer in layers if layer.is_cross_attention]


def known(layers: Iterable[Any], words: torch.Tensor) -> torch.Tensor:
    """Return the keys and values of words, (rows, words, channels), side by side for all layers."""
    return torch.cat([project(words) for layer in layers for project in (layer.to_k, layer.to_v)], -1)


def t5(encoder: Any) -> Callable[..., tuple[torch.Tensor]]:
    """Return what reads the ids of a text, (rows, words), as a T5 does whose weights are all of one kind: not float16.

    transformers takes three times the kernels: its norms and its GELU are made of many, and it puts a mask that hides nothing
    over what it adds to the scores, in a layout that no kernel for attention takes.
    """
    stack = encoder.encoder

    def read(ids: torch.Tensor, *, output_hidden_states: bool = False) -> tuple[torch.Tensor]:  # noqa: ARG001
        hidden = stack.embed_tokens(ids)
        places = stack.block[0].layer[0].SelfAttention.compute_bias(ids.shape[1], ids.shape[1]).to(hidden.dtype).contiguous()
        for block in stack.block:
            hidden = hidden + _attended(block.layer[0], hidden, places)
            hidden = hidden + _gated(block.layer[-1], hidden)
        return (_even(stack.final_layer_norm, hidden),)

    return read


def _attended(layer: Any, hidden: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    attn, even = layer.SelfAttention, _even(layer.layer_norm, hidden)
    query, key, value = (each(even).unflatten(-1, (attn.n_heads, -1)).transpose(1, 2) for each in (attn.q, attn.k, attn.v))
    found = scaled_dot_product_attention(query, key, value, places, scale=1.0)
    return attn.o(found.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def _gated(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    dense, even = layer.DenseReluDense, _even(layer.layer_norm, hidden)
    return dense.wo(gelu(dense.wi_0(even), approximate="tanh") * dense.wi_1(even))  # type: ignore[no-any-return]


def _even(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return rms_norm(hidden, hidden.shape[-1:], norm.weight, norm.variance_epsilon)


class GELULinear(torch.nn.Linear):
    """A linear layer and the GELU after it in one kernel: of the tanh kind, which is what transformers of pictures have."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  its name in torch
        """Multiply, and bend."""
        # There is no public way to it.
        found = torch._addmm_activation(self.bias, input.flatten(0, -2), self.weight.t(), use_gelu=True)  # noqa: SLF001
        return found.view(*input.shape[:-1], -1)


class Bent(GELU):
    """A GELU that a linear layer does: its own, or the one that comes after."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return self.proj(hidden_states)  # type: ignore[no-any-return]


def bend(network: torch.nn.Module) -> None:
    """Let linear layers bend what they give themselves, where a GELU comes after; in eight bits there is no way to it."""
    for block in list(network.modules()):
        if isinstance(block, GELU) and block.approximate == "tanh" and type(block.proj) is torch.nn.Linear:
            block.proj.__class__, block.__class__ = GELULinear, Bent
        elif isinstance(block, FluxSingleTransformerBlock) and type(block.proj_mlp) is torch.nn.Linear:
            block.proj_mlp.__class__, block.act_mlp = GELULinear, torch.nn.Identity()  # type: ignore[assignment]


def put_back(layer: Any) -> None:
    """Let a layer compute as diffusers has it, for a GPU that does not bear the other way."""
    kind = type(layer)
    if kind is Attention and isinstance(layer.processor, OneHead):
        layer.set_processor(AttnProcessor2_0())  # type: ignore[no-untyped-call]
    elif isinstance(layer, FluxSingleTransformerBlock):
        layer.act_mlp = torch.nn.GELU("tanh")
    elif kind is GELULinear:
        layer.__class__ = torch.nn.Linear
    elif kind is Bent:
        layer.__class__ = GELU
    elif kind is Fp8Linear:
        layer.shrink = shrink
    elif kind is ChannelsLastNorm:  # quicker only where it is compiled
        layer.__class__ = torch.nn.GroupNorm


def shrink(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Put numbers, (rows, numbers), into eight bits; return them, each row scaled to what those reach, and its scale."""
    scales = rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / LARGEST_FP8
    return (rows.float() / scales).to(torch.float8_e4m3fn), scales


class Fp8Linear(torch.nn.Module):
    """A linear layer in eight bits, its weights and what it is given. `shrink` may be put in for one that does more."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        weight, scales = shrink(linear.weight)
        self.register_buffer("weight", weight)
        self.register_buffer("scales", scales.t().contiguous())
        self.shrink: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]] = shrink
        self.bias, self.dtype = linear.bias, linear.weight.dtype
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        small, scales = self.shrink(given.flatten(0, -2))
        found = torch._scaled_mm(  # noqa: SLF001  the public way to multiply in eight bits is still to come
            small,
            self.weight.t(),
            scale_a=scales,
            scale_b=self.scales,
            bias=self.bias,
            out_dtype=self.dtype,
            use_fast_accum=True,
        )
        return found.reshape(*given.shape[:-1], -1)


@torch.no_grad()  # or what is small remembers the large that it was made of
def quantize(blocks: Iterable[torch.nn.Module]) -> None:
    """Put the large linear layers of blocks into eight bits: not those that work on one row, which gain nothing."""
    for block in blocks:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, torch.nn.Linear) and "norm" not in name and min(layer.weight.shape) >= FP8_SIDE:
                block.set_submodule(name, Fp8Linear(layer))
