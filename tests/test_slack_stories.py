"""Whole stories in Slack, through signed HTTP; between any two things that happen, an hour passes and all is started anew."""

from __future__ import annotations

import random
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from bot import command
from bot.request import compose
from bot.store_local import LocalStore
from tests.conftest import environment, serving, until
from tests.fakes.faults import Fault
from tests.fakes.generator import plain
from tests.fakes.slack_views import value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from bot.request import ImageRequest
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import Ack, SlackServer
    from tests.fakes.slack_world import Message

NAME = "imagine.example.com"
HOUR = 3600.0  # seconds
DELETED = "Only who asked for it, or a moderator, can delete it."


class House:
    """The bot in one folder, started anew as often as we like."""

    def __init__(self, folder: Path, slack: SlackServer, discord: DiscordServer) -> None:
        self.folder, self.slack = folder, slack
        self.drawn: list[ImageRequest] = []
        self._environ = environment(slack, discord)
        self._passed = 0.0  # seconds that nobody had to wait for
        slack.clock = lambda: time.time() + self._passed

    @asynccontextmanager
    async def opened(self, *, held_up: bool = False, finishes: bool = True) -> AsyncIterator[Service]:
        """Start it, an hour after the last time, and stop it once all is done, or at once."""
        self._passed += HOUR
        async with serving(self.folder, self._environ, held_up=held_up) as service:
            self.slack.publish(service.url, NAME)
            yield service
            await until(lambda: not (finishes and service.desk_is_busy()))
            self.drawn += service.generator.drawn

    async def command(self, text: str, **where: Any) -> Message:
        """Let somebody type a command; return what comes of it."""
        async with self.opened() as service:
            await self.slack.command(service.url, text, **where)
        return self.newest()

    async def click(self, message: Message, label: str, **who: Any) -> Ack:
        """Let somebody press a button."""
        async with self.opened() as service:
            ack = await self.slack.click(service.url, message, label, **who)
        assert ack.status == 200
        return ack

    async def submit(self, entries: dict[str, Any] | None = None) -> Ack:
        """Let somebody send the form that is open."""
        async with self.opened() as service:
            ack = await self.slack.submit(service.url, self.slack.modal, entries)
        assert ack.status == 200
        return ack

    def shown(self) -> list[Message]:
        """Return the messages that show pictures, but those that only bring the files."""
        return [m for m in self.slack.messages if m.via in {"api", "response_url"} and m.pictures and not m.deleted]

    def statuses(self) -> list[Message]:
        """Return the messages that say how far something is."""
        return [m for m in self.slack.messages if m.via == "api" and m.labels == ["Cancel"] and not m.ephemeral_to]

    def newest(self) -> Message:
        """Return the last one."""
        return self.shown()[-1]

    def told(self, user: str) -> list[str]:
        """Return what was said to one person alone."""
        return [m.plain for m in self.slack.messages if m.ephemeral_to == user and m.via != "ack" and not m.deleted]

    def forget(self) -> None:
        """Lose all that was ever written down."""
        shutil.rmtree(self.folder)


@pytest.fixture
def house(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> House:
    slack.keeps_rates = True
    slack.add_person("U3", is_admin=True)
    slack.add_person("U4", locale="de-DE")
    return House(tmp_path / "home", slack, discord)


async def test_draw_vary_upscale_edit_details_delete(house: House, slack: SlackServer) -> None:
    drawn = await house.command("a red fox --n 4 --seed 7 --no blur")
    assert len(drawn.pictures) == 4
    assert drawn.labels[:4] == ["Redraw", "Edit", "Details", "Delete"]
    assert [block["title"]["text"] for block in drawn.blocks if block["type"] == "image"][2] == "3 · seed 9"
    assert "U1" in str(drawn.blocks[0])

    await house.click(drawn, "Vary 3")
    varied = house.newest()
    assert varied.ts != drawn.ts
    assert varied.thread_ts is None  # though Slack says that what was drawn first is in a thread, for its files hang on it
    assert (house.drawn[1].seed, house.drawn[1].n, house.drawn[1].variation_strength > 0) == (9, 4, True)

    await house.click(varied, "Upscale 2")
    upscaled = house.newest()
    assert house.drawn[2] == replace(house.drawn[1].alone(1), upscale=2)
    assert "512×512" in upscaled.plain

    await house.click(upscaled, "Edit")
    assert value(slack.modal, "prompt") == "a red fox"
    await house.submit({"prompt": "a blue fox", "seed": "11", "upscale": None})
    edited = house.newest()
    assert house.drawn[3] == replace(house.drawn[2], prompt="a blue fox", seed=11, upscale=1)

    await house.click(edited, "Details")
    [recipe] = house.told("U1")
    assert command.read(recipe.removeprefix("/imagine ")) == house.drawn[3]
    await house.command(recipe.removeprefix("/imagine "))
    assert house.drawn[4] == house.drawn[3]
    again = house.newest()
    assert again.pictures == edited.pictures

    await house.click(edited, "Delete")
    assert edited.deleted
    assert house.newest() is again
    assert len(house.shown()) == 4


async def test_a_variation_of_a_variation_goes_on_from_the_one_that_was_chosen(house: House) -> None:
    first = await house.command("a red fox --n 2 --seed 7")
    await house.click(first, "Vary 2")
    once = house.newest()
    await house.click(once, "Vary 3")
    twice = house.newest()
    house.forget()
    await house.click(twice, "Vary 4")
    _, first_varied, second, third = house.drawn
    assert second.varied == first_varied.alone(2).variations
    assert third.varied == second.alone(3).variations
    assert (third.seed, len(third.variations)) == (8, 3)
    await house.click(house.newest(), "Details")
    assert command.read(house.told("U1")[-1].splitlines()[0].removeprefix("/imagine ")) == third


async def test_deleting_leaves_nothing_behind(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox --n 2")
    assert message.button("Delete")["confirm"]["deny"]["text"] == "Keep"
    await house.click(message, "Delete")
    assert [m for m in slack.messages if m.via != "ack" and not m.deleted] == []
    assert all(file.deleted for file in slack.files.values())
    assert list((house.folder / "pictures").glob("*/*")) == []


async def test_what_slack_does_not_let_us_delete_is_said_to_be(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    slack.scopes.discard("files:write")
    await house.click(message, "Delete")
    assert house.told("U1") == ["Slack did not let me delete all of it. An admin of the workspace can."]


async def test_a_picture_by_link_is_deleted_by_whoever_may_press(house: House) -> None:
    message = await house.command("a red fox", channel="G2")
    assert message.via == "response_url"
    await house.click(message, "Delete")
    assert message.deleted
    assert list((house.folder / "pictures").glob("*/*")) == []


async def test_files_that_slack_took_and_shared_nowhere_are_deleted_with_what_came_by_link(
    house: House, slack: SlackServer
) -> None:
    slack.silently_unshared = True
    message = await house.command("a red fox")
    assert (len(message.pictures), len(slack.files)) == (1, 1)
    await house.click(message, "Delete")
    assert message.deleted
    assert all(file.deleted for file in slack.files.values())


LONG = "ä" * 1000 + " " + "🦊" * 999


@pytest.mark.parametrize(
    "text",
    ["a fox --n 2 --seed 7", "a {red,blue} fox --seed 7", f"{LONG} --n 2 --no {LONG[:1900]}", "\\{a,b} \\--fox & <c> `d`"],
)
async def test_a_month_later_all_buttons_work_though_we_remember_nothing(text: str, house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, text)
    if ack.message and "Draw 2 pictures" in ack.message.labels:
        await house.click(ack.message, "Draw 2 pictures")
    message, first = house.newest(), house.drawn
    for label in [label for label in message.labels if label not in {"Edit", "Details", "Delete"}]:
        house.forget()
        house.drawn = []
        await house.click(message, label)
        assert house.drawn
        assert {each.prompt for each in house.drawn} <= {each.prompt for each in first}
        assert {each.negative_prompt for each in house.drawn} == {first[0].negative_prompt}
    house.forget()
    await house.click(message, "Edit")
    assert value(slack.modal, "seed") == str(first[0].seed)
    await slack.close("", slack.modal)
    house.forget()
    await house.click(message, "Details")
    assert command.read(house.told("U1")[-1].splitlines()[0].removeprefix("/imagine ")) == first[0]
    house.forget()
    await house.click(message, "Delete", user="U2")
    assert (house.told("U2"), message.deleted) == ([DELETED], False)
    house.forget()
    await house.click(message, "Delete")
    assert message.deleted


@pytest.mark.parametrize(("most", "carries"), [(100_000, True), (14_000, True), (12_000, False)])
async def test_what_is_too_long_for_a_message_goes_without_what_it_can_do_without_longest(
    most: int, house: House, slack: SlackServer, *, carries: bool
) -> None:
    slack.most_in_blocks = most
    words = random.Random(7).choices("abcdefghij ", k=1900)  # noqa: S311
    message = await house.command(f"{''.join(words)} --n 10")
    assert len(message.pictures) == 10
    assert message.via == "api"
    await house.click(message, "Redraw")
    assert len(house.drawn) == 2
    house.forget()
    await house.click(message, "Redraw")
    assert len(house.drawn) == 2 + carries


async def test_ten_long_prompts_fit_a_message_too(house: House, slack: SlackServer) -> None:
    slack.most_in_blocks = 12_000
    async with house.opened() as service:
        ack = await slack.command(service.url, f"{'x' * 1900} {{a,b,c,d,e,f,g,h,i,j}}")
        assert ack.message
        await slack.click(service.url, ack.message, "Draw 10 pictures")
    assert house.newest().via == "api"


async def test_however_slack_counts_emoji_their_pictures_come_with_a_recipe(house: House, slack: SlackServer) -> None:
    slack.counts_utf16 = True
    message = await house.command(f"{'🦊' * 2000} --n 2")
    assert (message.via, len(message.pictures)) == ("api", 2)
    house.forget()
    await house.click(message, "Redraw")
    assert house.drawn[1].prompt == house.drawn[0].prompt


async def test_details_of_ten_long_commands_are_all_said(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, f"{'x ' * 970} {{a,b,c,d,e,f,g,h,i,j}} --no {'y' * 1990}")
        assert ack.message
        await slack.click(service.url, ack.message, "Draw 10 pictures")
    slack.most_in_blocks = 12_000
    house.forget()
    told = len(house.told("U1"))
    await house.click(house.newest(), "Details")
    lines = [line for each in house.told("U1")[told:] for line in each.splitlines()]
    assert [command.read(line.removeprefix("/imagine ")) for line in lines[:10]] == house.drawn
    assert lines[10:] == ["The seeds, picture by picture: " + ", ".join(str(each.seed) for each in house.drawn)]


async def test_others_may_go_on_but_not_delete_unless_they_look_after_all(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    await house.click(message, "Redraw", user="U2")
    assert "'user_id': 'U2'" in str(house.newest().blocks)
    assert house.drawn[1].seed != house.drawn[0].seed
    await house.click(message, "Details", user="U2")
    assert house.told("U2")[-1].startswith("/imagine a red fox")
    slack.add_person("U5", is_owner=True, team="T0OTHER")
    for stranger in ("U2", "U5"):
        await house.click(message, "Delete", user=stranger)
        assert house.told(stranger)[-1] == DELETED
    assert not message.deleted
    await house.click(message, "Delete", user="U3")
    assert message.deleted


async def test_where_it_is_installed_in_a_whole_organisation_all_of_it_works(house: House, slack: SlackServer) -> None:
    slack.organisation = "E0ORG"
    slack.add_person("U5", is_admin=True, team="T0OTHER")  # of another organisation
    slack.add_person("U6", is_admin_of_all=True)
    message = await house.command("a red fox")
    await house.click(message, "Redraw")
    await house.click(message, "Edit")
    await house.submit()
    async with house.opened() as service:
        await slack.mention(service.url, "a red fox")
        await slack.message_shortcut(service.url, "imagine_this", message)
        await slack.close(service.url, slack.modal)
        await slack.shortcut(service.url, "imagine_new")
        await slack.close(service.url, slack.modal)
    assert len(house.drawn) == 4
    for stranger in ("U2", "U3", "U5"):  # U3 looks after one workspace of it
        await house.click(message, "Delete", user=stranger)
        assert house.told(stranger) == [DELETED]
    await house.click(message, "Delete", user="U6")
    await house.click(house.newest(), "Delete")
    assert len(house.shown()) == 2


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.SERVER_ERROR])
async def test_an_admin_is_not_taken_for_anybody_where_slack_is_slow_to_tell(
    fault: Fault, house: House, slack: SlackServer
) -> None:
    message = await house.command("a red fox")
    async with house.opened() as service:
        slack.faults.next("users.info", fault, times=2)
        await slack.click(service.url, message, "Delete", user="U3")
        assert house.told("U3") == ["I could not take that just now. Please try again in a moment."]
        await slack.click(service.url, message, "Delete", user="U3")
    assert message.deleted


async def test_a_double_click_is_one_press(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    async with house.opened() as service:
        for _ in range(3):
            await slack.click(service.url, message, "Redraw")
    assert len(house.drawn) == 2
    assert house.told("U1") == ["I am already on it."] * 2


async def test_a_press_is_shown_at_once_with_a_way_to_cancel_and_the_outcome_takes_its_place(
    house: House, slack: SlackServer
) -> None:
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        await slack.click(service.url, message, "Redraw")
        await until(house.statuses)
        [status] = house.statuses()
        assert "getting ready" in status.plain
        service.generator.gate.set()
        await until(lambda: not service.desk_is_busy())
    assert house.newest() is status
    assert "Cancel" not in status.labels


async def test_cancelling_what_is_drawn_stops_it_and_nothing_else(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        await slack.click(service.url, message, "Redraw")
        await slack.click(service.url, message, "Vary", user="U2")
        await until(lambda: len(house.statuses()) == 2)
        first, second = house.statuses()
        await slack.click(service.url, second, "Cancel", user="U1")  # not theirs
        await slack.click(service.url, first, "Cancel")
        service.generator.gate.set()
        await until(lambda: not service.desk_is_busy())
        assert len(service.generator.drawn) == 1
    assert house.told("U1") == ["Only who asked for it, or a moderator, can cancel it."]
    assert "Cancelled." in first.plain
    assert first.labels == ["Redraw", "Edit", "Delete"]
    assert len(second.pictures) == 4


async def test_cancelling_what_waits_leaves_what_is_drawn_alone(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        await slack.click(service.url, message, "Vary", user="U2")
        await until(lambda: service.studio.turns.serving)
        await slack.click(service.url, message, "Redraw")
        await until(lambda: len(house.statuses()) == 2)
        [waiting] = [m for m in house.statuses() if ":U1" in str(m.blocks)]
        await slack.click(service.url, waiting, "Cancel", user="U3")  # who looks after all
        await until(lambda: "Cancelled." in waiting.plain)
        assert service.studio.turns.serving
        service.generator.gate.set()
    assert len(house.drawn) == 2
    assert len(house.newest().pictures) == 4
    await house.click(waiting, "Delete")
    assert waiting.deleted


async def test_a_press_outlives_a_restart_in_the_middle_of_its_drawing(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox --steps 50")
    async with house.opened(finishes=False) as service:
        service.generator.step_seconds = 0.2
        await slack.click(service.url, message, "Redraw")
        await until(house.statuses)
        [status] = house.statuses()
    assert house.statuses() == [status]
    async with house.opened():
        pass
    assert len(status.pictures) == 1
    assert house.shown() == [message, status]


async def test_a_cancel_outlives_a_restart(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    manager = house.opened(held_up=True)
    service = await manager.__aenter__()
    await slack.click(service.url, message, "Redraw")
    await until(house.statuses)
    [status] = house.statuses()
    await slack.click(service.url, status, "Cancel")
    service.generator.gate.set()
    await manager.__aexit__(None, None, None)
    assert "Cancelled." in status.plain


async def test_a_cancel_that_comes_too_late_says_so(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        await slack.click(service.url, message, "Redraw")
        await until(house.statuses)
        [status] = house.statuses()
        button = status.button("Cancel")
        service.generator.gate.set()
        await until(lambda: status.pictures)
        await slack.click(service.url, status, button)
    assert house.told("U1") == ["It is too late to cancel that: it is done."]
    assert status.pictures


async def test_a_command_can_be_cancelled_from_its_own_answer(house: House, slack: SlackServer) -> None:
    async with house.opened(held_up=True) as service:
        ack = await slack.command(service.url, "a red fox")
        assert ack.message
        assert ack.message.labels == ["Cancel"]
        await slack.click(service.url, ack.message, "Cancel")
        service.generator.gate.set()
    assert house.drawn == []
    assert "Cancelled." in slack.messages[-1].plain


@pytest.mark.parametrize("seed", range(3))
async def test_in_bad_weather_each_step_still_ends_once(seed: int, house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox --n 2")
    slack.keeps_rates = False
    slack.faults.random(rate=0.2, seed=seed, kinds=[Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.RESET])
    for label in ("Vary 2", "Redraw", "Upscale 1"):
        await house.click(message, label)
    slack.faults.clear()
    assert len(house.drawn) == 4
    assert len(house.shown()) == 4
    await house.click(message, "Delete")
    assert message.deleted


# When Slack itself is slow


SAYING = ("users.info", "response_url", "chat.postEphemeral", "views.open")


@pytest.mark.parametrize("label", ["Details", "Edit"])
async def test_where_slack_hangs_a_press_is_answered_in_time_and_slack_is_let_to_say_that_it_failed(
    label: str, house: House, slack: SlackServer
) -> None:
    message = await house.command("a red fox")
    async with house.opened() as service:
        for method in SAYING:
            slack.faults.next(method, Fault.HANG)
        assert (await slack.click(service.url, message, label)).status == 503
        assert (await slack.click(service.url, message, label)).status == 200


async def test_where_slack_hangs_whatever_else_people_do_is_answered_in_time(house: House, slack: SlackServer) -> None:
    message = slack.write("a fox")
    async with house.opened() as service:
        asked = await slack.command(service.url, "a {red,blue} fox")
        assert asked.message
        for method in SAYING:
            slack.faults.next(method, Fault.HANG, times=9)
        acks = [
            await slack.command(service.url, "", user="U3"),
            await slack.mention(service.url, "help", user="U4"),
            await slack.message_shortcut(service.url, "imagine_this", message, user="U2"),
            await slack.click(service.url, asked.message, "Draw 2 pictures"),
        ]
        assert [ack.status for ack in acks] == [200, 503, 503, 200]
        slack.faults.clear()


async def test_whoever_is_told_no_gets_nothing_drawn_and_may_press_again_at_once(
    house: House, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await house.command("a red fox")
    async with house.opened() as service:
        with monkeypatch.context() as patched:
            patched.setattr("bot.desk.HAND_OVER", 0.0)
            await slack.click(service.url, message, "Redraw")
        assert house.told("U1") == ["I could not take that just now. Please try again in a moment."]
        await slack.click(service.url, message, "Redraw")
    assert len(house.drawn) == 2
    assert len(house.told("U1")) == 1


# Ways in


async def test_a_mention_is_answered_in_the_thread_it_was_made_in(house: House, slack: SlackServer) -> None:
    root = slack.write("what would that look like?")
    async with house.opened() as service:
        ack = await slack.mention(service.url, "a red fox --n 2", thread_ts=root.ts)
        await slack.again(service.url, ack)  # Slack doubts that we heard
        await slack.again(service.url, ack, retry=2)
    shown = house.newest()
    assert (shown.thread_ts, len(shown.pictures), len(house.drawn)) == (root.ts, 2, 1)
    await house.click(shown, "Vary 1")
    assert house.newest().thread_ts == root.ts
    await house.click(shown, "Details")
    assert [m.thread_ts for m in slack.messages if m.ephemeral_to] == [root.ts]
    await house.click(shown, "Delete")
    assert shown.deleted


async def test_a_mention_in_a_channel_is_answered_there(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "draw a <red> & https://a.example/?b=1&c fox, @imagine")
    assert house.drawn[0].prompt == "draw a <red> & https://a.example/?b=1&c fox,"
    assert house.newest().thread_ts is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Type what you want to see"),
        ("help", "Type what you want to see"),
        ("help --n 3", "Type what you want to see"),
        ("settings --n 3", "--n 3"),
        ("settings help", "I add nothing"),
        ("settings reset --n 3", "--n 3"),
        ("settings of a table", "put them between quotes"),
        ("setings --n 3", "Did you mean /imagine settings?"),
        ("a fox --sede 7", "Did you mean --seed?"),
    ],
)
async def test_what_is_no_picture_is_said_to_the_person_alone_and_once(
    text: str, told: str, house: House, slack: SlackServer
) -> None:
    root = slack.write("look")
    async with house.opened() as service:
        ack = await slack.mention(service.url, text, thread_ts=root.ts)
        await slack.again(service.url, ack)
    [said] = [m for m in slack.messages if m.ephemeral_to]
    assert told in said.plain
    assert (said.thread_ts, said.ephemeral_to) == (root.ts, "U1")
    assert house.drawn == []


async def test_a_mention_is_drawn_once_however_often_it_is_edited(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a red fox")
        await slack.rewrite(service.url, slack.messages[0], "a red fox!")
    async with house.opened() as service:
        await slack.rewrite(service.url, slack.messages[0], "a blue fox")
    assert [request.prompt for request in house.drawn] == ["a red fox"]
    assert house.told("U1") == []


async def test_a_mention_that_was_refused_can_be_corrected(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox --nn 3")
        await slack.rewrite(service.url, slack.messages[0], "a fox --sede 3")
        await slack.rewrite(service.url, slack.messages[0], "a fox --seed 3")
    assert ["Did you mean --" in told for told in house.told("U1")] == [True, True]
    assert [(request.prompt, request.seed) for request in house.drawn] == [("a fox", 3)]


@pytest.mark.parametrize("text", ["a {red,blue} fox", "a fox --nn 3"])
@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.RESET])
async def test_what_slack_did_not_take_is_said_when_it_asks_again(
    fault: Fault, text: str, house: House, slack: SlackServer
) -> None:
    slack.faults.next("chat.postEphemeral", fault)
    async with house.opened() as service:
        first = await slack.mention(service.url, text)
        acks = [first, *[await slack.again(service.url, first, retry=retry) for retry in (1, 2)]]
    assert [ack.status for ack in acks] == [503, 200, 200]
    assert len(house.told("U1")) == 1


async def test_what_is_written_to_the_bot_is_drawn_and_its_own_words_are_not(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.dm(service.url, "a red fox")
        await until(house.shown)
        await until(lambda: not service.desk_is_busy())
        for message in list(slack.messages):
            if message.user == slack.bot_user_id:
                await slack.overhear(service.url, message)
    assert len(house.drawn) == 1
    assert slack.channels[house.newest().channel].members == {"U1"}


async def test_many_pictures_are_proposed_first_wherever_that_is(house: House, slack: SlackServer) -> None:
    root = slack.write("look")
    async with house.opened() as service:
        await slack.mention(service.url, "a {red,blue} fox --n 2", thread_ts=root.ts)
    question = slack.messages[-1]
    assert (question.ephemeral_to, question.labels) == ("U1", ["Draw 4 pictures", "No"])
    assert house.drawn == []
    await house.click(question, "Draw 4 pictures")
    assert question.deleted
    shown = house.newest()
    assert (len(shown.pictures), shown.thread_ts) == (4, root.ts)
    alts = [block["alt_text"] for block in shown.blocks if block["type"] == "image"]
    assert alts == ["a red fox", "a red fox", "a blue fox", "a blue fox"]
    await house.click(shown, "Upscale 4")
    assert (house.drawn[-1].prompt, house.drawn[-1].upscale) == ("a blue fox", 2)


async def test_a_proposal_keeps_the_picture_that_it_starts_from(house: House, slack: SlackServer) -> None:
    root = slack.write("look")
    async with house.opened() as service:
        await slack.mention(service.url, "a {red,blue} fox", thread_ts=root.ts, files=[a_picture(slack)])
    async with house.opened() as service:
        await slack.click(service.url, slack.messages[-1], "Draw 2 pictures")
        await until(lambda: not service.desk_is_busy())
        assert [bool(start) for start in service.generator.started_from] == [True, True]
    assert house.newest().thread_ts == root.ts


async def test_a_proposal_can_be_declined(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, "a {red,blue} fox")
    assert ack.message
    await house.click(ack.message, "No")
    assert ack.message.deleted
    assert house.drawn == []


async def test_a_persons_settings_are_remembered(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, "settings --n 2 --style oil")
    assert ack.message
    assert "--n 2 --style oil" in ack.message.plain
    await house.command("a fox")
    assert (house.drawn[0].n, house.drawn[0].prompt) == (2, "a fox, oil painting")
    await house.command("a fox", user="U2")
    assert house.drawn[1].n == 1
    async with house.opened() as service:
        await slack.command(service.url, "")
    assert (value(slack.modal, "n"), value(slack.modal, "style")) == ("2", "oil")


# The form


async def test_a_command_without_words_opens_the_form(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, "  ", channel="G1")
    assert ack.message is None
    filled = {"prompt": "a fox", "no": "blur", "shape": "ar 3:2", "n": "2", "steps": "5", "guidance": "1.5", "seed": "7"}
    await house.submit({**filled, "style": "oil", "model": "sketch"})
    [request] = house.drawn
    assert (request.prompt, request.negative_prompt, request.n) == ("a fox, oil painting", "blur", 2)
    assert (request.num_inference_steps, request.guidance_scale, request.seed) == (5, 1.5, 7)
    assert request.width > request.height
    assert house.newest().channel == "G1"


async def test_the_form_of_a_picture_has_all_its_settings_and_changes_none(house: House, slack: SlackServer) -> None:
    message = await house.command("a \\--fox {x} --size 320x224 --steps 5 --guidance 1.5 --seed 7 --no blur --n 2")
    await house.click(message, "Vary 2")
    await house.click(house.newest(), "Edit")
    held = {name: value(slack.modal, name) for name in slack.modal.inputs}
    assert held["prompt"] == "a \\--fox \\{x}"
    assert [held[name] for name in ("no", "shape", "steps", "guidance", "seed", "n", "model", "style")] == [
        *("blur", "size 320x224", "5", "1.5", "8", "4", "sketch", "none")
    ]
    await house.submit()
    assert house.drawn[2] == house.drawn[1]


async def test_the_form_of_many_pictures_has_them_all(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, "a {red,blue} fox --style oil --n 2 --ar 3:2")
        assert ack.message
        await slack.click(service.url, ack.message, "Draw 4 pictures")
    await house.click(house.newest(), "Edit")
    assert [value(slack.modal, name) for name in ("prompt", "style", "n")] == ["a {red,blue} fox", "oil", "2"]
    await house.submit()
    await house.submit()
    assert house.drawn[:2] == house.drawn[2:]


WRONG = [
    ({"prompt": "a fox --sede 7"}, "prompt", "Did you mean --seed?"),
    ({"prompt": " \u200b "}, "prompt", "Say what to draw"),
    ({"prompt": "x" * 2001}, "prompt", "2001 characters"),
    ({"no": "x" * 2001}, "no", "2001 characters"),
    ({"strength": "0.5"}, "strength", "attach one"),
    ({"shape": "size 512x512", "upscale": ["2"]}, "upscale", "too large to upscale"),
]


@pytest.mark.parametrize(("entries", "name", "words"), WRONG)
async def test_what_is_wrong_is_said_beside_its_field_and_nothing_is_lost(
    entries: dict[str, Any], name: str, words: str, house: House, slack: SlackServer
) -> None:
    message = await house.command("a fox --size 512x512 --seed 7")
    await house.click(message, "Edit")
    ack = await house.submit(entries)
    assert list(ack.errors) == [name]
    assert words in ack.errors[name]
    assert value(slack.modal, "seed") == "7"
    await house.submit({"prompt": "a hare", "no": None, "strength": None, "upscale": None, "steps": "4"})
    assert house.drawn[-1].prompt == "a hare"


async def test_the_form_asks_before_it_draws_many(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.command(service.url, "")
    await house.submit({"prompt": "a {red,blue} fox"})
    assert "This makes 2 pictures." in slack.modal.plain
    async with house.opened() as service:
        await slack.close(service.url, slack.modal)
    await house.submit({"prompt": "a {red,blue,green} fox"})
    assert "This makes 3 pictures." in slack.modal.plain
    await house.submit()
    assert not any(view.is_open for view in slack.views)
    assert len(house.newest().pictures) == 3


async def test_what_was_typed_outlives_an_order_of_many_that_was_not_taken(
    house: House, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house.opened() as service:
        await slack.command(service.url, "")
    form = slack.modal
    await house.submit({"prompt": "a {red,blue} fox", "steps": "5"})
    with monkeypatch.context() as patched:
        patched.setattr("bot.desk.HAND_OVER", 0.0)
        for _ in range(2):
            await house.submit()
            assert slack.modal.plain.count("I could not take that just now.") == 1
            assert "This makes 2 pictures." in slack.modal.plain
    assert form.is_open
    assert (value(form, "prompt"), value(form, "steps")) == ("a {red,blue} fox", "5")
    await house.submit()
    assert not any(view.is_open for view in slack.views)
    assert len(house.newest().pictures) == 2


async def test_the_shortcut_from_anywhere_asks_where_to_post(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.shortcut(service.url, "imagine_new", user="U2")
    await house.submit({"prompt": "a fox", "place": "G2"})
    shown = house.newest()
    assert (shown.channel, shown.via) == ("G2", "response_url")
    assert "'user_id': 'U2'" in str(shown.blocks)


async def test_imagine_this_takes_a_messages_words_and_picture(house: House, slack: SlackServer) -> None:
    root = slack.write("look")
    message = slack.write("a <fox> --sede", thread_ts=root.ts, files=[a_picture(slack)])
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message, user="U2")
    assert value(slack.modal, "prompt") == "a <fox> \\--sede"
    async with house.opened() as service:
        await slack.submit(service.url, slack.modal, {"strength": "0.5"})
        await until(lambda: not service.desk_is_busy())
        assert [bool(start) for start in service.generator.started_from] == [True]
    assert (house.drawn[0].prompt, house.drawn[0].strength) == ("a <fox> --sede", 0.5)
    assert house.newest().thread_ts == root.ts


@pytest.mark.parametrize("comment", ["", "an owl"])
async def test_a_message_that_was_forwarded_is_imagined_unless_more_was_said(
    comment: str, house: House, slack: SlackServer
) -> None:
    message = slack.write(comment)
    message.forwards = slack.write("a fox & a hen", channel="G1", files=[a_picture(slack)])
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message)
        assert value(slack.modal, "prompt") == (comment or "a fox & a hen")
        assert ("start" in slack.modal.inputs) is not bool(comment)


@pytest.mark.parametrize("said", ["/imagine a fox --n 2", "/imagine prompt: a fox --n 2"])
async def test_a_command_that_somebody_wrote_is_imagined_as_one(said: str, house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", slack.write(said))
    assert value(slack.modal, "prompt") == "a fox --n 2"
    await house.submit()
    assert (house.drawn[0].prompt, house.drawn[0].n) == ("a fox", 2)


async def test_whom_a_message_is_addressed_to_is_not_imagined(house: House, slack: SlackServer) -> None:
    message = slack.write("a fox")
    message.text = "<@U0BOT> <@U3>: a fox beside &lt;@U3&gt; --n 2"
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message)
    assert value(slack.modal, "prompt") == "a fox beside <@U3> --n 2"


@pytest.mark.parametrize("forgotten", [False, True])
async def test_one_of_our_own_pictures_is_imagined_with_all_that_belongs_to_it(
    forgotten: bool, house: House, slack: SlackServer
) -> None:
    async with house.opened() as service:
        await slack.command(service.url, "settings --n 2 --ar 1:1 --style neon")
    words = "a *red* \\{x,y} \\--fox" + "x" * 1500  # which the message does not show
    message = await house.command(f"{words} --no blur --style oil --ar 3:2 --seed 7 --n 1")
    if forgotten:
        house.forget()
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message)
    held = [value(slack.modal, name) for name in ("prompt", "no", "style", "shape", "model", "n", "seed", "start")]
    assert held == [words, "blur", "oil", "size 320x224", "sketch", None if forgotten else "2", None, ["2"]]
    async with house.opened() as service:
        await slack.submit(service.url, slack.modal)
        await until(lambda: not service.desk_is_busy())
        assert service.generator.started_from[0]


async def test_only_pictures_of_a_message_are_offered_to_start_from(house: House, slack: SlackServer) -> None:
    message = slack.write("a fox", files=[slack.attach("a.pdf", b"%PDF-1.7"), a_picture(slack)])
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", slack.write("a fox", files=[message.files[0]]))
        assert "start" not in slack.modal.inputs
        await slack.close(service.url, slack.modal)
        await slack.message_shortcut(service.url, "imagine_this", message)
        assert value(slack.modal, "start") == ["2"]


async def test_a_file_that_somebody_deleted_is_not_started_from(house: House, slack: SlackServer) -> None:
    gone, there = a_picture(slack), a_picture(slack)
    gone.deleted = True
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", slack.write("a fox", files=[gone]))
        assert "start" not in slack.modal.inputs
        await slack.close(service.url, slack.modal)
        await slack.message_shortcut(service.url, "imagine_this", slack.write("a fox", files=[gone, there]))
        await slack.submit(service.url, slack.modal)
        await slack.mention(service.url, "a fox", files=[gone])
        await until(lambda: not service.desk_is_busy())
    assert sorted(bool(request.image) for request in house.drawn) == [False, True]


async def test_imagine_this_works_on_a_picture_of_ours_and_without_the_picture_too(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    for start in (["2"], None):
        async with house.opened() as service:
            await slack.message_shortcut(service.url, "imagine_this", message)
        await house.submit({"start": start})
    assert [bool(request.image) for request in house.drawn] == [False, True, False]


# Pictures that people bring along


def a_picture(slack: SlackServer, **about: Any) -> Any:
    return slack.attach("fox.png", plain(compose("a fox", model="sketch", seed=7)), **about)


async def test_a_picture_attached_to_a_mention_is_started_from_and_its_recipe_works_again(
    house: House, slack: SlackServer
) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox --strength 0.4", files=[a_picture(slack)])
    shown = house.newest()
    assert house.drawn[0].strength == 0.4
    assert "from a picture, strength 0.4" in shown.plain
    await house.click(shown, "Details")
    async with house.opened() as service:
        await slack.command(service.url, house.told("U1")[0].removeprefix("/imagine "))
        await until(lambda: not service.desk_is_busy())
        assert all(service.generator.started_from)
    assert house.drawn[1] == house.drawn[0]


async def test_a_picture_in_the_form_is_started_from(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.command(service.url, "")
    await house.submit({"prompt": "a fox", "upload_picture": [a_picture(slack)]})
    assert house.drawn[0].image
    await house.click(house.newest(), "Edit")
    assert value(slack.modal, "strength") == "0.6"
    await house.submit({"start": None, "strength": None})
    assert not house.drawn[1].image


async def test_no_other_address_is_ever_called(house: House, slack: SlackServer, discord: DiscordServer) -> None:
    foreign = a_picture(slack, link=f"{discord.url}/fox.png")
    async with house.opened() as service:
        await slack.mention(service.url, "a fox", files=[foreign])
        await until(lambda: not service.desk_is_busy())
        assert service.generator.drawn == []
    assert "lies on another site" in slack.messages[-1].plain
    assert discord.calls == []


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"%PDF-1.7", "not a picture that I can read"), (b"\x89PNG\r\n\x1a\n" + b"x" * 20_000_001, "too large: 20 MB")],
)
async def test_a_file_that_is_no_picture_is_said_to_be(content: bytes, told: str, house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox", files=[slack.attach("fox.png", content)])
    assert told in slack.messages[-1].plain
    assert house.drawn == []


async def test_a_picture_that_we_may_not_see_is_said_to_be_hidden(house: House, slack: SlackServer) -> None:
    message = slack.write("look", channel="G2", files=[a_picture(slack)])
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message)
    await house.submit()
    assert "Slack does not show me that picture." in slack.messages[-1].plain
    assert house.drawn == []


async def test_a_picture_that_we_may_see_by_now_is_started_from_whichever_way_that_is_asked_for(
    house: House, slack: SlackServer
) -> None:
    message = slack.write("look", channel="G2", files=[a_picture(slack)])
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", message)
    await house.submit()
    refused = slack.messages[-1]
    slack.channels["G2"].bot_is_member = True
    await house.click(refused, "Redraw")
    [kept] = house.folder.glob("files/*")
    kept.unlink()
    await house.click(refused, "Edit")
    await house.submit()
    assert [bool(request.image) for request in house.drawn] == [True, True]


async def test_where_slack_wants_us_to_sign_in_the_picture_is_said_to_be_gone(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        file = a_picture(slack)
        file.url = file.url.replace(file.id, "F404")
        await slack.mention(service.url, "a fox", files=[file])
    assert "is not here any more" in slack.messages[-1].plain


# How far it is


async def test_who_waits_sees_their_place_and_who_wakes_a_gpu_can_cancel(house: House, slack: SlackServer) -> None:
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        await slack.click(service.url, message, "Vary", user="U2")
        await until(lambda: service.studio.turns.serving)
        await slack.click(service.url, message, "Redraw")
        await until(lambda: any("1 drawing ahead" in m.plain for m in house.statuses()))
        service.generator.gate.set()
    shown = len(house.shown())
    async with house.opened(held_up=True) as service:
        service.generator.wakes = True
        await slack.click(service.url, message, "Vary")
        await until(lambda: any("waking a GPU, usually about 5 s" in m.plain for m in house.statuses()))
        [status] = house.statuses()
        await slack.click(service.url, status, "Cancel")
        await until(lambda: "Cancelled." in status.plain)
    assert len(house.shown()) == shown


async def shown(house: House, service: Service) -> list[str]:
    """Wait until each step that a drawing holds at is shown, and let it go on; return where what could be seen lay."""
    urls: list[str] = []
    for step in sorted(service.generator.holds):
        await until(lambda: any(f"step {step} " in status.plain for status in house.statuses()))  # noqa: B023
        urls += [block["image_url"] for block in house.statuses()[-1].blocks if "image_url" in block]
        service.generator.gate.set()
    return urls


async def test_what_can_be_seen_so_far_is_shown_and_goes_when_it_is_done(
    house: House, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.05)
    slack.keeps_rates = False
    message = await house.command("a red fox")
    async with house.opened() as service:
        service.generator.preview, service.generator.holds = JPEG, {1, 3}
        await slack.click(service.url, message, "Redraw")
        urls = await shown(house, service)
        await until(lambda: not service.desk_is_busy())
        assert len(set(urls)) == 2
        assert all(url.startswith(f"https://{NAME}/previews/") for url in urls)
        assert slack.seen[urls[0]] == JPEG
        async with slack.session.get(urls[0].replace(f"https://{NAME}", service.url)) as response:
            assert response.status == 404
    assert not any("image_url" in block for block in house.newest().blocks)


async def test_a_preview_that_slack_cannot_fetch_is_left_out(
    house: House, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.02)
    slack.keeps_rates = False
    message = await house.command("a red fox")
    async with house.opened(held_up=True) as service:
        service.generator.preview, service.generator.holds = JPEG, {1, 3}
        await slack.click(service.url, message, "Redraw")
        slack.public_names = {}  # the world does not know us by that name any more
        service.generator.gate.set()
        assert await shown(house, service) == []
    assert [call.answer for call in slack.calls].count("invalid_blocks") == 1  # it is not tried again
    assert house.newest().pictures


@pytest.mark.parametrize("stays", [True, False])
async def test_a_preview_is_gone_with_the_outcome_whichever_way_that_goes(
    stays: bool, house: House, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.02)
    slack.keeps_rates = False
    async with house.opened() as service:
        service.generator.preview, service.generator.holds = JPEG, {1}
        await slack.command(service.url, "a red fox", channel="G1")
        await until(lambda: list(house.folder.glob("files/*")))
        slack.channels["G1"].bot_is_member = stays
        service.generator.gate.set()
    assert house.newest().pictures
    assert list(house.folder.glob("files/*")) == []


async def test_deleting_takes_the_picture_that_was_started_from_along(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox", files=[a_picture(slack)])
    [file] = house.folder.glob("files/*")
    async with LocalStore(house.folder) as store:  # another one was asked for, and not taken: there is nothing of it to delete
        [record] = await store.started_from(file.name)
        never = replace(record.job, id="0" * 24, claim="never")
        await store.claim(never)
        await store.finish(never.id, "not taken")
    await house.click(house.newest(), "Delete")
    assert list(house.folder.glob("files/*")) == []


async def test_what_somebody_has_deleted_is_not_fetched_again_for_others(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox", files=[a_picture(slack)])
    first = house.newest()
    await house.click(first, "Redraw", user="U2")
    again = house.newest()
    await house.click(first, "Delete")
    await house.click(again, "Redraw", user="U2")
    assert "The picture to start from is not here any more." in slack.messages[-1].plain
    assert len(house.drawn) == 2


JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


async def test_nobody_reaches_a_picture_that_people_brought_by_the_address_of_a_preview(
    house: House, slack: SlackServer
) -> None:
    async with house.opened() as service:
        await slack.mention(service.url, "a fox", files=[a_picture(slack)])
        await until(lambda: not service.desk_is_busy())
        async with slack.session.get(f"{service.url}/previews/{service.generator.drawn[0].image}/1.jpg") as response:
            assert response.status == 404


# Languages, and hostile words


async def test_whoever_reads_german_is_answered_in_german(house: House, slack: SlackServer) -> None:
    async with house.opened() as service:
        ack = await slack.command(service.url, "a fox --sede 7", user="U4")
        assert ack.message
        assert "Meintest du --seed?" in ack.message.plain
    message = await house.command("a fox --steps 5", user="U4")
    assert message.labels[:4] == ["Neu zeichnen", "Ändern", "Einzelheiten", "Löschen"]
    assert "5 Schritte" in message.plain
    await house.click(message, "Ändern", user="U4")
    assert "Was du sehen willst" in str(slack.modal.content)
    await house.submit({"strength": "0.5"})
    await slack.close("", slack.modal)
    await house.click(message, "Löschen", user="U2")
    assert house.told("U2") == [DELETED]  # who presses is answered in their own


HOSTILE: Sequence[str] = (
    "<!channel> <@U2> <!subteam^S1> @here & <https://a.example|link>",
    "*b* _i_ `c` ```code``` > q :fire: \\ \u202e x \x00 \ud83e",
    '{"a": 1} \'"; DROP <script>',
)


@pytest.mark.parametrize("words", HOSTILE)
async def test_hostile_words_are_shown_as_words_in_every_place(words: str, house: House, slack: SlackServer) -> None:
    typed = words.encode("utf-8", "replace").decode()
    async with house.opened() as service:
        await slack.mention(service.url, typed)
    shown = house.newest()
    await house.click(shown, "Edit")
    prompt = value(slack.modal, "prompt")
    await house.submit({"prompt": prompt, "no": typed})
    await house.click(house.newest(), "Details")
    async with house.opened() as service:
        await slack.message_shortcut(service.url, "imagine_this", slack.write(typed))
    await slack.close("", slack.modal)
    assert house.drawn[1] == replace(house.drawn[0], negative_prompt=house.drawn[1].negative_prompt)
    pings = {ping for message in slack.messages if message.via != "person" for ping in message.pings}
    assert pings <= {"<U1>"}


async def test_no_secret_is_logged_in_any_of_it(house: House, slack: SlackServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    message = await house.command("a red fox", channel="G2")
    for method in ("response_url", "views.open", "users.info", "files.info"):
        slack.faults.next(method, Fault.SERVER_ERROR)
    async with house.opened() as service:
        acks = [await slack.click(service.url, message, label) for label in ("Details", "Edit", "Delete")]
    assert caplog.text
    for secret in (slack.token, slack.signing_secret, *(secret for a in acks for secret in (a.response_url, a.trigger_id))):
        assert secret not in caplog.text
