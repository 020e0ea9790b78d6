"""What writing a picture's file takes, and how large it comes out: `python -m bench.encoders [PICTURE]`."""

from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from bot.models import SKETCH
from bot.png import stamp
from bot.request import compose

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE: Final = 1024  # pixels
TIMES: Final = 7


def main() -> None:
    """Measure, and print the table."""
    request = compose("a red fox", model=SKETCH.name, seed=7)
    ways: dict[str, Callable[[Image.Image], bytes]] = {
        "Pillow, PNG as usual": lambda image: saved(image, "PNG"),
        "Pillow, PNG at level 1": lambda image: saved(image, "PNG", compress_level=1),
        "ours, PNG": lambda image: stamp(image, request),
        "Pillow, WebP at 90": lambda image: saved(image, "WEBP", quality=90),
        "Pillow, JPEG at 92": lambda image: saved(image, "JPEG", quality=92),
    }
    pictures = {"smooth": smooth(), "with the texture of a photo": textured()}
    if len(sys.argv) > 1:
        pictures = {sys.argv[1]: Image.open(sys.argv[1]).convert("RGB")}
    print("| picture | encoder | ms | KiB |\n|---|---|---|---|")
    for name, picture in pictures.items():
        for way, encode in ways.items():
            took = []
            for _ in range(TIMES):
                begun = time.process_time()
                content = encode(picture)
                took.append(1000 * (time.process_time() - begun))
            print(f"| {name} | {way} | {min(took):.1f} | {len(content) // 1024} |")


def saved(image: Image.Image, kind: str, **given: int) -> bytes:
    """Encode as Pillow does."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **given)
    return buffer.getvalue()


def smooth() -> Image.Image:
    """Return soft patches of colour."""
    patches = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def textured() -> Image.Image:
    """Return the same with grain, coarse and fine."""
    chance = np.random.default_rng(1)
    coarse = Image.fromarray(chance.normal(128, 40, (SIDE // 4, SIDE // 4)).clip(0, 255).astype(np.uint8)).resize((SIDE, SIDE))
    grain = (np.asarray(coarse, dtype=float)[..., None] - 128) / 2 + chance.normal(0, 2, (SIDE, SIDE, 3))
    return Image.fromarray((np.asarray(smooth()) + grain).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
