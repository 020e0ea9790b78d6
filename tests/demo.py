"""The whole main job, once, told as it happens: `make demo`.

The real service runs in a process of its own. Here are the people, who send a signed command to it over HTTP as Slack
and Discord would, and the platforms' receiving ends, which take what it posts and are strict about it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from bot import recipe
from bot.__main__ import shell_command
from tests.conftest import environment
from tests.fakes.discord import DiscordServer
from tests.fakes.slack import SlackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

FOLDER = Path(".demo")
PATIENCE = 300  # seconds for everything: a slow laptop is welcome


@dataclass
class Story:
    """One person's command, and what they see of it."""

    platform: str
    begun: float = field(default_factory=time.monotonic)
    told: set[str] = field(default_factory=set)

    def tell(self, what: str, words: str) -> None:
        """Print one line of it, unless it was told already."""
        if words not in self.told:
            self.told.add(words)
            print(f"{self.platform:8}{time.monotonic() - self.begun:7.3f} s  {what:13} {words}", flush=True)


async def main(prompt: str) -> int:
    """Play it through; return the exit status."""
    async with SlackServer() as slack, DiscordServer() as discord, service(environment(slack, discord)) as url:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(in_slack(slack, url, prompt), in_discord(discord, url, prompt))
        print()
        pictures = [("slack", png) for message in slack.messages if not message.thread_ts for png in message.pictures]
        pictures += [("discord", png) for message in discord.messages for png in message.pictures]
        saved = list(save(pictures))
        for mistake in (mistakes := slack.violations + discord.violations):
            print(f"A platform complained: {mistake}")
        print(f"\nThe first one again:\n  .venv/bin/{shell_command(recipe.of(saved[0]))}")
        return 1 if mistakes else 0


async def in_slack(slack: SlackServer, url: str, prompt: str) -> None:
    """Somebody types in Slack."""
    story = Story("Slack")
    story.tell("ada types", f"/imagine {prompt}")
    ack = await slack.command(url, prompt)
    story.tell(
        "acknowledged", f"after {1000 * ack.seconds:.0f} ms: {last_line(ack.message.plain if ack.message else ack.body)}"
    )

    def look() -> bool:
        for message in slack.messages:
            if message is not ack.message and not message.thread_ts:
                story.tell(*seen(message.pictures, message.plain))
        return any(done(message.pictures, message.plain) for message in slack.messages if not message.thread_ts)

    await watch(look)


async def in_discord(discord: DiscordServer, url: str, prompt: str) -> None:
    """Somebody types in Discord, at the same moment."""
    story = Story("Discord")
    story.tell("bob types", f"/imagine {prompt}")
    answer = await discord.imagine(url, {"prompt": prompt})
    message = answer.message
    if message is None:
        raise SystemExit(f"Discord's command was answered by {answer.status} {answer.body}")
    story.tell("acknowledged", f"after {1000 * answer.seconds:.0f} ms: {last_line(message.content)}")
    acknowledged = message.content

    def look() -> bool:
        if message.content != acknowledged:
            story.tell(*seen(message.pictures, message.content))
        return done(message.pictures, message.content)

    await watch(look)


def seen(pictures: list[bytes], words: str) -> tuple[str, str]:
    """Say what a message shows by now."""
    if not done(pictures, words):
        return "status", last_line(words) + (" (and what it looks like so far)" if pictures else "")
    return "posted", f"{len(pictures)} picture{'s' * (len(pictures) > 1)} · {last_line(words)}"


def done(pictures: list[bytes], words: str) -> bool:
    """Whether a message shows what was asked for; a picture may also be a preview."""
    return bool(pictures) and not last_line(words).startswith("Drawing")


def last_line(words: str) -> str:
    """Return the line under the prompt."""
    return words.strip().splitlines()[-1].removeprefix("-# ")


async def watch(look: Callable[[], bool]) -> None:
    """Look until there is nothing more to see."""
    while not look():
        await asyncio.sleep(0.02)


def save(pictures: Iterable[tuple[str, bytes]]) -> Iterable[Path]:
    """Write the pictures down, and say where."""
    FOLDER.mkdir(exist_ok=True)
    for index, (platform, data) in enumerate(pictures, 1):
        path = FOLDER / f"{platform}-{index}.png"
        path.write_bytes(data)
        print(f"{path.resolve()}  ({len(data) / 1024:.0f} KiB)")
        yield path


@asynccontextmanager
async def service(environ: dict[str, str]) -> AsyncIterator[str]:
    """Run `imagine serve`; yield its address once its model is in memory."""
    begun = time.monotonic()
    print("Starting the service …", flush=True)
    async with process("bot", "serve", "--port", environ=environ) as url:
        print(f"Ready on {url} after {time.monotonic() - begun:.1f} s, with the model in memory.\n", flush=True)
        yield url


@asynccontextmanager
async def process(module: str, *arguments: str, environ: dict[str, str]) -> AsyncIterator[str]:
    """Run a server of ours as a user would, its port as the last argument; yield its address once it is ready."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home, (log := Path(home, "log")).open("wb") as said:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments, str(port)),
            env={**os.environ, **environ, "IMAGINE_HOME": home},
            stderr=said,
        )
        try:
            await ready(url, running)
            yield url
        except BaseException:
            print(log.read_text("utf-8", "replace"), file=sys.stderr)
            raise
        finally:
            if running.returncode is None:
                running.terminate()
            await running.wait()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


async def ready(url: str, running: asyncio.subprocess.Process) -> None:
    """Wait until the service has its model."""
    deadline = time.monotonic() + PATIENCE
    async with aiohttp.ClientSession() as session:
        while running.returncode is None and time.monotonic() < deadline:
            try:
                async with session.get(f"{url}/health") as response:
                    if (await response.json())["model"]["loaded"]:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise SystemExit("The service did not start; what it said is above.")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(" ".join(sys.argv[1:]))))
