"""What an admin has set, and whether each of it looks like what it should be. A secret is only ever looked at."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bot import discord, slack
from bot.doctor.finding import Finding, right, unknown, wrong
from bot.status import is_here

if TYPE_CHECKING:
    import aiohttp

PLATFORMS: Final = {"Slack": slack.ENVIRONMENT, "Discord": discord.ENVIRONMENT}
PAIRS: Final = {"Slack": slack.OAUTH}  # both or none
SLACK_APP: Final = "api.slack.com/apps › your app › "
DISCORD_APP: Final = "discord.com/developers/applications › your application › "
REINSTALL: Final = SLACK_APP + "OAuth & Permissions › Reinstall to Workspace; copy the new Bot User OAuth Token."

SLACK_SIGNS: Final = "a Slack signing secret (32 hexadecimal digits)"
SLACK_CLIENT: Final = "a Slack client ID (two numbers with a dot between)"
SLACK_PROVES: Final = "a Slack client secret (32 hexadecimal digits)"
SLACK_BOT: Final = "a Slack bot token (xoxb-…)"
SLACK_EXPIRING: Final = "a Slack token that expires (xoxe…)"
DISCORD_KEY: Final = "a Discord public key (64 hexadecimal digits)"
DISCORD_ID: Final = "a Discord application ID (17 to 20 digits)"
DISCORD_BOT: Final = "a Discord bot token (three parts with dots between)"
LOOKS: Final = {
    SLACK_SIGNS: r"[0-9a-f]{32}",
    SLACK_CLIENT: r"[0-9]+\.[0-9]+",
    SLACK_PROVES: r"[0-9a-f]{32}",
    SLACK_BOT: r"xoxb-[0-9A-Za-z-]+",
    SLACK_EXPIRING: r"xoxe[.-].+",
    "a Slack user token (xoxp-…)": r"xoxp-.+",
    "a Slack app-level token (xapp-…)": r"xapp-.+",
    DISCORD_KEY: r"[0-9A-Fa-f]{64}",
    DISCORD_ID: r"[0-9]{17,20}",
    DISCORD_BOT: r"[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{3,}\.[0-9A-Za-z_-]{3,}",
    "a Discord client secret (32 characters)": r"[0-9A-Za-z_-]{32}",
}
VARIABLES: Final = {  # what each holds, and where it is
    "SLACK_SIGNING_SECRET": (SLACK_SIGNS, SLACK_APP + "Basic Information › App Credentials › Signing Secret › Show"),
    "SLACK_BOT_TOKEN": (SLACK_BOT, SLACK_APP + "OAuth & Permissions › Bot User OAuth Token (there once the app is installed)"),
    "SLACK_CLIENT_ID": (SLACK_CLIENT, SLACK_APP + "Basic Information › App Credentials › Client ID"),
    "SLACK_CLIENT_SECRET": (SLACK_PROVES, SLACK_APP + "Basic Information › App Credentials › Client Secret › Show"),
    "DISCORD_PUBLIC_KEY": (DISCORD_KEY, DISCORD_APP + "General Information › Public Key"),
    "DISCORD_APPLICATION_ID": (DISCORD_ID, DISCORD_APP + "General Information › Application ID"),
    "DISCORD_BOT_TOKEN": (DISCORD_BOT, DISCORD_APP + "Bot › Reset Token"),
}
TOKEN_ERRORS: Final = {  # Slack's words for a token that does not work
    "invalid_auth": "Copy the Bot User OAuth Token anew: " + SLACK_APP + "OAuth & Permissions.",
    "not_authed": "Copy the Bot User OAuth Token anew: " + SLACK_APP + "OAuth & Permissions.",
    "account_inactive": "The app was removed from the workspace. " + REINSTALL,
    "token_revoked": "Somebody revoked it. " + REINSTALL,
    "token_expired": "Make the app anew from `imagine manifest slack`, which leaves token rotation off.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What there is to look at."""

    environ: Mapping[str, str]
    session: aiohttp.ClientSession
    url: str | None  # where the bot is reached, without a slash at its end
    channel: str | None
    modal_app: str
    modal_secrets: Mapping[str, Sequence[str]]  # the keys that each must have

    def holds(self, *names: str) -> bool:
        """Say whether these variables can be what they should be, so that it makes sense to use them."""
        return all(re.fullmatch(LOOKS[VARIABLES[name][0]], self.environ.get(name, "")) for name in names)

    def needs(self, platform: str) -> Sequence[str]:
        """Return the variables without which a platform is off."""
        return slack.needed(self.environ) if platform == "Slack" else PLATFORMS[platform]

    @property
    def is_local(self) -> bool:
        """Whether the bot is reached from this machine only."""
        return bool(self.url and is_here(self.url))


async def variables(setup: Setup) -> AsyncIterator[Finding]:
    """See whether every variable is there, and holds what it should."""
    for platform, names in PLATFORMS.items():
        pair = PAIRS.get(platform, ())
        given = [name for name in (*names, *pair) if setup.environ.get(name)]
        if not given:
            yield unknown(f"{platform} is not set up here, and was skipped.", f"Set {', '.join(names)}; README.md says how.")
            continue
        whole = pair if set(pair) & set(given) else ()
        for name in dict.fromkeys((*setup.needs(platform), *given, *whole)):
            yield _variable(name, setup.environ.get(name, ""))


def _variable(name: str, value: str) -> Finding:
    wanted, where = VARIABLES[name]
    kind = _kind(value)
    if re.fullmatch(LOOKS[wanted], value):
        return right(f"{name} looks like {wanted}.")
    if not value:
        return wrong(f"{name} is not set.", f"Copy it from {where}.")
    if value != value.strip(" \t\r\n'\""):
        return wrong(f"{name} has spaces, quotes or a line break around it.", "Take them away; nothing else has to change.")
    if kind == SLACK_EXPIRING:
        return wrong(f"{name} holds {kind}, and the bot renews none.", TOKEN_ERRORS["token_expired"])
    if kind:
        return wrong(f"{name} holds {kind}, not {wanted}.", f"Copy the right one from {where}.")
    return wrong(f"{name} does not look like {wanted}.", f"Copy all of it from {where}.")


def _kind(value: str) -> str | None:
    return next((kind for kind, pattern in LOOKS.items() if re.fullmatch(pattern, value)), None)
