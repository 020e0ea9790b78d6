"""What most tests need: the platforms' stand-ins, and the whole service in front of them."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from bot import local, manifest, web
from tests.fakes.discord import DiscordServer
from tests.fakes.generator import QuickGenerator
from tests.fakes.slack import SlackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from bot.models import Model

os.environ.setdefault("TRITON_INTERPRET", "1")  # kernels for GPUs are computed on the CPU; it counts when Triton is imported


@dataclass
class Service:
    """A running bot."""

    url: str
    studio: local.Studio
    generator: QuickGenerator
    parts: web.Parts
    folder: Path

    def desk_is_busy(self) -> bool:
        """Whether a job is unfinished, by what is written down."""
        with closing(sqlite3.connect(self.folder / "jobs.sqlite3")) as database:
            return bool(database.execute("SELECT 1 FROM jobs WHERE outcome IS NULL").fetchone())


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Let torch use one thread: on toys, several only wait for one another."""
    import torch  # noqa: PLC0415  (most tests need none)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the waits that are there for the sake of others' servers."""
    monkeypatch.setattr("bot.store_local.SYNCHRONOUS", "OFF")  # no power is cut here, and a disk may be busy for seconds
    monkeypatch.setattr("bot.courier.FIRST_WAIT", 0.01)
    monkeypatch.setattr("bot.courier.AT_ONCE", 0.02)
    monkeypatch.setattr("bot.slack_reply.POLL_EVERY", 0.01)
    monkeypatch.setattr("uvicorn.server.asyncio", Hurried())


class Hurried:
    """What uvicorn takes for asyncio. It looks every tenth of a second whether it shall stop, and then waits for another."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.005))


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        server.install(manifest.for_slack())
        yield server
        assert not server.violations


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as server:
        yield server
        assert not server.violations


def environment(slack: SlackServer, discord: DiscordServer) -> dict[str, str]:
    return {
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_BOT_TOKEN": slack.token,
        "SLACK_API_URL": slack.url,
        "DISCORD_PUBLIC_KEY": discord.public_key,
        "DISCORD_APPLICATION_ID": discord.application_id,
        "DISCORD_BOT_TOKEN": discord.bot_token,
        "DISCORD_API_URL": discord.url,
    }


@asynccontextmanager
async def serving(folder: Path, environ: dict[str, str], *, held_up: bool = False) -> AsyncIterator[Service]:
    """Run the bot on a port of this machine, with a generator that draws nothing much."""
    generators: list[QuickGenerator] = []

    def make(model: Model) -> QuickGenerator:
        generators.append(QuickGenerator(model))
        if held_up:
            generators[-1].gate.clear()
        return generators[-1]

    studio = local.Studio(make)
    app = web.create(lambda: local.parts(folder=folder, environ=environ, studio=studio))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve([listener]))
    try:
        await until(lambda: (server.started and bool(generators)) or running.done())
        port = listener.getsockname()[1]
        yield Service(f"http://127.0.0.1:{port}", studio, generators[0], app.state.parts, folder)
    finally:
        server.should_exit = True
        await running
        listener.close()


@pytest.fixture
async def service(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> AsyncIterator[Service]:
    async with serving(tmp_path, environment(slack, discord)) as running:
        yield running


async def until(true: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds, or fail."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)
