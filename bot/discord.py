"""Discord: verify, read, acknowledge, reply. https://discord.com/developers/docs/interactions/overview

Commands are discord.py's own, without its gateway. Discord posts each interaction to us; we hand it to the library where
the gateway would have, and what the library would post as the answer becomes our HTTP answer. That part reaches into
discord.py (the names are gathered in `_Answer` and `_offline_client`), which is why its version is pinned.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import re
import time
from contextlib import suppress
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import aiohttp
import discord
from discord import app_commands
from discord.http import MultipartParameters, Route
from discord.user import ClientUser
from discord.webhook.async_ import AsyncWebhookAdapter, async_context
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from bot import command
from bot.courier import EDIT_EVERY, Pace, describe, summary
from bot.desk import Caller, Proposal
from bot.errors import BadRequest, Busy, NotTaken, Refused, Stranger, Told, Undelivered, retry_after
from bot.models import MODELS
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS, Event, Job, settings, shorten
from bot.texts import language

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping

    from bot.courier import Notes, Outcome
    from bot.desk import Desk

log: Final = logging.getLogger(__name__)

API_URL: Final = "https://discord.com/api/v10"
ENVIRONMENT: Final = ("DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID", "DISCORD_BOT_TOKEN")

FRESH: Final = 5 * 60  # seconds: Discord sets no limit of its own; this is Slack's
STATUSES: Final = 600  # a minute: answers to interactions have no common limit, but we share our address with others
ORIGINAL: Final[Any] = "@original"  # the library says int, and Discord takes both
IN_TIME: Final = 2.5  # seconds: Discord waits for three
UNKNOWN_WEBHOOK: Final = "10015"  # what Discord says of a token that it has no answer for, or not yet
SETTLES: Final = 5.0  # seconds: a quick drawing can overtake our answer to the command on its way
ROOM: Final = 1200  # characters for a prompt in a message, which holds 2,000; the settings need the rest
ALT_TEXT: Final = 1024  # characters
NOBODY: Final = discord.AllowedMentions.none()
SHAPES: Final = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")
MOST_STEPS: Final = max(row.max_inference_steps for row in MODELS.values())
MOST_GUIDANCE: Final = max(row.max_guidance_scale for row in MODELS.values())
OPTIONS: Final = ("n", "ar", "size", "seed", "no", "steps", "guidance", "model")
T = TypeVar("T")


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
        Route.BASE = api_url.rstrip("/")
        self.pace = Pace(STATUSES)
        self._key = VerifyKey(bytes.fromhex(public_key))
        self.application_id, self.session = int(application_id), session
        self.client = _offline_client(self.application_id, token, session)
        self.tree = _Tree(self.client)
        self.tree.add_command(imagine_command(desk))

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise `Stranger` unless Discord signed this body in the last five minutes."""
        timestamp = headers.get("x-signature-timestamp", "")
        if not re.fullmatch(r"[0-9]{1,12}", timestamp) or abs(time.time() - int(timestamp)) > FRESH:
            raise Stranger
        try:
            self._key.verify(timestamp.encode() + body, bytes.fromhex(headers.get("x-signature-ed25519", "")))
        except (BadSignatureError, ValueError):
            raise Stranger from None

    async def answer(self, body: bytes) -> dict[str, Any]:
        """Answer a verified interaction. Raises `BadRequest` for a body that is not one."""
        try:
            interaction = json.loads(body)
            if interaction["type"] == InteractionType.PING:
                return {"type": Callback.PONG}
            answer = _Answer()
            # The library starts a task of its own, which takes along the context that we make here.
            contextvars.copy_context().run(self._receive, interaction, answer)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest("not an interaction: {error}", error=type(error).__name__) from error
        return await answer.given()

    def reply(self, job: Job, _notes: Notes) -> _Reply:
        """Return the way back to the person who made this job: all its ways can be gone again without notes."""
        return _Reply(self, job)

    async def register(self) -> int:
        """Put our commands to Discord in place of all it knew; return how many it knows now."""
        return len(await _sent(self.tree.sync()))

    def _receive(self, interaction: dict[str, Any], answer: _Answer) -> None:
        async_context.set(answer)
        self.client._connection.parse_interaction_create(interaction)  # type: ignore[arg-type]


def imagine_command(desk: Desk | None) -> app_commands.Command[Any, ..., None]:
    """Build `/imagine` as Discord shows it: each flag of the grammar is an option too."""

    @app_commands.command(name="imagine", description="Draw a picture of what you type")
    @app_commands.describe(
        prompt="What you want to see; flags such as --ar 3:2 work here too",
        **{name: command.FLAGS[name].about for name in OPTIONS},
    )
    @app_commands.choices(ar=_choices(SHAPES), model=_choices(MODELS))
    @app_commands.allowed_contexts(guilds=True, dms=True, private_channels=True)
    @app_commands.allowed_installs(guilds=True, users=True)
    async def imagine(
        interaction: discord.Interaction,
        prompt: app_commands.Range[str, 1, PROMPT_LIMIT],
        n: app_commands.Range[int, 1, MAX_PICTURES] | None = None,
        ar: str | None = None,
        size: str | None = None,
        seed: app_commands.Range[int, 0, SEEDS - 1] | None = None,
        no: app_commands.Range[str, 1, PROMPT_LIMIT] | None = None,
        steps: app_commands.Range[int, 1, MOST_STEPS] | None = None,
        guidance: app_commands.Range[float, 0.0, MOST_GUIDANCE] | None = None,
        model: str | None = None,
    ) -> None:
        options = {"n": n, "ar": ar, "size": size, "seed": seed, "no": no, "steps": steps, "guidance": guidance, "model": model}
        if desk is None:
            raise NotTaken
        caller = _caller(interaction)
        if (shown := await desk.settings(prompt, caller)) is not None:
            await interaction.response.send_message(shown, ephemeral=True)
            return
        ordered = await desk.order(prompt, caller, options=options)
        if isinstance(ordered, Proposal):
            raise Told("Several pictures at once work in Slack only, so far.")
        await interaction.response.send_message(
            _status(ordered, f"Drawing · {settings(ordered.request)}"), suppress_embeds=True
        )

    return imagine


def _choices(names: Iterable[str]) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=name, value=name) for name in names]


def _caller(interaction: discord.Interaction) -> Caller:
    channel = "" if interaction.channel_id is None else str(interaction.channel_id)
    address = {"token": interaction.token, "channel": channel, "user": str(interaction.user.id)}
    return Caller(
        claim=f"discord:{interaction.id}",
        platform="discord",
        person=f"discord:{interaction.user.id}",
        reply_to=address,
        language=language(str(interaction.locale)),
        place=str(interaction.guild_id or ""),
    )


class _Reply:
    """The ways back to one person in Discord."""

    def __init__(self, platform: Discord, job: Job) -> None:
        self._client, self._job = platform.client, job
        self._webhook = discord.Webhook.partial(platform.application_id, job.reply_to["token"], session=platform.session)
        self._settled = time.monotonic() + SETTLES
        self.ways = (self.in_place, self.in_channel, self.in_dm, self.in_words)

    edit_every = EDIT_EVERY
    is_announced = True  # by the answer to the interaction

    async def status(self, event: Event) -> None:
        """Edit the answer that Discord shows under the command."""
        await self._edit(f"Drawing · {describe(event)}")

    async def start_picture(self) -> bytes | None:
        """Nothing comes with a command, so far."""
        return None

    async def delete(self) -> None:
        """Delete the message whose button was pressed."""
        await _sent(self._webhook.delete_message(ORIGINAL))

    async def in_place(self, outcome: Outcome) -> None:
        """Turn the answer under the command into the outcome; Discord allows it for 15 minutes."""
        content, attachments = _message(outcome), _files(outcome)
        try:
            await _sent(self._webhook.edit_message(ORIGINAL, content=content, attachments=attachments, allowed_mentions=NOBODY))
        except Refused as refused:
            if refused.code == UNKNOWN_WEBHOOK and time.monotonic() < self._settled:
                raise Busy("Discord has not taken in our first answer yet", SETTLES / 10) from refused
            raise

    async def in_channel(self, outcome: Outcome) -> None:
        """Post in the channel as the bot, which needs to be a member there."""
        if not self._job.reply_to["channel"]:
            raise Refused("no channel")
        channel = self._client.get_partial_messageable(int(self._job.reply_to["channel"]))
        await self._post(channel, outcome)
        await self._close("It is below.")

    async def in_dm(self, outcome: Outcome) -> None:
        """Send the outcome to the person alone."""
        user = discord.Object(int(self._job.reply_to["user"]))
        await self._post(await _sent(self._client.create_dm(user)), outcome)
        await self._close("I sent it to you directly.")

    async def in_words(self, outcome: Outcome) -> None:
        """Say that the pictures are kept, where they cannot be posted."""
        kept = f"It is drawn, but I could not post it. An admin can fetch it: imagine show {self._job.id}"
        await self._edit(outcome.reason or kept)

    async def _close(self, words: str) -> None:
        """Leave no answer that says we are still drawing, if that can still be helped."""
        with suppress(Undelivered):
            await self._edit(words)

    async def _edit(self, words: str) -> None:
        content = _status(self._job, words)
        await _sent(self._webhook.edit_message(ORIGINAL, content=content, allowed_mentions=NOBODY))

    async def _post(self, channel: discord.abc.Messageable, outcome: Outcome) -> None:
        """Post a message once: Discord drops a second one with the same nonce. Only the person who asked is notified."""
        user = discord.Object(int(self._job.reply_to["user"]))
        mentions = discord.AllowedMentions(everyone=False, roles=False, users=[user], replied_user=False)
        content = f"<@{user.id}> {_message(outcome)}"
        await _sent(
            channel.send(content, files=_files(outcome), nonce=self._job.id, allowed_mentions=mentions, suppress_embeds=True)
        )


def _status(job: Job, words: str) -> str:
    return f"**{_shown(job.request.prompt)}**\n-# {_plain(words)}"


def _message(outcome: Outcome) -> str:
    return f"**{_shown(outcome.job.request.prompt)}**\n-# {_plain(summary(outcome))}"


def _shown(prompt: str) -> str:
    """Show somebody's words as they typed them, and no more of them than fit once their markup is escaped."""
    shown = shorten(prompt, ROOM)
    while len(_plain(shown)) > ROOM:
        shown = shorten(shown, len(shown) * 9 // 10)
    return _plain(shown)


def _plain(text: str) -> str:
    """Escape whatever Discord could read as markup, a link or a mention: the library leaves links as they are."""
    return re.sub(r"([\\*_~|`\[\]()<>#:@/-])", r"\\\1", text)


def _files(outcome: Outcome) -> list[discord.File]:
    return [
        discord.File(
            io.BytesIO(picture.png),
            filename=f"{picture.request.model}-{picture.request.seed}.png",
            description=shorten(picture.request.prompt, ALT_TEXT),
        )
        for picture in outcome.pictures
    ]


async def _sent(call: Awaitable[T]) -> T:
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


class _Tree(app_commands.CommandTree[discord.Client]):
    """Tells the person what went wrong, for them alone."""

    async def on_error(self, interaction: discord.Interaction, error: app_commands.AppCommandError, /) -> None:
        cause = getattr(error, "original", error)
        if not isinstance(cause, Told):
            log.error("interaction %s failed", interaction.id, exc_info=cause)
        told = cause if isinstance(cause, Told) else NotTaken()
        words = told.into(language(str(interaction.locale)))
        await interaction.response.send_message(shorten(words, 2000), ephemeral=True, allowed_mentions=NOBODY)


class _Answer(AsyncWebhookAdapter):
    """Takes what discord.py would post as the answer to one interaction."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def create_interaction_response(  # type: ignore[override]
        self, interaction_id: int, _token: str, *, params: MultipartParameters, **_: Any
    ) -> dict[str, Any]:
        """Stand in for the REST call; nothing here answers with a file, so the payload is all there is."""
        payload = dict(params.payload or {})
        self._given.set_result(payload)
        return {"interaction": {"id": str(interaction_id), "type": payload["type"]}}

    async def given(self) -> dict[str, Any]:
        """Return the answer, or say that there is none before Discord gives up."""
        try:
            return await asyncio.wait_for(self._given, IN_TIME)
        except TimeoutError:
            data = {"content": str(NotTaken()), "flags": discord.MessageFlags(ephemeral=True).value}
            return {"type": Callback.CHANNEL_MESSAGE_WITH_SOURCE, "data": data}


def _offline_client(application_id: int, token: str, session: aiohttp.ClientSession) -> discord.Client:
    """Make a client that is ready for work without having called Discord."""
    client = discord.Client(
        intents=discord.Intents(guilds=True), application_id=application_id, allowed_mentions=NOBODY, max_messages=None
    )
    client.loop = client.http.loop = client._connection.loop = asyncio.get_running_loop()
    client.http._global_over = asyncio.Event()
    client.http._global_over.set()
    client.http._HTTPClient__session = session  # type: ignore[attr-defined]
    client.http.token = token
    user: Any = {"id": str(application_id), "username": "imagine", "discriminator": "0", "avatar": None}
    client._connection.user = ClientUser(state=client._connection, data=user)
    return client
