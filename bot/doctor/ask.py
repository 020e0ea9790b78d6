"""Ask over HTTP, as the platforms do, and look at what every answer tells."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp

from bot import __version__, discord, slack
from bot.doctor.finding import Finding, right, unknown, wrong
from bot.errors import Busy

if TYPE_CHECKING:
    from bot.doctor.setup import Setup

PATIENCE: Final = 10  # seconds for one answer
SKEW: Final = 60  # seconds that a clock may be off: signatures are good for five minutes
CLIENT: Final = f"DiscordBot (https://discord.com/developers/docs, {__version__})"  # Discord wants an address in it
TROUBLES: Final[Sequence[tuple[type[Exception], str]]] = (
    (aiohttp.InvalidURL, "is not an address"),
    (aiohttp.ClientConnectorDNSError, "is a name that nobody knows"),
    (aiohttp.ClientSSLError, "shows no valid certificate"),
    (TimeoutError, "does not answer in time"),
    (aiohttp.ClientConnectorError, "takes no connections"),
    (Exception, "breaks off the connection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answered over HTTP; a body that is no JSON is None."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body, if it is an object."""
        return self.body if isinstance(self.body, dict) else {}


async def ask_slack(setup: Setup, method: str, **arguments: str) -> Answer:
    """Call a method of Slack's with the bot's token."""
    base = (setup.environ.get("SLACK_API_URL") or slack.API_URL).rstrip("/")
    headers = {"Authorization": f"Bearer {setup.environ['SLACK_BOT_TOKEN']}"}
    return await ask(setup, "POST", f"{base}/{method}", data=arguments, headers=headers)


async def ask_discord(setup: Setup, path: str) -> Answer:
    """Get something from Discord with the bot's token."""
    base = (setup.environ.get("DISCORD_API_URL") or discord.API_URL).rstrip("/")
    headers = {"Authorization": f"Bot {setup.environ['DISCORD_BOT_TOKEN']}", "User-Agent": CLIENT}
    return await ask(setup, "GET", f"{base}{path}", headers=headers)


async def ask(setup: Setup, method: str, url: str, **arguments: Any) -> Answer:
    """Ask over HTTP, and follow no redirect, as the platforms do not. Raises `Busy` where there is no proper answer."""
    host, started = urlsplit(url).netloc, time.monotonic()
    limit = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with setup.session.request(method, url, allow_redirects=False, timeout=limit, **arguments) as response:
            raw = await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise Busy(f"{host} {next(words for kind, words in TROUBLES if isinstance(error, kind))}") from None
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Busy(f"{host} answers {response.status} just now")
    seconds = time.monotonic() - started
    return Answer(status=response.status, headers=response.headers, body=_json(raw), seconds=seconds)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def clock(whose: str, answer: Answer) -> Finding:
    """Compare this machine's clock with the one that an answer shows."""
    try:
        ahead = time.time() - parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except (ValueError, OverflowError):
        return unknown(f"{whose} clock was not shown.")
    if abs(ahead) <= SKEW:
        return right(f"This machine's clock agrees with {whose}.")
    fix = "Set the clocks by the network (Linux: `timedatectl set-ntp true`); five minutes off, every signature is refused."
    return wrong(f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {whose}.", fix)


def not_refused(where: str, answer: Answer) -> Finding:
    """Say that a forged request was not refused."""
    fix = "Something in front of the bot answers in its place: let requests through unchanged."
    return wrong(f"{where} answers {answer.status} to a forged request, where the bot says 401.", fix)
