"""How long a signed command waits for its answer while the model draws: `python -m bench.ack`.

Two servers, each in a process of its own: the bot, busy drawing all the while, and a bare FastAPI app that only verifies
the same signatures. They are measured by turns, under the same load of the machine, with 100 requests in flight. The
platforms' receiving ends refuse everything at once, so that what is measured is the way in.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import aiohttp

from tests.conftest import environment
from tests.demo import process
from tests.fakes import slack_payloads
from tests.fakes.discord import DiscordServer
from tests.fakes.discord_routes import Kind
from tests.fakes.slack import SlackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IN_FLIGHT: Final = 100
ROUNDS: Final = 5
REQUESTS: Final = 300  # of each platform to each server, in each round
BUSY: Final = "a red fox in the snow --steps 50 --n 10"  # a minute and more on two cores

Knock = tuple[str, bytes, "Mapping[str, str]"]  # path, body, headers


async def main() -> None:
    """Measure, and print the table."""
    slack, discord = SlackServer(), DiscordServer()  # they sign; nobody listens behind them
    knocks: dict[str, Callable[[int], Knock]] = {
        "Slack": lambda number: from_slack(slack, number),
        "Discord": lambda number: from_discord(discord, number),
    }
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    async with AsyncExitStack() as stack:
        environ = environment(slack, discord)
        closed = await stack.enter_async_context(process("bench.closed", environ=environ))
        environ |= {"SLACK_API_URL": f"{closed}/api/", "DISCORD_API_URL": f"{closed}/v10"}
        bare = await stack.enter_async_context(process("bench.bare", environ=environ))
        bot = await stack.enter_async_context(process("bot", "serve", "--port", environ=environ))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        await keep_busy(session, bot)
        for number in range(ROUNDS):
            for platform, knock in knocks.items():
                for server, url in (("bare", bare), ("bot", bot)):
                    todo = [knock(number * REQUESTS + index) for index in range(REQUESTS)]
                    seconds[platform, server] += await measure(session, url, todo)
        busy = await drawing(session, bot)
    print(f"{ROUNDS} rounds of {REQUESTS} requests, {IN_FLIGHT} in flight, the model drawing: {busy}")
    print("| platform | bare p50 | bare p99 | bot p50 | bot p99 | p50 ratio | p99 ratio |\n|---|---|---|---|---|---|---|")
    for platform in knocks:
        print(row(platform, seconds[platform, "bare"], seconds[platform, "bot"]))


def row(platform: str, bare: list[float], bot: list[float]) -> str:
    """Write one line of the table, in milliseconds."""
    a50, a99, b50, b99 = (1000 * quantile(values, q) for values in (bare, bot) for q in (50, 99))
    return f"| {platform} | {a50:.0f} ms | {a99:.0f} ms | {b50:.0f} ms | {b99:.0f} ms | {b50 / a50:.2f} | {b99 / a99:.2f} |"


def quantile(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


async def measure(session: aiohttp.ClientSession, url: str, todo: list[Knock]) -> list[float]:
    """Send all requests, so many in flight at a time; return the seconds each waited for its answer."""
    free = asyncio.Semaphore(IN_FLIGHT)

    async def send(path: str, body: bytes, headers: Mapping[str, str]) -> float:
        async with free:
            begun = time.perf_counter()
            async with session.post(url + path, data=body, headers=dict(headers)) as response:
                await response.read()
                assert response.status == 200, response.status
            return time.perf_counter() - begun

    return list(await asyncio.gather(*(send(*knock) for knock in todo)))


def from_slack(slack: SlackServer, number: int) -> Knock:
    """Make a new signed slash command."""
    form = slack_payloads.command(slack, "a red fox", user=f"U{number}", channel="C1") | {
        "response_url": "http://127.0.0.1:9/",
        "trigger_id": f"{number}.1.{time.monotonic_ns()}",
    }
    body = urlencode(form).encode()
    return "/slack/events", body, slack.sign(body)


def from_discord(discord: DiscordServer, number: int) -> Knock:
    """Make a new signed interaction."""
    about = discord._begin(Kind.COMMAND)
    data = {"id": "1", "name": "imagine", "type": 1, "options": [{"name": "prompt", "type": 3, "value": f"fox {number}"}]}
    body = json.dumps(discord._payload(about, data)).encode()
    return "/discord/interactions", body, discord.sign(body)


async def keep_busy(session: aiohttp.ClientSession, bot: str) -> None:
    """Give the model enough to draw, from enough people that they keep their turns."""
    for person in range(5):
        typed = {"text": BUSY, "claim": f"claim-{person}-{time.time_ns()}", "person": f"person-{person}"}
        async with session.post(f"{bot}/page/imagine", json=typed) as response:
            assert response.status == 200, await response.text()


async def drawing(session: aiohttp.ClientSession, bot: str) -> bool:
    """Say whether the model was at work until the end."""
    async with session.get(f"{bot}/health") as response:
        return bool((await response.json())["queue"]["drawing"])


if __name__ == "__main__":
    asyncio.run(main())
