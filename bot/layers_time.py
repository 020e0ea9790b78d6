"""What a transformer makes of the time of a step and of all words together, for all steps of a picture at once.

Each of its norms has a large layer that is read at every step for a single row: six gigabytes in FLUX. Read once for all steps,
they take as long as for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from diffusers.models.normalization import (
    AdaLayerNormContinuous,
    AdaLayerNormZero,
    AdaLayerNormZeroSingle,
    SD35AdaLayerNormZeroX,
)
from torch.nn.functional import silu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NORMS: Final = AdaLayerNormZero, AdaLayerNormZeroSingle, AdaLayerNormContinuous, SD35AdaLayerNormZeroX


class Known(torch.nn.Module):
    """A layer that is given what it would have computed, among what others would have."""

    def __init__(self, layer: torch.nn.Linear, start: int) -> None:
        """Take the layer, and where its part begins."""
        super().__init__()
        self.layer, self.start, self.count = layer, start, layer.out_features

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return its part of (rows, numbers)."""
        return given.narrow(1, self.start, self.count)


class Passed(torch.nn.Module):
    """What stands where a network would have made one vector of time and words: it is given the rest of the way."""

    def __init__(self, embed: torch.nn.Module) -> None:
        """Take what would have made it."""
        super().__init__()
        self.embed = embed

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        """Return the words, in place of which it is given."""
        return given[-1]


def foretell(network: Any, blocks: Iterable[torch.nn.Module]) -> Callable[..., torch.Tensor]:
    """Let a network be given what its norms make of a step, in place of all words; return what makes it.

    That takes what the network's `time_text_embed` does, with a row for each step.
    """
    layers: list[torch.nn.Linear] = []
    start = 0
    for block in blocks:
        end = start + _let(block, 0, layers)
        give_part(block, start, end)
        start = end
    _let(network.norm_out, start, layers)
    embed = network.time_text_embed
    network.time_text_embed = Passed(embed)

    def tell(*given: torch.Tensor) -> torch.Tensor:
        vector = silu(embed(*given))
        return torch.cat([layer(vector) for layer in layers], 1)

    return tell


def _let(module: torch.nn.Module, start: int, layers: list[torch.nn.Linear]) -> int:
    """Let the norms in a module be given their parts, from `start`; note their layers, and return where the parts end."""
    norms: list[Any] = [norm for norm in module.modules() if isinstance(norm, NORMS)]
    for norm in norms:
        layers.append(norm.linear)
        norm.linear, norm.silu = Known(norm.linear, start), torch.nn.Identity()
        start += norm.linear.count
    return start


def give_part(block: Any, start: int, end: int) -> None:
    """Let a block be given its part of what all are given as `temb`: before it begins, so the compiler finds all alike."""

    def narrow(_block: Any, args: tuple[Any, ...], given: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if "temb" in given:
            return args, given | {"temb": given["temb"][:, start:end]}
        return (args[0], args[1][:, start:end]), given

    block.given_part = block.register_forward_pre_hook(narrow, with_kwargs=True)


def put_back(layer: Any) -> None:
    """Let a layer compute as diffusers has it."""
    if isinstance(layer, NORMS) and isinstance(layer.linear, Known):
        layer.linear, layer.silu = layer.linear.layer, torch.nn.SiLU()
    elif isinstance(getattr(layer, "time_text_embed", None), Passed):
        layer.time_text_embed = layer.time_text_embed.embed
    if "given_part" in layer.__dict__:
        layer.__dict__.pop("given_part").remove()
