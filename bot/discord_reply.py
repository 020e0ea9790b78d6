"""The way back to somebody in Discord: how far their picture is, the message that it becomes, and where else it can go.

https://discord.com/developers/docs/resources/message
"""

from __future__ import annotations

import asyncio
import io
import re
import time
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import ui

from bot import command
from bot.actions import offered, while_drawing
from bot.courier import EDIT_EVERY, describe, summary
from bot.discord_http import NOBODY, USUAL_LIMIT, sent
from bot.errors import Busy, Refused, Undelivered
from bot.request import shorten
from bot.texts import Phrase, say
from bot.upload import fetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bot.actions import Button
    from bot.courier import Outcome
    from bot.discord_http import Client
    from bot.request import Event, Job, Picture

ORIGINAL: Final[Any] = "@original"  # the library says int, and Discord takes both
UNKNOWN_WEBHOOK: Final = "10015"  # what Discord says of a token that it has no answer for, or not yet
UNKNOWN_MESSAGE: Final = "10008"
SETTLES: Final = 5.0  # seconds: a quick drawing can overtake our answer to the command on its way
ROOM: Final = 1200  # characters for a prompt in a message, which holds 2,000; the settings need the rest
CONTENT: Final = 2000  # characters of a message
ALT_TEXT: Final = 1024  # characters
LARGEST_REQUEST: Final = 25 * 2**20 - 2**16  # bytes, and some room for the words
EMBED: Final = 4096  # characters
EMBEDS: Final = 6000  # characters of all together
FILES: Final = 10  # of a message
RECIPE: Final = "recipe.txt"

STILL_KEPT: Final = Phrase("It is drawn, but I could not post it. An admin can fetch it: imagine show {id}")
BELOW: Final = Phrase("It is below.")
DIRECTLY: Final = Phrase("I sent it to you directly.")
CUT: Final = Phrase("The recipe beside these pictures was too long for Discord and is cut off. Please type it again.")


class Reply:
    """The ways back to one person in Discord."""

    def __init__(self, client: Client, job: Job) -> None:
        self._client, self._job, self._address = client, job, job.reply_to
        self._settled = time.monotonic() + SETTLES
        self._preview = b""
        self.ways = (self.in_place, self.in_channel, self.in_dm, self.in_words)

    edit_every = EDIT_EVERY
    is_announced = True  # by the answer to the interaction

    @cached_property
    def _webhook(self) -> discord.Webhook:
        """Where the answer can be edited; made when it is needed, since making one takes as long as much of an answer."""
        application_id = int(self._client.application_id or 0)
        return discord.Webhook.partial(
            application_id, self._address["token"], session=self._client.session, client=self._client
        )

    async def status(self, event: Event) -> None:
        """Edit the answer that Discord shows under the command: how far it is, and what can be seen of it so far."""
        fresh = {}
        if (preview := getattr(event, "preview", b"")) and preview != self._preview:
            about = say(self._job.language, "Not finished: {prompt}", prompt=self._job.title)
            fresh["attachments"] = [discord.File(io.BytesIO(preview), "preview.jpg", description=shorten(about, ALT_TEXT))]
        words = describe(event, self._job.language)
        await self._edit(status_of(self._job, words), view=view(while_drawing(self._job)), **fresh)
        self._preview = preview or self._preview

    async def in_place(self, outcome: Outcome) -> None:
        """Turn the answer under the command into the outcome; Discord allows it for 15 minutes."""
        embeds, files = await self._files(outcome)
        with self._settling():
            await self._edit(_content(outcome), view=view(offered(outcome)), attachments=files, embeds=embeds)

    async def in_channel(self, outcome: Outcome) -> None:
        """Post in the channel as the bot, which needs to be a member there."""
        if not self._address["channel"]:
            raise Refused("no channel")
        channel = self._client.get_partial_messageable(int(self._address["channel"]))
        await self._post(channel, outcome)
        await self._close(BELOW)

    async def in_dm(self, outcome: Outcome) -> None:
        """Send the outcome to the person alone."""
        user = discord.Object(int(self._address["user"]))
        await self._post(await sent(self._client.create_dm(user)), outcome)
        await self._close(DIRECTLY)

    async def in_words(self, outcome: Outcome) -> None:
        """Say that the pictures are kept, where they cannot be posted."""
        words = outcome.reason or say(self._job.language, STILL_KEPT, id=self._job.id)
        await self._edit(_said(self._job, words), view=None, attachments=[])

    async def start_picture(self) -> bytes | None:
        """Fetch the picture that came with the job, from Discord and nowhere else."""
        url = self._address.get("image")
        return await fetch(self._client.session, url, origins=self._client.files) if url else None

    async def delete(self) -> None:
        """Delete the message whose button was pressed; there is nothing left to do where it is gone already."""
        try:
            with self._settling():
                await sent(self._webhook.delete_message(ORIGINAL))
        except Refused as refused:
            if refused.code == UNKNOWN_MESSAGE:
                return
            channel = self._client.get_partial_messageable(int(self._address["channel"]))
            await sent(channel.get_partial_message(int(self._address["message"])).delete())

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """For a moment, a token that Discord does not know is one that it does not know yet."""
        try:
            yield
        except Refused as refused:
            if refused.code == UNKNOWN_WEBHOOK and time.monotonic() < self._settled:
                raise Busy("Discord has not taken in our first answer yet", SETTLES / 10) from refused
            raise

    async def _files(self, outcome: Outcome) -> tuple[list[discord.Embed], list[discord.File]]:
        """Return the files as large as Discord takes them; of smaller ones, the recipes are shown beside them too."""
        limit = int(self._address.get("limit") or USUAL_LIMIT)
        if not outcome.pictures or _fit([picture.png for picture in outcome.pictures], limit):
            return [], files(outcome.pictures, [picture.png for picture in outcome.pictures], "png")
        from bot.recipe import smaller  # the doors open without what encodes pictures

        share = min(limit, LARGEST_REQUEST // len(outcome.pictures))
        contents = [await asyncio.to_thread(smaller, picture.png, share) for picture in outcome.pictures]
        pictures = files(outcome.pictures, contents, "webp")
        shown, more = recipes(outcome.job, room=len(pictures) < FILES)
        return shown, pictures + more

    async def _close(self, words: Phrase) -> None:
        """Leave no answer that says we are still drawing, if that can still be helped."""
        with suppress(Undelivered):
            await self._edit(_said(self._job, say(self._job.language, words)), view=None, attachments=[])

    async def _edit(self, content: str, **more: Any) -> None:
        await sent(self._webhook.edit_message(ORIGINAL, content=content, allowed_mentions=NOBODY, **more))

    async def _post(self, channel: discord.abc.Messageable, outcome: Outcome) -> None:
        """Post a message once: Discord drops a second one with the same nonce. Only the person who asked is notified."""
        user = discord.Object(int(self._address["user"]))
        mentions = discord.AllowedMentions(everyone=False, roles=False, users=[user], replied_user=False)
        embeds, attached = await self._files(outcome)
        await sent(
            channel.send(
                _content(outcome),
                files=attached,
                embeds=embeds,
                view=view(offered(outcome)),
                nonce=self._job.id,
                allowed_mentions=mentions,
            )
        )


def view(rows: Iterable[Sequence[Button]]) -> ui.View:
    """Draw buttons. Each says in its custom_id all that we need to know when it is pressed."""
    made = ui.View(timeout=None)
    for number, row in enumerate(rows):
        for button in row:
            made.add_item(_button(button, number))
    made.stop()  # or the library would keep it in memory, waiting for a press
    return made


def _button(button: Button, row: int) -> ui.Button[ui.View]:
    style = discord.ButtonStyle.secondary
    if button.primary:
        style = discord.ButtonStyle.primary
    if button.danger:
        style = discord.ButtonStyle.danger
    return ui.Button(style=style, label=button.label, custom_id=button.press.pack(), row=row)


def status_of(job: Job, words: str) -> str:
    """Say how far a job is."""
    return _said(job, say(job.language, "Drawing · {how}", how=words))


def _said(job: Job, words: str) -> str:
    return f"**{shown(job.title)}**\n-# {plain(words)}"


def _content(outcome: Outcome) -> str:
    """Say what was asked for, how it was made, and who asked: a name, which calls nobody unless it is let to."""
    return f"{_said(outcome.job, summary(outcome))} · <@{outcome.job.reply_to['user']}>"


def shown(prompt: str) -> str:
    """Show somebody's words as they typed them, and no more of them than fit once their markup is escaped."""
    text = shorten(prompt, ROOM)
    while len(plain(text)) > ROOM:
        text = shorten(text, len(text) * 9 // 10)
    return plain(text)


def plain(text: str) -> str:
    """Escape whatever Discord could read as markup, a link or a mention: the library leaves links as they are."""
    return re.sub(r"([\\*_~|`\[\]()<>#:@/-])", r"\\\1", text)


def copyable(text: str) -> str:
    """Show text to be copied: as code, which has a button for that, unless its own marks would end the code."""
    return plain(text) if "```" in text else f"```\n{text}\n```"


def files(pictures: Sequence[Picture], contents: Sequence[bytes], suffix: str) -> list[discord.File]:
    """Make attachments, each with its prompt for those who cannot see it."""
    return [
        discord.File(
            io.BytesIO(content),
            filename=f"{picture.request.model}-{picture.request.seed}.{suffix}",
            description=shorten(picture.request.prompt, ALT_TEXT),
        )
        for picture, content in zip(pictures, contents, strict=True)
    ]


def recipes(job: Job, *, room: bool) -> tuple[list[discord.Embed], list[discord.File]]:
    """Show the commands that draw a job's pictures again; what is too long goes into a file, where there is room for one."""
    commands = "\n".join(command.COMMAND + command.write(request) for request in job.requests)
    shown = copyable(commands)
    if len(shown) > EMBED and room:
        return [], [text_file(commands)]
    return embeds(shown), []


def text_file(text: str) -> discord.File:
    """Put what is too long for a message into a file."""
    return discord.File(io.BytesIO(text.encode()), RECIPE)


def commands_in(shown: Sequence[discord.Embed]) -> list[str]:
    """Return the commands that `recipes` has shown; none where it could not show them whole."""
    text = _text_of(shown)
    if is_cut(shown):
        return []
    inside = text.removeprefix("```\n").removesuffix("\n```")
    return commands_of(inside if inside != text else re.sub(r"\\(.)", r"\1", text))


def is_cut(shown: Sequence[discord.Embed]) -> bool:
    """Return whether what `recipes` had to show was too long: a command of ours in code never ends like this."""
    return _text_of(shown).endswith("…")


def _text_of(shown: Sequence[discord.Embed]) -> str:
    return "".join(embed.description or "" for embed in shown)


def commands_of(text: str) -> list[str]:
    """Return the commands that stand in a text, a line each."""
    return [line.removeprefix(command.COMMAND) for line in text.splitlines() if line.startswith(command.COMMAND)]


def embeds(text: str) -> list[discord.Embed]:
    """Put a text that is too long for a message beside it."""
    text = shorten(text, EMBEDS)
    return [discord.Embed(description=text[start : start + EMBED]) for start in range(0, len(text), EMBED)]


def _fit(contents: Sequence[bytes], limit: int) -> bool:
    return max(map(len, contents)) <= limit and sum(map(len, contents)) <= LARGEST_REQUEST
