"""Discord: verify, read, acknowledge, reply. https://discord.com/developers/docs/interactions/overview

Commands, buttons and forms are discord.py's own, without its gateway. This is the edge; behind it are `discord_http`
(how the library is driven), `discord_commands`, `discord_forms` and `discord_buttons` (what people do), `discord_answers`
(what they are told at once) and `discord_reply` (what they get).
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any, Final

import discord
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from bot.courier import Pace
from bot.discord_buttons import Pressed, Strange
from bot.discord_commands import Translator, Tree
from bot.discord_forms import Again, form
from bot.discord_http import API_URL, Callback, Client, InteractionType, sent
from bot.discord_reply import Reply
from bot.errors import UNREADABLE, BadRequest, Stranger, Unsure
from bot.request import mended_json
from bot.texts import language

if TYPE_CHECKING:
    from collections.abc import Mapping

    import aiohttp

    from bot.courier import Notes
    from bot.desk import Desk
    from bot.request import Job

ENVIRONMENT: Final = ("DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID", "DISCORD_BOT_TOKEN")

FRESH: Final = 5 * 60  # seconds: Discord sets no limit of its own; this is Slack's
STATUSES: Final = 600  # a minute: answers to interactions have no common limit, but we share our address with others


class Discord:
    """One Discord application."""

    def __init__(
        self,
        *,
        public_key: str,
        application_id: str,
        token: str,
        session: aiohttp.ClientSession,
        desk: Desk | None,
        api_url: str = API_URL,
    ) -> None:
        """Take the desk, which takes orders. Needs a running event loop."""
        self._pace = Pace(STATUSES)
        self._key = VerifyKey(bytes.fromhex(public_key))
        self.client = Client(int(application_id), token, session, api_url=api_url, desk=desk)
        self.client.form = form
        self.client.add_dynamic_items(Pressed, Again, Strange)
        self.tree = Tree(self.client)

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise `Stranger` unless Discord signed this body in the last five minutes."""
        timestamp = headers.get("x-signature-timestamp", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp) or abs(time.time() - int(timestamp)) > FRESH:
            raise Stranger
        try:
            self._key.verify(timestamp.encode() + body, bytes.fromhex(headers.get("x-signature-ed25519", "")))
        except (BadSignatureError, ValueError):
            raise Stranger from None

    async def answer(self, body: bytes) -> dict[str, Any] | None:
        """Answer a verified interaction; None is one that Discord has had its answer to. Raises `BadRequest` for none."""
        try:
            interaction = json.loads(mended_json(body))
            if interaction["type"] == InteractionType.PING:
                return {"type": Callback.PONG}
            answer = self.client.receive(interaction)
        except UNREADABLE as error:
            raise BadRequest("not an interaction: {error}", error=type(error).__name__) from error
        try:
            return await answer.given()
        except TimeoutError:
            return _too_late(str(interaction.get("locale")))

    def pace(self, _job: Job) -> Pace:
        """Return how many statuses Discord bears, wherever they are."""
        return self._pace

    def reply(self, job: Job, _notes: Notes) -> Reply:
        """Return the way back to the person who made this job: all its ways can be gone again without notes."""
        return Reply(self.client, job)

    async def register(self) -> int:
        """Put our commands to Discord in place of all it knew; return how many it knows now."""
        await self.tree.set_translator(Translator())
        return len(await sent(self.tree.sync()))


def _too_late(locale: str) -> dict[str, Any]:
    """Say that there is no answer, before Discord gives up on us: whatever is under way goes on, and may be done."""
    data = {"content": Unsure().into(language(locale)), "flags": discord.MessageFlags(ephemeral=True).value}
    return {"type": Callback.CHANNEL_MESSAGE_WITH_SOURCE, "data": data}


__all__ = ["API_URL", "ENVIRONMENT", "Discord", "InteractionType"]
