"""What a prompt leaves open comes to an end, whoever wrote it; what people do with it is told in test_command."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot import choices, command
from bot.errors import BadRequest, Told
from bot.platforms import check
from bot.request import compose

LONG = 6000  # characters: more are refused before


def test_the_admins_lists_are_read_as_they_are_written() -> None:
    given = "Animal: fox, red cat, {owl,hen}; größe: tiny ;; place:beach,;"
    assert choices.lists({"IMAGINE_WILDCARDS": given}) == {
        "animal": ["fox", "red cat", "{owl", "hen}"],
        "größe": ["tiny"],
        "place": ["beach"],
    }
    assert choices.lists({}) == {}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("bad name: x", "the list “bad name” needs a name of letters and digits"),
        ("fox, cat, owl", "the list “fox, cat, owl” needs a name"),
        ("animal: ,", "the list “animal” is empty"),
        ("animal: fox, __plase__; place: beach", "names a list “plase”, which is not there"),
        ("loop: __loop__ x", "the list “loop” comes round to itself"),
        ("place: sea; a: __b__; b: x, a __C__; c: __a__ y", "the list “a” comes round to itself"),
    ],
)
def test_lists_that_would_not_give_what_is_meant_are_said_at_the_start(given: str, told: str) -> None:
    with pytest.raises(Told, match=told):
        check({"IMAGINE_WILDCARDS": given})
    check({"IMAGINE_WILDCARDS": "animal: fox, __place__; place: beach;"})
    check({"IMAGINE_WILDCARDS": "scene: __animal__ at the __place__, __place__; animal: fox __place__; place: beach"})


def test_the_words_of_a_list_may_name_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "LISTS", {"scene": ["a __animal__ at the __place__"], "animal": ["fox"], "place": ["sea"]})
    assert choices.filled("__Scene__, in snow", 7) == "a fox at the sea, in snow"
    assert choices.filled(r"\__scene__", 7) == "__scene__"


@pytest.mark.parametrize(
    ("prompt", "made"),
    [
        ("a {red,{blue,green}} fox", ["a red fox", "a blue fox", "a green fox"]),
        ("{fox {asleep,awake}|owl {in snow,in rain}}", ["fox asleep", "fox awake", "owl in snow", "owl in rain"]),
        ("{a {b|c, d}, e}", ["a b", "a c, d", "e"]),  # a bar between the inner braces is none between the outer ones
        ("{a {b,c} d}", ["{a b d}", "{a c d}"]),
        ("{a,b}}", ["a}", "b}"]),
        ("{{a,b}", ["{a", "{b"]),
        ("{a,{b,c}", ["{a,b", "{a,c"]),
        (r"\{a,{b,c}}", [r"\{a,b}", r"\{a,c}"]),
    ],
)
def test_a_choice_may_hold_another_one(prompt: str, made: list[str]) -> None:
    assert choices.prompts_in(prompt) == made


@pytest.mark.parametrize(("text", "is_open"), [("{a {b,c}", True), ("{a {b,c}}", False), ("a } b", False), (r"\{a", False)])
def test_a_brace_is_open_until_it_is_closed_itself(text: str, is_open: bool) -> None:
    assert choices.is_open(text) is is_open


@pytest.mark.parametrize("choosing", [2, 3])
@pytest.mark.parametrize("depth", [choices.NESTED - 1, 2900])
def test_choices_within_many_braces_are_not_written_out_for_each_of_these(depth: int, choosing: int) -> None:
    text, written = "{" * depth + "{a,b,c,d,e,f,g,h,i,j}" * choosing + "}" * depth, 0

    def count(_frame: object, event: str, called: object) -> None:
        nonlocal written
        written += event == "c_call" and getattr(called, "__name__", "") == "join"

    sys.setprofile(count)
    try:
        with suppress(BadRequest):
            choices.prompts_in(text)
    finally:
        sys.setprofile(None)
    assert written <= LONG


def test_braces_go_so_deep_and_any_number_of_them_can_be_kept() -> None:
    deepest = "{" * choices.NESTED + "a,b" + "}" * choices.NESTED
    assert len(choices.prompts_in(r"\{" * 1000 + deepest)) == 2
    with pytest.raises(BadRequest, match="more than 20 braces within one another"):
        choices.prompts_in("{" + deepest)


@pytest.mark.parametrize("words", ["__loop__", "__loop__ " * 2, "x __loop__ " * 500])
def test_a_list_that_names_itself_comes_to_an_end(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "LISTS", {"loop": [words]})
    begun = time.perf_counter()
    assert len(choices.filled("__loop__" * 200, 7)) < 10**7
    assert time.perf_counter() - begun < 1


@settings(derandomize=True, max_examples=500, deadline=None)
@given(st.text("_a{},|\\ ", max_size=12))
@example("__a__a__")
def test_what_is_kept_stays_as_it_is(words: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(choices, "LISTS", {"a": ["fox"], "aa": ["owl"]})
        [only] = choices.prompts_in(choices.keep(words))
        assert choices.filled(only, 7) == words
        if words.strip(" _{},|\\"):
            request = compose(words, model="sketch", seed=7)
            assert command.read(command.write(request)) == request


@pytest.mark.parametrize(
    "piece", ["{a,b}", "{", "{a,", "{a|", "}", "\\", "\\{", "__", "__a", "__a__", "\\__a__", "{__a__,b}", "{{", "{a,{"]
)
def test_nothing_that_can_be_typed_takes_long(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "LISTS", {"a": ["fox", "owl"]})
    text = piece * (LONG // len(piece))
    begun = time.perf_counter()
    made = [text]
    for each in (text, text + "}" * LONG):
        with suppress(BadRequest):
            made = choices.prompts_in(each)
    assert len(made) <= choices.MOST
    choices.check(text)
    choices.is_open(text)
    assert choices.filled(choices.keep(made[0]), 7) == made[0]
    assert time.perf_counter() - begun < 1
