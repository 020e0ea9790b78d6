"""What a row's lossy switches gain and cost, on real weights: the embedded model, guided, in 20 steps: `python -m bench.lossy`.

Each prompt is drawn in all ways by turns. The difference of two pictures is the root of the mean square over their numbers,
from 0 to 255; a picture of the same prompt with another seed says what is far.
"""

from __future__ import annotations

import io
import statistics
import time
from dataclasses import replace
from typing import Any, Final

import numpy as np
from PIL import Image

from bot.gen import Generator
from bot.models import SKETCH
from bot.request import Finished, compose

WAYS: Final[dict[str, dict[str, Any]]] = {
    "as it is": {},
    "guidance_stop=0.5": {"guidance_stop": 0.5},
    "guidance_stop=0.3": {"guidance_stop": 0.3},
    "15 steps": {"num_inference_steps": 15},
    "10 steps": {"num_inference_steps": 10},
}
PROMPTS: Final = (
    "a red fox in the snow",
    "a blue teapot on the beach",
    "a castle at night",
    "three green apples",
    "a golden owl in the forest, watercolour",
    "a white cat on the moon",
)


def main() -> None:
    """Draw, and print the table."""
    generators = {
        way: Generator(replace(SKETCH, **({"guidance_scale": 2.0, "num_inference_steps": 20} | given)))
        for way, given in WAYS.items()
    }
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    differences: dict[str, list[float]] = {way: [] for way in WAYS}
    far = []
    for number, prompt in enumerate(PROMPTS):
        pictures = {}
        for way, generator in generators.items():
            begun = time.perf_counter()
            pictures[way] = drawn(generator, prompt, number)
            seconds[way].append(time.perf_counter() - begun)
            differences[way].append(distance(pictures[way], pictures["as it is"]))
        far.append(distance(drawn(generators["as it is"], prompt, 1000 + number), pictures["as it is"]))
    print("| way | a picture takes, of as it is | difference: median | largest |\n|---|---|---|---|")
    for way in WAYS:
        share = statistics.median(one / other for one, other in zip(seconds[way], seconds["as it is"], strict=True))
        print(f"| {way} | {share:.2f} | {statistics.median(differences[way]):.1f} | {max(differences[way]):.1f} |")
    print(f"| another seed | | {statistics.median(far):.1f} | {max(far):.1f} |")


def drawn(generator: Generator, prompt: str, seed: int) -> Any:
    """Return the numbers of a picture."""
    steps = generator.model.num_inference_steps
    request = compose(prompt, model=SKETCH.name, seed=seed, num_inference_steps=steps, guidance_scale=2.0)
    *_, finished = generator.generate(request)
    assert isinstance(finished, Finished)
    return np.asarray(Image.open(io.BytesIO(finished.pictures[0].png)).convert("RGB"), dtype=float)


def distance(one: Any, other: Any) -> float:
    """Return how far apart two pictures are."""
    return float(np.sqrt(np.mean((one - other) ** 2)))


if __name__ == "__main__":
    main()
