"""How soon a cancel stops a drawing in Modal's container runtime: `python -m bench.modal_cancel`.

Each round draws 500 quick steps for a person in Slack, waits until it is under way, and presses *Cancel*. Counted is what the
thread that draws still does once the press was answered: for how long, and how many steps.

`IMAGINE_FAKE_MODAL` names the control plane, as for tests/test_deployed.py. No network is in these numbers, and the
control plane looks every 50 ms for what was put into a queue.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bot import manifest
from tests.conftest import environment, until
from tests.fakes.discord import DiscordServer
from tests.fakes.slack import SlackServer
from tests.test_deployed import PATIENCE, Pen, deployed

if TYPE_CHECKING:
    from tests.test_deployed import Cloud

ROUNDS: Final = 8
QUICK: Final = "a red fox --size 192x192 --steps 50 --n 10"  # steps as quick as those of a small model on a GPU


async def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        async with SlackServer() as slack, DiscordServer() as discord:
            slack.install(manifest.for_slack())
            async with deployed(environment(slack, discord), Path(folder, "log")) as cloud:
                await slack.command(cloud.url, "help", patience=PATIENCE)  # the first container is on its way
                print("| a step | until it stops | steps drawn meanwhile |\n|---|---|---|")
                for _ in range(ROUNDS):
                    slack.messages.clear()
                    print(await cancelled(cloud, slack), flush=True)


async def cancelled(cloud: Cloud, slack: SlackServer) -> str:
    """Cancel a drawing; return a row of the table."""
    await slack.command(cloud.url, QUICK)
    pen = await Pen.found(cloud, slack)
    [status] = [message for message in slack.messages if message.ephemeral_to is None]
    await slack.click(cloud.url, status, "Cancel")
    answered, lifted = time.perf_counter(), pen.lifted()
    before = pen.drawn()
    await until(lambda: lifted or pen.lifted(), PATIENCE)
    seconds, steps = time.perf_counter() - answered, pen.drawn() - before
    await until(lambda: "Cancelled." in status.plain, PATIENCE)
    return f"| {pen.step:.2f} s | {1000 * seconds:.0f} ms | {steps:.1f} |"


if __name__ == "__main__":
    asyncio.run(main())
