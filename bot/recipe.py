"""The recipe inside a picture, where other tools read and write it: a PNG's text chunk `parameters`, a WebP's user comment.

The first line is the prompt, then `Negative prompt: …` where there is one, then `Steps: 10, CFG scale: 4, …`.
Prompts here never hold a line break, so the three lines cannot be confused.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from bot.errors import BadRequest
from bot.request import ImageRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

CHUNK: Final = "parameters"
EXIF: Final = 0x8769  # where its own fields are
USER_COMMENT: Final = 0x9286
UNICODE: Final = b"UNICODE\0"  # before a comment in UTF-16
WEBP_HEAD: Final = 12  # bytes before the first chunk
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
    """Encode a picture and its recipe again so that they fit: as WebP, of the best quality that does."""
    with Image.open(io.BytesIO(png)) as image:
        comment = _comment(image.info[CHUNK])
        for quality in QUALITIES:
            buffer = io.BytesIO()
            image.save(buffer, "WEBP", quality=quality, exif=comment)
            if buffer.tell() <= limit:
                break
    return _recipe_first(buffer.getvalue())


def _comment(recipe: str) -> Image.Exif:
    exif = Image.Exif()
    exif.get_ifd(EXIF)[USER_COMMENT] = UNICODE + recipe.encode("utf-16-be")
    return exif


def _recipe_first(webp: bytes) -> bytes:
    """Put the recipe before the pixels, so that the beginning is enough to find it: only what draws has to be in order.

    https://developers.google.com/speed/webp/docs/riff_container
    """
    first = {b"VP8X": 0, b"EXIF": 1}
    chunks = sorted(_chunks(webp), key=lambda chunk: first.get(chunk[:4], 2))
    return webp[:WEBP_HEAD] + b"".join(chunks)


def _chunks(webp: bytes) -> Iterator[bytes]:
    """Return the chunks of a WebP, each with its name and length, as far as it is there."""
    start = WEBP_HEAD
    while start + 8 <= len(webp):
        length = int.from_bytes(webp[start + 4 : start + 8], "little")
        end = start + 8 + length + length % 2
        yield webp[start:end]
        start = end


def together(requests: Sequence[ImageRequest]) -> Sequence[ImageRequest]:
    """Return one request for pictures that one request draws, or them as they are."""
    if requests and list(requests) == [replace(requests[0], n=len(requests)).alone(i) for i in range(len(requests))]:
        return [replace(requests[0], n=len(requests))]
    return requests


def inside(content: bytes) -> ImageRequest:
    """Return the request that draws this picture, of which the first few thousand bytes are enough."""
    return parse(_found(content, "that picture"))


def of(path: Path) -> ImageRequest:
    """Return the request that draws the picture in this file."""
    return parse(text_of(path))


def text_of(path: Path) -> str:
    """Return the recipe in this file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadRequest(f"{path} cannot be read: {error.strerror}.") from error
    return _found(content, path)


def _found(content: bytes, name: object) -> str:
    try:
        found = _recipe_in(content)
    except (Image.DecompressionBombError, OSError, ValueError) as error:
        raise BadRequest(f"{name} is not a picture that I can open. Use one that the bot drew, a PNG or WebP file.") from error
    if not isinstance(found, str):
        raise BadRequest(
            f"{name} carries no recipe. Slack and many editors strip it: use the original file, or the line under the picture."
        )
    return found


def _recipe_in(content: bytes) -> object:
    """Return what stands where a recipe would. Raises what Pillow raises for what is no picture."""
    if content[8:WEBP_HEAD] == b"WEBP":  # which Pillow opens only whole
        exif = next((chunk for chunk in _chunks(content) if chunk[:4] == b"EXIF"), b"")
        _, found, comment = exif.partition(UNICODE)
        return comment.decode("utf-16-be") if found else None
    with Image.open(io.BytesIO(content)) as image:
        return image.info.get(CHUNK)
