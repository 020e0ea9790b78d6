"""A server that plays Slack: its Web API, its response_url, and the people who type commands and press buttons.

https://docs.slack.dev/apis/web-api
"""

import asyncio
import hashlib
import hmac
import json
import math
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.faults import Fault, Faults
from tests.fakes.host import Host
from tests.fakes.slack_methods import METHODS, REPLY, Method, compose, require
from tests.fakes.slack_world import Call, Kind, Message, Refusal, ResponseUrl, Via, World

PATIENCE = 3.0  # seconds until Slack tells the person `operation_timeout`
MAX_USES = 5
MAX_AGE = 30 * 60  # seconds
FORM = "application/x-www-form-urlencoded"
CHANNEL_NAMES = {Kind.PUBLIC: "general", Kind.PRIVATE: "privategroup", Kind.DM: "directmessage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """How the app took a command or a click. Status 0: not in time, or not at all."""

    status: int
    body: Any  # parsed, if it was JSON; text otherwise
    seconds: float
    trigger_id: str
    response_url: str
    message: Message | None  # what the person reads at once


class SlackServer(World):
    """`async with SlackServer() as slack:` and point `AsyncWebClient(base_url=slack.url)` at it."""

    def __init__(self, **world: Any) -> None:
        super().__init__(fetch=self._fetch, **world)
        self.faults = Faults()
        self.url = ""
        self._triggers: dict[str, ResponseUrl] = {}
        routes = [
            web.route("*", "/api/{method}", self._api),
            web.post("/upload/v1/{upload}", self._upload),
            web.post("/commands/{team}/{number}/{secret}", self._respond),
        ]
        self._host = Host(routes)

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self.root = await self._host.start()
        self.url = f"{self.root}/api/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, however many clients still wait."""
        await self._host.stop()

    # The platform

    async def _api(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["method"]
        call = self._note(name)

        async def answer() -> web.StreamResponse:
            try:
                sent, is_json = await _read(request)
                call.channel = str(sent.get("channel") or sent.get("channel_id") or sent.get("channels") or "")
                call.ts = str(sent.get("ts") or "")
                body = {"ok": True, **await self._dispatch(name, request.headers, sent, is_json=is_json)}
            except Refusal as refusal:
                body = self._refused(refusal)
            call.answer = str(body.get("error", "ok"))
            scopes, date = ",".join(sorted(self.scopes)), formatdate(self.clock(), usegmt=True)
            return web.json_response(body, headers={"X-OAuth-Scopes": scopes, "Date": date})

        return await self._serve(request, call, answer)

    async def _dispatch(
        self, name: str, headers: Mapping[str, str], sent: Mapping[str, Any], *, is_json: bool
    ) -> dict[str, Any]:
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise Refusal("not_authed", f"{name} was called without `Authorization: Bearer …`.")
        if not hmac.compare_digest(token, self.token):
            raise Refusal("invalid_auth")
        if self.token_error:
            raise Refusal(self.token_error)
        if (method := METHODS.get(name)) is None:
            raise Refusal("unknown_method", f"There is no method {name} here.")
        if is_json and not method.takes_json:
            raise Refusal("invalid_arguments", f"{name} does not read JSON, only forms.")
        require(self, method.scope)
        return await method.do(self, method.read(name, sent))

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        call = self._note("upload")

        async def answer() -> web.StreamResponse:
            content = await _uploaded(request)
            upload = request.match_info["upload"]
            file = next((file for file in self.files.values() if file.upload == upload), None)
            if file is None or file.completed is not None:
                self.violations.append("Bytes were sent to an upload address that is not open.")
                return web.Response(status=HTTPStatus.NOT_FOUND, text="not found")
            if len(content) != file.length:
                self.violations.append(f"{file.id}: {file.length} bytes were announced, {len(content)} sent.")
                return web.Response(status=HTTPStatus.BAD_REQUEST, text="wrong length")
            file.content, call.answer = content, "ok"
            return web.Response(text=f"OK - {len(content)}")

        return await self._serve(request, call, answer)

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        call = self._note("response_url")

        async def answer() -> web.StreamResponse:
            try:
                await self._reply(self.root + request.path, await _json(request), call)
            except Refusal as refusal:  # seen in the wild: 404, whatever the reason
                call.answer = refusal.error
                return web.json_response(self._refused(refusal), status=HTTPStatus.NOT_FOUND)
            call.answer = "ok"
            return web.Response(text="ok")

        return await self._serve(request, call, answer)

    async def _reply(self, url: str, body: dict[str, Any], call: Call) -> None:
        address = self.response_urls.get(url)
        if address is None:
            raise Refusal("invalid_url", "An answer was sent to a response_url that never was.")
        call.channel = address.channel
        if self.clock() - address.created > MAX_AGE:
            raise Refusal("expired_url")
        if address.uses >= MAX_USES:
            raise Refusal("used_url")
        address.uses += 1
        sent = Method(do=_nothing, required={}, optional=REPLY).read("response_url", body)
        if sent.get("delete_original"):
            if address.original:
                self.delete(address.original)
            return
        await self._say(address, sent, Via.RESPONSE_URL)

    async def _say(self, address: ResponseUrl, sent: Mapping[str, Any], via: Via) -> Message:
        parts = await compose(self, address.channel, sent, strict=True)
        if address.original and sent.get("replace_original"):  # a command has no original: Slack posts anew
            self.edit(address.original, **parts)
            return address.original
        is_public = sent.get("response_type", "ephemeral") == "in_channel"
        hidden = None if is_public else address.user
        thread = sent.get("thread_ts") or address.thread_ts
        return self.post(address.channel, via=via, ephemeral_to=hidden, thread_ts=thread, **parts)

    def _note(self, method: str) -> Call:
        self.calls.append(Call(time=self.clock(), method=method, channel="", ts=""))
        return self.calls[-1]

    def _refused(self, refusal: Refusal) -> dict[str, Any]:
        if refusal.violation:
            self.violations.append(refusal.violation)
        return {"ok": False, "error": refusal.error, **refusal.details}

    async def _serve(self, request: web.Request, call: Call, answer: Any) -> web.StreamResponse:
        call.fault = self.faults.draw(call.method)
        wait = {"Retry-After": str(math.ceil(self.faults.retry_after))}  # Slack speaks in whole seconds
        refusals = {
            Fault.RATE_LIMITED: lambda: _failed(HTTPStatus.TOO_MANY_REQUESTS, "ratelimited", wait),
            Fault.SERVER_ERROR: lambda: _failed(HTTPStatus.INTERNAL_SERVER_ERROR, "fatal_error"),
        }
        return await self._host.serve(request, call.fault, answer, refusals)

    async def _fetch(self, url: str) -> bytes | None:
        with suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self._host.session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
                return await response.read() if response.ok else None
        return None

    # The people

    def sign(self, body: str | bytes, timestamp: float | str | None = None) -> dict[str, str]:
        """Make the headers by which an app knows that a request is Slack's."""
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        raw = body.encode() if isinstance(body, str) else body
        digest = hmac.new(self.signing_secret.encode(), b"v0:%s:%s" % (stamp.encode(), raw), hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "Content-Type": FORM}

    async def command(
        self,
        service_url: str,
        text: str,
        *,
        user: str = "U1",
        channel: str = "C1",
        command: str = "/imagine",
        trigger_id: str | None = None,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Ack:
        """Type a slash command. The same trigger_id again is the same request sent again."""
        trigger_id, address = self._trigger(trigger_id, channel, user)
        form = self._command_form(text, user, channel, command) | {
            "response_url": address.url,
            "trigger_id": trigger_id,
        }
        ack = await self._send(service_url, form, address, trigger_id=trigger_id, session=session, patience=patience)
        return await self._read_ack(ack, address)

    async def click(
        self,
        service_url: str,
        message: Message,
        button: Mapping[str, Any],
        *,
        user: str = "U1",
        trigger_id: str | None = None,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Ack:
        """Press a button of a message, one of `message.buttons`."""
        trigger_id, address = self._trigger(trigger_id, message.channel, user)
        address.original, address.thread_ts = message, message.thread_ts
        payload = self._click_payload(message, button, user) | {"response_url": address.url, "trigger_id": trigger_id}
        ack = await self._send(
            service_url, {"payload": json.dumps(payload)}, address, trigger_id=trigger_id, session=session, patience=patience
        )
        if ack.body:
            self.violations.append("A click was answered with words, which Slack shows to nobody.")
        return ack

    def _trigger(self, trigger_id: str | None, channel: str, user: str) -> tuple[str, ResponseUrl]:
        if trigger_id in self._triggers:
            return trigger_id, self._triggers[trigger_id]
        number = self.number()
        url = f"{self.root}/commands/{self.team_id}/{number:010}/{hashlib.sha256(str(number).encode()).hexdigest()[:24]}"
        address = ResponseUrl(url=url, channel=channel, user=user, created=self.clock())
        trigger_id = trigger_id or f"{number}.{self.team_id}.{hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()}"
        self.response_urls[url] = self._triggers[trigger_id] = address
        return trigger_id, address

    def _command_form(self, text: str, user: str, channel: str, command: str) -> dict[str, str]:
        return {
            "token": "deprecated-verification-token",
            "team_id": self.team_id,
            "team_domain": "fake",
            "channel_id": channel,
            "channel_name": CHANNEL_NAMES[self.channels[channel].kind],
            "user_id": user,
            "user_name": user.lower(),
            "command": command,
            "text": text,
            "api_app_id": self.app_id,
            "is_enterprise_install": "false",
        }

    def _click_payload(self, message: Message, button: Mapping[str, Any], user: str) -> dict[str, Any]:
        block: dict[str, Any] = next((b for b in message.blocks if button in b.get("elements", [b.get("accessory")])), {})
        place = {"message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": bool(message.ephemeral_to)}
        action = {"action_id": "unnamed", "block_id": block.get("block_id", "unnamed"), **button}
        shown = {} if message.ephemeral_to else {"message": message.as_json()}
        return {
            "type": "block_actions",
            "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": self.team_id},
            "api_app_id": self.app_id,
            "token": "deprecated-verification-token",
            "container": {"type": "message", **place},
            "team": {"id": self.team_id, "domain": "fake"},
            "enterprise": None,
            "is_enterprise_install": False,
            "channel": {"id": message.channel, "name": CHANNEL_NAMES[self.channels[message.channel].kind]},
            **shown,
            "state": {"values": {}},
            "actions": [{**action, "action_ts": f"{time.time():.6f}"}],
        }

    async def _send(
        self,
        service_url: str,
        form: Mapping[str, str],
        address: ResponseUrl,
        *,
        trigger_id: str,
        session: aiohttp.ClientSession | None,
        patience: float,
    ) -> Ack:
        body, started, status, text = urlencode(form), time.monotonic(), 0, ""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with (
                asyncio.timeout(patience),
                (session or self._host.session).post(
                    f"{service_url}/slack/events", data=body, headers=self.sign(body)
                ) as response,
            ):
                text, status = await response.text(), response.status
        seconds = time.monotonic() - started
        body_json = json.loads(text) if re.match(r"\s*\{", text) else text
        url = address.url
        return Ack(status=status, body=body_json, seconds=seconds, trigger_id=trigger_id, response_url=url, message=None)

    async def _read_ack(self, ack: Ack, address: ResponseUrl) -> Ack:
        if ack.status != HTTPStatus.OK or not ack.body:
            return ack
        said = ack.body if isinstance(ack.body, dict) else {"text": ack.body}
        try:
            sent = Method(do=_nothing, required={}, optional=REPLY).read("ack", said)
            if not sent.keys() & {"text", "blocks", "attachments"}:
                return ack
            message = await self._say(address, sent, Via.ACK)
        except Refusal as refusal:
            self._refused(refusal)
            return ack
        return replace(ack, message=message)


def _failed(status: int, error: str, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
    return web.json_response({"ok": False, "error": error}, status=status, headers=headers)


async def _read(request: web.Request) -> tuple[dict[str, Any], bool]:
    is_json = request.content_type == "application/json"
    body = await _json(request) if is_json else dict(await request.post())
    return {**request.query, **body}, is_json


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal("invalid_json", f"{request.path} was sent something that is not a JSON object.")
    return body


async def _uploaded(request: web.Request) -> bytes:
    if not request.content_type.startswith("multipart/"):
        return await request.read()
    for part in (await request.post()).values():
        if isinstance(part, web.FileField):
            return part.file.read()
    return b""


async def _nothing(_world: World, _sent: Mapping[str, Any]) -> dict[str, Any]:
    return {}
