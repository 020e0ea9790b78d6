"""The people in Discord, who use commands, press buttons, fill in forms and write messages.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

import base64
import json
import re
import time
from asyncio import timeout
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
from nacl.signing import SigningKey

from tests.fakes import discord_payloads as payloads
from tests.fakes.discord_bodies import Body, answered
from tests.fakes.discord_forms import Typed, fill_in
from tests.fakes.discord_routes import Kind, settle
from tests.fakes.discord_world import Attachment, Channel, Interaction, Message, Refusal, State, Upload, User, World

PATIENCE = 3.0  # seconds until Discord tells the person that the application did not respond
ACCEPTED = 202  # the answer comes, or came, by the callback route


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How the app took an interaction. Status 0: not in time, or not at all."""

    status: int
    body: Any  # the JSON of the answer
    seconds: float
    interaction: Interaction | None  # a ping has none

    @property
    def message(self) -> Message | None:
        """What became @original."""
        return self.interaction.message if self.interaction else None

    @property
    def modal(self) -> Mapping[str, Any]:
        """The form that opened."""
        assert self.body["type"] == 9, self.body
        data: Mapping[str, Any] = self.body["data"]
        return data

    @property
    def told(self) -> str:
        """What the one who asked reads, and nobody else."""
        assert self.message, self.body
        assert self.message.reader, self.message.content
        return self.message.content

    @property
    def read(self) -> str:
        """The same without the backslashes that keep it from being markup."""
        return re.sub(r"\\(.)", r"\1", self.told)


class People(World):
    """A world with people in it; whoever serves it says where."""

    def __init__(self, **world: Any) -> None:
        super().__init__(**world)
        self._key = SigningKey.generate()
        self.public_key = self._key.verify_key.encode().hex()
        self.guild = self.snowflake()
        self.user = self.add_user("ada")
        self.channel = self.add_channel(guild_id=self.guild)
        self.uploads: dict[str, Attachment] = {}
        self._command_id = self.snowflake()
        self.session: aiohttp.ClientSession

    def sign(self, body: str | bytes, timestamp: float | str | None = None) -> dict[str, str]:
        """Make the headers by which an app knows that a request is Discord's."""
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        raw = body.encode() if isinstance(body, str) else body
        signature = self._key.sign(stamp.encode() + raw).signature.hex()
        return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": stamp, "Content-Type": "application/json"}

    def upload(self, filename: str, content: bytes, **about: Any) -> Attachment:
        """Let a person attach a file, to be the value of an option or of a field."""
        id_ = self.snowflake()
        url = f"{self.root}/ephemeral-attachments/{self.application_id}/{id_}/{filename}"
        file = Attachment(id=id_, filename=filename, description=None, content=content, url=url, **about)
        return self.uploads.setdefault(id_, file)

    def say(
        self,
        content: str,
        *,
        files: Mapping[str, bytes] | None = None,
        user: User | None = None,
        channel: Channel | None = None,
    ) -> Message:
        """Let a person write a message."""
        sent = {i: Upload(filename=name, content=content) for i, (name, content) in enumerate((files or {}).items())}
        return self.post((channel or self.channel).id, {"content": content}, sent, author=(user or self.user).id)

    async def ping(self, service_url: str, **about: Any) -> Answer:
        """Ask whether anybody is there."""
        return await self.interact(service_url, payloads.ping(self), **about)

    async def imagine(
        self,
        service_url: str,
        options: Mapping[str, Any],
        *,
        name: str = "imagine",
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
        **who: Any,
    ) -> Answer:
        """Use the command. The same interaction_id again is the same request sent again."""
        about = self._begin(Kind.COMMAND, **who)
        data = payloads.command(self, name, options, self._command_id)
        return await self.interact(service_url, self._payload(about, data), session=session, patience=patience)

    async def autocomplete(
        self, service_url: str, options: Mapping[str, Any], focused: str, *, name: str = "imagine", **who: Any
    ) -> Answer:
        """Half type the command, with the cursor in one option."""
        begun = self._begin(Kind.AUTOCOMPLETE, **who)
        data = payloads.command(self, name, options, self._command_id, focused)
        return await self.interact(service_url, self._payload(begun, data))

    async def choose(self, service_url: str, message: Message, name: str = "Imagine this", **who: Any) -> Answer:
        """Use a command from the menu of a message."""
        begun = self._begin(Kind.COMMAND, **{"channel": self.channels[message.channel_id]} | who)
        return await self.interact(
            service_url, self._payload(begun, payloads.message_command(self, name, message, self._command_id))
        )

    async def click(self, service_url: str, message: Message, button: str, *, bare: bool = False, **who: Any) -> Answer:
        """Press a button, by its words or its custom_id; `bare` where an edit takes it off its message just then."""
        begun = self._begin(Kind.COMPONENT, **{"channel": self.channels[message.channel_id]} | who)
        begun.source = message
        payload = self._payload(begun, payloads.press(message, button))
        if bare:
            payload["message"]["components"] = []
        return await self.interact(service_url, payload)

    async def submit(self, service_url: str, opened: Answer, typed: Mapping[str, Typed] | None = None, **who: Any) -> Answer:
        """Send off the modal that opened, some of its fields filled in otherwise."""
        before = opened.interaction
        assert before
        about: dict[str, Any] = {"user": self.users[before.user_id], "channel": self.channels[before.channel_id]}
        about |= {"locale": before.locale, "user_installed": before.user_installed}
        begun = self._begin(Kind.MODAL, **about | who)
        begun.source = before.source
        components, files = fill_in(opened.modal, typed or {})
        data = payloads.modal(self, opened.modal["custom_id"], components, files)
        return await self.interact(service_url, self._payload(begun, data))

    async def interact(
        self,
        service_url: str,
        payload: Mapping[str, Any],
        *,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """Send any interaction, signed, and take the answer as Discord would."""
        raw = json.dumps(payload)
        interaction = self.interactions.get(str(payload.get("token")))
        started, status, body, blame = time.monotonic(), 0, Body(), None
        with suppress(TimeoutError, aiohttp.ClientError):
            async with (
                timeout(patience),
                (session or self.session).post(
                    f"{service_url}/discord/interactions", data=raw, headers=self.sign(raw)
                ) as response,
            ):
                try:
                    body = await answered(response, self.attachment_size_limit)
                except Refusal as refusal:
                    blame = refusal
                status = response.status
        seconds = time.monotonic() - started
        if blame and status == 200:
            self.blame(blame)
        if interaction:
            self._take(interaction, status, body)
        elif status == 200 and body.payload != {"type": 1}:
            self.violations.append(f"A ping was answered by {body.payload}.")
        return Answer(status=status, body=body.payload, seconds=seconds, interaction=interaction)

    def blame(self, refusal: Refusal) -> None:
        """Note what a correct app would never have sent."""
        if refusal.violation:
            self.violations.append(refusal.violation)

    def _take(self, interaction: Interaction, status: int, body: Body) -> None:
        if interaction.state is State.PENDING and status == 200:
            try:
                settle(self, interaction, body)
            except Refusal as refusal:
                self.blame(refusal)
        if interaction.state is State.PENDING:  # not answered, not in time, or not well
            interaction.state = State.VOID
            if status == ACCEPTED:
                self.violations.append(f"Interaction {interaction.id} was answered by 202, but never by the callback.")

    def _begin(
        self,
        kind: Kind,
        *,
        user: User | None = None,
        channel: Channel | None = None,
        interaction_id: str | None = None,
        user_installed: bool = False,
        locale: str = "en-US",
    ) -> Interaction:
        for known in self.interactions.values() if interaction_id else ():
            if known.id == interaction_id:
                return known
        id_ = interaction_id or self.snowflake()
        secret = base64.urlsafe_b64encode(self._key.sign(id_.encode()).signature * 2).decode().rstrip("=")
        token = base64.urlsafe_b64encode(f"interaction:{id_}:{secret}".encode()).decode().rstrip("=")
        self.interactions[token] = Interaction(
            id=id_,
            token=token,
            type=kind,
            channel_id=(channel or self.channel).id,
            user_id=(user or self.user).id,
            created=self.clock(),
            user_installed=user_installed,
            locale=locale,
        )
        return self.interactions[token]

    def _payload(self, about: Interaction, data: Mapping[str, Any]) -> dict[str, Any]:
        channel, user = self.channels[about.channel_id], self.users[about.user_id]
        return payloads.interaction(self, about, data, channel=channel, user=user)
