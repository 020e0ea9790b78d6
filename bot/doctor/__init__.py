"""Find what is set up wrongly, and say in one line each what it is and what to click. It changes nothing anywhere.

A module here looks at one thing and says what it finds; this one has them look, one after the other. A secret is never
printed, only what it looks like.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import aiohttp

from bot.doctor import discord, modal, places, setup, slack
from bot.doctor.finding import Finding
from bot.errors import Busy

CHECKS: Final = {  # in this order; beside each, what to do where nobody can be reached
    setup.variables: "",
    slack.app: "Is this machine online, and may it reach slack.com? Otherwise try again in a minute.",
    discord.app: "Is this machine online, and may it reach discord.com? Otherwise try again in a minute.",
    places.channel: "Try again in a minute.",
    places.address: "Start the bot (`make run`), and see that the tunnel or the proxy leads to its port.",
    modal.deployment: "Try again in a minute.",
}


async def run(environ: Mapping[str, str], *, url: str | None, channel: str | None, say: Callable[[str], object]) -> int:
    """Say what is found, a line each, and return the status for the shell: 1 if anything is wrong."""
    wrong = 0
    async with aiohttp.ClientSession() as session:
        async for finding in check(environ, session=session, url=url, channel=channel):
            wrong += finding.ok is False
            say(str(finding))
    say("Nothing wrong was found." if not wrong else "One thing is wrong." if wrong == 1 else f"{wrong} things are wrong.")
    return 1 if wrong else 0


async def check(
    environ: Mapping[str, str],
    *,
    session: aiohttp.ClientSession,
    url: str | None = None,
    channel: str | None = None,
    modal_app: str = modal.APP,
    modal_secrets: Mapping[str, Sequence[str]] = modal.SECRETS,
) -> AsyncIterator[Finding]:
    """Look at everything. A server that cannot be reached is a finding too."""
    if refusal := places.unfit(url):
        yield refusal
    about = setup.Setup(
        environ=environ,
        session=session,
        url=None if refusal or not url else url.rstrip("/"),
        channel=channel,
        modal_app=modal_app,
        modal_secrets=modal_secrets,
    )
    for look, fix in CHECKS.items():
        try:
            async for finding in look(about):
                yield finding
        except Busy as busy:
            yield Finding(ok=False, what=f"{busy}.", fix=fix)
