"""A picture carries the recipe that redraws it, in the form that other tools read."""

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bot import recipe
from bot.errors import BadRequest
from bot.models import SKETCH
from bot.png import stamp
from bot.request import LEAST_STRENGTH, MOST_VARIATIONS, SEEDS, UPSCALES, ImageRequest, compose

FOX = compose("a red fox in the snow", model="sketch", seed=7)
SETTINGS = "Steps: 4, CFG scale: 1, Seed: 7, Size: 256x256, Model: sketch"

SIDES = st.integers(SKETCH.min_side // SKETCH.multiple, SKETCH.max_side // SKETCH.multiple).map(SKETCH.multiple.__mul__)
WORDS = st.lists(
    st.sampled_from(["Negative prompt:", "Steps: 3,", "Seed: 9", "Model: x", "Size: 1x1,", "\\n", '"', "a,b", ":", "狐", "🦊"])
    | st.text(min_size=1, max_size=8),
    min_size=1,
    max_size=6,
).map(" ".join)
REQUESTS = st.builds(
    ImageRequest,
    prompt=WORDS.map("x {}".format) | WORDS.map("Negative prompt: {}".format),
    negative_prompt=st.just("") | WORDS,
    num_inference_steps=st.integers(1, SKETCH.max_inference_steps),
    guidance_scale=st.floats(0, SKETCH.max_guidance_scale),
    width=SIDES,
    height=SIDES,
    seed=st.integers(0, SEEDS - 1),
    model=st.just("sketch"),
    variation_seed=st.integers(0, SEEDS - 1),
    variation_strength=st.just(0.0) | st.floats(0, 1),
    varied=st.lists(st.tuples(st.integers(0, SEEDS - 1), st.floats(0, 1)), max_size=MOST_VARIATIONS - 1).map(tuple),
) | st.builds(
    ImageRequest,
    prompt=WORDS.map("x {}".format),
    num_inference_steps=st.just(4),
    guidance_scale=st.just(1.0),
    width=st.just(256),
    height=st.just(256),
    seed=st.just(7),
    model=st.just("sketch"),
    image=st.text("0123456789abcdef", min_size=24, max_size=24),
    strength=st.floats(LEAST_STRENGTH, 1),
    upscale=st.sampled_from(UPSCALES),
)


def pixel() -> Image.Image:
    return Image.new("RGB", (1, 1), "red")


def written(folder: Path, content: bytes) -> Path:
    path = folder / "picture.png"
    path.write_bytes(content)
    return path


def png(*chunks: tuple[bytes, bytes], side: int = 1) -> bytes:
    """Write a PNG with any chunks at all between its header and its pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    every = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    parts = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in every)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_a_recipe_is_written_as_other_tools_write_it() -> None:
    request = compose("a fox", negative_prompt="blur, text", guidance_scale=1.5, width=320, height=224, model="sketch", seed=7)
    assert recipe.text(request) == (
        "a fox\nNegative prompt: blur, text\nSteps: 4, CFG scale: 1.5, Seed: 7, Size: 320x224, Model: sketch"
    )


def test_a_recipe_without_a_negative_prompt_has_no_line_for_it() -> None:
    assert recipe.text(FOX) == f"a red fox in the snow\n{SETTINGS}"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(REQUESTS)
def test_any_request_comes_back_out_of_its_text(request: ImageRequest) -> None:
    assert recipe.parse(recipe.text(request)) == request


@settings(derandomize=True, max_examples=60, deadline=None)
@given(REQUESTS)
def test_any_request_comes_back_out_of_a_real_png(tmp_path_factory: pytest.TempPathFactory, request: ImageRequest) -> None:
    path = written(tmp_path_factory.getbasetemp(), stamp(pixel(), request))
    assert recipe.of(path) == request


@pytest.mark.parametrize("prompt", ["eine Füchsin", "雪の中の赤い狐", "лиса в снегу", "ثعلب أحمر", "a 🦊 and 👩\u200d🚀"])
def test_other_tools_find_the_recipe_in_the_chunk_they_look_in(prompt: str) -> None:
    request = compose(prompt, model="sketch", seed=7)
    with Image.open(io.BytesIO(stamp(pixel(), request))) as image:
        assert image.info["parameters"] == f"{prompt}\n{SETTINGS}"


def test_stamping_leaves_the_pixels_alone() -> None:
    image = Image.effect_noise((64, 32), 80).convert("RGB")
    with Image.open(io.BytesIO(stamp(image, FOX))) as stamped:
        assert stamped.format == "PNG"
        assert stamped.tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("foreign", "given"),
    [
        (f"a red fox\n{SETTINGS}, Model hash: 31e35c80fc, Clip skip: 2, Version: v1.10.1", {}),
        (f"a red fox\nSampler: DPM++ 2M Karras, {SETTINGS}, Denoising strength: 0.4", {}),
        (f'a red fox\n{SETTINGS}, Lora hashes: "fur: 4f1e, snow: 77aa", Hashes: {{"model": "31e3"}}', {}),
        (f"a red fox\r\n{SETTINGS}\r\n", {}),
        (f"a red\nfox\n{SETTINGS}", {}),
        (f"a red fox\nNegative prompt: blur,\ntext\n{SETTINGS}", {"negative_prompt": "blur, text", "guidance_scale": 1}),
        ("a red fox\nSteps: 4, CFG scale: 2.0, Seed: 1, Size: 256x256, Model: sketch", {"guidance_scale": 2, "seed": 1}),
    ],
)
def test_recipes_of_other_tools_are_read_and_what_we_lack_is_passed_over(foreign: str, given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"model": "sketch", "seed": 7}
    assert recipe.parse(foreign) == compose("a red fox", **(usual | given))


@pytest.mark.parametrize(
    ("foreign", "sentence"),
    [
        ("", "is incomplete"),
        ("a red fox", "is incomplete"),
        ("a red fox\nSteps: 4, CFG scale: 1, Seed: 7, Model: sketch", "is incomplete"),
        ("a red fox\nSteps: ten, CFG scale: 1, Seed: 7, Size: 256x256, Model: sketch", "is incomplete"),
        ("a red fox\nSteps: 4, CFG scale: 1, Seed: 7, Size: 256, Model: sketch", "is incomplete"),
        (f"a red fox\nSteps: 4, CFG scale: 1, Seed: {'9' * 5000}, Size: 256x256, Model: sketch", "is incomplete"),
        (SETTINGS, "Say what to draw"),
        ("a red fox\nSteps: 150, CFG scale: 1, Seed: 7, Size: 256x256, Model: sketch", "Steps must be from 1 to 50"),
        ("a red fox\nSteps: 4, CFG scale: 1, Seed: -1, Size: 256x256, Model: sketch", "The seed must be from 0"),
        ("a red fox\nSteps: 4, CFG scale: 1, Seed: 7, Size: 1024x1024, Model: sketch", "The width must be from 192 to 512"),
        ("a red fox\nSteps: 4, CFG scale: 1, Seed: 7, Size: 256x256, Model: dreamshaper_8", "There is no model"),
    ],
)
def test_a_recipe_that_cannot_be_drawn_here_says_why(foreign: str, sentence: str) -> None:
    with pytest.raises(BadRequest, match=sentence):
        recipe.parse(foreign)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_a_picture_without_a_recipe_says_where_else_to_look(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "stripped"
    pixel().save(path, kind)
    with pytest.raises(
        BadRequest, match=r"stripped carries no recipe\. .* use the original file, or the line under the picture\.$"
    ):
        recipe.of(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x89PNG\r\n\x1a\n",
        stamp(pixel(), FOX)[:40],
        png(side=100_000),
        png((b"zTXt", b"parameters\0\0" + zlib.compress(b"a" * 3_000_000))),
        png((b"tEXt", b"")),
    ],
    ids=["empty", "text", "only a signature", "cut off", "a bomb of pixels", "a bomb of text", "an empty chunk"],
)
def test_what_is_no_picture_is_refused_in_words(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"picture\.png (is not a picture that I can open|carries no recipe)"):
        recipe.of(written(tmp_path, content))


def test_a_file_that_is_not_there_is_refused_in_words(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(BadRequest, match="cannot be read: "):
            recipe.of(path)


def test_the_beginning_of_a_picture_is_enough() -> None:
    noise = Image.effect_noise((256, 256), 90).convert("RGB")
    assert recipe.inside(stamp(noise, FOX)[:2000]) == FOX
    assert recipe.inside(recipe.smaller(stamp(noise, FOX), 10**6)[:2000]) == FOX


@settings(derandomize=True, max_examples=60, deadline=None)
@given(REQUESTS)
def test_any_request_comes_back_out_of_a_smaller_picture(request: ImageRequest) -> None:
    assert recipe.inside(recipe.smaller(stamp(pixel(), request), 10**6)) == request


def test_other_tools_find_the_recipe_of_a_smaller_picture_where_they_look() -> None:
    with Image.open(io.BytesIO(recipe.smaller(stamp(pixel(), FOX), 10**6))) as image:
        comment = image.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + recipe.text(FOX).encode("utf-16-be")


@pytest.mark.parametrize("until", range(0, 60, 7))
def test_a_smaller_picture_that_is_cut_off_is_refused_in_words(until: int) -> None:
    with pytest.raises(BadRequest, match="that picture"):
        recipe.inside(recipe.smaller(stamp(pixel(), FOX), 10**6)[:until])


def test_pictures_of_one_request_are_put_together_again() -> None:
    four = replace(FOX, n=4)
    alone = [four.alone(index) for index in range(4)]
    assert recipe.together(alone) == [four]
    assert recipe.together(alone[1:3]) == [replace(alone[1], n=2)]
    assert recipe.together(alone[::-1]) == alone[::-1]
    assert recipe.together([]) == []
    varied = replace(four, variation_seed=3, variation_strength=0.2)
    assert recipe.together([varied.alone(index) for index in range(4)]) == [varied]


def test_a_picture_is_made_as_small_as_it_must_be() -> None:
    png = stamp(Image.effect_noise((256, 256), 90).convert("RGB"), FOX)
    best, least = (len(recipe.smaller(png, limit)) for limit in (10**6, 1))
    assert least < len(recipe.smaller(png, (best + least) // 2)) <= (best + least) // 2 < best
    with Image.open(io.BytesIO(recipe.smaller(png, 1))) as image:
        image.load()
        assert (image.format, image.size) == ("WEBP", (256, 256))
