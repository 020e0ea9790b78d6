"""What the courier does for every platform alike, seen from a platform that only takes notes."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING, Any

import pytest

from bot.courier import Courier, Notes, Outcome, Pace, describe, summary
from bot.errors import Busy, Refused, Told
from bot.request import Event, Finished, ImageRequest, Job, Picture, Queued, Started, Step, Waking, compose, each_alone
from bot.store import Record
from bot.store_local import LocalStore
from tests.conftest import until
from tests.fakes.generator import plain

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
    from pathlib import Path

START = "0123456789abcdef01234567"


class Board:
    """A platform, and its own way back to people."""

    edit_every = 0.0
    is_announced = True

    def __init__(self) -> None:
        self._pace = Pace(per_minute=1_000_000)
        self.shown: list[Event] = []
        self.outcomes: list[Outcome] = []
        self.brought: list[bytes | Exception | None] = []
        self.deleted: list[Job] = []
        self.refuses_to_delete = False
        self.ways = (self.posted,)

    def pace(self, _: Job) -> Pace:
        return self._pace

    def reply(self, job: Job, _: Notes) -> Board:
        self.job = job
        return self

    async def status(self, event: Event) -> None:
        self.shown.append(event)

    async def start_picture(self) -> bytes | None:
        brought = self.brought.pop(0)
        if isinstance(brought, Exception):
            raise brought
        return brought

    async def delete(self) -> None:
        if self.refuses_to_delete:
            raise Refused("no")
        self.deleted.append(self.job)

    async def posted(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Bench:
    """A courier, a generator that draws when it is let, and a board to post on."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self.board = store, Board()
        self.gate = asyncio.Event()
        self.gate.set()
        self.drawn: list[tuple[ImageRequest, bytes | None]] = []
        self.stopped = 0
        self.courier = Courier(draw=self.draw, store=store, platforms={"board": self.board})

    async def draw(self, _: Job, request: ImageRequest, image: bytes | None) -> AsyncGenerator[Event, None]:
        try:
            yield Queued(1)
            yield Started()
            for index in range(2):
                yield Step(index + 1, 2, preview=b"jpeg", place=1)
                await self.gate.wait()
            self.drawn.append((request, image))
            alone = [request.alone(index) for index in range(request.n)]
            yield Finished(tuple(Picture(png=plain(each), request=each) for each in alone), seconds=4.0)
        finally:
            self.stopped += 1

    async def carry(self, job: Job) -> Outcome | None:
        await self.store.claim(job)
        await self.courier.carry(Record(job=job))
        return self.board.outcomes[-1] if self.board.outcomes else None


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with LocalStore(tmp_path) as store:
        yield Bench(store)


def fox(**given: Any) -> ImageRequest:
    return compose("a fox", model="sketch", **({"seed": 7} | given))


def a_job(*requests: ImageRequest, **given: Any) -> Job:
    first, *others = requests or (fox(),)
    usual: dict[str, Any] = {
        "claim": f"{first.prompt} {first.seed}",
        "platform": "board",
        "person": "ann",
        "reply_to": {"user": "ann"},
    }
    return Job(request=first, others=tuple(others), **(usual | given))


async def test_what_is_asked_for_together_is_delivered_together(bench: Bench) -> None:
    job = a_job(fox(n=2), compose("a blue fox", model="sketch", seed=7))
    outcome = await bench.carry(job)
    assert outcome
    assert [picture.request for picture in outcome.pictures] == job.alone()
    assert outcome.seconds == 8.0
    assert (await bench.store.record(job.id)).outcome == "posted"  # type: ignore[union-attr]


async def test_a_stop_just_before_pictures_are_kept_leaves_the_job_for_the_next_start(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, keep = a_job(), bench.store.keep

    def keep_and_stop(*given: Any) -> Awaitable[None]:
        carried.cancel()
        return keep(*given)

    monkeypatch.setattr(bench.store, "keep", keep_and_stop)
    carried = asyncio.ensure_future(bench.carry(job))
    with pytest.raises(asyncio.CancelledError):
        await carried
    gc.collect()  # nothing was begun that nobody waits for: Python would complain
    assert [record.job for record in await bench.store.unfinished()] == [job]


async def test_what_is_drawn_before_a_restart_says_after_it_how_long_that_took(bench: Bench) -> None:
    job = a_job(fox(n=2))
    await bench.carry(job)
    record = await bench.store.record(job.id)
    assert record
    await bench.courier.carry(record)  # as where nobody has written down that it was delivered
    first, again = bench.board.outcomes
    assert len(bench.drawn) == 1
    assert (len(again.pictures), again.seconds) == (2, first.seconds)


async def test_the_steps_of_all_drawings_are_counted_as_one(bench: Bench) -> None:
    await bench.carry(a_job(fox(), fox(seed=8)))
    steps = [(event.index, event.total) for event in bench.board.shown if isinstance(event, Step)]
    assert steps == sorted(steps)
    assert {total for _, total in steps} == {4}


async def test_a_preview_says_which_of_all_the_jobs_pictures_it_shows(bench: Bench) -> None:
    await bench.carry(a_job(fox(n=2), fox(n=3, seed=9)))
    places = {event.index: event.place for event in bench.board.shown if isinstance(event, Step) and event.preview}
    assert set(places.values()) == {1, 3}
    assert places[4] == 3


async def test_many_drawings_of_one_job_are_one_attempt(bench: Bench) -> None:
    outcome = await bench.carry(a_job(*(fox(seed=seed) for seed in range(6))))
    assert outcome
    assert len(outcome.pictures) == 6


@pytest.mark.parametrize("is_announced", [True, False])
async def test_what_nobody_was_told_of_is_shown_at_once(is_announced: bool, bench: Bench) -> None:
    bench.board.is_announced, bench.board.edit_every = is_announced, 60.0
    bench.gate.clear()
    carried = asyncio.create_task(bench.carry(a_job()))
    await asyncio.sleep(0.1)
    assert len(bench.board.shown) == (not is_announced)
    bench.gate.set()
    await carried


async def test_cancelling_stops_the_drawing_and_says_so_once(bench: Bench) -> None:
    bench.gate.clear()
    job = a_job(language="de")
    carried = asyncio.create_task(bench.carry(job))
    await until(lambda: any(isinstance(event, Step) for event in bench.board.shown))
    await bench.store.cancel(job.id)
    outcome = await asyncio.wait_for(carried, 5)
    assert outcome
    assert (outcome.reason, outcome.pictures) == ("Abgebrochen.", ())
    assert bench.stopped == 1
    assert bench.drawn == []
    assert len(bench.board.outcomes) == 1


@pytest.mark.parametrize("busy", ["closing", "learning"])
@pytest.mark.parametrize(("prompts", "words", "delivered"), [(1, "", 2), (2, "Cancelled.", 0)])
async def test_a_cancel_just_after_a_drawing_stops_only_what_is_still_to_be_drawn(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, busy: str, prompts: int, words: str, delivered: int
) -> None:
    job = a_job(*(fox(n=2, seed=seed) for seed in range(prompts)))

    async def cancelled(*_: object, **__: object) -> None:
        await bench.store.cancel(job.id)
        await asyncio.Event().wait()

    async def draw(_: Job, request: ImageRequest, image: bytes | None) -> AsyncGenerator[Event, None]:
        del image
        yield Started()
        yield Finished(tuple(Picture(png=plain(each), request=each) for each in each_alone([request])), seconds=1)
        await cancelled()

    if busy == "learning":
        monkeypatch.setattr(bench.store, "remember", cancelled)
    bench.courier = Courier(draw=draw, store=bench.store, platforms={"board": bench.board})
    outcome = await asyncio.wait_for(bench.carry(job), 30)
    assert outcome
    assert (outcome.reason, len(outcome.pictures)) == (words, delivered)


async def test_a_cancel_stops_only_the_job_it_is_for(bench: Bench) -> None:
    bench.gate.clear()
    jobs = [a_job(fox(seed=seed)) for seed in (1, 2)]
    carried = [asyncio.create_task(bench.carry(job)) for job in jobs]
    await until(lambda: len(bench.board.shown) > 1)
    await bench.store.cancel(jobs[0].id)
    await carried[0]
    assert not carried[1].done()
    bench.gate.set()
    await carried[1]
    assert [bool(outcome.pictures) for outcome in bench.board.outcomes] == [False, True]


async def test_what_was_cancelled_before_a_restart_is_not_drawn_after_it(bench: Bench) -> None:
    job = a_job()
    await bench.store.claim(job)
    await bench.store.cancel(job.id)
    bench.gate.clear()
    [record] = await bench.store.unfinished()
    await asyncio.wait_for(bench.courier.carry(record), 5)
    assert bench.board.outcomes[-1].reason == "Cancelled."


async def test_a_picture_that_comes_along_is_fetched_once_and_kept_as_a_plain_one(bench: Bench) -> None:
    bench.board.brought = [Busy("later", 0), plain(fox())]
    await bench.carry(a_job(fox(image=START)))
    await bench.carry(a_job(fox(image=START, seed=8)))
    starts = [image for _, image in bench.drawn]
    assert starts[0] == starts[1] == await bench.store.file(START)
    assert starts[0]
    assert b"parameters" not in starts[0]


@pytest.mark.parametrize(
    ("brought", "words"),
    [
        (b"not a picture", "That is not a picture that I can read. PNG, JPEG, WebP and GIF work."),
        (None, "The picture to start from is not here any more. Please attach it again."),
        (Refused("403"), "The picture to start from is not here any more. Please attach it again."),
    ],
)
async def test_a_picture_that_does_not_come_is_told(bench: Bench, brought: bytes | Exception | None, words: str) -> None:
    bench.board.brought = [brought]
    outcome = await bench.carry(a_job(fox(image=START)))
    assert outcome
    assert outcome.reason == words
    assert bench.drawn == []


async def test_a_cancel_is_heard_while_the_picture_to_start_from_does_not_come(bench: Bench) -> None:
    bench.board.brought = [Busy("later", 60) for _ in range(9)]
    job = a_job(fox(image=START))
    carried = asyncio.create_task(bench.carry(job))
    await until(lambda: len(bench.board.brought) < 9)
    await bench.store.cancel(job.id)
    outcome = await asyncio.wait_for(carried, 5)
    assert outcome
    assert outcome.reason == "Cancelled."


@pytest.mark.parametrize("refuses", [False, True])
async def test_deleting_is_carried_like_a_job_and_drops_the_pictures(bench: Bench, *, refuses: bool) -> None:
    bench.board.refuses_to_delete = refuses
    drawn = a_job()
    await bench.carry(drawn)
    errand = a_job(claim="press", errand="delete", reply_to={"user": "ann", "target": drawn.id})
    await bench.carry(errand)
    assert await bench.store.pictures(drawn.id) == []
    record = await bench.store.record(errand.id)
    assert record
    assert record.outcome == ("not deleted" if refuses else "deleted")
    assert len(bench.board.outcomes) == 1


async def delete(bench: Bench, job: Job) -> None:
    await bench.carry(a_job(claim=f"delete {job.id}", errand="delete", reply_to={"user": "ann", "target": job.id}))


async def test_what_is_to_be_deleted_is_not_left_where_that_cannot_be_written_down_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    await bench.carry(job)
    note, fails = bench.store.note, [OSError("the disk is full")] * 3

    async def full_for_a_while(job_id: str, **facts: Any) -> None:
        if fails:
            raise fails.pop()
        await note(job_id, **facts)

    monkeypatch.setattr("bot.courier.LONGEST_WAIT", 0.01)
    monkeypatch.setattr(bench.store, "note", full_for_a_while)
    await delete(bench, job)
    assert len(bench.board.deleted) == 1
    assert (await bench.store.record(job.id)).notes["deleted"]  # type: ignore[union-attr]
    assert not await bench.store.pictures(job.id)
    assert not await bench.store.unfinished()


@pytest.mark.parametrize("lost", [Busy("no answer", 0), Refused("404")], ids=["tried again", "the next way"])
async def test_what_was_deleted_before_its_answer_was_lost_is_not_posted_again(bench: Bench, lost: Exception) -> None:
    job = a_job()

    async def shown(outcome: Outcome) -> None:
        bench.board.outcomes.append(outcome)
        await delete(bench, job)
        raise lost

    bench.board.ways = (shown, bench.board.posted)  # type: ignore[assignment]
    await asyncio.wait_for(bench.carry(job), 10)
    assert len(bench.board.outcomes) == 1
    assert (await bench.store.record(job.id)).outcome == "deleted"  # type: ignore[union-attr]


async def test_what_was_deleted_is_not_drawn_again_after_a_restart(bench: Bench) -> None:
    job = a_job()
    await bench.carry(job)
    await delete(bench, job)
    record = await bench.store.record(job.id)
    assert record
    await bench.courier.carry(record)  # as where nobody has written down that it was delivered
    assert len(bench.drawn) == len(bench.board.outcomes) == 1


async def test_a_job_whose_end_cannot_be_written_down_is_not_left_until_it_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, fails = bench.store.finish, [OSError("the disk is full")] * 3

    async def full_for_a_while(job_id: str, ended: str) -> None:
        if fails:
            raise fails.pop()
        await finish(job_id, ended)

    monkeypatch.setattr("bot.courier.LONGEST_WAIT", 0.01)
    monkeypatch.setattr(bench.store, "finish", full_for_a_while)
    await bench.carry(a_job())
    assert await bench.store.unfinished() == []
    assert len(bench.board.outcomes) == 1


async def test_a_job_that_is_under_way_at_a_stop_goes_on_later_though_nothing_can_be_noted_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    bench.gate.clear()
    carried = asyncio.create_task(bench.carry(a_job()))
    await until(lambda: any(isinstance(event, Step) for event in bench.board.shown))
    monkeypatch.setattr(bench.store, "note", full)
    carried.cancel()
    await asyncio.wait({carried}, timeout=30)
    assert carried.cancelled()
    assert bench.board.outcomes == []
    assert len(await bench.store.unfinished()) == 1


async def test_what_is_posted_but_cannot_be_noted_is_not_posted_once_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = a_job()
    notes, tries = Notes(bench.store, job.id, {}), list[str]()
    note = bench.store.note

    async def full(job_id: str, **facts: Any) -> None:
        if "ts" in facts:
            raise OSError("the disk is full")
        await note(job_id, **facts)

    async def posted(outcome: Outcome) -> None:
        tries.append("try")
        if not notes.get("ts"):
            bench.board.outcomes.append(outcome)
            await notes.set("ts", "1")

    monkeypatch.setattr("bot.courier.FIRST_WAIT", 0.01)
    monkeypatch.setattr(bench.store, "note", full)
    bench.board.ways = (posted, bench.board.posted)  # type: ignore[assignment]
    await bench.carry(job)
    assert len(tries) == 2
    assert len(bench.board.outcomes) == 1


async def test_a_place_in_the_queue_that_came_too_soon_is_shown_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait(*_: object) -> AsyncGenerator[Event, None]:
        yield Queued(1)
        await bench.gate.wait()
        raise Told("enough")

    monkeypatch.setattr(bench.courier, "_draw", wait)
    bench.board.edit_every = 0.05
    bench.gate.clear()
    carried = asyncio.create_task(bench.carry(a_job()))
    try:
        await until(lambda: bench.board.shown == [Queued(1)])
    finally:
        bench.gate.set()
        await carried


async def test_how_long_it_takes_is_learned_from_what_was_drawn(bench: Bench) -> None:
    await bench.carry(a_job())
    assert [event for event in bench.board.shown if isinstance(event, Queued)] == [Queued(1, None)]
    bench.board.shown.clear()
    await bench.carry(a_job(fox(n=2)))
    [queued] = [event for event in bench.board.shown if isinstance(event, Queued)]
    assert queued.seconds == pytest.approx(4.0 + 8.0)  # the one ahead, and then twice the effort


async def test_how_long_it_takes_counts_the_drawings_that_are_still_to_come(bench: Bench) -> None:
    await bench.carry(a_job())
    bench.board.shown.clear()
    bench.gate.clear()
    carried = asyncio.create_task(bench.carry(a_job(fox(seed=8), fox(seed=9), fox(seed=10))))
    await until(lambda: any(isinstance(event, Step) for event in bench.board.shown))
    await asyncio.sleep(0.05)
    bench.gate.set()
    await carried
    queued = next(event for event in bench.board.shown if isinstance(event, Queued))
    assert queued.seconds == pytest.approx(4.0 + 3 * 4.0)
    second = next(event for event in bench.board.shown if isinstance(event, Step) and event.index == 2)
    assert second.seconds
    assert second.seconds > 2 * 0.05  # the first two of six steps took as much


async def test_a_picture_is_delivered_though_nobody_can_know_or_learn_how_long_it_took(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(bench.store, "recall", fail)
    monkeypatch.setattr(bench.store, "remember", fail)
    outcome = await bench.carry(a_job())
    assert outcome
    assert len(outcome.pictures) == 1


async def test_pictures_that_people_brought_are_looked_over_one_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = most = 0

    def look(content: bytes) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        inside -= 1
        return content

    monkeypatch.setattr("bot.upload.vet", look)
    bench.board.brought = [plain(fox())] * 4
    await asyncio.gather(*(bench.carry(a_job(fox(image=f"{number:024x}"), claim=f"{number}")) for number in range(4)))
    assert len(bench.drawn) == 4
    assert most == 1


async def test_the_last_preview_is_shown_with_the_next_step_that_is(bench: Bench) -> None:
    async def draw(_: Job, request: ImageRequest, image: bytes | None) -> AsyncGenerator[Event, None]:
        del image
        yield Started()
        for index in range(3):
            yield Step(index + 1, 3, preview=b"jpeg" if index == 0 else b"")
            await until(lambda: bench.board.shown)
        yield Finished((Picture(png=plain(request), request=request),), seconds=1)

    bench.courier = Courier(draw=draw, store=bench.store, platforms={"board": bench.board})
    await bench.carry(a_job())
    assert {event.preview for event in bench.board.shown if isinstance(event, Step)} == {b"jpeg"}


@pytest.mark.parametrize(
    ("event", "english", "german"),
    [
        (Queued(0), "next in line", "als Nächstes dran"),
        (Queued(1, 12.4), "1 drawing ahead · about 12 s", "1 Zeichnung davor · etwa 12 s"),
        (Queued(3), "3 drawings ahead", "3 Zeichnungen davor"),
        (Waking(), "waking a GPU", "eine GPU wird geweckt"),
        (Waking(33.3), "waking a GPU, usually about 33 s", "eine GPU wird geweckt, meist etwa 33 s"),
        (Started(), "getting ready", "wird vorbereitet"),
        (Step(2, 4, seconds=1.0), "step 2 of 4", "Schritt 2 von 4"),
        (Step(2, 4, seconds=7.9), "step 2 of 4 · about 8 s", "Schritt 2 von 4 · etwa 8 s"),
    ],
)
def test_how_far_it_is_is_said_in_the_persons_language(event: Event, english: str, german: str) -> None:
    assert (describe(event), describe(event, "de")) == (english, german)


def test_the_line_under_a_picture_is_in_the_persons_language() -> None:
    outcome = Outcome(job=a_job(language="de"), pictures=[], seconds=1.26)
    assert summary(outcome) == "256×256 · 4 Schritte · Guidance 1 · Seed 7 · sketch · 1,3 s"
