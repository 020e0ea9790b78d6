"""The desk takes what can be taken, once, and says to everything else what to do instead."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bot import command
from bot.actions import Action, Press
from bot.desk import CANCELLING, Caller, Desk, Proposal
from bot.errors import BadRequest, NotTaken, Told, Unsure
from bot.request import ImageRequest, Job, Picture
from bot.store_local import LocalStore
from tests.fakes.generator import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path


class House:
    """A desk, and all that it hands over."""

    def __init__(self, store: LocalStore) -> None:
        self.store, self.jobs = store, list[Job]()
        self.fails: Exception | None = None
        self.desk = Desk(store, self.take, "sketch")

    async def take(self, job: Job) -> None:
        if self.fails:
            raise self.fails
        self.jobs.append(job)

    async def ordered(self, text: str, who: Caller | None = None) -> Job:
        job = await self.desk.order(text, who or ann())
        assert isinstance(job, Job)
        return job


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with LocalStore(tmp_path) as store:
        yield House(store)


numbers = iter(range(10**6))


def ann(**given: Any) -> Caller:
    usual = {"claim": f"{next(numbers)}", "platform": "slack", "person": "slack:T:ann", "reply_to": {"user": "ann"}}
    return Caller(**(usual | {"language": "en"} | given))


def bob(**given: Any) -> Caller:
    return ann(person="slack:T:bob", reply_to={"user": "bob"}, **given)


def button(job: Job, action: Action, index: int = 0) -> Press:
    return Press(action=action, job_id=job.id, asker="ann", index=index)


async def nothing() -> Sequence[ImageRequest]:
    return []


async def yes() -> bool:
    return True


async def no() -> bool:
    return False


def said(heard: list[bool]) -> Callable[[], Awaitable[bool]]:
    """Make a way to say something, of which it is known how it goes each time."""

    async def tell() -> bool:
        return heard.pop(0)

    return tell


async def test_an_order_is_written_down_and_handed_over_once(house: House) -> None:
    who = ann()
    first, second = await asyncio.gather(house.ordered("a fox", who), house.ordered("a fox", who))
    assert first == second == house.jobs[0]
    assert len(house.jobs) == 1


async def test_what_cannot_be_handed_over_is_not_owed(house: House) -> None:
    house.fails = OSError("no")
    with pytest.raises(NotTaken):
        await house.ordered("a fox")
    assert await house.store.unfinished() == []


async def test_what_was_not_taken_is_taken_when_it_is_sent_again(house: House) -> None:
    """As Slack's form is, which stays open with what was typed, and the button of a proposal."""
    proposal = await house.desk.order("a {red,blue} fox", ann())
    assert isinstance(proposal, Proposal)
    press, who = button(proposal.job, Action.DRAW), ann()
    for again in (partial(house.desk.order, "a fox", who), partial(house.desk.confirm, press, who)):
        house.fails, before = OSError("no"), len(house.jobs)
        for _ in range(2):
            with pytest.raises(NotTaken):
                await again()
        house.fails = None
        taken = await again()
        assert await again() == taken
        assert house.jobs[before:] == [taken]
        assert [record.job for record in await house.store.unfinished()] == house.jobs


async def test_a_desk_that_hangs_says_so_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.desk.HAND_OVER", 0.01)

    async def hang(_: Job) -> None:
        await asyncio.Event().wait()

    with pytest.raises(Unsure):  # it may be in somebody's hands
        await Desk(house.store, hang, "sketch").order("a fox", ann())
    assert await house.store.unfinished() == []


async def test_a_press_of_which_nobody_knows_what_came_holds_the_next_one_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.desk.time.time", lambda: 1e9)
    press = button(await house.ordered("a fox"), Action.REDRAW)
    house.fails = TimeoutError()
    with pytest.raises(Unsure):
        await house.desk.press(press, ann(), nothing)
    house.fails = None
    with pytest.raises(Told, match="already on it"):
        await house.desk.press(press, ann(), nothing)


async def test_of_two_presses_at_once_one_is_taken_whichever_way_the_store_answers(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a dictionary far away hears the two of one, and the two of the other, in another order."""
    monkeypatch.setattr("bot.desk.time.time", lambda: 1e9)
    press, first = button(await house.ordered("a fox"), Action.REDRAW), house.store.first
    one, other = ann(claim="one"), ann(claim="other")

    async def hurried(name: str, who: str) -> str:
        for _ in range(1 if (who == "one") == (" 0 " in name) else 50):
            await asyncio.sleep(0)
        return await first(name, who)

    monkeypatch.setattr(house.store, "first", hurried)
    both = await asyncio.gather(*(house.desk.press(press, who, nothing) for who in (one, other)), return_exceptions=True)
    assert [type(each) for each in both] == [Job, Told]


async def test_a_button_is_answered_in_time_where_nothing_is_remembered_in_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await house.ordered("a fox")
    for limit in ("RECALL", "REMEMBER"):
        monkeypatch.setattr(f"bot.desk.{limit}", 0.01)

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    for name in ("record", "recall", "first"):
        monkeypatch.setattr(house.store, name, hang)
    assert await house.desk.once("x", yes)
    for pressed in (
        house.desk.press(button(job, Action.REDRAW), ann(), nothing),
        house.desk.details(button(job, Action.DETAILS), ann(), nothing),
        house.desk.cancel(button(job, Action.CANCEL), ann(), no),
        house.desk.delete(button(job, Action.DELETE), ann(), no),
        house.desk.confirm(button(job, Action.DRAW), ann()),
    ):
        with pytest.raises(NotTaken):
            await pressed


async def test_a_press_waits_for_what_it_needs_and_an_order_waits_less_for_what_it_can_do_without(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.desk.settings("settings --n 3", ann())
    monkeypatch.setattr("bot.desk.RECALL", 0.0)
    job = await house.ordered("a fox")
    assert job.request.n == 1
    for action in (Action.REDRAW, Action.VARY):
        await house.desk.press(button(job, action), ann(), nothing)
    await house.desk.cancel(button(job, Action.CANCEL), ann(), no)


async def test_what_may_or_may_not_be_done_is_said_to_be_so(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await house.ordered("a fox")
    monkeypatch.setattr("bot.desk.TAKE_BACK", 0.01)
    monkeypatch.setattr("bot.desk.REMEMBER", 0.05)

    async def hang(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    for name in ("cancel", "remember", "finish"):
        monkeypatch.setattr(house.store, name, hang)
    house.fails = OSError("no")
    for done in (
        house.desk.cancel(button(job, Action.CANCEL), ann(), no),
        house.desk.settings("settings --n 2", ann()),
        house.ordered("a fox"),  # it was written down, and that it is not owed was not
    ):
        with pytest.raises(Unsure):
            await done


async def test_what_surely_failed_is_not_said_to_be_unsure(house: House, tmp_path: Path) -> None:
    job = await house.ordered("a fox")
    with sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None) as full:
        for what in ("INSERT ON papers", "UPDATE ON jobs"):
            full.execute(f"CREATE TRIGGER '{what}' BEFORE {what} BEGIN SELECT RAISE (ABORT, 'disk is full'); END")
    full.close()
    carried = asyncio.create_task(house.store.cancelled(job.id))
    for done in (house.desk.cancel(button(job, Action.CANCEL), ann(), no), house.desk.settings("settings --n 2", ann())):
        with pytest.raises(NotTaken):
            await done
    assert not carried.done()
    carried.cancel()
    assert await house.desk.defaults(ann()) == {}


async def test_several_pictures_are_drawn_once_somebody_says_yes(house: House) -> None:
    proposal = await house.desk.order("a {red,blue} fox --n 2", ann())
    assert isinstance(proposal, Proposal)
    assert house.jobs == []
    who = ann()
    press = button(proposal.job, Action.DRAW)
    jobs = [await house.desk.confirm(press, who), await house.desk.confirm(press, ann())]
    assert jobs[0] == jobs[1]
    assert house.jobs == [jobs[0]]
    assert [request.prompt for request in jobs[0].alone()] == ["a red fox", "a red fox", "a blue fox", "a blue fox"]
    assert jobs[0].title == "a {red,blue} fox --n 2"


@pytest.mark.parametrize(
    ("words", "kept"),
    [("a \u202efox {red,blue}\u202c \x07\u2066y", "a fox {red,blue} y"), ("a \ud83d {red,blue} fox", "a ? {red,blue} fox")],
)
async def test_words_for_several_pictures_are_kept_as_those_for_one_are(house: House, words: str, kept: str) -> None:
    proposal = await house.desk.order(words, ann())
    assert isinstance(proposal, Proposal)
    assert (await house.desk.confirm(button(proposal.job, Action.DRAW), ann())).title == kept


async def test_several_pictures_that_are_redrawn_keep_the_words_that_stand_for_all_of_them(house: House) -> None:
    proposal = await house.desk.order("a {red,blue} fox --seed 7", ann())
    assert isinstance(proposal, Proposal)
    job = await house.desk.confirm(button(proposal.job, Action.DRAW), ann())
    redrawn = await house.desk.press(button(job, Action.REDRAW), ann(), nothing)
    varied = await house.desk.press(button(redrawn, Action.VARY, 1), ann(), nothing)
    assert [job.title, redrawn.title, varied.title] == ["a {red,blue} fox --seed 7", "a {red,blue} fox", "a blue fox"]
    assert (await house.desk.edit(button(redrawn, Action.EDIT), nothing))["prompt"] == "a {red,blue} fox"


async def test_pictures_of_what_a_list_gave_are_redrawn_and_edited_as_what_it_gave(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": [f"animal {number}" for number in range(10**6)]})
    proposal = await house.desk.order("{red,blue} __animal__ --seed 7", ann())
    assert isinstance(proposal, Proposal)
    job = await house.desk.confirm(button(proposal.job, Action.DRAW), ann())
    redrawn = await house.desk.press(button(job, Action.REDRAW), ann(), nothing)
    assert [request.prompt for request in redrawn.requests] == [request.prompt for request in job.requests]
    assert redrawn.title == job.request.prompt
    assert (await house.desk.edit(button(redrawn, Action.EDIT), nothing))["prompt"] == job.request.prompt


async def test_a_proposal_that_is_forgotten_is_said_to_be(house: House) -> None:
    with pytest.raises(Told, match="don't remember"):
        await house.desk.confirm(Press(action=Action.DRAW, job_id="0" * 24, asker="ann"), ann())


@pytest.mark.parametrize("action", [Action.REDRAW, Action.VARY, Action.UPSCALE])
async def test_a_press_is_a_new_order_by_who_presses(house: House, action: Action) -> None:
    job = await house.ordered("a fox --n 2 --seed 7")
    made = await house.desk.press(button(job, action, 1), bob(language="de"), nothing)
    assert (made.person, made.language) == ("slack:T:bob", "de")
    assert made.request != job.request
    assert house.jobs == [job, made]


async def test_a_double_click_is_one_press(house: House) -> None:
    job = await house.ordered("a fox")
    outcomes = await asyncio.gather(
        *(house.desk.press(button(job, Action.REDRAW), ann(), nothing) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 1
    assert {str(outcome) for outcome in outcomes if isinstance(outcome, Exception)} == {"I am already on it."}


async def test_a_press_that_failed_may_be_pressed_again_at_once(house: House) -> None:
    job = await house.ordered("a fox")
    redraw = button(job, Action.REDRAW)
    house.fails = OSError("no")
    for _ in range(2):
        with pytest.raises(NotTaken):
            await house.desk.press(redraw, ann(), nothing)
    house.fails = None
    outcomes = await asyncio.gather(*(house.desk.press(redraw, ann(), nothing) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if not isinstance(outcome, Job)] == [Told] * 2
    assert len(house.jobs) == 2


async def test_a_press_that_was_refused_for_one_that_failed_holds_up_nobody(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, now = await house.ordered("a fox"), 1000.0
    begun, failing = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr("bot.desk.time.time", lambda: now)
    redraw = button(job, Action.REDRAW)

    async def fail(_: Job) -> None:
        begun.set()
        await failing.wait()
        raise OSError("no")

    first = asyncio.create_task(Desk(house.store, fail, "sketch").press(redraw, ann(), nothing))
    await begun.wait()
    now = 1003.0
    with pytest.raises(Told, match="already on it"):
        await house.desk.press(redraw, ann(), nothing)
    failing.set()
    with pytest.raises(NotTaken):
        await first
    now = 1004.0
    assert await house.desk.press(redraw, ann(), nothing)


async def test_a_press_that_can_never_be_done_says_so_each_time(house: House) -> None:
    job = await house.ordered("a fox --upscale 2")
    for _ in range(2):
        with pytest.raises(Told, match="as large as"):
            await house.desk.press(button(job, Action.UPSCALE), ann(), nothing)


async def test_a_press_that_is_sent_again_gets_the_same_job(house: House) -> None:
    job, who = await house.ordered("a fox"), ann()
    first = await house.desk.press(button(job, Action.REDRAW), who, nothing)
    assert await house.desk.press(button(job, Action.REDRAW), who, nothing) == first
    assert house.jobs == [job, first]


async def test_what_comes_again_is_said_again_only_where_it_was_not_heard(house: House) -> None:
    heard = {"x": [False, True], "y": [True]}
    assert [await house.desk.once(claim, said(heard[claim])) for claim in ("x", "x", "x", "y")] == [False, True, True, True]
    assert heard == {"x": [], "y": []}


async def test_two_people_may_press_at_once_and_one_person_again_later(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await house.ordered("a fox")
    now = 1000.0
    monkeypatch.setattr("bot.desk.time.time", lambda: now)
    for who in (ann(), bob()):
        await house.desk.press(button(job, Action.REDRAW), who, nothing)
    for seconds in (0.1, 1.0, 1.9):
        now = 1000.0 + seconds
        with pytest.raises(Told, match="already on it"):
            await house.desk.press(button(job, Action.REDRAW), ann(), nothing)
    now = 1005.0
    assert await house.desk.press(button(job, Action.REDRAW), ann(), nothing)


async def test_a_button_of_a_job_that_is_forgotten_works_by_what_its_message_holds(house: House) -> None:
    async def recalled() -> Sequence[ImageRequest]:
        return command.read_all("a fox --n 2 --seed 7")

    press = Press(action=Action.UPSCALE, job_id="0" * 24, asker="ann", index=1)
    made = await house.desk.press(press, ann(), recalled)
    assert (made.request.seed, made.request.upscale) == (8, 2)
    with pytest.raises(Told, match="don't remember"):
        await house.desk.press(replace(press, index=0), ann(), nothing)


async def test_details_are_a_command_that_makes_the_same_request(house: House) -> None:
    job = await house.ordered("a \\--fox {x} --n 3 --seed 7 --no blur")
    line, seeds = (await house.desk.details(button(job, Action.DETAILS), bob(), nothing)).split("\n")
    assert command.read(line.removeprefix("/imagine ")) == job.request
    assert seeds.endswith("7, 8, 9")


async def test_whoever_asked_may_cancel_until_it_is_done(house: House) -> None:
    job = await house.ordered("a fox")
    cancelled = asyncio.create_task(house.store.cancelled(job.id))
    press = button(job, Action.CANCEL)
    with pytest.raises(Told, match="Only who asked"):
        await house.desk.cancel(press, bob(), no)
    assert not cancelled.done()
    assert await house.desk.cancel(press, ann(), no) == CANCELLING
    await asyncio.wait_for(cancelled, 5)
    await house.store.finish(job.id, "in_channel")
    with pytest.raises(Told, match="too late"):
        await house.desk.cancel(press, ann(), no)


async def test_a_moderator_may_cancel_for_others_and_what_is_drawn_is_done(house: House) -> None:
    job = await house.ordered("a fox")
    assert (
        await house.desk.cancel(button(job, Action.CANCEL), bob(language="de"), yes)
        == "Wird abgebrochen. War es gerade fertig, kommen die Bilder noch."
    )
    await house.store.keep(job.id, [Picture(png=plain(job.request), request=job.request)])
    with pytest.raises(Told, match="too late"):
        await house.desk.cancel(button(job, Action.CANCEL), ann(), no)


async def test_only_who_asked_or_a_moderator_may_delete(house: House) -> None:
    job = await house.ordered("a fox")
    press = button(job, Action.DELETE)
    with pytest.raises(Told, match="Only who asked"):
        await house.desk.delete(press, bob(), no)
    errand = await house.desk.delete(press, bob(), yes)
    assert (errand.errand, errand.reply_to["target"]) == ("delete", job.id)
    assert (await house.desk.delete(press, ann(), no)).errand == "delete"


async def test_a_person_is_remembered_by_name_and_place(house: House) -> None:
    assert "add nothing" in str(await house.desk.settings("settings", ann(place="T1")))
    assert "--n 3 --style oil" in str(await house.desk.settings("settings --n 3 --style oil", ann(place="T1")))
    assert "--n 3 --style neon" in str(await house.desk.settings("settings --style neon", ann(place="T1")))
    assert (await house.ordered("a fox", ann(place="T1"))).request.n == 3
    for other in (ann(place="T2"), bob(place="T1")):
        assert (await house.ordered("a fox", other)).request.n == 1
    assert "add nothing" in str(await house.desk.settings("settings reset", ann(place="T1")))
    assert (await house.ordered("a fox", ann(place="T1"))).request.n == 1


async def test_what_is_remembered_and_not_there_any_more_is_left_out_and_said(house: House) -> None:
    await house.store.remember(ann().defaults, '{"style": "gone", "n": "2"}', forever=True)
    assert (await house.ordered("a fox")).request.n == 2
    assert await house.desk.defaults(ann()) == {"n": "2"}
    told = str(await house.desk.settings("settings help", ann())).splitlines()
    assert told[:2] == ["What I add to your commands: --n 2", "What I cannot add any more, and leave out: --style gone"]
    assert "--n 3\n" in str(await house.desk.settings("settings --n 3", ann()))
    assert "gone" not in str(await house.desk.settings("settings", ann()))
    assert "--n 1\n" in str(await house.desk.settings("settings reset --n 1", ann()))


async def test_settings_that_cannot_be_read_just_now_are_neither_changed_nor_said_to_be_none(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    await house.desk.settings("settings --n 3 --style oil", ann())
    with monkeypatch.context() as patched:
        patched.setattr("bot.desk.REMEMBER", 0.01)
        patched.setattr(house.store, "recall", hang)
        for text in ("settings", "settings --n 2"):
            with pytest.raises(NotTaken):
                await house.desk.settings(text, ann())
    assert await house.desk.defaults(ann()) == {"n": "3", "style": "oil"}


async def test_what_is_no_setting_is_a_prompt_and_what_cannot_be_drawn_is_not_remembered(house: House) -> None:
    assert await house.desk.settings("a table", ann()) is None
    with pytest.raises(BadRequest, match="from 1 to 10"):
        await house.desk.settings("settings --n 99", ann())
    assert await house.desk.defaults(ann()) == {}


@pytest.mark.parametrize(
    ("said", "prompt"),
    [
        ("/imagine prompt: a fox --n 2", "a fox --n 2"),
        ("/imagine a fox --sede 2", "a fox --sede 2"),  # which is pointed out in the form
        ("a fox --n 2", "a fox --n 2"),
        ("a {red,blue} fox --n 2", "a {red,blue} fox --n 2"),
        ("a {red,blue} fox", "a \\{red,blue} fox"),
        ("we want —no rain", "we want \\—no rain"),
        ("well -n 4 times", "well \\-n 4 times"),
        ("a fox --sede 2 --n 2", "a fox \\--sede 2 \\--n 2"),
        ("a fox --n 99", "a fox \\--n 99"),
        ("help", "\\help"),
        ("settings", "\\settings"),
        ("setting --n 2", "\\setting \\--n 2"),
    ],
)
async def test_a_message_is_imagined_as_a_command_where_it_can_be_one(house: House, said: str, prompt: str) -> None:
    assert await house.desk.imagined(said, None, nothing) == {"prompt": prompt}


async def test_what_is_repeated_is_edited_with_its_repeats(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox", "cat", "owl"]})
    proposal = await house.desk.order("a __animal__", ann(), options={"repeat": 3})
    assert isinstance(proposal, Proposal)
    job = await house.desk.confirm(button(proposal.job, Action.DRAW), ann())
    filled = await house.desk.edit(button(job, Action.EDIT), nothing)
    assert (filled["prompt"], filled["repeat"]) == ("a __animal__", "3")
