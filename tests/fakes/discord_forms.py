"""What people fill in: modals and choices under a half-typed option. Refuse what Discord would; type as people would.

https://discord.com/developers/docs/components/reference
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.fakes.discord_bodies import refuse
from tests.fakes.discord_world import Attachment, nodes

ACTION_ROW, SELECT, TEXT_INPUT, LABEL, UPLOAD = 1, 3, 4, 18, 19
MOST_CHOICES = 25
OPERATION = "create_interaction_response"

Typed = str | Attachment | None


def check_modal(modal: Mapping[str, Any]) -> None:
    """Hold a modal against Discord's rules."""
    _length("title", modal.get("title"), 1, 45)
    _length("custom_id", modal.get("custom_id"), 1, 100)
    parts = modal.get("components") or []
    if not 1 <= len(parts) <= 5:
        refuse(OPERATION, "components", "must be 1 to 5 in a modal")
    for part in parts:
        if part.get("type") not in {ACTION_ROW, LABEL}:
            refuse(OPERATION, "components", f"of type {part.get('type')} have no place in a modal")
        _length("label", part.get("label", "-"), 1, 45)
        _length("description", part.get("description", "-"), 1, 100)
    fields = list(_fields(parts))
    ids = [field.get("custom_id") for field in fields]
    if len(set(ids)) < len(ids):
        refuse(OPERATION, "components", "must not share a custom_id")
    for field in fields:
        _length("custom_id", field.get("custom_id"), 1, 100)
        FIELDS.get(field["type"], _anything)(field)


def check_choices(answer: Mapping[str, Any]) -> None:
    """Hold the choices for an option against Discord's rules."""
    choices = answer.get("choices") or []
    if len(choices) > MOST_CHOICES:
        refuse(OPERATION, "choices", f"must be {MOST_CHOICES} or fewer")
    for choice in choices:
        _length("name", choice.get("name"), 1, 100)
        if isinstance(choice.get("value"), str):
            _length("value", choice["value"], 1, 100)


def prefilled(modal: Mapping[str, Any]) -> dict[str, str]:
    """Return what stands in each field when the modal opens, by the field's label."""
    return {label: _standing(field) for label, field in _labelled(modal)}


def fill_in(modal: Mapping[str, Any], typed: Mapping[str, Typed]) -> tuple[list[dict[str, Any]], list[Attachment]]:
    """Change some fields, by their labels, and send it off: the components as Discord sends them, and the files."""
    if strangers := typed.keys() - prefilled(modal).keys():
        raise KeyError(f"There is no field {strangers} in {list(prefilled(modal))}")
    files = [value for value in typed.values() if isinstance(value, Attachment)]
    sent = [
        {"type": LABEL, "id": 2 * number + 1, "component": {**_sent(field, typed.get(label)), "id": 2 * number + 2}}
        for number, (label, field) in enumerate(_labelled(modal))
    ]
    return sent, files


def _sent(field: Mapping[str, Any], typed: Typed) -> dict[str, Any]:
    about = {"type": field["type"], "custom_id": field["custom_id"]}
    if isinstance(typed, Attachment):
        return {**about, "values": [typed.id]}
    value = _standing(field) if typed is None else typed
    if field["type"] == TEXT_INPUT:
        low, high = field.get("min_length") or 0, field.get("max_length") or 4000
        if not low <= len(value) <= high or (field.get("required", True) and not value):
            raise ValueError(f"Discord lets nobody send {value[:20]!r} with {len(value)} characters here.")
        return {**about, "value": value}
    if field["type"] == SELECT and value and value not in {option["value"] for option in field["options"]}:
        raise ValueError(f"{value!r} is not one of the options.")
    return {**about, "values": [value] if value else []}


def _standing(field: Mapping[str, Any]) -> str:
    if field["type"] == SELECT:
        return next((str(option["value"]) for option in field["options"] if option.get("default")), "")
    return str(field.get("value") or "")


def _labelled(modal: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for part in modal["components"]:
        field = part["component"] if part["type"] == LABEL else part["components"][0]
        yield part.get("label") or field.get("label"), field


def _fields(parts: Any) -> Iterable[dict[str, Any]]:
    return (node for node in nodes(parts) if "custom_id" in node)


def _check_select(field: Mapping[str, Any]) -> None:
    options = field.get("options") or []
    if not 1 <= len(options) <= MOST_CHOICES:
        refuse(OPERATION, "options", f"must be 1 to {MOST_CHOICES}")
    if len({option.get("value") for option in options}) < len(options):
        refuse(OPERATION, "options", "must not share a value")
    if sum(bool(option.get("default")) for option in options) > (field.get("max_values") or 1):
        refuse(OPERATION, "options", "has more defaults than may be chosen")
    for option in options:
        for key in ("label", "value"):
            _length(key, option.get(key), 1, 100)
        _length("description", option.get("description"), 0, 100)


def _check_text(field: Mapping[str, Any]) -> None:
    _length("placeholder", field.get("placeholder"), 0, 100)
    _length("value", field.get("value"), 0, field.get("max_length") or 4000)


def _anything(_field: Mapping[str, Any]) -> None:
    """Leave what is not used here to the schema."""


FIELDS: dict[int, Callable[[Mapping[str, Any]], None]] = {SELECT: _check_select, TEXT_INPUT: _check_text}


def _length(key: str, text: Any, low: int, high: int) -> None:
    if text is None and not low:
        return
    if not isinstance(text, str) or not low <= len(text) <= high:
        refuse(OPERATION, key, f"must be {low} to {high} characters, not {text!r}"[:200])
