"""The rows of the table of models agree with themselves."""

import math
from dataclasses import replace

import pytest

from bot.errors import BadRequest
from bot.models import DEFAULT, MODELS, SKETCH, Model
from bot.request import compose

EVERY = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@EVERY
def test_a_model_is_found_by_its_own_name(model: Model) -> None:
    assert MODELS[model.name] is model


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


def test_the_default_model_is_in_the_table() -> None:
    assert DEFAULT in MODELS


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        (1, (256, 256)),
        (3 / 2, (320, 224)),
        (2 / 3, (224, 320)),
        (16 / 9, (352, 192)),
        (9 / 16, (192, 352)),
        (4, (512, 128)),
        (1 / 4, (128, 512)),
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
    with pytest.raises(BadRequest, match=r"^That shape is too long for sketch: try one between 1:4 and 4:1\.$"):
        SKETCH.size(ratio)
