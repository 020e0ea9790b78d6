"""Time pipelines on a CPU, by turns in one process: loading, and one picture at the default steps.

python -m training.bench first=DIR:10:4 new=DIR:4:1            (name=folder:steps:guidance)
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image

PROMPT = "a fox in the forest at sunset"
SIZE = 256  # pixels


def load(folder: str) -> tuple[Any, float]:
    """Return the pipeline and the seconds it took."""
    begun = time.perf_counter()
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, time.perf_counter() - begun


def draw(pipeline: Any, steps: int, guidance: float, seed: int) -> float:
    """Draw one picture and return the seconds it took."""
    generator = torch.Generator().manual_seed(seed)
    begun = time.perf_counter()
    pipeline(PROMPT, num_inference_steps=steps, guidance_scale=guidance, height=SIZE, width=SIZE, generator=generator)
    return time.perf_counter() - begun


def main() -> None:
    """Print a line for each pipeline."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipelines", nargs="+", metavar="NAME=DIR:STEPS:GUIDANCE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded, seconds = {}, dict[str, list[float]]()
    for entry in options.pipelines:
        name, _, rest = entry.partition("=")
        folder, steps, guidance = rest.rsplit(":", 2)
        load(folder)  # once to read the disk
        pipeline, took = load(folder)
        loaded[name] = (pipeline, int(steps), float(guidance), took, draw(pipeline, int(steps), float(guidance), 0))
        seconds[name] = []
    for seed in range(options.rounds):
        for name, (pipeline, steps, guidance, _, _) in loaded.items():
            seconds[name].append(draw(pipeline, steps, guidance, seed))
    for name, (_, steps, _, took, first) in loaded.items():
        best, middle = min(seconds[name]), statistics.median(seconds[name])
        print(
            f"{name}: loads in {took:.2f} s, first picture {first:.2f} s, then {middle:.2f} s "
            f"(best {best:.2f} s), {steps} steps, {options.threads} threads"
        )


if __name__ == "__main__":
    main()
