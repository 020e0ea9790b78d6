"""What makes a GPU faster computes the same, as far as that can be seen without one."""

from __future__ import annotations

import pytest
import torch

from bot.families import Flux
from bot.fast import ChannelsLastNorm, Fp8Linear, hasten, quantize, rest, slow
from bot.models import ROWS
from tests.fakes.pipelines import build


@torch.inference_mode()
def test_a_layer_in_eight_bits_multiplies_nearly_the_same() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 32).bfloat16()
    given = torch.randn(2, 16, 64).bfloat16()
    expected, found = layer(given).float(), Fp8Linear(layer)(given).float()
    assert found.shape == expected.shape
    assert float((found - expected).norm() / expected.norm()) < 0.06


def test_only_large_layers_of_blocks_that_see_every_pixel_go_into_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.fast.FP8_SIDE", 32)
    network = build(ROWS["flux-schnell"]).transformer
    quantize(network)
    small = {name for name, layer in network.named_modules() if isinstance(layer, Fp8Linear)}
    assert "single_transformer_blocks.0.proj_mlp" in small
    assert not [name for name in small if "norm" in name or "embed" in name]


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


def test_nothing_is_left_running_for_a_snapshot() -> None:
    rest()
    assert float(torch.ones(2).sum()) == 2


def test_what_a_gpu_does_not_bear_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.fast.Graphs", lambda function: function)
    pipeline = build(ROWS["flux-schnell"])
    family = Flux(pipeline, ROWS["flux-schnell"], "cpu")
    hasten(family)
    assert pipeline.transformer.transformer_blocks[0]._compiled_call_impl
    assert type(pipeline.vae.decoder.conv_norm_out) is ChannelsLastNorm
    slow(family)
    assert type(pipeline.vae.decoder.conv_norm_out) is torch.nn.GroupNorm
    assert not [part for part in pipeline.transformer.modules() if part._compiled_call_impl]
    assert (family.run, family.decoder) == (family.call, family.call_decoder)
