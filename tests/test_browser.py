"""The chat page in a real browser, driven through the DevTools protocol. https://chromedevtools.github.io/devtools-protocol

Chromium is not among the packages that `make setup` can install, so without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


class Tab:
    """One page in the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._ids = socket, itertools.count(1)
        self.complaints: list[str] = []  # what its console and its loader said was wrong

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one DevTools command, and return its result."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message: dict[str, Any] = await self._socket.receive_json(timeout=20)
            if message.get("id") == number:
                return dict(message["result"])
            if message.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded", "Page.javascriptDialogOpening"}:
                self.complaints.append(str(message["params"]))

    async def ask(self, script: str) -> Any:
        """Run JavaScript in the page; return what it evaluates to, once it is there."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until JavaScript in the page evaluates to something true; return it."""
        async with asyncio.timeout(20):
            while not (value := await self.ask(script)):
                await asyncio.sleep(0.05)
            return value

    async def type(self, text: str) -> None:
        """Type into whatever has the focus, and press Enter."""
        await self.call("Input.insertText", text=text)
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")


@asynccontextmanager
async def tab_at(url: str, profile: Path) -> AsyncIterator[Tab]:
    """Start a browser of our own, and open a page."""
    process = await asyncio.create_subprocess_exec(
        *(str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "about:blank"), stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not (found := re.search(rb"ws://([\d.:]+)/", await process.stderr.readline())):
                pass
            async with session.get(f"http://{found[1].decode()}/json/list") as response:
                page = next(each for each in await response.json() if each["type"] == "page")
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket,
        ):
            tab = Tab(socket)
            for domain in ("Runtime", "Log", "Page"):
                await tab.call(f"{domain}.enable")
            await tab.call("Page.navigate", url=url)
            await tab.until("document.readyState === 'complete' && document.activeElement.matches('input, textarea')")
            yield tab
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def tab(service: Service, tmp_path: Path) -> AsyncIterator[Tab]:
    async with tab_at(service.url, tmp_path / "profile") as tab:
        yield tab
        assert not tab.complaints


SHOWN = "[...document.images].filter(i => i.complete && i.naturalWidth && i.src.includes('/pictures/'))"


async def test_a_command_that_is_typed_becomes_a_picture(tab: Tab, service: Service) -> None:
    service.generator.gate.clear()
    await tab.type("a red fox in the snow --seed 7")
    await tab.until("document.body.innerText.includes('Drawing')")
    service.generator.step_seconds = 0.05
    service.generator.gate.set()
    await tab.until("document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') > 20")
    await tab.until(f"{SHOWN}.length === 1")
    assert await tab.ask(f"{SHOWN}[0].alt") == "a red fox in the snow"
    assert "seed 7" in await tab.ask("document.body.innerText")


async def test_hostile_words_are_only_words(tab: Tab) -> None:
    await tab.type("<img src=x onerror=alert(1)> <script>alert(2)</script> @everyone")
    await tab.until(f"{SHOWN}.length === 1")
    assert "<script>alert(2)</script>" in await tab.ask("document.body.innerText")


async def test_what_cannot_be_drawn_is_told(tab: Tab) -> None:
    await tab.type("a fox --sede 7")
    await tab.until("document.body.innerText.includes('Did you mean --seed?')")


async def test_a_reload_shows_the_same_pictures(tab: Tab) -> None:
    await tab.type("a red fox --n 2")
    await tab.until(f"{SHOWN}.length === 2")
    await tab.call("Page.reload")
    await tab.until(f"{SHOWN}.length === 2")
