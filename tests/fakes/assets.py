"""Stand-ins for the sprites and concepts that `training.assets` makes from npm packages: discs of one colour each."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageDraw

from training.scenes import HATS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE: Final = 256  # pixels of a sprite
PAINT: Final = {  # concept: the colour of its disc
    "fox": (255, 0, 255),
    "owl": (0, 255, 255),
    "snail": (153, 153, 153),
    "car": (200, 40, 40),
    "house": (40, 40, 200),
    "guitar": (120, 80, 20),
    "apple": (20, 120, 20),
    "robot": (90, 90, 120),
    **dict.fromkeys(HATS, (230, 200, 60)),
}
ANIMALS: Final = ("fox", "owl", "snail")


def build(folder: Path) -> Path:
    """Write concepts.json and sprites.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(index, name) for index, name in enumerate(PAINT)]
    (folder / "concepts.json").write_text(json.dumps(rows))
    discs = [_disc(paint) for paint in PAINT.values()]
    blobs: dict[str, Any] = {f"{look}_{index}": disc for index, disc in enumerate(discs) for look in ("solid", "flat")}
    np.savez(folder / "sprites.npz", **blobs)
    return folder


def _row(index: int, name: str) -> dict[str, object]:
    animal = name in ANIMALS
    return {
        "name": name,
        "group": 3 if animal else 5,
        "subgroup": "animal-mammal" if animal else "other-object",
        "synonyms": [f"{name}ling"],
        "tags": [],
        "sprites": [{"sprite": index, "kind": "full"}],
    }


def _disc(paint: tuple[int, int, int]) -> NDArray[np.uint8]:
    image, buffer = Image.new("RGBA", (SIDE, SIDE)), io.BytesIO()
    ImageDraw.Draw(image).ellipse((2, 2, SIDE - 3, SIDE - 3), fill=(*paint, 255))
    image.save(buffer, "WEBP", lossless=True)
    return np.frombuffer(buffer.getvalue(), np.uint8)
