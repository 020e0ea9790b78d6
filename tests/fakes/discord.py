"""A server that plays Discord: its REST API, and the people who use commands and press buttons.

https://discord.com/developers/docs/intro
"""

import asyncio
import base64
import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from nacl.signing import SigningKey

from tests.fakes import discord_payloads as payloads
from tests.fakes.discord_bodies import Body, answered, received
from tests.fakes.discord_routes import ROUTES, Asked, Kind, Route, settle
from tests.fakes.discord_world import Attachment, Call, Channel, Interaction, Message, Refusal, State, User, World
from tests.fakes.faults import Fault, Faults
from tests.fakes.host import Host

PATIENCE = 3.0  # seconds until Discord tells the person that the application did not respond
ACCEPTED = 202  # the answer comes, or came, by the callback route
VIA = {"Via": "1.1 google"}  # discord.py takes a 429 without it for a ban


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


class DiscordServer(World):
    """`async with DiscordServer() as discord:` and let discord.py's `Route.BASE` be `discord.url`."""

    def __init__(self, **world: Any) -> None:
        super().__init__(**world)
        self.faults = Faults(retry_after=0.05)
        self.scope = "user"  # of rate limits: user, global or shared
        self.url = ""
        self._key = SigningKey.generate()
        self.public_key = self._key.verify_key.encode().hex()
        self.guild = self.snowflake()
        self.user = self.add_user("ada")
        self.channel = self.add_channel(guild_id=self.guild)
        self._command_id = self.snowflake()
        self._uploads: dict[str, Attachment] = {}
        routes = [web.route(r.method, f"/api/v10{r.path}", partial(self._api, r)) for r in ROUTES]
        files = web.get("/attachments/{channel}/{id}/{filename}", self._download)
        self._host = Host([*routes, files, web.route("*", "/{path:.*}", self._unknown)])

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self.root = await self._host.start()
        self.url = f"{self.root}/api/v10"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, however many clients still wait."""
        await self._host.stop()

    # The platform

    async def _api(self, route: Route, request: web.Request) -> web.StreamResponse:
        call = Call(time=self.clock(), route=route.name, path=request.path)
        self.calls.append(call)
        call.fault = self.faults.draw(route.name)

        async def answer() -> web.StreamResponse:
            try:
                body = await self._dispatch(route, request)
                response = _json(body) if body is not None else web.Response(status=204)
            except Refusal as refusal:
                self._blame(refusal)
                response = _json(refusal.body, refusal.status)
            call.status = response.status
            return response

        refusals = {Fault.RATE_LIMITED: self._rate_limited, Fault.SERVER_ERROR: _broken}
        return await self._host.serve(request, call.fault, answer, refusals)

    async def _dispatch(self, route: Route, request: web.Request) -> Any:
        if not route.is_open and request.headers.get("Authorization") != f"Bot {self.bot_token}":
            blame = None if "Authorization" in request.headers else f"{route.name} was called without a bot token."
            await request.read()
            raise Refusal(401, 0, "401: Unauthorized", blame)
        return await route.do(self, Asked(path=request.match_info, query=request.query, body=await received(request)))

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        self.violations.append(f"There is no route {request.method} {request.path} here.")
        return _json({"message": "404: Not Found", "code": 0}, 404)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        kept = [*self._uploads.values(), *(a for message in self.messages for a in message.attachments)]
        found = [a for a in kept if a.id == request.match_info["id"]]
        return web.Response(body=found[0].content, content_type="image/png") if found else web.Response(status=404)

    def _rate_limited(self) -> web.StreamResponse:
        wait = self.faults.retry_after
        headers = {
            "Retry-After": str(math.ceil(wait)),
            "X-RateLimit-Limit": "5",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": f"{time.time() + wait:.3f}",
            "X-RateLimit-Reset-After": f"{wait:.3f}",
            "X-RateLimit-Scope": self.scope,
        }
        if self.scope == "global":
            headers["X-RateLimit-Global"] = "true"
        body = {"message": "You are being rate limited.", "retry_after": wait, "global": self.scope == "global"}
        return _json(body, 429, headers)

    def _blame(self, refusal: Refusal) -> None:
        if refusal.violation:
            self.violations.append(refusal.violation)

    # The people

    def sign(self, body: str | bytes, timestamp: float | str | None = None) -> dict[str, str]:
        """Make the headers by which an app knows that a request is Discord's."""
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        raw = body.encode() if isinstance(body, str) else body
        signature = self._key.sign(stamp.encode() + raw).signature.hex()
        return {"X-Signature-Ed25519": signature, "X-Signature-Timestamp": stamp, "Content-Type": "application/json"}

    def upload(self, filename: str, content: bytes) -> Attachment:
        """Let a person attach a file, to be the value of an option."""
        id_ = self.snowflake()
        url = f"{self.root}/attachments/{self.channel.id}/{id_}/{filename}"
        file = Attachment(id=id_, filename=filename, description=None, content=content, url=url)
        return self._uploads.setdefault(id_, file)

    async def ping(self, service_url: str, **about: Any) -> Answer:
        """Ask whether anybody is there."""
        return await self.interact(service_url, payloads.ping(self), **about)

    async def imagine(
        self,
        service_url: str,
        options: Mapping[str, Any],
        *,
        user: User | None = None,
        channel: Channel | None = None,
        name: str = "imagine",
        interaction_id: str | None = None,
        user_installed: bool = False,
        locale: str = "en-US",
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Answer:
        """Use the command. The same interaction_id again is the same request sent again."""
        about = self._begin(Kind.COMMAND, user, channel, interaction_id, user_installed=user_installed)
        data = payloads.command(name, options, self._command_id)
        return await self.interact(service_url, self._payload(about, data, locale), session=session, patience=patience)

    async def autocomplete(
        self,
        service_url: str,
        options: Mapping[str, Any],
        focused: str,
        *,
        user: User | None = None,
        channel: Channel | None = None,
        name: str = "imagine",
        **about: Any,
    ) -> Answer:
        """Half type the command, with the cursor in one option."""
        begun = self._begin(Kind.AUTOCOMPLETE, user, channel)
        data = payloads.command(name, options, self._command_id, focused)
        return await self.interact(service_url, self._payload(begun, data), **about)

    async def click(
        self, service_url: str, message: Message, custom_id: str, *, user: User | None = None, **about: Any
    ) -> Answer:
        """Press a button."""
        begun = self._begin(Kind.COMPONENT, user, self.channels[message.channel_id])
        begun.source = message
        return await self.interact(service_url, self._payload(begun, payloads.press(message, custom_id)), **about)

    async def submit(
        self,
        service_url: str,
        custom_id: str,
        components: list[Any],
        *,
        user: User | None = None,
        channel: Channel | None = None,
        **about: Any,
    ) -> Answer:
        """Send off a modal that was filled in."""
        begun = self._begin(Kind.MODAL, user, channel)
        data = {"custom_id": custom_id, "components": components}
        return await self.interact(service_url, self._payload(begun, data), **about)

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
                asyncio.timeout(patience),
                (session or self._host.session).post(
                    f"{service_url}/discord/interactions", data=raw, headers=self.sign(raw)
                ) as response,
            ):
                try:
                    body = await answered(response)
                except Refusal as refusal:
                    blame = refusal
                status = response.status
        seconds = time.monotonic() - started
        if blame and status == 200:
            self._blame(blame)
        if interaction:
            self._take(interaction, status, body)
        elif status == 200 and body.payload != {"type": 1}:
            self.violations.append(f"A ping was answered by {body.payload}.")
        return Answer(status=status, body=body.payload, seconds=seconds, interaction=interaction)

    def _take(self, interaction: Interaction, status: int, body: Body) -> None:
        if interaction.state is State.PENDING and status == 200:
            try:
                settle(self, interaction, body)
            except Refusal as refusal:
                self._blame(refusal)
        if interaction.state is State.PENDING:  # not answered, not in time, or not well
            interaction.state = State.VOID
            if status == ACCEPTED:
                self.violations.append(f"Interaction {interaction.id} was answered by 202, but never by the callback.")

    def _begin(
        self,
        kind: Kind,
        user: User | None,
        channel: Channel | None,
        interaction_id: str | None = None,
        *,
        user_installed: bool = False,
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
        )
        return self.interactions[token]

    def _payload(self, about: Interaction, data: Mapping[str, Any], locale: str = "en-US") -> dict[str, Any]:
        channel, user = self.channels[about.channel_id], self.users[about.user_id]
        return payloads.interaction(self, about, data, channel=channel, user=user, locale=locale)


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    raw = json.dumps(body).encode()  # and no charset: discord.py reads only plain application/json
    return web.Response(body=raw, status=status, content_type="application/json", headers={**VIA, **(headers or {})})


def _broken() -> web.StreamResponse:
    return _json({"message": "500: Internal Server Error", "code": 0}, 500)
