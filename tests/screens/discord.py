"""Draw what people see in Discord, for the README: `python -m tests.screens.discord docs/discord.jpg`.

The real service draws, with the real model, for the made-up Discord; what that holds is shown as Discord shows it.
"""

from __future__ import annotations

import asyncio
import base64
import html
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import environment
from tests.demo import PATIENCE, done, service, watch
from tests.fakes.discord import DiscordServer
from tests.fakes.slack import SlackServer
from tests.screens import photograph

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.fakes.discord_world import Message

PROMPT = "a robot wearing a crown in the city at sunset"
DANGER = 4  # what Discord calls that style
SIZE = 1060, 850  # pixels
STYLE = """
* { box-sizing: border-box; margin: 0 }
body { background: #313338; color: #dbdee1; display: flex; align-items: flex-start; gap: 12px; padding: 8px;
  font: 15px/1.45 "gg sans", "Noto Sans", "DejaVu Sans", sans-serif }
.column { flex: 1 } .message { padding: 12px 12px 14px 62px; position: relative }
.message::before { content: "i"; position: absolute; left: 14px; top: 16px; width: 36px; height: 36px; border-radius: 50%;
  background: #5865f2; color: #fff; text-align: center; line-height: 36px }
b { color: #fff } .small { font-size: 12.5px; color: #b5bac1 } .user { background: #3c4270; color: #c9cdfb; border-radius: 3px }
.app { background: #5865f2; color: #fff; font-size: 10px; padding: 1px 4px; border-radius: 3px; margin-left: 6px }
.pictures { display: flex; gap: 4px; margin: 6px 0 } .pictures img { width: 208px; border-radius: 8px }
.pictures img:only-child { width: 300px }
.row { display: flex; gap: 8px; margin-top: 8px } .danger { background: #da373c }
.button { background: #4e5058; color: #fff; border-radius: 8px; padding: 4px 12px; font-weight: 600; font-size: 13.5px }
.button.danger { background: #da373c }
"""


async def main(path: Path) -> None:
    """Bob sees his robots come, and then has the second one upscaled."""
    async with SlackServer() as slack, DiscordServer() as discord, service(environment(slack, discord)) as url:
        async with asyncio.timeout(PATIENCE):
            drawn = await asked(await discord.imagine(url, {"prompt": PROMPT, "n": 2, "seed": 7, "steps": 24}))
            drawing = await under_way(drawn)
            ended = message(drawn)
            upscaled = await asked(await discord.click(url, drawn, "Upscale 2"))
            await watch(lambda: done(upscaled.pictures, upscaled.content))
    columns = f"<div class=column>{drawing}{ended}</div><div class=column>{message(upscaled)}</div>"
    page = f"<meta charset=utf-8><style>{STYLE}</style>{columns}"
    await asyncio.to_thread(photograph, page, path, *SIZE)


async def asked(answer: Any) -> Message:
    """Return the message that answers an interaction."""
    assert answer.message, answer
    found: Message = answer.message
    return found


async def under_way(drawn: Message) -> str:
    """Return what a message shows while it is drawn, and wait until it is."""
    shown: list[str] = []

    def look() -> bool:
        ended = done(drawn.pictures, drawn.content)
        if drawn.pictures and not ended and not shown:
            shown.append(message(drawn))
        return ended

    await watch(look)
    return "".join(shown)


def message(found: Message) -> str:
    """Show a message: its words, its pictures, its buttons."""
    words = "".join(map(line, found.content.splitlines()))
    rows = "".join(f"<div class=row>{''.join(map(button, row['components']))}</div>" for row in found.components)
    return f"<div class=message><b>imagine</b><span class=app>APP</span>{words}{gallery(found.pictures)}{rows}</div>"


def line(found: str) -> str:
    """Show a line of Discord's markup, as much of it as is used here."""
    words = html.escape(found.removeprefix("-# "))
    words = re.sub(r"\*\*(.+)\*\*", r"<b>\1</b>", words)
    words = re.sub(r"&lt;@\d+&gt;", "<span class=user>@bob</span>", words)
    plain = re.sub(r"\\(.)", r"\1", words)
    return f"<div{' class=small' if found.startswith('-# ') else ''}>{plain}</div>"


def gallery(pictures: Iterable[bytes]) -> str:
    """Show pictures side by side."""
    shown = (f"<img src='data:image/*;base64,{base64.b64encode(each).decode()}'>" for each in pictures)
    return f"<div class=pictures>{''.join(shown)}</div>"


def button(found: dict[str, Any]) -> str:
    """Show a button."""
    return f"<span class='button{' danger' if found['style'] == DANGER else ''}'>{html.escape(found['label'])}</span>"


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
