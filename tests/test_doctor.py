"""Each mistake an admin can make is planted, and found in one line; where all is well, nothing is."""

from __future__ import annotations

import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from bot import deploy, doctor, platforms, slack
from bot.doctor import ask
from bot.doctor import slack as slacks
from bot.models import DEFAULT
from tests.conftest import environment, serving
from tests.fakes.discord_world import Access
from tests.fakes.faults import Fault
from tests.fakes.host import Host
from tests.fakes.modal import ModalServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

    from bot.doctor.finding import Finding
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer

SECRETS = ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN", "SLACK_CLIENT_SECRET", "DISCORD_BOT_TOKEN")
XOXP, XAPP, XOXE = "xoxp-1-2-fake", "xapp-1-A0APP-fake", "xoxe.xoxb-1-fake"
MINUTE = 60  # seconds


@dataclass
class Patient:
    """A bot that is well, until something is done to it."""

    slack: SlackServer
    discord: DiscordServer
    url: str | None
    environ: dict[str, str]
    channel: str | None = None
    healthy: dict[str, str] = field(default_factory=dict)

    async def findings(self, **about: Any) -> list[Finding]:
        """Ask the doctor, who keeps every secret."""
        async with aiohttp.ClientSession() as session:
            seen = doctor.check(self.environ, session=session, url=self.url, channel=self.channel, **about)
            found = [finding async for finding in seen]
        kept = {environ.get(name, "") for environ in (self.environ, self.healthy) for name in SECRETS}
        for line in map(str, found):
            assert "\n" not in line
            assert not [secret for secret in kept if len(secret) > len("xoxb-…") and secret in line]
        return found

    def give(self, name: str, value: str) -> None:
        """Set a variable."""
        self.environ[name] = value

    def ask_of(self, channel: str, scope: str) -> None:
        """Name a channel, and let the bot look at such channels."""
        self.channel = channel
        self.slack.scopes.add(scope)

    def swap(self, one: str, other: str) -> None:
        """Mix two variables up."""
        self.environ[one], self.environ[other] = self.environ[other], self.environ[one]


@pytest.fixture(autouse=True)
def without_modal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody's own Modal account be asked."""
    monkeypatch.setenv("MODAL_TOKEN_ID", "")


@pytest.fixture
async def stranger(slack: SlackServer, discord: DiscordServer) -> Patient:
    """Return a bot of which nothing but its apps can be seen."""
    environ = environment(slack, discord)
    await platforms.register(environ)
    discord.interactions_endpoint_url = "https://imagine.example.com/discord/interactions"
    return Patient(slack, discord, None, environ, healthy=dict(environ))


@pytest.fixture
async def patient(service: Service, stranger: Patient) -> Patient:
    stranger.url, stranger.channel = service.url, "C1"
    stranger.slack.scopes.add("channels:read")
    stranger.discord.interactions_endpoint_url = f"{service.url}/discord/interactions"
    await _loaded(service)
    return stranger


async def _loaded(service: Service) -> None:
    await service.studio.load(DEFAULT)


def wrong(found: Iterable[Finding]) -> list[str]:
    return [str(finding) for finding in found if finding.ok is False]


def only(found: Iterable[Finding], words: str) -> Finding:
    (finding,) = [each for each in found if words in each.what]
    return finding


async def test_finds_nothing_wrong_where_all_is_well(patient: Patient) -> None:
    found = await patient.findings()
    assert wrong(found) == []
    assert [finding.what for finding in found if finding.ok is None] == ["Modal was skipped: there is no token for it here."]
    assert not any(finding.fix for finding in found if finding.ok)
    assert not patient.slack.messages
    assert {call.method for call in patient.slack.calls} == {"auth.test", "conversations.info"}  # it changed nothing


# What is done, what the doctor says of it, and what there is to click.
MISTAKES: dict[str, tuple[Callable[[Patient], object], str, str]] = {
    # Slack: the variables
    "no signing secret": (
        lambda p: p.environ.pop("SLACK_SIGNING_SECRET"),
        "SLACK_SIGNING_SECRET is not set.",
        "Basic Information › App Credentials › Signing Secret",
    ),
    "no Slack token": (
        lambda p: p.give("SLACK_BOT_TOKEN", ""),
        "SLACK_BOT_TOKEN is not set.",
        "OAuth & Permissions › Bot User OAuth Token",
    ),
    "half a signing secret": (
        lambda p: p.give("SLACK_SIGNING_SECRET", p.slack.signing_secret[:20]),
        "SLACK_SIGNING_SECRET does not look like a Slack signing secret",
        "Copy all of it from",
    ),
    "the ellipsis of the README": (
        lambda p: p.give("SLACK_BOT_TOKEN", "xoxb-…"),
        "SLACK_BOT_TOKEN does not look like a Slack bot token",
        "Bot User OAuth Token",
    ),
    "a line break": (
        lambda p: p.give("SLACK_BOT_TOKEN", p.slack.token + "\n"),
        "SLACK_BOT_TOKEN has spaces, quotes or a line break around it.",
        "Take them away",
    ),
    "quotes": (
        lambda p: p.give("SLACK_SIGNING_SECRET", f'"{p.slack.signing_secret}"'),
        "SLACK_SIGNING_SECRET has spaces, quotes or a line break around it.",
        "Take them away",
    ),
    "a user token": (
        lambda p: p.give("SLACK_BOT_TOKEN", XOXP),
        "SLACK_BOT_TOKEN holds a Slack user token (xoxp-…), not a Slack bot token (xoxb-…).",
        "OAuth & Permissions › Bot User OAuth Token",
    ),
    "an app-level token": (
        lambda p: p.give("SLACK_BOT_TOKEN", XAPP),
        "SLACK_BOT_TOKEN holds a Slack app-level token (xapp-…)",
        "OAuth & Permissions › Bot User OAuth Token",
    ),
    "a token that expires": (
        lambda p: p.give("SLACK_BOT_TOKEN", XOXE),
        "SLACK_BOT_TOKEN holds a Slack token that expires",
        "imagine manifest slack",
    ),
    "the token for the secret": (
        lambda p: p.give("SLACK_SIGNING_SECRET", p.slack.token),
        "SLACK_SIGNING_SECRET holds a Slack bot token (xoxb-…)",
        "Signing Secret › Show",
    ),
    "the secret for the token": (
        lambda p: p.give("SLACK_BOT_TOKEN", p.slack.signing_secret),
        "SLACK_BOT_TOKEN holds a Slack signing secret",
        "Bot User OAuth Token",
    ),
    "a client's ID alone": (
        lambda p: p.give("SLACK_CLIENT_ID", "1.2"),
        "SLACK_CLIENT_SECRET is not set.",
        "Basic Information › App Credentials › Client Secret",
    ),
    "a client's secret alone": (
        lambda p: p.give("SLACK_CLIENT_SECRET", "c0" * 16),
        "SLACK_CLIENT_ID is not set.",
        "Basic Information › App Credentials › Client ID",
    ),
    # Slack: the app
    "another token": (
        lambda p: p.give("SLACK_BOT_TOKEN", "xoxb-9-9-other"),
        "Slack does not take SLACK_BOT_TOKEN (invalid_auth).",
        "Copy the Bot User OAuth Token anew",
    ),
    "an app that was removed": (
        lambda p: setattr(p.slack, "token_error", "account_inactive"),
        "Slack does not take SLACK_BOT_TOKEN (account_inactive).",
        "Reinstall to Workspace",
    ),
    "a token that was revoked": (
        lambda p: setattr(p.slack, "token_error", "token_revoked"),
        "Slack does not take SLACK_BOT_TOKEN (token_revoked).",
        "Reinstall to Workspace",
    ),
    "a clock that is slow": (
        lambda p: setattr(p.slack, "clock", lambda: time.time() + 10 * MINUTE),
        "s behind Slack's.",
        "timedatectl set-ntp true",
    ),
    "a Slack that is broken": (
        lambda p: p.slack.faults.next("auth.test", Fault.SERVER_ERROR),
        "answers 500 just now.",
        "slack.com",
    ),
    "a Slack that breaks off": (
        lambda p: p.slack.faults.next("auth.test", Fault.RESET),
        "breaks off the connection.",
        "slack.com",
    ),
    "a Slack that is not there": (
        lambda p: p.give("SLACK_API_URL", "http://127.0.0.1:9/api/"),
        "127.0.0.1:9 takes no connections.",
        "slack.com",
    ),
    "a Slack that nobody knows": (
        lambda p: p.give("SLACK_API_URL", "https://slack.invalid/api/"),
        "slack.invalid is a name that nobody knows.",
        "slack.com",
    ),
    # Slack: the channel
    "a channel's name": (
        lambda p: setattr(p, "channel", "#general"),
        "--channel takes a channel's id",
        "About › Channel ID",
    ),
    "a channel that is archived": (
        lambda p: p.ask_of("C9", "channels:read"),
        "Slack channel C9 is archived.",
        "unarchive it",
    ),
    "a private channel": (
        lambda p: p.ask_of("G2", "groups:read"),
        "Slack shows the bot no channel G2 (channel_not_found)",
        "/invite @imagine",
    ),
    # Discord: the variables
    "no public key": (
        lambda p: p.environ.pop("DISCORD_PUBLIC_KEY"),
        "DISCORD_PUBLIC_KEY is not set.",
        "General Information › Public Key",
    ),
    "a token in the id": (
        lambda p: p.give("DISCORD_APPLICATION_ID", p.discord.bot_token),
        "DISCORD_APPLICATION_ID holds a Discord bot token",
        "General Information › Application ID",
    ),
    "the key in the token": (
        lambda p: p.swap("DISCORD_PUBLIC_KEY", "DISCORD_BOT_TOKEN"),
        "DISCORD_BOT_TOKEN holds a Discord public key",
        "Bot › Reset Token",
    ),
    "the id in the key": (
        lambda p: p.swap("DISCORD_PUBLIC_KEY", "DISCORD_APPLICATION_ID"),
        "DISCORD_PUBLIC_KEY holds a Discord application ID",
        "General Information › Public Key",
    ),
    "a client secret": (
        lambda p: p.give("DISCORD_BOT_TOKEN", "Zq-9_Zq-9_Zq-9_Zq-9_Zq-9_Zq-9_Zq"),
        "DISCORD_BOT_TOKEN holds a Discord client secret",
        "Bot › Reset Token",
    ),
    "half a key": (
        lambda p: p.give("DISCORD_PUBLIC_KEY", p.discord.public_key[:40]),
        "DISCORD_PUBLIC_KEY does not look like a Discord public key",
        "Copy all of it",
    ),
    # Discord: the application
    "a token that was reset": (
        lambda p: p.give("DISCORD_BOT_TOKEN", "MTEwMDAwMDAwMDAwMDAwMDAwMQ.older.token"),
        "Discord does not take DISCORD_BOT_TOKEN (401).",
        "Bot › Reset Token",
    ),
    "another application's id": (
        lambda p: p.give("DISCORD_APPLICATION_ID", "1100000000000000002"),
        "DISCORD_APPLICATION_ID is of another application than DISCORD_BOT_TOKEN.",
        "General Information › Application ID",
    ),
    "another application's key": (
        lambda p: p.give("DISCORD_PUBLIC_KEY", "ab" * 32),
        "DISCORD_PUBLIC_KEY is of another application than DISCORD_BOT_TOKEN.",
        "General Information › Public Key",
    ),
    "no endpoint": (
        lambda p: setattr(p.discord, "interactions_endpoint_url", None),
        "Discord has no Interactions Endpoint URL",
        "General Information › Interactions Endpoint URL",
    ),
    "an endpoint that is not the bot's": (
        lambda p: setattr(p.discord, "interactions_endpoint_url", "https://imagine.example.com/"),
        "Discord sends interactions to https://imagine.example.com/, not to",
        "/discord/interactions › Save Changes",
    ),
    "no commands": (
        lambda p: p.discord.commands.clear(),
        "Discord does not know /imagine, /imagine-form, /imagine-settings, /imagine-help, “Imagine this”.",
        "Run `imagine register`",
    ),
    "a command of old": (
        lambda p: p.discord.commands[""].append({**p.discord.commands[""][0], "name": "draw"}),
        "Discord offers /draw, which this bot does not have.",
        "Run `imagine register`",
    ),
    "an option of old": (
        lambda p: p.discord.commands[""][0]["options"][4].update(max_value=99),
        "Discord knows another /imagine; what differs: the options seed.",
        "Run `imagine register`",
    ),
    "an option that is missing": (
        lambda p: p.discord.commands[""][0]["options"].pop(),
        "Discord knows another /imagine; what differs: the options repeat.",
        "Run `imagine register`",
    ),
    "a description of old": (
        lambda p: p.discord.commands[""][0].update(description="Draw", contexts=[0]),
        "Discord knows another /imagine; what differs: contexts, description.",
        "Run `imagine register`",
    ),
    "options in another order": (
        lambda p: p.discord.commands[""][0]["options"].reverse(),
        "Discord knows another /imagine; what differs: the order of its options.",
        "Run `imagine register`",
    ),
    "a Discord that is broken": (
        lambda p: p.discord.faults.next("get_my_application", Fault.SERVER_ERROR),
        "answers 500 just now.",
        "discord.com",
    ),
    "a Discord that has enough": (
        lambda p: p.discord.faults.next("list_application_commands", Fault.RATE_LIMITED),
        "answers 429 just now.",
        "discord.com",
    ),
    "a Discord channel that is closed": (
        lambda p: setattr(p, "channel", p.discord.add_channel(access=Access.MISSING_ACCESS).id),
        "(HTTP 403).",
        "Installation › Install Link",
    ),
    # The bot's own address
    "http": (
        lambda p: setattr(p, "url", "http://imagine.example.com"),
        "--url is not https",
        "Give the https address",
    ),
    "an address with a path": (
        lambda p: setattr(p, "url", "https://imagine.example.com/slack/events"),
        "--url takes the bot's bare address.",
        "https://imagine.example.com.",
    ),
    "an address without a scheme": (
        lambda p: setattr(p, "url", "imagine.example.com"),
        "--url takes the bot's bare address.",
        "https://imagine.example.com.",
    ),
    "an address that is none": (
        lambda p: setattr(p, "url", "https://[imagine"),
        "--url takes the bot's bare address.",
        "https://imagine.example.com.",
    ),
    "a bot that is not running": (
        lambda p: setattr(p, "url", "http://127.0.0.1:9"),
        "127.0.0.1:9 takes no connections.",
        "Start the bot",
    ),
    "a server that is not the bot": (
        lambda p: setattr(p, "url", p.slack.root),
        "is reached, but somebody else answers there (HTTP 404).",
        "tunnel",
    ),
}
BESIDES = {"the key in the token", "the id in the key"}  # two are mixed up, and both are named


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_finds_a_mistake(stranger: Patient, mistake: str) -> None:
    make, what, fix = MISTAKES[mistake]
    make(stranger)
    lines = wrong(await stranger.findings())
    assert len(lines) == 1 + (mistake in BESIDES)
    (line,) = [line for line in lines if what in line]
    assert line.startswith("✗ wrong")
    assert fix in line.partition(" → ")[2]


@pytest.mark.parametrize("scope", slack.SCOPES)
async def test_names_a_scope_that_is_missing(stranger: Patient, scope: str) -> None:
    stranger.slack.scopes.remove(scope)
    (line,) = wrong(await stranger.findings())
    assert f"The Slack app lacks the scope {scope}." in line
    assert f"OAuth & Permissions › Scopes › Bot Token Scopes: add {scope}, then reinstall the app." in line


@pytest.mark.parametrize(
    ("channel", "scope", "ok", "words"),
    [
        ("C1", "channels:read", True, "The bot is in Slack channel C1."),
        ("G1", "groups:read", True, "The bot is in Slack channel G1."),
        ("C2", "channels:read", True, "it joins with its first picture."),
        ("C1", "commands", None, "only to those with channels:read, which the bot does not need."),
    ],
)
async def test_says_whether_the_bot_is_in_a_channel(
    stranger: Patient, channel: str, scope: str, ok: bool | None, words: str
) -> None:
    stranger.ask_of(channel, scope)
    assert only(await stranger.findings(), words).ok is ok


async def test_says_whether_the_bot_sees_a_channel_of_discord(stranger: Patient) -> None:
    stranger.channel = stranger.discord.channel.id
    assert only(await stranger.findings(), f"The bot sees Discord channel {stranger.channel}.").ok


@pytest.mark.parametrize(("channel", "variable"), [("C1", "SLACK_BOT_TOKEN"), ("1100000000000000009", "DISCORD_BOT_TOKEN")])
@pytest.mark.parametrize("value", ["", "xoxb-9-9-other", "MTEwMDAwMDAwMDAwMDAwMDAwMQ.older.token"])
async def test_a_channel_is_no_second_mistake_where_the_token_is_one(
    stranger: Patient, channel: str, variable: str, value: str
) -> None:
    stranger.channel = channel
    stranger.give(variable, value)
    (line,) = wrong(await stranger.findings())
    assert variable in line


async def test_skips_what_is_not_set_up(stranger: Patient) -> None:
    stranger.environ = {}
    found = await stranger.findings()
    assert [finding.ok for finding in found] == [None] * 4
    assert only(found, "Slack is not set up here").fix.startswith("Set SLACK_SIGNING_SECRET, SLACK_BOT_TOKEN")
    assert only(found, "Discord is not set up here").fix.startswith("Set DISCORD_PUBLIC_KEY")
    assert "--url" in only(found, "address was skipped").fix


# The bot's own doors


async def test_finds_that_the_bot_has_another_signing_secret(patient: Patient) -> None:
    patient.give("SLACK_SIGNING_SECRET", "ab" * 16)
    (line,) = wrong(await patient.findings())
    assert "/slack/events refuses what is signed with SLACK_SIGNING_SECRET. → Set the same one there and here" in line


async def test_finds_that_slack_would_not_wait(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.doctor.slack.ACKNOWLEDGED", 0)
    (line,) = wrong(await patient.findings())
    assert "/slack/events took" in line
    assert "Keep one server running" in line


@pytest.mark.parametrize(("platform", "lacks"), [("Slack", "SLACK_BOT_TOKEN"), ("Discord", "DISCORD_PUBLIC_KEY")])
async def test_finds_a_platform_that_is_off(tmp_path: Path, stranger: Patient, platform: str, lacks: str) -> None:
    without = {name: value for name, value in stranger.environ.items() if name != lacks}
    async with serving(tmp_path, without) as service:
        await _loaded(service)
        stranger.discord.interactions_endpoint_url = f"{service.url}/discord/interactions"
        stranger.url = service.url
        (line,) = wrong(await stranger.findings())
    assert f"{platform} is not on at {service.url} (off: set {lacks}). → Set the variables where the bot runs too" in line


@asynccontextmanager
async def answering(patient: Patient, status: int = 401, *, seconds: float = 0, **health: Any) -> AsyncIterator[None]:
    """Let a server that is not quite the bot answer in its place."""
    shown = {"ok": True, "model": {"name": "sketch", "loaded": True}, "platforms": {"slack": "on", "discord": "on"}} | health
    date = formatdate(time.time() + seconds, usegmt=True)

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response(shown, headers={"Date": date})

    async def door(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    host = Host([web.get("/health", healthy), web.post("/slack/events", door), web.post("/discord/interactions", door)])
    patient.url = await host.start()
    try:
        yield
    finally:
        await host.stop()


@pytest.mark.parametrize("status", [200, 302, 403, 404])
async def test_finds_doors_that_do_not_say_401_to_a_forgery(stranger: Patient, status: int) -> None:
    async with answering(stranger, status):
        lines = wrong(await stranger.findings())
    assert [f"/slack/events answers {status} to a forged request" in line for line in lines] == [True, False]
    assert [f"/discord/interactions answers {status} to a forged request" in line for line in lines] == [False, True]


async def test_finds_a_model_that_is_not_loaded(stranger: Patient) -> None:
    async with answering(stranger, model={"name": "sketch", "loaded": False}):
        found = await stranger.findings()
    assert only(found, "The model sketch is not loaded.").ok is False


async def test_goes_on_after_an_answer_of_an_odd_shape(stranger: Patient) -> None:
    async with answering(stranger, seconds=1e10, model="sketch"):  # in three hundred years
        found = await stranger.findings()
    assert only(found, f"{stranger.url} is reached, and it is the bot.").ok
    assert not [finding for finding in found if "not loaded" in finding.what]


@pytest.mark.parametrize("date", ["Sun, 22 Nov 99999999999999999999 17:00:00 GMT", "today", ""])
def test_a_clock_that_shows_no_time_is_not_known(date: str) -> None:
    answer = ask.Answer(status=200, headers={"date": date}, body=ask._json(b"[" * 100_000), seconds=0)
    assert ask.clock("its", answer).ok is None


def test_a_channel_of_which_slack_says_nothing_can_be_joined() -> None:
    answer = ask.Answer(status=200, headers={}, body={"ok": True, "channel": None}, seconds=0)
    assert slacks.in_channel("C1", answer).ok


async def test_finds_that_the_bots_clock_is_off(stranger: Patient) -> None:
    async with answering(stranger, seconds=-3 * MINUTE):
        found = await stranger.findings()
    assert only(found, f"s ahead of {stranger.url}'s.").ok is False


async def test_gives_up_on_a_server_that_does_not_answer(stranger: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.doctor.ask.PATIENCE", 0.2)
    stranger.slack.faults.next("auth.test", Fault.HANG)
    (line,) = wrong(await stranger.findings())
    assert "does not answer in time." in line


# Modal


@pytest.fixture
async def modal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModalServer]:
    keys = dict.fromkeys(deploy.CHAT, "")  # a platform that is not used is set to nothing
    async with ModalServer({"imagine-chat": keys}) as server:
        server.published.append(deploy.NAME)
        monkeypatch.setenv("MODAL_SERVER_URL", server.url)
        monkeypatch.setenv("MODAL_TOKEN_ID", server.token)
        monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-fake")
        yield server


async def test_finds_nothing_wrong_on_modal_where_all_is_well(modal: ModalServer, stranger: Patient) -> None:
    found = await stranger.findings()
    assert wrong(found) == []
    assert only(found, "Modal has the app imagine.").ok
    assert only(found, "Modal has the secret imagine-chat, with all its keys.").ok
    assert modal.required == {"imagine-chat": list(deploy.CHAT)}


async def test_a_bot_that_is_not_on_modal_lacks_nothing_there(modal: ModalServer, stranger: Patient) -> None:
    modal.published, modal.secrets = [], {}
    found = await stranger.findings()
    assert wrong(found) == []
    assert only(found, "Modal has no app imagine.").fix == "If the bot is to run there: `modal deploy -m bot`."


async def test_a_bot_that_should_be_on_modal_is_missed_there(
    modal: ModalServer, stranger: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    modal.published = []
    stranger.url = "https://someone--imagine-web.modal.run"
    stranger.discord.interactions_endpoint_url = f"{stranger.url}/discord/interactions"
    monkeypatch.setattr(doctor, "CHECKS", {doctor.modal.deployment: ""})
    assert [line.partition(" → ")[0] for line in wrong(await stranger.findings())] == ["✗ wrong   Modal has no app imagine."]


@pytest.mark.parametrize(
    ("change", "words", "fix"),
    [
        ({"secrets": {}}, "Modal has no secret imagine-chat with all its keys.", "modal.com/secrets › imagine-chat"),
        (
            {"secrets": {"imagine-chat": {"OTHER": ""}}},
            "Modal has no secret imagine-chat with all its keys.",
            "SLACK_BOT_TOKEN",
        ),
        ({"token": "ak-other"}, "Modal does not take the token that is here.", "modal token new"),
    ],
)
async def test_finds_a_mistake_on_modal(
    modal: ModalServer, stranger: Patient, change: dict[str, Any], words: str, fix: str
) -> None:
    for name, value in change.items():
        setattr(modal, name, value)
    (finding,) = [finding for finding in await stranger.findings() if finding.ok is False]
    assert finding.what == words
    assert fix in finding.fix


async def test_modal_is_skipped_where_its_package_is_not(stranger: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    assert only(await stranger.findings(), "Modal was skipped: its package is not installed here.").ok is None


# What is printed


async def test_prints_a_line_each_and_says_how_many_are_wrong(stranger: Patient) -> None:
    stranger.slack.scopes.remove("im:write")
    lines: list[str] = []
    assert await doctor.run(stranger.environ, url=None, channel=None, say=lines.append) == 1
    assert {line[:9] for line in lines[:-1]} == {"✓ right  ", "✗ wrong  ", "– unknown"}
    assert lines[-1] == "One thing is wrong."


async def test_is_content_where_nothing_is_wrong(stranger: Patient) -> None:
    lines: list[str] = []
    assert await doctor.run(stranger.environ, url=None, channel=None, say=lines.append) == 0
    assert lines[-1] == "Nothing wrong was found."


def installable(patient: Patient) -> dict[str, str]:
    """Return the variables of a bot that admins install by OAuth, and that was given no token."""
    consent = patient.slack.consent
    oauth = {"SLACK_CLIENT_ID": consent.client_id, "SLACK_CLIENT_SECRET": consent.client_secret}
    return patient.environ | oauth | {"SLACK_BOT_TOKEN": ""}


async def test_an_app_that_admins_install_needs_no_token(stranger: Patient, tmp_path: Path) -> None:
    stranger.environ = installable(stranger)
    async with serving(tmp_path, stranger.environ) as service:
        stranger.url = service.url
        stranger.discord.interactions_endpoint_url = f"{service.url}/discord/interactions"
        await _loaded(service)
        found = await stranger.findings()
    assert wrong(found) == []
    way_in = only(found, "sends admins to Slack to install the app").what
    assert way_in.startswith(f"{service.url}/slack/install")
    assert way_in.endswith(f"{service.url}/slack/oauth_redirect is there for their way back.")
    assert only(found, "SLACK_CLIENT_SECRET looks like a Slack client secret").ok
    assert not [finding for finding in found if "SLACK_BOT_TOKEN" in finding.what]


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"SLACK_CLIENT_ID": ""}, "/slack/oauth_redirect is not there, so nobody can install the app by it."),
        ({"SLACK_CLIENT_ID": "1.2"}, "/slack/install installs another app than that of SLACK_CLIENT_ID."),
    ],
)
async def test_a_bot_that_is_set_up_otherwise_than_here_is_found(
    there: dict[str, str], words: str, stranger: Patient, tmp_path: Path
) -> None:
    token = stranger.environ["SLACK_BOT_TOKEN"]
    stranger.environ = installable(stranger)
    async with serving(tmp_path, stranger.environ | {"SLACK_BOT_TOKEN": token} | there) as service:
        stranger.url = service.url
        stranger.discord.interactions_endpoint_url = f"{service.url}/discord/interactions"
        await _loaded(service)
        [line] = wrong(await stranger.findings())
    assert words in line
