"""Everything that is said to people is said in every language."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

from bot.command import read
from bot.errors import BadRequest, Told
from bot.models import ROWS
from bot.page import WORDS
from bot.texts import LANGUAGES, NAMES, Phrase, language, say

BOT = Path(__file__).parent.parent / "bot"
TOLD = {"Told", "BadRequest"}
# What only whoever runs the bot reads, in a terminal, is said in English.
ADMINS = {"__main__", "deploy", "doctor", "local", "platforms", "recipe", "status", "store_local"}


def templates() -> dict[str, str]:
    """Return every template in the code, and where it stands."""
    found: dict[str, str] = {}
    for path in sorted(BOT.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                found |= dict.fromkeys(spoken(node, path.stem), f"{path.name}:{node.lineno}")
    return found


def spoken(call: ast.Call, module: str) -> list[str]:
    name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name == "Phrase":
        words = call.args[:1]
    elif name == "say" and len(call.args) > 1:
        words = call.args[1:2]
    elif name in TOLD and module not in ADMINS:
        words = call.args[:1]
        assert not isinstance(words[0], ast.JoinedStr), f"{module}:{call.lineno} cannot be translated once it is put together"
    else:
        words = []
    return [each.value for each in words if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value]


def places(template: str) -> set[tuple[str, str]]:
    return {(name, form or "") for _, name, form, _ in string.Formatter().parse(template) if name is not None}


TEMPLATES = templates() | {row.about: f"models.py: {row.name}" for row in ROWS.values()} | dict.fromkeys(WORDS, "page.html")


def test_there_is_something_to_say() -> None:
    assert len(TEMPLATES) > 50


@pytest.mark.parametrize("spoken_here", [code for code, table in LANGUAGES.items() if table])
def test_a_language_has_all_of_it_and_nothing_else(spoken_here: str) -> None:
    table = LANGUAGES[spoken_here]
    missing = {words: where for words, where in TEMPLATES.items() if words not in table}
    assert not missing, f"not yet in {NAMES[spoken_here]}"
    assert not table.keys() - TEMPLATES.keys(), "said nowhere any more"


@pytest.mark.parametrize("spoken_here", [code for code, table in LANGUAGES.items() if table])
def test_a_translation_has_the_same_places_for_values(spoken_here: str) -> None:
    wrong = [english for english, words in LANGUAGES[spoken_here].items() if places(english) != places(words)]
    assert wrong == []


@pytest.mark.parametrize(
    ("locale", "spoken_there"),
    [("de", "de"), ("de-AT", "de"), ("de_DE", "de"), ("en-GB", "en"), ("fr", "en"), ("", "en"), (None, "en")],
)
def test_a_locale_is_answered_in_a_language_that_we_have(locale: str | None, spoken_there: str) -> None:
    assert language(locale) == spoken_there


def test_what_was_raised_can_be_said_in_any_language() -> None:
    with pytest.raises(BadRequest) as refused:
        read("a fox --steps 99")
    assert str(refused.value) == "Steps must be from 1 to 50 for sketch; you asked for 99."
    assert refused.value.into("de") == "Die Zahl der Schritte muss bei sketch zwischen 1 und 50 liegen, nicht bei 99."


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--seed 4294967296", "Der Seed muss zwischen 0 und 4.294.967.295 liegen, nicht bei 4294967296."),
        ("--guidance 9", "Die Guidance muss bei sketch zwischen 0 und 2,0 liegen, nicht bei 9,0."),
        ("--ar 9:1", "Diese Form ist für sketch zu lang: versuch eine zwischen 1:1,78 und 1,78:1."),
    ],
)
def test_numbers_are_written_as_the_language_writes_them(typed: str, told: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(f"a fox {typed}")
    assert refused.value.into("de") == told


def test_a_shape_may_be_typed_as_it_was_advised() -> None:
    assert read("a fox --ar 1,78:1 --seed 7") == read("a fox --ar 1.78:1 --seed 7")


def test_values_are_never_taken_for_templates() -> None:
    assert say("en", "There is no model “{name}” here. There is: {models}.", name="{x}", models="{0}") == (
        "There is no model “{x}” here. There is: {0}."
    )


def test_words_without_values_may_have_braces() -> None:
    assert str(Told(Phrase("a {red,blue} fox"))) == "a {red,blue} fox"
