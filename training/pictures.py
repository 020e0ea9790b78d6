"""An endless supply of captioned pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.render import Renderer
from training.scenes import Composer, Scene, load_concepts

CHUNK = 512  # pictures rendered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Scenes and their pictures: uint8 [count, 3, height, width]."""

    scenes: list[Scene]
    pictures: Tensor


class Studio:
    """Composes scenes and renders them."""

    def __init__(self, assets: Path, device: torch.device, seed: int, *, hold_out: bool = True) -> None:
        self.composer = Composer(load_concepts(assets), hold_out=hold_out)
        self.renderer = Renderer(assets, device)
        self._rng = random.Random(seed)

    def batches(self, count: int, height: int = 256, width: int = 256) -> Iterator[Batch]:
        """Yield about `count` new pictures, CHUNK at once, and no fewer than that."""
        for _ in range(max(1, round(count / CHUNK))):
            yield self.batch(CHUNK, height, width)

    def batch(self, count: int, height: int = 256, width: int = 256) -> Batch:
        """Return `count` new pictures."""
        scenes = [self.composer.scene(self._rng) for _ in range(count)]
        pictures = self.renderer.render(scenes, self._rng.getrandbits(30), height, width)
        return Batch(scenes=scenes, pictures=(pictures * 255).round().to(torch.uint8))


def signed(pictures: Tensor) -> Tensor:
    """Turn bytes into what networks read, float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1
