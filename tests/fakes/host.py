"""A real HTTP server on a free port of this machine, which can fail on demand and always closes quickly."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

import aiohttp
from aiohttp import web

from tests.fakes.faults import Fault

MAX_REQUEST = 64 * 2**20  # bytes; the platforms' own limits are checked where they belong
RESET = struct.pack("ii", 1, 0)  # linger zero seconds: close by RST, not FIN

Answer = Callable[[], Awaitable[web.StreamResponse]]
Refusals = Mapping[Fault, Callable[[], web.StreamResponse]]


class Host:
    """Serves some routes, and lends a client session for the platform's own outgoing requests."""

    def __init__(self, routes: Iterable[web.AbstractRouteDef]) -> None:
        app = web.Application(client_max_size=MAX_REQUEST)
        app.add_routes(routes)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, access_log=None)
        self._closing = asyncio.Event()
        self.session: aiohttp.ClientSession

    async def start(self) -> str:
        """Listen, and say where."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, backlog=2048)
        await site.start()
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Let go of everyone, those left hanging first."""
        self._closing.set()
        await self.session.close()
        await self._runner.cleanup()

    async def serve(self, request: web.Request, fault: Fault | None, answer: Answer, refusals: Refusals) -> web.StreamResponse:
        """Answer, unless a fault strikes."""
        if fault and fault in refusals:
            await request.read()
            return refusals[fault]()
        if fault is Fault.HANG:
            return await self._hang(request)
        if fault is Fault.RESET:
            return _reset(request)
        response = await answer()
        if fault is Fault.HANG_AFTER:
            return await self._hang(request)
        return _reset(request) if fault is Fault.LOST_ANSWER else response

    async def _hang(self, request: web.Request) -> web.StreamResponse:
        while not self._closing.is_set() and request.transport is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), 0.05)
        return _reset(request)


def _reset(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        request.transport.abort()
    return web.Response()  # never leaves: the connection is gone
