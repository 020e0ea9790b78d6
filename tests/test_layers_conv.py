"""Layers that take the place of a UNet's compute the same, but for rounding; and so does the kernel they call."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.nn.functional import conv2d, silu

from bot.layers import decode
from bot.layers_conv import Attending, Norm, Resnet, Timeless, convolved, even, even_decoder, put_back
from bot.layers_time import put_back as put_back_times
from bot.models import ROWS
from tests.fakes import kernels
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Callable

NORMS = {  # channels, groups, height, width; rows that something is added to; bent or not
    "ten channels to a group": ((320, 32, 8, 9), 2, True),
    "groups wider than a program takes": ((640, 4, 3, 4), 0, True),
    "groups that do not fill the last program": ((960, 32, 3, 6), 1, False),
    "few and narrow groups": ((64, 8, 6, 10), 2, False),
    "a large picture": ((32, 8, 60, 70), 0, True),
    "more rows than are added to them": ((64, 8, 3, 4), 3, True),
}


@pytest.fixture
def normalize() -> Callable[..., torch.Tensor]:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels_norm import normalize  # noqa: PLC0415

    return normalize


@torch.inference_mode()
@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # a number far below zero bends to zero
@pytest.mark.parametrize(("shape", "added", "bent"), NORMS.values(), ids=NORMS)
def test_the_kernel_normalizes(
    shape: tuple[int, int, int, int], added: int, bent: bool, normalize: Callable[..., torch.Tensor]
) -> None:
    torch.manual_seed(0)
    channels, groups, *size = shape
    spread = torch.rand(channels, 1, 1)
    rows = 2 if added < 3 else 2 * added
    given = (30 + spread * torch.randn(rows, channels, *size)).contiguous(memory_format=torch.channels_last)  # far from zero
    norm = torch.nn.GroupNorm(groups, channels).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    more = torch.randn(max(added, 1), 2 * channels)[:, :channels]  # a part of a larger product
    each = more.repeat(rows // len(more), 1)[:, :, None, None]
    expected = norm((given + each * bool(added)).double())
    found = normalize(given, more if added else None, norm.weight.float(), norm.bias.float(), groups, norm.eps, bent)
    assert torch.allclose(found.double(), silu(expected) if bent else expected, atol=1e-4)
    assert found.is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_what_is_the_same_everywhere_is_normalized_to_nothing(normalize: Callable[..., torch.Tensor]) -> None:
    given = torch.full((1, 8, 80, 80), 3.3).contiguous(memory_format=torch.channels_last)
    found = normalize(given, None, torch.ones(8), torch.full((8,), 0.5), 2, 1e-6, silu=False)
    assert torch.allclose(found, torch.full_like(found, 0.5), atol=1e-3)


@pytest.fixture
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    kernels.compute_plainly(monkeypatch)


@torch.inference_mode()
def test_the_compiler_knows_what_the_kernel_returns(normalize: Any) -> None:
    given = torch.randn(2, 16, 3, 5).contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(
        normalize, (given, torch.randn(1, 16), torch.ones(16), torch.zeros(16), 4, 1e-5, True), test_utils="test_faketensor"
    )


@torch.inference_mode()
@pytest.mark.usefixtures("without_a_gpu")
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_a_unet_with_such_layers_draws_the_same_and_compiles_in_one_piece(name: str) -> None:
    network = build(ROWS[name]).unet.eval().to(memory_format=torch.channels_last)
    call = called(network)
    expected = call()
    usual = [type(layer) for layer in network.modules()]
    even(network)
    kinds = {type(layer) for layer in network.modules()}
    assert {Norm, Resnet, Attending} < kinds
    assert torch.nn.GroupNorm not in kinds
    assert torch.allclose(call(), expected, atol=1e-5)
    assert torch.allclose(torch.compile(call, fullgraph=True, backend="eager")(), expected, atol=1e-5)
    for layer in network.modules():
        put_back(layer)
        put_back_times(layer)
    assert [type(layer) for layer in network.modules()] == usual
    assert torch.equal(call(), expected)


@torch.inference_mode()
@pytest.mark.usefixtures("without_a_gpu")
def test_a_decoder_with_such_layers_draws_the_same_and_compiles_in_one_piece() -> None:
    decoder = build(ROWS["flux-schnell"]).vae.decoder.eval().to(memory_format=torch.channels_last)
    latents = torch.randn(1, 16, 4, 8)
    expected, usual = decoder(latents), [type(layer) for layer in decoder.modules()]
    even_decoder(decoder)
    assert {Norm, Timeless} < {type(layer) for layer in decoder.modules()}
    assert torch.allclose(decoder(latents), expected, atol=1e-5)
    assert torch.allclose(torch.compile(lambda: decoder(latents), fullgraph=True, backend="eager")(), expected, atol=1e-5)
    for layer in decoder.modules():
        put_back(layer)
    assert [type(layer) for layer in decoder.modules()] == usual
    assert torch.equal(decoder(latents), expected)


def test_a_decoder_of_another_kind_is_left_alone() -> None:
    decoder = torch.nn.Sequential(torch.nn.GroupNorm(2, 4))
    even_decoder(decoder)
    assert type(decoder[0]) is torch.nn.GroupNorm


@torch.inference_mode()
@pytest.mark.usefixtures("without_a_gpu")
def test_the_channels_of_a_pixel_stay_side_by_side_through_a_unet() -> None:
    network = build(ROWS["sdxl"]).unet.eval().to(memory_format=torch.channels_last)
    even(network)
    seen = layouts(network)
    called(network)()
    assert len(seen) > 10
    assert all(seen)


@torch.inference_mode()
@pytest.mark.usefixtures("without_a_gpu")
def test_the_channels_of_a_pixel_stay_side_by_side_through_a_decoder() -> None:
    decoder = build(ROWS["sdxl"]).vae.decoder.eval().to(memory_format=torch.channels_last)
    even_decoder(decoder)
    decode(decoder)  # what attends there is not ours otherwise
    seen = layouts(decoder)
    decoder(torch.randn(1, 4, 8, 16))
    assert len(seen) > 4
    assert all(seen)


def layouts(network: Any) -> list[bool]:
    """Return a list in which each norm notes whether it is given the channels of a pixel side by side."""
    seen: list[bool] = []
    for layer in network.modules():
        if isinstance(layer, Norm):
            layer.register_forward_pre_hook(
                lambda _layer, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
            )
    return seen


CONVOLUTIONS = {  # rows, channels, channels of the result, height, width
    "what it is for, but narrower": (2, 256, 128, 8, 8),
    "few pixels, and channels that do not fill a program": (1, 256, 100, 5, 7),
    "more pixels than a program takes": (3, 256, 32, 8, 8),
    "channels that do not divide": (2, 64, 32, 4, 4),
}


@torch.inference_mode()
@pytest.mark.parametrize(("biased", "dtype"), [(True, torch.float16), (False, torch.float16), (True, torch.bfloat16)])
@pytest.mark.parametrize("sizes", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_the_kernel_convolves(sizes: tuple[int, int, int, int, int], biased: bool, dtype: torch.dtype) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels_conv import convolve  # noqa: PLC0415

    torch.manual_seed(0)
    rows, channels, outputs, height, width = sizes
    given = torch.randn(rows, channels, height, width).to(dtype)
    weight = (torch.randn(outputs, channels, 3, 3) / (9 * channels) ** 0.5).to(dtype)
    bias = torch.randn(outputs).to(dtype) if biased else None
    expected = conv2d(given.double(), weight.double(), None if bias is None else bias.double(), padding=1)
    found = convolve(given, weight, bias)
    assert torch.allclose(found.double(), expected, atol=16 * torch.finfo(dtype).eps)
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(convolve, (given, weight, bias), test_utils="test_faketensor")


@torch.inference_mode()
@pytest.mark.usefixtures("without_a_gpu")
def test_only_where_pictures_are_smallest_convolutions_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    sides: list[int] = []

    def ours(given: torch.Tensor, *weights: Any) -> torch.Tensor:
        sides.append(given.shape[-1])
        return convolved(given, *weights)

    monkeypatch.setattr("bot.kernels_conv.convolve", ours)
    network = build(ROWS["sdxl"]).unet.eval()
    even(network)
    called(network)()
    assert len(sides) > 4
    assert set(sides) == {16 >> len(network.down_blocks) - 1}


@pytest.mark.usefixtures("without_a_gpu")
@pytest.mark.parametrize(("side", "memory"), [(8, False), (64, True)], ids=["memory too small", "pictures too large"])
def test_elsewhere_no_convolution_is_ours(side: int, memory: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.kernels_conv.fits", lambda _: memory)
    network = build(ROWS["sdxl"]).unet
    network.register_to_config(sample_size=side)
    even(network)
    blocks = [layer for layer in network.modules() if isinstance(layer, Resnet)]
    assert blocks
    assert all(block.convolve is convolved for block in blocks)


@pytest.mark.parametrize(("memory", "enough"), [(65_536, False), (101_376, False), (166_912, True), (232_448, True)])
def test_small_gpus_have_not_the_memory_for_it(memory: int, enough: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels_conv import fits  # noqa: PLC0415

    told = SimpleNamespace(shared_memory_per_block_optin=memory)  # of a T4, an L4, an A100 and an H100
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda _: told)
    assert fits(torch.device("cuda")) is enough


def called(network: Any) -> Callable[[], torch.Tensor]:
    """Return a call of a UNet, always with the same."""
    torch.manual_seed(1)
    words, latents = torch.randn(2, 7, network.config.cross_attention_dim), torch.randn(2, 4, 8, 16)
    latents = latents.contiguous(memory_format=torch.channels_last)
    added = {"text_embeds": torch.randn(2, 32), "time_ids": torch.randn(2, 6)}
    times = torch.tensor([5, 900])
    return lambda: network(latents, times, words, added_cond_kwargs=added, return_dict=False)[0]
