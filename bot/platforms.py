"""Slack and Discord as the environment has them: on where their secrets are set. What every wiring has in common."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

import aiohttp

from bot import choices, command, discord, slack, styles
from bot.errors import Told, Undelivered
from bot.models import ROWS, named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bot.desk import Desk

PATTERNS: Final = (  # of settings: a name, what its value looks like, and that in words
    ("DISCORD_PUBLIC_KEY", "[0-9a-fA-F]{64}", "64 hexadecimal digits"),
    ("DISCORD_APPLICATION_ID", "[0-9]{15,20}", "a number of 15 to 20 digits"),
)
SECRETS: Final = (*slack.ENVIRONMENT, *slack.OAUTH, *discord.ENVIRONMENT)
TIMEOUT: Final = aiohttp.ClientTimeout(total=60, connect=10)  # seconds, for one call of a platform


def open_session() -> aiohttp.ClientSession:
    """Open the connections that all platforms share."""
    # For each host so many: one that hangs must not use up the connections to the others.
    return aiohttp.ClientSession(timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0, limit_per_host=100))


def check(environ: Mapping[str, str]) -> None:
    """Raise `Told` for a setting that cannot be right, before anything starts."""
    for name, pattern, what in PATTERNS:
        if (value := environ.get(name)) and not re.fullmatch(pattern, value):
            raise Told(f"{name} must be {what}. It is on your application's General Information page.")
    for name in SECRETS:
        if (value := environ.get(name)) and not re.fullmatch(r"[!-~]+", value):  # it could not be sent
            raise Told(
                f"{name} has a space, a line break or another odd character in it. Copy it once more, and nothing beside it."
            )
    for variable, model in named(environ):
        if model not in ROWS:
            raise Told(f"{variable} names “{model}”, which is not a model here. There is: {', '.join(ROWS)}.")
    if len(alone := missing(slack.OAUTH, environ)) == 1:
        raise Told(
            f"Set {alone[0]} too, or neither of {' and '.join(slack.OAUTH)}: Basic Information of your Slack app has both."
        )
    _check_lists(environ)
    _check_styles(environ)


def _check_lists(environ: Mapping[str, str]) -> None:
    """Raise `Told` for lists that would not give what is meant."""
    lists, wrong = choices.lists(environ), f"{choices.VARIABLE}: the list"
    for name, words in lists.items():
        if not re.fullmatch(choices.NAME, name):
            raise Told(f"{wrong} “{name}” needs a name of letters and digits. Write animal: fox, cat; place: beach, city")
        if not words:
            raise Told(f"{wrong} “{name}” is empty. Write {name}: one, two")
        if missing := [other for each in words for other in choices.named(each) if other not in lists]:
            raise Told(f"{wrong} “{name}” names a list “{missing[0]}”, which is not there.")
    for name in lists:
        if name in _reached(lists, name):
            raise Told(f"{wrong} “{name}” comes round to itself, and would have no end.")


def _reached(lists: Mapping[str, Sequence[str]], name: str) -> set[str]:
    """Return the names of all lists that one leads to."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        fresh = {other for words in lists[ahead.pop()] for other in choices.named(words)} - found
        found |= fresh
        ahead += fresh
    return found


def _check_styles(environ: Mapping[str, str]) -> None:
    """Raise `Told` for styles of the admin's that could not be picked, or would lose the prompt."""
    wrong = f"{styles.VARIABLE}: the style"
    for name, style in styles.of_the_admin(environ).items():
        if not re.fullmatch(styles.NAME, name) or name == command.PLAIN:
            raise Told(f"{wrong} “{name}” needs another name: one word of at most 30 letters. Write brand: in navy and coral")
        if style.about in {"", styles.PLACE}:
            raise Told(f"{wrong} “{name}” has no words. Write {name}: in navy and coral")
        if style.prompt.count(styles.PLACE) > 1:
            raise Told(f"{wrong} “{name}” has two places for the prompt: {styles.PLACE} may stand in it once.")


def in_slack(environ: Mapping[str, str], session: aiohttp.ClientSession, desk: Desk) -> slack.Slack | None:
    """Return Slack, or None where it lacks a secret."""
    if missing(slack.needed(environ), environ):
        return None
    client_id, client_secret = (environ[name] for name in slack.OAUTH) if not missing(slack.OAUTH, environ) else ("", "")
    return slack.Slack(
        signing_secret=environ["SLACK_SIGNING_SECRET"],
        token=environ.get("SLACK_BOT_TOKEN", ""),
        client_id=client_id,
        client_secret=client_secret,
        api_url=environ.get("SLACK_API_URL") or slack.API_URL,
        session=session,
        desk=desk,
    )


def in_discord(environ: Mapping[str, str], session: aiohttp.ClientSession, desk: Desk | None) -> discord.Discord | None:
    """Return Discord, or None where it lacks a secret; without a desk, it takes no orders. Needs a running event loop."""
    if missing(discord.ENVIRONMENT, environ):
        return None
    return discord.Discord(
        public_key=environ["DISCORD_PUBLIC_KEY"],
        application_id=environ["DISCORD_APPLICATION_ID"],
        token=environ["DISCORD_BOT_TOKEN"],
        api_url=environ.get("DISCORD_API_URL") or discord.API_URL,
        session=session,
        desk=desk,
    )


def missing(names: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Return the variables that are not set, or set to nothing."""
    return [name for name in names if not environ.get(name)]


def states(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Say of each platform whether it is on, and what it lacks."""
    lacks = {"slack": missing(slack.needed(environ), environ), "discord": missing(discord.ENVIRONMENT, environ)}
    return {name: f"off: set {', '.join(names)}" if names else "on" for name, names in lacks.items()}


async def register(environ: Mapping[str, str] = os.environ) -> int:
    """Put our commands to Discord; return how many it knows."""
    check(environ)
    if lacks := missing(discord.ENVIRONMENT, environ):
        raise Told(f"Set {', '.join(lacks)} first; they are on your application's pages in Discord's developer portal.")
    async with open_session() as session:
        try:
            platform = in_discord(environ, session, None)
            return await platform.register() if platform else 0
        except Undelivered as error:
            raise Told(
                f"Discord did not take the commands ({error}). Check DISCORD_APPLICATION_ID and DISCORD_BOT_TOKEN."
            ) from error
