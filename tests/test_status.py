"""What is up, what waits, how long it took: of a bot on this machine, of one elsewhere, and of one on Modal."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import modal
import pytest
from aiohttp import web

from bot import deploy
from bot.errors import Told
from bot.request import Job, compose
from bot.status import of_jobs, of_server
from bot.store_local import LocalStore
from bot.store_modal import ModalStore
from tests.conftest import environment, serving, until
from tests.fakes.host import Host
from tests.fakes.modal import ModalServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bot.store import Store
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer

ROOT = Path(__file__).parent.parent
SECRETS = {"imagine-chat": dict.fromkeys(deploy.CHAT, "x")}
NOBODY = "http://127.0.0.1:9"


async def status(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run `imagine status …`; return how it ended, what it printed, and what it complained of in one line."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "status", *arguments),
        cwd=ROOT,
        env={**os.environ, "MODAL_TOKEN_ID": "", **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complained = await process.communicate()
    return process.returncode or 0, printed.decode(), " ".join(complained.decode().split())


async def test_a_bot_here_says_what_is_on_what_waits_and_what_took_how_long(service: Service, slack: SlackServer) -> None:
    await service.studio.load("sketch")
    for number in (1, 2):
        await slack.command(service.url, f"fox {number}")
    await until(lambda: len([m for m in slack.messages if m.pictures]) and not service.desk_is_busy())
    ended, printed, _ = await status("--url", service.url, IMAGINE_HOME=str(service.folder))
    assert ended == 0
    up, *lines = printed.splitlines()
    assert up.startswith(f"{service.url} is up, version ")
    assert {"slack     on", "discord   on", "page      on", "model     sketch, loaded"} <= set(lines)
    assert {"queue     0 drawing, 0 waiting", "Jobs under way: 0."} <= set(lines)
    assert re.fullmatch(r"The last 2 took \d+\.\d s each, .*; the slowest \d+\.\d s\.", lines[-1])


async def test_jobs_that_nobody_has_drawn_yet_are_counted(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> None:
    async with serving(tmp_path, environment(slack, discord), held_up=True) as service:
        for number in range(3):
            await slack.command(service.url, f"fox {number}", user=f"U{number}")
        await until(lambda: service.studio.turns.waiting == 2)
        _, printed, _ = await status("--url", service.url, IMAGINE_HOME=str(tmp_path))
        service.generator.gate.set()
        await until(lambda: not service.desk_is_busy())
    assert "queue     1 drawing, 2 waiting\n" in printed
    assert "Jobs under way: 3.\n" in printed
    assert "took" not in printed


async def test_a_bot_that_keeps_its_jobs_elsewhere_is_told_of_all_the_same(service: Service, tmp_path: Path) -> None:
    ended, printed, _ = await status("--url", service.url, IMAGINE_HOME=str(tmp_path / "hoem"))
    up, *_, jobs = printed.splitlines()
    assert (ended, up.startswith(f"{service.url} is up")) == (0, True)
    assert jobs.startswith(f"No bot has kept anything in {tmp_path / 'hoem'}.")
    assert not (tmp_path / "hoem").exists()


async def test_jobs_that_ended_before_they_began_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([5000.0, 1400.0, 1500.0, 1502.0])
    async with LocalStore(tmp_path) as store:
        with monkeypatch.context() as clock:
            clock.setattr("bot.store_local.time.time", lambda: next(times))
            for number in range(2):
                await finished(store, number)
        assert (await of_jobs(store))[1:] == ["The last 1 took 2.0 s each, from the command to the outcome; the slowest 2.0 s."]


@pytest.mark.parametrize("arguments", [("--url", NOBODY), ("--url", "nonsense")])
async def test_where_no_bot_answers_it_says_what_to_do(arguments: tuple[str, ...], tmp_path: Path) -> None:
    ended, printed, complained = await status(*arguments, IMAGINE_HOME=str(tmp_path))
    assert (ended, printed) == (2, "")
    assert complained.startswith(f"No bot answers at {arguments[-1]}. `imagine serve` starts one here;")


@pytest.mark.parametrize(
    "health",
    [
        *(b"<html>", b"[]", b"[" * 100_000, b'{"ok": true}', b"1", b'{"platforms": 1, "version": 1}', b"Gr\xf6\xdfe"),
        *(b'{"platforms": {}, "version": 1, "%s": "x"}' % part for part in (b"model", b"queue")),
        b'{"platforms": {}, "version": 1, "models": 5}',
    ],
)
async def test_somebody_else_who_answers_is_not_taken_for_the_bot(health: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=health, content_type="text/html", charset="utf-8")

    host = Host([web.get("/health", answer)])
    try:
        with pytest.raises(Told, match="is not the bot"):
            await of_server(await host.start())
    finally:
        await host.stop()


async def finished(store: Store, number: int) -> None:
    """Have a job begin and end."""
    request = compose("a fox", model="sketch", seed=number)
    job = await store.claim(
        Job(claim=f"slack:T1:{number}", request=request, platform="slack", person="slack:T1:U1", reply_to={})
    )
    await store.finish(job.id, "posted")


async def on_modal(server: ModalServer, home: Path, *, token: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    return await status("--modal", **(server.environment(home) | dict(token or {})))


async def test_a_bot_on_modal_says_which_containers_are_up(tmp_path: Path) -> None:
    async with ModalServer(SECRETS) as server, server.client() as client:
        assert (await server.cli("deploy", "-m", "bot", cwd=ROOT, home=tmp_path))[0] == 0
        server.stats = {"web": (1, 0), "Courier.*": (2, 5), "Generator.* sdxl": (3, 7)}
        jobs, waiting, wakes = (
            modal.Dict.from_name(f"imagine-{name}", create_if_missing=True, client=client)
            for name in ("jobs", "waiting", "wakes")
        )
        for number in range(3):
            await finished(ModalStore(jobs, None, waiting, None), number)
        await wakes.put.aio("sdxl", 41.2)
        ended, printed, _ = await on_modal(server, tmp_path)
    rows = {name: about for name, *about in map(str.split, printed.splitlines())}
    assert ended == 0
    assert rows["web"] == ["1", "0"]
    assert rows["courier"] == ["2", "5"]
    assert rows["sdxl"] == ["3", "7", "41", "s"]
    assert all(rows[model] == ["0", "0"] for model in deploy.OFFERED if model != "sdxl")
    assert "Jobs under way: 0.\nThe last 3 took " in printed


async def test_where_nothing_is_deployed_it_says_what_to_do(tmp_path: Path) -> None:
    async with ModalServer(SECRETS) as server:
        ended, _, complained = await on_modal(server, tmp_path)
    assert ended == 2
    assert complained.endswith("Has `modal deploy -m bot` been run?")


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ({"MODAL_TOKEN_ID": ""}, "Modal does not know who asks. `modal token new` makes a token"),
        ({"MODAL_TOKEN_ID": "ak-other"}, "Modal does not know who asks. `modal token new` makes a token"),
        ({"MODAL_SERVER_URL": NOBODY}, "Modal does not answer."),
    ],
)
async def test_where_modal_cannot_be_asked_it_says_why(tmp_path: Path, token: dict[str, str], sentence: str) -> None:
    async with ModalServer(SECRETS) as server:
        ended, _, complained = await on_modal(server, tmp_path, token=token)
    assert ended == 2
    assert complained.startswith(sentence)
