"""What a person wants in all their commands: `/imagine settings --n 4 --style oil`, in words and as flags by name.

It is said once, is remembered where the person said it, and serves where a command says nothing about it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from bot import command
from bot.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT: Final = ("model", "ar", "size", "n", "style")  # flags that can be set once for all commands
RIVALS: Final = {"ar": ("size",), "size": ("ar",), "model": ("size",)}  # what a flag that is typed leaves no room for

_AFTER: Final = re.compile(rf"{command.DASHES}*(reset|help|h)[{command.STOPS}]*", re.IGNORECASE)  # the word `settings`


def settings_in(text: str) -> dict[str, str] | None:
    """Read `settings --model sdxl --n 2`; None where the text is a prompt. Raises `BadRequest` for what may be a mistake.

    `settings` alone is empty, and so is `settings help`. With `reset` anywhere, all else is forgotten, by an empty value; a
    flag without a value forgets what it sets.
    """
    if not is_about_settings(text):
        return None
    first, *rest = command.unpasted(text).split()
    if not _is_exact(first):
        raise BadRequest("Did you mean /imagine settings? To draw “{word}”, put it between quotes.", word=first)
    return _changes(command.Words(" ".join(rest)))


def is_about_settings(text: str) -> bool:
    """Return whether a text is no prompt, such as `a setting sun`, but meant for the settings."""
    first, *rest = command.unpasted(text).split() or [""]
    if not command.SETTINGS.fullmatch(first):
        return False
    return _is_exact(first) or not rest or command.begins_flag(rest[0]) or _AFTER.fullmatch(rest[0]) is not None


def _is_exact(word: str) -> bool:
    return word.lower().rstrip(command.STOPS) == "settings"


def _changes(words: command.Words) -> dict[str, str]:
    """Read what stands after `settings`."""
    found, forgotten = dict[str, str](), dict[str, str]()
    while word := words.take():
        if said := _AFTER.fullmatch(word):
            forgotten |= dict.fromkeys(KEPT if said[1].lower() == "reset" else (), "")
            continue
        if not (flag := words.flag(word)):
            raise BadRequest(
                "After “settings” I read flags such as --n 4 --style oil, or reset, and not “{word}”. "
                "To draw these words, put them between quotes.",
                word=word[:50],
            )
        name, value = flag
        if name not in KEPT:
            flags = ", ".join(f"--{each}" for each in KEPT)
            raise BadRequest("--{name} is not remembered; these are: {flags}.", name=name, flags=flags)
        found[name] = value
    return forgotten | found


def changed(defaults: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Lay changes over what is remembered: a shape takes the place of a size, and a size of a shape; `none` forgets."""
    changes = {name: _kept(value) if name in KEPT else value for name, value in changes.items()}
    gone = {name for name, rival in (("ar", "size"), ("size", "ar")) if changes.get(rival) and name not in changes}
    return {name: value for name, value in usable(defaults).items() if name not in gone} | changes


def _kept(value: str) -> str:
    """Write a value as the menus of the forms have it."""
    return "" if value.lower() == command.PLAIN else value.lower()


def check(defaults: Mapping[str, str]) -> None:
    """Raise `BadRequest` for defaults that could not be drawn with."""
    command.read_all("a fox", options=defaults)


def usable(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the defaults that can still be drawn with: the admin may have taken a model or a style away since."""
    named = {name: value for name, value in defaults.items() if value and name in KEPT}
    if not named or _serve(named):
        return named
    kept: dict[str, str] = {}
    for name in KEPT:  # the model first: it decides which sizes there are
        if name in named and _serve({**kept, name: named[name]}):
            kept[name] = named[name]
    return {name: value for name, value in named.items() if name in kept}


def _serve(defaults: Mapping[str, str]) -> bool:
    try:
        check(defaults)
    except BadRequest:
        return False
    return True


def unsaid(defaults: Mapping[str, str], text: str) -> dict[str, str]:
    """Return the defaults that go with what was typed, whether or not it can be read: a form's fields win over its words."""
    typed = command.names_in(text)
    gone = typed.union(*(RIVALS.get(name, ()) for name in typed))
    return {name: value for name, value in defaults.items() if name not in gone}
