"""What a UNet computes once for all rows of a picture is what it would have computed for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from bot.layers_conv import even
from bot.layers_conv import put_back as put_back_convolutions
from bot.layers_time import put_back as put_back_times
from bot.layers_unet import Beginning, Sharing, put_back, share
from bot.models import ROWS
from tests.fakes import kernels
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    kernels.compute_plainly(monkeypatch)


def unet(name: str) -> Any:
    torch.manual_seed(0)
    return build(ROWS[name]).unet.eval().to(memory_format=torch.channels_last)


def called(network: Any, pictures: int, *, once: bool = False) -> Callable[[], torch.Tensor]:
    """Return a call for some pictures, two rows each that differ in words, with a time for each picture or for each row."""
    torch.manual_seed(1)
    latents, times = torch.randn(pictures, 4, 8, 16), torch.arange(5, 900, 300)[:pictures]
    words = torch.randn(2 * pictures, 7, network.config.cross_attention_dim)
    given = latents.repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
    return lambda: network(given, times if once else times.repeat(2), words, return_dict=False)[0]


@torch.inference_mode()
@pytest.mark.parametrize("pictures", [1, 3])
def test_what_rows_have_in_common_is_computed_once_and_draws_the_same(pictures: int) -> None:
    network = unet("sd15")
    even(network)
    expected = called(network, pictures)()
    usual = [type(layer) for layer in network.modules()]
    assert share(network)
    rows: list[int] = []
    block = network.down_blocks[0].attentions[0].transformer_blocks[0]
    block.attn1.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    block.attn2.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    call = called(network, pictures, once=True)
    assert torch.allclose(call(), expected, atol=1e-5)
    assert rows == [pictures, 2 * pictures]
    assert torch.equal(called(network, pictures)(), expected)  # with a time for each row, nothing is shared
    for each in call, called(network, pictures):
        assert torch.allclose(torch.compile(each, fullgraph=True, backend="eager")(), expected, atol=1e-5)
    for layer in network.modules():
        put_back(layer)
    assert [type(layer) for layer in network.modules()] == usual


@torch.inference_mode()
def test_channels_stay_side_by_side_where_rows_part() -> None:
    network = unet("sd15")
    even(network)
    share(network)
    seen: list[bool] = []
    for layer in network.down_blocks[0].resnets[1], network.up_blocks[-1].resnets[-1]:
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last)))
    called(network, 2, once=True)()
    assert seen == [True, True]


def test_only_where_no_words_are_told_before_is_anything_shared() -> None:
    large = unet("sdxl")  # what it makes of the time has words in it
    even(large)
    usual = unet("sd15")  # its blocks could not take fewer times than rows
    late = unet("sd15")
    even(late)
    late.down_blocks[0].attentions[0].transformer_blocks[0].only_cross_attention = True
    for network in (large, usual, late):
        assert not share(network)
        assert not [layer for layer in network.modules() if isinstance(layer, Sharing | Beginning)]


@torch.inference_mode()
def test_all_is_put_back_together() -> None:
    network = unet("sd15")
    expected, usual = called(network, 2)(), [type(layer) for layer in network.modules()]
    even(network)
    share(network)
    for layer in network.modules():
        put_back(layer)
        put_back_convolutions(layer)
        put_back_times(layer)
    assert [type(layer) for layer in network.modules()] == usual
    assert torch.equal(called(network, 2)(), expected)
