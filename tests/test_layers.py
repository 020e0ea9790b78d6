"""Layers that take the place of diffusers' compute the same, but for rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from bot.fast import REGIONS
from bot.layers import ChannelsLastNorm, Fp8Linear, GELULinear, OneHead, attend, bend, known, quantize, t5
from bot.models import ROWS
from tests.fakes.pipelines import build
from tests.fakes.pipelines import t5 as t5_encoder


@torch.inference_mode()
def test_a_layer_in_eight_bits_multiplies_nearly_the_same() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32).bfloat16()
    given = torch.randn(2, 16, 64).bfloat16()
    expected, found = layer(given).float(), Fp8Linear(layer)(given).float()
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 0.06


def test_only_large_layers_of_blocks_that_see_every_pixel_go_into_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    network = build(ROWS["flux-schnell"]).transformer
    quantize(block for block in network.modules() if type(block).__name__ in REGIONS)
    small = {name for name, layer in network.named_modules() if isinstance(layer, Fp8Linear)}
    assert "single_transformer_blocks.0.proj_mlp" in small
    assert not [name for name in small if "norm" in name or "embed" in name]


def test_what_is_in_eight_bits_does_not_hold_what_it_was_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that are loaded could learn, so whatever is made of them remembers how."""
    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    block = torch.nn.Sequential(torch.nn.Linear(64, 32))
    assert block[0].weight.requires_grad
    quantize([block])
    assert isinstance(block[0], Fp8Linear)
    assert [tensor.grad_fn for tensor in (*block.buffers(), *block.parameters())] == [None] * 3


@torch.inference_mode()
@pytest.mark.parametrize("shape", [(2, 64, 6, 10), (1, 64, 33)])
def test_a_norm_over_pixels_first_is_the_usual_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(8, 64)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    given = 30 + torch.randn(shape) * torch.rand(64).view(
        -1, *[1] * (len(shape) - 2)
    )  # far from zero: no digits may cancel out
    expected = norm(given)
    norm.__class__ = ChannelsLastNorm
    assert torch.allclose(norm(given), expected, atol=1e-4)


@torch.inference_mode()
def test_attention_in_two_products_is_the_usual_one() -> None:
    torch.manual_seed(0)
    layer: Any = Attention(32, heads=1, dim_head=32, bias=True, norm_num_groups=8, residual_connection=True)
    given = 3 * torch.randn(1, 32, 6, 10)
    layer.set_processor(AttnProcessor2_0())  # type: ignore[no-untyped-call]
    expected = layer(given)
    layer.set_processor(OneHead())
    assert torch.allclose(layer(given), expected, atol=1e-5)


@torch.inference_mode()
def test_words_are_attended_to_the_same_when_all_layers_are_given_what_they_make_of_them() -> None:
    torch.manual_seed(0)
    network = build(ROWS["sdxl"]).unet.eval()
    words = torch.randn(2, 7, network.config.cross_attention_dim)
    given = [torch.randn(2, 9, layer.query_dim) for layer in _to_words(network)]
    expected = [layer(pixels, words) for layer, pixels in zip(_to_words(network), given, strict=True)]
    layers = attend(network)
    side_by_side = known(layers, words)
    assert list(layers) == _to_words(network)
    for layer, pixels, usual in zip(layers, given, expected, strict=True):
        assert torch.allclose(layer(pixels, side_by_side), usual, atol=1e-5)
        assert torch.allclose(layer(pixels, words), usual, atol=1e-5)


@torch.inference_mode()
def test_a_t5_reads_the_same() -> None:
    torch.manual_seed(0)
    encoder = t5_encoder().eval()
    ids = torch.randint(0, encoder.config.vocab_size, (2, 40))  # longer than the distances that it tells apart one by one
    assert torch.allclose(t5(encoder)(ids, output_hidden_states=False)[0], encoder(ids)[0], atol=1e-5)


def _to_words(network: torch.nn.Module) -> list[Attention]:
    return [layer for layer in network.modules() if isinstance(layer, Attention) and layer.is_cross_attention]


@torch.inference_mode()
def test_linear_layers_bend_what_they_give_where_a_gelu_comes_after() -> None:
    network = build(ROWS["flux-schnell"]).transformer
    both, single = network.transformer_blocks[0].ff, network.single_transformer_blocks[0]
    given = torch.randn(2, 5, 32)
    expected = both(given), single.act_mlp(single.proj_mlp(given))
    bend(network)
    assert type(both.net[0].proj) is type(single.proj_mlp) is GELULinear
    for found, usual in zip((both(given), single.act_mlp(single.proj_mlp(given))), expected, strict=True):
        assert torch.allclose(found, usual, atol=2e-3)  # a CPU's is the other kind of GELU
        assert not torch.allclose(found, torch.zeros_like(found), atol=0.05)


def test_what_is_in_eight_bits_bends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    network = build(ROWS["flux-schnell"]).transformer
    quantize(network.single_transformer_blocks)
    bend(network)
    assert isinstance(network.single_transformer_blocks[0].act_mlp, torch.nn.GELU)
