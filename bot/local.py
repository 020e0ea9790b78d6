"""The same parts wired for one machine: SQLite, one generator in this process, and whichever platforms have secrets."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import aiohttp
import platformdirs
import uvicorn
from filelock import FileLock, Timeout

from bot import discord, slack
from bot.apart import Apart
from bot.courier import Courier
from bot.errors import NotTaken, Told, Undelivered
from bot.models import DEFAULT, MODELS
from bot.page import Page
from bot.request import Event, ImageRequest, Job, Queued, find
from bot.store import LocalStore, Record
from bot.turns import Turns
from bot.web import Parts, create

if TYPE_CHECKING:
    from collections import abc

    from bot.courier import Platform
    from bot.models import Model

log: Final = logging.getLogger(__name__)

HAND_OVER: Final = 1.5  # seconds to write a job down before we say that we could not
LOOK_AGAIN: Final = 2.0  # seconds between two looks at one's place in the queue, and as long again for every
FAR_BACK: Final = 10  # places: far back, it changes little, and a long queue must not keep the whole house busy
GRACE: Final = 2  # seconds for what is under way at the doors when we are told to stop; pages that watch would never end
TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)  # seconds, for one call of a platform


def home() -> Path:
    """Return the folder of the database and the pictures."""
    return Path(os.environ.get("IMAGINE_HOME") or platformdirs.user_data_dir("imagine", appauthor=False))


def default_model() -> str:
    """Return the model that draws where people name none."""
    name = os.environ.get("IMAGINE_MODEL") or DEFAULT
    if name not in MODELS:
        raise Told(f"IMAGINE_MODEL is “{name}”, which is not a model here. There is: {', '.join(MODELS)}.")
    return name


class Draws(Protocol):
    """What `bot.gen.Generator` does, wherever it is done."""

    def generate(self, request: ImageRequest) -> abc.Generator[Event, None, None]:
        """Yield the events of a drawing, the last one `Finished`; closing the iterator stops it."""

    def close(self) -> None:
        """Let go of the model."""


class Studio:
    """Generators behind a fair queue: one drawing at a time, one model in memory at a time."""

    def __init__(self, make: Callable[[Model], Draws] = Apart) -> None:
        """Take what makes a generator."""
        self._make = make
        self.turns = Turns()
        self.loaded: str | None = None
        self._generator: Draws
        self._thread = ThreadPoolExecutor(1, "studio")

    async def draw(self, job: Job) -> AsyncIterator[Event]:
        """Wait for this person's turn, then draw."""
        with self.turns.queue(job.person, cost=job.request.n) as ticket:
            while not ticket.called.is_set():
                ahead = self.turns.ahead(ticket)
                yield Queued(ahead)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ticket.called.wait(), LOOK_AGAIN * (1 + ahead / FAR_BACK))
            await self.load(job.request.model)
            events = self._generator.generate(job.request)
            try:
                while (event := await self._in_thread(next, events, None)) is not None:
                    yield event
            finally:
                await asyncio.shield(self._in_thread(events.close))

    async def load(self, model: str) -> None:
        """Have a model ready."""
        await self._in_thread(self._load, model)

    def close(self) -> None:
        """Let go of the model."""
        if self.loaded:
            self.loaded = None
            self._generator.close()

    def _load(self, model: str) -> None:
        if self.loaded != model:
            self.close()
            self._generator = self._make(find(model))
            self.loaded = model

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class Desk:
    """Takes jobs in, and sees each carried."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()  # asyncio itself holds tasks only weakly
        self.courier: Courier

    async def submit(self, job: Job) -> Job:
        """Write a job down, then start on it. Raises `NotTaken` where that does not work at once."""
        try:
            async with asyncio.timeout(HAND_OVER):
                held = await self._store.claim(job)
        except (sqlite3.Error, OSError) as error:  # a timeout is an OSError
            log.exception("job %s was not taken", job.id)
            if isinstance(error, TimeoutError):  # it may yet be written down, and nobody waits for it any more
                self._start(self._store.finish(job.id, "not taken"))
            raise NotTaken from error
        if held.id == job.id:
            self._start(self.courier.carry(Record(job=job)))
        return held

    async def resume(self) -> None:
        """Start on what was promised before this process began."""
        for record in await self._store.unfinished():
            log.info("job %s goes on after a restart", record.job.id)
            self._start(self.courier.carry(record))

    async def close(self) -> None:
        """Stop; what is under way stays unfinished, and goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a job was left unfinished, and goes on at the next start", exc_info=error)


@asynccontextmanager
async def parts(
    *, folder: Path | None = None, environ: Mapping[str, str] = os.environ, studio: Studio | None = None
) -> AsyncIterator[Parts]:
    """Make everything and wire it up, inside the event loop that will run it."""
    model, studio = default_model(), studio or Studio()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(LocalStore(folder or home()))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=TIMEOUT))
        desk = Desk(store)
        page = Page(submit=desk.submit, store=store, model=model)
        common = {"session": session, "submit": desk.submit, "model": model}
        in_slack = _slack(environ, common)
        in_discord = _discord(environ, common)
        on: dict[str, Platform | None] = {"page": page, "slack": in_slack, "discord": in_discord}
        platforms = {name: platform for name, platform in on.items() if platform}
        desk.courier = Courier(draw=studio.draw, store=store, platforms=platforms)
        stack.callback(studio.close)
        stack.push_async_callback(desk.close)
        await desk.resume()
        loading = asyncio.create_task(studio.load(model))  # the doors are open meanwhile
        stack.callback(loading.cancel)

        def health() -> Mapping[str, Any]:
            return {
                "model": {"name": model, "loaded": studio.loaded == model},
                "queue": {"waiting": studio.turns.waiting, "drawing": int(studio.turns.serving)},
                "platforms": {"page": "on", **platform_states(environ)},
            }

        yield Parts(slack=in_slack, discord=in_discord, page=page, pictures=store.pictures, health=health)


def serve(host: str, port: int) -> None:
    """Run the whole service until it is told to stop."""
    default_model()  # complain before anything starts
    folder = home()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts and tokens of interactions are in there
    try:
        with FileLock(folder / "lock", timeout=0):
            uvicorn.run(create(parts), host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE)
    except Timeout:
        raise Told(f"Another `imagine serve` is using {folder}. Stop it, or set IMAGINE_HOME to another folder.") from None


def _slack(environ: Mapping[str, str], common: dict[str, Any]) -> slack.Slack | None:
    if _missing(slack.ENVIRONMENT, environ):
        return None
    return slack.Slack(
        signing_secret=environ["SLACK_SIGNING_SECRET"],
        token=environ["SLACK_BOT_TOKEN"],
        api_url=environ.get("SLACK_API_URL") or slack.API_URL,
        **common,
    )


def _discord(environ: Mapping[str, str], common: dict[str, Any]) -> discord.Discord | None:
    if _missing(discord.ENVIRONMENT, environ):
        return None
    return discord.Discord(
        public_key=environ["DISCORD_PUBLIC_KEY"],
        application_id=environ["DISCORD_APPLICATION_ID"],
        token=environ["DISCORD_BOT_TOKEN"],
        api_url=environ.get("DISCORD_API_URL") or discord.API_URL,
        **common,
    )


def _missing(names: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    return [name for name in names if not environ.get(name)]


def platform_states(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Say of each platform whether it is on, and what it lacks."""
    states = {}
    for name, names in (("slack", slack.ENVIRONMENT), ("discord", discord.ENVIRONMENT)):
        missing = _missing(names, environ)
        states[name] = f"off: set {', '.join(missing)}" if missing else "on"
    return states


async def register(environ: Mapping[str, str] = os.environ) -> int:
    """Put our commands to Discord; return how many it knows."""
    if missing := _missing(discord.ENVIRONMENT, environ):
        raise Told(f"Set {', '.join(missing)} first; they are on your application's pages in Discord's developer portal.")
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        common = {"session": session, "submit": _not_here, "model": default_model()}
        try:
            platform = _discord(environ, common)
            return await platform.register() if platform else 0
        except Undelivered as error:
            raise Told(
                f"Discord did not take the commands ({error}). Check DISCORD_APPLICATION_ID and DISCORD_BOT_TOKEN."
            ) from error


async def _not_here(_job: Job) -> Job:
    raise NotTaken
