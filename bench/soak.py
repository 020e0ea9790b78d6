"""Whether memory stays flat under mixed traffic: `python -m bench.soak 30` draws for 30 minutes with the embedded model.

Four callers at a time ask for pictures of all sizes, in one to twelve steps, from words and from other pictures, enlarged and
not; one in four leaves before the end. A line for each tenth of the time: what was drawn by its end, what was held in it,
and what is still held when all have their pictures.
"""

from __future__ import annotations

import gc
import io
import random
import statistics
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from bot import heap
from bot.gen import Generator
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
    generator, begun, drawn = Generator(SKETCH), time.monotonic(), Counter[str]()

    def call(chance: random.Random, ends: float) -> None:
        while time.monotonic() < ends:
            draw(generator, chance)
            drawn["drawings"] += 1

    chances = [random.Random(seed) for seed in range(CALLERS)]  # noqa: S311  chance that can be repeated
    print("| minutes | drawings | held, MiB: mean | most | while nobody draws | most on the GPU |\n|---|---|---|---|---|---|")
    for line in range(1, LINES + 1):
        ends = begun + line * 60 * minutes / LINES
        callers = [threading.Thread(target=call, args=(chance, ends)) for chance in chances]
        for caller in callers:
            caller.start()
        samples = list(sampled(ends))
        for caller in callers:
            caller.join()
        cells = f"{drawn['drawings']} | {statistics.mean(samples):.0f} | {max(samples):.0f} | {at_rest():.0f} | {on_gpu()}"
        print(f"| {line * minutes / LINES:.1f} | {cells} |", flush=True)


def at_rest() -> float:
    """Return the MiB that stay held, now that nobody draws and what is free has been given back."""
    gc.collect()
    heap.give_back()
    return held()


def draw(generator: Generator, chance: random.Random) -> None:
    """Ask for something, and leave before the end now and then."""
    sides = range(SKETCH.min_side, SKETCH.max_side + 1, SKETCH.multiple)
    given: dict[str, Any] = {"width": chance.choice(sides), "height": chance.choice(sides), "n": chance.choice((1, 1, 2, 3))}
    image = None
    if chance.random() < 0.2:
        given |= {"image": "0" * 24, "strength": 0.6}
        image = start()
    elif chance.random() < 0.1:
        given = {"upscale": 2}
    prompt = f"a red fox number {chance.randrange(1000)}"
    request = compose(
        prompt, model=SKETCH.name, seed=chance.randrange(10**6), num_inference_steps=chance.randint(1, 12), **given
    )
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
    """Return the MiB that were held at most on the GPU, if there is one."""
    import torch  # noqa: PLC0415  not before `bot.gen`, which first sees to the heap

    return f"{torch.cuda.max_memory_allocated() / 2**20:.0f}" if torch.cuda.is_available() else ""


def held() -> float:
    """Return the MiB of memory that this process has."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * PAGE / 2**20


if __name__ == "__main__":
    main()
