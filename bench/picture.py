"""Seconds for a picture of the embedded model here, and how much of it is denoising: `python -m bench.picture`."""

from __future__ import annotations

import statistics
import time
from typing import Final

import torch

from bot.command import read
from bot.gen import Generator
from bot.models import SKETCH
from bot.request import Finished, Step

PICTURES: Final = 9


def main() -> None:
    """Draw, and print the table."""
    begun = time.perf_counter()
    generator = Generator(SKETCH)
    loading = time.perf_counter() - begun
    draw(generator, seed=0)  # the first one also warms up
    seconds, shares = zip(*(draw(generator, seed) for seed in range(PICTURES)), strict=True)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {SKETCH.num_inference_steps} steps, {PICTURES} pictures"
    )
    print("| loading | a picture: median | lowest | highest | of it denoising |\n|---|---|---|---|---|")
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"| {loading:.2f} s | {middle:.2f} s | {low:.2f} s | {high:.2f} s | {100 * statistics.median(shares):.0f} % |")


def draw(generator: Generator, seed: int) -> tuple[float, float]:
    """Draw one picture; return its seconds, and the share of them that is denoising."""
    steps: list[float] = []
    for event in generator.generate(read(f"a red fox in the snow --seed {seed}")):
        if isinstance(event, Step):
            steps.append(time.perf_counter())
        elif isinstance(event, Finished):
            a_step = (steps[-2] - steps[0]) / (len(steps) - 2)  # the last one is told of when the picture is decoded
            return event.seconds, a_step * len(steps) / event.seconds
    raise AssertionError


if __name__ == "__main__":
    main()
