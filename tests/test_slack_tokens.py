"""Whose token opens which workspace, over any store: `LocalStore`, and `ModalStore` over Modal's own client."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import modal
import pytest
from slack_sdk.oauth.installation_store.models.installation import Installation

from bot.errors import Busy, Refused
from bot.slack_reply import sent
from bot.slack_tokens import Tokens
from bot.store_local import LocalStore
from bot.store_modal import ModalStore
from tests.conftest import until
from tests.fakes.modal import ModalServer
from tests.fakes.slack import SlackServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bot.store import Store

NOWHERE = "http://127.0.0.1:9/api/"  # where nobody answers
MINUTE = 60  # seconds


@pytest.fixture(params=["local", "modal"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "local":
        async with LocalStore(tmp_path) as local:
            yield local
        return
    async with ModalServer() as server, server.client() as client:
        yield ModalStore(modal.Dict.from_name("jobs", create_if_missing=True, client=client), None, None, None)


@asynccontextmanager
async def process(store: Store, given: str = "", api_url: str = NOWHERE) -> AsyncIterator[Tokens]:
    """Be one of several processes, each of which knows what it has looked up."""
    async with aiohttp.ClientSession() as session:
        yield Tokens(store, given=given, are_kept=True, session=session, api_url=api_url)


class SlowSlack(SlackServer):
    """A Slack that answers when it is let."""

    def __init__(self, **world: Any) -> None:
        super().__init__(**world)
        self.gate = asyncio.Event()

    async def _dispatch(self, *call: Any, **about: Any) -> dict[str, Any]:
        await self.gate.wait()
        return await super()._dispatch(*call, **about)


def installation(token: str, team: str = "T1", **about: Any) -> Installation:
    return Installation(team_id=team, bot_token=token, user_id="U1", **about)


async def test_what_one_process_saves_another_finds(store: Store) -> None:
    async with process(store) as web, process(store) as courier:
        await web.async_save(installation("xoxb-1"))
        await web.async_save(installation("xoxb-2", "T2"))
        await web.async_save(installation("xoxb-all", "T3", enterprise_id="E1", is_enterprise_install=True))
        assert [await courier.of(team) for team in ("T1", "T2", "T3", "E1")] == ["xoxb-1", "xoxb-2", None, "xoxb-all"]


async def test_a_workspace_that_installs_it_again_has_its_new_token(store: Store) -> None:
    async with process(store) as web:
        for token in ("xoxb-1", "xoxb-2"):
            await web.async_save(installation(token))
            assert await web.of("T1") == token


async def test_what_is_known_serves_at_once_and_is_looked_up_again_each_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.monotonic
    async with process(store) as web, process(store) as courier:
        for team in ("T1", "T2"):
            await web.async_save(installation(f"xoxb-old-{team}", team, installed_at=1000.0))
            await courier.of(team)
        await web.async_save(installation("xoxb-new-T1"))
        await web.forget("T2", 1000)
        monkeypatch.setattr("bot.slack_tokens.time.monotonic", lambda: clock() + MINUTE - 10)
        assert [await courier.of(team) for team in ("T1", "T2")] == ["xoxb-old-T1", "xoxb-old-T2"]
        assert not courier._renewing
        monkeypatch.setattr("bot.slack_tokens.time.monotonic", lambda: clock() + 2 * MINUTE)
        assert [await courier.of(team) for team in ("T1", "T2")] == ["xoxb-old-T1", "xoxb-old-T2"]
        await until(lambda: not courier._renewing)
        assert [await courier.of(team) for team in ("T1", "T2")] == ["xoxb-new-T1", None]


async def test_a_store_that_is_away_shuts_nobody_out_whose_token_is_known(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = time.monotonic

    async def away(*_: object) -> None:
        raise OSError("away")

    async with process(store) as web:
        await web.async_save(installation("xoxb-1"))
        monkeypatch.setattr(store, "recall", away)
        monkeypatch.setattr("bot.slack_tokens.time.monotonic", lambda: clock() + 2 * MINUTE)
        for _ in range(2):
            assert await web.of("T1") == "xoxb-1"
            await until(lambda: not web._renewing)
        with pytest.raises(OSError, match="away"):
            await web.of("T2")
    assert "the token of T1 was not looked up again: OSError('away')" in caplog.text


async def test_a_workspace_that_was_not_there_is_looked_for_each_time(store: Store) -> None:
    async with process(store) as web, process(store) as courier:
        assert await courier.of("T1") is None
        await web.async_save(installation("xoxb-1"))
        assert await courier.of("T1") == "xoxb-1"


async def test_where_one_token_was_given_and_none_are_kept_nobody_is_asked() -> None:
    nobody: Any = None
    tokens = Tokens(nobody, given="xoxb-given", are_kept=False, session=nobody, api_url=NOWHERE)
    assert [await tokens.of(team) for team in ("T1", "T2", "E1")] == ["xoxb-given"] * 3


async def test_a_slow_slack_is_asked_once_whose_the_given_token_is_however_many_give_up(store: Store) -> None:
    async with SlowSlack(team_id="T1", token="xoxb-given") as slack, process(store, "xoxb-given", slack.url) as web:
        for _ in range(3):
            waiting = asyncio.create_task(web.of("T1"))
            await until(lambda: slack.calls)
            waiting.cancel()
        both = asyncio.gather(web.of("T1"), web.of("T2"))
        slack.gate.set()
        assert list(await both) == ["xoxb-given", None]
        assert [call.method for call in slack.calls] == ["auth.test"]


async def test_a_given_token_that_slack_refuses_is_asked_about_once_a_minute(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    async with SlackServer(team_id="T1", token="xoxb-given") as slack, process(store, "xoxb-given", slack.url) as web:
        slack.token_error = "account_inactive"
        assert [await web.of(team) for team in ("T1", "T2", "T1")] == [None] * 3
        assert [call.method for call in slack.calls] == ["auth.test"]
        slack.token_error = ""
        monkeypatch.setattr("bot.slack_tokens.time.monotonic", lambda: now + 2 * MINUTE)
        assert await web.of("T1") == "xoxb-given"


async def test_a_token_that_was_replaced_elsewhere_is_looked_up_when_slack_refuses_the_old_one(store: Store) -> None:
    async with SlackServer(team_id="T1") as slack, process(store, api_url=slack.url) as web, process(store) as other:
        for slack.token in ("xoxb-1", "xoxb-2"):
            await other.async_save(installation(slack.token))
            await sent(web.client("T1").auth_test())
        assert [call.answer for call in slack.calls] == ["ok", "invalid_auth", "ok"]
        assert await web.of("T1") == "xoxb-2"


@pytest.mark.parametrize("error", ["account_inactive", "token_revoked"])
async def test_a_token_that_is_dead_is_tried_once_and_another_one_too(error: str, store: Store) -> None:
    async with SlackServer(team_id="T1") as slack, process(store, api_url=slack.url) as web, process(store) as other:
        for token in ("xoxb-1", "xoxb-2"):
            slack.token, slack.token_error = "xoxb-2", error
            await web.of("T1")
            await other.async_save(installation(token))
            with pytest.raises(Refused):
                await sent(web.client("T1").auth_test())
        assert [call.answer for call in slack.calls] == ["invalid_auth", "invalid_auth", error]
        slack.token_error = ""
        await sent(web.client("T1").auth_test())


async def test_the_given_token_serves_where_the_kept_one_is_dead(store: Store) -> None:
    async with (
        SlackServer(team_id="T1", token="xoxb-given") as slack,
        process(store, "xoxb-given", slack.url) as web,
    ):
        await web.async_save(installation("xoxb-dead"))
        for _ in range(2):
            await sent(web.client("T1").users_info(user="U1"))
        assert [call.answer for call in slack.calls if call.method == "users.info"] == ["invalid_auth", "ok", "ok"]


async def test_who_has_removed_us_is_known_as_such_when_slack_refuses_their_token(store: Store) -> None:
    async with SlackServer(team_id="T1", token="xoxb-1") as slack, process(store, api_url=slack.url) as web:
        await web.async_save(installation("xoxb-1", installed_at=1000.0))
        async with process(store) as other:
            await other.forget("T1", 1000)
        assert await web.of("T1") == "xoxb-1"
        slack.token_error = "account_inactive"
        with pytest.raises(Refused, match="account_inactive"):
            await sent(web.client("T1").auth_test())
        assert await web.of("T1") is None


async def test_what_is_forgotten_is_gone_for_all_but_what_is_newer_stays(store: Store) -> None:
    async with process(store) as web:
        await web.async_save(installation("xoxb-1", installed_at=1000.0))
        await web.forget("T1", 999)
        assert await web.of("T1") == "xoxb-1"
        await web.forget("T1", 1000)
        await web.forget("T1", 1000)
        async with process(store) as courier:
            assert [await web.of("T1"), await courier.of("T1")] == [None, None]


async def test_a_call_without_a_token_is_refused_and_one_that_cannot_know_is_tried_again(store: Store) -> None:
    async with process(store) as courier, process(store, given="xoxb-given") as unsure:
        with pytest.raises(Refused, match="not_installed"):
            await sent(courier.client("T1").auth_test())
        with pytest.raises(Busy, match="the token was not found"):
            await sent(unsure.client("T1").auth_test())
