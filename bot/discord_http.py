"""discord.py without its gateway: where an interaction that came by HTTP goes in, and where its answer comes out.

Discord posts each interaction to us; it is handed to the library where the gateway would have handed it over, and what
the library would post as the answer becomes our HTTP answer. All that reaches into discord.py is gathered here, which is
why its version is pinned.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import discord
from discord.http import MultipartParameters, Route
from discord.user import ClientUser
from discord.webhook import async_ as webhooks
from discord.webhook.async_ import AsyncDeferredLock, AsyncWebhookAdapter, async_context

from bot.deadline import left_to_answer
from bot.errors import Busy, NotTaken, Refused, retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from bot.desk import Desk

T = TypeVar("T")

API_URL: Final = "https://discord.com/api/v10"
FILES: Final = frozenset({"https://cdn.discordapp.com", "https://media.discordapp.net"})  # where Discord keeps people's files
USUAL_LIMIT: Final = 10 * 2**20  # bytes of a file, where Discord does not say
IN_TIME: Final = 2.7  # seconds: Discord waits for three, and all that has a deadline is done by then
NOBODY: Final = discord.AllowedMentions.none()


class InteractionType(IntEnum):
    """What Discord sends."""

    PING = 1
    APPLICATION_COMMAND = 2
    MESSAGE_COMPONENT = 3
    APPLICATION_COMMAND_AUTOCOMPLETE = 4
    MODAL_SUBMIT = 5


class Callback(IntEnum):
    """What we answer."""

    PONG = 1
    CHANNEL_MESSAGE_WITH_SOURCE = 4


class Client(discord.Client):
    """A client that is ready for work without having called Discord, and knows the desk."""

    form: Callable[[str, discord.Locale], discord.ui.Modal]  # makes a form anew from its custom_id

    def __init__(
        self, application_id: int, token: str, session: aiohttp.ClientSession, *, api_url: str, desk: Desk | None
    ) -> None:
        """Take what discord.py would find out when it logs in. Needs a running event loop."""
        intents = discord.Intents(guilds=True)
        super().__init__(intents=intents, application_id=application_id, allowed_mentions=NOBODY, max_messages=None)
        Route.BASE = api_url.rstrip("/")
        self.session, self._desk = session, desk
        # Whoever stands in for Discord's API stands in for its file servers too.
        self.files = FILES if api_url == API_URL else frozenset({"/".join(api_url.split("/")[:3])})
        self.loop = self.http.loop = self._connection.loop = asyncio.get_running_loop()
        self.http._global_over = asyncio.Event()
        self.http._global_over.set()
        self.http._HTTPClient__session = session  # type: ignore[attr-defined]
        self.http.token = token
        user: Any = {"id": str(application_id), "username": "imagine", "discriminator": "0", "avatar": None}
        self._connection.user = ClientUser(state=self._connection, data=user)

    @property
    def desk(self) -> Desk:
        """The desk, which takes orders; who only registers commands has none."""
        if self._desk is None:
            raise NotTaken
        return self._desk

    def receive(self, payload: Mapping[str, Any]) -> Answer:
        """Take an interaction in; its answer follows. Raises whatever is wrong with a payload that is not one."""
        answer = Answer()
        # The library starts a task of its own, which takes along the context that we make here.
        contextvars.copy_context().run(self._receive, {"attachment_size_limit": USUAL_LIMIT, **payload}, answer)
        return answer

    def _receive(self, payload: dict[str, Any], answer: Answer) -> None:
        async_context.set(answer)
        if payload.get("guild_id") and "member" not in payload:  # the library would look for the person nowhere else
            payload = {key: value for key, value in payload.items() if key not in {"guild_id", "guild"}}
        if payload.get("guild_id") and payload.get("channel"):
            payload = _in_a_text_channel(payload)
        if payload["type"] == InteractionType.MESSAGE_COMPONENT:
            payload = _with_its_button(payload)
        if payload["type"] == InteractionType.MODAL_SUBMIT:
            self._submitted(payload)
        else:
            self._connection.parse_interaction_create(payload)  # type: ignore[arg-type]

    def _submitted(self, payload: dict[str, Any]) -> None:
        """Make the form that was sent off anew: the library would look for the very one that it sent."""
        interaction: Any = discord.Interaction(data=payload, state=self._connection)  # type: ignore[arg-type]
        data = payload["data"]
        form = self.form(data["custom_id"], interaction.locale)
        task = form._dispatch_submit(interaction, data["components"], data.get("resolved", {}))
        self._connection._view_store.add_task(task)


def _in_a_text_channel(payload: dict[str, Any]) -> dict[str, Any]:
    """Take a thread, a voice channel and whatever else a server has for a text channel, which serves us as well.

    The library wants to know all that each of them has, and Discord tells only a part of it.
    """
    plain = {"type": discord.ChannelType.text.value, "name": "", "position": 0}
    return {**payload, "channel": {"id": payload["channel"]["id"], **plain}}


def _with_its_button(press: dict[str, Any]) -> dict[str, Any]:
    """Put the button that was pressed on its message, from which an edit may have taken it: the library would not answer."""
    data, message = press["data"], press["message"]
    if data["custom_id"] in json.dumps(message.get("components")):
        return press
    style = discord.ButtonStyle.secondary.value
    button = {"type": data["component_type"], "custom_id": data["custom_id"], "style": style}
    row = {"type": discord.ComponentType.action_row.value, "components": [button]}
    return {**press, "message": {**message, "components": [row]}}


class _Lock(AsyncDeferredLock):
    """The library's own waits for a limit to pass, and stays locked where that is cancelled: all others would wait for ever."""

    async def __aexit__(self, *_: object) -> None:
        try:
            if self.delta:
                await asyncio.sleep(self.delta)
        finally:
            self.lock.release()


webhooks.AsyncDeferredLock = _Lock  # type: ignore[misc]


class Answer(AsyncWebhookAdapter):
    """Takes what discord.py would post as the answer to one interaction."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()

    async def create_interaction_response(  # type: ignore[override]
        self, interaction_id: int, token: str, *, params: MultipartParameters, **how: Any
    ) -> dict[str, Any]:
        """Stand in for the REST call; make it where there is a file, of which Discord takes little in an HTTP answer.

        https://github.com/discord/discord-api-docs/issues/5925
        """
        if params.files:
            call = super().create_interaction_response(interaction_id, token, params=params, **how)
            posted: Any = await asyncio.wait_for(sent(call), left_to_answer(IN_TIME))
            self._give(None)
            return dict(posted)
        payload = dict(params.payload or {})
        self._give(payload)
        return {"interaction": {"id": str(interaction_id), "type": payload["type"]}}

    def _give(self, answer: dict[str, Any] | None) -> None:
        if not self._given.done():  # by our own patience, which has told them that nobody can tell
            self._given.set_result(answer)

    async def given(self) -> dict[str, Any] | None:
        """Return the answer, or None where Discord has it already. Raises `TimeoutError` before Discord gives up."""
        return await asyncio.wait_for(self._given, IN_TIME)


async def sent(call: Awaitable[T]) -> T:
    """Await a call of discord.py; raise `Busy` or `Refused` for whatever went wrong."""
    try:
        return await call
    except discord.HTTPException as error:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:  # one that the library did not wait out itself
            raise Busy("rate limited", retry_after(error.response.headers)) from None
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Busy(f"HTTP {error.status}") from None
        raise Refused(str(error.code), error.text) from None
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
        raise Busy(type(error).__name__) from None
