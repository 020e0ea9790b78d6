"""What the rows of a guided picture have in common, computed once: in a UNet both are the same until they are told their words.

That is its first convolutions and the first attention to pixels, one of the largest. It changes no picture beyond rounding.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from diffusers.models.unets.unet_2d_blocks import CrossAttnDownBlock2D
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from bot.layers_conv import Attending

EARLIER: Final = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type")  # ways to tell words with the time


class Sharing(UNet2DConditionModel):
    """A UNet that may be given fewer times than rows. As often as those go round, the same pictures come again."""

    def get_time_embed(self, sample: torch.Tensor, timestep: Any) -> torch.Tensor | None:
        """Return what is made of the times that there are; diffusers would want one for each row."""
        return super().get_time_embed(sample[: len(timestep)], timestep)


class Beginning(CrossAttnDownBlock2D):
    """The first blocks of such a network."""

    def forward(  # type: ignore[override]  # what else diffusers' takes, a UNet by itself does not give it
        self, hidden_states: torch.Tensor, temb: torch.Tensor, encoder_hidden_states: torch.Tensor, **_: Any
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Take pictures, (rows, channels, height, width), with as many words, but maybe fewer times."""
        if len(temb) == len(hidden_states):
            return super().forward(hidden_states, temb, encoder_hidden_states)
        (resnet, attention), *others = zip(self.resnets, self.attentions, strict=True)
        hidden = _told(attention, resnet(hidden_states[: len(temb)], temb), encoder_hidden_states)
        states = [hidden]
        for resnet, attention in others:
            hidden = attention(resnet(hidden, temb), encoder_hidden_states=encoder_hidden_states, return_dict=False)[0]
            states.append(hidden)
        for smaller in self.downsamplers or ():
            hidden = smaller(hidden)
            states.append(hidden)
        return hidden, tuple(states)


def _told(attention: Any, pictures: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
    """Attend as `attention` does; pictures become as many as there are words once they have attended to themselves."""
    repeated = len(words) // len(pictures)
    hidden, inner = attention._operate_on_continuous_inputs(pictures)  # noqa: SLF001
    first, *others = attention.transformer_blocks
    hidden = torch.cat([first.attn1(first.norm1(hidden)) + hidden] * repeated)
    hidden = first.attn2(first.norm2(hidden), encoder_hidden_states=words) + hidden
    hidden = first.ff(first.norm3(hidden)) + hidden
    for block in others:
        hidden = block(hidden, encoder_hidden_states=words)
    rest, size = torch.cat([pictures] * repeated), pictures.shape[-2:]
    return attention._get_output_for_continuous_inputs(hidden, rest, len(words), *size, inner)  # type: ignore[no-any-return]  # noqa: SLF001


USUAL: Final[dict[type, type]] = {Sharing: UNet2DConditionModel, Beginning: CrossAttnDownBlock2D}


def share(network: Any) -> bool:
    """Let a UNet with the layers of `bot.layers_conv` be given fewer times than rows; return whether it is one that can be."""
    if not _begins_alike(network):
        return False
    network.__class__, network.down_blocks[0].__class__ = Sharing, Beginning
    return True


def _begins_alike(network: Any) -> bool:
    """Say whether words are told first by the first attention to them, and in the usual way."""
    first = network.down_blocks[0]
    if type(network) is not UNet2DConditionModel or type(first) is not CrossAttnDownBlock2D:
        return False
    attention: Any = first.attentions[0]
    if any(getattr(network.config, name) for name in EARLIER) or type(attention) is not Attending:
        return False
    block = attention.transformer_blocks[0]
    usual = block.norm_type == "layer_norm" and block.pos_embed is None and not block.only_cross_attention
    return usual and block.attn2 is not None and bool(block.attn2.is_cross_attention)


def put_back(layer: Any) -> None:
    """Let a layer compute as diffusers has it."""
    layer.__class__ = USUAL.get(type(layer), type(layer))
