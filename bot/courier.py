"""Carry one job: from the request, over what the generator says, to exactly one outcome in somebody's hands.

The courier alone talks back to people. It knows no platform: a platform supplies a `Reply`, which can show a status and
has an ordered list of ways to deliver, best first. A way that is refused is left for the next one; a way that is busy
is tried again. What a way has done so far it writes into `Notes`, so that a courier who takes over after a crash goes
on where the last one stopped.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from bot.errors import Busy, Refused, Told, Undelivered
from bot.request import Event, Finished, Job, Picture, Queued, Started, Step, Waking, settings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from bot.store import Record, Store

T = TypeVar("T")
log: Final = logging.getLogger(__name__)

EDIT_EVERY: Final = 2.0  # seconds between edits of one message: well inside what Slack and Discord allow
FOR_DRAWINGS: Final = 3  # statuses that those who only wait leave to those whose picture is being drawn
SETTLE: Final = 5.0  # seconds that an outcome waits for a status that is still on its way
PATIENCE: Final = 10 * 60  # seconds to go on with a busy way before the next one
FIRST_WAIT: Final = 1.0  # seconds before the second try, unless the platform asks for more; then twice that, and so on
LONGEST_WAIT: Final = 30.0  # seconds
ATTEMPTS: Final = 3  # a job that takes the whole machine down must not do so at every restart

SORRY: Final = "Something went wrong on my side, and it is in my log as job {id}. Please try again in a minute."
GAVE_UP: Final = "I tried {attempts} times and something broke each time. Please try it smaller, or with fewer steps."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The one thing a job ends with: its pictures, or a reason in words."""

    job: Job
    pictures: Sequence[Picture] = ()
    seconds: float | None = None  # the model took; None when it is not known any more
    reason: str = ""


class Notes:
    """What a way of delivery must not forget, kept with the job."""

    def __init__(self, store: Store, job_id: str, facts: Mapping[str, Any]) -> None:
        self._store, self._job_id, self._facts = store, job_id, dict(facts)

    def get(self, key: str) -> Any:
        """Return what was noted, or None."""
        return self._facts.get(key)

    async def set(self, key: str, fact: Any) -> None:
        """Note a fact; it survives a crash once this returns."""
        self._facts[key] = fact
        await self._store.note(self._job_id, **{key: fact})


class Reply(Protocol):
    """A platform's side of one job."""

    @property
    def edit_every(self) -> float:
        """Seconds between two statuses: what the platform bears, and people can read."""

    @property
    def ways(self) -> Sequence[Callable[[Outcome], Awaitable[None]]]:
        """The ways to deliver an outcome, best first. Each raises `Busy` or `Refused`, and may be called again."""

    async def status(self, event: Event) -> None:
        """Show how far the job is, where people see it. Raises like a way."""


class Platform(Protocol):
    """Where requests come from and outcomes go."""

    @property
    def pace(self) -> Pace:
        """How many statuses it bears, over all jobs."""

    def reply(self, job: Job, notes: Notes, /) -> Reply:
        """Return the way back to the person who made this job."""


class Courier:
    """Carries jobs; one object serves any number of them at once."""

    def __init__(
        self,
        *,
        draw: Callable[[Job], AsyncGenerator[Event, None]],
        store: Store,
        platforms: Mapping[str, Platform],
    ) -> None:
        self._draw, self._store, self._platforms = draw, store, platforms

    async def carry(self, record: Record) -> None:
        """See a job through, from wherever it stands, and write down how it ended."""
        job = record.job
        if job.platform not in self._platforms:
            log.warning("job %s waits until %s is on again", job.id, job.platform)
            return
        notes = Notes(self._store, job.id, record.notes)
        reply = self._platforms[job.platform].reply(job, notes)
        outcome = await attempt(self._outcome(job, reply, notes))
        if isinstance(outcome, Exception):
            outcome = Outcome(job=job, reason=self._reason(job, outcome))
        way = await self._deliver(outcome, reply)
        await self._store.finish(job.id, way)
        log.info("job %s: %s %s", job.id, f"{len(outcome.pictures)} pictures" if outcome.pictures else "a reason", way)

    async def _outcome(self, job: Job, reply: Reply, notes: Notes) -> Outcome:
        """Draw the pictures, or find them drawn already."""
        if notes.get("attempts") and (kept := await self._store.pictures(job.id)):
            return Outcome(job=job, pictures=kept)
        status, before = _Status(reply, self._platforms[job.platform].pace), notes.get("attempts") or 0
        try:
            return await self._drawn(job, notes, status)
        except asyncio.CancelledError:  # we are stopping, which is no fault of the job's
            await notes.set("attempts", before)
            raise
        finally:
            await status.settle()

    async def _drawn(self, job: Job, notes: Notes, status: _Status) -> Outcome:
        """Draw the pictures, and keep them before anything else can happen."""
        async with aclosing(self._draw(job)) as events:
            async for event in events:
                match event:
                    case Started():
                        await self._begin_attempt(notes)
                    case Finished(pictures, seconds):
                        await self._store.keep(job.id, pictures)
                        return Outcome(job=job, pictures=pictures, seconds=seconds)
                status.show(event)
        raise RuntimeError("the generator stopped without finishing")

    async def _begin_attempt(self, notes: Notes) -> None:
        attempts = (notes.get("attempts") or 0) + 1
        if attempts > ATTEMPTS:
            raise Told(GAVE_UP.format(attempts=ATTEMPTS))
        await notes.set("attempts", attempts)

    def _reason(self, job: Job, error: Exception) -> str:
        if isinstance(error, Told):
            return str(error)
        log.error("job %s failed", job.id, exc_info=error)
        return SORRY.format(id=job.id)

    async def _deliver(self, outcome: Outcome, reply: Reply) -> str:
        """Go down the ladder; return the name of the way that worked."""
        for way in reply.ways:
            name = getattr(way, "__name__", "delivered")
            failure = await attempt(self._insist(way, outcome))
            if failure is None:
                return name
            unexpected = None if isinstance(failure, Undelivered) else failure
            log.warning("job %s: %s did not work: %s", outcome.job.id, name, failure, exc_info=unexpected)
        return "kept"  # `imagine show` has it

    async def _insist(self, way: Callable[[Outcome], Awaitable[None]], outcome: Outcome) -> None:
        """Try a way until it works or says no; wait as long as it asks in between."""
        deadline = time.monotonic() + PATIENCE
        for tries in itertools.count():
            try:
                await way(outcome)
            except Busy as busy:
                backoff = min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * random.uniform(0.5, 1)  # noqa: S311  not a secret
                wait = max(backoff, busy.retry_after or 0)
                if time.monotonic() + wait > deadline:
                    raise Refused("busy", str(busy)) from busy
                await asyncio.sleep(wait)
            else:
                return


class Pace:
    """How many statuses a platform bears in all: a bucket that fills steadily, and is never let run quite dry."""

    def __init__(self, per_minute: float, most: float = 10) -> None:
        self._rate, self._most = per_minute / 60, most
        self._tokens, self._filled = most, time.monotonic()

    def take(self, reserve: float) -> bool:
        """Take leave to send one status, unless that would leave less than `reserve` for more urgent ones."""
        now = time.monotonic()
        self._tokens = min(self._most, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1 + reserve:
            return False
        self._tokens -= 1
        return True


class _Status:
    """Shows how far a job is, beside the drawing: a platform that is slow, or refuses, must not hold it up."""

    def __init__(self, reply: Reply, pace: Pace) -> None:
        self._reply, self._pace = reply, pace
        self._next = time.monotonic() + reply.edit_every  # the answer to the command stands there already
        self._shown: Event | None = None
        self._sending: asyncio.Task[None] | None = None

    def show(self, event: Event) -> None:
        """Start to show an event, unless that is too soon after the last one, or for the platform."""
        busy = self._sending and not self._sending.done()
        if busy or event == self._shown or time.monotonic() < self._next:
            return
        if self._pace.take(reserve=FOR_DRAWINGS if isinstance(event, Queued) else 0):
            self._sending = asyncio.create_task(self._send(event))

    async def settle(self) -> None:
        """End a status that is still on its way: one that comes late would cover the outcome."""
        if self._sending and not self._sending.done():
            await asyncio.wait([self._sending], timeout=SETTLE)
            self._sending.cancel()

    async def _send(self, event: Event) -> None:
        pause = self._reply.edit_every
        failure = await attempt(self._reply.status(event))
        if isinstance(failure, Busy):
            pause = max(pause, failure.retry_after or 0)
        elif failure:
            log.info("no more status: %s", failure)
            pause = float("inf")
        else:
            self._shown = event
        self._next = time.monotonic() + pause


async def attempt(work: Awaitable[T]) -> T | Exception:
    """Return what `work` returns, or the exception: the one place where anything at all may go wrong."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001
        return error


def describe(event: Event) -> str:
    """Say in words how far a job is."""
    match event:
        case Queued(0):
            return "next in line"
        case Queued(1):
            return "1 drawing ahead"
        case Queued(ahead):
            return f"{ahead} drawings ahead"
        case Waking(seconds):
            return "waking a GPU" + (f", usually about {seconds:.0f} s" if seconds else "")
        case Step(index, total):
            return f"step {index} of {total}"
        case _:
            return "getting ready"


def summary(outcome: Outcome) -> str:
    """Say in one line how the pictures were made, or why there are none."""
    if outcome.reason:
        return outcome.reason
    seconds = "" if outcome.seconds is None else f" · {outcome.seconds:.1f} s"
    return settings(outcome.job.request) + seconds
