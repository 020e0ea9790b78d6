"""The people of the made-up Slack do only what Slack lets people do, and the app hears of it as from Slack."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes import schemas
from tests.fakes.slack import SlackServer
from tests.fakes.slack_views import value

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

PNG = b"\x89PNG\r\n\x1a\n" + b"fox"


@dataclass
class App:
    """An app that answers what it is told to, and remembers what it was sent."""

    url: str = ""
    answers: list[Any] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)

    async def hear(self, request: web.Request, slack: SlackServer) -> web.Response:
        body = await request.read()
        assert SignatureVerifier(slack.signing_secret).is_valid_request(body, dict(request.headers))
        self.headers.append(request.headers)
        form = dict(await request.post())
        payload = str(form["payload"]) if "payload" in form else body.decode()
        self.heard.append(json.loads(payload) if payload.startswith("{") else form)
        answer = self.answers.pop(0) if self.answers else ""
        return web.json_response(answer) if isinstance(answer, dict) else web.Response(text=answer)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        yield server


@pytest.fixture
def client(slack: SlackServer) -> AsyncWebClient:
    return AsyncWebClient(slack.token, base_url=slack.url, session=slack.session, retry_handlers=[])


@pytest.fixture
async def app(slack: SlackServer) -> AsyncIterator[App]:
    made = App()
    application = web.Application()

    async def hear(request: web.Request) -> web.Response:
        return await made.hear(request, slack)

    application.router.add_get("/picture.png", _picture)
    application.router.add_post("/slack/events", hear)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def _picture(_request: web.Request) -> web.Response:
    return web.Response(body=PNG)


async def _error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def _option(name: str) -> dict[str, Any]:
    return {"text": _plain(name), "value": name}


def _input(name: str, kind: str, *, optional: bool = True, **more: Any) -> dict[str, Any]:
    element = {"type": kind, "action_id": name, **more}
    return {"type": "input", "block_id": name, "optional": optional, "label": _plain(name), "element": element}


def _modal(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {"type": "modal", "callback_id": "edit", "title": _plain("Edit"), "submit": _plain("Draw")}
    return usual | {"blocks": list(blocks) or [_input("prompt", "plain_text_input")]} | more


FORM = (
    _input("prompt", "plain_text_input", optional=False, initial_value="a fox", multiline=True, max_length=20),
    _input("steps", "number_input", is_decimal_allowed=False, initial_value="4", min_value="1", max_value="50"),
    _input("model", "static_select", options=[_option("a"), _option("b")], initial_option=_option("a")),
    _input("where", "conversations_select", default_to_current_conversation=True, response_url_enabled=True),
    _input("image", "file_input", max_files=1),
)


async def _post(slack: SlackServer, client: AsyncWebClient, **more: Any) -> Any:
    button = {"type": "button", "text": _plain("Again"), "action_id": "again", "value": "7"}
    blocks: list[dict[str, Any]] = [{"type": "actions", "elements": [button]}]
    await client.chat_postMessage(channel="C1", text="fox", blocks=blocks, **more)
    return slack.messages[-1]


async def test_a_click_brings_all_that_an_app_may_go_by(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    root = await _post(slack, client)
    message = await _post(slack, client, thread_ts=root.ts)
    ack = await slack.click(app.url, message, "Again", user="U2")
    heard = app.heard[-1]
    assert (heard["type"], heard["user"]["id"], heard["team"]["id"]) == ("block_actions", "U2", slack.team_id)
    assert heard["container"]["thread_ts"] == heard["message"]["thread_ts"] == root.ts
    assert heard["actions"][0].keys() >= {"action_id", "block_id", "value", "action_ts"}
    assert (heard["trigger_id"], heard["response_url"]) == (ack.trigger_id, ack.response_url)
    assert message.labels == ["Again"]
    await slack.click(app.url, root, "Again")
    assert app.heard[-1]["container"]["thread_ts"] == app.heard[-1]["message"]["thread_ts"] == root.ts  # it has replies
    assert not slack.violations


async def test_a_modal_opens_once_and_within_three_seconds(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    ack = await slack.command(app.url, "", channel="C1", user="U2")
    view = (await client.views_open(trigger_id=ack.trigger_id, view=_modal()))["view"]
    assert (slack.modal.id, slack.modal.user, slack.modal.channel) == (view["id"], "U2", "C1")
    assert await _error(client.views_open(trigger_id=ack.trigger_id, view=_modal())) == "exchanged_trigger_id"
    late = await slack.command(app.url, "")
    now = time.time()
    slack.clock = lambda: now + 4
    assert await _error(client.views_open(trigger_id=late.trigger_id, view=_modal())) == "expired_trigger_id"
    assert not slack.violations
    assert await _error(client.views_open(trigger_id="1.2.3", view=_modal())) == "invalid_trigger_id"
    assert slack.violations


@pytest.mark.parametrize(
    "view",
    [
        _modal(title=_plain("x" * 25)),
        _modal(submit=_plain("x" * 25)),
        _modal(private_metadata="x" * 3001),
        _modal(callback_id="x" * 256),
        _modal(colour="red"),
        _modal(*[{"type": "divider"}] * 101),
        {key: held for key, held in _modal().items() if key != "submit"},
        _modal(_input("a", "plain_text_input"), _input("a", "plain_text_input")),
        _modal(_input("a", "plain_text_input", initial_value="too long", max_length=3)),
        _modal(_input("a", "number_input")),
        _modal(_input("a", "number_input", is_decimal_allowed=True, initial_value=3)),
        _modal(_input("a", "number_input", is_decimal_allowed=True, initial_value="3", max_value="2")),
        _modal(_input("a", "static_select", options=[])),
        _modal(_input("a", "static_select", options=[_option("a")] * 101)),
        _modal(_input("a", "static_select", options=[_option("x" * 76)])),
        _modal(_input("a", "static_select", options=[_option("a")], initial_option=_option("b"))),
        _modal(_input("a", "file_input", max_files=11)),
        _modal(_input("a", "button", text=_plain("no"))),
    ],
)
async def test_refuses_modals_that_slack_refuses(
    view: dict[str, Any], slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    ack = await slack.command(app.url, "")
    assert await _error(client.views_open(trigger_id=ack.trigger_id, view=view)) == "invalid_blocks"
    assert len(slack.violations) == 1


@pytest.mark.skipif(bool(schemas.missing()), reason=schemas.missing() or "")
async def test_modals_follow_the_schema(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    ack = await slack.command(app.url, "")
    view = _modal({"type": "rich_text", "elements": [{"type": "fox"}]})
    assert await _error(client.views_open(trigger_id=ack.trigger_id, view=view)) == "invalid_blocks"
    assert "schema" in slack.violations[0]


async def test_a_form_sends_what_stands_in_it_and_what_was_entered(
    slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    ack = await slack.command(app.url, "", channel="G2")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal(*FORM, private_metadata="kept"))
    view, file = slack.modal, slack.attach("fox.png", PNG)
    assert (value(view, "prompt"), value(view, "steps"), value(view, "model")) == ("a fox", "4", "a")
    ack = await slack.submit(app.url, view, {"prompt": "a hare", "steps": None, "model": "b", "image": [file]})
    sent = app.heard[-1]
    held = sent["view"]["state"]["values"]
    assert (sent["type"], sent["view"]["private_metadata"], sent["view"]["callback_id"]) == ("view_submission", "kept", "edit")
    assert "channel" not in sent
    assert held["prompt"]["prompt"] == {"type": "plain_text_input", "value": "a hare"}
    assert held["steps"]["steps"] == {"type": "number_input"}
    assert held["model"]["model"]["selected_option"]["value"] == "b"
    assert held["where"]["where"]["selected_conversation"] == "G2"
    assert held["image"]["image"]["files"][0]["url_private_download"] == file.download
    [to] = sent["response_urls"]
    assert (to["channel_id"], to["block_id"]) == ("G2", "where")
    await slack.session.post(to["response_url"], json={"text": "drawing", "response_type": "in_channel"})
    assert slack.messages[-1].channel == "G2"
    assert not view.is_open
    assert not slack.violations


async def test_slack_holds_people_to_a_forms_bounds(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    ack = await slack.command(app.url, "")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal(*FORM))
    entries: list[dict[str, Any]] = [{"prompt": None}, {"prompt": "x" * 21}, {"steps": "51"}, {"model": "c"}, {"colour": "red"}]
    for wrong in entries:
        with pytest.raises(ValueError, match=r"Slack|There is no"):
            await slack.submit(app.url, slack.modal, {"prompt": "a fox", **wrong})
    assert len(app.heard) == 1


async def test_a_form_that_is_answered_with_errors_stays_as_it_was(
    slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    ack = await slack.command(app.url, "")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal(*FORM))
    app.answers = [{"response_action": "errors", "errors": {"prompt": "Say more."}}, {"response_action": "clear"}]
    ack = await slack.submit(app.url, slack.modal, {"prompt": "x"})
    assert ack.errors == {"prompt": "Say more."}
    assert value(slack.modal, "prompt") == "x"
    await slack.submit(app.url, slack.modal)
    assert not slack.views[0].is_open
    assert not slack.violations


async def test_a_form_can_be_put_on_top_of_another(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    ack = await slack.command(app.url, "")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal(*FORM))
    app.answers = [{"response_action": "push", "view": _modal({"type": "divider"}, title=_plain("Sure?"))}] * 2
    await slack.submit(app.url, slack.modal)
    assert slack.modal.plain == "Sure?"
    await slack.close(app.url, slack.modal)
    assert value(slack.modal, "prompt") == "a fox"
    await slack.submit(app.url, slack.modal)
    app.answers = [{"response_action": "clear"}]
    await slack.submit(app.url, slack.modal)
    assert not any(view.is_open for view in slack.views)
    assert not slack.violations


@pytest.mark.parametrize("answer", ["text", {"response_action": "errors", "errors": {"colour": "red"}}, {"text": "thanks"}])
async def test_an_answer_that_no_form_understands_is_a_mistake(
    answer: Any, slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    ack = await slack.command(app.url, "")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal())
    app.answers = [answer]
    await slack.submit(app.url, slack.modal)
    assert len(slack.violations) == 1


async def test_a_modal_can_be_changed_and_keeps_what_was_entered(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    ack = await slack.command(app.url, "")
    view = (await client.views_open(trigger_id=ack.trigger_id, view=_modal(*FORM)))["view"]
    app.answers = [{"response_action": "errors", "errors": {"prompt": "Say more."}}]
    await slack.submit(app.url, slack.modal, {"prompt": "a hare"})
    more = _modal(*FORM, {"type": "divider"}, title=_plain("More"))
    await client.views_update(view_id=view["id"], hash=view["hash"], view=more)
    assert (slack.modal.plain.splitlines()[0], value(slack.modal, "prompt")) == ("More", "a hare")
    assert await _error(client.views_update(view_id=view["id"], hash=view["hash"], view=more)) == "hash_conflict"
    await slack.close(app.url, slack.modal)
    assert await _error(client.views_update(view_id=view["id"], view=more)) == "not_found"
    assert len(app.heard) == 2  # nobody asked to be told of the closing
    ack = await slack.command(app.url, "")
    await client.views_open(trigger_id=ack.trigger_id, view=_modal(notify_on_close=True))
    await slack.close(app.url, slack.modal)
    assert app.heard[-1]["type"] == "view_closed"


async def test_shortcuts_know_their_message_or_nothing(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    root = slack.write("look")
    message = slack.write("a < fox", thread_ts=root.ts, files=[slack.attach("fox.png", PNG)])
    ack = await slack.message_shortcut(app.url, "imagine", message, user="U2")
    sent = app.heard[-1]
    assert (sent["type"], sent["callback_id"], sent["channel"]["id"]) == ("message_action", "imagine", "C1")
    assert (sent["message"]["text"], sent["message"]["thread_ts"]) == ("a &lt; fox", root.ts)
    assert sent["message"]["files"][0]["mimetype"] == "image/png"
    assert sent["response_url"] == ack.response_url
    await slack.shortcut(app.url, "imagine")
    assert (app.heard[-1]["type"], app.heard[-1].keys() & {"channel", "message", "response_url"}) == ("shortcut", set())
    await client.views_open(trigger_id=app.heard[-1]["trigger_id"], view=_modal())
    assert slack.modal.channel is None
    slack.shortcuts = {"imagine": "message"}
    with pytest.raises(ValueError, match="no global shortcut"):
        await slack.shortcut(app.url, "imagine")
    assert not slack.violations


async def test_a_mention_is_an_event_where_the_app_is_a_member_and_may_listen(slack: SlackServer, app: App) -> None:
    root = slack.write("look")
    ack = await slack.mention(app.url, "a <fox> & https://a.example/?x=1&y", thread_ts=root.ts)
    sent = app.heard[-1]
    assert (sent["type"], sent["event"]["type"], sent["event"]["thread_ts"]) == ("event_callback", "app_mention", root.ts)
    assert sent["event"]["text"] == "<@U0BOT> a &lt;fox&gt; &amp; <https://a.example/?x=1&amp;y>"
    await slack.again(app.url, ack)
    assert app.heard[-1]["event_id"] == sent["event_id"]
    assert app.headers[-1]["X-Slack-Retry-Num"] == "1"
    assert (await slack.mention(app.url, "a fox", channel="C2")).status == 0
    slack.scopes.discard("app_mentions:read")
    assert (await slack.mention(app.url, "a fox")).status == 0
    assert len(app.heard) == 2


async def test_what_is_said_directly_is_an_event_even_the_apps_own_words(
    slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    await slack.dm(app.url, "a fox", files=[slack.attach("fox.png", PNG)])
    event = app.heard[-1]["event"]
    assert (event["type"], event["channel_type"], event["subtype"]) == ("message", "im", "file_share")
    await client.chat_postMessage(channel=event["channel"], text="here")
    await slack.overhear(app.url, slack.messages[-1])
    assert app.heard[-1]["event"]["bot_id"]
    slack.events.discard("message.im")
    assert (await slack.dm(app.url, "a fox")).status == 0


async def test_slack_asks_whether_there_is_an_app(slack: SlackServer, app: App) -> None:
    await slack.verify_url(app.url)
    assert app.heard[-1]["type"] == "url_verification"


async def test_files_are_for_those_with_the_token_who_may_see_them(slack: SlackServer, client: AsyncWebClient) -> None:
    file, external = slack.attach("fox.png", PNG), slack.attach("fox.png", PNG, link="https://files.example/fox.png")

    async def download(**headers: str) -> bytes:
        async with slack.session.get(file.download, headers=headers) as response:
            return await response.read()

    signed = {"Authorization": f"Bearer {slack.token}"}
    assert b"Sign in" in await download(**signed)  # nobody has shown it to the app
    assert await _error(client.files_info(file=file.id)) == "file_not_found"
    slack.write("look", channel="C2", files=[file])
    assert b"Sign in" in await download(**signed)
    slack.write("look", files=[file, external])
    assert await download(**signed) == PNG
    assert b"Sign in" in await download()
    assert b"Sign in" in await download(Authorization="Bearer xoxb-other")
    info = (await client.files_info(file=external.id))["file"]
    assert (info["mode"], info["url_private"]) == ("external", "https://files.example/fox.png")
    assert await _error(client.files_delete(file=file.id)) == "cant_delete_file"
    assert not slack.violations


async def test_people_have_locales_and_some_are_admins(slack: SlackServer, client: AsyncWebClient) -> None:
    slack.add_person("U3", is_admin=True, locale="de-DE")
    user = (await client.users_info(user="U3", include_locale=True))["user"]
    assert (user["is_admin"], user["locale"]) == (True, "de-DE")
    assert "locale" not in (await client.users_info(user="U1"))["user"]
    assert await _error(client.users_info(user="U9")) == "user_not_found"
    slack.scopes.discard("users:read")
    assert await _error(client.users_info(user="U1")) == "missing_scope"


async def test_an_app_gets_what_its_manifest_asks_for(slack: SlackServer, client: AsyncWebClient, app: App) -> None:
    manifest: dict[str, Any] = {"features": {}, "settings": {}, "oauth_config": {"scopes": {"bot": ["chat:write"]}}}
    message = await _post(slack, client)
    slack.install(manifest)
    assert (await slack.mention(app.url, "a fox")).status == 0
    assert (await slack.click(app.url, message, "Again")).status == 0
    assert "no interactivity" in slack.violations[0]
    with pytest.raises(ValueError, match="no message shortcut"):
        await slack.message_shortcut(app.url, "imagine", message)
    manifest["settings"] = {"interactivity": {"is_enabled": True}, "event_subscriptions": {"bot_events": ["app_mention"]}}
    manifest["features"] = {"shortcuts": [{"callback_id": "imagine", "type": "message"}]}
    manifest["oauth_config"]["scopes"]["bot"].append("app_mentions:read")
    slack.install(manifest)
    acks = [await slack.mention(app.url, "a fox"), await slack.click(app.url, message, "Again")]
    acks.append(await slack.message_shortcut(app.url, "imagine", message))
    assert [ack.status for ack in acks] == [200] * 3


@pytest.fixture
def now(slack: SlackServer) -> Iterator[list[float]]:
    """Hold the clock: a list of one."""
    time_ = [time.time()]
    slack.clock = lambda: time_[0]
    slack.keeps_rates = True
    return iter([time_])


async def test_rates_are_kept_by_the_clock(slack: SlackServer, client: AsyncWebClient, now: Iterator[list[float]]) -> None:
    clock = next(now)
    ts = (await client.chat_postMessage(channel="C1", text="one"))["ts"]
    assert await _error(client.chat_postMessage(channel="C1", text="two")) == "ratelimited"
    await client.chat_postMessage(channel="G1", text="two")
    clock[0] += 1
    await client.chat_postMessage(channel="C1", text="two")
    for _ in range(50):
        await client.chat_update(channel="C1", ts=ts, text="more")
    with pytest.raises(SlackApiError) as caught:
        await client.chat_update(channel="C1", ts=ts, text="more")
    assert caught.value.response.headers["Retry-After"] == "60"
    clock[0] += 61
    await client.chat_update(channel="C1", ts=ts, text="more")
    assert [call.method for call in slack.limited] == ["chat.postMessage", "chat.update"]


async def test_pictures_are_fetched_once_by_the_name_that_the_world_knows(
    slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    slack.publish("http://127.0.0.1:9", "fox.example")
    slack.publish(app.url, "fox.example")
    await slack.command(app.url, "")
    assert app.headers[-1]["Host"] == "fox.example"
    block: dict[str, Any] = {"type": "image", "alt_text": "a fox", "image_url": "https://fox.example/picture.png"}
    await client.chat_postMessage(channel="C1", text="fox", blocks=[block])
    assert slack.messages[-1].pictures == [PNG]
    assert slack.seen == {"https://fox.example/picture.png": PNG}


async def test_response_urls_of_private_words_replace_and_delete_them(
    slack: SlackServer, client: AsyncWebClient, app: App
) -> None:
    button = {"type": "button", "text": _plain("Go"), "action_id": "go"}
    blocks = [{"type": "actions", "elements": [button]}]
    await client.chat_postEphemeral(channel="C1", user="U1", text="sure?", blocks=blocks)
    message = slack.messages[-1]
    ack = await slack.click(app.url, message, "Go")
    assert "message" not in app.heard[-1]
    async with aiohttp.ClientSession() as http:
        await http.post(ack.response_url, json={"replace_original": True, "text": "gone"})
        assert (message.text, message.ephemeral_to) == ("gone", "U1")
        await http.post(ack.response_url, json={"delete_original": True})
    assert message.deleted
    assert not slack.violations


def asking(slack: SlackServer, **other: str) -> str:
    """Return the address of the page on which an admin is asked."""
    wanted = {"client_id": slack.consent.client_id, "scope": "commands,chat:write", "state": "x"} | other
    return f"{slack.root}/oauth/v2/authorize?{urlencode(wanted)}"


async def test_a_token_opens_the_workspace_that_it_is_of(slack: SlackServer) -> None:
    slack.redirect_urls = ["https://app.example.com/back"]
    other = slack.neighbour(team_id="T0OTHER")
    back = slack.consent.allow(asking(slack), other)
    assert back.startswith("https://app.example.com/back?code=")
    code = parse_qs(urlsplit(back).query)["code"][0]
    about = slack.consent.client_id, slack.consent.client_secret
    async with aiohttp.ClientSession() as session:

        async def call(method: str, authorization: str, **sent: str) -> dict[str, Any]:
            headers = {"Authorization": authorization}
            async with session.post(f"{slack.url}{method}", data=sent, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
            return answer

        granted = await call("oauth.v2.access", aiohttp.encode_basic_auth(*about), code=code)
        again = await call("oauth.v2.access", aiohttp.encode_basic_auth(*about), code=code)
        whose = [await call("auth.test", f"Bearer {token}") for token in (granted["access_token"], slack.token, "xoxb-x")]
    assert granted["scope"] == "chat:write,commands"
    assert again["error"] == "code_already_used"
    assert [each.get("team_id") for each in whose] == ["T0OTHER", "T0TEAM", None]


@pytest.mark.parametrize("other", [{"client_id": "1.2"}, {"scope": "admin"}, {"state": ""}, {"user_scope": "search:read"}])
async def test_an_app_that_asks_wrongly_is_shown_an_error(other: dict[str, str], slack: SlackServer) -> None:
    slack.redirect_urls = ["https://app.example.com/back"]
    with pytest.raises(AssertionError, match="would be refused"):
        slack.consent.allow(asking(slack, **other), slack)
