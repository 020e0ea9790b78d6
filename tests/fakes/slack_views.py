"""Check modals as Slack does, and fill them in as Slack lets people.

https://docs.slack.dev/reference/views/modal-views and https://docs.slack.dev/reference/block-kit/block-elements
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fakes import schemas, slack_payloads
from tests.fakes.slack_blocks import check_blocks, mistake
from tests.fakes.slack_world import File, Refusal, View, World

MAX_BLOCKS = 100
MAX_SIZE = 250_000  # bytes
MODAL = {
    *("type", "title", "blocks", "close", "submit", "private_metadata", "callback_id", "external_id"),
    *("clear_on_close", "notify_on_close"),
}
LENGTHS = {"private_metadata": 3000, "callback_id": 255, "external_id": 255}
TITLES = {"title": 24, "close": 24, "submit": 24}


def check(view: Mapping[str, Any]) -> None:
    """Refuse a modal that Slack would refuse."""
    if len(json.dumps(view).encode()) > MAX_SIZE:
        raise Refusal("view_too_large", "A view has more than 250 kB.")
    if view.get("type") != "modal" or not isinstance(view.get("blocks"), list):
        mistake("a modal has a type and blocks", "/view")
    for strange in view.keys() - MODAL:
        mistake(f"invalid additional property: {strange}", f"/view/{strange}")
    for name, limit in LENGTHS.items():
        if not isinstance(view.get(name, ""), str) or len(view.get(name, "")) > limit:
            mistake(f"must be a string of up to {limit} characters", f"/view/{name}")
    for name, limit in TITLES.items():
        _check_title(view.get(name), name, limit)
    check_blocks(view["blocks"], most=MAX_BLOCKS)
    inputs = [block for block in view["blocks"] if block["type"] == "input"]
    if inputs and "submit" not in view:
        mistake("a modal with inputs must have a submit", "/view/submit")
    if (schema := schemas.slack_view()) and (problem := schema(view)):
        mistake(f"schema: {problem}", "/view")


def _check_title(title: Any, name: str, limit: int) -> None:
    if title is None and name != "title":
        return
    fits = isinstance(title, dict) and title.get("type") == "plain_text" and 1 <= len(title.get("text", "")) <= limit
    if not fits:
        mistake(f"must be a plain_text of 1 to {limit} characters", f"/view/{name}")


def show(world: World, user: str, channel: str | None, content: dict[str, Any]) -> View:
    """Put a modal on somebody's screen."""
    check(content)
    view = View(id=f"V{world.number():07}", user=user, channel=channel, content={}, hash="", state={})
    change(world, view, content)
    world.views.append(view)
    return view


def change(world: World, view: View, content: dict[str, Any]) -> None:
    """Let a modal become another. What people had entered stays where block_id and action_id are the same."""
    blocks = [{"block_id": f"b{index}", **block} for index, block in enumerate(content["blocks"])]
    before, view.content, view.state = view.state, {**content, "blocks": blocks}, {}
    view.hash = f"{int(world.clock())}.{hashlib.sha256(json.dumps(content).encode()).hexdigest()[:8]}"
    for name, block in view.inputs.items():
        element = block["element"]
        kept = before.get(name, {}).get(element["action_id"])
        view.state[name] = {element["action_id"]: kept or _initial(view, element)}


def enter(view: View, entries: Mapping[str, Any]) -> None:
    """Fill in a form: by block_id, what somebody types or picks; None clears a field. Raises what Slack would not let pass."""
    for name, entered in entries.items():
        if name not in view.inputs:
            raise ValueError(f"There is no field {name}; there are {', '.join(view.inputs)}.")
        element = view.inputs[name]["element"]
        view.state[name] = {element["action_id"]: _fill(element, entered)}
    for name, block in view.inputs.items():
        (value,) = view.state[name].values()
        if not block.get("optional") and not _entered(value):
            raise ValueError(f"Slack asks to complete the field {name}.")


def value(view: View, name: str) -> Any:
    """Return what a field holds, in plain words."""
    (held,) = view.state[name].values()
    found = _entered(held)
    if isinstance(found, dict):
        return found["value"]
    return [option.get("value", option.get("id")) for option in found] if isinstance(found, list) else found


def read_answer(world: World, view: View, body: Any) -> dict[str, str]:
    """Check how an app answers a form, and do it; return the mistakes it points out, by block_id."""
    if body in ("", {}):
        view.is_open = False
        return {}
    action = body.get("response_action") if isinstance(body, dict) else None
    if action == "clear":
        close_all(view)
        return {}
    if action == "push" and body.keys() == {"response_action", "view"}:
        show(world, view.user, view.channel, body["view"]).below = view
        return {}
    if action == "update" and body.keys() == {"response_action", "view"}:
        check(body["view"])
        change(world, view, body["view"])
        return {}
    if action != "errors" or body.keys() != {"response_action", "errors"}:
        raise Refusal("invalid_answer", f"A form was answered with {str(body)[:200]}.")
    errors: dict[str, str] = body["errors"]
    if not errors or any(name not in view.inputs or not words for name, words in errors.items()):
        raise Refusal("invalid_answer", f"Errors name fields that the form lacks: {errors}; it has {list(view.inputs)}.")
    return errors


def close_all(view: View | None) -> None:
    """Close a modal, and those under it."""
    while view:
        view.is_open, view = False, view.below


def _initial(view: View, element: Mapping[str, Any]) -> dict[str, Any]:
    kind = element["type"]
    match kind:
        case "plain_text_input":
            return {"type": kind, "value": element.get("initial_value")}
        case "number_input":
            return {"type": kind} | ({"value": element["initial_value"]} if "initial_value" in element else {})
        case "static_select" | "radio_buttons":
            return {"type": kind, "selected_option": element.get("initial_option")}
        case "checkboxes":
            return {"type": kind, "selected_options": element.get("initial_options", [])}
        case "conversations_select":
            here = view.channel if element.get("default_to_current_conversation") else None
            return {"type": kind, "selected_conversation": here or element.get("initial_conversation")}
        case "file_input":
            return {"type": kind, "files": []}
    raise ValueError(f"Nobody has taught this Slack about {kind}.")


def _fill(element: Mapping[str, Any], entered: Any) -> dict[str, Any]:
    kind = element["type"]
    match kind:
        case "plain_text_input":
            if entered is not None and len(entered) > element.get("max_length", 3000):
                raise ValueError("Slack lets nobody type so much.")
            return {"type": kind, "value": entered}
        case "number_input":
            return _number(element, entered)
        case "static_select" | "radio_buttons":
            return {"type": kind, "selected_option": _option(element, entered)}
        case "checkboxes":
            return {"type": kind, "selected_options": [_option(element, each) for each in entered or ()]}
        case "conversations_select":
            return {"type": kind, "selected_conversation": entered}
        case "file_input":
            if len(entered or ()) > element.get("max_files", 10):
                raise ValueError("Slack lets nobody attach so many.")
            return {"type": kind, "files": list(entered or ())}
    raise ValueError(f"Nobody has taught this Slack about {kind}.")


def _number(element: Mapping[str, Any], entered: Any) -> dict[str, Any]:
    if entered is None:
        return {"type": element["type"]}
    number = float(entered) if element["is_decimal_allowed"] else int(entered)
    if not float(element.get("min_value", "-inf")) <= number <= float(element.get("max_value", "inf")):
        raise ValueError(f"Slack takes no {number} there.")
    return {"type": element["type"], "value": str(entered)}


def _option(element: Mapping[str, Any], entered: str | None) -> dict[str, Any] | None:
    options: Sequence[dict[str, Any]] = element["options"]
    if entered is None:
        return None
    found = next((option for option in options if option["value"] == entered), None)
    if found is None:
        raise ValueError(f"There is no choice {entered}.")
    return found


def _entered(held: Mapping[str, Any]) -> Any:
    return next((found for key, found in held.items() if key != "type"), None)


def grant(world: World, view: View) -> dict[str, Any]:
    """Write a form's payload; the app gets to see the files in it, in full."""
    payload = slack_payloads.submission(world, view)
    for fields in payload["view"]["state"]["values"].values():
        for held in fields.values():
            if held["type"] == "file_input":
                held["files"] = [_granted(world, file) for file in held["files"]]
    return payload


def _granted(world: World, file: File) -> dict[str, Any]:
    known = world.files[file.id]
    known.granted = True
    return slack_payloads.file_json(world, known)
