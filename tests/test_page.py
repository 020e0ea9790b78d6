"""The chat page, as its script talks to the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.conftest import environment, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def say(browser: aiohttp.ClientSession, service: Service, text: str, claim: str = "claim-0001") -> dict[str, Any]:
    typed = {"text": text, "claim": claim, "person": "person-0001"}
    async with browser.post(f"{service.url}/page/imagine", json=typed) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def watch(browser: aiohttp.ClientSession, service: Service, job: str) -> list[dict[str, Any]]:
    async with browser.get(f"{service.url}/page/jobs/{job}") as response:
        assert response.content_type == "text/event-stream"
        lines = (await response.text()).splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


async def test_the_page_is_served_and_lets_nothing_else_run(browser: aiohttp.ClientSession, service: Service) -> None:
    async with browser.get(f"{service.url}/") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "/imagine" in await response.text()


@pytest.mark.parametrize("text", ["/imagine a red fox --seed 7", "a red fox --seed 7"])
async def test_a_command_is_acknowledged_then_drawn_step_by_step(
    text: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    service.generator.gate.clear()
    answer = await say(browser, service, text)
    assert answer["prompt"] == "a red fox"
    assert "seed 7" in answer["settings"]
    service.generator.step_seconds = 0.02
    service.generator.gate.set()
    *events, last = await watch(browser, service, answer["job"])
    done = [event["done"] for event in events if event["status"].startswith("step ")]
    assert done == sorted(done)
    assert len(done) >= 3
    [picture] = last["pictures"]
    assert picture["seed"] == 7
    async with browser.get(service.url + picture["src"]) as response:
        assert (await response.read()).startswith(b"\x89PNG")
        assert response.content_type == "image/png"


async def test_a_page_that_was_reloaded_sees_the_same(browser: aiohttp.ClientSession, service: Service) -> None:
    answer = await say(browser, service, "a red fox --n 2")
    *_, first = await watch(browser, service, answer["job"])
    assert await watch(browser, service, answer["job"]) == [first]


async def test_after_a_restart_the_page_sees_the_same(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer, browser: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, environment(slack, discord)) as service:
        answer = await say(browser, service, "a red fox")
        *_, first = await watch(browser, service, answer["job"])
    async with serving(tmp_path, environment(slack, discord)) as service:
        assert await watch(browser, service, answer["job"]) == [first]


async def test_a_command_that_is_sent_again_is_drawn_once(browser: aiohttp.ClientSession, service: Service) -> None:
    assert await say(browser, service, "a red fox") == await say(browser, service, "a red fox")
    await until(lambda: not service.desk_is_busy())
    assert len(service.generator.drawn) == 1


async def test_what_cannot_be_drawn_is_told(browser: aiohttp.ClientSession, service: Service) -> None:
    assert await say(browser, service, "a fox --sede 7") == {"told": "I don't know --sede. Did you mean --seed?"}
    assert "sketch" in (await say(browser, service, "/imagine"))["told"]


async def test_a_drawing_that_fails_is_explained(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.fails = RuntimeError("no luck")
    answer = await say(browser, service, "a red fox")
    *_, last = await watch(browser, service, answer["job"])
    assert "Something went wrong on my side" in last["reason"]


async def test_a_job_that_is_not_there_ends_at_once(browser: aiohttp.ClientSession, service: Service) -> None:
    [only] = await watch(browser, service, "0" * 24)
    assert "no such drawing" in only["reason"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"text": "a fox", "claim": "claim-0001", "person": "person-0001"}', "text/plain"),  # what a form may send
        (b'{"text": "a fox"}', "application/json"),
        (b'{"text": "' + b"x" * 7000 + b'", "claim": "claim-0001", "person": "person-0001"}', "application/json"),
        (b"not JSON", "application/json"),
        (b'{"text": "a fox", "claim": "claim-\\ud800-0001", "person": "person-0001"}', "application/json"),
    ],
)
async def test_other_sites_and_nonsense_are_refused(
    body: bytes, kind: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    async with browser.post(f"{service.url}/page/imagine", data=body, headers={"Content-Type": kind}) as response:
        assert (response.status, await response.read()) == (422, b"")
    assert not service.desk_is_busy()


@pytest.mark.parametrize("host", ["evil.example", "imagine.example.com:8000"])
async def test_the_page_is_only_for_those_who_call_this_machine_by_its_address(
    host: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    typed = {"text": "a fox", "claim": "claim-0001", "person": "person-0001"}
    async with browser.post(f"{service.url}/page/imagine", json=typed, headers={"Host": host}) as response:
        assert response.status == 404
    async with browser.get(service.url, headers={"Host": host}) as response:
        assert response.status == 404
    assert not service.desk_is_busy()


async def test_other_platforms_jobs_end_here_too(browser: aiohttp.ClientSession, service: Service, slack: SlackServer) -> None:
    await slack.command(service.url, "a fox")
    await until(lambda: not service.desk_is_busy())
    [folder] = service.folder.glob("pictures/*")
    [only] = await watch(browser, service, folder.name)
    assert "not on this page" in only["reason"]
