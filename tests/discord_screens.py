"""Draw what people see in Discord, for the README: `python -m tests.discord_screens` writes docs/discord.svg.

The bot runs as it does anywhere, with the embedded model, and the payloads are those that the stand-in for Discord took; only
how Discord lays them out is imitated here.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
import textwrap
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PIL import Image

from tests.conftest import environment
from tests.demo import service
from tests.fakes.discord import DiscordServer
from tests.fakes.discord_forms import prefilled
from tests.fakes.slack import SlackServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.fakes.discord_world import Message

FILE: Final = Path("docs/discord.svg")
PROMPT: Final = "a robot wearing a crown in the city at sunset"
WIDTH, EDGE, LINE = 420, 16, 20  # of a screen: pixels
LETTER: Final = 7.1  # pixels of a usual letter, at 14 pixels
STYLES: Final = {1: "#5865f2", 2: "#4e5058", 4: "#da373c"}  # what Discord's kinds of buttons look like
FONT: Final = "font-family='gg sans,Noto Sans,Helvetica,Arial,sans-serif'"


@dataclass
class Screen:
    """One part of what somebody sees, drawn from above to below."""

    title: str
    parts: list[str] = field(default_factory=list)
    y: int = EDGE

    def text(self, words: str, *, size: int = 14, colour: str = "#dbdee1", weight: int = 400, x: int = EDGE) -> None:
        """Write a paragraph."""
        for line in textwrap.wrap(words, int((WIDTH - EDGE - x) / (LETTER * size / 14))):
            self.y += LINE * size // 14
            about = f"x='{x}' y='{self.y - 5}' font-size='{size}' fill='{colour}' font-weight='{weight}'"
            self.parts.append(f"<text {about}>{escape(line)}</text>")

    def pictures(self, contents: Sequence[bytes]) -> None:
        """Show pictures, two in a row; one by itself is as large as it is."""
        side = (WIDTH - 2 * EDGE - 4) // 2 if len(contents) > 1 else 190
        self.y += 6
        for index, content in enumerate(contents):
            x, y = EDGE + index % 2 * (side + 4), self.y + index // 2 * (side + 4)
            self.parts.append(f"<image x='{x}' y='{y}' width='{side}' height='{side}' href='{_inline(content, side)}'/>")
        self.y += -(-len(contents) // 2) * (side + 4) + 4

    def buttons(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show buttons, row by row."""
        for row in rows:
            x = EDGE
            for button in row["components"]:
                width = int(len(button["label"]) * LETTER) + 20
                self._box(x, width, 28, STYLES[button["style"]], button["label"], centred=True)
                x += width + 6
            self.y += 34

    def field(self, label: str, value: str) -> None:
        """Show a field of a form, and what stands in it."""
        self.text(label, size=12, colour="#b5bac1", weight=700)
        self._box(EDGE, WIDTH - 2 * EDGE, 32, "#1e1f22", textwrap.shorten(value, 54, placeholder="…"))
        self.y += 40

    def _box(self, x: int, width: int, height: int, colour: str, words: str, *, centred: bool = False) -> None:
        self.parts.append(f"<rect x='{x}' y='{self.y}' width='{width}' height='{height}' rx='4' fill='{colour}'/>")
        where = f"x='{x + width // 2}' text-anchor='middle'" if centred else f"x='{x + 8}'"
        middle = self.y + height // 2 + 5
        self.parts.append(f"<text {where} y='{middle}' font-size='13' fill='#fff'>{escape(words)}</text>")


def message(title: str, shown: Message, who: str) -> Screen:
    """Draw a message."""
    screen = Screen(title)
    screen.text(f"@{who} used /imagine", size=12, colour="#949ba4")
    screen.text("imagine  APP", weight=700, colour="#f2f3f5")
    for line in shown.content.splitlines():
        words = re.sub(r"\\(.)", r"\1", line.removeprefix("-# ")).replace("**", "")
        words = re.sub(r"<@\d+>", f"@{who}", words)
        screen.text(words, **({"size": 12, "colour": "#949ba4"} if line.startswith("-# ") else {"weight": 700}))
    screen.pictures(shown.pictures)
    screen.buttons(shown.components)
    return screen


def form(title: str, modal: Mapping[str, Any]) -> Screen:
    """Draw a form."""
    screen = Screen(title)
    screen.text(modal["title"], size=18, weight=700, colour="#f2f3f5")
    screen.y += 8
    for (label, value), part in zip(prefilled(modal).items(), modal["components"], strict=True):
        options = {option["value"]: option["label"] for option in part["component"].get("options", [])}
        screen.field(label, options.get(value, value))
    return screen


def page(screens: Sequence[Screen]) -> str:
    """Put screens side by side."""
    height = max(screen.y for screen in screens) + 2 * EDGE + LINE
    drawn = []
    for index, screen in enumerate(screens):
        below = f"<rect y='{LINE + 8}' width='{WIDTH}' height='{height - LINE - 8}' rx='8' fill='#313338'/>"
        above = f"<text y='{LINE - 4}' font-size='13' fill='#80848e'>{escape(screen.title)}</text>"
        inside = f"<g transform='translate(0 {LINE + 8})'>{''.join(screen.parts)}</g>"
        drawn.append(f"<g transform='translate({index * (WIDTH + EDGE)} 0)'>{above}{below}{inside}</g>")
    size = f"width='{len(screens) * (WIDTH + EDGE) - EDGE}' height='{height}'"
    return f"<svg xmlns='http://www.w3.org/2000/svg' {size} {FONT}>{''.join(drawn)}</svg>\n"


def _inline(content: bytes, side: int) -> str:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).convert("RGB").resize((side, side)).save(buffer, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


async def main() -> None:
    """Play a story, and write down how it looks."""
    async with SlackServer() as slack, DiscordServer() as discord, service(environment(slack, discord)) as url:
        who = discord.user.name
        answer = await discord.imagine(url, {"prompt": PROMPT, "n": 4, "seed": 7, "steps": 40})
        shown = answer.message
        assert shown
        while not (shown.pictures and shown.labels == ["Cancel"]):  # so far, a preview
            await asyncio.sleep(0.01)
        screens = [message("While it is drawn", shown, who)]
        while shown.labels == ["Cancel"]:
            await asyncio.sleep(0.05)
        screens.append(message("The pictures", shown, who))
        opened = await discord.click(url, shown, "Edit")
        screens.append(form("After “Edit”", opened.modal))
        assert not discord.violations
    FILE.write_text(page(screens), "utf-8")
    print(f"{FILE}: {FILE.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    asyncio.run(main())
