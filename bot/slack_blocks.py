"""What Slack shows: messages and their buttons. https://docs.slack.dev/block-kit

A prompt stands in rich text and plain text only, which Slack never reads as markup: it can neither ping nor break.
"""

from __future__ import annotations

import base64
import html
import json
import re
import zlib
from contextlib import suppress
from dataclasses import MISSING, asdict, fields
from typing import TYPE_CHECKING, Any, Final

from bot import command
from bot.actions import Action, Button, Press, of_proposal, offered, so_many, while_drawing
from bot.courier import summary
from bot.request import ImageRequest, shorten
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bot.courier import Outcome
    from bot.desk import Proposal
    from bot.request import Job, Picture

SHOWN: Final = 500  # characters of a prompt in a message; alt text has it all
ALT_TEXT: Final = 2000  # characters
VALUE: Final = 2000  # characters that a button carries
LABEL: Final = 75  # characters on a button
SLIMMEST: Final = 2
# Characters in a message's blocks. Slack says `msg_blocks_too_long` from some 11,000 on, and not what it counts.
# https://github.com/slackapi/bolt-js/issues/2867
MOST: Final = 9000

DELETE_FOR_ALL: Final = Phrase("The message and its pictures will be gone for everybody.")
KEEP: Final = Phrase("Keep")


def status(job: Job, words: str, *, preview: str = "", cancel: bool = True) -> dict[str, Any]:
    """Say how far a job is; `preview` is the address of what can be seen of it so far."""
    title = shorten(job.title, SHOWN)
    blocks = [prompt(title)]
    if preview:
        blocks.append({"type": "image", "image_url": preview, "alt_text": shorten(job.title, ALT_TEXT)})
    blocks.append(context(words))
    if cancel:
        blocks += actions(while_drawing(job))
    return {"text": f"{escape(title)}: {escape(words)}", "blocks": blocks}


def outcome(ended: Outcome, images: Sequence[Mapping[str, Any]], hint: str, *, slim: int = 0) -> dict[str, Any]:
    """Write how a job ended; `images` say where each picture is: `image_url` or `slack_file`.

    Slack does not say how much fits a message in all; `slim` leaves out what can be done without: 1 what each picture says
    of its prompt beyond the beginning, `SLIMMEST` also what the buttons carry for when we have forgotten all else.
    """
    job = ended.job
    title = shorten(job.title, SHOWN)
    blocks = [prompt(title, asked_by=job.reply_to["user"])]
    shown = zip(ended.pictures, images, strict=True)
    blocks += [_image(picture, image, index, job, slim=slim > 0) for index, (picture, image) in enumerate(shown)]
    blocks.append(context(summary(ended)))
    if hint:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": hint}]})
    files = [image["slack_file"]["id"] for image in images if "slack_file" in image]
    buttons = actions(offered(ended), {Action.DELETE: ",".join(files)}, job.language)
    if slim < SLIMMEST:
        _carry(buttons, _pack(job.requests))
    return {"text": escape(ended.reason or title), "blocks": blocks + buttons}


def question(proposal: Proposal) -> dict[str, Any]:
    """Ask whether to draw so much."""
    job = proposal.job
    title, words = shorten(job.title, SHOWN), so_many(job)
    blocks = [prompt(title), context(words), *actions(of_proposal(job), language=job.language)]
    return {"text": f"{escape(title)}: {escape(words)}", "blocks": blocks}


def details(told: str) -> Sequence[dict[str, Any]]:
    """Show commands to be copied, each by itself and just as it is, and what else there is to say below.

    What one message does not hold goes into several.
    """
    lines = told.splitlines()
    commands = [line for line in lines if line.startswith(command.COMMAND)]
    messages = [_copyable(part) for part in _parts(commands)]
    messages[-1]["blocks"] += [context(line) for line in lines if line not in commands]
    return messages


def _parts(lines: Iterable[str]) -> Sequence[Sequence[str]]:
    """Part lines into as many as a message holds."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if parts[-1] and sum(map(len, [*parts[-1], line])) > MOST:
            parts.append([])
        parts[-1].append(line)
    return parts


def _copyable(lines: Sequence[str]) -> dict[str, Any]:
    code = [{"type": "rich_text_preformatted", "elements": [{"type": "text", "text": line}]} for line in lines]
    return {"text": escape(shorten("\n".join(lines), SHOWN)), "blocks": [{"type": "rich_text", "elements": code}]}


def prompt(words: str, asked_by: str | None = None) -> dict[str, Any]:
    """Show somebody's words as they typed them, and who that is."""
    elements: list[dict[str, Any]] = [{"type": "text", "text": words, "style": {"bold": True}}]
    if asked_by:
        elements += [{"type": "text", "text": " · "}, {"type": "user", "user_id": asked_by}]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def context(words: str) -> dict[str, Any]:
    """Show words of ours in small."""
    return {"type": "context", "elements": [plain(words)]}


def plain(words: str) -> dict[str, Any]:
    """Write words that are not markup."""
    return {"type": "plain_text", "text": words, "emoji": False}


def actions(
    rows: Iterable[Sequence[Button]], values: Mapping[Action, str] | None = None, language: str = ""
) -> list[dict[str, Any]]:
    """Show rows of buttons; `values` are what the first button of each kind carries besides."""
    carried = dict(values or {})
    return [
        {"type": "actions", "elements": [_button(button, carried.pop(button.press.action, ""), language) for button in row]}
        for row in rows
        if row
    ]


def _button(button: Button, value: str, language: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "button", "text": plain(shorten(button.label, LABEL)), "action_id": button.press.pack()}
    if value:
        shown["value"] = value
    if button.danger or button.primary:
        shown["style"] = "danger" if button.danger else "primary"
    if button.press.action is Action.DELETE:
        sure = {"title": plain(f"{button.label}?"), "text": plain(say(language, DELETE_FOR_ALL))}
        shown["confirm"] = {**sure, "confirm": plain(button.label), "deny": plain(say(language, KEEP)), "style": "danger"}
    return shown


def _image(picture: Picture, image: Mapping[str, Any], index: int, job: Job, *, slim: bool) -> dict[str, Any]:
    request = picture.request
    block = {"type": "image", "alt_text": shorten(request.prompt, SHOWN if slim else ALT_TEXT), **image}
    if len(job.alone()) > 1:  # the number is the one on its buttons
        seed = request.variation_seed if request.variation_strength else request.seed
        told = shorten(request.prompt, SHOWN) if job.others and not slim else say(job.language, "seed {seed}", seed=seed)
        block["title"] = plain(f"{index + 1} · {told}")
    return block


def _carry(blocks: Sequence[Mapping[str, Any]], packed: str) -> None:
    """Let the buttons of an outcome carry what it takes to draw it again when we have forgotten all else.

    Slack sends a button's whole message along with a press, so it does not matter which of its buttons carries what.
    """
    free = [button for block in blocks for button in block["elements"] if "confirm" not in button]
    parts = [packed[start : start + VALUE] for start in range(0, len(packed), VALUE)]
    if len(parts) <= len(free):
        for button, part in zip(free, parts, strict=False):
            button["value"] = part


def press_in(message: Mapping[str, Any]) -> Press | None:
    """Return what the first button of ours in a message says, which names its job; None in a message that is not ours."""
    return next((press for button in _buttons(message) if (press := _press(button))), None)


def recall(message: Mapping[str, Any] | None) -> Sequence[ImageRequest]:
    """Read off a message what was asked for; nothing where it does not say."""
    buttons = _buttons(message or {})
    carrying = [button for button in buttons if (press := _press(button)) and press.action is not Action.DELETE]
    packed = "".join(button.get("value", "") for button in carrying)
    with suppress(ValueError, TypeError, zlib.error):
        return _unpack(packed)
    return ()


def _buttons(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return [each for block in message.get("blocks") or () if block["type"] == "actions" for each in block["elements"]]


def _press(button: Mapping[str, Any]) -> Press | None:
    return Press.unpack(button.get("action_id", ""))


def _pack(requests: Iterable[ImageRequest]) -> str:
    usual = {each.name: each.default for each in fields(ImageRequest) if each.default is not MISSING}
    short = [{name: held for name, held in asdict(each).items() if usual.get(name, MISSING) != held} for each in requests]
    packed = json.dumps(short, separators=(",", ":"))  # in ASCII, whose characters nobody counts in another way
    if len(packed) <= VALUE:
        return packed
    return base64.b64encode(zlib.compress(packed.encode(), 9)).decode()


def _unpack(packed: str) -> Sequence[ImageRequest]:
    if not packed.startswith("["):
        packed = zlib.decompress(base64.b64decode(packed)).decode()
    return [ImageRequest(**each) for each in json.loads(packed)]


def escape(text: str) -> str:
    """Make text safe where Slack reads markup. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescape(text: str) -> str:
    """Return what a person typed as a command."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


_ADDRESSED: Final = re.compile(r"\A(?:\s*<@[^<>]*>[,:]?)+")
_MARKED: Final = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


def unaddressed(text: str) -> str:
    """Take off a message whom it is addressed to."""
    return _ADDRESSED.sub("", text)


def unmark(text: str, bot: str = "") -> str:
    """Return what a person wrote in a message, without the `bot` that they call, and with links and names as they read."""

    def read(found: re.Match[str]) -> str:
        kind, name, label = found[1], found[2], found[3]
        if kind == "@" and name == bot:
            return " "
        return {"": label or name, "@": f"@{label or name}", "#": f"#{label or name}", "!": label or f"@{name}"}[kind]

    return html.unescape(_MARKED.sub(read, text)).strip()
