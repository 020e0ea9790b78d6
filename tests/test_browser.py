"""The chat page in a real browser, driven through the DevTools protocol. https://chromedevtools.github.io/devtools-protocol

Chromium is not among the packages that `make setup` can install, so without it these tests are skipped.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from PIL import Image

from bot.command import write

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

    async def until(self, script: str, seconds: float = 20) -> Any:
        """Wait until JavaScript in the page evaluates to something true; return it."""
        async with asyncio.timeout(seconds):
            while not (value := await self.ask(script)):
                await asyncio.sleep(0.05)
            return value

    async def type(self, text: str) -> None:
        """Type into whatever has the focus, and press Enter."""
        await self.call("Input.insertText", text=text)
        await self.enter()

    async def enter(self) -> None:
        """Press Enter."""
        for kind in ("keyDown", "keyUp"):
            await self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")

    async def press(self, label: str) -> None:
        """Wait for a button, and press the newest one of that name with the keyboard."""
        buttons = f"[...document.querySelectorAll('button')].filter(b => b.textContent === '{label}' && b.checkVisibility())"
        await self.until(f"{buttons}.length > 0")
        await self.ask(f"{buttons}.at(-1).focus()")
        await self.enter()

    async def choose(self, selector: str, *files: Path) -> None:
        """Choose files, as in the window that a file button opens."""
        found = await self.call("Runtime.evaluate", expression=f"document.querySelector('{selector}')")
        names = [str(file) for file in files]
        await self.call("DOM.setFileInputFiles", files=names, objectId=found["result"]["objectId"])


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
    service.generator.holds = {1}
    service.generator.gate.set()
    await tab.until("document.querySelector('[role=progressbar]')?.getAttribute('aria-valuenow') > 20")
    service.generator.gate.set()
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


TEXT = "document.body.innerText"


async def test_a_picture_is_varied_upscaled_edited_and_deleted(tab: Tab, service: Service) -> None:
    await tab.type("a red fox --seed 7 --style oil")
    await tab.press("Vary")
    await tab.until(f"{SHOWN}.length === 5")
    await tab.press("Upscale 3")
    await tab.until(f"{SHOWN}.length === 6")
    await tab.press("Details")
    await tab.until("!!document.querySelector('.details code')?.textContent.includes('--upscale 2')")
    await tab.press("Edit")
    await tab.until("edit.open")
    form = await tab.ask("Object.fromEntries(new FormData(fields))")
    assert (form["prompt"], form["style"], form["seed"], form["upscale"]) == ("a red fox", "oil", "7", "2")
    await tab.ask("fields.elements.steps.select()")
    await tab.type("999")
    await tab.until("wrong.textContent.startsWith('Steps must be from 1 to 50')")
    assert await tab.ask("fields.elements.prompt.value") == "a red fox"
    await tab.ask("fields.elements.steps.select()")
    await tab.type("6")
    await tab.until(f"{SHOWN}.length === 7 && !edit.open")
    assert service.generator.drawn[-1].num_inference_steps == 6
    await tab.ask("window.confirm = () => true")
    await tab.press("Delete")
    await tab.until(f"{SHOWN}.length === 6 && news.textContent === 'Deleted.'")
    await tab.call("Page.reload")
    await tab.until(f"{SHOWN}.length === 6")
    labels = await tab.ask("[...document.querySelectorAll('.you')].map(each => each.textContent)")
    assert labels == [
        "/imagine a red fox --seed 7 --style oil",
        "Vary a red fox, oil painting",
        "Upscale 3 a red fox, oil painting",
    ]


async def test_a_drawing_is_seen_before_it_is_done_and_cancelled(tab: Tab, service: Service) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "JPEG")
    service.generator.preview = buffer.getvalue()
    service.generator.step_seconds = 0.3
    await tab.type("a red fox --steps 50")
    await tab.until("document.querySelector('.frame img')?.naturalWidth === 8")
    await tab.press("Cancel")
    await tab.until(f"{TEXT}.includes('Cancelled.') && news.textContent === 'Cancelled.'")
    assert await tab.ask("document.activeElement.textContent") == "Redraw"  # where the button was that had the focus
    assert service.generator.drawn == []


async def test_a_picture_is_attached_and_started_from(tab: Tab, service: Service, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), "red").save(tmp_path / "red.png")
    (tmp_path / "no.png").write_text("no picture")
    await tab.choose("#file", tmp_path / "no.png")
    await tab.until(f"{TEXT}.includes('not a picture that I can read')")
    await tab.choose("#file", tmp_path / "red.png")
    await tab.until("document.querySelector('#attached .thumb').naturalWidth === 144")
    await tab.type("a house --strength 0.4")
    await tab.until(f"{SHOWN}.length === 1")
    assert "strength 0.4" in await tab.ask(TEXT)
    assert [start is not None for start in service.generator.started_from] == [True]
    assert await tab.ask("document.querySelector('.you .thumb').alt") == "the picture it starts from"
    pasted = """(async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 4, height: 4 });
      canvas.getContext("2d");
      const files = new DataTransfer();
      files.items.add(new File([await new Promise((done) => canvas.toBlob(done))], "a.png", { type: "image/png" }));
      const [target, event] = NAME === "paste"
        ? [input, new ClipboardEvent(NAME, { clipboardData: files, cancelable: true })]
        : [document.body, new DragEvent(NAME, { dataTransfer: files, cancelable: true, bubbles: true })];
      return !target.dispatchEvent(event);
    })()"""
    for name in ("paste", "drop"):
        assert await tab.ask(pasted.replace("NAME", f"'{name}'"))
        await tab.until("held !== null")
        await tab.press("Remove")
        await tab.until("held === null && attached.hidden")


async def test_details_can_be_copied_and_break_no_flag_in_two(tab: Tab, service: Service) -> None:
    await tab.type(f"a red fox --vary {','.join(['4294967295:0.25'] * 10)}")
    await tab.until(f"{SHOWN}.length === 1")
    details = "[...document.querySelectorAll('button')].find(b => b.textContent === 'Details')"
    assert await tab.ask(f"{details}.ariaExpanded") == "false"
    await tab.call("Emulation.setDeviceMetricsOverride", width=320, height=700, deviceScaleFactor=1, mobile=True)
    await tab.press("Details")
    await tab.until(f"{details}.ariaExpanded === 'true'")
    command = f"/imagine {write(service.generator.drawn[0])}"
    assert (
        await tab.ask("getSelection().selectAllChildren(document.querySelector('code')), getSelection().toString()") == command
    )
    shown = await tab.ask("[...document.querySelectorAll('.details .word')].map(word => word.textContent)")
    assert shown == command.split(" ")
    assert await tab.ask("document.documentElement.scrollWidth") == 320


async def test_many_pictures_are_asked_for_first(tab: Tab, service: Service) -> None:
    await tab.type("a {red,blue} fox")
    await tab.press("No")
    await tab.until("input.value === 'a {red,blue} fox' && document.activeElement === input")
    await tab.enter()
    await tab.press("Draw 2 pictures")
    await tab.until(f"{SHOWN}.length === 2")
    assert [request.prompt for request in service.generator.drawn] == ["a red fox", "a blue fox"]
    await tab.press("Edit")
    await tab.until("edit.open")
    await tab.ask("fields.elements.steps.select()")
    await tab.type("6")
    await tab.press("No")
    await tab.until("edit.open && fields.elements.steps.value === '6'")
    assert await tab.ask("fields.elements.prompt.value") == "a {red,blue} fox"


async def test_the_page_speaks_german(tab: Tab) -> None:
    await tab.call("Network.enable")
    await tab.call("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de-AT"})
    await tab.call("Page.reload")
    await tab.until(
        "document.readyState === 'complete' && document.documentElement.lang === 'de' && document.activeElement?.id === 'words'"
    )
    await tab.type("a fox --sede 7")
    await tab.until(f"{TEXT}.includes('Meintest du --seed?')")
    await tab.type("a fox")
    await tab.press("Vergrößern")
    await tab.until(f"{SHOWN}.length === 2")
    assert "4 Schritte" in await tab.ask(TEXT)


async def test_a_bot_that_cannot_be_reached_is_asked_again(tab: Tab, service: Service) -> None:
    await tab.ask("window.there = fetch; window.fetch = async () => { throw new TypeError(); }; PAUSES.length = 0")
    await tab.type("a red fox --seed 7")
    await tab.until(f"{TEXT}.includes('I still cannot reach the bot.')")
    await tab.ask("window.fetch = there")
    await tab.press("Try again")
    await tab.until(f"{SHOWN}.length === 1")
    assert len(service.generator.drawn) == 1
