"""A server that plays Discord: its REST API, and the people who use commands and press buttons.

https://discord.com/developers/docs/intro
"""

import json
import math
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.fakes.discord_bodies import received
from tests.fakes.discord_limits import Limit
from tests.fakes.discord_people import Answer, People
from tests.fakes.discord_routes import ROUTES, Asked, Route
from tests.fakes.discord_world import Attachment, Call, Refusal
from tests.fakes.faults import Fault, Faults
from tests.fakes.host import Host

__all__ = ["Answer", "DiscordServer"]

VIA = {"Via": "1.1 google"}  # discord.py takes a 429 without it for a ban
DOWNLOAD = "download"  # the name by which the delivery of files can be made to fail


class DiscordServer(People):
    """`async with DiscordServer() as discord:` and let discord.py's `Route.BASE` be `discord.url`."""

    def __init__(self, **world: Any) -> None:
        super().__init__(**world)
        self.faults = Faults(retry_after=0.05)
        self.scope = "user"  # of rate limits: user, global or shared
        self.limit = Limit()  # of calls with one token
        self.url = ""
        routes = [web.route(r.method, f"/api/v10{r.path}", partial(self._api, r)) for r in ROUTES]
        kinds = ("attachments", "ephemeral-attachments")
        files = [web.get(f"/{kind}/{{channel}}/{{id}}/{{filename}}", self._download) for kind in kinds]
        self._host = Host([*routes, *files, web.route("*", "/{path:.*}", self._unknown)])

    async def __aenter__(self) -> Self:
        """Start to listen."""
        self.root = await self._host.start()
        self.url = f"{self.root}/api/v10"
        self.session = self._host.session
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, however many clients still wait."""
        await self._host.stop()

    async def _api(self, route: Route, request: web.Request) -> web.StreamResponse:
        call = Call(time=self.clock(), route=route.name, path=request.path)
        self.calls.append(call)
        call.fault = self.faults.draw(route.name)

        async def answer() -> web.StreamResponse:
            too_many, headers = self._counted(route, request)
            if too_many:
                return self._too_often(route, headers)
            try:
                body = await self._dispatch(route, request)
                response = _json(body, headers=headers) if body is not None else web.Response(status=204, headers=headers)
            except Refusal as refusal:
                self.blame(refusal)
                response = _json(refusal.body, refusal.status, headers)
            call.status = response.status
            return response

        refusals = {Fault.RATE_LIMITED: self._rate_limited, Fault.SERVER_ERROR: _broken}
        return await self._host.serve(request, call.fault, answer, refusals)

    async def _dispatch(self, route: Route, request: web.Request) -> Any:
        if not route.is_open and request.headers.get("Authorization") != f"Bot {self.bot_token}":
            blame = None if "Authorization" in request.headers else f"{route.name} was called without a bot token."
            await request.read()
            raise Refusal(401, 0, "401: Unauthorized", blame)
        body = await received(request, self.attachment_size_limit)
        return await route.do(self, Asked(path=request.match_info, query=request.query, body=body))

    def _counted(self, route: Route, request: web.Request) -> tuple[bool, dict[str, str]]:
        """Count a call with an interaction's token: each token has a limit of its own, and no other."""
        return self.limit.take(request.match_info["token"]) if route.path.startswith("/webhooks") else (False, {})

    def _too_often(self, route: Route, headers: Mapping[str, str]) -> web.Response:
        self.violations.append(f"{route.name} was called although the headers said that nothing was left.")
        wait = float(headers["X-RateLimit-Reset-After"])
        body = {"message": "You are being rate limited.", "retry_after": wait, "global": False}
        return _json(body, 429, {**headers, "Retry-After": str(math.ceil(wait)), "X-RateLimit-Scope": "user"})

    async def _unknown(self, request: web.Request) -> web.StreamResponse:
        self.violations.append(f"There is no route {request.method} {request.path} here.")
        return _json({"message": "404: Not Found", "code": 0}, 404)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        """Deliver a file, which needs no token but an address that was signed not too long ago."""
        call = Call(time=self.clock(), route=DOWNLOAD, path=request.path, fault=self.faults.draw(DOWNLOAD))
        self.calls.append(call)
        sent = [a for message in self.messages if not message.deleted for a in message.attachments]
        found = next((a for a in [*self.uploads.values(), *sent] if a.id == request.match_info["id"]), None)

        async def answer() -> web.StreamResponse:
            if not found or not self.may_fetch(found, request.query):
                return web.Response(text="This content is no longer available.", status=404)
            return _delivered(found)

        response = await self._host.serve(request, call.fault, answer, {Fault.SERVER_ERROR: _broken})
        call.status = response.status
        return response

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


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    raw = json.dumps(body).encode()  # and no charset: discord.py reads only plain application/json
    return web.Response(body=raw, status=status, content_type="application/json", headers={**VIA, **(headers or {})})


def _broken() -> web.StreamResponse:
    return _json({"message": "500: Internal Server Error", "code": 0}, 500)


def _delivered(file: Attachment) -> web.Response:
    if file.redirect:
        return web.Response(status=302, headers={"Location": file.redirect})
    return web.Response(body=file.content, content_type=file.content_type or "application/octet-stream")
