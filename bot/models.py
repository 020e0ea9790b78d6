"""The models we can draw with: one row each, in diffusers' own words.

`ROWS` is all of them, `MODELS` those that this deployment offers: people are not to start a download of 30 GB by typing
a name. `IMAGINE_MODELS` names them, separated by commas; the first one draws where nobody names one.

Licences, gates, steps and guidance are those of each model's page, https://huggingface.co/ and its repository, or else what
diffusers' pipeline does by default (https://huggingface.co/docs/diffusers). Looked up in November 2026.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bot.errors import BadRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What a model is called, where its weights are, and what it may be asked for."""

    name: str
    about: str
    repository: str  # a hub repository, or a folder in diffusers' layout
    revision: str | None = None  # a commit of the repository; None is its newest
    variant: str | None = None  # which files of the repository: some keep half-precision weights beside the full ones
    gated: bool = False  # the hub hands it only to who has agreed to its licence, and shows a token
    licence: str
    pipeline: str  # the class in diffusers
    arguments: Mapping[str, Any] = field(default_factory=dict)  # what its call needs besides a request's own words
    guided: bool = True  # it can be told what to leave out; distilled models cannot
    num_inference_steps: int
    max_inference_steps: int
    guidance_scale: float
    max_guidance_scale: float
    guidance_to_avoid: float | None = None  # serves where something is to be left out, which takes some guidance
    width: int  # pixels: the size it was trained at
    height: int
    min_side: int
    max_side: int
    variation: float = 0.3  # how far a variation's noise goes from the picture's own: things change, and stay where they are
    refining_strength: float = 0.3  # enough to draw the details that enlarging cannot know, too little to move anything
    refining_steps: int | None = None  # of which that share is run; None: as many as the picture took
    multiple: int  # both sides are multiples of this, or the network cannot halve them
    # Two ways to be faster with other pictures. bench/RESULTS.md has how fast, and how far off; no row takes one.
    fp8: bool = False  # large layers of a transformer in eight bits, on a GPU that has them
    guidance_stop: float = 1.0  # the share of the steps after which there is no guidance: the others take half the time
    dtype: str = "float16"  # on a GPU; a CPU always computes in float32
    # GiB that a drawing of its own size takes with all weights on the GPU; with less, they take turns there. Measured, with
    # some room, for all but sketch and flux-dev (bench/RESULTS.md); for those, reckoned from the weights.
    vram: float
    gpu: tuple[str, ...]  # Modal's names, the best first, then what will do where that is sold out

    def size(self, ratio: float) -> tuple[int, int]:
        """Return the width and height nearest to `ratio` (width / height) with the native number of pixels."""
        area = self.width * self.height
        width, height = (self._nearest(side) for side in (math.sqrt(area * ratio), math.sqrt(area / ratio)))
        if not (self.min_side <= width <= self.max_side and self.min_side <= height <= self.max_side):
            widest = min(self.max_side**2 / area, area / self.min_side**2)
            raise BadRequest(
                "That shape is too long for {model}: try one between 1:{widest:.3g} and {widest:.3g}:1.",
                model=self.name,
                widest=widest,
            )
        return width, height

    def _nearest(self, side: float) -> int:
        return max(1, round(side / self.multiple)) * self.multiple


SMALL: Final = ("L4", "A10", "T4")
LARGE: Final = ("L40S", "A100-80GB", "H100")

SKETCH: Final = Model(
    name="sketch",
    about="small, drawn on any CPU, comes with the package",
    repository=str(Path(__file__).parent / "sketch"),
    licence="MIT",
    pipeline="StableDiffusionXLPipeline",
    num_inference_steps=4,
    max_inference_steps=50,
    guidance_scale=1.0,  # none: it is distilled, and guidance costs twice the time
    max_guidance_scale=2.0,  # colours break beyond
    guidance_to_avoid=2.0,
    width=256,
    height=256,
    min_side=192,
    max_side=512,
    refining_strength=0.05,  # it was not trained at twice its size, and from 0.1 on draws faces into faces
    refining_steps=20,
    multiple=32,
    vram=1,
    gpu=SMALL,
)
SD15: Final = Model(
    name="sd15",
    about="Stable Diffusion 1.5: old, quick, knows many styles",
    repository="stable-diffusion-v1-5/stable-diffusion-v1-5",
    variant="fp16",
    licence="CreativeML Open RAIL-M",
    pipeline="StableDiffusionPipeline",
    num_inference_steps=25,
    max_inference_steps=100,
    guidance_scale=7.5,
    max_guidance_scale=20.0,
    width=512,
    height=512,
    min_side=256,
    max_side=1024,
    multiple=64,
    vram=5,
    gpu=SMALL,
)
SDXL: Final = Model(
    name="sdxl",
    about="Stable Diffusion XL: an all-rounder with guidance",
    repository="stabilityai/stable-diffusion-xl-base-1.0",
    variant="fp16",
    licence="CreativeML Open RAIL++-M",
    pipeline="StableDiffusionXLPipeline",
    num_inference_steps=25,
    max_inference_steps=100,
    guidance_scale=5.0,
    max_guidance_scale=20.0,
    width=1024,
    height=1024,
    min_side=512,
    max_side=1536,
    multiple=64,
    vram=13,
    gpu=LARGE,
)
SDXL_TURBO: Final = Model(
    name="sdxl-turbo",
    about="SDXL distilled to four steps: a picture at once, 512 pixels",
    repository="stabilityai/sdxl-turbo",
    variant="fp16",
    licence="Stability AI Non-Commercial Research Community",  # by its own page; stability.ai/license has terms for business
    pipeline="StableDiffusionXLPipeline",
    guided=False,
    num_inference_steps=4,
    max_inference_steps=8,
    guidance_scale=0.0,
    max_guidance_scale=0.0,
    width=512,
    height=512,
    min_side=256,
    max_side=1024,
    multiple=64,
    vram=10,
    gpu=SMALL,
)
SD35: Final = Model(
    name="sd35-medium",
    about="Stable Diffusion 3.5 Medium: follows long prompts",
    repository="stabilityai/stable-diffusion-3.5-medium",
    gated=True,
    licence="Stability AI Community",
    pipeline="StableDiffusion3Pipeline",
    num_inference_steps=28,
    max_inference_steps=100,
    guidance_scale=4.5,
    max_guidance_scale=20.0,
    width=1024,
    height=1024,
    min_side=512,
    max_side=1408,  # it was trained up to 1440
    multiple=64,
    dtype="bfloat16",
    vram=20,
    gpu=LARGE,
)
FLUX_SCHNELL: Final = Model(
    name="flux-schnell",
    about="FLUX.1 schnell: sharp pictures and lettering in four steps",
    repository="black-forest-labs/FLUX.1-schnell",
    gated=True,
    licence="Apache-2.0",
    pipeline="FluxPipeline",
    arguments={"max_sequence_length": 256},  # tokens: it was distilled with no more
    guided=False,
    num_inference_steps=4,
    max_inference_steps=12,
    guidance_scale=0.0,
    max_guidance_scale=0.0,
    width=1024,
    height=1024,
    min_side=256,
    max_side=1536,
    multiple=16,
    dtype="bfloat16",
    vram=37,
    gpu=LARGE,
)
FLUX_DEV: Final = Model(
    name="flux-dev",
    about="FLUX.1 dev: finer than schnell, slower, not for commercial use",
    repository="black-forest-labs/FLUX.1-dev",
    gated=True,
    licence="FLUX.1 [dev] Non-Commercial",
    pipeline="FluxPipeline",
    guided=False,  # its guidance is an input of the network, with no second picture to steer away from
    num_inference_steps=28,
    max_inference_steps=50,
    guidance_scale=3.5,
    max_guidance_scale=10.0,
    width=1024,
    height=1024,
    min_side=256,
    max_side=1536,
    multiple=16,
    dtype="bfloat16",
    vram=36,
    gpu=LARGE,
)
Z_IMAGE_TURBO: Final = Model(
    name="z-image-turbo",
    about="Z-Image-Turbo: sharp, quick, follows long prompts, free to use",
    repository="Tongyi-MAI/Z-Image-Turbo",
    licence="Apache-2.0",
    pipeline="ZImagePipeline",
    guided=False,
    num_inference_steps=8,  # its page says 9, of which diffusers wasted one then: https://github.com/huggingface/diffusers/pull/13730
    max_inference_steps=20,
    guidance_scale=0.0,
    max_guidance_scale=0.0,
    width=1024,
    height=1024,
    min_side=512,
    max_side=1536,
    multiple=16,
    dtype="bfloat16",
    vram=24,
    gpu=LARGE,
)

VARIABLES: Final = ("IMAGINE_MODEL", "IMAGINE_MODELS")
ROWS: Final = {row.name: row for row in (SKETCH, SD15, SDXL, SDXL_TURBO, SD35, FLUX_SCHNELL, FLUX_DEV, Z_IMAGE_TURBO)}


def named(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return each name of a model that the environment gives, after its variable: the one that draws by default first."""
    names = [(variable, name.strip()) for variable in VARIABLES for name in environ.get(variable, "").split(",")]
    return [(variable, name) for variable, name in names if name]


def offered(environ: Mapping[str, str]) -> dict[str, Model]:
    """Return the rows that people may name. What is no row was refused when the bot started (`platforms.check`)."""
    chosen = {name: ROWS[name] for _, name in named(environ) if name in ROWS}
    return chosen or {SKETCH.name: SKETCH}


MODELS: Final = offered(os.environ)
DEFAULT: Final = next(iter(MODELS))
