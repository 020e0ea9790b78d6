"""What is written down stays written down, once, and whole.

The first part holds for any store: `LocalStore`, and `ModalStore` over Modal's own client and a stand-in of its servers. The
second part is about the files of `LocalStore`.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import textwrap
import time
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import modal
import pytest

from bot import store_modal
from bot.desk import REMEMBER
from bot.errors import Told
from bot.request import NOT_TAKEN, Job, Picture, compose
from bot.store_local import KEPT_FOR, SYNCHRONOUS, LocalStore
from bot.store_modal import ModalStore
from tests.conftest import until
from tests.fakes.generator import plain
from tests.fakes.modal import ModalServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bot.request import ImageRequest
    from bot.store import Record, Store

    Opener = Callable[[], AbstractAsyncContextManager[Store]]

ROOT = Path(__file__).parent.parent
DAY = 24 * 3600  # seconds
numbers = count()


@pytest.fixture(params=["local", "modal"])
async def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    if request.param == "local":
        yield lambda: LocalStore(tmp_path)
        return
    async with ModalServer() as server, server.client() as client:

        def of(name: str) -> modal.Dict:
            return modal.Dict.from_name(name, create_if_missing=True, client=client)

        cancels = modal.Queue.from_name("cancels", create_if_missing=True, client=client)
        yield lambda: nullcontext(ModalStore(of("jobs"), of("pictures"), of("waiting"), cancels))


@pytest.fixture
async def store(reopened: Opener) -> AsyncIterator[Store]:
    async with reopened() as store:
        yield store


def a_request(**given: Any) -> ImageRequest:
    return compose("a fox 🦊", model="sketch", seed=7, **given)


def a_job(claim: str | None = None) -> Job:
    address = {"channel": "C1", "response_url": "https://hooks.example/ü"}
    return Job(
        claim=claim or f"page:{next(numbers)}", request=a_request(n=3), platform="page", person="page:ann", reply_to=address
    )


def drawn(request: ImageRequest) -> list[Picture]:
    alone = [request.alone(index) for index in range(request.n)]
    return [Picture(png=plain(one), request=one) for one in alone]


async def waiting_in(store: Store) -> list[Job]:
    return [record.job for record in await store.unfinished()]


async def test_a_new_claim_is_taken_by_the_job_that_brings_it(store: Store) -> None:
    job = a_job()
    assert await store.claim(job) == job


async def test_a_claim_that_is_taken_returns_the_job_that_holds_it(store: Store) -> None:
    first, second = a_job("slack:T1:1.2"), a_job("slack:T1:1.2")
    await store.claim(first)
    assert await store.claim(second) == first
    assert await store.record(second.id) is None


async def test_a_claim_made_a_hundred_times_at_once_makes_one_job(store: Store) -> None:
    held = await asyncio.gather(*(store.claim(a_job("slack:T1:1.2")) for _ in range(100)))
    assert len({job.id for job in held}) == 1
    assert [job.id for job in await waiting_in(store)] == [held[0].id]


async def test_a_job_that_is_handed_in_a_hundred_times_is_one_job(store: Store) -> None:
    job = a_job()
    assert await asyncio.gather(*(store.claim(job) for _ in range(100))) == [job] * 100
    assert await waiting_in(store) == [job]


async def test_two_who_write_at_once_agree_on_who_holds_a_claim(reopened: Opener) -> None:
    async with reopened() as here, reopened() as there:
        for number in range(20):
            claims = [store.claim(a_job(f"discord:{number}")) for store in (here, there) for _ in range(3)]
            assert len({job.id for job in await asyncio.gather(*claims)}) == 1
        assert len(await waiting_in(here)) == 20


async def test_it_is_known_how_long_the_last_jobs_took(store: Store) -> None:
    waiting, *done = jobs = [a_job() for _ in range(4)]
    for job in jobs:
        await store.claim(job)
    for job in done:
        await store.finish(job.id, "posted")
    assert await store.record(waiting.id)
    assert len(await store.durations(10)) == 3
    assert len(await store.durations(2)) == 2
    await store.note(done[-1].id, deleted=True)
    assert len(await store.durations(10)) == 3
    assert all(0 <= seconds < 10 for seconds in await store.durations(10))


async def test_only_drawings_that_were_promised_tell_how_long_drawings_take(store: Store) -> None:
    drawing, deletion, refused = jobs = [a_job(), replace(a_job(), errand="delete"), a_job()]
    for job in jobs:
        await store.claim(job)
    await store.finish(drawing.id, "posted")
    (took,) = await store.durations(1)
    await store.finish(deletion.id, "deleted")
    await store.finish(refused.id, NOT_TAKEN)
    assert await store.durations(1) == await store.durations(10) == [took]


async def test_a_finished_job_keeps_its_claim(store: Store) -> None:
    job = a_job("discord:1")
    await store.claim(job)
    await store.finish(job.id, "in_place")
    assert (await store.claim(a_job("discord:1"))).id == job.id
    assert await waiting_in(store) == []


async def test_a_record_tells_what_is_known_of_a_job(store: Store) -> None:
    job = a_job()
    await store.claim(job)
    record = await store.record(job.id)
    assert record is not None
    assert (record.job, record.notes, record.outcome) == (job, {}, None)
    await store.note(job.id, attempts=1)
    await store.finish(job.id, "in_channel")
    record = await store.record(job.id)
    assert record is not None
    assert (record.job, record.notes, record.outcome) == (job, {"attempts": 1}, "in_channel")


async def test_nothing_is_known_of_a_job_that_never_was(store: Store) -> None:
    assert await store.record("nobody") is None
    assert await store.pictures("nobody") == []


async def test_what_is_noted_of_a_job_that_never_was_makes_none(store: Store) -> None:
    await store.note("nobody", attempts=1)
    await store.finish("nobody", "in_channel")
    assert await store.record("nobody") is None


@pytest.mark.parametrize("fact", [1, 2.5, True, "ts 1.2", "狐 ' \" \\ $.", ["F1", "F2"], [], {"a": {"b": [1]}}])
async def test_a_fact_is_noted_as_it_is(store: Store, fact: object) -> None:
    job = a_job()
    await store.claim(job)
    await store.note(job.id, fact=fact)
    record = await store.record(job.id)
    assert record is not None
    assert record.notes == {"fact": fact}


@pytest.mark.parametrize(("old", "new"), [(1, 2), ("a", ["b"]), (["a", "b"], ["c"]), ({"a": 1}, {"b": 2})])
async def test_a_fact_noted_again_takes_the_place_of_the_old_one(store: Store, old: object, new: object) -> None:
    job = a_job()
    await store.claim(job)
    await store.note(job.id, fact=old, other=1)
    await store.note(job.id, fact=new)
    record = await store.record(job.id)
    assert record is not None
    assert record.notes == {"fact": new, "other": 1}


@pytest.mark.parametrize("key", ["ts C1", "files D1", "a.b", "$", 'quote"', "ü"])
async def test_a_fact_may_have_any_name(store: Store, key: str) -> None:
    job = a_job()
    await store.claim(job)
    await store.note(job.id, **{key: "here"})
    record = await store.record(job.id)
    assert record is not None
    assert record.notes == {key: "here"}


async def test_facts_noted_at_once_are_all_kept_and_each_with_its_own_job(store: Store) -> None:
    jobs = [a_job() for _ in range(5)]
    for job in jobs:
        await store.claim(job)
    await asyncio.gather(*(store.note(job.id, **{f"k{i}": job.id}) for i in range(20) for job in jobs))
    for job in jobs:
        record = await store.record(job.id)
        assert record is not None
        assert record.notes == {f"k{i}": job.id for i in range(20)}


async def test_unfinished_jobs_come_with_how_far_each_got(store: Store) -> None:
    job = await store.claim(a_job())
    await store.note(job.id, attempts=2)
    (record,) = await store.unfinished()
    assert (record.job, record.notes, record.outcome) == (job, {"attempts": 2}, None)


async def test_unfinished_jobs_come_oldest_first(store: Store) -> None:
    jobs = [a_job() for _ in range(10)]
    for job in jobs[:5]:
        await store.claim(job)
    await asyncio.gather(*(store.claim(job) for job in jobs[5:]))
    assert await waiting_in(store) == jobs
    for job in jobs[::2]:
        await store.finish(job.id, "in_place")
    assert await waiting_in(store) == jobs[1::2]


async def test_pictures_are_kept_in_order_with_the_request_that_draws_each_alone(store: Store) -> None:
    request = a_request(n=10)
    await store.keep("job", drawn(request))
    assert await store.pictures("job") == drawn(request)


async def test_one_picture_is_read_by_itself(store: Store) -> None:
    request = a_request(n=3)
    await store.keep("job", drawn(request))
    assert await store.png("job", 1) == drawn(request)[1].png
    assert [await store.png("job", 3), await store.png("job", -1), await store.png("nobody", 0)] == [None] * 3


async def test_pictures_kept_again_are_there_once(store: Store) -> None:
    request = a_request(n=3)
    await store.keep("job", drawn(request))
    await store.keep("job", drawn(request))
    assert await store.pictures("job") == drawn(request)


async def test_a_set_that_cannot_be_kept_whole_is_not_kept_and_may_be_kept_later(store: Store) -> None:
    whole = drawn(a_request(n=3))
    broken: Any = [*whole[:2], replace(whole[2], png="no bytes")]  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        await store.keep("job", broken)
    assert await store.pictures("job") == []
    await store.keep("job", whole)
    assert await store.pictures("job") == whole


async def test_dropped_pictures_are_gone_and_the_job_is_not(store: Store) -> None:
    job = await store.claim(a_job())
    await store.keep(job.id, drawn(job.request))
    await store.drop(job.id)
    await store.drop(job.id)
    assert await store.pictures(job.id) == []
    assert await store.record(job.id)


async def test_a_job_of_several_requests_is_read_as_it_was_written(store: Store) -> None:
    job = replace(a_job(), others=(a_request(n=2), a_request()), words="a {fox,cat}", language="de", errand="delete")
    await store.claim(job)
    record = await store.record(job.id)
    assert record
    assert record.job == job


async def test_whoever_waits_hears_of_a_cancel_before_or_after(reopened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store_modal.LOOK_AGAIN", 0.01)
    async with reopened() as store:
        first, second = await store.claim(a_job()), await store.claim(a_job())
        waits = [asyncio.create_task(store.cancelled(job.id)) for job in (first, second)]
        await asyncio.sleep(0)
        await store.cancel(first.id)
        await asyncio.wait_for(waits[0], 30)
        assert not waits[1].done()
        waits[1].cancel()
    async with reopened() as store:
        await asyncio.wait_for(store.cancelled(first.id), 30)


async def test_a_paper_is_what_was_last_written_on_it(reopened: Opener) -> None:
    async with reopened() as store:
        assert await store.recall("defaults ann") is None
        await store.remember("defaults ann", "one")
        await store.remember("defaults ann", "zwei 🦊", forever=True)
        await store.remember("defaults bob", "three")
    async with reopened() as store:
        assert await store.recall("defaults ann") == "zwei 🦊"


async def test_a_paper_that_was_erased_is_gone(reopened: Opener) -> None:
    async with reopened() as store:
        await store.remember("slack T1", "one", forever=True)
        await store.remember("slack T2", "two", forever=True)
        await store.erase("slack T1")
        await store.erase("slack T1")
    async with reopened() as store:
        assert [await store.recall(name) for name in ("slack T1", "slack T2")] == [None, "two"]


async def test_only_the_first_of_many_is_the_first(store: Store) -> None:
    told = await asyncio.gather(*(store.first("a press", f"{number}") for number in range(50)))
    assert len(set(told)) == 1
    assert [await store.first("a press", "late"), await store.first("another", "late")] == [told[0], "late"]


async def test_a_file_is_what_was_last_kept(store: Store) -> None:
    name = "0123456789abcdef01234567"
    assert await store.file(name) is None
    await store.keep_file(name, b"one")
    await store.keep_file(name, b"two")
    assert await store.file(name) == b"two"


async def test_a_file_that_is_dropped_is_gone_and_may_be_dropped_again(store: Store) -> None:
    for name in ("0" * 24, "1" * 24):
        await store.keep_file(name, b"one")
    for _ in range(2):
        await store.drop_file("0" * 24)
    assert [await store.file(name) for name in ("0" * 24, "1" * 24)] == [None, b"one"]


async def test_it_is_known_which_jobs_start_from_a_picture(store: Store) -> None:
    plain_one, *jobs = (replace(a_job(), request=a_request(image=image)) for image in ("", "0" * 24, "1" * 24, "0" * 24))
    for job in (plain_one, *jobs):
        await store.claim(job)
    await store.note(jobs[2].id, deleted=True)
    records = await store.started_from("0" * 24)
    assert [(record.job, dict(record.notes)) for record in records] == [(jobs[0], {}), (jobs[2], {"deleted": True})]
    assert await store.started_from("2" * 24) == []


async def test_papers_and_files_are_no_jobs(store: Store) -> None:
    await store.remember("job x", "y")
    await store.first("claim x", "y")
    await store.keep_file("0" * 24, b"")
    assert await store.unfinished() == []


@pytest.mark.parametrize("job_id", ["", ".", "..", "../job", "/", "x" * 200, "*", "["])
async def test_an_id_that_no_job_can_have_has_no_pictures(store: Store, job_id: str) -> None:
    await store.keep("job", drawn(a_request()))
    assert await store.pictures(job_id) == []


async def test_everything_is_there_after_reopening(reopened: Opener) -> None:
    waiting, done = a_job(), a_job()
    async with reopened() as store:
        for job in (waiting, done):
            await store.claim(job)
        await store.note(waiting.id, files=["F1"])
        await store.keep(done.id, drawn(done.request))
        await store.finish(done.id, "in_dm")
        before = [await store.record(job.id) for job in (waiting, done)]
    async with reopened() as store:
        assert [await store.record(job.id) for job in (waiting, done)] == before
        assert await waiting_in(store) == [waiting]
        assert await store.pictures(done.id) == drawn(done.request)
        assert await store.claim(replace(waiting, id="another")) == waiting


async def test_two_may_read_and_write_at_once(reopened: Opener) -> None:
    async with reopened() as here, reopened() as there:
        job = await here.claim(a_job())
        assert await waiting_in(there) == [job]
        await asyncio.gather(here.note(job.id, here=1), there.note(job.id, there=1))
        await there.finish(job.id, "in_place")
        records = [await store.record(job.id) for store in (here, there)]
        assert records[0] == records[1]
        assert records[0] is not None
        assert (records[0].notes, records[0].outcome) == ({"here": 1, "there": 1}, "in_place")


async def test_a_fact_that_cannot_be_written_holds_nobody_up(store: Store) -> None:
    job, other = a_job(), a_job()
    await store.claim(job)
    async with asyncio.timeout(30):
        _, held = await asyncio.gather(store.note(job.id, fact=object()), store.claim(other), return_exceptions=True)
    assert held == other
    assert await waiting_in(store) == [job, other]


async def test_a_job_that_cannot_be_written_down_is_refused_alone(store: Store) -> None:
    other = a_job()
    async with asyncio.timeout(30):
        refused, held = await asyncio.gather(store.claim(a_job("\ud800")), store.claim(other), return_exceptions=True)
    assert isinstance(refused, Exception)
    assert held == other


async def test_whoever_stops_waiting_for_a_write_takes_nobody_along(store: Store) -> None:
    jobs = [a_job() for _ in range(10)]
    writes = [asyncio.ensure_future(store.claim(job)) for job in jobs]
    await asyncio.sleep(0)
    writes[3].cancel()
    async with asyncio.timeout(30):
        held = await asyncio.gather(*writes, return_exceptions=True)
    assert [job for job in held if isinstance(job, Job)] == [*jobs[:3], *jobs[4:]]


async def dies(script: str, home: Path) -> str:
    """Run a script that kills itself with SIGKILL; return what it printed before."""
    head = """
        import asyncio, os, signal, sys
        from pathlib import Path
        from bot.request import Job, Picture, compose
        from bot.store_local import LocalStore

        request = compose("a fox", model="sketch", seed=7, n=3)
        job = Job(claim="slack:T1:1.2", request=request, platform="slack", person="slack:T1:U1", reply_to={"channel": "C1"})

        def die(_=None):
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)

        class Fatal:
            png = property(die)

        async def main():
            async with LocalStore(Path(sys.argv[1])) as store:
    """
    body = textwrap.indent(textwrap.dedent(script), " " * 8)
    code = f"{textwrap.dedent(head)}{body}\nasyncio.run(main())\n"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(home), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == -9
    return output.decode().strip()


async def test_a_process_killed_right_after_a_claim_has_the_job_when_it_starts_again(tmp_path: Path) -> None:
    job_id = await dies("await store.claim(job); print(job.id); die()", tmp_path)
    async with LocalStore(tmp_path) as store:
        (job,) = await waiting_in(store)
    assert (job.id, job.claim, job.request) == (job_id, "slack:T1:1.2", compose("a fox", model="sketch", seed=7, n=3))


async def test_a_process_killed_right_after_a_note_remembers_it(tmp_path: Path) -> None:
    job_id = await dies("await store.claim(job); print(job.id); await store.note(job.id, files=['F1']); die()", tmp_path)
    async with LocalStore(tmp_path) as store:
        record = await store.record(job_id)
    assert record is not None
    assert record.notes == {"files": ["F1"]}


async def test_a_process_killed_among_its_pictures_has_kept_none_and_can_keep_them_again(tmp_path: Path) -> None:
    await dies("await store.keep('job', [Picture(png=b'half', request=request), Fatal()])", tmp_path)
    pictures = drawn(a_request(n=3))
    async with LocalStore(tmp_path) as store:
        assert await store.pictures("job") == []
        await store.keep("job", pictures)
        assert await store.pictures("job") == pictures


async def test_a_job_of_a_model_that_is_gone_does_not_hide_the_others(tmp_path: Path) -> None:
    gone, other = a_job(), a_job()
    async with LocalStore(tmp_path) as store:
        for job in (gone, other):
            await store.claim(job)
    with sqlite3.connect(tmp_path / "jobs.sqlite3") as database:
        database.execute("UPDATE jobs SET job = replace(job, '\"sketch\"', '\"gone\"') WHERE id = ?", (gone.id,))
    database.close()
    async with LocalStore(tmp_path) as store:
        assert other in await waiting_in(store)


def aged(home: Path, job: Job, seconds: float) -> None:
    with sqlite3.connect(home / "jobs.sqlite3") as database:
        database.execute("UPDATE jobs SET made = made - ? WHERE id = ?", (seconds, job.id))
    database.close()


async def test_old_finished_jobs_are_dropped_with_their_pictures_and_unfinished_ones_never(tmp_path: Path) -> None:
    old, recent, waiting = a_job("old"), a_job("recent"), a_job("waiting")
    async with LocalStore(tmp_path) as store:
        for job in (old, recent, waiting):
            await store.claim(job)
            await store.keep(job.id, drawn(job.request))
        for job in (old, recent):
            await store.finish(job.id, "in_place")
    for job, seconds in ((old, KEPT_FOR + DAY), (recent, KEPT_FOR - DAY), (waiting, 100 * KEPT_FOR)):
        aged(tmp_path, job, seconds)
    async with LocalStore(tmp_path) as store:
        assert [await store.record(job.id) is not None for job in (old, recent, waiting)] == [False, True, True]
        assert [len(await store.pictures(job.id)) for job in (old, recent, waiting)] == [0, 3, 3]
        assert await waiting_in(store) == [waiting]
        assert not store.folder(old.id).exists()
        assert (await store.claim(a_job("old"))).id != old.id


async def test_pictures_that_were_not_forgotten_before_a_stop_are_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, dropped = [a_job() for _ in range(3)], list[str]()
    async with LocalStore(tmp_path) as store:
        for job in jobs:
            await store.claim(job)
            await store.keep(job.id, drawn(job.request))
            await store.finish(job.id, "in_place")
            aged(tmp_path, job, KEPT_FOR + DAY)
        drop = store.drop

        async def stop_at_the_second(job_id: str) -> None:
            if dropped:
                raise asyncio.CancelledError
            await drop(job_id)
            dropped.append(job_id)

        monkeypatch.setattr(store, "drop", stop_at_the_second)
        with pytest.raises(asyncio.CancelledError):
            await store.forget()
        assert len(list((tmp_path / "pictures").iterdir())) == 2
    async with LocalStore(tmp_path) as store:
        assert [await store.record(job.id) for job in jobs] == [None] * 3
    assert list((tmp_path / "pictures").iterdir()) == []


async def test_old_papers_and_files_are_dropped_but_those_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with LocalStore(tmp_path) as store:
        await store.remember("proposal", "a")
        await store.remember("defaults", "b", forever=True)
        await store.keep_file("0" * 24, b"c")
        now = time.time()
        monkeypatch.setattr("bot.store_local.time.time", lambda: now + KEPT_FOR + DAY)
        await store.keep_file("1" * 24, b"d")
        os.utime(tmp_path / "files" / ("1" * 24), (now + KEPT_FOR, now + KEPT_FOR))
        await store.forget()
        assert [await store.recall(name) for name in ("proposal", "defaults")] == [None, "b"]
        assert [await store.file(name) for name in ("0" * 24, "1" * 24)] == [None, b"d"]


async def test_pictures_lie_where_the_store_says_numbered_from_zero(tmp_path: Path) -> None:
    pictures = drawn(a_request(n=3))
    async with LocalStore(tmp_path) as store:
        await store.keep("job", pictures)
        assert [(store.folder("job") / f"{index}.png").read_bytes() for index in range(3)] == [each.png for each in pictures]


async def test_keeping_pictures_leaves_nothing_else_behind(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        for _ in range(2):
            await store.keep("job", drawn(a_request()))
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["job"]


async def test_what_is_promised_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store_local.SYNCHRONOUS", SYNCHRONOUS)  # as it is where no tests run
    async with LocalStore(tmp_path) as store:
        assert store._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


async def test_keeping_pictures_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    whole, *_ = drawn(a_request(n=3))
    broken: Any = replace(whole, png="no bytes")  # type: ignore[arg-type]
    async with LocalStore(tmp_path) as store:
        with pytest.raises(TypeError):
            await store.keep("job", [whole, broken])
    assert list((tmp_path / "pictures").iterdir()) == []


async def test_pictures_whose_keeper_was_killed_can_be_dropped(tmp_path: Path) -> None:
    await dies("await store.keep('job', [Picture(png=b'half', request=request), Fatal()])", tmp_path)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["job.draft"]
    async with LocalStore(tmp_path) as store:
        await store.drop("job")
    assert list((tmp_path / "pictures").iterdir()) == []


async def test_the_folder_is_made_where_there_is_none(tmp_path: Path) -> None:
    async with LocalStore(tmp_path / "a" / "b") as store:
        await store.claim(a_job())
    assert (tmp_path / "a" / "b" / "jobs.sqlite3").exists()


async def test_what_is_made_is_for_nobody_else_and_what_was_there_stays_as_open_as_it_was(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.mkdir(mode=0o755)
    for home in (there, new):
        async with LocalStore(home) as store:
            await store.keep("job", drawn(a_request()))
            await store.keep_file("0" * 24, b"")
            assert not any(mode & 0o077 for path, (mode, _) in states(home).items() if path.parent == home)
    assert [oct(path.stat().st_mode & 0o777) for path in (there, new)] == ["0o755", "0o700"]


def states(home: Path) -> dict[Path, tuple[int, int]]:
    """Return who may do what with a folder and all that is in it, and when each was last written."""
    return {path: (path.stat().st_mode, path.stat().st_mtime_ns) for path in [home, *home.rglob("*")]}


@pytest.mark.parametrize("running", [True, False])
async def test_who_looks_changes_nothing(tmp_path: Path, *, running: bool) -> None:
    job = a_job()
    async with LocalStore(tmp_path) as store:
        await store.claim(job)
        await store.keep(job.id, drawn(job.request))
        await store.finish(job.id, "in_place")
        if running:
            aged(tmp_path, job, KEPT_FOR + DAY)
            await look(tmp_path, job)
    if not running:
        aged(tmp_path, job, KEPT_FOR + DAY)
        await look(tmp_path, job)


async def look(home: Path, job: Job) -> None:
    """See that a job is there, and that all files are afterwards what they were."""
    await asyncio.to_thread(home.chmod, 0o750)
    before = states(home)
    with LocalStore.read_only(home) as store:
        record = await store.record(job.id)
        assert record
        assert record.outcome == "in_place"
        assert len(await store.pictures(job.id)) == 3
        assert await store.unfinished() == []
        assert len(await store.durations(9)) == 1
    assert states(home) == before


async def test_who_looks_sees_what_is_new_and_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        job = await store.claim(a_job())
        other = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
        with closing(other):
            other.execute("BEGIN IMMEDIATE")
            with LocalStore.read_only(tmp_path) as looked_at:
                assert await waiting_in(looked_at) == [job]


async def test_where_there_is_nothing_to_look_at_that_is_said_and_nothing_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path, tmp_path / "hoem", tmp_path / "file"):
        with pytest.raises(Told, match="No bot has kept anything in"), LocalStore.read_only(home):
            pass
    assert list(states(tmp_path)) == [tmp_path, tmp_path / "file"]


async def test_what_cannot_be_looked_at_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite3").write_text("my shopping list, which is longer than the head of a database" * 10)
    with pytest.raises(Told, match="cannot be read: file is not a database"), LocalStore.read_only(tmp_path) as store:
        await store.unfinished()


async def test_who_reads_waits_for_nobody_who_writes(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as store:
        job = a_job()
        await store.claim(job)
        other = sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)
        with closing(other):
            other.execute("BEGIN IMMEDIATE")
            writing = asyncio.create_task(store.note(job.id, ts="1.2"))
            record = await asyncio.wait_for(store.record(job.id), 30)
            assert record
            assert record.notes == {}
            assert not writing.done()
            other.execute("COMMIT")
            await writing
            assert await waiting_in(store) == [job]


async def test_a_reader_never_sees_half_of_what_a_writer_writes(tmp_path: Path) -> None:
    async with LocalStore(tmp_path) as writer, LocalStore(tmp_path) as reader:
        jobs = [a_job() for _ in range(200)]
        writing = asyncio.gather(*(writer.claim(job) for job in jobs))
        seen = [await waiting_in(reader)]
        while not writing.done():
            seen.append(await waiting_in(reader))
            await asyncio.sleep(0)
        await writing
        seen.append(await waiting_in(reader))
    assert seen[-1] == jobs
    assert all(jobs[: len(some)] == some for some in seen)


class Far:
    """A `ModalStore`, and the dictionaries, the queue and the server behind it."""

    def __init__(self, server: ModalServer, client: modal.Client) -> None:
        self.server = server
        self.jobs, self.waiting = (modal.Dict.from_name(name, create_if_missing=True, client=client) for name in ("j", "w"))
        self.cancels = modal.Queue.from_name("c", create_if_missing=True, client=client)
        self.store = ModalStore(self.jobs, None, self.waiting, self.cancels)


@pytest.fixture
async def far() -> AsyncIterator[Far]:
    async with ModalServer() as server, server.client() as client:
        yield Far(server, client)


async def refuse(*_: object, **__: object) -> None:
    raise ConnectionError


async def test_a_job_whose_writer_dies_before_its_claim_is_found_and_can_be_claimed(far: Far) -> None:
    job, nowhere = a_job(), SimpleNamespace(put=SimpleNamespace(aio=refuse))
    with pytest.raises(ConnectionError):
        await ModalStore(nowhere, None, far.waiting, None).claim(job)
    [record] = await far.store.unfinished()
    assert record.job == job
    assert await far.store.claim(job) == job
    await far.store.finish(job.id, "posted")
    assert await far.store.unfinished() == []


async def test_a_job_whose_courier_dies_just_after_its_end_is_not_waited_for(far: Far) -> None:
    job = a_job()
    await far.store.claim(job)
    await far.store.cancel(job.id)
    immortal = SimpleNamespace(pop=SimpleNamespace(aio=refuse))
    with pytest.raises(ConnectionError):
        await ModalStore(far.jobs, None, immortal, None).finish(job.id, "posted")
    assert await far.store.unfinished() == []
    await far.store.tidy()
    assert [name async for name in far.waiting.keys.aio()] == []


async def test_a_job_that_is_taken_back_before_its_writing_lands_stays_so(far: Far) -> None:
    job = a_job()
    await far.store.finish(job.id, "not taken")
    assert await far.store.record(job.id) is None
    await far.store.claim(job)
    record = await far.store.record(job.id)
    assert record is not None
    assert record.outcome == "not taken"
    assert await far.store.unfinished() == []


async def test_a_job_whose_writing_was_lost_beside_its_claim_is_known_to_whoever_finds_that(far: Far) -> None:
    job, claimed = a_job(), asyncio.Event()

    async def put(key: str, *given: Any, **more: Any) -> bool:
        if key.startswith("job"):
            await claimed.wait()
            raise ConnectionError
        taken: bool = await far.jobs.put.aio(key, *given, **more)
        claimed.set()
        return taken

    with pytest.raises(ConnectionError):
        await ModalStore(SimpleNamespace(put=SimpleNamespace(aio=put)), None, far.waiting, None).claim(job)
    await far.store.finish(job.id, "not taken")
    assert await far.store.claim(replace(job, id="f" * 24)) == job
    record = await far.store.record(job.id)
    assert record
    assert record.outcome == "not taken"  # so it is not promised again, and whoever asks once more gets a job of their own


async def test_one_look_serves_all_who_wait_to_hear_of_a_cancel(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.store_modal.LOOK_AGAIN", 0.01)
    jobs = [a_job() for _ in range(50)]
    for job in jobs:
        await far.store.cancel(job.id)
    await asyncio.wait_for(asyncio.gather(*(far.store.cancelled(job.id) for job in jobs)), 30)
    assert far.server.calls["DictContents"] == 1


async def listening(far: Far, job: Job) -> object:
    return await far.cancels.get.aio(partition=job.id)


async def test_all_who_draw_a_job_hear_at_once_that_it_is_cancelled_and_nobody_else_does(far: Far) -> None:
    job, other = a_job(), a_job()
    stale, drawing, deaf = (asyncio.ensure_future(listening(far, each)) for each in (job, job, other))
    await until(lambda: far.server.listening == 3)
    await far.store.cancel(job.id)
    await asyncio.wait_for(asyncio.gather(stale, drawing), 30)
    await asyncio.wait_for(listening(far, job), 5)  # who comes late does, too
    assert not deaf.done()
    deaf.cancel()


async def hang(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("put", [refuse, hang])
async def test_where_who_draws_cannot_be_told_a_cancel_is_taken_in_time_all_the_same(
    far: Far, put: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store_modal.TELL < REMEMBER  # somebody who has pressed a button waits
    monkeypatch.setattr(store_modal, "TELL", 0.01)
    monkeypatch.setattr(store_modal, "LOOK_AGAIN", 0.01)
    job, cancels = a_job(), SimpleNamespace(put_many=SimpleNamespace(aio=put))
    await asyncio.wait_for(ModalStore(far.jobs, None, far.waiting, cancels).cancel(job.id), 30)
    await asyncio.wait_for(far.store.cancelled(job.id), 30)


async def test_a_cancel_that_is_not_written_down_is_not_taken(far: Far) -> None:
    far.server.down = {"DictUpdate"}
    with pytest.raises(modal.exception.Error):
        await far.store.cancel(a_job().id)


async def test_what_is_for_good_outlives_weeks_in_which_nobody_asks_for_it(far: Far) -> None:
    await far.store.remember("proposal", "a")
    await far.store.remember("defaults", "b", forever=True)
    await far.store.remember("slack T1", "c", forever=True)
    await far.store.erase("slack T1")
    far.server.a_week_passes()
    for _ in range(3):
        await far.store.read_forever()
        far.server.a_week_passes()
    assert [await far.store.recall(name) for name in ("proposal", "defaults", "slack T1")] == [None, "b", None]
    assert [name async for name in far.jobs.keys.aio() if "slack" in name] == []


async def test_what_cannot_be_read_today_keeps_nobody_from_reading_the_rest(far: Far, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a", "b", "c"):
        await far.store.remember(name, "", forever=True)
    read = []

    async def get(key: str) -> None:
        read.append(key)
        if len(read) == 1:
            raise OSError("away")

    jobs = SimpleNamespace(get=SimpleNamespace(aio=get), keys=far.jobs.keys)
    await ModalStore(jobs, None, None, None).read_forever()
    assert sorted(read) == sorted(f"{kind} {name}" for kind in ("forever", "paper") for name in ("a", "b", "c"))
    assert caplog.text.count("was not read today: OSError('away')") == 1


async def test_a_job_that_is_over_takes_no_memory(far: Far) -> None:
    job = a_job()
    await far.store.claim(job)
    await far.store.note(job.id, attempts=1)
    await far.store.finish(job.id, "posted")
    assert await far.store.record(job.id)
    assert far.store._lengths == {}


async def test_the_story_of_a_job_far_away_is_read_in_two_round_trips(far: Far) -> None:  # a press can wait for no more
    job = a_job()
    await far.store.claim(job)
    for number in range(10):
        await far.store.note(job.id, last=number)
    there = {key: value async for key, value in far.jobs.items.aio()}
    under_way: list[asyncio.Event] = []

    async def get(key: str) -> Any:
        under_way.append(asyncio.Event())
        await under_way[-1].wait()
        return there.get(key)

    async def round_trips(job_id: str) -> tuple[int, Record | None]:
        reading = asyncio.ensure_future(slow.record(job_id))
        for trips in count():
            await until(lambda: under_way or reading.done())
            if reading.done():
                return trips, reading.result()
            for answer in under_way:
                answer.set()
            under_way.clear()
        raise AssertionError

    slow = ModalStore(SimpleNamespace(get=SimpleNamespace(aio=get)), None, None, None)
    trips, record = await round_trips(job.id)
    assert record
    assert (trips, record.notes) == (2, {"last": 9})
    assert await round_trips("0" * 24) == (1, None)
