"""The models we can draw with: one row each, in diffusers' own words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bot.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model is called, where its weights are, and what it may be asked for."""

    name: str
    about: str
    repository: str  # a hub repository, or a folder in diffusers' layout
    licence: str
    num_inference_steps: int
    max_inference_steps: int
    guidance_scale: float
    max_guidance_scale: float
    width: int  # pixels: the size it was trained at
    height: int
    min_side: int
    max_side: int
    multiple: int  # both sides are multiples of this, or the network cannot halve them
    dtype: str = "float16"  # on a GPU; a CPU always computes in float32

    def size(self, ratio: float) -> tuple[int, int]:
        """Return the width and height nearest to `ratio` (width / height) with the native number of pixels."""
        area = self.width * self.height
        width, height = (self._nearest(side) for side in (math.sqrt(area * ratio), math.sqrt(area / ratio)))
        if not (self.min_side <= width <= self.max_side and self.min_side <= height <= self.max_side):
            widest = min(self.max_side**2 / area, area / self.min_side**2)
            raise BadRequest(f"That shape is too long for {self.name}: try one between 1:{widest:.3g} and {widest:.3g}:1.")
        return width, height

    def _nearest(self, side: float) -> int:
        return max(1, round(side / self.multiple)) * self.multiple


SKETCH: Final = Model(
    name="sketch",
    about="small, drawn on any CPU, comes with the package",
    repository=str(Path(__file__).parent / "sketch"),
    licence="MIT",
    num_inference_steps=10,
    max_inference_steps=50,
    guidance_scale=4.0,
    max_guidance_scale=20.0,
    width=256,
    height=256,
    min_side=128,
    max_side=512,
    multiple=32,
)

MODELS: Final = {model.name: model for model in (SKETCH,)}
DEFAULT: Final = SKETCH.name
