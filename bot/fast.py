"""What makes a GPU draw faster, and changes no picture beyond rounding: compiled networks, repeated as CUDA graphs.

A network is a thousand kernels, many of them tiny, each started from Python. Compiling fuses what lies between the large ones;
a CUDA graph starts all of them at once. bench/LOG.md has what each of these gains, and what gained nothing.
"""

from __future__ import annotations

import gc
import logging
import statistics
import time
from collections import OrderedDict
from functools import lru_cache, partial
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import torch
import torch._dynamo.config as dynamo
import torch.fx.experimental._config as shapes
from torch._inductor import config as inductor
from torch._inductor.async_compile import shutdown_compile_workers
from torch._inductor.choices import InductorChoices
from torch._inductor.runtime.hints import ReductionHint
from torch._inductor.virtualized import V
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from transformers import T5EncoderModel

from bot import layers, layers_conv, layers_dit, layers_time, layers_unet
from bot.families import Modulated, UNet, ZImage, in_rows
from bot.family import KEPT
from bot.steps import SIZES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bot.family import Family

log: Final = logging.getLogger(__name__)

GRAPHS: Final = 24  # kept for one network, the latest used: each holds its inputs, and all share one pool of memory
LATER: Final = 100  # calls, after which it is tried again to record what there was no room for
COMPILATIONS: Final = 64  # of one function: a block comes in a dozen widths, and as many shapes
REGIONS: Final = {
    *("BasicTransformerBlock", "ResnetBlock2D"),
    *("FluxTransformerBlock", "FluxSingleTransformerBlock", "JointTransformerBlock", "ZImageTransformerBlock"),
}
KNOWN: Final = 8  # prompts whose keys and values are kept, 25 MiB each for SDXL
ROW: Final = 4096  # numbers of a token that a norm reads once and keeps, where the compiler would read more than 1,024 twice
SPAN: Final = 0.4  # seconds for which something is timed
LEAST: Final = 5  # calls, however long they take
AHEAD: Final = 2  # calls that the GPU has been handed besides the one it is at
WHOLE: Final = 4.0  # megapixels in a pass, all rows together: larger ones keep a GPU busy however they were compiled


class Choices(InductorChoices):
    """What the compiler does by itself, and longer rows at once."""

    @staticmethod
    def should_use_persistent_reduction(features: Any, cooperative_reduction: bool) -> bool:  # noqa: FBT001  torch's way
        """Say whether a row is read once."""
        if InductorChoices.should_use_persistent_reduction(features, cooperative_reduction):
            return True
        inner = features.get_reduction_hint() is ReductionHint.INNER
        return inner and V.graph.sizevars.statically_known_leq(features.reduction_numel, ROW)

    def uuid(self) -> str:
        """Name these choices, for what is compiled with them to be found again."""
        return f"rows of {ROW}"


def hasten(family: Family) -> None:
    """Make a family draw faster on the GPU that it lies on."""
    dynamo.recompile_limit = COMPILATIONS
    dynamo.accumulated_recompile_limit = 8 * COMPILATIONS
    shapes.use_duck_shape = False  # or what was compiled for a square serves squares only
    inductor.inductor_choices_class = Choices
    blocks = [block for block in family.network.modules() if type(block).__name__ in REGIONS]
    _replace_layers(family, blocks)
    for block in blocks:  # the `forward` alone: what is done before it differs from block to block
        block.forward = torch.compile(block.forward, fullgraph=True, dynamic=True)
    _hasten_network(family, blocks)
    _hasten_decoder(family)
    _hasten_encoders(family)


def _replace_layers(family: Family, blocks: Sequence[torch.nn.Module]) -> None:
    layers_dit.halve(family.network)
    layers_dit.fuse(family.network)
    if family.model.fp8:
        layers.quantize(blocks)
    layers.bend(family.network)
    if _has_triton(family):
        layers_dit.turn(family.network)
        if isinstance(family, UNet):
            layers_conv.even(family.network)
            layers_unet.share(family.network)


def _has_triton(family: Family) -> bool:
    return family.device.type == "cuda" and find_spec("triton") is not None


def _hasten_network(family: Family, blocks: Sequence[torch.nn.Module]) -> None:
    if isinstance(family, UNet):
        _hasten_unet(family)
        return
    if isinstance(family, ZImage):
        _hasten_z_image(family)
        return
    family.run = _recorded(family, _in_company(family))
    if isinstance(family, Modulated):
        _hasten_telling(family, blocks)


def _recorded(family: Family, function: Callable[..., Any]) -> Any:
    graphs = Graphs(function)
    family.kept.append(graphs)
    return graphs


def _in_company(family: Family) -> Callable[..., torch.Tensor]:
    """Call the network of a guided model with two rows at least: one, if guidance is 1, would be compiled for half a minute."""
    model = family.model
    if not model.guided or model.guidance_scale <= 1 or model.guidance_stop < 1:
        return family.call

    def call(**inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs["encoder_hidden_states"]) > 1:
            return family.call(**inputs)
        return family.call(**{name: torch.cat([value, value]) for name, value in inputs.items()})[:1]

    return call


def _hasten_telling(family: Modulated, blocks: Sequence[torch.nn.Module]) -> None:
    """Foretell the usual number of steps by a graph; others come and go, and recording stops everybody for a moment."""
    tell = layers_time.foretell(family.network, blocks)
    graph, usual = _recorded(family, tell), family.model.num_inference_steps
    family.tell = lambda times, *given: (graph if len(times) == usual else tell)(times, *given)


def _hasten_encoders(family: Family) -> None:
    for name, part in family.pipeline.components.items():
        if name.startswith("text_encoder") and type(part).__name__.startswith(("CLIP", "Qwen")):
            part.forward = _recorded(family, part.forward)
        elif isinstance(part, T5EncoderModel) and part.dtype is not torch.float16:
            part.forward = _recorded(family, layers.t5(part))


def _hasten_decoder(family: Family) -> None:
    decoder = family.pipeline.vae.decoder
    if _has_triton(family):
        layers_conv.even_decoder(decoder)
    layers.decode(decoder)
    compiled: Any = torch.compile(decoder.forward, fullgraph=True, dynamic=True)
    decoder.forward = lambda latents, *more: compiled(latents.contiguous(), *more)  # a tile of a large picture is not
    family.decoder = _recorded(family, _decoder(family))


def slow(family: Family) -> None:
    """Take back what `hasten` did, for a GPU that does not bear it."""
    family.run, family.decoder = family.call, family.call_decoder
    family.kept.clear()
    if isinstance(family, UNet | ZImage):
        family.told = family.call_told
    if isinstance(family, Modulated):
        family.tell = None
    networks = [part for part in family.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    for part in networks:
        for block in part.modules():
            block.__dict__.pop("forward", None)
            layers.put_back(block)
            layers_dit.put_back(block)
            layers_unet.put_back(block)
            layers_conv.put_back(block)
            layers_time.put_back(block)


def _hasten_unet(family: UNet) -> None:
    """Call a UNet compiled as a whole for pictures of the usual size, block by block for all others.

    As a whole it is a quarter faster, but compiled anew for every shape, in half a minute; blocks take any shape once they are
    compiled. Compiling the whole for any shape took more than three minutes. Only the whole is told keys and values instead of
    words: each layer finds its own at another place, and a block would be compiled anew for each. And only the whole computes
    once what rows have in common: blocks would meet one more number of rows. It then has to tell pictures from rows.
    """
    shares = isinstance(family.network, layers_unet.Sharing)
    whole = torch.compile(family.call_sharing if shares else family.call, fullgraph=True, dynamic=False)
    usual = _usual(family)
    guided = family.model.guidance_scale > 1
    each = {1 + guided, 1 + (guided and family.model.guidance_stop >= 1)}  # rows of a picture, at its first steps and its last
    most = WHOLE / (family.model.width * family.model.height / 2**20)
    sizes = {(size, size * count) for size in SIZES for count in each if size * count <= most}  # pictures, and rows
    all_rows = {rows for _, rows in sizes}

    def is_usual(sample: torch.Tensor, rows: int) -> bool:
        return sample.shape[-2:] == usual and ((len(sample), rows) in sizes if shares else rows in all_rows)

    known = lru_cache(KNOWN)(_recorded(family, partial(layers.known, layers.attend(family.network))))
    stacked = lru_cache(1)(lambda *words: torch.cat([known(row) for row in words]))
    family.told = lambda sample, *words: stacked(*words) if is_usual(sample, len(words)) else family.call_told(sample, *words)
    blocks = _in_company(family)

    def run(**inputs: torch.Tensor) -> torch.Tensor:
        is_whole = is_usual(inputs["sample"], len(inputs["encoder_hidden_states"]))
        return (whole if is_whole else blocks)(**inputs)

    # Where nothing is shared, two rows are two rows: of one guided picture, or of two that are not.
    graphs = _recorded(family, run)
    family.run = graphs if shares else lambda **inputs: graphs(**in_rows(inputs, "sample", "timestep"))


def _hasten_z_image(family: ZImage) -> None:
    """Refine words once for all steps. The rest is a graph, but not where rows have words of different lengths.

    There would be too many such graphs, and several rows keep a GPU busy for longer than it takes to start their kernels.
    """
    family.told = lru_cache(KEPT)(layers_dit.refine(family.network))
    graphs = _recorded(family, family.call)
    family.run = lambda **inputs: (graphs if len({*map(len, inputs["words"])}) == 1 else family.call)(**inputs)


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
    copy, for the next replay writes over it. A tensor that was given at the last call too is not sent again: nobody may have
    written into it. What there is no room to record is computed in the usual way. Not safe in several threads at once.
    """

    def __init__(self, function: Callable[..., Any], most: int = GRAPHS) -> None:
        """Take a function; tensors may be anywhere in its arguments and its result, everything else counts as its shape."""
        self._function = function
        self._most = most
        self._graphs: OrderedDict[Any, tuple[torch.cuda.CUDAGraph, list[Any], Any, list[Any]]] = OrderedDict()
        self._pool: Any = None
        self._unrecorded: dict[Any, int] = {}  # shapes for whose graph there was no room, and how often they just go without

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function, by replaying it."""
        flat, layout = tree_flatten((args, kwargs))
        key = layout, tuple((value.shape, value.dtype) if torch.is_tensor(value) else value for value in flat)
        if key not in self._graphs:
            if not self._unrecorded.get(key):
                return self._record(key, flat, layout)
            self._unrecorded[key] -= 1
            return self._function(*args, **kwargs)
        self._graphs.move_to_end(key)
        graph, inputs, output, last = self._graphs[key]
        for index, value in enumerate(flat):
            if torch.is_tensor(value) and value is not last[index]:
                inputs[index].copy_(value, non_blocking=True)
        last[:] = flat
        graph.replay()
        return tree_map(_copy, output)

    def forget(self) -> bool:
        """Let go of all that was recorded, and of its memory; return whether there was any."""
        had = bool(self._graphs)
        self._graphs.clear()
        self._unrecorded.clear()
        self._pool = None
        return had

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
        stream = torch.cuda.current_stream()
        try:
            # "thread_local": other threads may use the GPU meanwhile.
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                output = self._function(*args, **kwargs)
        except (torch.OutOfMemoryError, torch.AcceleratorError) as error:  # the latter where the driver itself has no room
            torch.cuda.set_stream(stream)  # for torch may still be on the one that it recorded from
            if "out of memory" not in str(error):
                raise
            if not self.forget():  # or what has begun stays in the pool that they share, where nothing else could use it
                self._unrecorded[key] = LATER
            return result
        self._pool = self._pool or graph.pool()
        self._graphs[key] = graph, inputs, output, flat
        return result


def seconds(call: Callable[[], object], span: float = SPAN) -> float:
    """Return how long the GPU takes for something, again and again: the median of the later half of so many seconds.

    Once would tell less. A GPU with nothing to do waits for each kernel to be started, so it is handed the next calls while it
    is at this one; and one that takes all the power it may lowers its clock, but not at once.
    """
    begun, marks = time.monotonic(), list[torch.cuda.Event]()
    while len(marks) < LEAST or time.monotonic() - begun < span:
        call()
        marks.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
        marks[-1].record()
        marks[-1 - AHEAD if len(marks) > AHEAD else 0].synchronize()
    marks[-1].synchronize()
    taken: list[float] = [one.elapsed_time(other) / 1000 for one, other in pairwise(marks)]
    return statistics.median(taken[len(taken) // 2 :])


def rest() -> None:
    """Let go of what a snapshot of the GPU and this process cannot hold, or would hold for nothing."""
    shutdown_compile_workers()  # they are processes of their own
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.empty_cache()  # or the snapshot holds memory that nobody uses


def _copy(value: Any) -> Any:
    return value.clone() if torch.is_tensor(value) else value
