"""What happens when somebody in Discord presses a button: any process can tell from the button itself, a month later too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import ui

from bot import actions, command
from bot.actions import Action, Press
from bot.courier import attempt
from bot.deadline import left
from bot.discord_answers import caller, language, order_taken, privately, tell
from bot.discord_forms import AGAIN_ID, Draft, open_form
from bot.discord_reply import CUT, EMBED, RECIPE, commands_in, commands_of, copyable, is_cut, plain, text_file
from bot.errors import BadRequest, Busy, NotTaken, Refused, Told
from bot.texts import Phrase, say
from bot.upload import fetch

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from bot.discord_answers import Interaction
    from bot.request import ImageRequest

RECALL: Final = 0.8  # seconds to read a message's pictures: the desk needs the rest
HEAD: Final = 2**18  # bytes: more than any recipe has, and a picture has its own at its beginning

DISCARDED: Final = Phrase("Nothing is drawn.")
IN_FILE: Final = Phrase("It is too long to be shown here, and all of it is in this file.")


class Pressed(ui.DynamicItem[ui.Button[ui.View]], template=actions.PATTERN):
    """A button of ours that somebody pressed."""

    def __init__(self, button: ui.Button[ui.View], press: Press) -> None:
        """Take the button as it is in the message, and what it says."""
        super().__init__(button)
        self.press = press

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls, _interaction: Interaction, item: ui.Button[ui.View], match: re.Match[str], /
    ) -> Pressed:
        """Make it anew from what Discord kept of it."""
        press = Press.unpack(match.string)
        assert press  # noqa: S101  the library has matched the very pattern
        return cls(item, press)

    async def callback(self, interaction: Interaction) -> None:  # type: ignore[override]
        """Do what it says; what cannot be done is told to who pressed it."""
        failure = await attempt(DO.get(self.press.action, _draw)(interaction, self.press))
        if isinstance(failure, Exception):
            await tell(interaction, failure)


class Strange(ui.DynamicItem[ui.Button[ui.View]], template=rf"(?!(?:{actions.PATTERN}|{AGAIN_ID})$).*"):
    """A button that we do not know any more, or not yet."""

    @classmethod
    async def from_custom_id(cls, _interaction: Interaction, item: ui.Button[ui.View], _match: re.Match[str], /) -> Strange:  # type: ignore[override]
        """Take it as it is."""
        return cls(item)

    async def callback(self, interaction: Interaction) -> None:  # type: ignore[override]
        """Say so."""
        await tell(interaction, Told("That button is of another version of me. Please type your command again."))


async def _draw(interaction: Interaction, press: Press) -> None:
    """Redraw, vary or upscale."""
    desk = interaction.client.desk
    await order_taken(interaction, await desk.press(press, caller(interaction), Recall(interaction, interaction.message)))


async def _confirm(interaction: Interaction, press: Press) -> None:
    await order_taken(interaction, await interaction.client.desk.confirm(press, caller(interaction)))


async def _discard(interaction: Interaction, _press: Press) -> None:
    words = say(language(interaction.locale), DISCARDED)
    await interaction.response.edit_message(content=words, view=None)


async def _edit(interaction: Interaction, press: Press) -> None:
    filled = await interaction.client.desk.edit(press, Recall(interaction, interaction.message))
    await open_form(interaction, Draft.typed(filled.pop("prompt"), filled))


async def _details(interaction: Interaction, press: Press) -> None:
    """Show each command by itself, to be copied, and what else there is to say below."""
    told = await interaction.client.desk.details(press, caller(interaction), Recall(interaction, interaction.message))
    shown = "\n".join(copyable(line) if line.startswith(command.COMMAND) else plain(line) for line in told.splitlines())
    if len(shown) <= EMBED:
        await privately(interaction, shown)
    else:
        await privately(interaction, say(language(interaction.locale), IN_FILE), file=text_file(told))


async def _cancel(interaction: Interaction, press: Press) -> None:
    words = await interaction.client.desk.cancel(press, caller(interaction), _moderates(interaction))
    await privately(interaction, words)


async def _delete(interaction: Interaction, press: Press) -> None:
    """Take the pictures off the message at once; the courier deletes the message itself, and the files that we keep."""
    assert interaction.message  # noqa: S101  a button is on a message
    who = caller(interaction, message=str(interaction.message.id))
    await interaction.client.desk.delete(press, who, _moderates(interaction))
    words = say(language(interaction.locale), actions.DELETED)
    await interaction.response.edit_message(content=words, attachments=[], embeds=[], view=None)


DO: Final = {
    Action.DRAW: _confirm,
    Action.DISCARD: _discard,
    Action.EDIT: _edit,
    Action.DETAILS: _details,
    Action.CANCEL: _cancel,
    Action.DELETE: _delete,
}


def _moderates(interaction: Interaction) -> Any:
    """Return what finds out whether somebody may delete others' messages here."""

    async def moderates() -> bool:
        return interaction.permissions.manage_messages

    return moderates


def press_in(message: discord.Message) -> Press | None:
    """Return what the first button of ours in a message says, which names its job."""
    buttons = (each for row in message.components for each in getattr(row, "children", ()))
    return next((press for each in buttons if (press := Press.unpack(getattr(each, "custom_id", None) or ""))), None)


class Recall:
    """Reads off a message what was asked for, where the store has forgotten it."""

    def __init__(self, interaction: Interaction, message: discord.Message | None) -> None:
        """Take the message."""
        self._message, self._client = message, interaction.client

    async def __call__(self) -> Sequence[ImageRequest]:
        """Return the requests, or none where the message does not say; raise `NotTaken` where it cannot be read just now."""
        if not self._message:
            return []
        if commands := commands_in(self._message.embeds):
            return [command.read(each) for each in commands]
        requests = await self._in_files(self._message)
        if not requests and is_cut(self._message.embeds):
            raise Told(CUT)
        return requests

    async def _in_files(self, message: discord.Message) -> Sequence[ImageRequest]:
        from bot import recipe  # the doors open without what reads pictures

        beside = [each for each in message.attachments if each.filename == RECIPE]
        try:
            async with asyncio.timeout(left(RECALL)):
                contents = await asyncio.gather(*(self._content(each) for each in beside or message.attachments))
            if beside:
                return [command.read(each) for each in commands_of(contents[0].decode())]
            requests = [recipe.inside(content) for content in contents]
        except (Busy, TimeoutError) as error:
            raise NotTaken from error
        except (Refused, BadRequest):
            return []
        return recipe.together(requests)

    async def _content(self, attachment: discord.Attachment) -> bytes:
        return await fetch(self._client.session, attachment.url, origins=self._client.files, head=HEAD)
