"""The servers that play Slack and Discord are strict and true, seen through the platforms' own client libraries."""

import asyncio
import io
import json
import struct
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

import aiohttp
import discord as library
import pytest
from aiohttp import web
from nacl.signing import VerifyKey
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler, AsyncServerErrorRetryHandler
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.conftest import until
from tests.fakes import schemas
from tests.fakes.discord import DiscordServer
from tests.fakes.discord_forms import prefilled
from tests.fakes.discord_routes import ROUTES
from tests.fakes.discord_world import Access, ChannelType, State
from tests.fakes.faults import Fault, Faults
from tests.fakes.slack import SlackServer

App = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]
with_schemas = pytest.mark.skipif(bool(schemas.missing()), reason=schemas.missing() or "")


def _png(shade: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes([0, shade]))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


PNG = _png()


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def client(slack: SlackServer, http: aiohttp.ClientSession) -> AsyncWebClient:
    return AsyncWebClient(slack.token, base_url=slack.url, session=http, retry_handlers=[])


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Serve one handler at every address, as the service under test would."""
    runners = []

    async def serve(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


def _image(file: str, **more: Any) -> dict[str, Any]:
    return {"type": "image", "alt_text": "a fox", "slack_file": {"id": file}, **more}


def _section(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def _button(label: str = "Again", **more: Any) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": label}, "action_id": "again", "value": "7", **more}


async def _upload(client: AsyncWebClient, content: bytes = PNG, **about: Any) -> str:
    started = await client.files_getUploadURLExternal(filename="fox.png", length=len(content), **about)
    assert client.session
    async with client.session.post(started["upload_url"], data=content) as response:
        assert (await response.text()).startswith("OK")
    return str(started["file_id"])


async def _share(client: AsyncWebClient, channel: str | None = "C1", **about: Any) -> str:
    file = await _upload(client)
    await client.files_completeUploadExternal(files=[{"id": file, "title": "fox"}], channel_id=channel, **about)
    return file


async def _processed(client: AsyncWebClient, file: str) -> None:
    while not (await client.files_info(file=file))["file"]["mimetype"]:
        pass


async def _error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


# Faults


def test_random_faults_repeat_with_their_seed() -> None:
    def sequence(seed: int) -> list[Fault | None]:
        faults = Faults()
        faults.random(rate=0.3, seed=seed)
        return [faults.draw("x") for _ in range(200)]

    assert sequence(7) == sequence(7) != sequence(8)
    assert set(sequence(7)) == {None, *Fault}


def test_scripted_faults_come_in_order_and_only_where_they_were_asked_for() -> None:
    faults = Faults()
    faults.next("a", Fault.RESET)
    faults.next("a", Fault.HANG, times=2)
    assert [faults.draw("b"), *(faults.draw("a") for _ in range(4))] == [
        None,
        Fault.RESET,
        Fault.HANG,
        Fault.HANG,
        None,
    ]
    faults.next("*", Fault.RESET)
    assert faults.draw("anything") is Fault.RESET


@pytest.mark.parametrize(
    ("fault", "error", "posted"),
    [
        (Fault.RATE_LIMITED, SlackApiError, 0),
        (Fault.SERVER_ERROR, SlackApiError, 0),
        (Fault.RESET, aiohttp.ClientOSError, 0),
        (Fault.LOST_ANSWER, aiohttp.ClientOSError, 1),
        (Fault.HANG, asyncio.CancelledError, 0),
        (Fault.HANG_AFTER, asyncio.CancelledError, 1),
    ],
)
async def test_slack_fails_as_told(
    slack: SlackServer, client: AsyncWebClient, fault: Fault, error: type[BaseException], posted: int
) -> None:
    slack.faults.next("chat.postMessage", fault)
    with pytest.raises(error):
        await _given_up(client.chat_postMessage(channel="C1", text="hello"), slack.faults, posted, slack.messages)
    assert len(slack.messages) == posted
    assert slack.calls[-1].fault is fault
    await client.chat_postMessage(channel="C1", text="hello")
    assert slack.calls[-1].answer == "ok"


async def test_slacks_own_retry_handlers_get_over_faults(slack: SlackServer, client: AsyncWebClient) -> None:
    client.retry_handlers += [AsyncRateLimitErrorRetryHandler(), AsyncServerErrorRetryHandler()]
    slack.faults.next("chat.postMessage", Fault.RATE_LIMITED)
    await client.chat_postMessage(channel="C1", text="hello")
    assert [call.fault for call in slack.calls] == [Fault.RATE_LIMITED, None]


async def test_closes_quickly_on_clients_left_hanging() -> None:
    async with SlackServer() as slack:
        slack.faults.next("*", Fault.HANG, times=20)
        client = AsyncWebClient(slack.token, base_url=slack.url, retry_handlers=[])
        waiting = [asyncio.ensure_future(client.auth_test()) for _ in range(20)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
    assert time.monotonic() - started < 0.5
    assert all(isinstance(r, aiohttp.ClientError) for r in await asyncio.gather(*waiting, return_exceptions=True))


# Slack


async def test_posts_edits_and_deletes(slack: SlackServer, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C1", text="Drawing a &lt;fox&gt; &amp; a hare"))["ts"]
    await client.chat_update(channel="C1", ts=ts, text="Done", blocks=[_section("Done"), _actions()])
    (message,) = slack.messages
    assert (message.plain, message.edits[0].text, message.buttons[0]["value"]) == ("Done", "Done", "7")
    await client.chat_update(channel="C1", ts=ts, text="Gone")
    assert not message.blocks  # text without blocks takes the blocks away
    await client.chat_delete(channel="C1", ts=ts)
    assert message.deleted
    assert slack.outcomes().words == []
    assert [(c.method, c.channel, c.ts) for c in slack.calls[1:3]] == [("chat.update", "C1", ts)] * 2
    assert not slack.violations


def _actions(*buttons: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(buttons) or [_button()]}


async def test_plain_is_what_a_reader_sees(slack: SlackServer, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel="C1", text="Drawing a &lt;fox&gt; &amp; a hare")
    assert slack.messages[0].plain == "Drawing a <fox> & a hare"


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("<!channel> and <@U1|ada> and <!subteam^S1>", ["<!channel>", "<@U1>", "<!subteam^S1>"]),
        ("&lt;!channel&gt; @here", []),
        ("<!here|here> <!everyone>", ["<!here>", "<!everyone>"]),
    ],
)
async def test_notes_whom_a_slack_message_calls(
    slack: SlackServer, client: AsyncWebClient, text: str, called: list[str]
) -> None:
    await client.chat_postMessage(channel="C1", text=text)
    await client.chat_postMessage(channel="C1", text="-", blocks=[_section(text)])
    assert [m.pings for m in slack.messages] == [called, called]


@pytest.mark.parametrize(
    ("channel", "error"),
    [
        ("C2", "not_in_channel"),
        ("G2", "channel_not_found"),
        ("D2", "channel_not_found"),
        ("C404", "channel_not_found"),
        ("C9", "is_archived"),
    ],
)
async def test_refuses_channels_the_bot_cannot_post_to(
    slack: SlackServer, client: AsyncWebClient, channel: str, error: str
) -> None:
    assert await _error(client.chat_postMessage(channel=channel, text="hello")) == error
    file = await _upload(client)
    assert await _error(client.files_completeUploadExternal(files=[{"id": file}], channel_id=channel)) == error
    assert not slack.messages
    assert not slack.violations


async def test_joins_public_channels_only(slack: SlackServer, client: AsyncWebClient) -> None:
    await client.conversations_join(channel="C2")
    await client.chat_postMessage(channel="C2", text="hello")
    errors = [await _error(client.conversations_join(channel=id_)) for id_ in ("G1", "D1", "G2", "C9")]
    assert errors == [*["method_not_supported_for_channel_type"] * 2, "channel_not_found", "is_archived"]
    assert not slack.violations


async def test_opens_direct_messages(slack: SlackServer, client: AsyncWebClient) -> None:
    assert (await client.conversations_open(users="U1"))["channel"]["id"] == "D1"
    new = (await client.conversations_open(users=["U2"]))["channel"]["id"]
    assert (await client.chat_postMessage(channel="U2", text="hello"))["channel"] == new
    assert await _error(client.conversations_open(users="U9")) == "user_not_found"
    slack.scopes.add("channels:read")
    assert (await client.conversations_info(channel="C2"))["channel"]["is_member"] is False


async def test_insists_on_token_and_scopes(slack: SlackServer, client: AsyncWebClient) -> None:
    slack.scopes.remove("files:read")
    with pytest.raises(SlackApiError) as caught:
        await client.files_info(file="F1")
    assert caught.value.response["needed"] == "files:read"
    assert caught.value.response["provided"] == ",".join(sorted(slack.scopes))
    assert (await client.auth_test())["user_id"] == slack.bot_user_id
    assert await _error(client.auth_test(token="xoxb-other")) == "invalid_auth"
    assert not slack.violations
    client.token = None
    assert await _error(client.auth_test()) == "not_authed"
    assert slack.violations


LONG = 40_001


@pytest.mark.parametrize(
    ("method", "sent", "error"),
    [
        ("chat.postMessage", {"channel": "C1", "text": "x", "colour": "red"}, "invalid_arguments"),
        ("chat.postMessage", {"channel": 7, "text": "x"}, "invalid_arguments"),
        ("chat.postMessage", {"text": "x"}, "invalid_arguments"),
        ("chat.postMessage", {"channel": "C1", "text": " "}, "no_text"),
        ("chat.postMessage", {"channel": "C1", "text": "x" * LONG}, "msg_too_long"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "thread_ts": ""}, "invalid_thread_ts"),
        ("chat.postMessage", {"channel": "C1", "text": "x", "thread_ts": "1700000000.000001"}, "thread_not_found"),
        ("files.info", {"file": "F1"}, "invalid_arguments"),  # reads no JSON
        ("files.upload", {}, "unknown_method"),
    ],
)
async def test_reports_calls_that_a_correct_app_never_makes(
    slack: SlackServer, client: AsyncWebClient, method: str, sent: dict[str, Any], error: str
) -> None:
    assert await _error(client.api_call(method, json=sent)) == error
    assert len(slack.violations) == 1


async def test_edits_hold_four_thousand_escaped_bytes(slack: SlackServer, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C1", text="x"))["ts"]
    await client.chat_update(channel="C1", ts=ts, text="x" * 4000)
    assert await _error(client.chat_update(channel="C1", ts=ts, text="&" * 900)) == "msg_too_long"
    assert len(slack.violations) == 1


async def test_only_shows_ephemeral_messages_to_members(slack: SlackServer, client: AsyncWebClient) -> None:
    ts = (await client.chat_postEphemeral(channel="C1", user="U1", text="psst"))["message_ts"]
    assert slack.messages[0].ephemeral_to == "U1"
    assert await _error(client.chat_update(channel="C1", ts=ts, text="no")) == "message_not_found"
    assert await _error(client.chat_postEphemeral(channel="C1", user="U9", text="psst")) == "user_not_in_channel"
    assert await _error(client.chat_delete(channel="C1", ts="1700000000.000001")) == "message_not_found"
    assert not slack.violations


@pytest.mark.parametrize(
    "blocks",
    [
        [_section()] * 51,
        [_section("x" * 3001)],
        [_section(block_id="a"), _section(block_id="a")],
        [{"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11}],
        [_actions(_button("x" * 76))],
        [_actions(_button(value="x" * 2001))],
        [_actions(_button(), _button())],  # the same action_id twice
        [_actions(_button(colour="red"))],
        [{"type": "image", "image_url": "http://x/"}],
        [{"type": "image", "alt_text": "", "image_url": "http://x/"}],
        [{"type": "image", "alt_text": "x" * 2001, "image_url": "http://x/"}],
        [{"type": "image", "alt_text": "x"}],
        [_image("F1", image_url="http://x/")],
        [_image("F404")],
        [{"type": "fox"}],
        [_actions(_button(value=7))],
    ],
)
async def test_refuses_blocks_that_slack_refuses(
    slack: SlackServer, client: AsyncWebClient, blocks: list[dict[str, Any]]
) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C1", text="x", blocks=blocks)
    assert caught.value.response["error"] == "invalid_blocks"
    assert "[json-pointer:/blocks" in caught.value.response["errors"][0]
    assert len(slack.violations) == 1


async def test_shares_a_file_and_shows_it_once_processed(slack: SlackServer, client: AsyncWebClient) -> None:
    ts = (await client.chat_postMessage(channel="C1", text="Drawing"))["ts"]
    file = await _share(client, thread_ts=ts)
    reply = slack.messages[1]
    assert (reply.pictures, reply.thread_ts) == ([PNG], ts)
    error = await _error(client.chat_update(channel="C1", ts=ts, text="fox", blocks=[_image(file)]))
    assert error == "invalid_blocks"  # not processed yet
    await _processed(client, file)
    info = (await client.files_info(file=file))["file"]
    assert (info["mimetype"], info["filetype"], info["title"]) == ("image/png", "png", "fox")
    assert info["shares"]["public"]["C1"] == [{"ts": reply.ts, "thread_ts": ts}]
    await client.chat_update(channel="C1", ts=ts, text="fox", blocks=[_image(file), _actions()])
    assert slack.messages[0].pictures == [PNG]
    assert slack.outcomes().pictures == slack.messages
    await client.files_delete(file=file)
    assert not slack.outcomes().pictures
    assert not slack.violations


async def test_files_process_themselves_in_time(client: AsyncWebClient, slack: SlackServer) -> None:
    now = time.time()
    slack.clock = lambda: now
    file = await _share(client)
    now += 2
    await client.chat_postMessage(channel="C1", text="fox", blocks=[_image(file)])
    assert slack.messages[1].pictures == [PNG]


async def test_the_sdks_own_upload_works_but_not_with_alt_txt(slack: SlackServer, client: AsyncWebClient) -> None:
    await client.files_upload_v2(filename="a.png", content=PNG, channel="C1", initial_comment="a fox")
    assert (slack.messages[0].text, slack.messages[0].pictures) == ("a fox", [PNG])
    await client.files_upload_v2(filename="a.png", content=PNG, channel="C1", alt_txt="a fox")
    assert len(slack.messages) == 1  # Slack says ok and shares nothing
    slack.silently_unshared = 1
    lost, kept = await _share(client), await _share(client)
    assert [(await client.files_info(file=f))["file"]["channels"] for f in (lost, kept)] == [[], ["C1"]]
    assert not slack.violations


async def test_one_call_can_share_a_file_with_blocks(slack: SlackServer, client: AsyncWebClient) -> None:
    await _share(client, blocks=json.dumps([_section("a fox"), _actions()]))
    assert (slack.messages[0].plain, slack.messages[0].pictures) == ("a fox", [PNG])
    file: list[dict[str, str | None]] = [{"id": await _upload(client)}]
    markdown = json.dumps([{"type": "markdown", "text": "a fox"}])
    assert await _error(client.files_completeUploadExternal(files=file, channel_id="C1", blocks=markdown)) == "internal_error"
    both: dict[str, Any] = {"initial_comment": "fox", "blocks": json.dumps([_section()])}
    await client.files_completeUploadExternal(files=file, channel_id="C1", **both)
    assert slack.messages[1].blocks == []
    assert len(slack.violations) == 2


async def test_uploads_go_in_order(slack: SlackServer, client: AsyncWebClient, http: aiohttp.ClientSession) -> None:
    started = await client.files_getUploadURLExternal(filename="a.png", length=9)
    files = [{"id": started["file_id"], "title": None}]
    assert await _error(client.files_completeUploadExternal(files=files)) == "file_not_found"
    async with http.post(started["upload_url"], data=b"too short") as response:
        assert response.status == 200  # nine bytes, as announced
    async with http.post(started["upload_url"], data=b"far too long") as response:
        assert response.status == 400
    form = aiohttp.FormData()
    form.add_field("filename", b"123456789", filename="a.png")
    async with http.post(started["upload_url"], data=form) as response:
        assert response.status == 200
    assert len(slack.violations) == 2
    await client.files_completeUploadExternal(files=files)
    assert await _error(client.files_completeUploadExternal(files=files)) == "file_not_found"
    assert await _error(client.files_info(file="F404")) == "file_not_found"
    assert len(slack.violations) == 2


async def test_fetches_pictures_by_address(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    async def gallery(request: web.Request) -> web.Response:
        return web.Response(body={"/a.png": PNG, "/a.webp": b"RIFF....WEBP"}.get(request.path), status=200)

    url = await app(gallery)
    block = {"type": "image", "alt_text": "a fox", "image_url": f"{url}/a.png"}
    await client.chat_postMessage(channel="C1", text="fox", blocks=[block])
    assert slack.messages[0].pictures == [PNG]
    for bad in (f"{url}/a.webp", f"{url}/none", "http://127.0.0.1:1/a.png"):
        with pytest.raises(SlackApiError, match="downloading image failed"):
            await client.chat_postMessage(channel="C1", text="fox", blocks=[block | {"image_url": bad}])
    assert not slack.violations


async def test_notices_pictures_that_people_cannot_see(slack: SlackServer, client: AsyncWebClient) -> None:
    file = await _share(client, channel=None)
    await _processed(client, file)
    await client.chat_postMessage(channel="C1", text="fox", blocks=[_image(file)])
    assert not slack.messages[0].pictures
    assert "never shared" in slack.violations[0]


async def test_typing_a_command_sends_a_signed_form(slack: SlackServer, app: App) -> None:
    seen: dict[str, Any] = {}

    async def service(request: web.Request) -> web.Response:
        body = await request.read()
        assert SignatureVerifier(slack.signing_secret).is_valid_request(body, dict(request.headers))
        assert request.path == "/slack/events"
        seen.update(await request.post())
        return web.json_response({"text": "Drawing &lt;a fox&gt;", "response_type": "ephemeral"})

    url = await app(service)
    ack = await slack.command(url, "a fox --ar 3:2", channel="G1", user="U2")
    assert (seen["text"], seen["channel_name"], seen["command"]) == ("a fox --ar 3:2", "privategroup", "/imagine")
    assert (seen["is_enterprise_install"], seen["response_url"]) == ("false", ack.response_url)
    assert ack.status == 200
    assert ack.message
    assert (ack.message.plain, ack.message.ephemeral_to) == ("Drawing <a fox>", "U2")
    again = await slack.command(url, "a fox", trigger_id=ack.trigger_id)
    assert again.response_url == ack.response_url
    assert (await slack.command(url, "a hare")).trigger_id != ack.trigger_id
    assert not slack.violations


async def test_slack_gives_up_on_slow_services(slack: SlackServer, app: App) -> None:
    async def service(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.3)
        return web.Response(text="too late")

    ack = await slack.command(await app(service), "a fox", patience=0.1)
    assert (ack.status, ack.message) == (0, None)


async def test_response_urls_work_five_times_for_half_an_hour(
    slack: SlackServer, app: App, http: aiohttp.ClientSession, client: AsyncWebClient
) -> None:
    url = await app(_silent)

    async def say(address: str, **body: Any) -> tuple[int, str]:
        async with http.post(address, json=body) as response:
            return response.status, await response.text()

    first = (await slack.command(url, "a fox", channel="G2")).response_url
    assert await say(first, text="one") == (200, "ok")
    assert await say(first, text="two", response_type="in_channel") == (200, "ok")
    assert await say(first, text="three", replace_original=True) == (200, "ok")
    assert [(m.text, m.ephemeral_to) for m in slack.messages] == [("one", "U1"), ("two", None), ("three", "U1")]
    file = await _share(client, channel=None)
    await _processed(client, file)
    refused = await say(first, text="four", blocks=[_image(file)])
    assert refused == (
        404,
        '{"ok": false, "error": "invalid_blocks", "errors": ' + refused[1].partition('"errors": ')[2],
    )
    await say(first, text="five")
    assert "used_url" in (await say(first, text="six"))[1]
    second = (await slack.command(url, "a hare")).response_url
    slack.clock = lambda: time.time() + 31 * 60
    assert "expired_url" in (await say(second, text="late"))[1]
    assert not slack.violations
    assert (await say(second, colour="red"))[0] == 404


async def _silent(_request: web.Request) -> web.Response:
    return web.Response()


async def test_pressing_a_button_lets_the_app_replace_the_message(
    slack: SlackServer, client: AsyncWebClient, app: App, http: aiohttp.ClientSession
) -> None:
    seen: dict[str, Any] = {}

    async def service(request: web.Request) -> web.Response:
        seen.update(json.loads(str((await request.post())["payload"])))
        return web.Response()

    await client.chat_postMessage(channel="C1", text="fox", blocks=[_actions()])
    (message,) = slack.messages
    ack = await slack.click(await app(service), message, message.buttons[0])
    assert (seen["type"], seen["actions"][0]["value"]) == ("block_actions", "7")
    await http.post(ack.response_url, json={"text": "hare", "replace_original": True})
    assert (message.text, len(slack.messages)) == ("hare", 1)
    await http.post(ack.response_url, json={"delete_original": True})
    assert message.deleted
    assert not slack.violations


@with_schemas
async def test_slack_messages_follow_the_schema(slack: SlackServer, client: AsyncWebClient) -> None:
    await client.chat_postMessage(channel="C1", text="x", blocks=[_section(), _actions(), {"type": "divider"}])
    rich = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [{"type": "fox"}]}]}
    assert await _error(client.chat_postMessage(channel="C1", text="x", blocks=[rich])) == "invalid_blocks"
    assert "schema" in slack.violations[0]


# Discord


@pytest.fixture
def call(discord: DiscordServer, http: aiohttp.ClientSession) -> Any:
    """Make a request with the bot's token; answer with the status and the JSON."""

    async def send(method: str, path: str, payload: Any = None, files: dict[str, bytes] | None = None, **kw: Any) -> Any:
        body: dict[str, Any] = {} if payload is None else {"json": payload}
        if files is not None:
            form = aiohttp.FormData()
            form.add_field("payload_json", json.dumps(payload), content_type="application/json")
            for number, (name, content) in enumerate(files.items()):
                form.add_field(f"files[{number}]", io.BytesIO(content), filename=name)
            body = {"data": form}
        headers = {"Authorization": f"Bot {discord.bot_token}"} | kw.get("headers", {})
        async with http.request(method, discord.url + path, headers=headers, **body) as response:
            return response.status, await response.json() if response.status != 204 else None

    return send


def _answering(answer: Any, status: int = 200) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def service(_request: web.Request) -> web.StreamResponse:
        return web.json_response(answer, status=status)

    return service


@pytest.fixture
async def deferred(app: App) -> str:
    return await app(_answering({"type": 5}))


def _webhook(discord: DiscordServer, token: str) -> str:
    return f"/webhooks/{discord.application_id}/{token}"


async def test_discord_interactions_are_signed_and_faithful(discord: DiscordServer, app: App) -> None:
    seen: list[dict[str, Any]] = []

    async def service(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        signature = bytes.fromhex(request.headers["X-Signature-Ed25519"])
        key = VerifyKey(bytes.fromhex(discord.public_key))
        key.verify(request.headers["X-Signature-Timestamp"].encode() + body, signature)
        seen.append(json.loads(body))
        kinds = {1: {"type": 1}, 4: {"type": 8, "data": {"choices": [{"name": "red", "value": "red"}]}}}
        return web.json_response(kinds.get(seen[-1]["type"], {"type": 4, "data": {"content": "a fox", "flags": 64}}))

    url = await app(service)
    assert (await discord.ping(url)).status == 200
    image = discord.upload("a.png", PNG)
    options = {"prompt": "a fox", "seed": 7, "public": True, "strength": 0.5, "image": image}
    answer = await discord.imagine(url, options)
    command = seen[-1]
    assert [(o["name"], o["type"]) for o in command["data"]["options"]] == [
        *[("prompt", 3), ("seed", 4), ("public", 5), ("strength", 10), ("image", 11)]
    ]
    assert command["data"]["resolved"]["attachments"][image.id]["filename"] == "a.png"
    assert (command["context"], command["member"]["user"]["id"], "user" in command) == (0, discord.user.id, False)
    assert answer.message
    assert (answer.message.content, answer.message.ephemeral) == ("a fox", True)
    await discord.autocomplete(url, {"style": "re"}, "style")
    assert seen[-1]["data"]["options"][0]["focused"] is True
    await discord.imagine(url, {"prompt": "a hare"}, channel=discord.direct(discord.user), user_installed=True)
    assert (seen[-1]["context"], seen[-1]["user"]["id"], "member" in seen[-1]) == (1, discord.user.id, False)
    assert seen[-1]["authorizing_integration_owners"] == {"1": discord.user.id}
    await discord.imagine(url, {"prompt": "a fox"}, interaction_id=answer.interaction.id if answer.interaction else None)
    assert (seen[-1]["id"], seen[-1]["token"]) == (command["id"], command["token"])
    assert len(discord.messages) == 2
    assert not discord.violations


async def test_interaction_tokens_work_only_once_answered_and_for_a_quarter_hour(
    discord: DiscordServer, deferred: str, app: App, call: Any
) -> None:
    answer = await discord.imagine(deferred, {"prompt": "a fox"})
    assert answer.interaction
    assert answer.message
    assert answer.message.loading
    path = _webhook(discord, answer.interaction.token) + "/messages/@original"
    status, shown = await call("PATCH", path, {"content": "done"})
    assert (status, shown["id"], answer.message.content) == (200, answer.message.id, "done")
    assert not answer.message.loading
    discord.expire(answer.interaction.token)
    assert [(s, b["code"]) for s, b in [await call("PATCH", path, {"content": "x"})]] == [(401, 50027)]
    late = await discord.imagine(await app(_answering("oops", 500)), {"prompt": "a fox"})
    assert late.interaction
    assert late.interaction.state is State.VOID
    path = _webhook(discord, late.interaction.token) + "/messages/@original"
    assert (await call("PATCH", path, {"content": "x"}))[1]["code"] == 10015
    assert (await call("PATCH", _webhook(discord, "unknown") + "/messages/@original", {}))[1]["code"] == 10015
    assert not discord.violations


async def test_editing_before_answering_is_too_early(discord: DiscordServer, app: App, call: Any) -> None:
    seen = []

    async def hasty(request: web.Request) -> web.StreamResponse:
        path = _webhook(discord, (await request.json())["token"]) + "/messages/@original"
        seen.append(await call("PATCH", path, {"content": "x"}))
        return web.json_response({"type": 5})

    await discord.imagine(await app(hasty), {"prompt": "a fox"})
    assert seen[0] == (404, {"message": "Unknown Webhook", "code": 10015})


async def test_the_callback_route_answers_too(discord: DiscordServer, app: App, call: Any) -> None:
    async def service(request: web.Request) -> web.StreamResponse:
        sent = await request.json()
        path = f"/interactions/{sent['id']}/{sent['token']}/callback"
        assert (await call("POST", path, {"type": 4, "data": {"content": "a fox"}}))[0] == 204
        assert (await call("POST", path, {"type": 5}))[1]["code"] == 40060
        return web.Response(status=202)

    answer = await discord.imagine(await app(service), {"prompt": "a fox"})
    assert answer.message
    assert answer.message.content == "a fox"
    assert (await call("POST", "/interactions/1/unknown/callback", {"type": 5}))[1]["code"] == 10062
    assert not discord.violations


async def test_an_answer_may_bring_files(discord: DiscordServer, app: App) -> None:
    async def service(_request: web.Request) -> web.StreamResponse:
        form = aiohttp.FormData()
        gallery = {"type": 12, "items": [{"media": {"url": "attachment://a.png"}}]}
        data = {"flags": 32768, "components": [gallery], "attachments": [{"id": 0}, {"id": 1}]}
        form.add_field("payload_json", json.dumps({"type": 4, "data": data}), content_type="application/json")
        for number, name in enumerate(("a.png", "b.png")):
            form.add_field(f"files[{number}]", io.BytesIO(_png(number)), filename=name)
        return web.Response(body=form())

    answer = await discord.imagine(await app(service), {"prompt": "a fox"})
    assert answer.message
    assert answer.message.pictures == [PNG]  # the second version shows only what a component shows
    assert not discord.violations


async def test_followups(discord: DiscordServer, deferred: str, call: Any) -> None:
    discord.limit.most = 20
    answer = await discord.imagine(deferred, {"prompt": "a fox"}, user_installed=True)
    assert answer.interaction
    path = _webhook(discord, answer.interaction.token)
    await call("POST", path, {"content": "first"})
    assert answer.message
    assert answer.message.content == "first"  # took the place of "thinking"
    for _ in range(5):
        status, shown = await call("POST", path, {"content": "more"})
        assert status == 200
    assert (await call("POST", path, {"content": "sixth"}))[1]["code"] == 40094
    await call("PATCH", f"{path}/messages/{shown['id']}", {"content": "changed"})
    await call("DELETE", f"{path}/messages/@original")
    assert answer.message.deleted
    assert (await call("GET", f"{path}/messages/{shown['id']}"))[1]["content"] == "changed"
    assert (await call("GET", f"{path}/messages/@original"))[1]["code"] == 10008
    assert not discord.violations


async def test_attachments_not_listed_are_dropped(discord: DiscordServer, call: Any) -> None:
    path = f"/channels/{discord.channel.id}/messages"
    listed = [{"id": 0, "description": "a fox"}, {"id": 1}]
    _, shown = await call("POST", path, {"attachments": listed}, {"a.png": PNG, "b.png": _png(1)})
    (message,) = discord.messages
    assert ([a.description for a in message.attachments], len(message.pictures)) == (["a fox", None], 2)
    one = f"{path}/{message.id}"
    await call("PATCH", one, {"content": "kept"})
    assert len(message.pictures) == 2
    await call("PATCH", one, {"attachments": [{"id": shown["attachments"][1]["id"]}]})
    assert message.pictures == [_png(1)]
    async with aiohttp.request("GET", discord.address(message.attachments[0])) as response:
        assert await response.read() == _png(1)
    assert (await call("PATCH", one, {"attachments": [{"id": "5"}]}))[1]["code"] == 50035
    assert len(discord.violations) == 1


ROW = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Again", "custom_id": "again"}]}


def _row(count: int = 1, **button: Any) -> dict[str, Any]:
    buttons = [ROW["components"][0] | {"custom_id": f"b{n}"} | button for n in range(count)]  # type: ignore[index]
    return {"type": 1, "components": buttons}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"content": "x" * 2001}, 50035),
        ({"content": 7}, 50035),
        ({"content": "x", "colour": "red"}, 50035),
        ({"content": ""}, 50006),
        ({"attachments": [{"id": 0}]}, 50035),
        ({"content": "x", "components": [_row(6)]}, 50035),
        ({"content": "x", "components": [_row(custom_id="x" * 101)]}, 50035),
        ({"content": "x", "components": [_row(2, custom_id="x")]}, 50035),
        ({"content": "x", "components": [{"type": 10, "content": "x"}]}, 50035),
        ({"content": "x", "flags": 32768}, 50035),
        ({"content": "x", "nonce": "x" * 26}, 50035),
        ({"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, 50035),
        ({"content": "x", "attachments": [7]}, 50035),
        ({"content": "x", "components": [_row(label=7)]}, 50035),
        ([], 50035),
    ],
)
async def test_refuses_bodies_that_discord_refuses(discord: DiscordServer, call: Any, payload: Any, code: int) -> None:
    status, body = await call("POST", f"/channels/{discord.channel.id}/messages", payload)
    assert (status, body["code"]) == (400, code)
    assert len(discord.violations) == 1


async def test_refuses_what_is_too_large(discord: DiscordServer, call: Any) -> None:
    path = f"/channels/{discord.channel.id}/messages"
    large = bytes(10 * 2**20 + 1)
    assert (await call("POST", path, {}, {"a.png": large}))[1]["code"] == 40005
    assert (await call("POST", path, {}, {"a": large, "b": large, "c": large}))[0] == 413
    described = {"attachments": [{"id": 0, "description": "x" * 1025}]}
    assert (await call("POST", path, described, {"a.png": PNG}))[1]["code"] == 50035
    assert len(discord.violations) == 3


async def test_refuses_channels_the_bot_cannot_use(discord: DiscordServer, call: Any) -> None:
    missing = discord.add_channel(guild_id=discord.guild, access=Access.MISSING_ACCESS)
    mute = discord.add_channel(guild_id=discord.guild, access=Access.MISSING_PERMISSIONS)
    hermit = discord.add_user("hermit", closed_dms=True)
    closed = (await call("POST", "/users/@me/channels", {"recipient_id": hermit.id}))[1]["id"]
    codes = [(await call("POST", f"/channels/{id_}/messages", {"content": "x"})) for id_ in (missing.id, mute.id, closed, 1)]
    assert [(s, b["code"]) for s, b in codes] == [(403, 50001), (403, 50013), (403, 50007), (404, 10003)]
    opened = (await call("POST", "/users/@me/channels", {"recipient_id": discord.user.id}))[1]["id"]
    assert (await call("POST", f"/channels/{opened}/messages", {"content": "x"}))[0] == 200
    assert (await call("GET", f"/channels/{missing.id}"))[0] == 403
    assert (await call("GET", f"/channels/{opened}"))[1]["type"] == ChannelType.DM
    assert (await call("POST", "/users/@me/channels", {"recipient_id": "1"}))[1]["code"] == 50033
    assert (await call("GET", "/users/1"))[1]["code"] == 10013
    assert (await call("GET", "/users/@me", headers={"Authorization": "Bot x"}))[0] == 401
    assert not discord.violations
    assert (await call("GET", "/nowhere"))[0] == 404
    assert discord.violations


async def test_a_nonce_posts_once(discord: DiscordServer, call: Any) -> None:
    path, payload = f"/channels/{discord.channel.id}/messages", {"content": "x", "nonce": "7", "enforce_nonce": True}
    ids = {(await call("POST", path, payload))[1]["id"] for _ in range(3)}
    assert len(ids) == len(discord.messages) == 1


@pytest.mark.parametrize(
    ("content", "allowed", "called"),
    [
        ("`@everyone` <@1> <@!2> <@&3>", None, ["@everyone", "<@1>", "<@2>", "<@&3>"]),
        ("@everyone <@1>", {"parse": []}, []),
        ("@here <@1> <@2>", {"parse": [], "users": ["1"]}, ["<@1>"]),
        ("@here <@1> <@&3>", {"parse": ["everyone", "roles"]}, ["@here", "<@&3>"]),
    ],
)
async def test_notes_whom_a_discord_message_calls(
    discord: DiscordServer, call: Any, content: str, allowed: Any, called: list[str]
) -> None:
    payload = {"content": content} | ({"allowed_mentions": allowed} if allowed else {})
    await call("POST", f"/channels/{discord.channel.id}/messages", payload)
    assert discord.messages[0].pings == called


async def test_pressing_a_discord_button(discord: DiscordServer, app: App, call: Any) -> None:
    await call("POST", f"/channels/{discord.channel.id}/messages", {"content": "a fox", "components": [ROW]})
    (message,) = discord.messages
    answer = await discord.click(await app(_answering({"type": 7, "data": {"content": "a hare"}})), message, "again")
    assert (answer.message, message.content) == (message, "a hare")
    answer = await discord.click(await app(_answering({"type": 6})), message, "again")
    assert answer.message is message
    with pytest.raises(KeyError):
        await discord.click("", message, "not there")
    assert not discord.violations


def _modal(**more: Any) -> dict[str, Any]:
    options = [{"label": "Sketch", "value": "sketch", "default": True}, {"label": "SDXL", "value": "sdxl"}]
    parts = [
        _label("Prompt", {"type": 4, "custom_id": "prompt", "style": 2, "value": "a fox", "max_length": 20}),
        _label("Model", {"type": 3, "custom_id": "model", "options": options}),
        _label("Picture", {"type": 19, "custom_id": "image", "required": False}),
    ]
    return {"type": 9, "data": {"custom_id": "edit:7", "title": "Edit", "components": parts} | more}


def _label(text: str, component: dict[str, Any]) -> dict[str, Any]:
    return {"type": 18, "label": text, "component": component}


async def test_filling_in_a_form(discord: DiscordServer, app: App, call: Any) -> None:
    seen: list[dict[str, Any]] = []

    async def service(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return web.json_response(_modal() if seen[-1]["type"] == 3 else {"type": 7, "data": {"content": "done"}})

    await call("POST", f"/channels/{discord.channel.id}/messages", {"content": "a fox", "components": [ROW]})
    (message,) = discord.messages
    url = await app(service)
    opened = await discord.click(url, message, "Again", locale="de")
    assert prefilled(opened.modal) == {"Prompt": "a fox", "Model": "sketch", "Picture": ""}
    image = discord.upload("a.png", PNG)
    await discord.submit(url, opened, {"Model": "sdxl", "Picture": image})
    sent = seen[-1]
    assert (sent["type"], sent["locale"], sent["message"]["id"]) == (5, "de", message.id)
    assert sent["data"]["custom_id"] == "edit:7"
    parts = [part["component"] for part in sent["data"]["components"]]
    assert [part.get("value") or part["values"] for part in parts] == ["a fox", ["sdxl"], [image.id]]
    assert sent["data"]["resolved"]["attachments"][image.id]["width"] == 1
    assert message.content == "done"
    with pytest.raises(ValueError, match="characters"):
        await discord.submit(url, opened, {"Prompt": "x" * 21})
    assert not discord.violations


FEW = {"type": 3, "custom_id": "x", "options": []}
MANY = {"type": 3, "custom_id": "x", "options": [{"label": str(i), "value": str(i)} for i in range(26)]}
TWICE = {"type": 4, "custom_id": "x", "style": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "x" * 46},
        {"custom_id": "x" * 101},
        {"components": []},
        {"components": [_label(str(i), {"type": 4, "custom_id": str(i), "style": 1}) for i in range(6)]},
        {"components": [_label("x" * 46, TWICE)]},
        {"components": [_label("x", TWICE), _label("y", TWICE)]},
        {"components": [_label("x", FEW)]},
        {"components": [_label("x", MANY)]},
        {"components": [_label("x", TWICE | {"value": "xy", "max_length": 1})]},
    ],
)
async def test_refuses_forms_that_discord_refuses(discord: DiscordServer, app: App, wrong: dict[str, Any]) -> None:
    await discord.imagine(await app(_answering(_modal(**wrong))), {"prompt": "x"})
    assert len(discord.violations) == 1


async def test_a_form_cannot_follow_a_form_and_changes_need_a_message(discord: DiscordServer, app: App) -> None:
    opened = await discord.imagine(await app(_answering(_modal())), {"prompt": "x"})
    assert not discord.violations
    for answer in (_modal(), {"type": 6}, {"type": 7, "data": {"content": "x"}}):
        given = await discord.submit(await app(_answering(answer)), opened)
        assert given.interaction
        assert given.interaction.state is State.VOID
    assert len(discord.violations) == 3


async def test_no_more_than_twenty_five_choices(discord: DiscordServer, app: App) -> None:
    choices = [{"name": str(i), "value": str(i)} for i in range(26)]
    await discord.autocomplete(await app(_answering({"type": 8, "data": {"choices": choices[1:]}})), {"model": "s"}, "model")
    assert not discord.violations
    await discord.autocomplete(await app(_answering({"type": 8, "data": {"choices": choices}})), {"model": "s"}, "model")
    assert len(discord.violations) == 1


async def test_the_menu_of_a_message(discord: DiscordServer, app: App) -> None:
    seen: list[dict[str, Any]] = []

    async def service(request: web.Request) -> web.StreamResponse:
        seen.append(await request.json())
        return web.json_response({"type": 4, "data": {"content": "only you", "flags": 64}})

    eve = discord.add_user("eve", moderator=True)
    message = discord.say("a fox", files={"a.png": PNG})
    answer = await discord.choose(await app(service), message, user=eve)
    data = seen[-1]["data"]
    shown = data["resolved"]["messages"][data["target_id"]]
    assert (data["type"], shown["content"], shown["author"]["id"]) == (3, "a fox", discord.user.id)
    assert shown["attachments"][0]["content_type"] == "image/png"
    assert int(seen[-1]["member"]["permissions"]) & 1 << 13
    assert answer.told == "only you"
    assert answer.message
    assert answer.message.reader == eve.id
    assert not discord.violations


async def test_files_are_fetched_by_signed_addresses_that_expire(discord: DiscordServer, http: aiohttp.ClientSession) -> None:
    message = discord.say("", files={"a.png": PNG})
    file = message.attachments[0]
    address, upload = discord.address(file), discord.upload("b.jpg", b"\xff\xd8\xff")

    async def status(url: str) -> int:
        async with http.get(url, allow_redirects=False) as response:
            return response.status

    assert upload.content_type == "image/jpeg"
    assert [await status(url) for url in (address, discord.address(upload), file.url)] == [200, 200, 404]
    assert await status(discord.address(discord.upload("c.png", PNG, redirect="http://127.0.0.1:1/"))) == 302
    discord.clock = lambda: time.time() + 25 * 3600
    assert await status(address) == 404
    assert await status(discord.address(file)) == 200
    message.deleted = True
    assert await status(discord.address(file)) == 404
    discord.faults.next("download", Fault.SERVER_ERROR)
    assert await status(discord.address(upload)) == 500
    assert not discord.violations


async def test_calls_with_one_token_have_a_limit_which_the_headers_tell(
    discord: DiscordServer, deferred: str, http: aiohttp.ClientSession
) -> None:
    answers = [await discord.imagine(deferred, {"prompt": "a fox"}) for _ in range(2)]
    paths = [f"{discord.url}{_webhook(discord, a.interaction.token)}/messages/@original" for a in answers if a.interaction]

    async def edit(path: str) -> tuple[int, str]:
        async with http.patch(path, json={"content": "x"}) as response:
            return response.status, response.headers["X-RateLimit-Remaining"]

    assert [await edit(paths[0]) for _ in range(5)] == [(200, str(left)) for left in (4, 3, 2, 1, 0)]
    assert await edit(paths[1]) == (200, "4")
    assert not discord.violations
    assert (await edit(paths[0]))[0] == 429
    assert len(discord.violations) == 1


async def _given_up(call: Coroutine[Any, Any, object], faults: Faults, posted: int, messages: Sequence[object]) -> object:
    """Make a call, until it fails or nothing more will come of it; then give it up."""
    calling = asyncio.ensure_future(call)
    await until(lambda: calling.done() or (faults.struck and len(messages) == posted))
    if faults.struck[-1][1] in {Fault.HANG, Fault.HANG_AFTER}:
        assert not calling.done()
        calling.cancel()
    return await calling


@pytest.mark.parametrize("answer", [{"type": 8, "data": {"choices": []}}, {"type": 4, "data": {"content": ""}}, [], {}])
async def test_wrong_answers_void_the_interaction(discord: DiscordServer, app: App, answer: Any) -> None:
    given = await discord.imagine(await app(_answering(answer)), {"prompt": "a fox"})
    assert given.interaction
    assert given.interaction.state is State.VOID
    assert len(discord.violations) == 1


@pytest.mark.parametrize(
    ("fault", "posted"), [(Fault.RESET, 0), (Fault.LOST_ANSWER, 1), (Fault.HANG, 0), (Fault.HANG_AFTER, 1)]
)
async def test_discord_fails_as_told(discord: DiscordServer, call: Any, fault: Fault, posted: int) -> None:
    discord.faults.next("create_message", fault)
    posting = call("POST", f"/channels/{discord.channel.id}/messages", {"content": "x"})
    with pytest.raises((aiohttp.ClientError, asyncio.CancelledError)):
        await _given_up(posting, discord.faults, posted, discord.messages)
    assert len(discord.messages) == posted


async def test_discord_py_waits_out_limits_and_errors(
    discord: DiscordServer, deferred: str, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library.http.Route, "BASE", discord.url)
    answer = await discord.imagine(deferred, {"prompt": "a fox"})
    assert answer.interaction
    discord.faults.next("update_original_webhook_message", Fault.SERVER_ERROR)
    discord.faults.next("update_original_webhook_message", Fault.RATE_LIMITED, times=2)
    webhook = library.Webhook.partial(int(discord.application_id), answer.interaction.token, session=http)
    file = library.File(fp=io.BytesIO(PNG), filename="fox.png", description="a fox")
    quiet = library.AllowedMentions.none()
    original: Any = "@original"
    await webhook.edit_message(original, content="@everyone", attachments=[file], allowed_mentions=quiet)
    assert answer.message
    assert (answer.message.pictures, answer.message.pings) == ([PNG], [])
    assert answer.message.attachments[0].description == "a fox"
    assert len(discord.faults.struck) == 3
    assert not discord.violations


async def test_discord_py_logs_in_and_posts_as_the_bot(
    discord: DiscordServer, monkeypatch: pytest.MonkeyPatch, deferred: str
) -> None:
    monkeypatch.setattr(library.http.Route, "BASE", discord.url)
    discord.faults.next("create_message", Fault.RATE_LIMITED)
    async with library.Client(intents=library.Intents.none()) as bot:
        await bot.login(discord.bot_token)
        await bot.get_partial_messageable(int(discord.channel.id)).send("a fox", nonce="7")
        person = await bot.fetch_user(int(discord.user.id))
        await person.send("psst")
        await (await bot.fetch_channel(int(discord.channel.id))).fetch_message(int(discord.messages[0].id))  # type: ignore[union-attr]
        tree = library.app_commands.CommandTree(bot)

        @tree.command(description="Draw")
        async def imagine(_: library.Interaction, prompt: str) -> None:
            raise NotImplementedError(prompt)

        (synced,) = await tree.sync()
        assert synced.name == "imagine"
    assert [m.content for m in discord.messages] == ["a fox", "psst"]
    assert discord.commands[""][0]["name"] == "imagine"
    assert not discord.violations
    assert deferred


@with_schemas
async def test_discord_payloads_follow_the_openapi_document(discord: DiscordServer, app: App, call: Any) -> None:
    path = f"/channels/{discord.channel.id}/messages"
    assert (await call("POST", path, {"content": "x", "components": [_row(emoji={"name": "x"})], "tts": False}))[0] == 200
    assert not discord.violations
    assert (await call("POST", path, {"content": "x", "components": [_row(colour="red")]}))[1]["code"] == 50035
    await discord.imagine(await app(_answering({"type": 4, "data": {"contents": "x"}})), {"prompt": "a fox"})
    await call("PUT", f"/applications/{discord.application_id}/commands", [{"name": "imagine", "colour": "red"}])
    assert len(discord.violations) == 3
    assert all("schema" in violation for violation in discord.violations)


@with_schemas
def test_every_operation_with_a_body_has_a_schema() -> None:
    takes_json = [route.name for route in ROUTES if route.method in {"POST", "PUT", "PATCH"}]
    assert [name for name in takes_json if schemas.discord_request(name) is None] == []


async def test_a_thousand_commands_are_cheap(slack: SlackServer, discord: DiscordServer, app: App, deferred: str) -> None:
    started = time.monotonic()
    url = await app(_silent)
    for batch in range(10):
        await asyncio.gather(*(slack.command(url, f"fox {batch} {n}") for n in range(50)))
        await asyncio.gather(*(discord.imagine(deferred, {"prompt": f"fox {n}"}) for n in range(50)))
    assert len(discord.messages) == 500
    assert time.monotonic() - started < 10
