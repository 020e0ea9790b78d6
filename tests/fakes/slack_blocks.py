"""Check Block Kit blocks as Slack does, and see which pictures they show.

https://docs.slack.dev/reference/block-kit/blocks
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tests.fakes import schemas
from tests.fakes.slack_world import File, Refusal, World, mimetype

Rule = tuple[str, Callable[[dict[str, Any]], bool]]

IMAGES = {"image/png", "image/jpeg", "image/gif"}
MAX_BLOCKS = 50
MAX_ID = 255
MAX_WORDS = 2000  # characters of a label or a hint
MAX_TEXT = 40_000  # characters
MAX_EDIT = 4_000  # bytes of an edited message's text, once & < > are escaped

# type: (fields it must have, fields it may have); of types not listed here only the schema knows the shape
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "section": (set(), {"text", "fields", "accessory", "expand"}),
    "image": ({"alt_text"}, {"image_url", "slack_file", "title"}),
    "context": ({"elements"}, set()),
    "actions": ({"elements"}, set()),
    "header": ({"text"}, {"level"}),
    "divider": (set(), set()),
    "markdown": ({"text"}, set()),
    "button": ({"text"}, {"action_id", "url", "value", "style", "confirm", "accessibility_label"}),
    "input": ({"label", "element"}, {"hint", "optional", "dispatch_action"}),
    "plain_text_input": (
        {"action_id"},
        {"initial_value", "multiline", "min_length", "max_length", "dispatch_action_config", "focus_on_load", "placeholder"},
    ),
    "number_input": (
        {"action_id", "is_decimal_allowed"},
        {"initial_value", "min_value", "max_value", "dispatch_action_config", "focus_on_load", "placeholder"},
    ),
    "static_select": (
        {"action_id", "options"},
        {"initial_option", "confirm", "focus_on_load", "placeholder"},
    ),
    "radio_buttons": ({"action_id", "options"}, {"initial_option", "confirm", "focus_on_load"}),
    "checkboxes": ({"action_id", "options"}, {"initial_options", "confirm", "focus_on_load"}),
    "conversations_select": (
        {"action_id"},
        {
            *("initial_conversation", "default_to_current_conversation", "response_url_enabled", "filter"),
            *("confirm", "focus_on_load", "placeholder"),
        },
    ),
    "file_input": ({"action_id"}, {"filetypes", "max_files"}),
    "mrkdwn": ({"text"}, {"verbatim"}),
    "plain_text": ({"text"}, {"emoji"}),
}
OTHER_BLOCKS = {
    *("alert", "card", "carousel", "container", "context_actions", "data_table", "file", "plan", "rich_text"),
    *("table", "task_card", "video"),
}
INPUTS = {
    *("plain_text_input", "number_input", "static_select", "radio_buttons", "checkboxes", "conversations_select"),
    *("file_input", "email_text_input", "url_text_input", "datepicker", "timepicker", "rich_text_input"),
}
BLOCKS = {"section", "image", "context", "actions", "header", "divider", "markdown", "input"} | OTHER_BLOCKS


def _words(node: dict[str, Any], key: str = "text") -> str:
    value = node.get(key)
    return str(value.get("text", "")) if isinstance(value, dict) else str(value or "")


def _kind(node: dict[str, Any], key: str = "text") -> Any:
    value = node.get(key)
    return value.get("type") if isinstance(value, dict) else None


def _count(node: dict[str, Any], key: str = "elements") -> int:
    value = node.get(key)
    return len(value) if isinstance(value, list) else 0


def _has_options(node: dict[str, Any], most: int) -> bool:
    options = node["options"]
    values = [option["value"] for option in options]
    fits = all(1 <= len(_words(o)) <= 75 and _kind(o) == "plain_text" and 1 <= len(o["value"]) <= 150 for o in options)
    return 1 <= len(options) <= most and len(set(values)) == len(values) and fits


def _starts_with_an_option(node: dict[str, Any]) -> bool:
    first = [node["initial_option"]] if "initial_option" in node else node.get("initial_options", [])
    return all(option in node["options"] for option in first)


def _in_bounds(node: dict[str, Any]) -> bool:
    texts = [node[key] for key in ("min_value", "initial_value", "max_value") if key in node]
    return all(isinstance(text, str) for text in texts) and sorted(texts, key=float) == texts


RULES: dict[str, list[Rule]] = {
    "section": [
        ("must define either `text` or `fields`", lambda n: bool(_words(n)) or 1 <= _count(n, "fields") <= 10),
        ("must be less than 3001 characters [text]", lambda n: len(_words(n)) <= 3000),
    ],
    "header": [
        ("must be a plain_text of 1 to 150 characters", lambda n: 1 <= len(_words(n)) <= 150),
        ("must be a plain_text [text]", lambda n: _kind(n) == "plain_text"),
    ],
    "context": [("must have 1 to 10 elements", lambda n: 1 <= _count(n) <= 10)],
    "actions": [("must have 1 to 25 elements", lambda n: 1 <= _count(n) <= 25)],
    "markdown": [("must be less than 12001 characters [text]", lambda n: 1 <= len(_words(n)) <= 12_000)],
    "mrkdwn": [("must be more than 0 characters [text]", lambda n: isinstance(n["text"], str) and bool(n["text"]))],
    "plain_text": [("must be more than 0 characters [text]", lambda n: isinstance(n["text"], str) and bool(n["text"]))],
    "button": [
        ("must have a plain_text label", lambda n: _kind(n) == "plain_text"),
        ("must be less than 76 characters [text]", lambda n: len(_words(n)) <= 75),
        ("must be less than 2001 characters [value]", lambda n: len(n.get("value", "")) <= 2000),
        ("must be less than 3001 characters [url]", lambda n: len(n.get("url", "")) <= 3000),
        ("must be less than 256 characters [action_id]", lambda n: len(n.get("action_id", "")) <= MAX_ID),
        ("unsupported style", lambda n: n.get("style") in {None, "primary", "danger"}),
    ],
    "input": [
        ("must have a plain_text label", lambda n: _kind(n, "label") == "plain_text"),
        ("must be less than 2001 characters [label]", lambda n: 1 <= len(_words(n["label"])) <= MAX_WORDS),
        ("must be less than 2001 characters [hint]", lambda n: len(_words(n.get("hint", {}))) <= MAX_WORDS),
        ("element cannot stand in an input", lambda n: n["element"]["type"] in INPUTS),
    ],
    "plain_text_input": [
        ("max_length must be from 1 to 3000", lambda n: 1 <= n.get("max_length", 1) <= 3000),
        ("initial_value is too long", lambda n: len(n.get("initial_value", "")) <= n.get("max_length", 3000)),
    ],
    "number_input": [("values must be numbers in strings, in order", _in_bounds)],
    "static_select": [
        ("must have 1 to 100 options with labels of 1 to 75 characters", lambda n: _has_options(n, 100)),
        ("initial_option must be one of the options", _starts_with_an_option),
    ],
    "radio_buttons": [
        ("must have 1 to 10 options with labels of 1 to 75 characters", lambda n: _has_options(n, 10)),
        ("initial_option must be one of the options", _starts_with_an_option),
    ],
    "checkboxes": [
        ("must have 1 to 10 options with labels of 1 to 75 characters", lambda n: _has_options(n, 10)),
        ("initial_options must be among the options", _starts_with_an_option),
    ],
    "file_input": [("max_files must be from 1 to 10", lambda n: 1 <= n.get("max_files", 10) <= 10)],
    "image": [
        ("must have 1 to 2000 characters [alt_text]", lambda n: 1 <= len(_words(n, "alt_text")) <= 2000),
        ("must have exactly one of image_url and slack_file", lambda n: ("image_url" in n) != ("slack_file" in n)),
        ("must be less than 3001 characters [image_url]", lambda n: len(_words(n, "image_url")) <= 3000),
        ("must be a plain_text of up to 2000 characters [title]", lambda n: len(_words(n, "title")) <= 2000),
    ],
}


async def look(
    world: World,
    channel: str,
    text: str,
    blocks: list[Any],
    *,
    strict: bool = False,
    shared: frozenset[str] = frozenset(),
) -> list[File | bytes]:
    """Check a message's blocks and fetch what they show; `strict` where Slack refuses files not shared there."""
    check_blocks(blocks, most=MAX_BLOCKS)
    if len(json.dumps(blocks, ensure_ascii=False)) > world.most_in_blocks:
        raise Refusal("msg_blocks_too_long")
    if world.counts_utf16:
        _check_utf16(blocks)
    if any(block["type"] == "input" for block in blocks):
        mistake("an input stands in modals only", "/blocks")
    if (check := schemas.slack_message()) and (problem := check({"text": text, "blocks": blocks})):
        mistake(f"schema: {problem}", "/blocks")
    pictures: list[File | bytes] = []
    for pointer, node in _walk(blocks, "/blocks"):
        if node.get("type") != "image":
            continue
        if "image_url" in node:
            pictures.append(await _fetched(world, node["image_url"], f"{pointer}/image_url"))
            continue
        file = _slack_file(world, node["slack_file"], f"{pointer}/slack_file")
        if not file.is_shared(channel) and file.id not in shared:
            if strict:
                refuse("invalid slack file", f"{pointer}/slack_file")
            world.violations.append(f"People in {channel} see a broken picture: {file.id} was never shared there.")
        pictures.append(file)
    return pictures


def refuse(problem: str, pointer: str, violation: str | None = None) -> NoReturn:
    """Say what is wrong with some blocks, in Slack's way."""
    errors = [f"{problem} [json-pointer:{pointer}]"]
    messages = {"messages": [f"[ERROR] {error}" for error in errors]}
    raise Refusal("invalid_blocks", violation, errors=errors, response_metadata=messages)


def check_blocks(blocks: list[Any], *, most: int) -> None:
    """Refuse blocks that Slack would refuse wherever they stand."""
    if len(blocks) > most:
        mistake(f"no more than {most} items allowed", "/blocks")
    for index, block in enumerate(blocks):
        if not isinstance(block, dict) or str(block.get("type")) not in BLOCKS:
            mistake("unsupported type", f"/blocks/{index}/type")
        _check_id(block, blocks[:index], "block_id", f"/blocks/{index}")
        elements = found if isinstance(found := block.get("elements"), list) else []
        for place, element in enumerate(elements):
            _check_id(element, elements[:place], "action_id", f"/blocks/{index}/elements/{place}")
    for pointer, node in _walk(blocks, "/blocks"):
        _check_node(node, pointer)


def _check_utf16(blocks: list[Any]) -> None:
    for pointer, node in _walk(blocks, "/blocks"):
        for key in ("alt_text", "value"):
            if len(_words(node, key).encode("utf-16-le")) > 2 * MAX_WORDS:
                refuse(f"must be less than {MAX_WORDS + 1} characters", f"{pointer}/{key}")


def _check_id(node: Any, before: list[Any], key: str, pointer: str) -> None:
    value = node.get(key) if isinstance(node, dict) else None
    if value is None:
        return
    if not isinstance(value, str) or len(value) > MAX_ID:
        mistake(f"must be a string of up to {MAX_ID} characters", f"{pointer}/{key}")
    if any(isinstance(other, dict) and other.get(key) == value for other in before):
        mistake(f"{key} already exists", f"{pointer}/{key}")


def _check_node(node: dict[str, Any], pointer: str) -> None:
    kind = str(node.get("type"))
    if kind not in FIELDS:
        return
    must, may = FIELDS[kind]
    for field in must - set(node):
        mistake(f"missing required field: {field}", pointer)
    for field in node.keys() - must - may - {"type", "block_id"}:
        mistake(f"invalid additional property: {field}", pointer)
    for problem, holds in RULES.get(kind, []):
        if not _holds(holds, node):
            mistake(problem, pointer)


def _holds(rule: Callable[[dict[str, Any]], bool], node: dict[str, Any]) -> bool:
    try:
        return rule(node)
    except (TypeError, AttributeError, KeyError, ValueError):  # a field of the wrong type
        return False


def mistake(problem: str, pointer: str) -> NoReturn:
    """Refuse what a correct app would never have sent."""
    refuse(problem, pointer, f"Invalid blocks: {problem} at {pointer}.")


def _walk(tree: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        yield pointer, tree
    for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from _walk(child, f"{pointer}/{key}")


async def _fetched(world: World, url: str, pointer: str) -> bytes:
    content = await world.fetch(url)
    if content is None or mimetype(content) not in IMAGES:
        refuse("downloading image failed", pointer)
    return content


def _slack_file(world: World, reference: dict[str, str], pointer: str) -> File:
    if not isinstance(reference, dict) or set(reference) not in ({"id"}, {"url"}):
        mistake("must have either id or url", pointer)
    file = world.files.get(reference.get("id", "")) or next(
        (known for known in world.files.values() if known.url == reference.get("url")), None
    )
    if file is None:
        mistake("invalid slack file", pointer)
    if file.deleted or not world.is_processed(file) or mimetype(file.content or b"") not in IMAGES:
        refuse("invalid slack file", pointer)
    return file
