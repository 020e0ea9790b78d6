"""The recipe inside a picture: a PNG text chunk `parameters`, in the form that other tools read and write.

The first line is the prompt, then `Negative prompt: …` where there is one, then `Steps: 10, CFG scale: 4, …`.
Prompts here never hold a line break, so the three lines cannot be confused.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image, UnidentifiedImageError

from bot.errors import BadRequest
from bot.request import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHUNK: Final = "parameters"
QUALITIES: Final = (95, 90, 80, 65, 45, 25)  # of WebP, best first
_NEGATIVE: Final = "Negative prompt: "
_SETTING: Final = re.compile(r"\s*([\w ]+): ([^,]*)(?:,|$)")


def text(request: ImageRequest) -> str:
    """Write the recipe of one picture."""
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(_NEGATIVE + request.negative_prompt)
    lines.append(
        f"Steps: {request.num_inference_steps}, CFG scale: {request.guidance_scale:g}, Seed: {request.seed}, "
        f"Size: {request.width}x{request.height}, Model: {request.model}{''.join(_more(request))}"
    )
    return "\n".join(lines)


def _more(request: ImageRequest) -> Iterator[str]:
    """Write what most pictures do without, as other tools call it where they have it."""
    if request.variation_strength:
        yield f", Variation seed: {request.variation_seed}, Variation seed strength: {request.variation_strength:g}"
    if request.varied:
        yield f", Varied before: {' '.join(f'{seed}:{strength:g}' for seed, strength in request.varied)}"
    if request.image:
        yield f", Denoising strength: {request.strength:g}, Image: {request.image}"
    if request.upscale > 1:
        yield f", Upscale: {request.upscale}"


def parse(recipe: str) -> ImageRequest:
    """Read a recipe back into a request that can be drawn."""
    return ImageRequest(**fields(recipe))


def fields(recipe: str) -> dict[str, Any]:
    """Read a recipe back, whether or not it can still be drawn; settings that only other tools have are passed over."""
    lines = recipe.strip().split("\n")
    values = {key.strip(): value for key, value in _SETTING.findall(lines[-1])}
    middle = "\n".join(lines[:-1])
    prompt, _, negative_prompt = middle.partition(f"\n{_NEGATIVE}")
    try:
        width, height = values["Size"].split("x")
        return {
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "num_inference_steps": int(values["Steps"]),
            "guidance_scale": float(values["CFG scale"]),
            "width": int(width),
            "height": int(height),
            "seed": int(values["Seed"]),
            "n": 1,
            "model": values["Model"],
            "variation_seed": int(values.get("Variation seed", 0)),
            "variation_strength": float(values.get("Variation seed strength", 0)),
            "varied": tuple(_pair(each) for each in values.get("Varied before", "").split()),
            "image": values.get("Image", ""),
            "strength": float(values["Denoising strength"]) if "Image" in values else 1.0,
            "upscale": int(values.get("Upscale", 1)),
        }
    except (KeyError, ValueError):
        raise BadRequest("This picture's recipe is incomplete: it needs steps, CFG scale, seed, size and model.") from None


def _pair(text: str) -> tuple[int, float]:
    seed, strength = text.split(":")
    return int(seed), float(strength)


def smaller(png: bytes, limit: int) -> bytes:
    """Encode a picture again so that it fits: as WebP, of the best quality that does. Its recipe is not in there."""
    with Image.open(io.BytesIO(png)) as image:
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality)
            if buffer.tell() <= limit:
                break
    return buffer.getvalue()


def together(requests: Sequence[ImageRequest]) -> Sequence[ImageRequest]:
    """Return one request for pictures that one request draws, or them as they are."""
    if requests and list(requests) == [replace(requests[0], n=len(requests)).alone(i) for i in range(len(requests))]:
        return [replace(requests[0], n=len(requests))]
    return requests


def inside(content: bytes) -> ImageRequest:
    """Return the request that draws this picture, of which the first few thousand bytes are enough."""
    return parse(_found(io.BytesIO(content), "that picture"))


def of(path: Path) -> ImageRequest:
    """Return the request that draws the picture in this file."""
    return parse(text_of(path))


def text_of(path: Path) -> str:
    """Return the recipe in this file."""
    return _found(path, path)


def _found(file: Path | io.BytesIO, name: object) -> str:
    try:
        with Image.open(file) as image:
            found = image.info.get(CHUNK)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError) as error:
        raise BadRequest(f"{name} is not a picture that I can open: {error}") from error
    if not isinstance(found, str):
        raise BadRequest(
            f"{name} carries no recipe. Slack and many editors strip it: use the original file, or the line under the picture."
        )
    return found
