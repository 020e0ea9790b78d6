"""The rows of the table of models agree with themselves."""

import math
from dataclasses import replace

import pytest

from bot.errors import BadRequest
from bot.models import DEFAULT, MODELS, ROWS, SDXL, SKETCH, Z_IMAGE_TURBO, Model, offered
from bot.request import compose

EVERY = pytest.mark.parametrize("model", ROWS.values(), ids=ROWS)

MEMORY = {"T4": 15, "L4": 22, "A10": 22, "L40S": 44, "A100-80GB": 79, "H100": 79}  # GiB, as CUDA counts them


@pytest.fixture(autouse=True)
def all_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in ROWS.values():
        monkeypatch.setitem(MODELS, row.name, row)


@EVERY
def test_a_model_is_found_by_its_own_name(model: Model) -> None:
    assert ROWS[model.name] is model


@EVERY
def test_a_name_can_be_typed_as_one_word_in_any_case(model: Model) -> None:
    assert model.name == model.name.lower()
    assert model.name.split() == [model.name]


@EVERY
def test_the_defaults_of_a_model_are_within_its_own_limits(model: Model) -> None:
    request = compose("a fox", model=model.name)
    assert (request.width, request.height) == (model.width, model.height)
    assert (request.num_inference_steps, request.guidance_scale) == (model.num_inference_steps, model.guidance_scale)


@EVERY
def test_the_limits_of_a_side_can_be_drawn_themselves(model: Model) -> None:
    for side in (model.min_side, model.max_side):
        assert compose("a fox", model=model.name, width=side, height=side).width == side


@EVERY
def test_a_model_has_a_licence_and_something_to_be_known_by(model: Model) -> None:
    assert model.licence
    assert model.about


@EVERY
def test_a_model_says_which_gpus_will_do_and_the_first_one_has_the_memory(model: Model) -> None:
    assert model.gpu
    assert set(model.gpu) <= MEMORY.keys()
    assert MEMORY[model.gpu[0]] > model.vram


@EVERY
def test_a_model_that_is_not_guided_has_no_guidance_to_speak_of_unless_it_is_an_input(model: Model) -> None:
    assert model.guided or model.max_guidance_scale == 0 or model.name == "flux-dev"


def test_without_a_word_only_the_model_that_comes_along_is_offered() -> None:
    assert list(offered({})) == [DEFAULT] == [SKETCH.name]


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"IMAGINE_MODEL": "sdxl"}, ["sdxl"]),
        ({"IMAGINE_MODELS": "z-image-turbo,sdxl"}, ["z-image-turbo", "sdxl"]),
        ({"IMAGINE_MODELS": " sdxl , sketch ,"}, ["sdxl", "sketch"]),
        ({"IMAGINE_MODEL": "sdxl", "IMAGINE_MODELS": "sketch,sdxl"}, ["sdxl", "sketch"]),
        ({"IMAGINE_MODEL": "dalle"}, ["sketch"]),
        ({"IMAGINE_MODELS": ""}, ["sketch"]),
    ],
)
def test_the_environment_says_what_is_offered_and_what_is_first(environ: dict[str, str], names: list[str]) -> None:
    assert list(offered(environ)) == names


def test_what_cannot_be_left_out_is_said_before_anything_is_promised() -> None:
    with pytest.raises(BadRequest, match=r"^z-image-turbo cannot be told what to leave out: drop --no, "):
        compose("a fox", model=Z_IMAGE_TURBO.name, negative_prompt="blur")
    assert compose("a fox", model=SDXL.name, negative_prompt="blur").negative_prompt == "blur"


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        (1, (256, 256)),
        (3 / 2, (320, 224)),
        (2 / 3, (224, 320)),
        (16 / 9, (352, 192)),
        (9 / 16, (192, 352)),
    ],
)
def test_a_shape_becomes_a_size_with_the_native_number_of_pixels(ratio: float, size: tuple[int, int]) -> None:
    width, height = SKETCH.size(ratio)
    assert (width, height) == size
    assert math.isclose(width * height, SKETCH.width * SKETCH.height, rel_tol=0.1)


def test_a_size_is_made_of_multiples_whatever_the_network_halves() -> None:
    large = replace(SKETCH, width=1024, height=1024, min_side=512, max_side=2048, multiple=64)
    assert large.size(16 / 9) == (1344, 768)


@pytest.mark.parametrize("ratio", [5, 1 / 5, 1e-9, 1e9])
def test_a_shape_that_is_too_long_says_which_are_not(ratio: float) -> None:
    with pytest.raises(BadRequest, match=r"^That shape is too long for sketch: try one between 1:1.78 and 1.78:1\.$"):
        SKETCH.size(ratio)
