"""Words for people. English stands in the code, where it is said; the other languages are tables from it, one file each.

A template is the key, so that there is nothing to keep in step but the tables, and a test holds those: it gathers every
template from the code (the literals in calls of `say`, `Phrase` and of the errors that are `Told`) and looks each up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot import german

if TYPE_CHECKING:
    from collections.abc import Mapping

ENGLISH: Final = "en"
LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {ENGLISH: {}, "de": german.TEXTS}
NAMES: Final = {ENGLISH: "English", "de": "Deutsch"}


class Phrase(str):
    """A template that is kept in a table, or goes into another one; it is put into the language when it is said."""

    __slots__ = ()


def say(language: str, template: str, /, **values: object) -> str:
    """Put a template into a language, and the values into it; `Phrase`s among them are put into that language too."""
    words = LANGUAGES.get(language, {}).get(template, template)
    if not values:
        return words
    return words.format(
        **{name: say(language, value) if isinstance(value, Phrase) else value for name, value in values.items()}
    )


def language(locale: str | None) -> str:
    """Return our language for a platform's locale, such as `de`, `de-DE` or `en-US`."""
    spoken = (locale or "").replace("_", "-").partition("-")[0].lower()
    return spoken if spoken in LANGUAGES else ENGLISH
