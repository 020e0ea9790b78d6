"""Layers that take the place of FLUX's and Z-Image's compute the same, but for rounding; and so does the kernel they call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention
from diffusers.models.transformers.transformer_z_image import ZImageTransformerBlock
from torch._dynamo.testing import CompileCounter
from torch.nn.functional import gelu, rms_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bot import layers
from bot.fast import REGIONS
from bot.layers import Fp8Linear, quantize, shrink
from bot.layers_dit import Placed, PlacedZ, SingleBlock, bend_late, fuse, halve, put_back, refine, turn
from bot.models import ROWS
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADS, SIDE = 3, 16
EPS = 1e-6


def plainly(
    queries: Sequence[torch.Tensor],
    keys: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what the kernel does, by diffusers' own means."""
    turns = [each.repeat_interleave(2, -1) for each in (cos, sin)]

    def placed(parts: Sequence[torch.Tensor], norms: Sequence[torch.Tensor]) -> torch.Tensor:
        split = [part.unflatten(-1, (heads, -1)) for part in parts]  # type: ignore[no-untyped-call]
        whole = torch.cat([rms_norm(part, norm.shape, norm, eps) for part, norm in zip(split, norms, strict=True)], 1)
        rows = [
            apply_rotary_emb(row[None], (turns[0][number % len(cos)], turns[1][number % len(cos)]), sequence_dim=1)  # type: ignore[arg-type]
            for number, row in enumerate(whole)
        ]
        return torch.cat(rows)  # type: ignore[arg-type]

    return placed(queries, weights[::2]), placed(keys, weights[1::2])


def angles(rows: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    found = torch.rand(rows, tokens, SIDE // 2) * 6
    return found.cos(), found.sin()


@pytest.mark.parametrize("lengths", [(5,), (4, 6)], ids=["pixels and words together", "words before pixels"])
@pytest.mark.parametrize("alike", [True, False], ids=["places of all rows", "places of each row"])
def test_the_kernel_normalizes_turns_and_joins(lengths: Sequence[int], alike: bool) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels import place  # noqa: PLC0415

    torch.manual_seed(0)
    queries = [
        torch.randn(2, length, 3 * HEADS * SIDE)[..., : HEADS * SIDE] for length in lengths
    ]  # a part of a larger product
    keys = [torch.randn(2, length, HEADS * SIDE) for length in lengths]
    weights = [torch.rand(SIDE) for _ in range(2 * len(lengths))]
    given = queries, keys, weights, *angles(1 if alike else 2, sum(lengths)), HEADS, EPS
    for found, expected in zip(place(*given), plainly(*given), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)


@torch.inference_mode()
def test_flux_attends_the_same_with_the_kernel_between() -> None:
    torch.manual_seed(0)
    network = build(ROWS["flux-schnell"]).transformer.eval()
    double, single = (
        next(
            layer for layer in network.modules() if isinstance(layer, FluxAttention) and bool(layer.added_kv_proj_dim) is added
        )
        for added in (True, False)
    )
    pixels, words = torch.randn(2, 6, double.query_dim), torch.randn(2, 4, double.query_dim)
    found = torch.rand(10, double.head_dim // 2).repeat_interleave(2, -1)
    asked: list[tuple[Any, dict[str, Any]]] = [
        (double, {"hidden_states": pixels, "encoder_hidden_states": words}),
        (single, {"hidden_states": torch.cat([words, pixels], 1)}),
    ]
    for layer, given in asked:
        given["image_rotary_emb"] = found.cos(), found.sin()
        expected = layer(**given)
        fuse(layer)
        layer.set_processor(Placed(plainly))
        for one, other in zip(layer(**given), expected, strict=True):
            assert torch.allclose(one, other, atol=1e-5)


@torch.inference_mode()
def test_z_image_attends_the_same_with_the_kernel_between() -> None:
    torch.manual_seed(0)
    network = build(ROWS["z-image-turbo"]).transformer.eval()
    layer: Any = next(block for block in network.modules() if isinstance(block, ZImageTransformerBlock)).attention
    angle = torch.rand(2, 7, layer.inner_dim // layer.heads // 2)
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    given = {"hidden_states": torch.randn(2, 7, layer.query_dim), "freqs_cis": torch.polar(torch.ones_like(angle), angle)}
    for masked in (None, mask):
        usual = layer.processor
        expected = layer(**given, attention_mask=masked)
        layer.set_processor(PlacedZ(plainly))
        assert torch.allclose(layer(**given, attention_mask=masked), expected, atol=1e-5)
        layer.set_processor(usual)


@torch.inference_mode()
def test_a_block_that_joins_less_gives_the_same() -> None:
    torch.manual_seed(0)
    network = build(ROWS["flux-schnell"]).transformer.eval()
    block: Any = network.single_transformer_blocks[0]
    width, side = block.proj_out.out_features, block.attn.head_dim
    turns = torch.rand(10, side // 2).repeat_interleave(2, -1)
    given = {
        "hidden_states": torch.randn(1, 6, width),
        "encoder_hidden_states": torch.randn(1, 4, width),
        "temb": torch.randn(1, width),
        "image_rotary_emb": (turns.cos(), turns.sin()),
        "joint_attention_kwargs": {},
    }
    expected, memory = block(**given), block.proj_out.weight.data_ptr()
    halve(network)
    assert {type(each) for each in network.single_transformer_blocks} == {SingleBlock}
    assert block.proj_out.first.weight.data_ptr() == memory  # no weight is there twice
    for one, other in zip(block(**given), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_a_block_that_joins_less_goes_into_eight_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    network = build(ROWS["flux-schnell"]).transformer
    halve(network)
    quantize(block for block in network.modules() if type(block).__name__ in {*REGIONS, SingleBlock.__name__})
    small = {name for name, layer in network.named_modules() if isinstance(layer, Fp8Linear)}
    assert {"single_transformer_blocks.0.proj_out.first", "single_transformer_blocks.0.proj_out.second"} <= small


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")  # far below zero, where a GELU is zero
@pytest.mark.parametrize("width", [96, 128])
def test_the_kernel_bends_and_puts_into_eight_bits(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels import bend_and_shrink  # noqa: PLC0415

    torch.manual_seed(0)
    rows = torch.empty(20, 2 * width).normal_(0, 3)[:, :width]  # a part of a larger product
    rows[0] = 0.0
    rows[1, 0] = -50.0
    bent = gelu(rows, approximate="tanh")
    expected, expected_scales = shrink(bent)
    small, scales = bend_and_shrink(rows)
    assert torch.allclose(scales, expected_scales)
    assert (small.shape, small.dtype, small.is_contiguous()) == (expected.shape, expected.dtype, True)
    # Triton's interpreter rounds to eight bits in a way of its own, no GPU does: so all but the rounding is compared.
    monkeypatch.setattr("bot.kernels.EIGHT", torch.float32)
    assert torch.allclose(bend_and_shrink(rows)[0], bent / scales, atol=1e-4)


@pytest.mark.filterwarnings("ignore:overflow encountered in exp")
def test_what_calls_that_kernel_is_compiled_once_for_any_number_of_rows() -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels import bend_and_shrink  # noqa: PLC0415

    torch.compiler.reset()
    compiler = CompileCounter()
    call = torch.compile(lambda rows: bend_and_shrink(rows)[1], fullgraph=True, dynamic=True, backend=compiler)
    assert [len(call(torch.ones(count, 32))) for count in (4, 6, 9)] == [4, 6, 9]
    assert compiler.frame_count == 1


def bent_plainly(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return shrink(gelu(rows, approximate="tanh"))


@torch.inference_mode()
@pytest.mark.parametrize("name", ["flux-schnell", "sd35-medium"])
def test_blocks_in_eight_bits_give_the_same_with_the_kernel_between(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    torch.manual_seed(0)
    network = build(ROWS[name]).transformer.eval().bfloat16()
    halve(network)
    quantize(network.modules())
    blocks = [block.ff for block in network.transformer_blocks]
    given = torch.randn(2, 5, blocks[0].net[2].in_features // 4).bfloat16()
    singles = getattr(network, "single_transformer_blocks", [])

    def found() -> list[torch.Tensor]:
        wide = [single.proj_out(given, single.act_mlp(single.proj_mlp(given))) for single in singles]
        return [*(block(given) for block in blocks), *wide]

    expected, usual = found(), [type(part) for part in network.modules()]
    called = []
    bend_late(network, lambda rows: called.append(rows.shape) or bent_plainly(rows))  # type: ignore[func-returns-value]
    for one, other in zip(found(), expected, strict=True):
        assert torch.equal(one, other)
    assert len(called) == len(expected)
    for part in network.modules():
        layers.put_back(part)
    for one, other in zip(found(), expected, strict=True):
        assert torch.equal(one, other)
    assert [type(part) for part in network.modules()] == usual
    assert len(called) == len(expected)


def test_a_network_is_given_the_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    from bot.kernels import bend_and_shrink  # noqa: PLC0415

    monkeypatch.setattr("bot.layers.FP8_SIDE", 32)
    network: Any = build(ROWS["flux-schnell"]).transformer
    halve(network)
    quantize(network.modules())
    turn(network)
    attending: list[Any] = [layer for layer in network.modules() if isinstance(layer, FluxAttention)]
    assert {type(layer.processor) for layer in attending} == {Placed}
    small = [name for name, layer in network.named_modules() if getattr(layer, "shrink", None) is bend_and_shrink]
    assert small
    assert all(name.endswith(("ff.net.2", "ff_context.net.2", "proj_out.second")) for name in small)


@torch.inference_mode()
@pytest.mark.parametrize("length", [1, 31, 32, 41])
def test_z_image_makes_the_same_to_the_bit_of_words_that_were_refined_before(length: int) -> None:
    torch.manual_seed(0)
    network = build(ROWS["z-image-turbo"]).transformer.eval()
    torch.nn.init.normal_(network.cap_pad_token)
    pictures, time, words = [torch.randn(16, 1, 8, 6)], torch.tensor([0.3]), torch.randn(length, network.config.cap_feat_dim)
    expected = network(pictures, time, [words], return_dict=False)[0]
    refined = refine(network)(words)
    assert len(refined) in {32, 64}
    assert torch.equal(network(pictures, time, [refined], return_dict=False)[0][0], expected[0])


class Elsewhere(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is computed on the processor."""

    found = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
        self.found += any(each.device.type == "cpu" for each in tensors)
        return result


@torch.inference_mode()
def test_z_image_given_refined_words_asks_the_processor_for_nothing() -> None:
    network = build(ROWS["z-image-turbo"]).transformer.eval().to("meta")
    with torch.device("meta"):  # where no number can be read
        refined = refine(network)(torch.empty(9, network.config.cap_feat_dim))
        pictures, time = [torch.empty(16, 1, 8, 8)], torch.empty(1)
    with Elsewhere() as elsewhere:  # type: ignore[no-untyped-call]
        network(pictures, time, [refined], return_dict=False)
    assert elsewhere.found == 0


def test_z_image_is_put_back() -> None:
    network = build(ROWS["z-image-turbo"]).transformer
    usual = type(network), network.cap_embedder, network.context_refiner
    refine(network)
    assert {*usual[2]} <= {*network.modules()}  # for whoever changes all layers, or moves them
    put_back(network)
    assert (type(network), network.cap_embedder, network.context_refiner) == usual


def test_attention_is_put_back() -> None:
    for name in ("flux-schnell", "z-image-turbo"):
        network = build(ROWS[name]).transformer
        layer: Any
        usual = {layer: type(layer.processor) for layer in network.modules() if hasattr(layer, "processor")}
        for layer in usual:
            layer.set_processor(Placed(plainly) if isinstance(layer, FluxAttention) else PlacedZ(plainly))
        for layer in network.modules():
            put_back(layer)
        assert {layer: type(layer.processor) for layer in usual} == usual
