"""A request that exists can be drawn, and the same request is the same picture."""

import json
import random
from dataclasses import asdict
from typing import Any

import pytest

from bot.errors import BadRequest
from bot.models import SKETCH
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS, ImageRequest, Job, compose, find, settings, shorten

HUGE = 10**400  # more than a float can hold
FAMILY = "👩\u200d👩\u200d👧\u200d👦"  # one emoji, held together by joiners


def fox(**given: Any) -> ImageRequest:
    usual: dict[str, Any] = {"model": SKETCH.name, "seed": 7}
    return compose("a fox", **(usual | given))


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("a red fox", "a red fox"),
        ("  a   red\tfox \n", "a red fox"),
        ("a red\r\nfox\u2028in\u2029the\x85snow", "a red fox in the snow"),
        ("a\u00a0red\u3000fox", "a red fox"),
        ("a\x00 red\x07 fo\x1bx\x7f", "a red fox"),
        ("a \u202eder\u202c fox \u2066and\u2069", "a der fox and"),
        ("a \ud83d fox \udc00", "a ? fox ?"),
        ("cafe\u0301", "café"),
        ("\u1112\u1161\u11ab", "한"),
        (f"{FAMILY} at home", f"{FAMILY} at home"),
        ("❤\ufe0f and 👍🏽", "❤\ufe0f and 👍🏽"),
        ("שלום עולם", "שלום עולם"),
        ("`code` <@U1> & \\ \" ' @everyone", "`code` <@U1> & \\ \" ' @everyone"),
    ],
)
@pytest.mark.parametrize("name", ["prompt", "negative_prompt"])
def test_words_are_kept_in_one_canonical_form(name: str, typed: str, kept: str) -> None:
    assert getattr(fox(negative_prompt=typed) if name != "prompt" else compose(typed, model="sketch"), name) == kept


def test_words_that_look_the_same_make_the_same_request() -> None:
    assert compose("cafe\u0301 \n noir", model="sketch", seed=1) == compose("café noir", model="sketch", seed=1)


@pytest.mark.parametrize("nothing", ["", " ", "\n\t", "\x00", "\u202e"])
def test_a_request_without_words_says_what_to_type(nothing: str) -> None:
    with pytest.raises(BadRequest, match=r"^Say what to draw, for example: /imagine a red fox in the snow$"):
        compose(nothing, model="sketch")


def test_a_prompt_may_be_as_long_as_the_limit() -> None:
    assert len(compose("x" * PROMPT_LIMIT, model="sketch").prompt) == PROMPT_LIMIT


def test_spaces_that_are_folded_do_not_count_towards_the_limit() -> None:
    assert len(compose("x" + " " * PROMPT_LIMIT + "y", model="sketch").prompt) == 3


OUT_OF_BOUNDS = [
    ({"prompt": "x" * 2001}, "The prompt has 2001 characters; I can read 2000. Please shorten it."),
    ({"negative_prompt": "x" * 2001}, "The negative prompt has 2001 characters; I can read 2000. Please shorten it."),
    ({"num_inference_steps": 0}, "Steps must be from 1 to 50 for sketch; you asked for 0."),
    ({"num_inference_steps": 51}, "Steps must be from 1 to 50 for sketch; you asked for 51."),
    ({"guidance_scale": -0.01}, "Guidance must be from 0 to 2.0 for sketch; you asked for -0.01."),
    ({"guidance_scale": 2.01}, "Guidance must be from 0 to 2.0 for sketch; you asked for 2.01."),
    ({"guidance_scale": float("nan")}, "Guidance must be from 0 to 2.0 for sketch; you asked for nan."),
    ({"guidance_scale": float("inf")}, "Guidance must be from 0 to 2.0 for sketch; you asked for inf."),
    ({"guidance_scale": float("-inf")}, "Guidance must be from 0 to 2.0 for sketch; you asked for -inf."),
    ({"n": 0}, "The number of pictures must be from 1 to 10; you asked for 0."),
    ({"n": 11}, "The number of pictures must be from 1 to 10; you asked for 11."),
    ({"seed": -1}, "The seed must be from 0 to 4,294,967,295; you asked for -1."),
    ({"seed": SEEDS}, "The seed must be from 0 to 4,294,967,295; you asked for 4294967296."),
    ({"seed": 10**30}, "The seed must be from 0 to 4,294,967,295; you asked for 1000000000000000000…."),
    ({"width": 96}, "The width must be from 192 to 512 for sketch; you asked for 96."),
    ({"height": 544}, "The height must be from 192 to 512 for sketch; you asked for 544."),
    ({"width": 250}, "The width must be a multiple of 32 for sketch: try 256."),
    ({"height": 300}, "The height must be a multiple of 32 for sketch: try 288."),
    ({"variation_strength": 1.01}, "The variation's strength must be from 0 to 1; you asked for 1.01."),
    (
        {"variation_strength": 0.5, "variation_seed": -1},
        "The variation's seed must be from 0 to 4,294,967,295; you asked for -1.",
    ),
    (
        {"varied": ((1, 0.5), (SEEDS, 0.5)), "variation_strength": 0.5},
        "The variation's seed must be from 0 to 4,294,967,295; you asked for 4294967296.",
    ),
    ({"varied": ((1, -0.5),)}, "The variation's strength must be from 0 to 1; you asked for -0.5."),
    ({"varied": ((1, 0.5),) * 11}, "--vary takes 10 variations of one another, and no more."),
    ({"strength": 0.5}, "--strength says how far to go from a picture: attach one, or drop it."),
    ({"image": "https://example.com/a.png"}, "That is not the name of a picture: attach the picture instead."),
    ({"image": "0" * 24, "strength": 0}, "The strength must be from 0.05 to 1; you asked for 0.0."),
    ({"upscale": 3}, "--upscale is 1 or 2; you asked for 3."),
    (
        {"upscale": 2, "width": 512},
        "That is too large to upscale for sketch: leave --size at 256x256 or less.",
    ),
    ({"model": "sdxl"}, "There is no model “sdxl” here. There is: sketch."),
]


@pytest.mark.parametrize(("given", "sentence"), OUT_OF_BOUNDS)
def test_what_cannot_be_drawn_is_refused_with_a_sentence_that_says_what_can(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        compose(**({"prompt": "a fox", "model": "sketch"} | given))
    assert str(refused.value) == sentence


@pytest.mark.parametrize("name", ["num_inference_steps", "n", "seed", "width", "height"])
@pytest.mark.parametrize(
    "number", [HUGE, -HUGE, float("nan"), float("inf"), float("-inf")], ids=["huge", "-huge", "nan", "inf", "-inf"]
)
def test_a_number_beyond_all_bounds_is_refused_in_words(name: str, number: float) -> None:
    with pytest.raises(BadRequest, match="must be from"):
        fox(**{name: number})


def test_guidance_is_kept_to_the_hundredth_so_that_it_prints_as_it_is() -> None:
    assert fox(guidance_scale=1.006).guidance_scale == 1.01
    assert fox(guidance_scale=2) == fox(guidance_scale=2.0)


def test_a_seed_is_drawn_anew_for_each_request() -> None:
    assert len({compose("a fox", model="sketch").seed for _ in range(100)}) > 95


def test_the_seed_comes_from_the_operating_system_which_no_snapshot_repeats() -> None:
    seeds = set()
    for _ in range(5):
        random.seed(0)
        seeds.add(compose("a fox", model="sketch").seed)
    assert len(seeds) > 1


def test_what_is_given_wins_over_the_defaults_of_the_model() -> None:
    request = fox(num_inference_steps=3, guidance_scale=1.5, width=320, height=224, seed=9, n=2)
    assert (request.num_inference_steps, request.guidance_scale, request.width, request.height) == (3, 1.5, 320, 224)
    assert (request.seed, request.n) == (9, 2)


def test_a_shape_gives_both_sides() -> None:
    request = fox(aspect_ratio=3 / 2)
    assert (request.width, request.height) == (320, 224)


def test_each_picture_of_a_set_has_a_request_of_its_own() -> None:
    request = fox(seed=40, n=3, negative_prompt="blur")
    assert [request.alone(index) for index in range(3)] == [fox(seed=seed, negative_prompt="blur") for seed in (40, 41, 42)]


def test_variations_keep_the_seed_and_count_up_their_own() -> None:
    request = fox(seed=40, n=3, variation_seed=SEEDS - 1, variation_strength=0.3)
    assert [(each.seed, each.variation_seed) for each in map(request.alone, range(3))] == [(40, SEEDS - 1), (40, 0), (40, 1)]


def test_a_variation_that_goes_nowhere_is_the_picture_itself() -> None:
    assert fox(variation_seed=9, variation_strength=0) == fox()


def test_a_variation_of_a_variation_goes_on_from_there() -> None:
    request = fox(n=2, varied=((1, 0.3),), variation_seed=2, variation_strength=0.5)
    assert [each.variations for each in map(request.alone, range(2))] == [((1, 0.3), (2, 0.5)), ((1, 0.3), (3, 0.5))]
    assert fox().variations == ()


@pytest.mark.parametrize(
    ("varied", "strength", "left"),
    [
        (((1, 0.3), (2, 0)), 0.5, ((1, 0.3), (9, 0.5))),
        (((1, 0.301), (2, 0.3)), 0, ((1, 0.3), (2, 0.3))),
        (((1, 0), (2, 0.004)), 0, ()),
    ],
)
def test_variations_that_go_nowhere_leave_no_trace(
    varied: tuple[tuple[int, float], ...], strength: float, left: tuple[tuple[int, float], ...]
) -> None:
    request = fox(varied=varied, variation_seed=9, variation_strength=strength)
    assert request.variations == left
    assert not left or request == fox(varied=left[:-1], variation_seed=left[-1][0], variation_strength=left[-1][1])


def test_a_variation_of_a_variation_is_read_as_it_was_written_down() -> None:
    request = fox(varied=((1, 0.3),), variation_seed=2, variation_strength=0.5)
    job = Job(claim="x", request=request, platform="slack", person="p", reply_to={})
    assert Job.load(job.dump()) == job
    assert hash(Job.load(job.dump()).request) == hash(request)
    newer = json.loads(job.dump())
    assert Job.load(newer | {"mood": "blue", "request": newer["request"] | {"mood": "blue"}}) == job  # of a version to come


def test_a_picture_to_start_from_is_kept_to_some_degree_unless_said_otherwise() -> None:
    assert fox().strength == 1
    assert 0 < fox(image="0" * 24).strength < 1


def test_what_was_written_down_before_there_were_variations_can_be_read() -> None:
    fields = asdict(fox())
    for name in ("image", "strength", "variation_seed", "variation_strength", "varied", "upscale"):
        del fields[name]
    assert ImageRequest.restore(fields) == fox()


def test_seeds_go_on_from_zero_after_the_last() -> None:
    request = fox(seed=SEEDS - 2, n=4)
    assert [request.alone(index).seed for index in range(4)] == [SEEDS - 2, SEEDS - 1, 0, 1]


def test_the_first_picture_of_one_is_the_request_itself() -> None:
    assert fox().alone(0) == fox()


def test_requests_that_are_the_same_are_equal_and_can_be_keys() -> None:
    assert len({fox(), fox(), fox(seed=8)}) == 2


def test_a_model_that_is_not_there_says_which_are() -> None:
    assert find("sketch") is SKETCH
    with pytest.raises(BadRequest, match="There is: sketch"):
        find("Sketch 2")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, "256×256 · 4 steps · guidance 1 · seed 7 · sketch"),
        ({"guidance_scale": 1.5, "width": 320, "height": 224}, "320×224 · 4 steps · guidance 1.5 · seed 7 · sketch"),
        ({"upscale": 2}, "512×512 · 4 steps · guidance 1 · seed 7 · sketch"),
        (
            {"variation_seed": 9, "variation_strength": 0.3},
            "256×256 · 4 steps · guidance 1 · seed 7 · sketch · variation 9 by 0.3",
        ),
        (
            {"varied": ((1, 0.3), (2, 0.3)), "variation_seed": 9, "variation_strength": 0.3},
            "256×256 · 4 steps · guidance 1 · seed 7 · sketch · variation 9 by 0.3 (3 in a row)",
        ),
        ({"image": "0" * 24}, "256×256 · 4 steps · guidance 1 · seed 7 · sketch · from a picture, strength 0.6"),
        ({"negative_prompt": "blur, text"}, "without blur, text · 256×256 · 4 steps · guidance 2 · seed 7 · sketch"),
    ],
)
def test_the_settings_fit_one_line(given: dict[str, Any], line: str) -> None:
    assert settings(fox(**given)) == line


def test_a_long_negative_prompt_is_cut_in_the_settings() -> None:
    line = settings(fox(negative_prompt="blur " * 300))
    assert len(line) < 300
    assert "blur… · 256×256" in line


@pytest.mark.parametrize(
    ("text", "limit", "cut"), [("fox", 3, "fox"), ("foxes", 4, "fox…"), ("a fox runs", 7, "a fox…"), ("", 1, "")]
)
def test_what_is_too_long_shows_that_it_was_cut(text: str, limit: int, cut: str) -> None:
    assert shorten(text, limit) == cut
    assert len(cut) <= limit


def test_every_job_has_an_id_that_cannot_be_guessed_from_its_claim() -> None:
    jobs = [Job(claim="slack:T1:1.2", request=fox(), platform="slack", person="slack:T1:U1", reply_to={}) for _ in range(10)]
    assert len({job.id for job in jobs}) == 10
    assert all(len(job.id) >= 20 and "1.2" not in job.id for job in jobs)


def test_one_message_can_carry_the_largest_set() -> None:
    assert fox(n=MAX_PICTURES).n == 10


def test_something_can_only_be_left_out_with_some_guidance() -> None:
    assert compose("a fox", model="sketch").guidance_scale == SKETCH.guidance_scale
    assert compose("a fox", model="sketch", negative_prompt="snow").guidance_scale == SKETCH.guidance_to_avoid
    assert compose("a fox", model="sketch", negative_prompt="snow", guidance_scale=1.5).guidance_scale == 1.5
