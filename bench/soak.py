"""Whether memory stays flat under mixed traffic: `python -m bench.soak 30` draws for 30 minutes with the embedded model.

`python -m bench.soak 5 sd15` does so on a GPU, with random weights in that model's architecture. Four callers at a time ask for
pictures, half of them of the usual size and half of any, in one to twelve steps, from words and from other pictures, enlarged
and not; one in four leaves before the end. A line for each tenth of the time: what was drawn by its end, and refused as too
large; what was held in it, and is still held when all have their pictures; the same on the GPU, in tensors and from the driver.
GIB lets torch have no more of a GPU than that, which all weights have to fit, and loads the model as if there were no more.
"""

from __future__ import annotations

import gc
import io
import os
import random
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from bot import gen, heap
from bot.errors import TooLarge
from bot.models import SKETCH
from bot.request import compose

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS: Final = 4
LINES: Final = 10
PAGE: Final = 4096  # bytes


def main() -> None:
    """Draw, and print."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    generator = prepared(sys.argv[2]) if len(sys.argv) > 2 else gen.Generator(SKETCH)
    begun, drawn = time.monotonic(), Counter[str]()

    def call(chance: random.Random, ends: float) -> None:
        while time.monotonic() < ends:
            try:
                draw(generator, chance)
                drawn["drawings"] += 1
            except TooLarge:
                drawn["refused"] += 1

    chances = [random.Random(seed) for seed in range(CALLERS)]  # noqa: S311  chance that can be repeated
    print("| minutes | drawings | refused | held, MiB: mean | most | while nobody draws | on the GPU: tensors | held | most |")
    print(f"|{'---|' * 9}")
    for line in range(1, LINES + 1):
        ends = begun + line * 60 * minutes / LINES
        callers = [threading.Thread(target=call, args=(chance, ends)) for chance in chances]
        for caller in callers:
            caller.start()
        samples = list(sampled(ends))
        for caller in callers:
            caller.join()
        told = f"{line * minutes / LINES:.1f} | {drawn['drawings']} | {drawn['refused']}"
        print(f"| {told} | {statistics.mean(samples):.0f} | {max(samples):.0f} | {at_rest():.0f} | {on_gpu()} |", flush=True)


def prepared(name: str) -> gen.Generator:
    """Return a generator of a row of the table, warm."""
    import torch  # noqa: PLC0415  not before `bot.gen`, which first sees to the heap

    from bench import gpu  # noqa: PLC0415  it brings torch
    from bot import weights  # noqa: PLC0415  as above

    memory = float(os.environ["GIB"]) if "GIB" in os.environ else None
    if memory is not None:
        torch.cuda.set_per_process_memory_fraction(memory / weights.memory_of("cuda"))
    return gpu.prepared(name, memory)


def at_rest() -> float:
    """Return the MiB that stay held, now that nobody draws and what is free has been given back."""
    gc.collect()
    heap.give_back()
    return held()


def draw(generator: gen.Generator, chance: random.Random) -> None:
    """Ask for something, and leave before the end now and then."""
    model = generator.model
    sides = range(model.min_side, model.max_side + 1, model.multiple)
    given: dict[str, Any] = {"n": chance.choice((1, 1, 2, 3))}
    if chance.random() < 0.5:
        given |= {"width": chance.choice(sides), "height": chance.choice(sides)}
    image = None
    if chance.random() < 0.2:
        given |= {"image": "0" * 24, "strength": 0.6}
        image = start()
    elif chance.random() < 0.1:
        given = {"upscale": 2}
    prompt = f"a red fox number {chance.randrange(1000)}"
    steps = chance.randint(1, min(12, model.max_inference_steps))
    request = compose(prompt, model=model.name, seed=chance.randrange(10**6), num_inference_steps=steps, **given)
    stays = chance.random() < 0.75
    for number, _ in enumerate(events := generator.generate(request, image=image)):
        if not stays and number == 2:
            events.close()
            return


def start() -> bytes:
    """Return a picture to start from."""
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def sampled(until: float) -> Iterator[float]:
    """Yield what is held ten times a second: it goes up and down with whatever is being drawn."""
    yield held()
    while time.monotonic() < until:
        time.sleep(0.1)
        yield held()


def on_gpu() -> str:
    """Return the MiB that tensors take on the GPU, that are held for them, and that they took at most, if there is one."""
    import torch  # noqa: PLC0415  as above

    if not torch.cuda.is_available():
        return "| |"
    found = torch.cuda.memory_allocated(), torch.cuda.memory_reserved(), torch.cuda.max_memory_allocated()
    return " | ".join(f"{each / 2**20:.0f}" for each in found)


def held() -> float:
    """Return the MiB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE / 2**20


if __name__ == "__main__":
    main()
