"""The deployed bot at work: Modal's own container runtime runs it, on this machine, where there is a control plane for it.

`IMAGINE_FAKE_MODAL` names a program that plays the control plane and starts a process for each container. Without it there
is nothing to run here, and tests/test_deploy.py has said what would be deployed.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from modal_proto import api_pb2 as pb

from bot import recipe
from bot.deploy import CHAT, LOST
from bot.gen import LINGER
from bot.recipe import CHUNK
from tests.conftest import environment, until
from tests.fakes.discord_forms import prefilled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer

ROOT = Path(__file__).parent.parent
CONTROL_PLANE = os.environ.get("IMAGINE_FAKE_MODAL", "")
PATIENCE = 300  # seconds: containers start as processes here, two at a time, and a machine may be busy with more than this
WAITS = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True); sys.stdin.read()"
DIES = """
import asyncio, os, time
from bot import deploy
from bot.desk import Caller

ago = time.time_ns() - int(1e9 * (deploy.LATE + 1))
time.time_ns = lambda: ago  # or the test would have to wait for so long
address = {"channel": "C1", "user": "U1", "team": "T1", "site": "http://127.0.0.1"}
caller = Caller(claim="slack:T1:1.2", platform="slack", person="slack:T1:U1", reply_to=address, language="en")

async def die(job):
    os._exit(0)

deploy._hand_over = die
asyncio.run(deploy._desk().order("a red fox", caller))
"""
WHOLE = """
import os, pathlib, runpy, sys

def write_text(self, text):
    part = self.with_name(f"{self.name} in part")
    part.write_bytes(text.encode())
    os.replace(part, self)

pathlib.Path.write_text = write_text  # a container looks for a file every 10 ms, and reads whatever is in it by then
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SWEEP = "import modal; modal.Function.from_name('imagine', 'sweep').remote()"
SLOW = "a red fox --steps 50 --size 512x512"  # ten seconds and more on two cores: long enough to be broken off

pytestmark = pytest.mark.skipif(not CONTROL_PLANE, reason="IMAGINE_FAKE_MODAL names no control plane")


@dataclass
class Cloud:
    """The bot, deployed; `environ` is that of whoever deploys it."""

    url: str
    environ: dict[str, str]
    plane: int  # a process, and the containers are its children

    async def modal(self, *arguments: object) -> str:
        """Run `modal …` as whoever deploys does; return what it said."""
        return await self._said("-m", "modal", *arguments)

    async def imagine(self, *arguments: object) -> str:
        """Run `imagine …`, likewise."""
        return await self._said("-m", "bot", *arguments)

    async def python(self, program: str) -> str:
        """Run a program, likewise."""
        return await self._said("-c", program)

    async def _said(self, *arguments: object) -> str:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *map(str, arguments)),
            cwd=ROOT,
            env={**self.environ, "HF_TOKEN": ""},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        return said.decode()

    def containers(self) -> list[int]:
        """Return the processes of all containers."""
        children = Path(f"/proc/{self.plane}/task/{self.plane}/children").read_text().split()
        return [int(child) for child in children if "_container_entrypoint" in Path(f"/proc/{child}/cmdline").read_text()]

    def couriers(self) -> list[int]:
        """Return the processes of the containers that talk to people."""
        return [each for each in self.containers() if _function(each) == "Courier.*"]

    def generators(self) -> list[int]:
        """Return the processes of the containers that draw: those that have loaded torch."""
        return [each for each in self.containers() if "libtorch" in Path(f"/proc/{each}/maps").read_text()]


def _function(container: int) -> str:
    """Return the name of the function that a container runs."""
    [arguments] = re.findall(rb"MODAL_CONTAINER_ARGUMENTS_PATH=([^\0]*)", Path(f"/proc/{container}/environ").read_bytes())
    name: str = pb.ContainerArguments.FromString(Path(arguments.decode()).read_bytes()).function_def.function_name
    return name


@asynccontextmanager
async def deployed(environ: Mapping[str, str], log: Path) -> AsyncIterator[Cloud]:
    """Deploy the bot where the platforms are others than the real ones, and the embedded model is all that is there."""
    secret = json.dumps({key: environ[key] for key in CHAT})
    settings = {key: environ[key] for key in ("SLACK_API_URL", "DISCORD_API_URL")} | {"IMAGINE_MODELS": "sketch,sdxl-turbo"}
    options = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
    command = [sys.executable, "-c", WHOLE, CONTROL_PLANE, "run", "bot", "-m", "--strict", "--secret", f"imagine-chat={secret}"]
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *(*command, *options, "--snapshots", "--drain", "0", "--", sys.executable, "-c", WAITS),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
        )
    assert process.stdin
    assert process.stdout
    try:
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert line, log.read_text()
        deployer = json.loads(line)
        yield Cloud(deployer["FAKE_MODAL_URL_WEB"], deployer, process.pid)
    finally:
        process.stdin.close()
        await process.wait()
        print(log.read_text("utf-8", "replace"))  # noqa: T201  shown where the test fails: the containers say why


@pytest.fixture
async def cloud(slack: SlackServer, discord: DiscordServer, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with deployed(environment(slack, discord), tmp_path / "log") as running:
        await slack.command(running.url, "help", patience=PATIENCE)  # the first container is on its way
        yield running


def posted(slack: SlackServer) -> list[bytes]:
    return [data for message in slack.messages if message.thread_ts is None for data in message.pictures]


async def test_signed_commands_come_back_as_pictures(cloud: Cloud, slack: SlackServer, discord: DiscordServer) -> None:
    ack, answer = await asyncio.gather(
        slack.command(cloud.url, "a red fox --seed 7"), discord.imagine(cloud.url, {"prompt": "a red fox", "seed": 7})
    )
    assert (ack.status, answer.status) == (200, 200)
    assert answer.message
    message = answer.message
    await until(lambda: posted(slack) and message.pictures, PATIENCE)
    (in_slack,), (in_discord,) = posted(slack), message.pictures
    assert CHUNK.encode() in in_discord
    assert in_slack.startswith(b"\x89PNG")


async def test_a_request_that_is_sent_again_draws_once(cloud: Cloud, slack: SlackServer, discord: DiscordServer) -> None:
    acks = await asyncio.gather(*(slack.command(cloud.url, "a red fox", trigger_id="1.T.same") for _ in range(5)))
    assert {ack.status for ack in acks} == {200}
    answer = await discord.imagine(cloud.url, {"prompt": "a blue whale", "steps": 1})  # what comes after has not overtaken it
    assert answer.message
    message = answer.message
    await until(lambda: posted(slack) and message.pictures, PATIENCE)
    assert len(posted(slack)) == 1
    assert len([m for m in slack.messages if m.ephemeral_to is None and m.thread_ts is None]) == 1


async def test_a_job_whose_web_container_dies_before_it_hands_over_is_drawn_once(cloud: Cloud, slack: SlackServer) -> None:
    assert await cloud.python(DIES) == ""
    await asyncio.gather(*(cloud.python(SWEEP) for _ in range(3)))
    await until(lambda: posted(slack), PATIENCE)
    ack = await slack.command(cloud.url, "a blue whale --steps 1")  # what comes after has not overtaken it
    assert ack.status == 200
    await until(lambda: len(posted(slack)) == 2, PATIENCE)
    assert await cloud.python(SWEEP) == ""
    assert "Jobs under way: 0." in await cloud.imagine("status", "--modal")
    assert len(posted(slack)) == 2


async def test_what_people_do_next_in_discord_reaches_any_container(cloud: Cloud, discord: DiscordServer) -> None:
    answer = await discord.imagine(cloud.url, {"prompt": "a red fox", "seed": 7, "steps": 1})
    assert answer.message
    message = answer.message
    await until(lambda: message.pictures and "Vary" in message.labels, PATIENCE)
    varied = (await discord.click(cloud.url, message, "Vary")).message
    assert varied
    told = (await discord.click(cloud.url, message, "Details")).told
    assert "/imagine a red fox --size 256x256 --steps 1 --guidance 1 --seed 7 --n 1" in told
    opened = await discord.click(cloud.url, message, "Edit")
    assert prefilled(opened.modal)["What you want to see"] == "a red fox"
    await until(lambda: len(varied.pictures) == 4, PATIENCE)
    await discord.click(cloud.url, varied, "Delete")
    await until(lambda: varied.deleted, PATIENCE)
    assert message.pictures


def drawing(slack: SlackServer) -> str:
    """Return the status that shows a drawing under way, if there is one."""
    shown = (message.plain for message in slack.messages if message.ephemeral_to is None)
    return next((words for words in shown if re.search(r"step \d+ of", words)), "")


async def killed(cloud: Cloud, slack: SlackServer, drawing_since: str) -> None:
    """Kill the container that draws, once the status has moved on."""
    await until(lambda: drawing(slack) not in {"", drawing_since} and cloud.generators(), PATIENCE)
    (generator,) = cloud.generators()
    os.kill(generator, signal.SIGKILL)
    await until(lambda: generator not in cloud.generators(), PATIENCE)


async def test_a_generator_that_is_killed_twice_ends_in_an_apology(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, SLOW)
    await killed(cloud, slack, drawing_since="")
    await killed(cloud, slack, drawing_since=drawing(slack))
    await until(lambda: any(LOST in message.plain for message in slack.messages), PATIENCE)
    assert not posted(slack)


async def test_whoever_talks_may_die_and_the_picture_comes_once(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, SLOW)
    await until(lambda: drawing(slack) and cloud.generators(), PATIENCE)
    for container in set(cloud.containers()) - set(cloud.generators()):
        os.kill(container, signal.SIGKILL)
    await until(lambda: posted(slack), PATIENCE)
    await slack.command(cloud.url, "a blue whale --steps 1", patience=PATIENCE)
    await until(lambda: len(posted(slack)) > 1, PATIENCE)
    assert len(posted(slack)) == 2


class Pen:
    """The thread that draws in a container, and how much it computes for a step; it ends when there is nothing more to draw."""

    def __init__(self, thread: Path, step: float) -> None:
        self._thread, self._computed = thread, 0.0
        self.step = step  # in seconds of its own

    @classmethod
    async def found(cls, cloud: Cloud, slack: SlackServer) -> Pen:
        """Look which thread computes most from one status to the next."""
        await until(lambda: drawing(slack) and cloud.generators(), PATIENCE)
        [generator], before = cloud.generators(), drawing(slack)
        threads = {each: _computed(each) for each in Path(f"/proc/{generator}/task").iterdir()}
        await until(lambda: drawing(slack) not in {"", before}, PATIENCE)
        steps = _step(drawing(slack)) - _step(before)
        computed, thread = max((_computed(each) - since, each) for each, since in threads.items() if each.exists())
        return cls(thread, computed / steps)

    def lifted(self) -> bool:
        """Whether it has ended."""
        try:
            self._computed = _computed(self._thread)
        except OSError:
            return True
        return False

    def drawn(self) -> float:
        """Return how many steps it has drawn until it was last looked at."""
        return self._computed / self.step


def _computed(thread: Path) -> float:
    """Return the seconds in which a thread has computed."""
    return int((thread / "schedstat").read_text().split()[0]) / 1e9


def _step(status: str) -> int:
    return int(re.findall(r"step (\d+) of", status)[0])


async def test_a_cancel_reaches_the_generator_within_a_step_with_nobody_in_between(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, SLOW)
    pen = await Pen.found(cloud, slack)
    [status] = [message for message in slack.messages if message.ephemeral_to is None]
    [courier] = cloud.couriers()
    os.kill(courier, signal.SIGSTOP)
    try:
        await slack.click(cloud.url, status, "Cancel")
        assert not pen.lifted()
        answered = pen.drawn()
        await until(pen.lifted, PATIENCE)
        assert pen.drawn() - answered < 2  # the one that was under way, and what the stand-in takes to tell
    finally:
        os.kill(courier, signal.SIGCONT)
    await until(lambda: "Cancelled." in status.plain, PATIENCE)
    assert not posted(slack)


async def test_what_waits_for_a_gpu_is_cancelled_and_what_is_drawn_is_not(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, SLOW)
    pen = await Pen.found(cloud, slack)
    await slack.command(cloud.url, f"{SLOW} --n 4")
    await until(lambda: any("1 drawing ahead" in message.plain for message in slack.messages), PATIENCE)
    [waits] = [message for message in slack.messages if "1 drawing ahead" in message.plain]
    await slack.click(cloud.url, waits, "Cancel")
    await until(lambda: "Cancelled." in waits.plain, PATIENCE)
    assert not posted(slack)
    await until(lambda: posted(slack), PATIENCE)
    await until(pen.lifted, LINGER + 3)  # four pictures more would take it forty
    assert len(posted(slack)) == 1


async def test_a_second_deployment_loses_nothing_and_old_buttons_work(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, "a green frog --steps 1", patience=PATIENCE)
    await until(lambda: any("Redraw" in message.labels for message in slack.messages), PATIENCE)
    [old] = [message for message in slack.messages if "Redraw" in message.labels]
    await slack.command(cloud.url, SLOW)
    await until(lambda: drawing(slack), PATIENCE)
    await cloud.modal("deploy", "-m", "bot")
    ack = await slack.command(cloud.url, "a blue whale --steps 1", patience=PATIENCE)
    assert ack.status == 200
    await slack.click(cloud.url, old, "Redraw")
    await until(lambda: len(posted(slack)) == 4, 2 * PATIENCE)


async def test_what_is_deployed_draws_for_a_terminal_too(cloud: Cloud, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.write_text("a red fox\n\na blue whale\n")
    draw = ("run", "-m", "bot.deploy::draw", "--model", "sketch", "--steps", 1, "--output", tmp_path / "pictures")
    said = await cloud.modal(*draw, "--prompt", "a cat", "--samples", 2, "--batch-size", 3)
    assert said.count(" s per sample, ") == 2
    assert "6 pictures in " in said
    said = await cloud.modal(*draw, "--file", prompts, "--batch-size", 2)
    assert said.count(" s per sample, ") == 2
    assert "2 pictures in " in said
    assert "cannot be read" in await cloud.modal(*draw, "--file", tmp_path / "nothing")
    drawn = [recipe.of(path) for path in (tmp_path / "pictures").iterdir()]
    assert sorted(request.prompt for request in drawn) == ["a blue whale", *6 * ["a cat"], "a red fox"]
    assert len({request.seed for request in drawn}) == 8


async def test_the_deployment_says_how_it_is(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, "a red fox --steps 1")
    await until(lambda: posted(slack), PATIENCE)
    said = await cloud.imagine("status", "--modal")
    assert re.search(r"^ +containers +waiting +last woke in$", said, re.MULTILINE)
    assert re.search(r"^web +1 +0$", said, re.MULTILINE)
    assert re.search(r"^sketch +1 +0 +\d+ s$", said, re.MULTILINE)
    assert re.search(r"^Jobs under way: 0\.$", said, re.MULTILINE)
    assert re.search(r"^The last 1 took [0-9.]+ s each", said, re.MULTILINE)


async def test_discord_is_told_which_models_are_deployed(cloud: Cloud, discord: DiscordServer) -> None:
    assert "Discord knows 5 commands now." in await cloud.modal("run", "-m", "bot.deploy::register")
    assert discord.commands


async def test_weights_that_nobody_has_fetched_are_told(cloud: Cloud, slack: SlackServer) -> None:
    await slack.command(cloud.url, "a red fox --model sdxl-turbo")
    told = "The weights of sdxl-turbo are not on this machine."
    await until(lambda: any(told in message.plain for message in slack.messages), PATIENCE)


async def test_weights_are_fetched_from_a_terminal(cloud: Cloud) -> None:
    assert "The weights of sketch are there." in await cloud.modal("run", "-m", "bot.deploy::download", "--model", "sketch")
    assert "agree to its terms" in await cloud.modal("run", "-m", "bot.deploy::download", "--model", "flux-dev")
    assert "There is: sketch," in await cloud.modal("run", "-m", "bot.deploy::download", "--model", "dalle")
