"""How long a signed command waits for its answer in Modal's container runtime: `python -m bench.modal_ack`.

Each round knocks three times at the deployed web function, one after the other: with an empty body, which is turned away
at once, and with a command of Slack and one of Discord, each of which is verified, read, claimed and handed to a courier
before it is answered. What the commands take longer is ours. Couriers and the generator work on the same machine meanwhile.

`IMAGINE_FAKE_MODAL` names the control plane, as for tests/test_deployed.py. No network is in these numbers: on Modal, the
claim and the hand-over each add a round trip to its own control plane.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp

from bench.ack import from_discord, from_slack, quantile
from tests.conftest import environment
from tests.demo import process
from tests.fakes.discord import DiscordServer
from tests.fakes.slack import SlackServer
from tests.test_deployed import PATIENCE, deployed

if TYPE_CHECKING:
    from bench.ack import Knock

ROUNDS: Final = 100


async def main() -> None:
    """Measure, and print the table."""
    slack, discord = SlackServer(), DiscordServer()  # they sign; nobody listens behind them
    seconds: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        async with process("bench.closed", environ=environment(slack, discord)) as closed:
            environ = environment(slack, discord) | {"SLACK_API_URL": f"{closed}/api/", "DISCORD_API_URL": f"{closed}/v10"}
            async with deployed(environ, Path(folder, "log")) as cloud, aiohttp.ClientSession() as session:
                await knock(session, cloud.url, ("/slack/events", b"", {}))  # the container starts
                for number in range(ROUNDS):
                    for name, made in (
                        ("an empty body", ("/slack/events", b"", {})),
                        ("Slack", from_slack(slack, number)),
                        ("Discord", from_discord(discord, number)),
                    ):
                        seconds[name].append(await knock(session, cloud.url, made))
    print(f"{ROUNDS} rounds, one request at a time")
    print("| | p50 | p99 |\n|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {1000 * quantile(values, 50):.0f} ms | {1000 * quantile(values, 99):.0f} ms |")


async def knock(session: aiohttp.ClientSession, url: str, made: Knock) -> float:
    """Send one request; return the seconds until it was answered."""
    path, body, headers = made
    begun = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with session.post(url + path, data=body, headers=dict(headers), timeout=timeout) as response:
        await response.read()
        assert response.status == (200 if body else 401), response.status
    return time.perf_counter() - begun


if __name__ == "__main__":
    asyncio.run(main())
