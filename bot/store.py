"""What must be remembered: jobs, how far each got, and the pictures. SQLite and a folder, on one machine.

A job is written down before anybody is told "Drawing…", under the platform's own id for the interaction, so the same
request sent again finds the first one. It stays unfinished until its one outcome has reached somebody.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import shutil
import sqlite3
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, TypeAlias, TypeVar

from bot import recipe
from bot.errors import BadRequest
from bot.request import ImageRequest, Job, Picture, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log: Final = logging.getLogger(__name__)

T = TypeVar("T")
Work: TypeAlias = "Callable[[sqlite3.Connection], T]"

KEPT_FOR: Final = 30 * 24 * 3600  # seconds: how long jobs and pictures can be asked for again
LOOK_AGAIN: Final = 0.25  # seconds between two looks at which jobs are cancelled, where another machine may say so
TELL: Final = 0.25  # seconds that telling whoever draws may take: somebody waits to hear that their cancel was taken
LISTENERS: Final = 16  # calls of one job that may listen for its cancel: one, and those whose courier died over them

MOST: Final = 10_000  # jobs whose logs' lengths are kept in mind
AT_ONCE: Final = 8  # entries of a job's log that are asked for together: few jobs have more, and somebody waits for the answer

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A job, how far its delivery got, and how it ended; `outcome` is None while it is under way."""

    job: Job
    notes: Mapping[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    made: float = 0.0  # when it was written down, in seconds since 1970


class Store(Protocol):
    """What the rest of the bot may ask of a store."""

    async def claim(self, job: Job) -> Job:
        """Write the job down unless its claim is taken; return the job that holds the claim."""

    async def record(self, job_id: str) -> Record | None:
        """Return what is known of a job."""

    async def note(self, job_id: str, **facts: Any) -> None:
        """Add facts about how far a job got. Each is there for good once this returns."""

    async def finish(self, job_id: str, outcome: str) -> None:
        """Write down how a job ended."""

    async def unfinished(self) -> Sequence[Record]:
        """Return the jobs that somebody still waits for, oldest first."""

    async def durations(self, last: int) -> Sequence[float]:
        """Return the seconds that each of the `last` finished jobs took, from its claim to its outcome."""

    async def keep(self, job_id: str, pictures: Sequence[Picture]) -> None:
        """Keep the pictures of a job: all of them, or none if this is interrupted."""

    async def pictures(self, job_id: str) -> Sequence[Picture]:
        """Return the kept pictures of a job, in order; none if there are none."""

    async def is_drawn(self, job_id: str) -> bool:
        """Return whether the pictures of a job are kept."""

    async def png(self, job_id: str, index: int) -> bytes | None:
        """Return the file of one kept picture."""

    async def drop(self, job_id: str) -> None:
        """Delete the pictures of a job."""

    async def cancel(self, job_id: str) -> None:
        """Ask whoever carries a job to stop; nothing happens where nobody does."""

    async def cancelled(self, job_id: str) -> None:
        """Wait until somebody cancels a job."""

    async def remember(self, name: str, text: str, *, forever: bool = False) -> None:
        """Write something down under a name, in place of what was there; it is forgotten like a job unless it is `forever`."""

    async def recall(self, name: str) -> str | None:
        """Return what was last written down under a name."""

    async def erase(self, name: str) -> None:
        """Forget what was written down under a name, if anything was."""

    async def first(self, name: str, who: str) -> str:
        """Return who was the first to ask with this name."""

    async def keep_file(self, name: str, content: bytes) -> None:
        """Keep a picture that is no job's outcome, under a name made of hexadecimal digits, in place of what was there."""

    async def file(self, name: str) -> bytes | None:
        """Return what was last kept under a name."""

    async def drop_file(self, name: str) -> None:
        """Delete what was kept under a name, if anything was."""

    async def started_from(self, image: str) -> Sequence[Record]:
        """Return the jobs whose pictures start from a file that was kept, oldest first."""


class LocalStore:
    """A `Store` in one folder: `jobs.sqlite3`, and `pictures/` with a folder for each job."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # prompts are in there, and addresses that anybody could answer to
        self._pictures, self._files = home / "pictures", home / "files"
        self._path = home / "jobs.sqlite3"
        self._thread = ThreadPoolExecutor(1, "store")  # the connection that writes is used here only
        self._waiting: list[tuple[Work[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._cancelled: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)  # of jobs that somebody carries
        self._database: sqlite3.Connection
        self._reader: sqlite3.Connection

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
        query = "SELECT ended - made FROM jobs WHERE ended IS NOT NULL ORDER BY ended DESC LIMIT ?"
        return [seconds for (seconds,) in self._read(query, last)]

    def _select(self, which: str, *values: str) -> list[Record]:
        query = f"SELECT job, notes, outcome, made FROM jobs {which}"  # noqa: S608  `which` is one of those that stand here
        return [
            Record(job=Job.load(job), notes=json.loads(notes), outcome=outcome, made=made)
            for job, notes, outcome, made in self._read(query, *values)
        ]

    async def keep(self, job_id: str, pictures: Sequence[Picture]) -> None:
        def write() -> None:
            folder, draft = self._pictures / job_id, self._pictures / f"{job_id}.draft"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            for index, picture in enumerate(pictures):
                with (draft / f"{index}.png").open("wb") as file:
                    file.write(picture.png)
                    file.flush()
                    os.fsync(file.fileno())
            if folder.exists():
                shutil.rmtree(folder)
            draft.rename(folder)  # all at once: a half-written set is never taken for a whole one

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
        await asyncio.to_thread(shutil.rmtree, self._pictures / job_id, ignore_errors=True)

    async def cancel(self, job_id: str) -> None:
        try:
            await self.note(job_id, cancelled=True)
        finally:  # who waits no longer for its being written down cannot keep it from being so
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
            self._files.mkdir(exist_ok=True)
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

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")  # what we promise outlives a power cut, not just a crash
        database.execute("PRAGMA busy_timeout = 5000")  # `imagine show` may read while `imagine serve` runs
        database.executescript(SCHEMA)
        if "ended" not in {name for _, name, *_ in database.execute("PRAGMA table_info (jobs)")}:
            database.execute("ALTER TABLE jobs ADD COLUMN ended REAL")  # this folder is older than the column
        return database

    async def forget(self) -> None:
        """Drop what is finished, and older than `KEPT_FOR`."""
        delete = "DELETE FROM jobs WHERE outcome IS NOT NULL AND made < ? RETURNING id"
        values = (time.time() - KEPT_FOR,)
        for (job_id,) in await self._write(lambda database: database.execute(delete, values).fetchall()):
            await self.drop(job_id)
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


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


class ModalStore:
    """A `Store` that many containers share, in three dictionaries and a queue that live elsewhere: `modal.Dict`, `modal.Queue`.

    The one thing that such a dictionary does for us at once and for good is to write a key that is absent. So a job is a
    log that is only ever added to: what happens to it takes the next free number, whoever writes it down. Entries are
    text, which the next version of us can read too. The jobs that somebody waits for stand by themselves as well, and few
    as they are, all of them can be looked through often. What is cancelled also goes into the queue, where whoever draws it
    hears of it at once.
    """

    def __init__(self, jobs: Any, pictures: Any, waiting: Any, cancels: Any) -> None:
        """Take the three dictionaries and the queue, each with Modal's `put.aio` and its kind."""
        self._jobs, self._pictures, self._waiting, self._cancels = jobs, pictures, waiting, cancels
        self._lengths: dict[str, int] = {}  # of the logs that we add to
        self._look: asyncio.Task[frozenset[str]] | None = None

    async def claim(self, job: Job) -> Job:
        first = json.dumps({"job": job, "made": time.time_ns()}, default=parts, ensure_ascii=False)
        first.encode()  # what cannot be written fails here
        await self._waiting.put.aio(job.id, first)  # before the claim: what is claimed can be found, whoever dies over it
        taken, _ = await asyncio.gather(  # together: whoever waits for this is promised an answer within seconds
            self._jobs.put.aio(f"claim {job.claim}", first, skip_if_exists=True),
            self._jobs.put.aio(f"job {job.id} 0", first, skip_if_exists=True),
        )
        if taken:
            if job.request.image:
                await self._add(f"image {job.request.image}", job.id, 0)
            return job
        held = Job.load(json.loads(await self._jobs.get.aio(f"claim {job.claim}"))["job"])
        if held.id != job.id:
            await asyncio.gather(self._jobs.pop.aio(f"job {job.id} 0", None), self._waiting.pop.aio(job.id, None))
        return held

    async def note(self, job_id: str, **facts: Any) -> None:
        await self._append(job_id, {"facts": facts})

    async def finish(self, job_id: str, outcome: str) -> None:
        await self._append(job_id, {"outcome": outcome}, least=1)  # behind a beginning that may yet be on its way
        self._lengths.pop(job_id, None)
        await self._strike(job_id)

    async def record(self, job_id: str) -> Record | None:
        log = await self._log(job_id)
        return _replay(log) if log else None

    async def _log(self, job_id: str) -> Sequence[Mapping[str, Any]]:
        return [json.loads(entry) for entry in await self._entries(f"job {job_id}")]

    async def unfinished(self) -> Sequence[Record]:
        return [record for record in await self._waited_for() if record.outcome is None]

    async def tidy(self) -> Sequence[Record]:
        """Strike the jobs that are over from those that somebody waits for, where whoever ended them died over that, say.

        Returns the others, as `unfinished` does.
        """
        records = await self._waited_for()
        await asyncio.gather(*(self._strike(record.job.id) for record in records if record.outcome is not None))
        return [record for record in records if record.outcome is None]

    async def _waited_for(self) -> Sequence[Record]:
        begun = {name: entry async for name, entry in self._waiting.items.aio()}
        ids = {name.rpartition(" ")[2] for name in begun}  # also of those that were cancelled
        known = zip(ids, await asyncio.gather(*map(self.record, ids)), strict=True)
        records = [record or _replay([json.loads(begun[job_id])]) for job_id, record in known if record or job_id in begun]
        return sorted(records, key=lambda record: record.made)

    async def _strike(self, job_id: str) -> None:
        """Keep a job no more among those that somebody waits for."""
        await asyncio.gather(*(self._waiting.pop.aio(name, None) for name in (job_id, _cancelled(job_id))))

    async def durations(self, last: int) -> Sequence[float]:
        ends = [(log[0]["made"], entry["made"]) for log in await self._logs() for entry in log if "outcome" in entry]
        return [(end - begin) / 1e9 for begin, end in ends[-last:]]

    async def _logs(self) -> Sequence[Sequence[Mapping[str, Any]]]:
        """Return the logs of all jobs that hold their claims, oldest first."""
        logs: dict[str, dict[int, Any]] = {}
        claims: dict[str, int] = {}
        async for key, entry in self._jobs.items.aio():
            kind, _, rest = key.partition(" ")
            if kind not in {"claim", "job"}:
                continue
            if kind == "claim":
                first = json.loads(entry)
                claims[first["job"]["id"]] = first["made"]
            else:
                job_id, _, number = rest.partition(" ")
                logs.setdefault(job_id, {})[int(number)] = json.loads(entry)
        begun = {job_id for job_id, log in logs.items() if 0 in log}
        oldest_first = sorted(claims.keys() & begun, key=claims.__getitem__)
        return [[logs[job_id][number] for number in sorted(logs[job_id])] for job_id in oldest_first]

    async def keep(self, job_id: str, pictures: Sequence[Picture]) -> None:
        whole = [bytes(memoryview(picture.png)) for picture in pictures]
        await asyncio.gather(*(self._pictures.put.aio(f"{job_id} {index}", png) for index, png in enumerate(whole)))
        # Written last: with it they are all there.
        await self._pictures.put.aio(job_id, json.dumps([picture.request for picture in pictures], default=parts))

    async def pictures(self, job_id: str) -> Sequence[Picture]:
        requests = json.loads(await self._pictures.get.aio(job_id) or "[]")
        pngs = await asyncio.gather(*(self._pictures.get.aio(f"{job_id} {index}") for index, _ in enumerate(requests)))
        if None in pngs:  # each entry is forgotten at its own time
            return []
        return [Picture(png=png, request=ImageRequest.restore(each)) for png, each in zip(pngs, requests, strict=True)]

    async def is_drawn(self, job_id: str) -> bool:
        there: bool = await self._pictures.contains.aio(job_id)
        return there

    async def png(self, job_id: str, index: int) -> bytes | None:
        content: bytes | None = await self._pictures.get.aio(f"{job_id} {index}")
        return content

    async def drop(self, job_id: str) -> None:
        requests = json.loads(await self._pictures.get.aio(job_id) or "[]")
        await self._pictures.pop.aio(job_id, None)
        await asyncio.gather(*(self._pictures.pop.aio(f"{job_id} {index}", None) for index, _ in enumerate(requests)))

    async def cancel(self, job_id: str) -> None:
        both: Sequence[object] = await asyncio.gather(
            self._waiting.put.aio(_cancelled(job_id), ""), self._tell(job_id), return_exceptions=True
        )
        written, told = both
        if isinstance(told, BaseException):  # whoever carries it finds out all the same, a little later
            log.warning("job %s: who draws it was not told that it is cancelled: %r", job_id, told)
        if isinstance(written, BaseException):
            raise written

    async def _tell(self, job_id: str) -> None:
        """Tell whoever draws a job that it is cancelled; each who listens takes one of what is put there."""
        async with asyncio.timeout(TELL):
            await self._cancels.put_many.aio([""] * LISTENERS, block=False, partition=job_id)

    async def cancelled(self, job_id: str) -> None:
        while _cancelled(job_id) not in await self._looked():
            pass

    async def _looked(self) -> frozenset[str]:
        """Look through what waits, soon; however many jobs are carried here, it is one look for all of them."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_again())
        return await asyncio.shield(self._look)

    async def _look_again(self) -> frozenset[str]:
        await asyncio.sleep(LOOK_AGAIN)
        return frozenset([name async for name in self._waiting.keys.aio()])

    async def remember(self, name: str, text: str, *, forever: bool = False) -> None:
        marks = [self._jobs.put.aio(_forever(name), "")] if forever else []
        await asyncio.gather(self._jobs.put.aio(f"paper {name}", text), *marks)

    async def recall(self, name: str) -> str | None:
        text: str | None = await self._jobs.get.aio(f"paper {name}")
        return text

    async def erase(self, name: str) -> None:
        await asyncio.gather(*(self._jobs.pop.aio(key, None) for key in (f"paper {name}", _forever(name))))

    async def read_forever(self) -> None:
        """Read what is to be remembered forever: Modal forgets what nobody has read or written for seven days."""
        marks = [key async for key in self._jobs.keys.aio() if key.startswith(_forever(""))]
        for mark in marks:
            await asyncio.gather(self._jobs.get.aio(mark), self.recall(mark.removeprefix(_forever(""))))

    async def first(self, name: str, who: str) -> str:
        taken = await self._jobs.put.aio(f"once {name}", who, skip_if_exists=True)
        return who if taken else str(await self._jobs.get.aio(f"once {name}"))

    async def keep_file(self, name: str, content: bytes) -> None:
        await self._pictures.put.aio(f"file {name}", content)

    async def file(self, name: str) -> bytes | None:
        content: bytes | None = await self._pictures.get.aio(f"file {name}")
        return content

    async def drop_file(self, name: str) -> None:
        await self._pictures.pop.aio(f"file {name}", None)

    async def started_from(self, image: str) -> Sequence[Record]:
        records = await asyncio.gather(*map(self.record, await self._entries(f"image {image}")))
        return [record for record in records if record is not None]

    async def _append(self, job_id: str, entry: Mapping[str, Any], least: int = 0) -> None:
        number = self._lengths.get(job_id) or max(least, len(await self._log(job_id)))
        if not number:
            return
        if len(self._lengths) >= MOST:
            self._lengths.clear()
        number = await self._add(f"job {job_id}", json.dumps({**entry, "made": time.time_ns()}), number)
        self._lengths[job_id] = max(self._lengths.get(job_id, 0), number + 1)

    async def _add(self, log: str, text: str, number: int) -> int:
        """Write the next entry of a log, which has so many at least; return its number."""
        while not await self._jobs.put.aio(f"{log} {number}", text, skip_if_exists=True):
            number += 1  # somebody else wrote that one
        return number

    async def _entries(self, log: str) -> Sequence[str]:
        found: list[str] = []
        whole = False
        while not whole:
            numbers = range(len(found), len(found) + AT_ONCE)
            entries = await asyncio.gather(*(self._jobs.get.aio(f"{log} {number}") for number in numbers))
            there = list(itertools.takewhile(lambda entry: entry is not None, entries))
            found += there
            whole = len(there) < len(entries)
        return found


def _cancelled(job_id: str) -> str:
    return f"cancelled {job_id}"


def _forever(name: str) -> str:
    return f"forever {name}"


def _replay(log: Sequence[Mapping[str, Any]]) -> Record:
    first, *entries = log
    facts: dict[str, Any] = {}
    outcome = None
    for entry in entries:
        facts |= entry.get("facts", {})
        outcome = entry.get("outcome", outcome)
    return Record(job=Job.load(first["job"]), notes=facts, outcome=outcome, made=first["made"] / 1e9)
