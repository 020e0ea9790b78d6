"""Look at where the bot is: its address, its doors, and the channel that it should be in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

from bot.doctor import discord, slack
from bot.doctor.ask import ask, ask_discord, ask_slack, clock
from bot.doctor.finding import Finding, right, unknown, wrong
from bot.doctor.setup import PLATFORMS, Setup
from bot.status import is_here

CHANNEL_IDS: Final = {"Slack": r"[CDG][0-9A-Z]+", "Discord": r"[0-9]{17,20}"}
DOORS: Final = {"Slack": slack.door, "Discord": discord.door}


async def channel(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is in the channel that was asked for."""
    if not setup.channel:
        return
    platform = next((name for name, pattern in CHANNEL_IDS.items() if re.fullmatch(pattern, setup.channel)), None)
    if platform is None:
        fix = "Slack: the channel's name › About › Channel ID. Discord: Developer Mode on, right click › Copy Channel ID."
        yield wrong("--channel takes a channel's id, such as C0123456789, and not its name.", fix)
    elif platform == "Slack" and setup.holds("SLACK_BOT_TOKEN"):
        yield slack.in_channel(setup.channel, await ask_slack(setup, "conversations.info", channel=setup.channel))
    elif platform == "Discord" and setup.holds("DISCORD_BOT_TOKEN"):
        yield discord.in_channel(setup.channel, await ask_discord(setup, f"/channels/{setup.channel}"))
    else:
        yield unknown(f"Channel {setup.channel} was skipped: without a token, {platform} tells us nothing.")


async def address(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is where it is said to be, and what it says of itself."""
    if not setup.url:
        yield unknown("The bot's own address was skipped.", "To have it looked at: --url https://imagine.example.com.")
        return
    answer = await ask(setup, "GET", f"{setup.url}/health")
    platforms = answer.fields.get("platforms")
    if not (answer.fields.get("ok") and isinstance(platforms, dict)):
        fix = "What stands in front (tunnel, proxy, its warning page, a redirect) has to lead straight to the bot."
        yield wrong(f"{setup.url} is reached, but somebody else answers there (HTTP {answer.status}).", fix)
        return
    note = " From the internet it cannot be: that is this machine's own address." if setup.is_local else ""
    yield right(f"{setup.url} is reached, and it is the bot.{note}")
    yield clock(f"{setup.url}'s", answer)
    model = answer.fields.get("model")
    if isinstance(model, dict) and not model.get("loaded"):
        yield wrong(f"The model {model.get('name')} is not loaded.", "Wait a minute; if it stays so, the bot's log says why.")
    for platform in [name for name in PLATFORMS if setup.holds(*setup.needs(name))]:
        if (state := platforms.get(platform.lower(), "off")) == "on":
            async for finding in DOORS[platform](setup):
                yield finding
        else:
            fix = "Set the variables where the bot runs too, and restart it."
            yield wrong(f"{platform} is not on at {setup.url} ({state}).", fix)


def unfit(url: str | None) -> Finding | None:
    """Say what is wrong with the address as it was typed."""
    if not url:
        return None
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:[0-9]+)?/?", url):
        return wrong("--url takes the bot's bare address.", "Give it like this, without a path: https://imagine.example.com.")
    if urlsplit(url).scheme == "http" and not is_here(url):
        fix = "Give the https address; a tunnel or a proxy such as Caddy provides one."
        return wrong("--url is not https, and Slack and Discord take nothing else.", fix)
    return None
