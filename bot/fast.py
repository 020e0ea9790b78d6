"""What makes a GPU draw faster, and changes no picture beyond rounding: compiled networks, repeated as CUDA graphs.

A network is a thousand kernels, many of them tiny, each started from Python. Compiling fuses what lies between the large ones;
a CUDA graph starts all of them at once. bench/LOG.md has what each of these gains, and what gained nothing.
"""

from __future__ import annotations

import gc
import logging
import statistics
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import torch
import torch._dynamo.config as dynamo
import torch.fx.experimental._config as shapes
from torch._inductor.async_compile import shutdown_compile_workers
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from bot.families import UNet

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.families import Family

log: Final = logging.getLogger(__name__)

GRAPHS: Final = 24  # kept for one network, the latest used: each holds its inputs, and all share one pool of memory
COMPILATIONS: Final = 64  # of one function: a block comes in a dozen widths, and as many shapes
REGIONS: Final = {
    *("BasicTransformerBlock", "ResnetBlock2D"),
    *("FluxTransformerBlock", "FluxSingleTransformerBlock", "JointTransformerBlock", "ZImageTransformerBlock"),
}
WHOLE: Final = 4.0  # megapixels in a pass, all rows together: larger ones keep a GPU busy however they were compiled
LARGEST_FP8: Final = 448.0  # what eight bits of float8_e4m3fn reach
FP8_SIDE: Final = 512  # rows and columns: smaller layers take longer to convert than they save


def hasten(family: Family) -> None:
    """Make a family draw faster on the GPU that it lies on."""
    dynamo.recompile_limit = COMPILATIONS
    dynamo.accumulated_recompile_limit = 8 * COMPILATIONS
    shapes.use_duck_shape = False  # or what was compiled for a square serves squares only
    if family.model.fp8:
        quantize(family.network)
    if isinstance(family, UNet):
        family.network.fuse_qkv_projections()
        family.run = Graphs(_whole_or_in_blocks(family))
    else:
        family.run = Graphs(family.call)
    for block in family.network.modules():
        if type(block).__name__ in REGIONS:
            block.compile(fullgraph=True, dynamic=True)
    for norm in family.pipeline.vae.decoder.modules():
        if type(norm) is torch.nn.GroupNorm:
            norm.__class__ = ChannelsLastNorm
    family.pipeline.vae.decoder.compile(fullgraph=True, dynamic=True)
    family.decoder = Graphs(_decoder(family))
    for name, part in family.pipeline.components.items():
        if name.startswith("text_encoder") and type(part).__name__.startswith(("CLIP", "T5")):
            part.forward = Graphs(part.forward)


def slow(family: Family) -> None:
    """Take back what `hasten` did, for a GPU that does not bear it."""
    family.run, family.decoder = family.call, family.call_decoder
    networks = [part for part in family.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for part in networks:
        part.__dict__.pop("forward", None)
        for block in part.modules():
            block._compiled_call_impl = None  # noqa: SLF001  what `compile` has set, and nothing takes back
            if type(block) is ChannelsLastNorm:
                block.__class__ = torch.nn.GroupNorm  # type: ignore[assignment]


def _whole_or_in_blocks(family: Family) -> Callable[..., torch.Tensor]:
    """Call a UNet compiled as a whole for pictures of the usual size, block by block for all others.

    As a whole it is a quarter faster, but compiled anew for every shape, in half a minute; blocks take any shape once they are
    compiled. Compiling the whole for any shape took more than three minutes.
    """
    whole = torch.compile(family.call, fullgraph=True, dynamic=False)
    usual = _usual(family)
    guided = 1 + (family.model.guidance_scale > 1)
    most = WHOLE / (family.model.width * family.model.height / 2**20)  # rows
    rows = {size * guided for size in (1, 2, 4, 8) if size * guided <= most}

    def call(**inputs: torch.Tensor) -> torch.Tensor:
        sample = inputs["sample"]
        return (whole if sample.shape[-2:] == usual and len(sample) in rows else family.call)(**inputs)

    return call


def _decoder(family: Family) -> Callable[[torch.Tensor], torch.Tensor]:
    """Decode with what was compiled for pictures of the usual size alone, or for any."""
    whole = torch.compile(family.call_decoder, fullgraph=True, dynamic=False)
    usual = _usual(family)
    return lambda latents: (whole if latents.shape[-2:] == usual else family.call_decoder)(latents)


def _usual(family: Family) -> tuple[int, int]:
    scale = family.pipeline.vae_scale_factor
    return family.model.height // scale, family.model.width // scale


class Graphs:
    """A function of tensors, recorded as a CUDA graph for each shape that it is called with, and then replayed.

    The first call of a shape computes in the usual way, then records; that takes as long as a few calls. What is returned is a
    copy, for the next replay writes over it. Not safe in several threads at once.
    """

    def __init__(self, function: Callable[..., Any], most: int = GRAPHS) -> None:
        """Take a function; tensors may be anywhere in its arguments and its result, everything else counts as its shape."""
        self._function = function
        self._most = most
        self._graphs: OrderedDict[Any, tuple[torch.cuda.CUDAGraph, list[Any], Any]] = OrderedDict()
        self._pool: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, by replaying it."""
        flat, layout = tree_flatten((args, kwargs))
        key = layout, tuple((value.shape, value.dtype) if torch.is_tensor(value) else value for value in flat)
        if key not in self._graphs:
            return self._record(key, flat, layout)
        self._graphs.move_to_end(key)
        graph, inputs, output = self._graphs[key]
        for there, value in zip(inputs, flat, strict=True):
            if torch.is_tensor(there):
                there.copy_(value, non_blocking=True)
        graph.replay()
        return tree_map(_copy, output)

    def _record(self, key: Any, flat: list[Any], layout: Any) -> Any:
        inputs = [value.clone() if torch.is_tensor(value) else value for value in flat]
        args, kwargs = tree_unflatten(inputs, layout)
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            found = self._function(*args, **kwargs)  # libraries choose and allocate at a first call, which no graph could hold
        torch.cuda.current_stream().wait_stream(side)
        result = tree_map(_copy, found)
        if len(self._graphs) >= self._most:
            self._graphs.popitem(last=False)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self._pool, capture_error_mode="thread_local"
        ):  # other threads may use the GPU meanwhile
            output = self._function(*args, **kwargs)
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph, inputs, output
        return result


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


class Fp8Linear(torch.nn.Module):
    """A linear layer in eight bits: each row of its weights, and each row that it is given, scaled to what eight bits reach."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        scales = linear.weight.float().abs().amax(1, keepdim=True).clamp(min=1e-12) / LARGEST_FP8
        self.register_buffer("weight", (linear.weight.float() / scales).to(torch.float8_e4m3fn))
        self.register_buffer("scales", scales.t().contiguous())
        self.bias, self.dtype = linear.bias, linear.weight.dtype
        self.in_features, self.out_features = linear.in_features, linear.out_features

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Multiply."""
        rows = given.flatten(0, -2)
        scales = rows.abs().amax(1, keepdim=True).float().clamp(min=1e-12) / LARGEST_FP8
        small = (rows.float() / scales).to(torch.float8_e4m3fn)
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


def quantize(network: Any) -> None:
    """Put the large linear layers of a network's blocks into eight bits: not those that work on one row, which gain nothing."""
    for block in [block for block in network.modules() if type(block).__name__ in REGIONS]:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, torch.nn.Linear) and "norm" not in name and min(layer.weight.shape) >= FP8_SIDE:
                block.set_submodule(name, Fp8Linear(layer))


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """Return how long the GPU takes for something, the median of a few."""
    found: list[float] = []
    for _ in range(times):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begun.record()
        call()
        ended.record()
        ended.synchronize()
        found.append(begun.elapsed_time(ended) / 1000)
    return statistics.median(found)


def rest() -> None:
    """Let go of what a snapshot of the GPU and this process cannot hold, or would hold for nothing."""
    shutdown_compile_workers()  # they are processes of their own
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # or the snapshot holds memory that nobody uses


def _copy(value: Any) -> Any:
    return value.clone() if torch.is_tensor(value) else value
