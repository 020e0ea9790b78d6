"""Pictures that people bring along: fetched from the platform's own hosts only, looked over, and made harmless."""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp

from bot.errors import BadRequest, Busy, Refused
from bot.texts import Phrase

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from PIL import Image

LARGEST: Final = 20_000_000  # bytes
MOST_PIXELS: Final = 50_000_000  # what a good telephone makes; a small file can claim to have many more
SIDE: Final = 2048  # pixels: no model starts from more
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")
ORIENTATION: Final = 0x0112  # the field of EXIF that says which way is up
TYPES: Final = frozenset(f"image/{each.lower()}" for each in FORMATS)
CHUNK: Final = 2**16  # bytes

NOT_READABLE: Final = Phrase("That is not a picture that I can read. PNG, JPEG, WebP and GIF work.")

_ONE_AT_A_TIME: Final = ThreadPoolExecutor(1, "vet")


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    *,
    origins: Collection[str],
    headers: Mapping[str, str] | None = None,
    head: int | None = None,
) -> bytes:
    """Return what lies at an address, of one of the `origins` (such as `https://cdn.example.com`) and of no other.

    With `head`, return little more than so many bytes from its beginning. Raises `Refused` for an address elsewhere, also
    where one of ours would send us there; `BadRequest` for too much.
    """
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" not in origins:
        raise Refused("not theirs", "an address that is not the platform's")
    content = bytearray()
    try:
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Busy(f"HTTP {response.status}")
            if response.status != HTTPStatus.OK:
                raise Refused(f"HTTP {response.status}")
            async for chunk in response.content.iter_chunked(CHUNK):
                content += chunk
                if head and len(content) >= head:
                    break
                _see_that_it_is_not_too_large(content)
    except (aiohttp.ClientError, OSError) as error:
        raise Busy(type(error).__name__) from None
    return bytes(content)


async def vetted(content: bytes) -> bytes:
    """Vet a picture beside everything else; one at a time, for a large one takes much memory."""
    return await asyncio.get_running_loop().run_in_executor(_ONE_AT_A_TIME, vet, content)


def vet(content: bytes) -> bytes:
    """Return a picture as a plain PNG of at most `SIDE` pixels a side: upright, on white, with nothing else in it."""
    from PIL import Image  # the doors open without it

    _see_that_it_is_not_too_large(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise BadRequest("That picture is too large: {limit} megapixels is the most.", limit=MOST_PIXELS // 10**6)
            image.draft("RGB", (SIDE, SIDE))  # a JPEG is read no larger than it is needed
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            upright = _upright(_eight_bits(image)).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadRequest(NOT_READABLE) from error
    white = Image.new("RGBA", upright.size, "white")
    buffer = io.BytesIO()
    Image.alpha_composite(white, upright).convert("RGB").save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _see_that_it_is_not_too_large(content: bytes | bytearray) -> None:
    if len(content) > LARGEST:
        raise BadRequest("That picture is too large: {limit} MB is the most.", limit=LARGEST // 10**6)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits as one of 8, which Pillow would make white instead."""
    return image.point(lambda grey: grey / 256).convert("L") if image.mode.startswith("I") else image


def _upright(image: Image.Image) -> Image.Image:
    """Turn a picture as its camera says. Pillow's own way writes all that the camera said anew, which can fail."""
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    turn = turns.get(image.getexif().get(ORIENTATION, 1))
    return image if turn is None else image.transpose(turn)
