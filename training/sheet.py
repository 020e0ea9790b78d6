"""Draw sixteen prompts with fixed seeds onto one sheet; with two pipelines, one above the other.

python -m training.sheet --out sheet.png new=DIR:4:1
python -m training.sheet --out compared.png first=DIR:10:4 new=DIR:4:1            (name=folder:steps:guidance)
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

PROMPTS = (
    "a fox in the forest",
    "a red car on the beach at sunset",
    "a robot wearing a crown in the city at night",
    "an astronaut on the moon",
    "a blue elephant in the snow",
    "a castle in the mountains",
    "three strawberries on a pink background",
    "a panda next to a pizza, on a teal background",
    "a watercolor painting of a rabbit in a field of flowers",
    "a pencil sketch of an owl",
    "a neon guitar on stage",
    "a sailboat on the ocean at sunset",
    "a cat above a dog on a yellow background",
    "an oil painting of a tree in the desert",
    "cartoon of a dragon in a lava field",
    "a beautiful sunset over the ocean",
)
COLUMNS = 8
SIZE = 256  # pixels of one picture


def pictures(folder: str, steps: int, guidance: float) -> list[Image.Image]:
    """Draw every prompt, the first with seed 0, the next with seed 1, and so on."""
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return [
        pipeline(
            prompt,
            num_inference_steps=steps,
            guidance_scale=guidance,
            height=SIZE,
            width=SIZE,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
        for seed, prompt in enumerate(PROMPTS)
    ]


def main() -> None:
    """Draw and paste. Rows of two pipelines alternate, in the order given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pipelines", nargs="+", metavar="NAME=DIR:STEPS:GUIDANCE")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    columns, rows = COLUMNS, len(PROMPTS) // COLUMNS
    sheet = Image.new("RGB", (columns * SIZE, rows * len(options.pipelines) * SIZE))
    for order, entry in enumerate(options.pipelines):
        folder, steps, guidance = entry.partition("=")[2].rsplit(":", 2)
        for index, picture in enumerate(pictures(folder, int(steps), float(guidance))):
            row = index // columns * len(options.pipelines) + order
            sheet.paste(picture, (index % columns * SIZE, row * SIZE))
    sheet.save(options.out, optimize=True, quality=92)


if __name__ == "__main__":
    main()
