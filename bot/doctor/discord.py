"""Look at the Discord application: https://discord.com/developers/docs/resources/application"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from bot import discord, manifest
from bot.doctor.ask import Answer, ask, ask_discord, not_refused
from bot.doctor.finding import Finding, right, unknown, wrong
from bot.doctor.setup import DISCORD_APP, VARIABLES, Setup

REGISTER: Final = "Run `imagine register`; for a bot on Modal, `modal run -m bot.deploy::register`."
# The fields of a command that we set; Discord adds others, and leaves out those that are null, false or empty.
MEANT: Final = {
    *("name", "type", "description", "options", "required", "choices", "value", "autocomplete", "channel_types"),
    *("min_value", "max_value", "min_length", "max_length"),
    *("contexts", "integration_types", "default_member_permissions", "nsfw"),
}


async def app(setup: Setup) -> AsyncIterator[Finding]:
    """See whether Discord takes the token, and what it knows about the application."""
    if not setup.holds("DISCORD_BOT_TOKEN"):
        return
    answer = await ask_discord(setup, "/applications/@me")
    if answer.status != HTTPStatus.OK:
        where = VARIABLES["DISCORD_BOT_TOKEN"][1]
        yield wrong(f"Discord does not take DISCORD_BOT_TOKEN ({answer.status}).", f"Make a new one: {where}.")
        return
    yield right("Discord takes DISCORD_BOT_TOKEN.")
    for name, field in (("DISCORD_APPLICATION_ID", "id"), ("DISCORD_PUBLIC_KEY", "verify_key")):
        if setup.holds(name):
            yield _of_this_app(name, setup.environ[name].lower() == answer.fields.get(field))
    yield _endpoint(setup, answer.fields.get("interactions_endpoint_url"))
    known = await ask_discord(setup, f"/applications/{answer.fields.get('id')}/commands")
    for finding in _commands(known.body):
        yield finding


def _of_this_app(name: str, is_same: bool) -> Finding:  # noqa: FBT001  (a finding is a bool and its words)
    if is_same:
        return right(f"{name} is of the application that DISCORD_BOT_TOKEN is of.")
    fix = f"Copy both from one: {VARIABLES[name][1]}; Bot › Reset Token."
    return wrong(f"{name} is of another application than DISCORD_BOT_TOKEN.", fix)


def _endpoint(setup: Setup, endpoint: str | None) -> Finding:
    wanted = f"{setup.url or 'https://your-bot.example.com'}/discord/interactions"
    fix = f"{DISCORD_APP}General Information › Interactions Endpoint URL: {wanted} › Save Changes, while the bot runs."
    if not endpoint:
        return wrong("Discord has no Interactions Endpoint URL, so it sends us nothing.", fix)
    if endpoint == wanted or (not setup.url and urlsplit(endpoint).path == "/discord/interactions"):
        return right(f"Discord sends interactions to {endpoint}.")
    if setup.is_local:
        return unknown(f"Discord sends interactions to {endpoint}; whether that leads here cannot be seen from here.")
    return wrong(f"Discord sends interactions to {endpoint}, not to {wanted}.", fix)


def _commands(known: Any) -> Iterator[Finding]:
    """Compare what Discord knows with what `imagine register` would tell it."""
    ours = {command["name"]: _meaning(command) for command in manifest.for_discord()}
    theirs = {command["name"]: _meaning(command) for command in known} if isinstance(known, list) else {}
    if unheard := [_called(name) for name in ours if name not in theirs]:
        yield wrong(f"Discord does not know {', '.join(unheard)}.", REGISTER)
    for name in sorted(theirs):
        if ours.get(name) == theirs[name]:
            yield right(f"Discord knows {_called(name)} as it is here.")
        elif name not in ours:
            yield wrong(f"Discord offers {_called(name)}, which this bot does not have.", REGISTER)
        else:
            changed = _changed(ours[name], theirs[name])
            yield wrong(f"Discord knows another {_called(name)}; what differs: {changed}.", REGISTER)


def _called(name: str) -> str:
    """Write a command as people see it: what is typed has a slash, and what is in the menu of a message has capitals."""
    return f"/{name}" if name == name.lower() else f"“{name}”"


def _meaning(part: Any) -> Any:
    """Keep what we set in a command, in one order: Discord lists contexts as it likes, but options as they were."""
    if isinstance(part, list):
        parts = [_meaning(each) for each in part]
        return sorted(parts) if all(isinstance(each, int) for each in parts) else parts
    if not isinstance(part, dict):
        return part
    return {k: _meaning(v) for k, v in part.items() if k in MEANT and v is not None and v is not False and v not in ([], "")}


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    fields = [field for field in sorted(ours.keys() | theirs.keys()) if ours.get(field) != theirs.get(field)]
    if fields != ["options"]:
        return ", ".join(fields)
    mine, other = ({option["name"]: option for option in about.get("options", [])} for about in (ours, theirs))
    names = [name for name in mine | other if mine.get(name) != other.get(name)]
    return f"the options {', '.join(names)}" if names else "the order of its options"


def in_channel(channel: str, answer: Answer) -> Finding:
    """See whether the bot sees a channel."""
    if answer.status == HTTPStatus.OK:
        return right(f"The bot sees Discord channel {channel}.")
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return unknown(f"Discord says nothing of {channel} without a token that works.")
    fix = f"Check the id; {DISCORD_APP}Installation › Install Link: open it and add the bot to the server, with View Channel."
    return wrong(f"The bot cannot see Discord channel {channel} (HTTP {answer.status}).", fix)


async def door(setup: Setup) -> AsyncIterator[Finding]:
    """See that the bot refuses what nobody signed; only Discord can sign."""
    where = f"{setup.url}/discord/interactions"
    answer = await ask(setup, "POST", where, json={"type": discord.InteractionType.PING})
    if answer.status == HTTPStatus.UNAUTHORIZED:
        yield right(f"{where} refuses forgeries.")
    else:
        yield not_refused(where, answer)
