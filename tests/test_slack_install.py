"""Installing the app by OAuth, as admins find it in their browsers; and from then on, each workspace by its own token."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest

from bot import manifest, platforms, slack_install
from bot import slack as slack_platform
from bot.errors import Told
from bot.request import Job, compose
from bot.slack_tokens import Tokens
from bot.store_local import LocalStore
from tests.conftest import environment, serving, until
from tests.fakes import slack_payloads
from tests.fakes.faults import Fault
from tests.fakes.generator import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer
    from tests.fakes.slack_world import Message

STALE = "That link has expired, or was begun in another browser."
USED = "That permission was used before, or has expired."
NOT_INSTALLED = "I am not installed in this workspace."


@dataclass(frozen=True)
class Seen:
    """What a browser was answered."""

    status: int
    text: str
    headers: dict[str, str]


class Browser:
    """An admin's: it keeps one cookie, and does not follow where it is sent."""

    def __init__(self, service: Service, language: str = "en") -> None:
        self.cookie, self._service, self._language = "", service, language

    async def open(self, path: str) -> Seen:
        headers = {"Accept-Language": self._language} | ({"Cookie": self.cookie} if self.cookie else {})
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(self._service.url + path, headers=headers, allow_redirects=False) as response,
        ):
            for morsel in SimpleCookie(response.headers.get("Set-Cookie", "")).values():
                assert morsel["secure"]
                assert morsel["httponly"]
                self.cookie = f"{morsel.key}={morsel.value}"
            return Seen(response.status, await response.text(), dict(response.headers))

    async def ask(self) -> str:
        """Go to the bot's door, and from there to Slack's page; return its address."""
        seen = await self.open("/slack/install")
        assert seen.status == 302
        return seen.headers["Location"]

    async def come_back(self, address: str) -> Seen:
        """Go where Slack sends us: to the manifest's host, which in here is the service."""
        parts = urlsplit(address)
        assert parts.netloc == "your-bot.example.com"
        return await self.open(f"{parts.path}?{parts.query}")


async def installed(service: Service, slack: SlackServer, workspace: SlackServer | None = None) -> Seen:
    """Install the app in a workspace; return the page that says so."""
    browser = Browser(service)
    seen = await browser.come_back(slack.consent.allow(await browser.ask(), workspace or slack))
    assert seen.status == 200, seen.text
    return seen


@pytest.fixture
def environ(slack: SlackServer, discord: DiscordServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    oauth = {"SLACK_CLIENT_ID": slack.consent.client_id, "SLACK_CLIENT_SECRET": slack.consent.client_secret}
    for name, value in oauth.items():
        monkeypatch.setenv(name, value)  # bolt looks for them there, and must not make something of its own of them
    slack.token, slack.manifest_scopes = "", set(slack.scopes)
    return environment(slack, discord) | oauth | {"SLACK_BOT_TOKEN": ""}


@pytest.fixture
async def service(environ: dict[str, str], tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path, environ) as running:
        yield running


@pytest.fixture
def other(slack: SlackServer) -> SlackServer:
    """Another workspace, whose people have the same names as here, and whose channels too."""
    return slack.neighbour(team_id="T0OTHER", name="Other & <Sons>", bot_user_id="U0BOT2")


async def drawn(workspace: SlackServer, service: Service, text: str = "a red fox", **where: Any) -> Message:
    """Type a command; return the message that shows what comes of it."""
    before = len(workspace.messages)
    await workspace.command(service.url, text, **where)
    await until(lambda: not service.desk_is_busy())
    return next(m for m in workspace.messages[before:] if m.pictures and "Details" in m.labels)


async def test_each_of_two_workspaces_is_served_by_its_own_token(
    service: Service, slack: SlackServer, other: SlackServer
) -> None:
    for workspace in (slack, other):
        await installed(service, slack, workspace)
    assert slack.token != other.token
    for workspace in (slack, other):
        message = await drawn(workspace, service)
        assert message.via == "api"  # and not by link, as where a token does not work
        assert {"users.info", "chat.postMessage", "files.info", "chat.update"} <= {call.method for call in workspace.calls}
        assert {call.answer for call in workspace.calls} == {"ok"}
    assert len(service.generator.drawn) == 2


async def test_who_has_the_same_id_in_two_workspaces_is_two_people(
    service: Service, slack: SlackServer, other: SlackServer
) -> None:
    other.add_person("U1", locale="de-DE", is_admin=True)
    for workspace in (slack, other):
        await installed(service, slack, workspace)
    words = []
    for workspace in (slack, other):
        message = await drawn(workspace, service, user="U2")
        await workspace.click(service.url, message, "Delete")
        await until(lambda: not service.desk_is_busy())
        ack = await workspace.command(service.url, "help --please")
        words.append((message.deleted, ack.message and ack.message.plain.split()[0]))
    assert [deleted for deleted, _ in words] == [False, True]
    assert words[0][1] != words[1][1]


async def test_forms_pictures_and_mentions_go_by_the_workspaces_own_token_too(
    service: Service, slack: SlackServer, other: SlackServer
) -> None:
    await installed(service, slack, other)
    photo = other.attach("photo.png", plain(compose("a photo", model="sketch", seed=1)))
    await other.mention(service.url, "a fox in oil", files=[photo])
    await until(lambda: other.outcomes("C1").pictures and not service.desk_is_busy())
    assert service.generator.drawn[0].image
    await other.command(service.url, "")
    await other.submit(service.url, other.modal, {"prompt": "a blue fox"})
    await until(lambda: len(service.generator.drawn) == 2 and not service.desk_is_busy())
    assert {call.answer for call in other.calls} == {"ok"}
    assert [call.method for call in slack.calls] == ["oauth.v2.access"]


async def test_an_organisation_installs_it_for_all_its_workspaces(service: Service, slack: SlackServer) -> None:
    whole = slack.neighbour(team_id="T0PART", organisation="E0ALL")
    seen = await installed(service, slack, whole)
    assert "imagine is installed in Fake Inc." in seen.text
    whole.team_id = "T0PART2"
    assert (await drawn(whole, service)).via == "api"


async def test_an_organisation_is_forgotten_whose_removal_names_no_workspace(service: Service, slack: SlackServer) -> None:
    whole = slack.neighbour(team_id="T0PART", organisation="E0ALL")
    await installed(service, slack, whole)
    bare: dict[str, Any] = {"team_id": None, "context_team_id": None, "enterprise_id": "E0ALL", "authorizations": []}
    body = slack_payloads.callback(whole, {"type": "app_uninstalled"}) | bare
    assert (await whole._send(service.url, json.dumps(body), content_type="application/json")).status == 200
    ack = await whole.command(service.url, "a red fox")
    assert ack.message
    assert NOT_INSTALLED in ack.message.plain


async def platform(slack: SlackServer, folder: Path) -> slack_platform.Slack:
    async with LocalStore(folder) as store, aiohttp.ClientSession() as session:
        desk: Any = SimpleNamespace(store=store)
        oauth = {"client_id": slack.consent.client_id, "client_secret": slack.consent.client_secret}
        return slack_platform.Slack(signing_secret="s", token="", session=session, desk=desk, api_url=slack.url, **oauth)


async def test_a_workspace_where_many_draw_leaves_the_others_their_statuses(
    slack: SlackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_platform, "STATUSES", 0)  # a minute: there is what there is at the beginning
    app, request = await platform(slack, tmp_path), compose("a fox", model="sketch")
    here, there = (
        Job(claim=team, request=request, platform="slack", person=f"slack:{team}:U1", reply_to={"team": team})
        for team in ("T1", "T2")
    )
    while app.pace(here).take(reserve=0):
        pass
    assert app.pace(there).take(reserve=0)


async def test_bolt_makes_no_flow_of_its_own_of_the_environment(
    environ: dict[str, str], tmp_path: Path, slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "slack_bolt")
    assert environ["SLACK_CLIENT_ID"] == os.environ["SLACK_CLIENT_ID"]
    app = await platform(slack, tmp_path)
    assert app.app.oauth_flow is app.installing
    assert isinstance(app.app.installation_store, Tokens)
    assert [record.getMessage() for record in caplog.records if "slack_bolt" in record.name] == []


async def test_what_was_installed_is_there_after_a_restart(environ: dict[str, str], tmp_path: Path, slack: SlackServer) -> None:
    async with serving(tmp_path, environ) as service:
        await installed(service, slack)
    async with serving(tmp_path, environ, held_up=True) as service:
        service.generator.wakes = True
        await slack.command(service.url, "a red fox")
    assert not slack.outcomes("C1").pictures
    async with serving(tmp_path, environ) as service:  # the courier finds the token by the job's address
        await until(lambda: not service.desk_is_busy())
    assert slack.outcomes("C1").pictures


async def test_the_page_says_what_to_type_and_is_safe(service: Service, slack: SlackServer, other: SlackServer) -> None:
    seen = await installed(service, slack, other)
    assert "imagine is installed in Other &amp; &lt;Sons&gt;." in seen.text
    assert "<code>/imagine " in seen.text
    policy = seen.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert seen.headers["Referrer-Policy"] == "no-referrer"
    assert seen.headers["Cache-Control"] == "no-store"


async def test_slack_is_asked_for_just_what_the_manifest_grants(service: Service, slack: SlackServer) -> None:
    asked = parse_qs(urlsplit(await Browser(service).ask()).query)
    assert asked["scope"][0].split(",") == list(slack_platform.SCOPES)
    await installed(service, slack)
    assert slack.scopes == slack.manifest_scopes


@pytest.mark.parametrize("typed", ["T1%26client_id%3D9.9%26redirect_uri%3Dhttps%3A%2F%2Fevil", "%E2%82%AC", "%0d%0aX-Evil:1"])
async def test_what_a_stranger_types_behind_our_door_never_gets_to_slack(typed: str, service: Service) -> None:
    seen = await Browser(service).open(f"/slack/install?team={typed}")
    assert seen.status == 302
    assert parse_qs(urlsplit(seen.headers["Location"]).query).keys() == {"state", "client_id", "scope"}
    assert "X-Evil" not in seen.headers


async def test_an_address_that_bolt_finds_in_the_environment_is_not_used(
    environ: dict[str, str], tmp_path: Path, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_REDIRECT_URI", "https://elsewhere.example.com/back")
    async with serving(tmp_path, environ) as service:
        await installed(service, slack)


async def test_the_page_speaks_the_browsers_language(service: Service, slack: SlackServer) -> None:
    browser = Browser(service, "de-AT,de;q=0.9")
    refused = await browser.come_back(slack.consent.cancel(await browser.ask()))
    assert '<html lang="de">' in refused.text
    assert "Du hast es nicht erlaubt" in refused.text


async def without_its_cookie(browser: Browser, address: str) -> Seen:
    browser.cookie = ""
    return await browser.come_back(address)


async def with_anothers_cookie(browser: Browser, address: str) -> Seen:
    await browser.ask()
    return await browser.come_back(address)


async def with_a_state_of_ones_own(browser: Browser, address: str) -> Seen:
    forged = re.sub("state=.", "state=x", address)
    browser.cookie = "slack-app-oauth-state=" + parse_qs(urlsplit(forged).query)["state"][0]
    return await browser.come_back(forged)


async def without_a_state(browser: Browser, address: str) -> Seen:
    return await browser.come_back(re.sub("&state=.*", "", address))


@pytest.mark.parametrize("way", [without_its_cookie, with_anothers_cookie, with_a_state_of_ones_own, without_a_state])
async def test_who_did_not_begin_here_installs_nothing(way: Any, service: Service, slack: SlackServer) -> None:
    browser = Browser(service)
    seen = await way(browser, slack.consent.allow(await browser.ask(), slack))
    assert seen.status == 400
    assert STALE in seen.text
    assert '<a href="/slack/install">Start again</a>' in seen.text
    assert not slack.calls


async def test_a_way_back_is_good_once(service: Service, slack: SlackServer) -> None:
    browser = Browser(service)
    address = slack.consent.allow(await browser.ask(), slack)
    seen = [await browser.come_back(address) for _ in range(2)]
    assert [(each.status, USED in each.text) for each in seen] == [(200, False), (400, True)]
    assert [call.answer for call in slack.calls] == ["ok", "code_already_used"]


async def test_strangers_at_the_door_and_on_the_way_back_write_nothing(service: Service, slack: SlackServer) -> None:
    browser, before = Browser(service), _written(service)
    state = parse_qs(urlsplit(await browser.ask()).query)["state"][0]
    for way in ({"state": state}, {"state": state, "code": "none"}, {"state": state, "error": "access_denied"}):
        assert (await browser.open(f"/slack/oauth_redirect?{urlencode(way)}")).status == 400
    assert _written(service) == before
    await installed(service, slack)
    assert _written(service) != before


def _written(service: Service) -> list[str]:
    with closing(sqlite3.connect(service.folder / "jobs.sqlite3")) as database:
        return list(database.iterdump())


async def test_a_way_back_is_not_good_for_long(service: Service, slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = Browser(service)
    monkeypatch.setattr("bot.slack_install.FRESH", -1)
    address = slack.consent.allow(await browser.ask(), slack)
    assert STALE in (await browser.come_back(address)).text
    assert not slack.calls


async def test_who_cancels_is_told_that_nothing_has_changed(service: Service, slack: SlackServer) -> None:
    browser = Browser(service)
    seen = await browser.come_back(slack.consent.cancel(await browser.ask()))
    assert "You have not allowed it, so nothing has changed." in seen.text
    assert "Start again" in seen.text


# What is wrong at Slack's, and what the admin reads.
TROUBLES: dict[str, tuple[Callable[[SlackServer], object], str]] = {
    "a code that was used": (lambda s: s.consent.spoil(used=True), USED),
    "a code that is old": (lambda s: s.consent.spoil(created=0.0), USED),
    "another secret": (
        lambda s: setattr(s.consent, "client_secret", "x"),
        "has to check SLACK_CLIENT_ID and SLACK_CLIENT_SECRET",
    ),
    "another app": (lambda s: setattr(s.consent, "client_id", "1.2"), "has to check SLACK_CLIENT_ID and SLACK_CLIENT_SECRET"),
    "tokens that expire": (lambda s: setattr(s.consent, "rotates", True), "make the app anew from its manifest"),
    "a Slack that is broken": (
        lambda s: s.faults.next("oauth.v2.access", Fault.SERVER_ERROR),
        "Slack does not answer just now.",
    ),
    "a Slack that hangs up": (lambda s: s.faults.next("oauth.v2.access", Fault.RESET), "Slack does not answer just now."),
    "a Slack that hangs": (lambda s: s.faults.next("oauth.v2.access", Fault.HANG), "Slack does not answer just now."),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_goes_wrong_at_slacks_is_a_sentence(
    trouble: str, service: Service, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_install.PATIENCE", 0.3)
    make, words = TROUBLES[trouble]
    browser = Browser(service)
    address = slack.consent.allow(await browser.ask(), slack)
    make(slack)
    seen = await browser.come_back(address)
    assert seen.status == 400
    assert words in seen.text
    assert '<a href="/slack/install">Start again</a>' in seen.text
    ack = await slack.command(service.url, "a red fox")
    assert ack.message
    assert NOT_INSTALLED in ack.message.plain


async def test_a_crowd_that_wants_in_takes_few_of_our_connections(
    slack: SlackServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.faults.next("oauth.v2.access", Fault.HANG, times=4)
    async with LocalStore(tmp_path) as store, aiohttp.ClientSession() as session:
        tokens = Tokens(store, given="", are_kept=True, session=session, api_url=slack.url)
        installing = slack_install.Installing(tokens, "1.2", "secret", slack_platform.SCOPES)
        crowd = [asyncio.create_task(installing.run_installation(str(code))) for code in range(4)]
        await until(lambda: len(slack.calls) == 4)
        monkeypatch.setattr("bot.slack_install.PATIENCE", 0.1)
        with pytest.raises(Told, match="Slack does not answer just now"):
            await installing.run_installation("5")
        assert len(slack.calls) == 4
        for task in crowd:
            task.cancel()
        with pytest.raises(Told, match="has to check SLACK_CLIENT_ID"):
            await installing.run_installation("6")


async def test_a_token_that_cannot_be_kept_is_no_installation(
    service: Service, slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(LocalStore, "remember", full)
    browser = Browser(service)
    seen = await browser.come_back(slack.consent.allow(await browser.ask(), slack))
    assert seen.status == 500
    assert "Something went wrong on my side, and it is in my log." in seen.text


async def test_no_secret_is_on_a_page_in_a_log_or_in_a_job(
    service: Service, slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    browser = Browser(service)
    address = slack.consent.allow(await browser.ask(), slack)
    [code] = slack.consent.codes
    pages = [await browser.come_back(address) for _ in range(2)]
    used = slack.consent.allow(await browser.ask(), slack).replace(list(slack.consent.codes)[-1], code)
    pages.append(await browser.come_back(used))
    assert USED in pages[-1].text
    message = await drawn(slack, service)
    await slack.click(service.url, message, "Delete")
    await until(lambda: not service.desk_is_busy())
    with closing(sqlite3.connect(service.folder / "jobs.sqlite3")) as database:
        jobs = str(database.execute("SELECT job, notes, outcome FROM jobs").fetchall())
    logged = [str(record.getMessage()) for record in caplog.records if record.name != "uvicorn.access"]  # which we keep off
    said = "".join([*(page.text + str(page.headers) for page in pages), *logged, jobs])
    assert [secret for secret in (code, slack.token, slack.consent.client_secret, slack.signing_secret) if secret in said] == []


async def test_a_workspace_that_removes_it_is_forgotten_and_may_come_back(
    service: Service, slack: SlackServer, other: SlackServer
) -> None:
    for workspace in (slack, other):
        await installed(service, slack, workspace)
    message, token = await drawn(slack, service), slack.token
    assert {ack.status for ack in await slack.uninstall(service.url)} == {200}
    with closing(sqlite3.connect(service.folder / "jobs.sqlite3")) as database:
        assert token not in str(database.execute("SELECT * FROM papers").fetchall())
    ack = await slack.command(service.url, "a blue fox")
    assert ack.message
    assert f"{NOT_INSTALLED} An admin of it can install me: {service.url}/slack/install" in ack.message.plain
    await slack.click(service.url, message, "Redraw")
    assert NOT_INSTALLED in slack.messages[-1].plain
    assert len(service.generator.drawn) == 1
    await drawn(other, service)
    await installed(service, slack)
    await drawn(slack, service)


async def test_news_of_a_removal_that_comes_late_removes_nothing(service: Service, slack: SlackServer) -> None:
    await installed(service, slack)
    token, before = slack.token, slack.clock
    slack.clock = lambda: before() - 60
    await slack.uninstall(service.url)
    slack.clock, slack.token_error = before, ""
    assert slack.token == token
    await drawn(slack, service)


async def test_a_person_whose_token_is_revoked_takes_nothing_from_the_others(service: Service, slack: SlackServer) -> None:
    await installed(service, slack)
    await slack.event(service.url, {"type": "tokens_revoked", "tokens": {"oauth": ["U1"], "bot": []}})
    await drawn(slack, service)


async def test_a_picture_on_its_way_when_it_is_removed_comes_by_link_and_says_why(
    environ: dict[str, str], tmp_path: Path, slack: SlackServer
) -> None:
    async with serving(tmp_path, environ, held_up=True) as service:
        await installed(service, slack)
        await slack.command(service.url, "a red fox")
        await slack.uninstall(service.url)
        service.generator.gate.set()
        await until(lambda: not service.desk_is_busy())
    assert "I am no longer installed in this workspace." in slack.messages[-1].plain


async def test_the_token_that_was_given_serves_its_own_workspace_and_no_other(
    environ: dict[str, str], tmp_path: Path, slack: SlackServer, other: SlackServer
) -> None:
    slack.token = environ["SLACK_BOT_TOKEN"] = "xoxb-given"
    async with serving(tmp_path, environ) as service:
        await drawn(slack, service)
        ack = await other.command(service.url, "a red fox")
        assert ack.message
        assert NOT_INSTALLED in ack.message.plain
        await drawn(slack, service)
        assert [call.method for call in slack.calls].count("auth.test") == 1
        await installed(service, slack, other)
        await drawn(other, service)


async def test_where_slack_does_not_say_whose_the_given_token_is_people_are_asked_to_wait(
    environ: dict[str, str], tmp_path: Path, slack: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    slack.token = environ["SLACK_BOT_TOKEN"] = "xoxb-given"
    slack.faults.next("auth.test", Fault.SERVER_ERROR)
    async with serving(tmp_path, environ) as service:
        ack = await slack.command(service.url, "a red fox")
        assert ack.message
        assert ack.message.plain == "I could not take that just now. Please try again in a moment."
        assert f"the token of {slack.team_id} was not found: Busy(" in caplog.text
        await drawn(slack, service)


@pytest.mark.parametrize("oauth", [{}, {"SLACK_CLIENT_ID": "", "SLACK_CLIENT_SECRET": ""}, {"SLACK_CLIENT_ID": "1.2"}])
async def test_without_both_variables_all_is_as_with_a_token_alone(
    oauth: dict[str, str], tmp_path: Path, slack: SlackServer, discord: DiscordServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in oauth.items():
        monkeypatch.setenv(name, value)
    async with serving(tmp_path, environment(slack, discord) | oauth) as service:
        for path in ("/slack/install", f"/slack/oauth_redirect?{urlencode({'code': '1', 'state': '2'})}"):
            assert (await Browser(service).open(path)).status == 404
        await drawn(slack, service)
    assert "auth.test" not in {call.method for call in slack.calls}


@pytest.mark.parametrize("name", ["SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET"])
def test_one_variable_alone_is_a_mistake_that_is_named(name: str, environ: dict[str, str]) -> None:
    platforms.check(environ)
    with pytest.raises(Told, match=f"Set {name} too, or neither"):
        platforms.check(environ | {name: ""})


def test_slack_is_on_without_a_token_where_it_can_be_installed(environ: dict[str, str]) -> None:
    assert platforms.states(environ)["slack"] == "on"
    assert platforms.states(environ | {"SLACK_CLIENT_ID": ""})["slack"] == "off: set SLACK_BOT_TOKEN"
    assert platforms.states(environ | {"SLACK_SIGNING_SECRET": ""})["slack"] == "off: set SLACK_SIGNING_SECRET"


def test_where_admins_are_sent_back_to_is_in_the_manifest() -> None:
    assert manifest.for_slack("https://imagine.example.com/")["oauth_config"]["redirect_urls"] == [
        f"https://imagine.example.com{slack_install.REDIRECT}"
    ]
