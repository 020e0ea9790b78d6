"""Draw the denoiser's loss as a picture.

python -m training.curve --log training/results/denoiser.jsonl --out training/results/curve.png
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

from PIL import Image, ImageDraw

WIDTH, HEIGHT, MARGIN = 900, 420, 50  # pixels
LOW, HIGH = 0.15, 0.35  # of the loss axis
INK, GRID, LINE = "#222222", "#dddddd", "#d9480f"


def read(log: Path) -> list[tuple[int, float]]:
    """Return (step, loss), leaving out the first of each call, which are averages of few."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line for line in lines if line["event"] == "step"]
    return [(b["step"], b["loss"]) for a, b in itertools.pairwise(steps) if a["call"] == b["call"]]


def draw(points: list[tuple[int, float]]) -> Image.Image:
    """Return the curve, with a grid."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    canvas, last = ImageDraw.Draw(image), points[-1][0]

    def place(step: float, loss: float) -> tuple[float, float]:
        across = MARGIN + step / last * (WIDTH - 2 * MARGIN)
        return across, HEIGHT - MARGIN - (min(loss, HIGH) - LOW) / (HIGH - LOW) * (HEIGHT - 2 * MARGIN)

    for loss in (0.15, 0.20, 0.25, 0.30, 0.35):
        canvas.line([place(0, loss), place(last, loss)], fill=GRID)
        canvas.text((8, place(0, loss)[1] - 6), f"{loss:.2f}", fill=INK)
    for step in range(0, last + 1, 1000):
        canvas.text((place(step, LOW)[0] - 10, HEIGHT - MARGIN + 8), str(step), fill=INK)
    canvas.line([place(step, loss) for step, loss in points], fill=LINE, width=3)
    canvas.text((MARGIN, 12), "denoiser: squared error of v, by step", fill=INK)
    return image


def main() -> None:
    """Read, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    draw(read(options.log)).save(options.out)


if __name__ == "__main__":
    main()
