"""Everything on one machine: nothing lost, nothing doubled, and nobody waits for a greedy neighbour."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from bot import store_local
from bot.errors import Cancelled
from bot.local import Studio
from bot.request import Event, Job, Started, compose
from tests.conftest import environment, serving, until
from tests.fakes.faults import Fault
from tests.fakes.generator import QuickGenerator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bot.models import Model
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer

AMBIGUOUS = {Fault.LOST_ANSWER, Fault.HANG_AFTER}


async def test_a_thousand_commands_in_bad_weather_end_with_exactly_one_outcome_each(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.platforms.TIMEOUT", aiohttp.ClientTimeout(total=1))
    monkeypatch.setattr("asyncio.sleep", _hurried(asyncio.sleep))
    for limit in ("bot.deadline.DOING", "bot.desk.HAND_OVER"):
        monkeypatch.setattr(limit, 60)  # people wait for so long here, and nobody is turned away
    async with serving(tmp_path, environment(slack, discord)) as service:
        slack.faults.random(rate=0.1, seed=1)
        discord.faults.random(rate=0.1, seed=2)
        await asyncio.gather(*(_command(slack, discord, service, i) for i in range(1000)))
        await until(lambda: not service.desk_is_busy(), 120)
    assert len(service.generator.drawn) == 1000
    _one_outcome_each(slack, discord)


async def _command(slack: SlackServer, discord: DiscordServer, service: Service, number: int) -> None:
    words = f"fox number {number} --steps 1"
    if number % 2:
        assert (await slack.command(service.url, words, user=f"U{number % 7}", patience=60)).status == 200
    else:
        assert (await discord.imagine(service.url, {"prompt": words}, patience=60)).status == 200


def _one_outcome_each(slack: SlackServer, discord: DiscordServer) -> None:
    """Each command has one message that shows its picture; a status may be left over only where Slack's answer was lost."""
    in_slack = [message.plain.splitlines()[0] for message in slack.messages if message.pictures and not message.thread_ts]
    assert sorted(in_slack) == sorted(f"fox number {i}" for i in range(1, 1000, 2))
    in_discord = [message.content.split("**")[1] for message in discord.messages if message.pictures]
    assert sorted(in_discord) == sorted(f"fox number {i}" for i in range(0, 1000, 2))
    left_over = [m for m in slack.messages if m.via == "api" and not m.pictures and not m.deleted]
    lost = [fault for method, fault in slack.faults.struck if method == "chat.postMessage" and fault in AMBIGUOUS]
    assert len(left_over) <= len(lost)


def _hurried(sleep: Any) -> Any:
    """Shorten the waits that discord.py makes by itself, of up to nine seconds."""

    async def hurried(seconds: float, *rest: Any) -> Any:
        return await sleep(min(seconds, 0.05), *rest)

    return hurried


async def test_a_server_that_is_killed_finishes_after_its_restart(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer
) -> None:
    environ = environment(slack, discord)
    first = await _server(tmp_path, environ)
    await slack.command(first.url, "a red fox --seed 7")
    await discord.imagine(first.url, {"prompt": "a red fox", "seed": 7})
    first.process.send_signal(signal.SIGKILL)
    await first.process.wait()
    assert not any(message.pictures for message in slack.messages)
    assert not any(message.pictures for message in discord.messages)
    async with serving(tmp_path, environ) as service:
        await until(lambda: not service.desk_is_busy())
        assert len(service.generator.drawn) == 2
    assert len([m for m in slack.messages if m.pictures and not m.thread_ts]) == 1
    assert len([m for m in discord.messages if m.pictures]) == 1


class _Server:
    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process, self.url = process, url


SLOW = """
from tests.fakes.generator import QuickGenerator
from bot import local
generators = []
def make(model):
    generators.append(QuickGenerator(model))
    generators[-1].step_seconds = 1
    return generators[-1]
local.Studio.__init__.__defaults__ = (make,)
local.serve("127.0.0.1", 0, lambda url: print(url, flush=True))
"""


async def _server(folder: Path, environ: dict[str, str]) -> _Server:
    """Run `imagine serve` in a process of its own, with a generator that takes its time."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SLOW),
        env={**os.environ, **environ, "IMAGINE_HOME": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout
    url = await asyncio.wait_for(process.stdout.readline(), 30)
    return _Server(process, url.decode().strip())


STEPS_ON_THE_WAY = [
    "chat.postMessage",
    "files.getUploadURLExternal",
    "upload",
    "files.completeUploadExternal",
    "files.info",
    "chat.update",
]


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
@pytest.mark.parametrize("method", STEPS_ON_THE_WAY)
async def test_a_server_that_stops_anywhere_in_a_delivery_goes_on_there_and_posts_once(
    method: str, fault: Fault, tmp_path: Path, slack: SlackServer, discord: DiscordServer
) -> None:
    environ = environment(slack, discord)
    slack.faults.next(method, fault)
    async with serving(tmp_path, environ) as service:
        await slack.command(service.url, "a red fox --seed 7")
        await until(lambda: slack.faults.struck)
    async with serving(tmp_path, environ) as service:
        await until(lambda: not service.desk_is_busy())
        assert not service.generator.drawn  # the picture had been kept
    assert len([m for m in slack.messages if m.pictures and not m.thread_ts]) == 1
    assert len([share for file in slack.files.values() for share in file.shares]) == 1


async def test_a_job_that_takes_the_machine_down_each_time_is_given_up(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer
) -> None:
    environ = environment(slack, discord)
    for attempt in range(1, 4):
        server = await _server(tmp_path, environ)
        if attempt == 1:
            await slack.command(server.url, "a red fox")
        await until(lambda: _attempts(tmp_path) == attempt)  # noqa: B023
        server.process.kill()
        await server.process.wait()
    async with serving(tmp_path, environ) as service:
        await until(lambda: not service.desk_is_busy())
        assert not service.generator.drawn
    assert any("I tried 3 times" in message.plain for message in slack.messages)


async def test_ordinary_restarts_are_no_fault_of_the_job(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> None:
    environ = environment(slack, discord)
    for attempt in range(5):
        async with serving(tmp_path, environ) as service:
            service.generator.step_seconds = 0.2
            if not attempt:
                await slack.command(service.url, "a red fox --steps 50")
            await until(lambda: _attempts(tmp_path) == 1)
    async with serving(tmp_path, environ) as service:
        await until(lambda: not service.desk_is_busy())
    assert any(message.pictures for message in slack.messages)


async def test_a_platform_that_hangs_holds_up_nobody_elses_drawing(
    slack: SlackServer, discord: DiscordServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.0)
    monkeypatch.setattr("bot.courier.SETTLE", 0.1)
    service.generator.step_seconds = 0.01
    slack.faults.next("chat.postMessage", Fault.HANG, times=30)
    for number in range(3):
        await slack.command(service.url, f"slow {number}", user=f"U{number}")
    await discord.imagine(service.url, {"prompt": "quick"})
    await until(lambda: any(message.pictures for message in discord.messages), 5)


async def test_statuses_leave_room_for_outcomes(slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.0)
    service.generator.step_seconds = 0.01
    for number in range(20):
        await slack.command(service.url, f"fox {number}", user=f"U{number}")
    await until(lambda: not service.desk_is_busy(), 30)
    statuses = sum("Drawing" in edit.text for message in slack.messages for edit in message.edits)
    assert statuses <= 15  # ten at once, and one every two seconds after that


async def test_a_kept_picture_that_is_damaged_is_drawn_again(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer
) -> None:
    environ = environment(slack, discord)
    slack.faults.next("files.getUploadURLExternal", Fault.HANG)
    async with serving(tmp_path, environ) as service:
        await slack.command(service.url, "a red fox --seed 7")
        await until(lambda: slack.faults.struck)
    _damage(tmp_path)
    async with serving(tmp_path, environ) as service:
        await until(lambda: not service.desk_is_busy())
        assert len(service.generator.drawn) == 1
    assert any(message.pictures for message in slack.messages)


def _damage(folder: Path) -> None:
    """Leave of a kept picture what a power cut may."""
    [picture] = folder.glob("pictures/*/0.png")
    picture.write_bytes(b"")


def _attempts(folder: Path) -> int:
    """Return how often a drawing was begun that neither ended nor was stopped in good order."""
    with sqlite3.connect(folder / "jobs.sqlite3") as database:
        row = database.execute("SELECT json_extract(notes, '$.attempts') FROM jobs").fetchone()
    database.close()
    return row[0] or 0 if row else 0


async def test_a_drawing_that_fails_is_explained_and_the_next_one_works(slack: SlackServer, service: Service) -> None:
    service.generator.fails = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    await slack.command(service.url, "a red fox")
    await until(lambda: not service.desk_is_busy())
    assert any("Something went wrong on my side" in message.plain for message in slack.messages)
    assert not any("CUDA" in message.plain for message in slack.messages)
    service.generator.fails = None
    await slack.command(service.url, "a red fox")
    await until(lambda: bool([m for m in slack.messages if m.pictures and not m.thread_ts]))


async def test_a_greedy_neighbour_does_not_delay_somebodys_first_picture(slack: SlackServer, service: Service) -> None:
    service.generator.gate.clear()
    for number in range(30):
        await slack.command(service.url, f"greedy {number} --steps 1", user="U1")
    await slack.command(service.url, "modest --steps 1", user="U2")
    service.generator.gate.set()
    await until(lambda: not service.desk_is_busy(), 30)
    order = [request.prompt for request in service.generator.drawn]
    assert order.index("modest") <= 1


async def test_the_place_in_the_queue_is_shown_while_waiting(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.0)
    service.generator.gate.clear()
    await slack.command(service.url, "first", user="U1")
    await slack.command(service.url, "second", user="U1")
    await slack.command(service.url, "third", user="U1")
    await until(lambda: any("2 drawings ahead" in message.plain for message in slack.messages))
    assert any("1 drawing ahead" in message.plain for message in slack.messages)
    service.generator.gate.set()
    await until(lambda: not service.desk_is_busy())


async def test_a_job_that_cannot_be_written_down_is_not_promised(
    slack: SlackServer, discord: DiscordServer, service: Service
) -> None:
    with sqlite3.connect(service.folder / "jobs.sqlite3", isolation_level=None) as database:
        database.execute("BEGIN EXCLUSIVE")  # somebody else holds the database
        ack, answer = await asyncio.gather(
            slack.command(service.url, "a fox"), discord.imagine(service.url, {"prompt": "a fox"})
        )
        database.execute("ROLLBACK")
    database.close()
    assert ack.message
    assert answer.message
    assert "I cannot tell whether it was done." in ack.message.plain  # it is not, unless we are killed right then
    assert "I cannot tell whether it was done." in answer.message.content
    assert answer.message.ephemeral
    await until(lambda: not service.desk_is_busy())
    assert not service.generator.drawn


async def test_a_day_on_which_nothing_can_be_forgotten_is_followed_by_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    forget, days = store_local.LocalStore.forget, count()
    forgotten: list[int] = []

    async def full_for_a_day(store: store_local.LocalStore) -> None:
        if (day := next(days)) == 1:  # day 0 is the start
            raise OSError("the disk is full")
        await forget(store)
        forgotten.append(day)

    monkeypatch.setattr("bot.local.DAY", 0.01)
    monkeypatch.setattr(store_local.LocalStore, "forget", full_for_a_day)
    async with serving(tmp_path, {}):
        await until(lambda: len(forgotten) > 2)
    assert forgotten[:3] == [0, 2, 3]
    assert caplog.text.count("what is old was not forgotten today: OSError('the disk is full')") == 1


async def test_whoever_cancels_in_the_middle_of_a_step_is_heard_there(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = threading.Event()

    def generate(*_: object, **__: object) -> Iterator[Event]:
        yield Started()
        assert stopped.wait(30)
        raise Cancelled

    monkeypatch.setattr(QuickGenerator, "generate", generate)
    monkeypatch.setattr(QuickGenerator, "stop", lambda _: stopped.set())
    job = Job(claim="1", platform="slack", person="U1", request=compose("a fox", model="sketch"), reply_to={})
    events = Studio(QuickGenerator).draw(job, job.request, None)
    while not isinstance(await anext(events), Started):
        pass
    step = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)  # it is under way
    step.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(step, 20)
    assert stopped.is_set()


async def test_what_is_closed_while_a_generator_is_made_lets_go_of_that_one_too() -> None:
    making, closed, let_go_of = threading.Event(), threading.Event(), threading.Event()

    class Slow(QuickGenerator):
        def __init__(self, model: Model) -> None:
            making.set()
            assert closed.wait(30)
            super().__init__(model)

        def close(self) -> None:
            let_go_of.set()

    studio = Studio(Slow)
    loading = asyncio.ensure_future(studio.load("sketch"))
    await until(making.is_set)
    studio.close()
    closed.set()
    with pytest.raises(RuntimeError, match="nothing is drawn here any more"):
        await loading
    assert let_go_of.is_set()
    assert studio.loaded is None


async def test_two_servers_do_not_share_a_folder(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> None:
    first = await _server(tmp_path, environment(slack, discord))
    status, said = await _refused({"IMAGINE_HOME": str(tmp_path)})
    first.process.kill()
    await first.process.wait()
    assert status == 2
    assert "set IMAGINE_HOME to another folder" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"DISCORD_PUBLIC_KEY": "abc"}, "DISCORD_PUBLIC_KEY must be 64 hexadecimal digits"),
        ({"DISCORD_APPLICATION_ID": "my app"}, "DISCORD_APPLICATION_ID must be a number"),
        ({"DISCORD_BOT_TOKEN": "abc\n"}, "DISCORD_BOT_TOKEN has a space, a line break or another odd character in it."),
        ({"SLACK_SIGNING_SECRET": " ab"}, "SLACK_SIGNING_SECRET has a space"),
        ({"IMAGINE_MODEL": "sdxxl"}, "IMAGINE_MODEL names “sdxxl”, which is not a model here. There is: sketch, sd15,"),
        ({"IMAGINE_MODELS": "sketch, sdxxl"}, "IMAGINE_MODELS names “sdxxl”, which is not a model here."),
    ],
)
async def test_a_setting_that_cannot_be_right_is_named_before_anything_starts(
    setting: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    status, said = await _refused({"IMAGINE_HOME": str(tmp_path)} | setting)
    assert status == 2
    assert sentence in said
    assert "Traceback" not in said


def a_file(home: Path) -> None:
    home.parent.mkdir()
    home.touch()


def under_a_file(home: Path) -> None:
    home.parent.touch()


def a_lock_that_is_none(home: Path) -> None:
    (home / "lock").mkdir(parents=True)


def damaged(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "jobs.sqlite3").write_text("my shopping list, which is longer than the head of a database" * 10)


def somebody_elses(home: Path) -> None:
    home.mkdir(parents=True)
    with sqlite3.connect(home / "jobs.sqlite3") as database:
        database.execute("CREATE TABLE jobs (pay REAL)")
    database.close()


NOT_KEPT = "Set IMAGINE_HOME to a folder that the bot may write to."
NOT_READ = "Mend it, or move it away to begin anew, or set IMAGINE_HOME to another folder."


@pytest.mark.parametrize(
    ("spoil", "why", "what_to_do"),
    [
        (a_file, "File exists", NOT_KEPT),
        (under_a_file, "Not a directory", NOT_KEPT),
        (a_lock_that_is_none, "Is a directory", NOT_KEPT),
        (damaged, "file is not a database", NOT_READ),
        (somebody_elses, "no such column", NOT_READ),
    ],
)
async def test_a_folder_in_which_nothing_can_be_kept_is_named_before_anything_starts(
    spoil: Callable[[Path], None], why: str, what_to_do: str, tmp_path: Path
) -> None:
    home = tmp_path / "some" / ("home" * 20)  # longer than a line of a terminal
    spoil(home)
    status, said = await _refused({"IMAGINE_HOME": str(home)})
    assert status == 2
    assert str(home) in said
    assert why in said
    assert said.endswith(what_to_do)
    assert "Traceback" not in said


async def test_a_folder_that_others_can_look_into_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder, mode in ((tmp_path / "closed", 0o700), (tmp_path / "open", 0o755)):
        folder.mkdir(mode=mode)
        await store_local.check(folder)
    [warning] = caplog.messages
    assert f"can look into {tmp_path / 'open'}" in warning


async def test_an_address_that_cannot_be_had_ends_it_and_says_why(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ = {"IMAGINE_HOME": str(tmp_path), "SLACK_SIGNING_SECRET": "x", "SLACK_BOT_TOKEN": "xoxb-1"}
        status, said = await _refused(environ, port=taken.getsockname()[1])
    assert status
    assert "address already in use" in said
    assert "Traceback" not in said
    assert "slack is on" in said
    assert "will be ignored" not in said  # bolt means the token, which is not ignored
    assert "Open http" not in said


async def _refused(environ: dict[str, str], *, port: int = 0) -> tuple[int | None, str]:
    """Run `imagine serve` where it cannot start; return its status and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "serve", "--port", str(port)),
        env={**os.environ, **environ},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode, " ".join(said.decode().split())


async def test_a_page_that_watches_does_not_hold_up_the_end(tmp_path: Path) -> None:
    server = await _server(tmp_path, {})
    async with aiohttp.ClientSession() as session:
        typed = {"text": "a red fox", "claim": "claim-0001", "person": "person-0001"}
        async with session.post(f"{server.url}/page/imagine", json=typed) as response:
            job = (await response.json())["job"]
        async with session.get(f"{server.url}/page/jobs/{job}"):
            server.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await server.process.wait()
