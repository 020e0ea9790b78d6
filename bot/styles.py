"""Styles that people pick by name. A style is nothing but words around theirs, so the recipe needs no table to be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bot.texts import Phrase


@dataclass(frozen=True, slots=True)
class Style:
    """What a style is called where people choose it, and what it adds to a prompt."""

    name: str
    about: Phrase
    prompt: str  # with a place for the prompt

    def apply(self, prompt: str) -> str:
        """Put the style's words around a prompt."""
        return self.prompt.replace("{prompt}", prompt)  # not `format`: the prompt may have braces of its own


STYLES: Final = {
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


def split(prompt: str) -> tuple[str, str]:
    """Take a style's words off a prompt: return what is left, and the style's name; that is empty where there is none."""
    for style in STYLES.values():
        before, after = style.prompt.split("{prompt}")
        words = prompt.removeprefix(before).removesuffix(after)
        if words == words.strip() and words and style.apply(words) == prompt:
            return words, style.name
    return prompt, ""
