"""What must be remembered, on one machine: SQLite, and a folder."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import sqlite3
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, TypeVar

from bot import recipe
from bot.errors import BadRequest, Told
from bot.request import NOT_TAKEN, ImageRequest, Job, Picture
from bot.store import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

log: Final = logging.getLogger(__name__)

T = TypeVar("T")
Work: TypeAlias = "Callable[[sqlite3.Connection], T]"

SYNCHRONOUS: Final = "FULL"  # what we promise outlives a power cut, not just a crash
KEPT_FOR: Final = 30 * 24 * 3600  # seconds: how long jobs and pictures can be asked for again

IMAGE: Final = "json_extract(job, '$.request.image')"  # the name of the picture that a job starts from
SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS jobs (
    id      TEXT PRIMARY KEY,
    claim   TEXT NOT NULL UNIQUE,
    job     TEXT NOT NULL,
    notes   TEXT NOT NULL DEFAULT '{{}}',
    outcome TEXT,
    made    REAL NOT NULL,
    ended   REAL
);
CREATE TABLE IF NOT EXISTS papers (
    name    TEXT PRIMARY KEY,
    text    TEXT NOT NULL,
    made    REAL NOT NULL,
    forever INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS unfinished ON jobs (made) WHERE outcome IS NULL;
CREATE INDEX IF NOT EXISTS started_from ON jobs ({IMAGE});
"""


class LocalStore:
    """A `Store` in one folder: `jobs.sqlite3`, `pictures/` with a folder for each job, and `files/` with what people bring."""

    def __init__(self, home: Path) -> None:
        self._home, self._pictures, self._files = home, home / "pictures", home / "files"
        self._path = home / "jobs.sqlite3"
        self._thread = ThreadPoolExecutor(1, "store")  # the connection that writes is used here only
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._cancelled: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)  # of jobs that somebody carries
        self._database: sqlite3.Connection
        self._reader: sqlite3.Connection

    @classmethod
    @contextmanager
    def read_only(cls, home: Path) -> Iterator[Self]:
        """Open what is there, to look at: nothing is made, changed or forgotten. Raises `Told` where it cannot be read."""
        store = cls(home)
        try:
            if not store._path.exists():
                raise Told(f"No bot has kept anything in {home}. IMAGINE_HOME names the folder.")
            with closing(sqlite3.connect(_to_read(store._path), uri=True)) as store._reader:
                yield store
        except (OSError, sqlite3.Error) as error:
            raise Told(
                f"What is kept in {home} cannot be read: {_reason(error)}. "
                "IMAGINE_HOME names the folder; only whoever runs the bot may read it."
            ) from error

    async def __aenter__(self) -> Self:
        self._database = await self._in_thread(self._open)
        self._reader = sqlite3.connect(self._path, isolation_level=None)
        await self.forget()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reader.close()
        await self._in_thread(self._database.close)
        self._thread.shutdown()

    async def claim(self, job: Job) -> Job:
        insert = "INSERT INTO jobs (id, claim, job, made) VALUES (?, ?, ?, ?) ON CONFLICT (claim) DO NOTHING"
        holder = "SELECT job FROM jobs WHERE claim = ?"

        values = job.id, job.claim, job.dump(), time.time()
        "".join(values[:3]).encode()  # what cannot be written fails here, alone

        def write(database: sqlite3.Connection) -> Job:
            if database.execute(insert, values).rowcount:
                return job
            return Job.load(database.execute(holder, (job.claim,)).fetchone()[0])

        return await self._write(write)

    async def note(self, job_id: str, **facts: Any) -> None:
        # Set to null first: a patch of an object onto an object would merge the two.
        patch = "UPDATE jobs SET notes = json_patch(json_patch(notes, ?), ?) WHERE id = ?"
        values = json.dumps(dict.fromkeys(facts)), json.dumps(facts), job_id
        await self._write(lambda database: database.execute(patch, values))

    async def finish(self, job_id: str, outcome: str) -> None:
        update = "UPDATE jobs SET outcome = ?, ended = ? WHERE id = ?"
        await self._write(lambda database: database.execute(update, (outcome, time.time(), job_id)))

    async def record(self, job_id: str) -> Record | None:
        found = self._select("WHERE id = ?", job_id)
        return found[0] if found else None

    async def unfinished(self) -> Sequence[Record]:
        return self._select("WHERE outcome IS NULL ORDER BY made, rowid")

    async def durations(self, last: int) -> Sequence[float]:
        drew = "ended IS NOT NULL AND outcome != ? AND json_extract(job, '$.errand') = ''"
        query = f"SELECT ended - made FROM jobs WHERE {drew} ORDER BY ended DESC LIMIT ?"  # noqa: S608  it stands here
        return [seconds for (seconds,) in self._read(query, NOT_TAKEN, last)]

    def _select(self, which: str, *values: str) -> list[Record]:
        query = f"SELECT job, notes, outcome, made FROM jobs {which}"  # noqa: S608  `which` is one of those that stand here
        return [
            Record(job=Job.load(job), notes=json.loads(notes), outcome=outcome, made=made)
            for job, notes, outcome, made in self._read(query, *values)
        ]

    async def keep(self, job_id: str, pictures: Sequence[Picture]) -> None:
        def write() -> None:
            make_private(self._pictures)
            folder, draft = self._pictures / job_id, self._draft(job_id)
            shutil.rmtree(draft, ignore_errors=True)
            try:
                _write_pictures(draft, pictures)
                if folder.exists():
                    shutil.rmtree(folder)
                draft.rename(folder)  # all at once: a half-written set is never taken for a whole one
            finally:
                shutil.rmtree(draft, ignore_errors=True)

        await asyncio.to_thread(write)

    async def pictures(self, job_id: str) -> Sequence[Picture]:
        def read() -> list[Picture]:
            paths = sorted((self._pictures / job_id).glob("*.png"), key=lambda path: int(path.stem))
            try:
                requests = [ImageRequest.restore(recipe.fields(recipe.text_of(path))) for path in paths]
            except BadRequest:
                log.exception("the pictures of job %s are damaged", job_id)
                return []
            return [Picture(png=path.read_bytes(), request=request) for path, request in zip(paths, requests, strict=True)]

        return await asyncio.to_thread(read)

    async def is_drawn(self, job_id: str) -> bool:
        return (self._pictures / job_id).is_dir()

    async def png(self, job_id: str, index: int) -> bytes | None:
        return await asyncio.to_thread(_content, self._pictures / job_id / f"{index}.png")

    async def drop(self, job_id: str) -> None:
        for folder in (self._pictures / job_id, self._draft(job_id)):  # the latter if we were killed while we kept them
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def cancel(self, job_id: str) -> None:
        try:
            await self.note(job_id, cancelled=True)
        except asyncio.CancelledError:  # who waits no longer for its being written down cannot keep it from being so
            self._tell(job_id)
            raise
        self._tell(job_id)

    def _tell(self, job_id: str) -> None:
        """Tell whoever carries a job that it is cancelled."""
        if job_id in self._cancelled:
            self._cancelled[job_id].set()

    async def cancelled(self, job_id: str) -> None:
        try:
            event = self._cancelled[job_id]  # before we look, or it could come in between
            query = "SELECT 1 FROM jobs WHERE id = ? AND json_extract(notes, '$.cancelled')"
            if not self._read(query, job_id):
                await event.wait()
        finally:
            self._cancelled.pop(job_id, None)

    async def remember(self, name: str, text: str, *, forever: bool = False) -> None:
        upsert = "INSERT OR REPLACE INTO papers (name, text, made, forever) VALUES (?, ?, ?, ?)"
        await self._write(lambda database: database.execute(upsert, (name, text, time.time(), forever)))

    async def recall(self, name: str) -> str | None:
        query = "SELECT text FROM papers WHERE name = ?"
        # In the thread, one after the other: read on the spot, a crowd's commands come to their claims in the same moment, and
        # the clock of each runs out over all the others.
        found = await self._in_thread(lambda: self._database.execute(query, (name,)).fetchone())
        return found[0] if found else None

    async def erase(self, name: str) -> None:
        await self._write(lambda database: database.execute("DELETE FROM papers WHERE name = ?", (name,)))

    async def first(self, name: str, who: str) -> str:
        insert = "INSERT INTO papers (name, text, made, forever) VALUES (?, ?, ?, 0) ON CONFLICT (name) DO NOTHING"
        holder = "SELECT text FROM papers WHERE name = ?"
        name = f"once {name}"

        def write(database: sqlite3.Connection) -> str:
            database.execute(insert, (name, who, time.time()))
            return str(database.execute(holder, (name,)).fetchone()[0])

        return await self._write(write)

    async def keep_file(self, name: str, content: bytes) -> None:
        def write() -> None:
            make_private(self._files)
            draft = self._files / f"{name}.draft"
            draft.write_bytes(content)
            draft.replace(self._files / name)

        await asyncio.to_thread(write)

    async def file(self, name: str) -> bytes | None:
        return await asyncio.to_thread(_content, self._files / name)

    async def drop_file(self, name: str) -> None:
        await asyncio.to_thread((self._files / name).unlink, missing_ok=True)

    async def started_from(self, image: str) -> Sequence[Record]:
        return self._select(f"WHERE {IMAGE} = ? ORDER BY made, rowid", image)

    def folder(self, job_id: str) -> Path:
        """Return where the pictures of a job are kept."""
        return self._pictures / job_id

    def _draft(self, job_id: str) -> Path:
        """Return where they lie until they are all there."""
        return self._pictures / f"{job_id}.draft"

    def _open(self) -> sqlite3.Connection:
        make_private(self._home)
        self._path.touch(mode=0o600)
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
        database.execute("PRAGMA busy_timeout = 5000")  # `imagine show` may read while `imagine serve` runs
        database.executescript(SCHEMA)
        if "ended" not in {name for _, name, *_ in database.execute("PRAGMA table_info (jobs)")}:
            database.execute("ALTER TABLE jobs ADD COLUMN ended REAL")  # this folder is older than the column
        return database

    async def forget(self) -> None:
        """Drop what is finished, and older than `KEPT_FOR`."""
        old, delete = "SELECT id FROM jobs WHERE outcome IS NOT NULL AND made < ?", "DELETE FROM jobs WHERE id = ?"
        values = (time.time() - KEPT_FOR,)
        ids = self._read(old, *values)
        for (job_id,) in ids:  # the pictures first: of a job that is forgotten, nobody would find them any more
            await self.drop(job_id)
        await self._write(lambda database: database.executemany(delete, ids))
        forget = "DELETE FROM papers WHERE made < ? AND NOT forever"
        await self._write(lambda database: database.execute(forget, values))
        await asyncio.to_thread(self._forget_files, *values)

    def _forget_files(self, older_than: float) -> None:
        for path in self._files.glob("*"):
            if path.stat().st_mtime < older_than:
                path.unlink()

    def _read(self, query: str, *values: object) -> list[Any]:
        """Read on the spot: that takes microseconds, a tenth of what a thread would cost, and no writer holds a reader up."""
        return self._reader.execute(query, values).fetchall()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _write(self, work: Work[T]) -> T:
        """Run `work` in the next transaction: one trip to the disk serves everybody who waits for it."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        return await done

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            results = await self._in_thread(partial(self._transactions, [work for work, _ in batch]))
            for (_, done), result in zip(batch, results, strict=True):
                if done.cancelled():
                    continue
                if isinstance(result, Exception):
                    done.set_exception(result)
                else:
                    done.set_result(result)

    def _transactions(self, works: Sequence[Work[Any]]) -> list[Any]:
        """Do all of it in one transaction; where that fails, each in its own, so that nobody fails for another."""
        try:
            with self._database:
                self._database.execute("BEGIN IMMEDIATE")
                return [work(self._database) for work in works]
        except Exception as error:  # noqa: BLE001  it is raised where its caller waits
            return [error] if len(works) == 1 else [self._transactions([work])[0] for work in works]


async def check(home: Path) -> None:
    """Open a store once, before anybody depends on it. Raises `Told` where it cannot be used."""
    try:
        async with LocalStore(home) as store:
            await store.unfinished()
        _warn_if_open(home)
    except (OSError, sqlite3.Error) as error:
        raise unusable(home, error) from error


def _warn_if_open(home: Path) -> None:
    if home.stat().st_mode & 0o077:
        what_to_do = "set IMAGINE_HOME to a folder of the bot's own, or `chmod 700` this one"
        log.warning("other people on this machine can look into %s: %s", home, what_to_do)


def unusable(home: Path, error: Exception) -> Told:
    """Say that nothing can be kept in a folder, and what to do."""
    if isinstance(error, sqlite3.Error):
        return Told(
            f"{home / 'jobs.sqlite3'} cannot be used: {_reason(error)}. "
            "Mend it, or move it away to begin anew, or set IMAGINE_HOME to another folder."
        )
    return Told(f"Nothing can be kept in {home}: {_reason(error)}. Set IMAGINE_HOME to a folder that the bot may write to.")


def make_private(folder: Path) -> None:
    """Make a folder where there is none. One that somebody else has made is left as it is: they may have their reasons."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # for prompts, pictures, and addresses that anybody could answer to


def _to_read(path: Path) -> str:
    """Return the address under which a database is only read. https://sqlite.org/uri.html"""
    # Even a reader makes a log where there is none, and leaves it behind. Where there is none, nobody has the database open.
    is_open = path.with_name(f"{path.name}-wal").exists()
    return f"{path.absolute().as_uri()}?mode=ro{'' if is_open else '&immutable=1'}"


def _reason(error: Exception) -> object:
    """Return why something cannot be used, without its path."""
    return getattr(error, "strerror", None) or error


def _write_pictures(folder: Path, pictures: Sequence[Picture]) -> None:
    folder.mkdir()
    for index, picture in enumerate(pictures):
        with (folder / f"{index}.png").open("wb") as file:
            file.write(picture.png)
            file.flush()
            os.fsync(file.fileno())


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
