"""A picture that somebody brings is fetched from where it may come from, looked over, and made harmless."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web
from PIL import Image, PngImagePlugin

from bot.errors import BadRequest, Busy, Refused
from bot.upload import LARGEST, SIDE, fetch, vet
from tests.fakes.host import Host

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_any_usual_picture_becomes_a_plain_png(kind: str) -> None:
    image = opened(vet(encoded(Image.new("RGB", (30, 20), "red"), kind)))
    assert (image.format, image.mode, image.size) == ("PNG", "RGB", (30, 20))


def test_what_can_be_seen_through_stands_on_white() -> None:
    assert opened(vet(encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"))).getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_stands_upright_and_says_nothing_of_who_took_it() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    vetted = vet(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=exif))
    assert opened(vetted).size == (20, 30)
    note = PngImagePlugin.PngInfo()
    note.add_text("parameters", "secret")
    vetted += vet(encoded(Image.new("RGB", (4, 4)), "PNG", pnginfo=note))
    assert b"a camera" not in vetted
    assert b"secret" not in vetted


# Where what stood at the top left comes to stand, by the number that a camera writes down.
CORNERS = {0: (0, 0), 1: (0, 0), 2: (-1, 0), 3: (-1, -1), 4: (0, -1), 5: (0, 0), 6: (-1, 0), 7: (-1, -1), 8: (0, -1), 9: (0, 0)}


@pytest.mark.parametrize("orientation", CORNERS)
def test_whichever_way_a_camera_was_held_up_is_up(orientation: int) -> None:
    exif, image = Image.Exif(), Image.new("RGB", (30, 20))
    exif[0x0112] = orientation
    image.putpixel((0, 0), (255, 0, 0))
    upright = opened(vet(encoded(image, "PNG", exif=exif)))
    assert upright.size == ((20, 30) if 4 < orientation < 9 else (30, 20))
    x, y = CORNERS[orientation]
    assert upright.getpixel((x % upright.width, y % upright.height)) == (255, 0, 0)


def test_a_camera_that_writes_down_nonsense_spoils_no_picture() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    nonsense = exif.tobytes().replace(b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02")  # a width in letters
    assert opened(vet(encoded(Image.new("RGB", (30, 20)), "JPEG", exif=nonsense))).size == (20, 30)


@pytest.mark.parametrize("side", [20, SIDE + 1])
def test_a_picture_of_sixteen_bits_is_as_bright_as_it_was(side: int) -> None:
    grey = Image.new("I;16", (side, side), 0x7F00)
    assert opened(vet(encoded(grey, "PNG"))).getpixel((0, 0)) == (0x7F, 0x7F, 0x7F)


def test_a_picture_for_print_keeps_its_colours() -> None:
    assert opened(vet(encoded(Image.new("CMYK", (30, 20), (0, 255, 255, 0)), "JPEG"))).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_of_a_moving_picture_the_first_one_is_taken(kind: str) -> None:
    second = Image.new("RGB", (30, 20), "blue")
    moving = encoded(Image.new("RGB", (30, 20), "red"), kind, save_all=True, append_images=[second], lossless=True)
    assert opened(vet(moving)).getpixel((0, 0)) == (255, 0, 0)


def test_a_large_picture_is_made_smaller() -> None:
    assert opened(vet(encoded(Image.new("RGB", (4000, 1000)), "JPEG"))).size == (SIDE, SIDE // 4)


def bomb() -> bytes:
    """Write a small file that claims to be a huge picture."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    parts = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    "content",
    [b"", b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", bomb(), b"x" * 10_000],
    ids=["empty", "gif", "svg", "pdf", "png", "bomb", "noise"],
)
def test_what_is_no_picture_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(BadRequest):
        vet(content)


def test_a_picture_that_is_cut_off_is_refused_in_words() -> None:
    whole = encoded(Image.effect_noise((200, 200), 50), "PNG")
    with pytest.raises(BadRequest, match="not a picture that I can read"):
        vet(whole[: len(whole) // 2])


@pytest.fixture
async def host() -> AsyncIterator[str]:
    async def picture(request: web.Request) -> web.StreamResponse:
        match request.match_info["name"]:
            case "there":
                return web.Response(body=request.headers.get("Authorization", "nobody").encode())
            case "elsewhere":
                raise web.HTTPFound("http://169.254.169.254/latest/meta-data")
            case "huge":
                return web.Response(body=b"x" * (LARGEST + 1))
            case name:
                return web.Response(status=int(name))

    running = Host([web.get("/{name}", picture)])
    yield await running.start()
    await running.stop()


async def fetched(url: str, origin: str) -> bytes:
    async with aiohttp.ClientSession() as session:
        return await fetch(session, url, origins={origin}, headers={"Authorization": "Bearer x"})


async def test_a_picture_comes_from_where_it_may(host: str) -> None:
    assert await fetched(f"{host}/there", host) == b"Bearer x"


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://cdn.example.com.evil.example/a",
        "https://cdn.example.com@evil.example/a",
        "https://cdn.example.com:444/a",
        "http://cdn.example.com/a",
        "",
        "//cdn.example.com/a",
    ],
)
async def test_no_other_address_is_called(url: str) -> None:
    with pytest.raises(Refused):
        await fetched(url, "https://cdn.example.com")


@pytest.mark.parametrize(
    ("name", "error"), [("elsewhere", Refused), ("404", Refused), ("403", Refused), ("429", Busy), ("500", Busy)]
)
async def test_what_the_host_says_is_taken_at_its_word(host: str, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await fetched(f"{host}/{name}", host)


async def test_more_than_fits_is_not_read_to_the_end(host: str) -> None:
    with pytest.raises(BadRequest, match="20 MB is the most"):
        await fetched(f"{host}/huge", host)


async def test_the_beginning_is_read_where_that_is_enough(host: str) -> None:
    async with aiohttp.ClientSession() as session:
        head = await fetch(session, f"{host}/huge", origins={host}, head=1000)
    assert 1000 <= len(head) < 10**6


async def test_a_host_that_is_not_there_may_come_back() -> None:
    gone = "http://127.0.0.1:1"
    with pytest.raises(Busy):
        await fetched(f"{gone}/there", gone)
