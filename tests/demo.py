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
from typing import TYPE_CHECKING, Any

import aiohttp

from bot import recipe
from bot.command import write
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
    told: list[str] = field(default_factory=list)

    def tell(self, words: str) -> None:
        """Print one line of it, unless it was the last one printed."""
        if words not in self.told:
            self.told.append(words)
            print(f"{self.platform:8}{time.monotonic() - self.begun:7.3f} s  {words}", flush=True)


async def main(prompt: str) -> int:
    """Play it through; return the exit status."""
    async with SlackServer() as slack, DiscordServer() as discord, service(environment(slack, discord)) as url:
        in_slack, in_discord = Story("Slack"), Story("Discord")
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(slack_story(in_slack, slack, url, prompt), discord_story(in_discord, discord, url, prompt))
        print()
        pictures = [("slack", data) for m in slack.outcomes().pictures for data in m.pictures if m.thread_ts is None]
        pictures += [("discord", data) for m in discord.messages for data in m.pictures]
        saved = list(save(pictures))
        mistakes = slack.violations + discord.violations
        for mistake in mistakes:
            print(f"A platform complained: {mistake}")
        print(
            f"To draw one again:\n    .venv/bin/imagine draw -- {write(recipe.of(saved[0]))!r}" if saved else "No picture came."
        )
        return 0 if saved and not mistakes else 1


async def slack_story(story: Story, slack: SlackServer, url: str, prompt: str) -> None:
    """Somebody types in Slack."""
    story.tell(f"ada types /imagine {prompt}")
    ack = await slack.command(url, prompt)
    story.tell(f"acknowledged after {1000 * ack.seconds:.0f} ms: {plain(ack.message)!r}")

    def look() -> bool:
        for message in slack.messages:
            if message is not ack.message and message.thread_ts is None:
                story.tell(f"the channel shows {len(message.pictures) or 'no'} picture(s): {plain(message)!r}")
        return bool(slack.outcomes().pictures) and any(m.images for m in slack.messages)

    await watch(look)
    story.tell("posted")


async def discord_story(story: Story, discord: DiscordServer, url: str, prompt: str) -> None:
    """Somebody types in Discord, at the same moment."""
    story.tell(f"bob types /imagine {prompt}")
    answer = await discord.imagine(url, {"prompt": prompt})
    if answer.message is None:
        raise SystemExit(f"Discord's command was answered by {answer.status} {answer.body}")
    message = answer.message
    story.tell(f"acknowledged after {1000 * answer.seconds:.0f} ms: {message.content!r}")

    def look() -> bool:
        story.tell(f"the answer shows {len(message.pictures) or 'no'} picture(s): {message.content!r}")
        return bool(message.pictures)

    await watch(look)
    story.tell("posted")


def plain(message: Any) -> str:
    """Return the words of a message of Slack on one line."""
    return " | ".join(message.plain.splitlines()) if message else ""


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
