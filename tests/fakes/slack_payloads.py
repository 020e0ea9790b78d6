"""What Slack sends to an app: commands, clicks, forms, shortcuts and events, and the objects in them.

https://docs.slack.dev/reference/interaction-payloads and https://docs.slack.dev/apis/events-api
"""

import copy
import hashlib
import html
import re
import time
from typing import Any

from tests.fakes.slack_world import File, Kind, Message, View, World, mimetype

CHANNEL_NAMES = {Kind.PUBLIC: "general", Kind.PRIVATE: "privategroup", Kind.DM: "directmessage"}
LINK = re.compile(r"\bhttps?://[^\s<>]+")


def command(world: World, text: str, *, user: str, channel: str, name: str = "/imagine") -> dict[str, str]:
    """Write the form of a slash command."""
    return {
        "token": "deprecated-verification-token",
        "team_id": world.team_id,
        "team_domain": "fake",
        "channel_id": channel,
        "channel_name": CHANNEL_NAMES[world.channels[channel].kind],
        "user_id": user,
        "user_name": user.lower(),
        "command": name,
        "text": text,
        "api_app_id": world.app_id,
        "is_enterprise_install": "false",
    } | ({"enterprise_id": world.organisation, "is_enterprise_install": "true"} if world.organisation else {})


def click(world: World, message: Message, button: dict[str, Any], user: str) -> dict[str, Any]:
    """Write what a press of a message's button sends."""
    blocks = _named(message.blocks)
    found = ((b, e) for b, old in zip(blocks, message.blocks, strict=True) for e in _buttons(b, old, button))
    nothing: dict[str, Any] = {}
    block, element = next(found, (nothing, button))
    place = {"message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": bool(message.ephemeral_to)}
    thread = {"thread_ts": found_in} if (found_in := thread_of(world, message)) else {}
    shown = {} if message.ephemeral_to else {"message": message_json(world, message)}
    action = {"action_id": "unnamed", **element, "block_id": block.get("block_id", "unnamed")}
    return {
        **_about(world, "block_actions", user),
        "container": {"type": "message", **place, **thread},
        "channel": _channel(world, message.channel),
        **shown,
        "state": {"values": {}},
        "actions": [{**action, "action_ts": f"{time.time():.6f}"}],
    }


def shortcut(world: World, callback_id: str, user: str) -> dict[str, Any]:
    """Write what a global shortcut sends: it knows of no channel."""
    return {**_about(world, "shortcut", user), "callback_id": callback_id, "action_ts": f"{time.time():.6f}"}


def message_shortcut(world: World, callback_id: str, message: Message, user: str) -> dict[str, Any]:
    """Write what a message's shortcut sends."""
    return {
        **_about(world, "message_action", user),
        "callback_id": callback_id,
        "action_ts": f"{time.time():.6f}",
        "channel": _channel(world, message.channel),
        "message_ts": message.ts,
        "message": message_json(world, message),
    }


def submission(world: World, view: View) -> dict[str, Any]:
    """Write what a form sends: it knows of no channel either, beyond what stands in its metadata."""
    return {**_about(world, "view_submission", view.user), "view": view_json(world, view), "response_urls": []}


def closing(world: World, view: View) -> dict[str, Any]:
    """Write what is sent when a form is closed, if the form asks for it."""
    return {**_about(world, "view_closed", view.user), "view": view_json(world, view), "is_cleared": False}


def mention(world: World, message: Message) -> dict[str, Any]:
    """Write the event of a message that calls the app in a channel."""
    return {**_said(world, message), "type": "app_mention"}


def direct(world: World, message: Message) -> dict[str, Any]:
    """Write the event of a message in the app's own conversation with somebody: also of what the app says there."""
    share = {"subtype": "file_share"} if message.files and message.user != world.bot_user_id else {}
    return {**_said(world, message), **share, "channel_type": "im"}


def callback(world: World, event: dict[str, Any]) -> dict[str, Any]:
    """Wrap an event as the Events API does."""
    number = world.number()
    return {
        "token": "deprecated-verification-token",
        "team_id": world.team_id,
        "context_team_id": world.team_id,
        "context_enterprise_id": None,
        "api_app_id": world.app_id,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{number:09}",
        "event_time": int(world.clock()),
        "authorizations": [
            {"enterprise_id": world.organisation or None, "team_id": world.team_id, "user_id": world.bot_user_id}
            | {"is_bot": True, "is_enterprise_install": bool(world.organisation)}
        ],
        "is_ext_shared_channel": False,
        "event_context": f"4-{number}",
    }


def message_json(world: World, message: Message) -> dict[str, Any]:
    """Show a message as Slack's API does."""
    by_bot = {"bot_id": "B0BOT", "app_id": world.app_id} if message.user == world.bot_user_id else {}
    files = [file_json(world, file) for file in message.files]
    optional = {"thread_ts": thread_of(world, message), "blocks": _named(message.blocks), "files": files}
    optional["attachments"] = [_forwarded(world, message.forwards)] if message.forwards else []
    about = {"type": "message", "ts": message.ts, "user": message.user, "team": world.team_id, "text": message.text}
    return about | by_bot | {key: value for key, value in optional.items() if value}


def _forwarded(world: World, message: Message) -> dict[str, Any]:
    """Show what a message forwards: beside it, as its own text and files are those of whoever forwarded it."""
    shown = message_json(world, message)
    inside = {"team": world.team_id, "channel": message.channel, "ts": message.ts, "message": {"blocks": message.blocks}}
    about = {"is_share": True, "is_msg_unfurl": True, "channel_id": message.channel, "author_id": message.user, "id": 1}
    words = {"text": message.text, "fallback": message.text, "ts": message.ts, "message_blocks": [inside]}
    return about | words | ({"files": shown["files"]} if message.files else {})


def thread_of(world: World, message: Message) -> str | None:
    """Return the thread that Slack says a message is in: one that has replies is in its own."""
    replies = (m for m in world.messages if m.thread_ts == message.ts and m.channel == message.channel and not m.deleted)
    return message.thread_ts or (message.ts if any(replies) else None)


def file_json(world: World, file: File) -> dict[str, Any]:
    """Show a file as Slack's API does; of one that somebody deleted, messages keep no more than this."""
    if file.deleted:
        return {"id": file.id, "mode": "tombstone"}
    kind = mimetype(file.content or b"") if world.is_processed(file) else ""
    return {
        "id": file.id,
        "name": file.name,
        "title": file.title,
        "mimetype": kind,
        "filetype": kind.rpartition("/")[2],
        "size": file.length,
        "user": file.user,
        "mode": "external" if file.is_external else "hosted",
        "is_external": file.is_external,
        "url_private": file.url,
        "url_private_download": file.download,
        "permalink": file.url,
    }


def view_json(world: World, view: View) -> dict[str, Any]:
    """Show a view as Slack's API does."""
    ids = {"id": view.id, "team_id": world.team_id, "app_id": world.app_id, "bot_id": "B0BOT", "hash": view.hash}
    stack = {"root_view_id": view.id, "previous_view_id": None, "app_installed_team_id": world.team_id}
    usual = {"private_metadata": "", "callback_id": "", "external_id": "", "clear_on_close": False, "notify_on_close": False}
    return usual | copy.deepcopy(view.content) | ids | stack | {"state": {"values": copy.deepcopy(view.state)}}


def typed(world: World, text: str, *, to_bot: bool = False) -> tuple[str, list[dict[str, Any]]]:
    """Turn what a person types into a message's text, where names, links and < > & are marked, and its rich text."""
    marked = LINK.sub(lambda link: f"\0{link[0]}\1", text)
    marked = html.escape(marked, quote=False).replace("\0", "<").replace("\1", ">")
    elements: list[dict[str, Any]] = [{"type": "user", "user_id": world.bot_user_id}] if to_bot else []
    elements += [{"type": "text", "text": f" {text}" if to_bot else text}] if text else []
    blocks = [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}]
    marked = f"@imagine {marked}" if to_bot and "@imagine" not in marked else marked
    return marked.replace("@imagine", f"<@{world.bot_user_id}>").strip(), blocks


def _about(world: World, kind: str, user: str) -> dict[str, Any]:
    return {
        "type": kind,
        "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": world.team_id},
        "api_app_id": world.app_id,
        "token": "deprecated-verification-token",
        "team": None if world.organisation else {"id": world.team_id, "domain": "fake"},
        "enterprise": {"id": world.organisation, "name": "fake"} if world.organisation else None,
        "is_enterprise_install": bool(world.organisation),
    }


def _said(world: World, message: Message) -> dict[str, Any]:
    number = hashlib.sha256(message.ts.encode()).hexdigest()
    own = {} if message.user == world.bot_user_id else {"client_msg_id": f"{number[:8]}-{number[8:12]}"}
    return {**message_json(world, message), **own, "channel": message.channel, "event_ts": message.ts}


def _channel(world: World, channel: str) -> dict[str, str]:
    return {"id": channel, "name": CHANNEL_NAMES[world.channels[channel].kind]}


def _named(blocks: list[Any]) -> list[Any]:
    """Name the blocks that have no name, as Slack does."""
    return [{"block_id": f"b{index}", **copy.deepcopy(block)} for index, block in enumerate(blocks)]


def _buttons(block: dict[str, Any], old: dict[str, Any], button: dict[str, Any]) -> list[dict[str, Any]]:
    """Find a button in a block, by what it was before it was copied."""
    copies = [*block.get("elements", []), block.get("accessory")]
    originals = [*old.get("elements", []), old.get("accessory")]
    return [mine for mine, original in zip(copies, originals, strict=True) if original is button]
