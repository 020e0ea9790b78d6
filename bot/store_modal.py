"""What must be remembered, where many containers share it: in Modal's dictionaries. https://modal.com/docs/guide/dicts"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from bot.request import NOT_TAKEN, ImageRequest, Job, Picture, parts
from bot.store import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log: Final = logging.getLogger(__name__)

LOOK_AGAIN: Final = 0.25  # seconds between two looks at which jobs are cancelled, where another machine may say so
TELL: Final = 0.25  # seconds that telling whoever draws may take: somebody waits to hear that their cancel was taken
LISTENERS: Final = 16  # calls of one job that may listen for its cancel: one, and those whose courier died over them
MOST: Final = 10_000  # jobs whose logs' lengths are kept in mind
AT_ONCE: Final = 8  # entries of a job's log that are asked for together: few jobs have more, and somebody waits for the answer


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
        theirs = await self._jobs.get.aio(f"claim {job.claim}")
        held = Job.load(json.loads(theirs)["job"])
        if held.id != job.id:
            await asyncio.gather(
                self._jobs.put.aio(f"job {held.id} 0", theirs, skip_if_exists=True),  # it may have been lost beside its claim
                self._jobs.pop.aio(f"job {job.id} 0", None),
                self._waiting.pop.aio(job.id, None),
            )
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
        drawings = [log for log in await self._logs() if not log[0]["job"].get("errand")]
        ended = ((log[0]["made"], entry) for log in drawings for entry in log if "outcome" in entry)
        ends = [(begin, entry["made"]) for begin, entry in ended if entry["outcome"] != NOT_TAKEN]
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
            name = mark.removeprefix(_forever(""))
            read = await asyncio.gather(self._jobs.get.aio(mark), self.recall(name), return_exceptions=True)
            if failures := [each for each in read if isinstance(each, Exception)]:  # there is another day, and the others
                log.warning("%s was not read today: %r", name, failures[0])

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
