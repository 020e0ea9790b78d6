"""How a bot is: what is up, what waits, and how long people waited lately. It changes nothing.

What runs on Modal is counted in bot/deploy.py; the sentences about jobs are the same for both.
"""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

from bot.errors import UNREADABLE, Told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bot.store import Store

LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
PATIENCE: Final = aiohttp.ClientTimeout(total=5)  # seconds
RECENT: Final = 20  # jobs: enough for a middle that means something, few enough to be about now


def is_here(url: str) -> bool:
    """Whether that is an address of this machine for itself only."""
    return urlsplit(url).hostname in LOOPBACK


async def of_server(url: str) -> Sequence[str]:
    """Return what the bot at `url` says of itself. Raises `Told` where none answers."""
    text = await _health(url)
    try:
        return _said(url, json.loads(text))
    except UNREADABLE:
        raise Told(f"Somebody answers at {url}, but it is not the bot. `--url` takes its bare address.") from None


def _said(url: str, health: Mapping[str, Any]) -> Sequence[str]:
    about = dict(health["platforms"])
    model, queue = health.get("model"), health.get("queue")
    if model:
        about["model"] = f"{model['name']}, {'loaded' if model['loaded'] else 'not loaded yet'}"
    if models := health.get("models"):
        about["models"] = ", ".join(models)
    if queue:
        about["queue"] = f"{queue['drawing']} drawing, {queue['waiting']} waiting"
    return [f"{url} is up, version {health['version']}.", *(f"{name:10}{value}" for name, value in about.items())]


async def of_jobs(store: Store) -> Sequence[str]:
    """Return how many jobs are under way, and how long the last ones took."""
    lines = [f"Jobs under way: {len(await store.unfinished())}."]
    if took := [seconds for seconds in await store.durations(RECENT) if seconds >= 0]:  # less where the clock was set back
        usual = f"{statistics.median(took):.1f} s each, from the command to the outcome"
        lines.append(f"The last {len(took)} took {usual}; the slowest {max(took):.1f} s.")
    return lines


async def _health(url: str) -> str:
    try:
        async with aiohttp.ClientSession(timeout=PATIENCE) as session, session.get(f"{url.rstrip('/')}/health") as answer:
            return await answer.text(errors="replace")
    except (aiohttp.ClientError, OSError) as error:
        raise Told(
            f"No bot answers at {url}. `imagine serve` starts one here; `--url` asks another; `--modal` asks Modal."
        ) from error
