"""Layers of FLUX and Z-Image, computed in another way that a GPU is quicker at. The same comes out, but for rounding.

As in `bot.layers`, each takes the place of a layer that is there, with its weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers.models.activations import GELU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.transformers.transformer_flux import FluxAttention, FluxAttnProcessor, FluxSingleTransformerBlock
from diffusers.models.transformers.transformer_z_image import (
    SEQ_MULTI_OF,
    ZImageTransformer2DModel,
    ZSingleStreamAttnProcessor,
)
from torch.nn.functional import scaled_dot_product_attention

from bot.layers import Bent, Fp8Linear

if TYPE_CHECKING:
    from collections.abc import Callable

    Place = Callable[..., tuple[torch.Tensor, torch.Tensor]]


class _Placed:
    """Attention whose queries and keys one kernel normalizes, turns by their places, and joins."""

    def __init__(self, place: Place) -> None:
        """Take that kernel: `bot.kernels.place`."""
        self._place = place


class Placed(_Placed):
    """Such attention in FLUX."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: None = None,  # noqa: ARG002  diffusers gives it by its name
        image_rotary_emb: Any = None,
    ) -> Any:
        """Attend: pixels, and words where they are a part of their own, (rows, tokens, channels), to the same."""
        norms = [attn.norm_q.weight, attn.norm_k.weight]
        if encoder_hidden_states is None:
            parts = [[project(hidden_states) for project in (attn.to_q, attn.to_k, attn.to_v)]]
        else:
            parts = [part.chunk(3, -1) for part in (attn.to_added_qkv(encoder_hidden_states), attn.to_qkv(hidden_states))]
            norms = [attn.norm_added_q.weight, attn.norm_added_k.weight, *norms]
        queries, keys, values = zip(*parts, strict=True)
        cos, sin = (each[None, :, ::2] for each in image_rotary_emb)  # each stands there twice
        query, key = self._place([*queries], [*keys], norms, cos, sin, attn.heads, attn.norm_q.eps)
        found = _attend(query, key, torch.cat(values, 1))
        if encoder_hidden_states is None:
            return found
        count = encoder_hidden_states.shape[1]
        return attn.to_out[0](found[:, count:].contiguous()), attn.to_add_out(found[:, :count].contiguous())


class PlacedZ(_Placed):
    """Such attention in Z-Image."""

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: None = None,  # noqa: ARG002
        attention_mask: torch.Tensor | None = None,
        freqs_cis: Any = None,
    ) -> torch.Tensor:
        """Attend: (rows, tokens, channels) to the same; where rows differ in length, a mask says what to attend to."""
        query, key, value = (project(hidden_states) for project in (attn.to_q, attn.to_k, attn.to_v))
        cos, sin = torch.view_as_real(freqs_cis).unbind(-1)
        norms = [attn.norm_q.weight, attn.norm_k.weight]
        query, key = self._place([query], [key], norms, cos, sin, attn.heads, attn.norm_q.eps)
        mask = None if attention_mask is None else attention_mask[:, None, None, :]
        return attn.to_out[0](_attend(query, key, value, mask))  # type: ignore[no-any-return]


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    query, key, value = (each.transpose(1, 2) for each in (query, key, value.view(query.shape)))
    return scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)


def turn(network: torch.nn.Module) -> None:
    """Let a network compute with kernels of ours: on a GPU only."""
    from bot.kernels import bend_and_shrink, place  # noqa: PLC0415

    bend_late(network, bend_and_shrink)
    layer: Any
    for layer in network.modules():
        if isinstance(layer, FluxAttention):
            layer.set_processor(Placed(place))  # type: ignore[arg-type]
        elif isinstance(layer, Attention) and isinstance(layer.processor, ZSingleStreamAttnProcessor):
            layer.set_processor(PlacedZ(place))  # type: ignore[arg-type]


class Halves(torch.nn.Module):
    """A linear layer that takes what it is given in two parts, without joining them first: they are large."""

    def __init__(self, linear: torch.nn.Linear, first: int) -> None:
        """Take a layer, and how many numbers the first part has."""
        super().__init__()
        self.first, self.second = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1)
        parts = linear.weight[:, :first], linear.weight[:, first:]  # the same memory
        for layer, weight in zip((self.first, self.second), parts, strict=True):
            layer.weight = torch.nn.Parameter(weight, requires_grad=False)
            layer.out_features, layer.in_features = weight.shape
        self.second.bias = linear.bias

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        return self.first(first) + self.second(second)  # type: ignore[no-any-return]


class SingleBlock(FluxSingleTransformerBlock):
    """A block of FLUX for pixels and words together, which does not join what attention and the layers beside it have found."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        temb: torch.Tensor,
        image_rotary_emb: Any = None,
        joint_attention_kwargs: Any = None,  # noqa: ARG002  the empty ones of the pipeline
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take pixels and words, (rows, tokens, channels), one block further; return words and pixels."""
        both = torch.cat([encoder_hidden_states, hidden_states], 1)
        even, gate = self.norm(both, emb=temb)
        attended = self.attn(hidden_states=even, image_rotary_emb=image_rotary_emb)
        both = both + gate.unsqueeze(1) * self.proj_out(attended, self.act_mlp(self.proj_mlp(even)))
        count = encoder_hidden_states.shape[1]
        return both[:, :count], both[:, count:]


def fuse(network: torch.nn.Module) -> None:
    """Let blocks of FLUX with words apart make queries, keys and values in one product, by diffusers' own means.

    Where all tokens are together, values would have to be copied out of that for attention to take them.
    """
    attn: Any
    for attn in network.modules():
        if isinstance(attn, FluxAttention) and attn.added_kv_proj_dim:
            attn.fuse_projections()  # type: ignore[no-untyped-call]
            for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
                delattr(attn, name)  # the same weights again


def halve(network: torch.nn.Module) -> None:
    """Let blocks of FLUX that have all tokens together join less."""
    for block in list(network.modules()):
        if type(block) is FluxSingleTransformerBlock and block.proj_out.weight.dtype is not torch.float16:  # it would clip
            block.__class__, block.proj_out = SingleBlock, Halves(block.proj_out, block.proj_out.out_features)  # type: ignore[assignment]


class Refined(ZImageTransformer2DModel):
    """Z-Image's network, given words as its own layers for words refine them. It still has those, but no longer finds them."""

    cap_embedder: Any = staticmethod(lambda words: words)
    context_refiner: Any = ()


def refine(network: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """Let Z-Image's network be given refined words, and return what refines them: nothing there depends on the step.

    Of (words, channels) it makes (32, 64, …, channels), filled up as the network does it: so they come in few lengths.
    """
    embed, layers = network.cap_embedder, network.context_refiner
    network.__class__ = Refined

    def refined(words: torch.Tensor) -> torch.Tensor:
        length = len(words) + -len(words) % SEQ_MULTI_OF
        even, places, filled, *_ = network._pad_with_ids(words, (length, 1, 1), (1, 0, 0), words.device)  # noqa: SLF001
        found, turns, mask, *_ = network._prepare_sequence([embed(even)], [places], [filled], network.cap_pad_token)  # noqa: SLF001
        for layer in layers:
            found = layer(found, mask, turns)
        return found[0]  # type: ignore[no-any-return]

    return refined


def bend_late(network: torch.nn.Module, shrink: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Let linear layers in eight bits do the GELU before them too, with a kernel of ours: `bot.kernels.bend_and_shrink`.

    Those rows are too long for the compiler to keep: it reads and bends them twice. The shorter ones of other layers it does
    keep, from the norm before, which would have to be written and read for a kernel of ours.
    """
    for block in network.modules():
        if isinstance(block, FeedForward) and type(block.net[0]) is GELU and isinstance(block.net[2], Fp8Linear):
            if block.net[0].approximate == "tanh":
                block.net[0].__class__, block.net[2].shrink = Bent, shrink
        elif isinstance(block, SingleBlock) and isinstance(block.proj_out.second, Fp8Linear):
            block.act_mlp, block.proj_out.second.shrink = torch.nn.Identity(), shrink  # type: ignore[assignment]


def put_back(layer: Any) -> None:
    """Let a layer compute as diffusers has it."""
    if type(layer) is Refined:
        layer.__class__ = ZImageTransformer2DModel
    elif isinstance(layer, FluxAttention):
        layer.set_processor(FluxAttnProcessor())  # type: ignore[arg-type, no-untyped-call]
    elif isinstance(layer, Attention) and isinstance(layer.processor, PlacedZ):
        layer.set_processor(ZSingleStreamAttnProcessor())
