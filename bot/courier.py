"""Carry one job: from the request, over what the generator says, to exactly one outcome in somebody's hands.

The courier alone talks back to people. It knows no platform: a platform supplies a `Reply`, which can show a status and
has an ordered list of ways to deliver, best first. A way that is refused is left for the next one; a way that is busy
is tried again. What a way has done so far it writes into `Notes`, so that a courier who takes over after a crash goes
on where the last one stopped.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import random
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from bot.errors import BadRequest, Busy, Cancelled, Refused, Told, Undelivered
from bot.request import NOT_TAKEN, Event, Finished, ImageRequest, Job, Picture, Queued, Started, Step, Waking, effort, settings
from bot.texts import ENGLISH, Phrase, say
from bot.upload import vetted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from bot.store import Record, Store

    Draw = Callable[[Job, ImageRequest, bytes | None], AsyncGenerator[Event, None]]

T = TypeVar("T")
log: Final = logging.getLogger(__name__)

EDIT_EVERY: Final = 2.0  # seconds between edits of one message: well inside what Slack and Discord allow
FOR_DRAWINGS: Final = 3  # statuses that those who only wait leave to those whose picture is being drawn
CHANCE: Final = random.SystemRandom()  # no snapshot holds it, or all couriers out of one would wait for the same moments
AT_ONCE: Final = 0.2  # seconds until the first status, so that it can tell the place in the queue
SETTLE: Final = 5.0  # seconds that an outcome waits for a status that is still on its way
PATIENCE: Final = 10 * 60  # seconds to go on with a busy way before the next one
FIRST_WAIT: Final = 1.0  # seconds before the second try, unless the platform asks for more; then twice that, and so on
LONGEST_WAIT: Final = 30.0  # seconds
ATTEMPTS: Final = 3  # a job that takes the whole machine down must not do so at every restart

LEARNING: Final = 0.3  # the weight of the last drawing in what is known of a model's speed
SOONEST: Final = 2  # seconds that are worth telling

DELETED: Final = "deleted"  # how a job ended that somebody has deleted, and how a deletion did

SORRY: Final = Phrase("Something went wrong on my side, and it is in my log as job {id}. Please try again in a minute.")
GAVE_UP: Final = Phrase("I tried {attempts} times and something broke each time. Please try it smaller, or with fewer steps.")
LOST_START: Final = Phrase("The picture to start from is not here any more. Please attach it again.")


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
        """Note a fact; it survives a crash once this returns. Raises `Busy` where it might not; it is known here all the same.

        So whoever has posted something and then notes it does not post it once more when tried again.
        """
        self._facts[key] = fact
        failure = await attempt(self._store.note(self._job_id, **{key: fact}))
        if failure:
            raise Busy(f"{key} cannot be noted now: {failure!r}") from failure


class Reply(Protocol):
    """A platform's side of one job."""

    @property
    def edit_every(self) -> float:
        """Seconds between two statuses: what the platform bears, and people can read."""

    @property
    def is_announced(self) -> bool:
        """Whether the person has been told that the job was taken; otherwise a status says so at once."""

    @property
    def ways(self) -> Sequence[Callable[[Outcome], Awaitable[None]]]:
        """The ways to deliver an outcome, best first. Each raises `Busy` or `Refused`, and may be called again."""

    async def status(self, event: Event) -> None:
        """Show how far the job is, where people see it. Raises like a way."""

    async def start_picture(self) -> bytes | None:
        """Fetch the picture that came with the job, if there is one. Raises like a way, and `BadRequest`."""

    async def delete(self) -> None:
        """Delete the message that the job names, and all that it shows. Raises like a way, and may be called again."""


class Platform(Protocol):
    """Where requests come from and outcomes go."""

    def pace(self, job: Job, /) -> Pace:
        """Return how many statuses it bears where this job shows its own, over all jobs there."""

    def reply(self, job: Job, notes: Notes, /) -> Reply:
        """Return the way back to the person who made this job."""


class Courier:
    """Carries jobs; one object serves any number of them at once."""

    def __init__(self, *, draw: Draw, store: Store, platforms: Mapping[str, Platform]) -> None:
        self._draw, self._store, self._platforms = draw, store, platforms
        self._speeds = Speeds(store)

    async def carry(self, record: Record) -> None:
        """See a job through, from wherever it stands, and write down how it ended."""
        job = record.job
        if job.platform not in self._platforms:
            log.warning("job %s waits until %s is on again", job.id, job.platform)
            return
        notes = Notes(self._store, job.id, record.notes)
        reply = self._platforms[job.platform].reply(job, notes)
        if job.errand:
            ended = await self._delete(job, reply)
        else:
            ended = await self._carry(job, reply, notes)
        # What is not written down is delivered again after a restart.
        await _persist(lambda: self._store.finish(job.id, ended), f"job {job.id}: {ended}, which cannot be written down yet")
        log.info("job %s: %s", job.id, ended)

    async def _carry(self, job: Job, reply: Reply, notes: Notes) -> str:
        """Have a job drawn, and deliver what comes of it; return which way that went."""
        if notes.get("deleted"):  # it was delivered, though nobody could write that down
            return DELETED
        outcome = await attempt(self._outcome(job, reply, notes))
        if isinstance(outcome, Exception):
            outcome = Outcome(job=job, reason=self._reason(job, outcome))
        return await self._deliver(outcome, reply)

    async def _delete(self, job: Job, reply: Reply) -> str:
        """Delete a message, and the pictures that we have kept."""
        target = job.reply_to["target"]
        await _persist(lambda: self._store.note(target, deleted=True), f"job {job.id}: its deletion cannot be written down yet")
        failure = await attempt(self._insist(reply.delete))
        await self._store.drop(target)
        if job.request.image:
            await self._forget_start(job.request.image)
        if failure:
            log.warning("job %s: the message was not deleted: %s", job.id, failure)
        return "not deleted" if failure else DELETED

    async def _forget_start(self, image: str) -> None:
        """Delete a picture that somebody brought along, once they have deleted all that was drawn from it for them.

        What others made of it keeps it no longer than that: it was not theirs.
        """
        found = await self._store.started_from(image)
        started = [record for record in found if not record.job.errand and record.outcome != NOT_TAKEN]
        own = [record for record in started if record.job.person == started[0].job.person]
        if all(record.notes.get("deleted") for record in own):
            await self._store.drop_file(image)

    async def _outcome(self, job: Job, reply: Reply, notes: Notes) -> Outcome:
        """Draw the pictures, or find them drawn already."""
        if notes.get("attempts") and (kept := await self._store.pictures(job.id)):
            return Outcome(job=job, pictures=kept, seconds=notes.get("seconds"))
        status, before = _Status(reply, self._platforms[job.platform].pace(job)), notes.get("attempts") or 0
        status.announce()
        try:
            return await self._drawn(job, reply, notes, status)
        except asyncio.CancelledError:  # we are stopping, which is no fault of the job's
            failure = await attempt(notes.set("attempts", before))
            if failure:  # it counts as one, which is better than not to stop
                log.warning("job %s: %s", job.id, failure)
            raise
        finally:
            await status.settle()

    async def _drawn(self, job: Job, reply: Reply, notes: Notes, status: _Status) -> Outcome:
        """Draw the pictures, and keep them before anything else can happen."""
        pictures: list[Picture] = []
        seconds = 0.0
        try:
            async with aclosing(_until(self._events(job, reply, notes), self._cancelled(job.id))) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        pictures += event.pictures
                        seconds += event.seconds
                    else:
                        status.show(event)
        except Cancelled:  # perhaps as late as while the last drawing was closed, which takes a moment
            if len(pictures) < len(job.alone()):
                raise

        async def note() -> None:
            await attempt(notes.set("seconds", seconds))

        await asyncio.gather(self._store.keep(job.id, pictures), note())
        return Outcome(job=job, pictures=pictures, seconds=seconds)

    async def _events(self, job: Job, reply: Reply, notes: Notes) -> AsyncGenerator[Event, None]:
        """Yield the events of all of a job's drawings as those of one."""
        start = await self._start_picture(job, reply)
        count, begun, before = len(job.requests), False, 0
        for number, request in enumerate(job.requests):
            finished = False
            async with (
                aclosing(self._draw(job, request, start)) as drawing,
                aclosing(self._speeds.told(job.requests[number:], drawing)) as events,
            ):
                async for event in events:
                    match event:
                        case Started() if not begun:
                            begun = True
                            await self._begin_attempt(notes)
                        case Step(index, total, place=place):
                            event = replace(  # noqa: PLW2901
                                event, index=number * total + index, total=count * total, place=before + place
                            )
                        case Finished():
                            finished = True
                    yield event
                if not finished:
                    raise RuntimeError("the generator stopped without finishing")
            before += request.n

    async def _cancelled(self, job_id: str) -> None:
        """Wait until somebody cancels a job, also where it cannot be seen for a while."""
        await _persist(lambda: self._store.cancelled(job_id), f"job {job_id}: cannot see whether it is cancelled")

    async def _start_picture(self, job: Job, reply: Reply) -> bytes | None:
        """Return the picture that a job starts from; the first time, it is fetched and kept for those that follow."""
        if not job.request.image:
            return None
        kept = await self._store.file(job.request.image)
        if not kept:
            fetched = await attempt(self._insist(lambda: self._brought(job, reply)))
            if isinstance(fetched, BadRequest):
                raise fetched
            if not isinstance(fetched, bytes):
                log.warning("job %s: its picture did not come: %s", job.id, fetched)
                raise Told(LOST_START)
            kept = await vetted(fetched)
            await self._store.keep_file(job.request.image, kept)
        return kept

    async def _brought(self, job: Job, reply: Reply) -> bytes | None:
        """Fetch a picture that came with this job, or with the first that starts from it: no other says where it lies."""
        if brought := await reply.start_picture():
            return brought
        found = await self._store.started_from(job.request.image)
        if not found or found[0].notes.get("deleted"):  # whoever brought it has thought better of it
            return None
        first = found[0].job
        return await self._platforms[first.platform].reply(first, Notes(self._store, first.id, found[0].notes)).start_picture()

    async def _begin_attempt(self, notes: Notes) -> None:
        attempts = (notes.get("attempts") or 0) + 1
        if attempts > ATTEMPTS:
            raise Told(GAVE_UP, attempts=ATTEMPTS)
        await notes.set("attempts", attempts)

    def _reason(self, job: Job, error: Exception) -> str:
        if isinstance(error, Told):
            return error.into(job.language)
        log.error("job %s failed", job.id, exc_info=error)
        return say(job.language, SORRY, id=job.id)

    async def _deliver(self, outcome: Outcome, reply: Reply) -> str:
        """Go down the ladder; return the name of the way that worked."""
        tried = False

        async def unless_deleted(way: Callable[[Outcome], Awaitable[None]]) -> str:
            """Go one way, unless somebody has deleted what an earlier try, whose answer was lost, has shown them."""
            nonlocal tried
            if tried and await self._is_deleted(outcome.job.id):
                return DELETED
            tried = True
            await way(outcome)
            return _name(way)

        for way in reply.ways:
            ended = await attempt(self._insist(partial(unless_deleted, way)))
            if isinstance(ended, str):
                return ended
            unexpected = None if isinstance(ended, Undelivered) else ended
            log.warning("job %s: %s did not work: %s", outcome.job.id, _name(way), ended, exc_info=unexpected)
        return "kept"  # `imagine show` has it

    async def _is_deleted(self, job_id: str) -> bool:
        """Say whether somebody has deleted what came of a job, as far as that can be seen."""
        record = await attempt(self._store.record(job_id))
        return bool(record and not isinstance(record, Exception) and record.notes.get("deleted"))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call until it works or is refused; wait as long as it asks in between."""
        deadline = time.monotonic() + PATIENCE
        for tries in itertools.count():
            try:
                return await call()
            except Busy as busy:
                backoff = min(FIRST_WAIT * 2**tries, LONGEST_WAIT) * CHANCE.uniform(0.5, 1)
                wait = max(backoff, busy.retry_after or 0)
                if time.monotonic() + wait > deadline:
                    raise Refused("busy", str(busy)) from busy
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")


async def _persist(call: Callable[[], Awaitable[None]], complaint: str) -> None:
    """Make a call of the store until it works, however long that takes."""
    while failure := await attempt(call()):
        log.warning("%s: %r", complaint, failure)
        await asyncio.sleep(LONGEST_WAIT)


def _name(way: Callable[..., object]) -> str:
    return getattr(way, "__name__", "delivered")


async def _until(events: AsyncGenerator[Event, None], cancelled: Awaitable[None]) -> AsyncGenerator[Event, None]:
    """Yield events until there are no more, or somebody cancels; then raise. What is finished is not cancelled any more."""
    stop = asyncio.ensure_future(cancelled)
    upcoming: asyncio.Future[Event] | None = None
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(events))
            await asyncio.wait({upcoming, stop}, return_when=asyncio.FIRST_COMPLETED)
            if upcoming.done() and isinstance(upcoming.exception(), StopAsyncIteration):
                return
            if stop.done() and not (upcoming.done() and isinstance(upcoming.result(), Finished)):
                raise Cancelled
            yield upcoming.result()
    finally:
        stop.cancel()
        if upcoming and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait({upcoming})
        await events.aclose()


class Speeds:
    """What is known of how quick the models are here: seconds for a unit of effort, learned from every drawing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def told(self, requests: Sequence[ImageRequest], events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """Yield the events of the first drawing of those to come; add how many seconds are left, and learn from how it went."""
        request = requests[0]
        name = f"speed {request.model}"
        usual = await self._usual(name)
        begun = time.monotonic()
        async for event in events:
            match event:
                case Queued(ahead, None) if usual:
                    yield Queued(ahead, ahead * usual["job"] + sum(map(effort, requests)) * usual["unit"])
                case Started():
                    begun = time.monotonic()
                    yield event
                case Step(index, total, seconds=None):
                    passed = time.monotonic() - begun
                    yield replace(event, seconds=passed / index * (total * len(requests) - index))
                case Finished(_, seconds):
                    yield event  # before we learn from it: whoever cancels meanwhile is too late
                    now = {"unit": seconds / effort(request), "job": seconds}
                    learned = {key: value + LEARNING * (now[key] - value) for key, value in (usual or now).items()}
                    await self._learn(name, learned)
                case _:
                    yield event

    # What is not known, or not learned, is no reason to draw nothing.

    async def _usual(self, name: str) -> dict[str, float] | None:
        """Return the seconds for a unit, and for a job."""
        found = await attempt(self._store.recall(name))
        if isinstance(found, Exception):
            log.warning("how quick the model is was not found: %r", found)
            return None
        usual: dict[str, float] | None = json.loads(found or "null")
        return usual

    async def _learn(self, name: str, learned: Mapping[str, float]) -> None:
        failure = await attempt(self._store.remember(name, json.dumps(learned), forever=True))
        if failure:
            log.warning("how quick the model is was not written down: %r", failure)


class Pace:
    """How many statuses a platform bears in one place: a bucket that fills steadily, and is never let run quite dry."""

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
        self._next = time.monotonic() + reply.edit_every  # what says that the job was taken stands there already
        self._shown: Event | None = None
        self._latest: Event = Started()
        self._preview = Step(0, 0)  # the last one with a preview, which may have come when it was too soon to show it
        self._sending: asyncio.Task[None] | None = None
        self._settled = False

    def announce(self) -> None:
        """Start to show that the job was taken, where nobody has said so."""
        if not self._reply.is_announced:
            self._sending = asyncio.create_task(self._announce())

    def show(self, event: Event) -> None:
        """Start to show an event, unless that is too soon after the last one, or for the platform.

        A place in the queue is then shown later, if it is still the latest: nothing more may happen until somebody's turn.
        """
        if isinstance(event, Step):
            if event.preview:
                self._preview = event
            event = replace(event, preview=self._preview.preview, place=self._preview.place)
        self._latest = event
        self._show(event)

    def _show(self, event: Event) -> None:
        if self._settled or event != self._latest or event == self._shown:
            return
        busy, wait = self._sending and not self._sending.done(), self._next - time.monotonic()
        if busy or wait > 0:
            if isinstance(event, Queued) and wait < math.inf:
                asyncio.get_running_loop().call_later(max(wait, AT_ONCE), self._show, event)
        elif self._pace.take(reserve=FOR_DRAWINGS if isinstance(event, Queued) else 0):
            self._sending = asyncio.create_task(self._send(event))

    async def settle(self) -> None:
        """End a status that is still on its way: one that comes late would cover the outcome."""
        self._settled = True
        if self._sending and not self._sending.done():
            await asyncio.wait([self._sending], timeout=SETTLE)
            self._sending.cancel()

    async def _announce(self) -> None:
        await asyncio.sleep(AT_ONCE)
        await self._send(self._latest)

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


def describe(event: Event, language: str = ENGLISH) -> str:
    """Say in words how far a job is."""
    match event:
        case Queued(0):
            words = say(language, "next in line")
        case Queued(1):
            words = say(language, "1 drawing ahead")
        case Queued(ahead):
            words = say(language, "{ahead} drawings ahead", ahead=ahead)
        case Waking(None):
            words = say(language, "waking a GPU")
        case Waking(seconds):
            return say(language, "waking a GPU, usually about {seconds:.0f} s", seconds=seconds)
        case Step(index, total):
            words = say(language, "step {index} of {total}", index=index, total=total)
        case _:
            words = say(language, "getting ready")
    seconds = getattr(event, "seconds", None)
    if seconds is None or seconds < SOONEST:
        return words
    return f"{words} · {say(language, 'about {seconds:.0f} s', seconds=seconds)}"


def summary(outcome: Outcome) -> str:
    """Say in one line how the pictures were made, or why there are none."""
    if outcome.reason:
        return outcome.reason
    language, parts = outcome.job.language, [settings(outcome.job.request, outcome.job.language)]
    if outcome.seconds is not None:
        parts.append(say(language, "{seconds:.1f} s", seconds=outcome.seconds))
    return " · ".join(parts)
