"""What a GPU takes for each model, ours beside diffusers' own pipeline in the same process: `python -m bench.gpu sd15 sdxl …`.

For each model: how long one picture takes, how much faster passes with several pictures are, how far our numbers are from
diffusers', and both from those of full precision, how long compiling took (again, with what the last process has compiled: run
it twice), what a preview costs, how soon a cancel frees the GPU, how much memory it takes. A name that ends in -fp8 has its
large layers in eight bits. STEPS asks for other than the row's steps. One line of JSON for each figure. Weights are random:
`bench.architectures`.
"""

from __future__ import annotations

import copy
import json
import os
import random
import statistics
import sys
import threading
import time
import traceback
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._pytree import tree_map

from bench import architectures
from bot import fast, gen, weights
from bot.errors import Cancelled
from bot.models import MODELS, ROWS
from bot.request import Finished, Step, compose
from bot.steps import SIZES, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bot.models import Model

CANCELS: Final = 14
TIMES: Final = int(os.environ.get("TIMES", "12"))
FP8: Final = "-fp8"
# TFLOP of all passes, encoders and decoder of one picture at the row's defaults, counted on the architectures (1 MAC = 2 FLOP).
TFLOP: Final = {
    "sd15": 2 * 0.0133 + 26 * 1.566 + 2.51,  # what rows have in common counted once: bot/layers_unet.py
    "sdxl": 0.22 + 25 * 13.52 + 10.47,
    "sdxl-turbo": 0.11 + 4 * 1.589 + 2.51,
    "sd35-medium": 5.04 + 28 * 22.5 + 10.47,
    "flux-schnell": 2.41 + 4 * 69.47 + 10.47,
    "flux-dev": 4.86 + 28 * 74.38 + 10.47,
    "z-image-turbo": 3.88 + 8 * 58.54 + 10.47,
}
CEILING: Final = 790.0  # TFLOP/s in sixteen bits, measured with one large product of matrices
BEGUN: Final = time.monotonic()


def note(**figures: Any) -> None:
    """Write one line of results, to the screen and to a file."""
    figures = {key: round(value, 5) if isinstance(value, float) else value for key, value in figures.items()}
    line = json.dumps({"at": round(time.monotonic() - BEGUN, 1)} | figures)
    print(line, flush=True)
    with Path(os.environ.get("OUT", "."), "results.jsonl").open("a") as file:
        file.write(line + "\n")


@contextmanager
def tried(what: str) -> Iterator[None]:
    """Go on with the next figure where one fails."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        traceback.print_exc(limit=6)
        note(what=what, failed=repr(error)[:300])


def sync() -> None:
    """Wait for the GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(call: Callable[[int], object], times: int = TIMES) -> dict[str, float]:
    """Call with 0, 1, … and return the milliseconds: median, least and most."""
    found = []
    for number in range(times):
        sync()
        begun = time.perf_counter()
        call(number)
        sync()
        found.append(1000 * (time.perf_counter() - begun))
    return {"median_ms": statistics.median(found), "least_ms": min(found), "most_ms": max(found), "times": times}


def row_of(name: str) -> Model:
    """Return the row of a name; one that ends in -fp8 has its large layers in eight bits."""
    row = replace(ROWS[name.removesuffix(FP8)], fp8=name.endswith(FP8))
    steps = os.environ.get("STEPS")
    return replace(row, num_inference_steps=int(steps)) if steps else row


def generator_of(row: Model, pipeline: Any, memory: float | None = None) -> gen.Generator:
    """Return a Generator over a pipeline that is there already, as on a GPU with so many GiB."""
    weights.read = lambda *_: nullcontext(pipeline)  # type: ignore[assignment]
    return gen.Generator(row, architectures.DEVICE, memory)


def prepared(name: str, memory: float | None = None) -> gen.Generator:
    """Return a Generator of a row of the table, with random weights, warm, as on a GPU with so many GiB."""
    MODELS.update(ROWS)
    row = row_of(name)
    generator = generator_of(row, architectures.build(row.name, getattr(torch, row.dtype)), memory)
    generator.warm()
    return generator


def stock(row: Model, pipeline: Any, number: int, **given: Any) -> Any:
    """Draw with diffusers' own pipeline."""
    words = {"negative_prompt": None} if row.guided else {}
    return pipeline(
        prompt=f"a red fox in the snow, number {number}",
        num_inference_steps=row.num_inference_steps,
        guidance_scale=row.guidance_scale,
        width=row.width,
        height=row.height,
        generator=torch.Generator().manual_seed(number),
        **({"output_type": "pt"} | words | dict(row.arguments) | given),
    ).images


def exactly(row: Model, pipeline: Any, number: int) -> torch.Tensor:
    """Return the latents that diffusers ends with if network and scheduler compute in full precision, with the same weights."""
    part = "unet" if hasattr(pipeline, "unet") else "transformer"
    network = getattr(pipeline, part)
    setattr(pipeline, part, in_full(network))
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found: torch.Tensor = stock(row, pipeline, number, output_type="latent").float()
    finally:
        setattr(pipeline, part, network)
    return found


def in_full(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy of a network that computes in full precision, with the same weights, whatever it is given."""

    def lengthened(value: Any) -> Any:
        return value.float() if torch.is_tensor(value) and value.is_floating_point() else value

    copied = copy.deepcopy(network).float()
    copied.register_forward_pre_hook(lambda _, *given: tree_map(lengthened, given), with_kwargs=True)
    return copied


def draw(generator: gen.Generator, number: int, **given: Any) -> Finished:
    """Draw with ours."""
    usual = {"seed": number, "num_inference_steps": generator.model.num_inference_steps}
    request = compose(f"a red fox in the snow, number {number}", model=generator.model.name, **(usual | given))
    *_, finished = generator.generate(request)
    assert isinstance(finished, Finished)
    return finished


def measure(name: str) -> None:
    """Measure one model."""
    row = row_of(name)
    dtype = getattr(torch, row.dtype)
    begun = time.perf_counter()
    pipeline = architectures.build(row.name, dtype)
    sync()
    note(model=name, what="built", seconds=time.perf_counter() - begun)
    with tried("stock"):
        stock(row, pipeline, 0)
        found = timed(lambda number: stock(row, pipeline, number), max(3, TIMES // 3))
        note(model=name, what="stock, to the decoded picture", **found)
        reference = stock(row, pipeline, 7, output_type="latent").float()
    with tried("full precision"):
        exact = exactly(row, pipeline, 7)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    generator = generator_of(row, pipeline)
    begun = time.perf_counter()
    draw(generator, 0)
    note(model=name, what="first picture, compiling", seconds=time.perf_counter() - begun)
    begun = time.perf_counter()
    generator.warm()
    note(model=name, what="warming", seconds=time.perf_counter() - begun, passes_ms=passes(generator))
    if os.environ.get("PREPARE"):
        return
    with tried("latency"):
        latency(name, row, generator)
    with tried("cancel"):
        cancelled(name, generator)
    with tried("difference"):
        ours = latents(generator, 7)
        note(model=name, what="ours against stock", difference=distance(ours, reference))
        note(model=name, what="against full precision", ours=distance(ours, exact), stock=distance(reference, exact))
    with tried("parts"):
        parts(name, generator)
    with tried("profile"):
        shown(name, generator)
    if torch.cuda.is_available():
        note(
            model=name,
            what="memory",
            peak_gib=torch.cuda.max_memory_allocated() / 2**30,
            held_gib=torch.cuda.memory_reserved() / 2**30,
        )
    with tried("recompiled"):
        recompiled(name, row, generator)


def passes(generator: gen.Generator) -> dict[str, float]:
    """Return what `warm` measured: milliseconds of a pass by its megapixels of work."""
    return {f"{work:g}": round(1000 * seconds, 2) for work, seconds in generator._curve._points}


def latency(name: str, row: Model, generator: gen.Generator) -> None:
    """Note how long a picture takes: until it is decoded and in the computer's memory, and until its file is written."""
    decoded: list[float] = []
    finish = generator._finish

    def finishing(*given: Any) -> None:
        decoded.append(time.perf_counter())
        finish(*given)

    generator._finish = finishing  # type: ignore[assignment, method-assign]
    begun: list[float] = []

    def one(number: int) -> None:
        begun.append(time.perf_counter())
        draw(generator, 1000 + number)

    for number in range(2):
        draw(generator, number)
    decoded.clear()
    found = timed(one)
    generator._finish = finish  # type: ignore[method-assign]
    until = [1000 * (there - start) for there, start in zip(decoded, begun, strict=True)]
    spread = {"median_ms": statistics.median(until), "least_ms": min(until), "most_ms": max(until), "times": len(until)}
    note(model=name, what="ours, to the decoded picture", floor_ms=1000 * TFLOP[row.name] / CEILING, **spread)
    note(model=name, what="ours, to the file", **found)


def cancelled(name: str, generator: gen.Generator) -> None:
    """Note how many steps it takes from a cancel at a random moment until the GPU has nothing more to do."""
    work, took = min(generator._curve._points)
    chance = random.Random(1)  # noqa: S311  chance that can be repeated
    freed = sorted(_freed(generator, number, took * (2 + 4 * chance.random())) / took for number in range(CANCELS))
    note(model=name, what="a cancel, in steps", work=work, median=statistics.median(freed), least=freed[0], most=freed[-1])


def _freed(generator: gen.Generator, number: int, after: float) -> float:
    """Cancel a drawing so many seconds after its first step; return the seconds until the GPU is free."""
    stop, told = threading.Event(), list[float]()

    def cancel() -> None:
        told.append(time.perf_counter())
        stop.set()

    most = generator.model.max_inference_steps
    request = compose("a red fox", model=generator.model.name, seed=number, num_inference_steps=most)
    with suppress(Cancelled):
        for event in generator.generate(request, stop=stop):
            if isinstance(event, Step) and event.index == 1:
                threading.Timer(after, cancel).start()
    sync()
    return time.perf_counter() - told[0]


def latents(generator: gen.Generator, number: int) -> torch.Tensor:
    """Return the latents that ours ends with."""
    steps = generator.model.num_inference_steps
    request = compose(
        f"a red fox in the snow, number {number}", model=generator.model.name, seed=number, num_inference_steps=steps
    )
    family = generator._family
    with torch.inference_mode():
        drawing = family.drawing(Task(arrived=0), request, 0, None)
        family.begin(drawing)
        while drawing.left:
            family.step(drawing, *family.predict([drawing]))
            drawing.left -= 1
        found: torch.Tensor = drawing.latents.float()
    return found


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return how far apart two tensors are, as a share of their length."""
    return float((one - other).norm() / other.norm())


def parts(name: str, generator: gen.Generator) -> None:
    """Note what the parts of a picture take: words, a pass, its decoding, a preview."""
    family = generator._family
    request = compose("a red fox in the snow", model=generator.model.name, seed=1)
    with torch.inference_mode():
        drawing = family.drawing(Task(arrived=0), request, 0, None)
        family.begin(drawing)
        note(model=name, what="reading new words", **timed(lambda number: family.words(f"fox {number}")))
        note(model=name, what="one step", **timed(lambda _: family.predict([drawing])))
        (prediction,), colours = family.predict([drawing]), family.colours()
        note(model=name, what="preview", **timed(lambda _: gen._small(family.preview(drawing, prediction, colours).cpu())))
        for size in SIZES:
            if size in generator._costs(drawing.shape):
                found = family.predict([drawing] * size)
                alone = family.predict([drawing])
                note(
                    model=name,
                    what=f"a row among {size} against alone",
                    difference=distance(found[-1].float(), alone[0].float()),
                )
        family.step(drawing, prediction)
        drawing.left -= 1
        note(model=name, what="decoding", **timed(lambda _: family.decode(drawing)))


def shown(name: str, generator: gen.Generator) -> None:
    """Note which kernels a picture is made of."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        begun = time.perf_counter()
        draw(generator, 5)
        sync()
        wall = time.perf_counter() - begun
    events = [(event.key, event.self_device_time_total, event.count) for event in found.key_averages()]
    events = sorted((event for event in events if event[1] > 0), key=lambda event: -event[1])
    total = sum(event[1] for event in events) / 1000
    kernels = [[key[:60], round(took / 1000, 2), count] for key, took, count in events[:25]]
    note(
        model=name,
        what="profile",
        wall_ms=1000 * wall,
        kernels_ms=total,
        count=sum(event[2] for event in events),
        kernels=kernels,
    )


def recompiled(name: str, row: Model, generator: gen.Generator) -> None:
    """Note how long the first picture of another shape takes, and of other ways: nothing is to be compiled for them."""
    ways: list[dict[str, Any]] = [
        {"aspect_ratio": 1.5},
        {"aspect_ratio": 2 / 3},
        {"num_inference_steps": 3},
        {"width": row.min_side, "height": row.min_side},
        {"upscale": 2},
    ]
    if row.guided and row.guidance_scale > 1:
        ways.append({"guidance_scale": 1.0})
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for given in ways:
        begun = time.perf_counter()
        draw(generator, 3, **given)
        first = time.perf_counter() - begun
        begun = time.perf_counter()
        draw(generator, 4, **given)
        more = torch._dynamo.utils.counters["stats"]["unique_graphs"] - graphs
        note(
            model=name, what="another shape", given=str(given), first_s=first, then_s=time.perf_counter() - begun, compiled=more
        )


def main() -> None:
    """Measure the models that are named."""
    torch.set_grad_enabled(False)
    MODELS.update(ROWS)  # all of them are drawn with here
    for name in sys.argv[1:]:
        with tried(name):
            measure(name)
        fast.rest()


if __name__ == "__main__":
    main()
