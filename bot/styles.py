"""Styles that people pick by name. A style is nothing but words around theirs, so the recipe needs no table to be read.

An admin may add styles, or put others in place of these.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bot.texts import Phrase

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "IMAGINE_STYLES"  # brand: in navy and coral, flat; poster: a poster of {prompt}, bold letters
NAME: Final = r"\w[\w-]{0,29}"  # of a style
PLACE: Final = "{prompt}"


@dataclass(frozen=True, slots=True)
class Style:
    """What a style is called where people choose it, and what it adds to a prompt."""

    name: str
    about: Phrase
    prompt: str  # with a place for the prompt

    def apply(self, prompt: str) -> str:
        """Put the style's words around a prompt."""
        return self.prompt.replace(PLACE, prompt)  # not `format`: the prompt may have braces of its own


OURS: Final = {
    style.name: style
    for style in (
        Style("3d", Phrase("soft 3D render"), "{prompt}, 3d render"),
        Style("cartoon", Phrase("flat cartoon"), "{prompt}, cartoon, flat illustration"),
        Style("pixel", Phrase("pixel art"), "{prompt}, pixel art"),
        Style("oil", Phrase("oil painting"), "{prompt}, oil painting"),
        Style("watercolor", Phrase("watercolor"), "{prompt}, watercolor"),
        Style("pencil", Phrase("pencil sketch"), "{prompt}, pencil sketch"),
        Style("mono", Phrase("black and white"), "{prompt}, black and white"),
        Style("neon", Phrase("neon glow"), "{prompt}, neon glow"),
        Style("vintage", Phrase("vintage"), "{prompt}, vintage"),
        Style("photo", Phrase("photograph; not for the embedded model"), "{prompt}, photograph, natural light, sharp focus"),
        Style("anime", Phrase("anime; not for the embedded model"), "{prompt}, anime, clean lines, cel shading"),
    )
}


def of_the_admin(environ: Mapping[str, str]) -> dict[str, Style]:
    """Read the admin's own styles. What is wrong with them was said when the bot started (`platforms.check`)."""
    given = (line.partition(":") for line in environ.get(VARIABLE, "").split(";"))
    named = ((name.strip().lower(), " ".join(words.split())) for name, _, words in given)
    return {name: Style(name, Phrase(words), words if PLACE in words else f"{PLACE}, {words}") for name, words in named if name}


def offered(environ: Mapping[str, str]) -> dict[str, Style]:
    """Return the styles that people may pick, the admin's first: some menus hold no more than 25."""
    own = of_the_admin(environ)
    return own | {name: style for name, style in OURS.items() if name not in own}


STYLES: Final = offered(os.environ)


def split(prompt: str) -> tuple[str, str]:
    """Take a style's words off a prompt: return what is left, and the style's name; that is empty where there is none."""
    for style in STYLES.values():
        before, _, after = style.prompt.partition(PLACE)
        words = prompt.removeprefix(before).removesuffix(after)
        if words == words.strip() and words and style.apply(words) == prompt:
            return words, style.name
    return prompt, ""
