"""Read what an app sends to Discord, JSON or multipart, and refuse what Discord would refuse.

https://discord.com/developers/docs/resources/message
"""

import json
import re
from collections.abc import AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import aiohttp
from aiohttp import web

from tests.fakes import schemas
from tests.fakes.discord_world import MAX_FILE, Flag, Message, Refusal, Upload, nodes

MAX_REQUEST = 25 * 2**20  # bytes
ACTION_ROW, BUTTON = 1, 2
FILE_PART = re.compile(r"files\[(\d+)\]")

SAYS = {"content", "embeds", "components", "attachments", "allowed_mentions", "flags", "tts"}
FIELDS = {  # by the name of the operation
    "create_message": SAYS | {"nonce", "enforce_nonce", "message_reference", "sticker_ids", "poll"},
    "update_message": SAYS | {"sticker_ids"},
    "execute_webhook": SAYS | {"poll", "username", "avatar_url", "thread_name", "applied_tags"},
    "update_original_webhook_message": SAYS | {"poll"},
    "update_webhook_message": SAYS | {"poll"},
    "create_interaction_response": SAYS | {"poll"},
}
TYPES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("embeds", "components", "attachments", "sticker_ids", "applied_tags"), (list,)),
    **dict.fromkeys(("allowed_mentions", "message_reference", "poll"), (dict,)),
    **dict.fromkeys(("content", "username", "avatar_url", "thread_name"), (str,)),
    **dict.fromkeys(("tts", "enforce_nonce"), (bool,)),
    "flags": (int,),
    "nonce": (int, str),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A payload, and the files sent along with it by number."""

    payload: Any = None
    files: Mapping[int, Upload] = field(default_factory=dict)


async def received(request: web.Request, max_file: int = MAX_FILE) -> Body:
    """Read a request to one of Discord's routes."""
    if (size := request.content_length or 0) > MAX_REQUEST:
        await request.read()
        raise Refusal(413, 40005, "Request entity too large", f"A request of {size} bytes was sent; {MAX_REQUEST} fit.")
    if request.content_type == "multipart/form-data":
        return await _multipart(await request.multipart(), max_file)
    content = await request.read()
    return _only_json(request.content_type, content) if content else Body()


async def answered(response: aiohttp.ClientResponse, max_file: int = MAX_FILE) -> Body:
    """Read an app's answer to an interaction."""
    if response.content_type == "multipart/form-data":
        return await _multipart(aiohttp.MultipartReader.from_response(response), max_file)
    content = await response.read()
    return _only_json(response.content_type, content) if content else Body()


def _only_json(content_type: str, content: bytes) -> Body:
    if content_type != "application/json":
        raise Refusal(400, 50035, "Invalid Form Body", f"JSON was expected, {content_type} came.")
    try:
        return Body(payload=json.loads(content))
    except ValueError:
        raise Refusal(400, 50109, "The request body contains invalid JSON.", "A body was not JSON.") from None


async def _multipart(parts: AsyncIterable[Any], max_file: int) -> Body:
    payload: Any = {}
    files: dict[int, Upload] = {}
    too_large = None
    async for part in parts:
        content = bytes(await part.read())
        if part.filename and len(content) > max_file:
            too_large = f"{part.filename} has {len(content)} bytes; {max_file} fit."
        if part.name == "payload_json":
            payload = _only_json("application/json", content).payload
        elif (match := FILE_PART.fullmatch(part.name or "")) and part.filename:
            files[int(match[1])] = Upload(filename=part.filename, content=content)
        else:
            raise Refusal(400, 50035, "Invalid Form Body", f"There is no place for a part named {part.name!r}.")
    if too_large:
        raise Refusal(413, 40005, "Request entity too large", too_large)
    return Body(payload=payload, files=files)


def check_schema(operation: str, payload: object) -> None:
    """Hold a payload against Discord's own document."""
    if (check := schemas.discord_request(operation)) and (problem := check(payload)):
        refuse(operation, "schema", problem)


def check_message(operation: str, body: Body, before: Message | None = None) -> None:
    """Hold a message, or a change of one, against Discord's rules."""
    payload = body.payload
    if not isinstance(payload, dict):
        refuse(operation, "payload", "must be an object")
    for key in payload.keys() - FIELDS[operation]:
        refuse(operation, key, "is not a field")
    for key, value in payload.items():
        if value is not None and (not isinstance(value, TYPES[key]) or (TYPES[key] == (int,) and value is True)):
            refuse(operation, key, f"must be of type {TYPES[key][0].__name__}")
    for key, problem, holds in RULES:
        if not _holds(holds, payload):
            refuse(operation, key, problem)
    _check_attachments(operation, payload, body.files, before)
    _check_substance(operation, payload, body.files, before)


def refuse(operation: str, key: str, problem: str) -> NoReturn:
    """Refuse a body for one of its fields."""
    errors = {key: {"_errors": [{"code": "INVALID", "message": problem}]}}
    raise Refusal(400, 50035, "Invalid Form Body", f"{operation}: {key} {problem}.", errors=errors)


def _holds(rule: Callable[[dict[str, Any]], bool], payload: dict[str, Any]) -> bool:
    try:
        return rule(payload)
    except (TypeError, AttributeError):  # a field of the wrong type
        return False


def _each(payload: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [entry for entry in payload.get(key) or [] if isinstance(entry, dict)]


def _holds_for_nodes(holds: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], bool]:
    return lambda payload: all(holds(node) for node in nodes(payload.get("components") or []))


def _is_v2(payload: Mapping[str, Any]) -> bool:
    return bool((payload.get("flags") or 0) & Flag.COMPONENTS_V2)


def _custom_ids(payload: Mapping[str, Any]) -> list[Any]:
    return [node["custom_id"] for node in nodes(payload.get("components") or []) if "custom_id" in node]


def _row_fits(node: dict[str, Any]) -> bool:
    return node.get("type") != ACTION_ROW or 1 <= len(node.get("components") or []) <= 5


def _has_words(node: dict[str, Any]) -> bool:
    """Discord itself is content with an emoji; whoever hears a page read out is not."""
    return node.get("type") != BUTTON or bool(node.get("label"))


def _is_choice_clear(payload: Mapping[str, Any]) -> bool:
    allowed = payload.get("allowed_mentions") or {}
    return not any(kind in (allowed.get("parse") or []) and allowed.get(kind) for kind in ("users", "roles"))


Rule = tuple[str, str, Callable[[dict[str, Any]], bool]]

RULES: list[Rule] = [
    ("content", "must be 2000 or fewer in length", lambda p: len(p.get("content") or "") <= 2000),
    ("embeds", "must be 10 or fewer", lambda p: len(p.get("embeds") or []) <= 10),
    ("attachments", "must be 10 or fewer", lambda p: len(p.get("attachments") or []) <= 10),
    ("attachments", "must have ids", lambda p: all("id" in a for a in p.get("attachments") or [])),
    (
        "attachments",
        "must have descriptions of 1024 or fewer characters",
        lambda p: all(len(a.get("description") or "") <= 1024 for a in _each(p, "attachments")),
    ),
    ("components", "must have 1 to 5 parts in a row", _holds_for_nodes(_row_fits)),
    (
        "components",
        "must have custom_ids of 1 to 100 characters",
        lambda p: all(isinstance(id_, str) and 1 <= len(id_) <= 100 for id_ in _custom_ids(p)),
    ),
    ("components", "must not share a custom_id", lambda p: len(set(_custom_ids(p))) == len(_custom_ids(p))),
    (
        "components",
        "must have labels of 80 or fewer characters",
        _holds_for_nodes(lambda n: len(n.get("label") or "") <= 80),
    ),
    ("components", "must have buttons with words", _holds_for_nodes(_has_words)),
    (
        "components",
        "must be at most 5 action rows without the flag for the second version",
        lambda p: (
            _is_v2(p)
            or (len(p.get("components") or []) <= 5 and all(n.get("type") == ACTION_ROW for n in _each(p, "components")))
        ),
    ),
    ("content", "must be empty with components of the second version", lambda p: not (_is_v2(p) and p.get("content"))),
    ("embeds", "must be empty with components of the second version", lambda p: not (_is_v2(p) and p.get("embeds"))),
    ("allowed_mentions", "must not both parse and list the same kind", _is_choice_clear),
    ("nonce", "must be 25 or fewer in length", lambda p: len(str(p.get("nonce") or "")) <= 25),
]


def _check_attachments(operation: str, payload: Mapping[str, Any], files: Mapping[int, Upload], before: Message | None) -> None:
    if len(files) > 10:
        refuse(operation, "files", "must be 10 or fewer")
    if payload.get("attachments") is None:
        return
    listed = {str(entry["id"]) for entry in _each(payload, "attachments")}
    existing = {attachment.id for attachment in before.attachments} if before else set[str]()
    sent = {str(number) for number in files}
    if strangers := listed - sent - existing:
        refuse(operation, "attachments", f"name {', '.join(sorted(strangers))}, neither sent nor there already")
    if forgotten := sent - listed:
        refuse(operation, "attachments", f"leave out files[{', '.join(sorted(forgotten))}]")


def _check_substance(operation: str, payload: Mapping[str, Any], files: Mapping[int, Upload], before: Message | None) -> None:
    if before and before.flags & Flag.COMPONENTS_V2 and (payload.get("content") or payload.get("embeds")):
        refuse(operation, "content", "cannot return once a message uses components of the second version")
    if before and _is_v2(payload) and any(old and new not in payload for old, new in _legacy(before)):
        refuse(operation, "content", "must be set to null when components of the second version come in")
    kept = {"content": before.content, "embeds": before.embeds, "components": before.components} if before else {}
    attached = payload.get("attachments", before.attachments if before else [])
    substance = kept | {key: value for key, value in payload.items() if key in {*SAYS, "poll", "sticker_ids"}}
    if not any(substance.get(key) for key in ("content", "embeds", "components", "poll", "sticker_ids")) and not (
        attached or files
    ):
        raise Refusal(400, 50006, "Cannot send an empty message", f"{operation} was sent an empty message.")


def _legacy(message: Message) -> list[tuple[Any, str]]:
    return [(message.content, "content"), (message.embeds, "embeds")]
