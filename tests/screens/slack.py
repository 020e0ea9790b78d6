"""Draw what people see in Slack, for the README: `python -m tests.screens.slack docs/slack.jpg`.

The real service draws, with the real model, for the made-up Slack; what that holds in the end is shown as Slack shows it.
"""

from __future__ import annotations

import asyncio
import base64
import html
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot import manifest
from tests.conftest import environment, until
from tests.demo import service
from tests.fakes.discord import DiscordServer
from tests.fakes.slack import SlackServer
from tests.fakes.slack_views import value
from tests.fakes.slack_world import File, mimetype
from tests.screens import photograph

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fakes.slack_world import Message, View

PATIENCE = 120  # seconds
SIZE = 1060, 1190  # pixels

STYLE = """
body { margin: 0; padding: 24px; display: flex; gap: 28px; align-items: flex-start; background: #fff; color: #1d1c1d;
  font: 15px/1.46 Lato, "Noto Sans", "DejaVu Sans", sans-serif }
.column { flex: 1 } .side { flex: 0 0 480px }
.form { margin-bottom: 24px; border: 1px solid #ddd; border-radius: 8px; padding: 20px }
.message { display: grid; grid-template-columns: 36px 1fr; gap: 0 10px; margin-bottom: 20px }
.face { width: 36px; height: 36px; border-radius: 6px; background: #2b2d42; color: #fff; text-align: center; line-height: 36px }
.app { font-size: 10px; background: #ddd; border-radius: 2px; padding: 1px 3px; margin-left: 4px; vertical-align: 1px }
.small, .title, .private { color: #616061; font-size: 13px } .private { margin-bottom: 4px }
img { display: block; width: 256px; border-radius: 8px; margin: 4px 0 10px } .user { color: #1264a3; background: #e8f5fa }
.row { margin: 6px 0 } .button { display: inline-block; border: 1px solid #bbb; border-radius: 4px; padding: 3px 10px;
  margin: 0 6px 4px 0; font-size: 13px; font-weight: 700 } .danger { border-color: #e01e5a; color: #e01e5a }
.primary { background: #007a5a; border-color: #007a5a; color: #fff }
pre { background: #f8f8f8; border: 1px solid #ddd; border-radius: 4px; padding: 8px; font-size: 12px; white-space: pre-wrap }
h1 { font-size: 20px; margin: 0 0 12px } label { display: block; font-weight: 700; font-size: 13px; margin-top: 9px }
.field { border: 1px solid #bbb; border-radius: 4px; padding: 4px 10px; min-height: 20px; font-size: 14px }
"""


async def main(path: Path) -> None:
    """Tell a small story, and draw it."""
    async with SlackServer() as slack, DiscordServer() as discord, running(slack, discord) as url:
        slack.publish(url, "imagine.example.com")
        await slack.command(url, "a red fox wearing a crown in the snow --n 2 --seed 7 --steps 20")
        first = await shown(slack, 1)
        await slack.click(url, first, "Vary 2", user="U2")
        await until(lambda: any(m.labels == ["Cancel"] and m.images for m in slack.messages), PATIENCE)
        status = next(m for m in slack.messages if m.labels == ["Cancel"] and m.images)
        drawing = message(status, "imagine")
        await slack.click(url, first, "Details")
        told = message(next(m for m in slack.messages if m.ephemeral_to == "U1" and "--seed" in m.plain and m.via != "ack"))
        await slack.click(url, first, "Edit")
        screen = f"<div class=column>{message(first)}{drawing}</div><div class=side>{form(slack.modal)}{told}</div>"
        await shown(slack, 2)
    await asyncio.to_thread(photograph, f"<meta charset=utf-8><style>{STYLE}</style>{screen}", path, *SIZE)


@asynccontextmanager
async def running(slack: SlackServer, discord: DiscordServer) -> AsyncIterator[str]:
    """Run the real service."""
    slack.install(manifest.for_slack())
    async with service(environment(slack, discord)) as url:
        yield url


async def shown(slack: SlackServer, count: int) -> Message:
    """Wait for so many outcomes, and return the last one."""

    def outcomes() -> list[Message]:
        return [m for m in slack.messages if m.via == "api" and m.labels[:1] == ["Redraw"]]

    await until(lambda: len(outcomes()) >= count, PATIENCE)
    return outcomes()[-1]


def message(found: Message, name: str = "imagine") -> str:
    """Show a message."""
    pictures = iter(found.images)
    body = "".join(block(each, pictures) for each in found.blocks)
    private = "<div class=private>Only visible to you</div>" if found.ephemeral_to else ""
    who = f"<b>{name}</b><span class=app>APP</span>"
    return f"<div class=message><div class=face>i</div><div>{private}{who}{body}</div></div>"


def block(found: dict[str, Any], pictures: Any) -> str:
    """Show one block."""
    match found["type"]:
        case "rich_text":
            return "".join(rich(each) for each in found["elements"])
        case "image":
            title = found.get("title", {}).get("text", "")
            return f"<div class=title>{html.escape(title)}</div><img src='{source(next(pictures))}'>"
        case "context":
            return "".join(f"<div class=small>{html.escape(each['text'])}</div>" for each in found["elements"])
        case "actions":
            return f"<div class=row>{''.join(button(each) for each in found['elements'])}</div>"
    raise ValueError(found["type"])


def rich(found: dict[str, Any]) -> str:
    """Show rich text."""
    words = "".join(part(each) for each in found["elements"])
    return f"<pre>{words}</pre>" if found["type"] == "rich_text_preformatted" else f"<div>{words}</div>"


def part(found: dict[str, Any]) -> str:
    """Show a part of rich text."""
    if found["type"] == "user":
        return "<span class=user>@ada</span>"
    words = html.escape(found["text"])
    return f"<b>{words}</b>" if found.get("style", {}).get("bold") else words


def button(found: dict[str, Any]) -> str:
    """Show a button."""
    return f"<span class='button {found.get('style', '')}'>{html.escape(found['text']['text'])}</span>"


def form(view: View) -> str:
    """Show a form, and what stands in it."""
    fields = "".join(field(view, name, each) for name, each in view.inputs.items())
    buttons = f"<span class=button>{view.content['close']['text']}</span>"
    buttons += f"<span class='button primary'>{view.content['submit']['text']}</span>"
    return f"<div class=form><h1>{view.content['title']['text']}</h1>{fields}<div style='margin-top:16px'>{buttons}</div></div>"


def field(view: View, name: str, found: dict[str, Any]) -> str:
    """Show a field."""
    held, element = value(view, name), found["element"]
    labels = {option["value"]: option["text"]["text"] for option in element.get("options", ())}
    words = labels.get(held, held) if isinstance(held, str) else ""
    if element["type"] == "checkboxes":
        words = f"{'☑' if held else '☐'} {next(iter(labels.values()))}"
    if element["type"] == "file_input":
        words = "+ Upload file"
    return f"<label>{html.escape(found['label']['text'])}</label><div class=field>{html.escape(words or '')}</div>"


def source(picture: File | bytes) -> str:
    """Write a picture into the page."""
    content = picture if isinstance(picture, bytes) else picture.content or b""
    return f"data:{mimetype(content)};base64,{base64.b64encode(content).decode()}"


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
