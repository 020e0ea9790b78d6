"""The Web API methods an image bot calls, each with the scope and the arguments it takes.

https://docs.slack.dev/reference/methods
"""

import html
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from tests.fakes import slack_blocks, slack_views
from tests.fakes.slack_payloads import file_json, message_json, view_json
from tests.fakes.slack_world import File, Kind, Message, Refusal, Via, View, World

Arguments = Mapping[str, Any]
Handler = Callable[[World, Arguments], Awaitable[dict[str, Any]]]
Reader = Callable[[Any], Any]  # raises if an argument is of the wrong type

TIMESTAMP = re.compile(r"\d{9,11}\.\d{6}")
MAX_ALT = 1000
MAX_WAIT = 3.0  # seconds that a trigger_id lasts


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _flag(value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if (word := str(value).lower()) not in words:
        raise ValueError(value)
    return words[word]


def _number(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(value)
    return int(value)


def _list(value: Any) -> list[Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, list):
        raise TypeError(value)
    return found


def _object(value: Any) -> dict[str, Any]:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict):
        raise TypeError(value)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method: who may call it, what it takes, what it does."""

    do: Handler
    scope: str | None = None
    required: Mapping[str, Reader]
    optional: Mapping[str, Reader]
    takes_json: bool = True

    def read(self, name: str, sent: Mapping[str, Any]) -> Arguments:
        """Read the arguments, and refuse strange ones (Slack itself would sometimes shrug)."""
        known = {**self.required, **self.optional}
        problems = [f"missing required field: {key}" for key in self.required.keys() - sent.keys()]
        problems += [f"unknown argument: {key}" for key in sent.keys() - known.keys()]
        found = {}
        for key in known.keys() & sent.keys():
            try:
                found[key] = known[key](sent[key])
            except (TypeError, ValueError):
                problems.append(f"wrong type: {key}")
        if problems:
            _invalid(name, *sorted(problems))
        return found


def _invalid(name: str, *problems: str) -> NoReturn:
    messages = {"messages": [f"[ERROR] {problem}" for problem in problems]}
    raise Refusal("invalid_arguments", f"{name}: {'; '.join(problems)}.", response_metadata=messages)


async def compose(
    world: World, channel: str, sent: Arguments, *, most: int = slack_blocks.MAX_TEXT, strict: bool = False
) -> dict[str, Any]:
    """Check what a message says, and make the parts of it that `World.post` and `World.edit` take."""
    text, blocks = sent.get("markdown_text") or sent.get("text", ""), sent.get("blocks", [])
    if "markdown_text" in sent and ("text" in sent or "blocks" in sent):
        raise Refusal("markdown_text_conflict", "markdown_text was sent together with text or blocks.")
    if not text.strip() and not blocks and not sent.get("attachments"):
        raise Refusal("no_text", f"A message without text or blocks was sent to {channel}.")
    size = len(text) if most == slack_blocks.MAX_TEXT else len(html.escape(html.unescape(text), quote=False).encode())
    if size > most:
        raise Refusal("msg_too_long", f"A message of {size} is too long; {most} fit.")
    return {
        "text": text,
        "blocks": blocks,
        "images": await slack_blocks.look(world, channel, text, blocks, strict=strict),
    }


def check_thread(world: World, channel: str, thread_ts: str | None) -> None:
    """Insist that a thread hangs on a message people can see, which is not itself a reply."""
    if thread_ts is None:
        return
    if not TIMESTAMP.fullmatch(thread_ts):
        raise Refusal("invalid_thread_ts", f"{thread_ts!r} is not a valid thread_ts.")
    root = world.find(channel, thread_ts)
    if root is None or root.ephemeral_to:
        raise Refusal("thread_not_found", f"thread_ts {thread_ts} names no message in {channel}.")
    if root.deleted:
        raise Refusal("thread_not_found")
    if root.thread_ts not in {None, thread_ts}:
        world.violations.append(f"thread_ts {thread_ts} names a reply, not the message it replies to.")


def _is_linked(sent: Arguments) -> bool:
    return bool(sent.get("link_names")) or sent.get("parse") == "full"


async def _post_message(world: World, sent: Arguments) -> dict[str, Any]:
    to_person = sent["channel"][:1] in {"U", "W"} and sent["channel"] in world.people
    channel = world.direct(sent["channel"]) if to_person else world.reach(sent["channel"])
    check_thread(world, channel.id, sent.get("thread_ts"))
    parts = await compose(world, channel.id, sent)
    message = world.post(channel.id, thread_ts=sent.get("thread_ts"), linked=_is_linked(sent), **parts)
    return {"channel": channel.id, "ts": message.ts, "message": message_json(world, message)}


async def _post_ephemeral(world: World, sent: Arguments) -> dict[str, Any]:
    channel = world.reach(sent["channel"])
    if sent["user"] not in channel.members:
        raise Refusal("user_not_in_channel")
    check_thread(world, channel.id, sent.get("thread_ts"))
    parts = await compose(world, channel.id, sent)
    thread = sent.get("thread_ts")
    message = world.post(channel.id, thread_ts=thread, ephemeral_to=sent["user"], linked=_is_linked(sent), **parts)
    return {"message_ts": message.ts}


def _own(world: World, sent: Arguments, error: str) -> Message:
    if world.see(sent["channel"]).is_archived:
        raise Refusal("is_inactive")
    message = world.message(world.reach(sent["channel"]).id, sent["ts"])
    if message.user != world.bot_user_id or message.via in {Via.ACK, Via.RESPONSE_URL}:
        raise Refusal(error)
    return message


async def _update(world: World, sent: Arguments) -> dict[str, Any]:
    message = _own(world, sent, "cant_update_message")
    kept = {} if "text" in sent or "markdown_text" in sent else {"text": message.text, "blocks": message.blocks}
    parts = await compose(world, message.channel, kept | dict(sent), most=slack_blocks.MAX_EDIT)
    world.edit(message, **parts)
    return {"channel": message.channel, "ts": message.ts, "text": message.text, "message": message_json(world, message)}


async def _delete(world: World, sent: Arguments) -> dict[str, Any]:
    message = _own(world, sent, "cant_delete_message")
    world.delete(message)
    return {"channel": message.channel, "ts": message.ts}


async def _get_upload_url(world: World, sent: Arguments) -> dict[str, Any]:
    if sent["length"] <= 0 or not sent["filename"]:
        raise Refusal("missing_argument", f"An upload of {sent['length']} bytes named {sent['filename']!r} was announced.")
    if len(sent.get("alt_txt", "")) > MAX_ALT:
        raise Refusal("alt_txt_too_large", f"alt_txt is longer than {MAX_ALT} characters.")
    id_, name = f"F{world.number():07}", sent["filename"]
    url = f"{world.root}/files-pri/{world.team_id}-{id_}/{name}"
    upload = f"{world.team_id}-{world.number():06}{id_}"
    about = {"length": sent["length"], "upload": upload, "alt_txt": sent.get("alt_txt"), "user": world.bot_user_id}
    world.files[id_] = File(id=id_, name=name, url=url, **about)
    return {"upload_url": f"{world.root}/upload/v1/{upload}", "file_id": id_}


def _uploaded(world: World, listed: Any) -> File:
    if not isinstance(listed, dict) or not isinstance(listed.get("id"), str) or listed.keys() - FILE_FIELDS:
        _invalid("files.completeUploadExternal", f"bad entry in files: {listed}")
    file = world.files.get(listed["id"])
    if file is None or file.content is None:
        raise Refusal("file_not_found", f"The upload of {listed['id']} was completed, but never made.")
    if file.completed is not None:
        raise Refusal("file_not_found")  # the ticket is used up
    return file


async def _complete_upload(world: World, sent: Arguments) -> dict[str, Any]:
    name = "files.completeUploadExternal"
    files = [_uploaded(world, listed) for listed in sent["files"]]
    if not files or len({file.id for file in files}) < len(files) or ("channel_id" in sent and "channels" in sent):
        _invalid(name, "files must be listed once, channels in one argument")
    ids = [part for part in (sent.get("channel_id") or sent.get("channels", "")).split(",") if part]
    channels = [world.reach(id_) for id_ in ids]
    if "thread_ts" in sent and len(channels) != 1:
        _invalid(name, "thread_ts needs exactly one channel")
    for channel in channels:
        check_thread(world, channel.id, sent.get("thread_ts"))
    parts = [await _introduction(world, channel.id, sent, files) for channel in channels]
    for file, listed in zip(files, sent["files"], strict=True):
        file.completed, file.title = world.clock(), listed.get("title", file.name)
    if not _gets_lost(world, files):
        for channel, part in zip(channels, parts, strict=True):
            world.post(channel.id, thread_ts=sent.get("thread_ts"), via=Via.FILE_SHARE, files=list(files), **part)
    return {"files": [{"id": file.id, "title": file.title} for file in files]}


async def _introduction(world: World, channel: str, sent: Arguments, files: list[File]) -> dict[str, Any]:
    comment, blocks = sent.get("initial_comment", ""), sent.get("blocks", [])
    if comment and blocks:
        world.violations.append("files.completeUploadExternal ignores blocks where there is an initial_comment.")
        blocks = []
    if any(isinstance(block, dict) and block.get("type") == "markdown" for block in blocks):
        raise Refusal("internal_error", "files.completeUploadExternal fails on markdown blocks.")
    shared = frozenset(file.id for file in files)
    return {
        "text": comment,
        "blocks": blocks,
        "images": await slack_blocks.look(world, channel, comment, blocks, shared=shared),
    }


def _gets_lost(world: World, files: list[File]) -> bool:
    """Slack sometimes says ok and shares nothing, and always does when a file came with an alt_txt."""
    lost = bool(world.silently_unshared) or any(file.alt_txt for file in files)
    if world.silently_unshared and world.silently_unshared is not True:
        world.silently_unshared -= 1
    return lost


def _file(world: World, sent: Arguments) -> File:
    file = world.files.get(sent["file"])
    if file is None or file.completed is None:
        raise Refusal("file_not_found")
    if file.deleted:
        raise Refusal("file_deleted")
    if not world.may_see(file):
        raise Refusal("file_not_found")
    return file


async def _file_info(world: World, sent: Arguments) -> dict[str, Any]:
    file = _file(world, sent)
    file.polls += 1
    shares: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for share in file.shares:
        access = "public" if world.channels[share.channel].kind is Kind.PUBLIC else "private"
        place = {"ts": share.ts} | ({"thread_ts": share.thread_ts} if share.thread_ts else {})
        shares.setdefault(access, {}).setdefault(share.channel, []).append(place)
    lists = {Kind.PUBLIC: "channels", Kind.PRIVATE: "groups", Kind.DM: "ims"}
    places: dict[str, list[str]] = {key: [] for key in lists.values()}
    for share in file.shares:
        places[lists[world.channels[share.channel].kind]].append(share.channel)
    return {"file": {**file_json(world, file), "shares": shares, **places}}


async def _file_delete(world: World, sent: Arguments) -> dict[str, Any]:
    file = _file(world, sent)
    if file.user != world.bot_user_id:
        raise Refusal("cant_delete_file")
    file.deleted, file.shares = True, []
    return {}


async def _join(world: World, sent: Arguments) -> dict[str, Any]:
    channel = world.see(sent["channel"])
    if channel.kind is not Kind.PUBLIC:
        raise Refusal("method_not_supported_for_channel_type")
    if channel.is_archived:
        raise Refusal("is_archived")
    warning = {"warning": "already_in_channel"} if channel.bot_is_member else {}
    channel.bot_is_member = True
    return {"channel": {"id": channel.id, "is_channel": True, "is_member": True}, **warning}


async def _open(world: World, sent: Arguments) -> dict[str, Any]:
    people = [person for person in sent.get("users", "").split(",") if person]
    if len(people) > 1:
        raise Refusal("method_not_supported_for_channel_type", "Only one person can be talked to at a time here.")
    if people:
        return {"channel": {"id": world.direct(people[0]).id}}
    if "channel" not in sent:
        raise Refusal("users_list_not_supplied", "conversations.open needs users or a channel.")
    if (channel := world.see(sent["channel"])).kind is not Kind.DM:
        raise Refusal("method_not_supported_for_channel_type")
    return {"channel": {"id": channel.id}}


async def _channel_info(world: World, sent: Arguments) -> dict[str, Any]:
    channel = world.see(sent["channel"])
    needed = {Kind.PUBLIC: "channels:read", Kind.PRIVATE: "groups:read", Kind.DM: "im:read"}[channel.kind]
    require(world, needed)
    about = {"id": channel.id, "is_member": channel.bot_is_member, "is_archived": channel.is_archived}
    return {"channel": {**about, "is_im": channel.kind is Kind.DM, "is_private": channel.kind is not Kind.PUBLIC}}


async def _user_info(world: World, sent: Arguments) -> dict[str, Any]:
    person = world.people.get(sent["user"])
    if person is None:
        raise Refusal("user_not_found")
    about: dict[str, Any] = {
        "id": person.id,
        "team_id": person.team or world.team_id,
        "name": person.id.lower(),
        "deleted": False,
    }
    if world.organisation and not person.team:
        about["enterprise_user"] = {"enterprise_id": world.organisation, "is_admin": person.is_admin_of_all, "is_owner": False}
    about |= {"is_admin": person.is_admin or person.is_owner, "is_owner": person.is_owner, "is_bot": False}
    return {"user": about | ({"locale": person.locale} if sent.get("include_locale") else {})}


async def _open_view(world: World, sent: Arguments) -> dict[str, Any]:
    trigger = world.triggers.get(sent["trigger_id"])
    if trigger is None:
        raise Refusal("invalid_trigger_id", "views.open was called with a trigger_id that never was.")
    if trigger.exchanged:
        raise Refusal("exchanged_trigger_id")
    if world.clock() - trigger.created > MAX_WAIT:
        raise Refusal("expired_trigger_id")
    view = slack_views.show(world, trigger.user, trigger.address.channel or None, sent["view"])
    trigger.exchanged = True
    return {"view": view_json(world, view)}


async def _update_view(world: World, sent: Arguments) -> dict[str, Any]:
    view = _view(world, sent)
    if sent.get("hash", view.hash) != view.hash:
        raise Refusal("hash_conflict")
    slack_views.check(sent["view"])
    slack_views.change(world, view, sent["view"])
    return {"view": view_json(world, view)}


def _view(world: World, sent: Arguments) -> View:
    for view in world.views:
        if view.is_open and sent.get("view_id") == view.id:
            return view
    raise Refusal("not_found")


async def _auth_test(world: World, _sent: Arguments) -> dict[str, Any]:
    about: dict[str, Any] = {"url": f"{world.root}/", "team": world.name, "user": "imagine", "team_id": world.team_id}
    about |= {"enterprise_id": world.organisation or None, "is_enterprise_install": bool(world.organisation)}
    return {**about, "user_id": world.bot_user_id, "bot_id": "B0BOT"}


def require(world: World, scope: str | None) -> None:
    """Refuse what the token was not granted."""
    if scope and scope not in world.scopes:
        raise Refusal("missing_scope", needed=scope, provided=",".join(sorted(world.scopes)))


FILE_FIELDS = {"id", "title", "highlight_type"}
SAYS: dict[str, Reader] = {"text": _text, "blocks": _list, "attachments": _list, "markdown_text": _text}
LINKS: dict[str, Reader] = {"link_names": _flag, "parse": _text}
POSTS = SAYS | LINKS | {"thread_ts": _text}
SHOWS: dict[str, Reader] = {"reply_broadcast": _flag, "unfurl_links": _flag, "unfurl_media": _flag, "mrkdwn": _flag}
PAGES: dict[str, Reader] = {"count": _number, "cursor": _text, "limit": _number, "page": _number}
SHARES: dict[str, Reader] = {
    "channel_id": _text,
    "channels": _text,
    "thread_ts": _text,
    "initial_comment": _text,
    "blocks": _list,
}
CHANNEL: dict[str, Reader] = {"channel": _text}
TS: dict[str, Reader] = {"channel": _text, "ts": _text}

METHODS: dict[str, Method] = {
    "chat.postMessage": Method(
        do=_post_message, scope="chat:write", required=CHANNEL, optional=POSTS | SHOWS | {"metadata": _object}
    ),
    "chat.postEphemeral": Method(do=_post_ephemeral, scope="chat:write", required=CHANNEL | {"user": _text}, optional=POSTS),
    "chat.update": Method(
        do=_update,
        scope="chat:write",
        required=TS,
        optional=SAYS | LINKS | {"reply_broadcast": _flag, "metadata": _object},
    ),
    "chat.delete": Method(do=_delete, scope="chat:write", required=TS, optional={}),
    "files.getUploadURLExternal": Method(
        do=_get_upload_url,
        scope="files:write",
        required={"filename": _text, "length": _number},
        optional={"alt_txt": _text, "snippet_type": _text},
        takes_json=False,
    ),
    "files.completeUploadExternal": Method(
        do=_complete_upload, scope="files:write", required={"files": _list}, optional=SHARES
    ),
    "files.info": Method(do=_file_info, scope="files:read", required={"file": _text}, optional=PAGES, takes_json=False),
    "files.delete": Method(do=_file_delete, scope="files:write", required={"file": _text}, optional={}),
    "conversations.join": Method(do=_join, scope="channels:join", required=CHANNEL, optional={}),
    "conversations.open": Method(
        do=_open,
        scope="im:write",
        required={},
        optional=CHANNEL | {"users": _text, "return_im": _flag, "prevent_creation": _flag},
    ),
    "conversations.info": Method(
        do=_channel_info,
        required=CHANNEL,
        optional={"include_locale": _flag, "include_num_members": _flag},
        takes_json=False,
    ),
    "users.info": Method(
        do=_user_info, scope="users:read", required={"user": _text}, optional={"include_locale": _flag}, takes_json=False
    ),
    "views.open": Method(do=_open_view, required={"trigger_id": _text, "view": _object}, optional={}),
    "views.update": Method(
        do=_update_view, required={"view": _object}, optional={"view_id": _text, "external_id": _text, "hash": _text}
    ),
    "auth.test": Method(do=_auth_test, required={}, optional={}),
}

# what an answer to a command, or a response_url, may say
REPLY: dict[str, Reader] = (
    SAYS
    | LINKS
    | SHOWS
    | {
        "thread_ts": _text,
        "response_type": _text,
        "replace_original": _flag,
        "delete_original": _flag,
        "metadata": _object,
    }
)
