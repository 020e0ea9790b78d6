"""Slack, from a signed command to what stands in the channel."""

from __future__ import annotations

import asyncio
import io
import json
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bot import recipe
from tests.conftest import until
from tests.fakes.faults import Fault

if TYPE_CHECKING:
    from tests.conftest import Service
    from tests.fakes.slack import SlackServer
    from tests.fakes.slack_world import Message


async def imagine(slack: SlackServer, service: Service, text: str = "a red fox --seed 7", **where: Any) -> Message:
    """Type a command, wait for its outcome, and return the one message that it is."""
    await slack.command(service.url, text, **where)
    await until(lambda: is_over(service))
    shown = [message for message in slack.messages if message.pictures and not message.thread_ts]
    assert len(shown) == 1
    return shown[0]


def is_over(service: Service) -> bool:
    return not service.desk_is_busy()


async def test_the_answer_comes_at_once_and_only_to_the_one_who_asked(slack: SlackServer, service: Service) -> None:
    service.generator.gate.clear()
    ack = await slack.command(service.url, "a red fox --seed 7")
    service.generator.gate.set()
    assert ack.status == 200
    assert ack.message
    assert ack.message.ephemeral_to == "U1"
    assert "a red fox" in ack.message.plain
    assert "seed 7" in ack.message.plain


async def test_the_picture_takes_the_place_of_the_status_with_alt_text_settings_and_recipe(
    slack: SlackServer, service: Service
) -> None:
    message = await imagine(slack, service)
    image = next(block for block in message.blocks if block["type"] == "image")
    assert image["alt_text"] == "a red fox"
    assert "256×256 · 4 steps · guidance 1 · seed 7 · sketch" in message.plain
    [png] = message.pictures
    with Image.open(io.BytesIO(png)) as picture:
        assert recipe.parse(picture.info["parameters"]).seed == 7


async def test_four_pictures_are_one_message(slack: SlackServer, service: Service) -> None:
    message = await imagine(slack, service, "a fox --n 4")
    assert len(set(message.pictures)) == 4


@pytest.mark.parametrize(
    "words",
    [
        "@everyone <!channel> <!here> <@U2> <!subteam^S1>",
        "`code` ```block``` *bold* _it_ ~no~ > quote & <https://a.example|link>",
        "<!channel> \u202e backwards",
        ":fire: \"quotes\" 'and' \\slashes\\ --",
    ],
)
async def test_words_are_shown_as_typed_and_ping_nobody_else(words: str, slack: SlackServer, service: Service) -> None:
    message = await imagine(slack, service, words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    assert " ".join(words.replace("\u202e", "").split()) in message.plain
    assert {ping for posted in slack.messages for ping in posted.pings} <= {"<U1>"}


async def test_what_cannot_be_drawn_is_told_to_the_one_who_asked_and_nothing_is_queued(
    slack: SlackServer, service: Service
) -> None:
    ack = await slack.command(service.url, "a fox --sede 7 <!channel>")
    assert ack.message
    assert "Did you mean --seed?" in ack.message.plain
    assert ack.message.ephemeral_to == "U1"
    assert not service.desk_is_busy()


async def test_people_are_asked_about_once_and_nobody_waits_for_it(slack: SlackServer, service: Service) -> None:
    slack.people["U1"].locale = "de-DE"
    slack.faults.next("users.info", Fault.HANG)
    acks = await asyncio.gather(*(slack.command(service.url, "a fox --sede 7", user="U2") for _ in range(5)))
    acks += await asyncio.gather(*(slack.command(service.url, "a fox --sede 7", user="U1") for _ in range(5)))
    assert [call.method for call in slack.calls] == ["users.info"] * 2
    assert acks[0].seconds < 2
    assert ["Did you mean" in ack.message.plain for ack in acks if ack.message] == [True] * 5 + [False] * 5


async def test_whom_slack_has_told_us_about_waits_for_slack_no_more(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_people.KNOWN_FOR", 0.0)
    monkeypatch.setattr("bot.slack_people.PATIENCE", 60.0)
    slack.people["U1"].locale = "de-DE"
    first = await slack.command(service.url, "a fox --sede 7")
    slack.faults.next("users.info", Fault.HANG)
    second = await slack.command(service.url, "a fox --sede 7")
    assert [call.method for call in slack.calls] == ["users.info"] * 2
    assert first.message
    assert second.message
    assert second.message.plain == first.message.plain
    assert "Did you mean" not in second.message.plain


async def test_what_was_known_of_somebody_serves_on_where_slack_does_not_answer(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_people.KNOWN_FOR", 0.0)
    slack.people["U1"].locale = "de-DE"
    acks = [await slack.command(service.url, "a fox --sede 7")]
    slack.faults.next("users.info", Fault.SERVER_ERROR)
    acks.append(await slack.command(service.url, "a fox --sede 7"))
    await until(lambda: slack.faults.struck)
    acks.append(await slack.command(service.url, "a fox --sede 7"))
    assert ["Did you mean" in ack.message.plain for ack in acks if ack.message] == [False] * 3


async def test_a_crowd_of_strangers_does_not_wait_in_line(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_people.AT_A_TIME", 1)
    monkeypatch.setattr("bot.slack_people.PATIENCE", 60.0)
    slack.faults.next("users.info", Fault.HANG)
    waiting = asyncio.create_task(slack.command(service.url, "a fox --sede 7", user="U1"))
    await until(lambda: slack.calls)
    ack = await slack.command(service.url, "a fox --sede 7", user="U2")
    assert ack.message
    assert not waiting.done()
    waiting.cancel()


async def test_slack_finds_an_app_at_the_address_for_events(slack: SlackServer, service: Service) -> None:
    ack = await slack.verify_url(service.url)
    assert (ack.status, "3eZbrw1aBm2rZgRNFdxV" in str(ack.body)) == (200, True)


@pytest.mark.parametrize("event", [{"type": "app_mention"}, {"type": "message", "subtype": "message_changed", "channel": "D1"}])
async def test_an_event_in_which_nobody_says_anything_is_taken_and_left(
    event: dict[str, Any], slack: SlackServer, service: Service
) -> None:
    ack = await slack.event(service.url, event)
    assert ack.status == 200
    assert slack.messages == []


MALFORMED = [
    *("payload=notjson", "payload=", "payload=[]", "payload=1", "payload=null", "payload=" + "[" * 100_000),
    *("{", "[]", "1", '{"type": "event_callback", "event": []}', '{"type": "event_callback", "event": {"type": "app_mention"'),
    '{"type": "event_callback", "event": {"type": "app_mention", "user": "U1"}}',
    '{"type": "event_callback", "team_id": "T", "event_id": "E", "event": {"type": "message", "user": "U1"}}',
    *(
        f"payload={json.dumps(payload)}"
        for payload in (
            {"type": "block_actions"},
            {"type": "block_actions", "actions": []},
            {"type": "block_actions", "actions": [{"action_id": f"imagine:redraw:{'0' * 24}:0:U1"}]},
            {"type": "view_submission", "view": {"callback_id": "imagine"}},
            {"type": "view_submission", "view": {"callback_id": "imagine", "private_metadata": "x", "state": {"values": {}}}},
            {"type": "view_submission", "view": {"callback_id": "imagine_confirmed", "private_metadata": "{}"}},
            {"type": "message_action", "callback_id": "imagine_this"},
            {"type": "shortcut", "callback_id": "imagine_new"},
            {"type": "nonsense"},
        )
    ),
]


@pytest.mark.parametrize("body", MALFORMED)
async def test_what_slack_never_sends_is_refused_in_words(body: str, slack: SlackServer, service: Service) -> None:
    kind = "application/x-www-form-urlencoded" if body.startswith("payload") else "application/json"
    async with slack.session.post(
        f"{service.url}/slack/events", data=body, headers=slack.sign(body, content_type=kind)
    ) as answer:
        assert answer.status in {400, 404}
        assert await answer.text()


async def test_help_lists_the_models(slack: SlackServer, service: Service) -> None:
    ack = await slack.command(service.url, "--help")
    assert ack.message
    assert "sketch" in ack.message.plain


async def test_a_public_channel_is_joined(slack: SlackServer, service: Service) -> None:
    message = await imagine(slack, service, channel="C2")
    assert message.channel == "C2"
    assert slack.channels["C2"].bot_is_member


@pytest.mark.parametrize("channel", ["G2", "D2"])
async def test_where_the_bot_is_not_a_member_the_picture_comes_by_link_with_the_way_to_invite_it(
    channel: str, slack: SlackServer, service: Service
) -> None:
    message = await imagine(slack, service, channel=channel)
    assert message.channel == channel
    assert len(message.pictures) == 1
    assert "/invite" in message.plain


async def test_an_archived_channel_gets_the_picture_by_link_or_directly(slack: SlackServer, service: Service) -> None:
    assert len((await imagine(slack, service, channel="C9")).pictures) == 1


async def test_a_missing_scope_is_named_and_the_picture_comes_all_the_same(slack: SlackServer, service: Service) -> None:
    slack.scopes.discard("files:write")
    message = await imagine(slack, service)
    assert len(message.pictures) == 1
    assert "files:write" in message.plain


async def test_a_file_that_slack_shares_nowhere_is_shown_by_link(slack: SlackServer, service: Service) -> None:
    slack.silently_unshared = True
    message = await imagine(slack, service)
    assert any("image_url" in block for block in message.blocks)


async def test_where_no_picture_can_be_posted_the_person_is_told_so_and_it_is_kept(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.web._site", lambda _request: "http://127.0.0.1:9")  # where Slack finds nothing
    slack.scopes -= {"im:write", "chat:write"}
    await slack.command(service.url, "a fox")
    await until(lambda: is_over(service))
    [told] = [message for message in slack.messages if "imagine show" in message.plain]
    assert told.ephemeral_to == "U1"
    assert "chat:write" in told.plain


async def test_what_cannot_be_delivered_at_all_is_kept(slack: SlackServer, service: Service) -> None:
    service.generator.gate.clear()
    await slack.command(service.url, "a fox", channel="G2")
    slack.clock = lambda: time.time() + 3600  # the response_url has expired
    slack.scopes.discard("im:write")
    service.generator.gate.set()
    await until(lambda: is_over(service))
    assert [path.name for path in service.folder.glob("pictures/*/*")] == ["0.png"]


async def test_a_status_that_somebody_deleted_is_posted_anew(
    slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.0)
    service.generator.gate.clear()
    await slack.command(service.url, "a fox --steps 20")
    await until(lambda: [m for m in slack.messages if m.via == "api"])
    slack.delete(next(m for m in slack.messages if m.via == "api"))
    service.generator.gate.set()
    await until(lambda: is_over(service))
    assert len([m for m in slack.messages if m.pictures and not m.thread_ts]) == 1


FAULTS = [
    ("chat.postMessage", Fault.RATE_LIMITED),
    ("chat.postMessage", Fault.RESET),
    ("chat.update", Fault.SERVER_ERROR),
    ("chat.update", Fault.LOST_ANSWER),
    ("files.getUploadURLExternal", Fault.RESET),
    ("upload", Fault.SERVER_ERROR),
    ("upload", Fault.LOST_ANSWER),
    ("files.completeUploadExternal", Fault.RATE_LIMITED),
    ("files.completeUploadExternal", Fault.LOST_ANSWER),
    ("files.completeUploadExternal", Fault.RESET),
    ("files.info", Fault.SERVER_ERROR),
]


@pytest.mark.parametrize(("method", "fault"), FAULTS)
async def test_a_fault_on_the_way_changes_nothing(method: str, fault: Fault, slack: SlackServer, service: Service) -> None:
    slack.faults.next(method, fault)
    await imagine(slack, service)
    assert (method, fault) in slack.faults.struck
    shares = [share for file in slack.files.values() for share in file.shares]
    assert len(shares) == 1


async def test_a_quick_drawing_is_posted_without_statuses(slack: SlackServer, service: Service) -> None:
    await imagine(slack, service)
    assert [call.method for call in slack.calls if call.method.startswith("chat.")] == ["chat.postMessage", "chat.update"]


async def test_statuses_keep_their_distance(slack: SlackServer, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack_reply.Reply.edit_every", 0.1)
    service.generator.step_seconds = 0.02
    message = await imagine(slack, service, "a fox --steps 50")
    steps = [edit.time for edit in message.edits if "step" in edit.text]
    assert len(steps) >= 3
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(steps))


async def test_no_secret_is_ever_logged(slack: SlackServer, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for fault in Fault.SERVER_ERROR, Fault.RESET, Fault.RATE_LIMITED:
        slack.faults.next("*", fault)
    ack = await slack.command(service.url, "a fox", channel="G2")
    await until(lambda: is_over(service))
    assert caplog.text
    for secret in (slack.token, slack.signing_secret, ack.response_url, ack.trigger_id):
        assert secret not in caplog.text
