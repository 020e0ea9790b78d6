"""A server that plays Slack: its Web API, its files, its response_url, and the people who type and press.

https://docs.slack.dev/apis/web-api
"""

import hmac
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.fakes.faults import Fault, Faults
from tests.fakes.host import Host
from tests.fakes.slack_methods import METHODS, REPLY, Method, compose, require
from tests.fakes.slack_oauth import Consent
from tests.fakes.slack_people import Ack, People
from tests.fakes.slack_rates import Rates
from tests.fakes.slack_world import Call, File, Message, Refusal, ResponseUrl, Via, World, mimetype

__all__ = ["Ack", "SlackServer"]

Handler = Callable[["SlackServer", web.Request], Awaitable[web.StreamResponse]]

MAX_USES = 5
MAX_AGE = 30 * 60  # seconds


class SlackServer(People):
    """`async with SlackServer() as slack:` and point `AsyncWebClient(base_url=slack.url)` at it."""

    def __init__(self, **world: Any) -> None:
        super().__init__(fetch=self._fetch, **world)
        self.faults = Faults()
        self.keeps_rates = False  # it limits them only then, so that other tests may be quicker than people are
        self.rates = Rates()
        self.limited: list[Call] = []
        self.public_names = {}
        self.seen: dict[str, bytes] = {}  # by address: Slack fetches a picture once
        self.url = ""
        self.consent = Consent(self)
        self._workspaces = [self]
        routes = [
            web.route("*", "/api/{method}", self._whose(SlackServer._api)),
            web.post("/upload/v1/{place}", self._whose(SlackServer._upload)),
            web.get("/files-pri/{place}/{name}", self._whose(SlackServer._file)),
            web.get("/files-pri/{place}/download/{name}", self._whose(SlackServer._file)),
            web.get("/sign-in", self._sign_in),
            web.post("/commands/{place}/{number}/{secret}", self._whose(SlackServer._respond)),
        ]
        self._host = Host(routes)

    def neighbour(self, **world: Any) -> "SlackServer":
        """Make another workspace on the same Slack, where the same app can be installed."""
        other = SlackServer(**{"token": "", "violations": self.violations} | world)
        other.root, other.url, other.session, other.public_names = self.root, self.url, self.session, self.public_names
        other.manifest_scopes, other.redirect_urls, other.events = self.manifest_scopes, self.redirect_urls, self.events
        self._workspaces.append(other)
        return other

    def _whose(self, handler: "Handler") -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Have a request served by the workspace that its address names, or else whose token it brings."""

        async def serve(request: web.Request) -> web.StreamResponse:
            named = request.match_info.get("place", "").partition("-")[0]
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            found = [each for each in self._workspaces if each.team_id == named]
            found += [each for each in self._workspaces if token and not named and each.token == token]
            return await handler(found[0] if found else self, request)

        return serve

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self.root = await self._host.start()
        self.session = self._host.session
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
                if self.keeps_rates and (wait := self.rates.wait(name, call.channel, self.clock())):
                    self.limited.append(call)
                    return _limited(wait)
                body = {"ok": True, **await self._dispatch(name, request.headers, sent, is_json=is_json)}
            except Refusal as refusal:
                body = self.refused(refusal)
            call.answer = str(body.get("error", "ok"))
            scopes, date = ",".join(sorted(self.scopes)), formatdate(self.clock(), usegmt=True)
            return web.json_response(body, headers={"X-OAuth-Scopes": scopes, "Date": date})

        return await self._serve(request, call, answer)

    async def _dispatch(
        self, name: str, headers: Mapping[str, str], sent: Mapping[str, Any], *, is_json: bool
    ) -> dict[str, Any]:
        if name == "oauth.v2.access":
            return self.consent.exchange(headers.get("Authorization", ""), sent)
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
            upload = request.match_info["place"]
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
                return web.json_response(self.refused(refusal), status=HTTPStatus.NOT_FOUND)
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
        await self.say(address, sent, Via.RESPONSE_URL)

    async def say(self, address: ResponseUrl, sent: Mapping[str, Any], via: Via) -> Message:
        """Show what an app answers to a command or a click."""
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

    async def _serve(self, request: web.Request, call: Call, answer: Any) -> web.StreamResponse:
        call.fault = self.faults.draw(call.method)
        refusals = {
            Fault.RATE_LIMITED: lambda: _limited(math.ceil(self.faults.retry_after)),  # Slack speaks in whole seconds
            Fault.SERVER_ERROR: lambda: _failed(HTTPStatus.INTERNAL_SERVER_ERROR, "fatal_error"),
        }
        return await self._host.serve(request, call.fault, answer, refusals)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        call = self._note("file")

        async def answer() -> web.StreamResponse:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            file = self._hosted(request.match_info["place"])
            known = scheme == "Bearer" and hmac.compare_digest(token, self.token) and "files:read" in self.scopes
            if not (known and file and self.may_see(file)):
                raise web.HTTPFound(f"{self.root}/sign-in")
            call.answer, content = "ok", file.content or b""
            return web.Response(body=content, content_type=mimetype(content))

        return await self._serve(request, call, answer)

    async def _sign_in(self, _request: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")

    def _hosted(self, place: str) -> File | None:
        return self.files.get(place.removeprefix(f"{self.team_id}-"))

    async def _fetch(self, url: str) -> bytes | None:
        if url in self.seen:
            return self.seen[url]
        found = url
        for true, name in self.public_names.items():
            found = found.replace(f"https://{name}/", f"{true}/")
        with suppress(aiohttp.ClientError, TimeoutError, ValueError):
            async with self.session.get(found, timeout=aiohttp.ClientTimeout(total=2)) as response:
                if response.ok:
                    self.seen[url] = await response.read()
        return self.seen.get(url)


def _limited(seconds: int) -> web.StreamResponse:
    return _failed(HTTPStatus.TOO_MANY_REQUESTS, "ratelimited", {"Retry-After": str(seconds)})


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
