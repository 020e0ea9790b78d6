"""The same parts wired for one machine: SQLite, one generator in a process of its own, and whichever platforms have secrets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import platformdirs
import uvicorn
from filelock import FileLock, Timeout

from bot import store_local
from bot.apart import Apart
from bot.courier import Courier, attempt
from bot.desk import Desk
from bot.errors import Told
from bot.models import DEFAULT
from bot.page import Page
from bot.platforms import check, in_discord, in_slack, open_session, states
from bot.request import Event, ImageRequest, Job, Queued, find
from bot.store import Record
from bot.store_local import LocalStore
from bot.turns import Turns
from bot.web import Parts, collect_rarely, create

if TYPE_CHECKING:
    from collections import abc

    from bot.courier import Platform
    from bot.models import Model

log: Final = logging.getLogger(__name__)

LOOK_AGAIN: Final = 2.0  # seconds between two looks at one's place in the queue, and as long again for every
FAR_BACK: Final = 10  # places: far back, it changes little, and a long queue must not keep the whole house busy
DAY: Final = 24 * 3600  # seconds
GRACE: Final = 2  # seconds for what is under way at the doors when we are told to stop; pages that watch would never end


def home() -> Path:
    """Return the folder of the database and the pictures."""
    return Path(os.environ.get("IMAGINE_HOME") or platformdirs.user_data_dir("imagine", appauthor=False))


class Draws(Protocol):
    """What `bot.gen.Generator` does, wherever it is done."""

    def generate(self, request: ImageRequest, *, image: bytes | None = None) -> abc.Generator[Event, None, None]:
        """Yield the events of a drawing, the last one `Finished`; closing the iterator stops it."""

    def stop(self) -> None:
        """Have the drawing that is under way begin no other step; from any thread."""

    def load(self) -> None:
        """Wait until the model is loaded."""

    def close(self) -> None:
        """Let go of the model, at once."""


class Studio:
    """Generators behind a fair queue: one drawing at a time, one model in memory at a time."""

    def __init__(self, make: Callable[[Model], Draws] = Apart) -> None:
        """Take what makes a generator."""
        self._make = make
        self.turns = Turns()
        self.loaded: str | None = None
        self._generator: Draws | None = None
        self._closed = False
        self._thread = ThreadPoolExecutor(1, "studio")

    async def draw(self, job: Job, request: ImageRequest, image: bytes | None) -> AsyncGenerator[Event, None]:
        """Wait for this person's turn, then draw one of a job's requests."""
        with self.turns.queue(job.person, cost=request.n) as ticket:
            while not ticket.called.is_set():
                ahead = self.turns.ahead(ticket)
                yield Queued(ahead)
                with suppress(TimeoutError):
                    await asyncio.wait_for(ticket.called.wait(), LOOK_AGAIN * (1 + ahead / FAR_BACK))
            generator = await self.load(request.model)
            events = generator.generate(request, image=image)
            try:
                while (event := await self._in_thread(next, events, None)) is not None:
                    yield event
            finally:
                generator.stop()  # whoever reads the events hears of it only after the step under way
                await asyncio.shield(self._in_thread(events.close))

    async def load(self, model: str) -> Draws:
        """Have a model ready."""
        generator: Draws = await self._in_thread(self._load, model)
        return generator

    def close(self) -> None:
        """Let go of the model for good, even while it loads or is only about to."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        self.loaded = None
        if self._generator:
            self._generator.close()

    def _load(self, model: str) -> Draws:
        if self._generator is None or self.loaded != model:
            self._let_go()
            self._generator = self._make(find(model))
            if self._closed:  # whoever closed us meanwhile found nothing, and Python would wait for that process at its end
                self._let_go()
                raise RuntimeError("nothing is drawn here any more")
            self._generator.load()
            self.loaded = model
        return self._generator

    async def _in_thread(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class Couriers:
    """Sees each job carried, in this process."""

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[Any]] = set()  # asyncio itself holds tasks only weakly
        self.courier: Courier

    async def take(self, job: Job) -> None:
        """Start on a job that is written down."""
        self.start(self.courier.carry(Record(job=job)))

    async def resume(self) -> None:
        """Start on what was promised before this process began."""
        for record in await self._store.unfinished():
            log.info("job %s goes on after a restart", record.job.id)
            self.start(self.courier.carry(record))

    async def close(self) -> None:
        """Stop; what is under way stays unfinished, and goes on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Do something beside everything else; what goes wrong is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("something went wrong that nobody waits for; an unfinished job goes on at the next start", exc_info=error)


async def _forget_daily(store: LocalStore) -> None:
    while True:
        await asyncio.sleep(DAY)
        failure = await attempt(store.forget())
        if failure:  # there is another day
            log.warning("what is old was not forgotten today: %r", failure)


@asynccontextmanager
async def parts(
    *, folder: Path | None = None, environ: Mapping[str, str] = os.environ, studio: Studio | None = None
) -> AsyncIterator[Parts]:
    """Make everything and wire it up, inside the event loop that will run it."""
    model, studio = DEFAULT, studio or Studio()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(LocalStore(folder or home()))
        session = await stack.enter_async_context(open_session())
        couriers = Couriers(store)
        desk = Desk(store, couriers.take, model)
        page, slack, discord = Page(desk), in_slack(environ, session, desk), in_discord(environ, session, desk)
        on: dict[str, Platform | None] = {"page": page, "slack": slack, "discord": discord}
        platforms = {name: platform for name, platform in on.items() if platform}
        for name, state in states(environ).items():
            log.info("%s is %s", name, state)
        couriers.courier = Courier(draw=studio.draw, store=store, platforms=platforms)
        stack.callback(studio.close)
        stack.push_async_callback(couriers.close)
        await couriers.resume()
        stack.callback(couriers.start(studio.load(model)).cancel)  # the doors are open meanwhile
        stack.callback(couriers.start(_forget_daily(store)).cancel)

        def health() -> Mapping[str, Any]:
            return {
                "model": {"name": model, "loaded": studio.loaded == model},
                "queue": {"waiting": studio.turns.waiting, "drawing": int(studio.turns.serving)},
                "platforms": {"page": "on", **states(environ)},
            }

        yield Parts(slack=slack, discord=discord, page=page, picture=store.png, health=health)


class _Server(uvicorn.Server):
    """A server that says where it is reached, once it is."""

    def __init__(self, config: uvicorn.Config, reached: Callable[[str], None]) -> None:
        super().__init__(config)
        self._reached = reached

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the doors; uvicorn ends the process where it cannot."""
        await super().startup(sockets)
        host, port = self.config.host, self.servers[0].sockets[0].getsockname()[1]  # which is chosen for us where we say 0
        self._reached(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def serve(host: str, port: int, reached: Callable[[str], None]) -> None:
    """Run the whole service until it is told to stop; `reached` is told its address as soon as somebody answers there."""
    check(os.environ)  # complain before anything starts
    folder = home()
    collect_rarely()
    with _locked(folder):
        asyncio.run(store_local.check(folder))  # uvicorn would make a traceback of what is found only inside it
        config = uvicorn.Config(
            create(parts), host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=GRACE
        )
        with suppress(KeyboardInterrupt):
            _Server(config, reached).run()


def _locked(folder: Path) -> AbstractContextManager[object]:
    """Have a folder for ourselves alone."""
    try:
        store_local.make_private(folder)
        return FileLock(folder / "lock", timeout=0).acquire()
    except Timeout:
        raise Told(f"Another `imagine serve` is using {folder}. Stop it, or set IMAGINE_HOME to another folder.") from None
    except OSError as error:
        raise store_local.unusable(folder, error) from error
