"""The form shows a request as it is, and reads back what it shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import command, slack_form
from bot.errors import BadRequest, Told
from bot.request import ImageRequest, compose
from bot.slack_form import Form
from bot.styles import STYLES, Style
from bot.texts import LANGUAGES, Phrase
from tests.fakes import slack_views
from tests.fakes.slack_world import View, World

HERE = {"channel": "C1", "user": "U1", "team": "T0TEAM", "site": "https://x", "thread": "1.2", "response_url": "https://r"}


async def nothing(_: str) -> None:
    """Fetch nothing."""


def opened(form: Form, language: str = "en", address: dict[str, str] = HERE) -> tuple[World, View]:
    """Put the form on a screen, as strictly as Slack does."""
    world = World(fetch=nothing)
    return world, slack_views.show(world, "U1", "C1", slack_form.view(form, address, language))


def sent(form: Form, entries: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what comes of a form that somebody has filled in."""
    world, view = opened(form)
    slack_views.enter(view, entries or {})
    return slack_views.grant(world, view)


def read(body: dict[str, Any]) -> ImageRequest:
    filled = slack_form.read(body)
    [request] = command.read_all(filled.text, options=filled.options)
    return request


def fox(prompt: str = "a fox", **given: Any) -> ImageRequest:
    return compose(prompt, model="sketch", **({"seed": 7} | given))


REQUESTS = [
    fox(),
    fox(n=10, num_inference_steps=50, guidance_scale=0.55, width=320, height=224),
    fox(negative_prompt='--no {a,b} "quotes" \'', guidance_scale=2),
    fox(seed=2**32 - 1, upscale=2),
    fox(variation_seed=9, variation_strength=0.25),
    fox(variation_seed=9, variation_strength=0.25, varied=((1, 0.3), (2, 0.5))),
    fox(image="0123456789abcdef01234567", strength=0.35),
    *(fox(style.apply("a fox")) for style in STYLES.values()),
]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_touched_is_not_changed(request_: ImageRequest, language: str) -> None:
    opened(slack_form.of(command.filled(request_)), language)
    assert read(sent(slack_form.of(command.filled(request_)))) == request_


def test_shapes_stand_in_the_order_in_which_people_think_of_them() -> None:
    _, view = opened(Form(flags={"ar": "5:4"}))
    shown = [option["text"]["text"] for option in view.inputs["shape"]["element"]["options"]]
    assert shown == ["as the model likes it", *command.SHAPES, "5:4"]


@settings(derandomize=True, deadline=None)
@example("none")
@example("oil painting")
@example("help")
@example("settings")
@given(st.text(min_size=1, max_size=300))
def test_any_words_come_back_as_they_were(words: str) -> None:
    try:
        request = fox(words)
    except BadRequest:
        return  # nothing to see in it
    assert read(sent(slack_form.of(command.filled(request)))) == request


def test_a_style_is_picked_not_typed() -> None:
    _, view = opened(slack_form.of(command.filled(fox("a fox, oil painting"))))
    assert (slack_views.value(view, "prompt"), slack_views.value(view, "style")) == ("a fox", "oil")
    assert read(sent(slack_form.of(command.filled(fox("a fox, oil painting"))), {"style": "neon"})).prompt == "a fox, neon glow"


def test_an_empty_form_leaves_all_to_the_model_and_the_persons_own_defaults_stand_in_it() -> None:
    request = read(sent(Form(), {"prompt": "a fox"}))
    assert replace(request, seed=7) == fox()
    defaults = {"model": "sketch", "n": "3", "style": "oil", "ar": "5:4"}
    assert read(sent(Form(flags=defaults), {"prompt": "a fox"})).n == 3
    _, view = opened(Form(flags=defaults))
    assert slack_views.value(view, "shape") == "ar 5:4"


@pytest.mark.parametrize("style", ["", "own7", "own150"])
def test_of_more_styles_than_a_menu_holds_the_chosen_one_is_shown(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"own{number}" for number in range(200)):
        monkeypatch.setitem(STYLES, name, Style(name, Phrase(name), f"{{prompt}}, {name} look"))
    request = fox(f"a fox, {style} look" if style else "a fox")
    form = slack_form.of(command.filled(request))
    assert slack_views.value(opened(form)[1], "style") == (style or slack_form.NONE)
    assert read(sent(form)) == request


def test_a_new_picture_takes_the_place_of_the_one_that_was_there() -> None:
    world, view = opened(slack_form.of(command.filled(fox(image="0" * 24, strength=0.5))))
    file = world.attach("fox.png", b"\x89PNG\r\n\x1a\n")
    slack_views.enter(view, {"upload_picture": [file]})
    filled = slack_form.read(slack_views.grant(world, view))
    assert filled.address["file"] == file.id
    assert filled.options["image"] != "0" * 24


def test_how_often_a_list_is_chosen_from_is_kept_though_no_field_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox", "cat", "owl"]})
    words = "a __animal__ --repeat 4 --seed 7"
    first, *others = command.read_all(words)
    typed = slack_form.read(sent(slack_form.of(command.filled(first, words, others))))
    assert list(command.read_all(typed.text, options=typed.options)) == [first, *others]


def test_where_it_goes_is_kept_or_chosen() -> None:
    assert slack_form.read(sent(Form(), {"prompt": "a fox"})).address == HERE
    world, view = opened(Form(), address={"user": "U1", "channel": "", "response_url": ""})
    slack_views.enter(view, {"prompt": "a fox", "place": "G2"})
    body = slack_views.grant(world, view) | {"response_urls": [{"channel_id": "G2", "response_url": "https://r2"}]}
    chosen = slack_form.read(body).address
    assert (chosen["channel"], chosen["response_url"]) == ("G2", "https://r2")


WRONG = [
    ("a fox --steps 99", {}, "steps"),
    ("a fox", {"guidance": "9"}, "guidance"),
    ("a fox", {"n": "11"}, "n"),
    ("a fox", {"seed": "4294967296"}, "seed"),
    ("a fox", {"size": "320x225"}, "shape"),
    ("a fox", {"size": "8x320"}, "shape"),
    ("a fox", {"ar": "100:1"}, "shape"),
    ("a fox", {"ar": "x"}, "shape"),
    ("a fox", {"strength": "0.5"}, "strength"),
    ("a fox", {"image": "0" * 24, "strength": "0"}, "strength"),
    ("a fox", {"size": "512x512", "upscale": "2"}, "upscale"),
    ("a fox", {"model": "dall-e"}, "model"),
    ("a fox", {"style": "baroque"}, "style"),
    ("a fox", {"no": "x" * 2001}, "no"),
    ("x" * 2001, {}, "prompt"),
    ("a fox --vary x", {}, "prompt"),
]


@pytest.mark.parametrize(("text", "options", "name"), WRONG)
def test_what_is_wrong_is_said_beside_the_field_that_it_is_in(text: str, options: dict[str, str], name: str) -> None:
    with pytest.raises(Told) as told:
        command.read_all(text, options=options)
    assert slack_form.field_of(told.value, sent(Form(), {"prompt": "a fox"})) == name


@pytest.mark.parametrize("name", ["style", "seed", "no"])
def test_a_list_that_is_not_there_is_said_beside_the_words_whatever_it_is_called(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox"]})
    with pytest.raises(Told) as told:
        command.read_all(f"a __{name}__")
    assert slack_form.field_of(told.value, sent(Form(), {"prompt": "a fox"})) == "prompt"


def test_every_error_that_a_field_is_known_for_is_one_that_is_raised() -> None:
    known = {*slack_form.ABOUT, *slack_form.NAMED}
    assert known <= LANGUAGES["de"].keys()
