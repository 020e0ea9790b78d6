"""Words for people. English stands in the code, where it is said; the other languages are tables from it, one file each.

A template is the key, so that there is nothing to keep in step but the tables, and a test holds those: it gathers every
template from the code (the literals in calls of `say`, `Phrase` and of the errors that are `Told`) and looks each up.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Final

from bot import german

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH: Final = "en"
LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {ENGLISH: {}, "de": german.TEXTS}
NAMES: Final = {ENGLISH: "English", "de": "Deutsch"}
MARKS: Final = {"de": str.maketrans(",.", ".,")}  # in numbers, where they are not as in English


class Phrase(str):
    """A template that is kept in a table, or goes into another one; it is put into the language when it is said."""

    __slots__ = ()


def say(language: str, template: str, /, **values: object) -> str:
    """Put a template into a language, and the values into it; `Phrase`s among them are put into that language too."""
    words = LANGUAGES.get(language, {}).get(template, template)
    if not values:
        return words
    spoken = {name: say(language, value) if isinstance(value, Phrase) else value for name, value in values.items()}
    return _Template(language).vformat(words, (), spoken)


class _Template(string.Formatter):
    """Puts values into a template, numbers as the language writes them."""

    def __init__(self, language: str) -> None:
        self._marks = MARKS.get(language, {})

    def format_field(self, value: Any, format_spec: str) -> str:
        written = str(super().format_field(value, format_spec))
        return written.translate(self._marks) if isinstance(value, int | float) else written


def language(locale: str | None) -> str:
    """Return our language for a platform's locale, such as `de`, `de-DE` or `en-US`."""
    spoken = (locale or "").replace("_", "-").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else ENGLISH
