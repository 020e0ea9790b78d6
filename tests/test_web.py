"""The doors, as strangers find them: every bad request gets a bare 4xx, and nothing is queued."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.conftest import serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer

FORM = (
    "token=x&team_id=T0TEAM&team_domain=team&channel_id=C1&channel_name=general&user_id=U1&user_name=ada&command=%2Fimagine"
    "&text=a+fox&api_app_id=A0APP&is_enterprise_install=false&response_url=http%3A%2F%2F127.0.0.1%3A1%2Fx&trigger_id=1.2.3"
)
INTERACTION = json.dumps(
    {
        "id": "1573585148060893189",
        "application_id": "1100000000000000001",
        "type": 2,
        "token": "abc",
        "version": 1,
        "attachment_size_limit": 10485760,
        "channel_id": "1573585147561771011",
        "user": {"id": "1573585147561771010", "username": "ada", "discriminator": "0", "avatar": None, "global_name": None},
        "data": {"id": "1", "name": "imagine", "type": 1, "options": [{"name": "prompt", "type": 3, "value": "a fox"}]},
    }
)
FORM_TYPE = "application/x-www-form-urlencoded"


class Door:
    """One platform's door: how its requests are signed, and how to knock."""

    def __init__(self, url: str, body: str, sign: Callable[..., dict[str, str]], session: aiohttp.ClientSession) -> None:
        self.url, self.body, self.sign, self._session = url, body.encode(), sign, session

    async def knock(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        async with self._session.post(self.url, data=body, headers=dict(headers)) as response:
            return response.status, await response.read()


@pytest.fixture(params=["slack", "discord"])
async def door(
    request: pytest.FixtureRequest, service: Service, slack: SlackServer, discord: DiscordServer
) -> AsyncIterator[Door]:
    async with aiohttp.ClientSession() as session:
        if request.param == "slack":
            yield Door(f"{service.url}/slack/events", FORM, slack.sign, session)
        else:
            yield Door(f"{service.url}/discord/interactions", INTERACTION, discord.sign, session)


def nothing_queued(service: Service) -> bool:
    return not service.generator.drawn and not service.studio.turns.waiting and not service.studio.turns.serving


STRANGERS: dict[str, Callable[[Door], tuple[bytes, Mapping[str, str]]]] = {
    "unsigned": lambda door: (door.body, {"Content-Type": FORM_TYPE}),
    "forged": lambda door: (door.body + b"&n=9", door.sign(door.body)),
    "signed for another body": lambda door: (door.body, door.sign(b"{}")),
    "stale": lambda door: (door.body, door.sign(door.body, time.time() - 301)),
    "from the future": lambda door: (door.body, door.sign(door.body, time.time() + 301)),
    "truncated": lambda door: (door.body[:40], door.sign(door.body)),
    "no number for a time": lambda door: (door.body, door.sign(door.body, "yesterday")),
    "an empty time": lambda door: (door.body, door.sign(door.body, "")),
    "a time of digits of another script": lambda door: (door.body, _timed(door, "١٧")),
    "a time of many digits": lambda door: (door.body, _timed(door, "9" * 5000)),
    "not UTF-8": lambda door: (b"\xff\xfe\xfd", door.sign(door.body)),
    "a signature that is no hex": lambda door: (door.body, _signed(door, "zz")),
    "a signature that is no ASCII": lambda door: (door.body, _signed(door, "v0=\xe9")),
    "an empty body": lambda door: (b"", door.sign(door.body)),
}


def _timed(door: Door, value: str) -> dict[str, str]:
    return {name: value if "Timestamp" in name else old for name, old in door.sign(door.body).items()}


def _signed(door: Door, value: str) -> dict[str, str]:
    return {
        name: value if "Signature" in name and "Timestamp" not in name else old for name, old in door.sign(door.body).items()
    }


@pytest.mark.parametrize("kind", STRANGERS)
async def test_strangers_get_a_bare_401(kind: str, door: Door, service: Service) -> None:
    body, headers = STRANGERS[kind](door)
    assert await door.knock(body, headers) == (401, b"")
    assert nothing_queued(service)


SIGNED_BUT_WRONG: dict[str, tuple[Callable[[Door], bytes], dict[str, str], set[int]]] = {
    "oversized": (lambda _: b"x" * 1_000_001, {}, {413}),
    "of another type": (lambda door: door.body, {"Content-Type": "text/plain"}, {415}),
    "empty": (lambda _: b"", {}, {400, 404}),
    "not UTF-8": (lambda _: b"\xff\xfe\xfd", {}, {400, 401}),
    "JSON that is no object": (lambda _: b"[1, 2]", {}, {400, 404}),
    "an unknown type": (lambda _: b'{"type": 99, "id": "1", "token": "x"}', {}, {400, 404}),
    "a field short": (lambda door: door.body.replace(b"trigger_id", b"trigger").replace(b'"token"', b'"t"'), {}, {400}),
}


@pytest.mark.parametrize("kind", SIGNED_BUT_WRONG)
async def test_signed_nonsense_gets_a_4xx_and_queues_nothing(kind: str, door: Door, service: Service) -> None:
    make, changes, expected = SIGNED_BUT_WRONG[kind]
    body = make(door)
    try:
        headers = door.sign(body)
    except UnicodeDecodeError:
        headers = door.sign("")
    status, _ = await door.knock(body, headers | changes)
    assert status in expected
    assert nothing_queued(service)


async def test_a_chunked_body_without_end_is_cut_off(door: Door, service: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b"x" * 10_000

    async with aiohttp.ClientSession() as session, session.post(door.url, data=endless(), headers=door.sign("x")) as response:
        assert response.status == 413
    assert nothing_queued(service)


async def test_a_request_sent_again_in_time_is_answered_alike_and_draws_once(
    service: Service, slack: SlackServer, discord: DiscordServer
) -> None:
    acks = await asyncio.gather(*(slack.command(service.url, "a fox", trigger_id="1.T.same") for _ in range(10)))
    answers = await asyncio.gather(
        *(discord.imagine(service.url, {"prompt": "a fox"}, interaction_id="1573585148060893189") for _ in range(10))
    )
    assert len({json.dumps(ack.body) for ack in acks}) == 1
    assert len({json.dumps(answer.body) for answer in answers}) == 1
    await until(lambda: slack.outcomes("C1").pictures and any(m.pictures for m in discord.messages))
    assert len(service.generator.drawn) == 2


async def test_health_tells_what_is_on(service: Service) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{service.url}/health") as response:
        told: dict[str, Any] = await response.json()
    assert response.status == 200
    assert told["platforms"] == {"page": "on", "slack": "on", "discord": "on"}
    assert told["queue"] == {"waiting": 0, "drawing": 0}
    assert told["model"] == {"name": "sketch", "loaded": True}


async def test_a_platform_without_secrets_is_off_and_says_so(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with (
        serving(tmp_path, {"SLACK_SIGNING_SECRET": "x"}) as service,
        aiohttp.ClientSession() as session,
        session.get(f"{service.url}/health") as health,
        session.post(f"{service.url}/slack/events", data=FORM) as slack,
        session.post(f"{service.url}/discord/interactions", data=INTERACTION) as discord,
    ):
        platforms = (await health.json())["platforms"]
        assert platforms["slack"] == "off: set SLACK_BOT_TOKEN"
        assert platforms["discord"].startswith("off: set DISCORD_PUBLIC_KEY")
        assert (slack.status, discord.status) == (404, 404)
    assert "slack is off: set SLACK_BOT_TOKEN" in caplog.text


@pytest.mark.parametrize(
    "path", ["/pictures/x/0.png", "/pictures/../jobs.sqlite3/0.png", "/pictures/%2e%2e/0.png", "/nothing", "/docs"]
)
async def test_what_is_not_there_is_not_found(path: str, service: Service) -> None:
    async with aiohttp.ClientSession() as session, session.get(service.url + path) as response:
        assert response.status == 404


@pytest.mark.parametrize("index", ["1", "-1", "9" * 300])
async def test_a_picture_that_a_job_does_not_have_is_not_found(index: str, service: Service, slack: SlackServer) -> None:
    await slack.command(service.url, "a fox")
    await until(lambda: not service.desk_is_busy())
    [kept] = service.folder.glob("pictures/*/0.png")
    async with aiohttp.ClientSession() as session:
        for name, status in (("0", 200), (index, 404)):
            async with session.get(f"{service.url}/pictures/{kept.parent.name}/{name}.png") as response:
                assert response.status == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/slack/events", "/discord/interactions"])
async def test_other_methods_are_refused(method: str, path: str, service: Service) -> None:
    async with aiohttp.ClientSession() as session, session.request(method, service.url + path) as response:
        assert response.status == 405
