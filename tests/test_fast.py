"""What makes a GPU faster computes the same, as far as that can be seen without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bot.fast import Fp8Linear, Projected, quantize, rest
from bot.models import ROWS
from tests.fakes.pipelines import build


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
@torch.inference_mode()
def test_words_that_are_projected_once_are_attended_to_as_before(name: str) -> None:
    network = build(ROWS[name]).unet.eval()
    words = torch.randn(2, 77, network.config.cross_attention_dim)
    given: dict[str, Any] = {"sample": torch.randn(2, 4, 8, 8), "timestep": torch.tensor([3, 700])}
    if name == "sdxl":
        given["added_cond_kwargs"] = {"text_embeds": torch.randn(2, 32), "time_ids": torch.randn(2, 6)}
    expected = network(encoder_hidden_states=words, **given).sample
    network.fuse_qkv_projections()
    project = Projected.install(network)
    found = network(encoder_hidden_states=project(words), **given).sample
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


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


def test_nothing_is_left_running_for_a_snapshot() -> None:
    rest()
    assert float(torch.ones(2).sum()) == 2
