"""Check payloads against the platforms' own published schemas, where `IMAGINE_SPECS` names a folder with them.

The folder holds `discord-openapi.json` (https://github.com/discord/discord-api-spec), `slack-message.schema.json`,
`slack-view.schema.json`, and, where somebody has put it there, `slack-manifest.schema.json` (`MANIFESTS` below).
Three adjustments make Discord's document a strict validator: objects are closed, or typos pass; whole numbers are
accepted as ids, because discord.py sends them; `tts`, `nsfw` and an embed's `flags` are allowed, because discord.py sends
those too.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, exceptions, validators  # type: ignore[import-untyped]

Check = Callable[[object], str | None]  # a payload's first mistake, in words

SLACK_MANIFEST = "slack-manifest.schema.json"
# A manifest that names no version is of the first, as Slack's manifest.schema.json beside it says; ours names none.
MANIFESTS = "https://raw.githubusercontent.com/slackapi/manifest-schema/main/schemas/manifest.schema.1.0.0.json"
# What discord.py sends beside what, and of which kind it is.
SENT_TOO = (("content", "tts", "boolean"), ("default_member_permissions", "nsfw", "boolean"), ("thumbnail", "flags", "integer"))
CHOICES = ("oneOf", "anyOf")


def missing() -> str | None:
    """Say why nothing is checked, if nothing is."""
    return None if _folder() else "IMAGINE_SPECS names no folder with the platforms' schemas"


def missing_manifest() -> str | None:
    """Say why no manifest of Slack's is checked, if none is."""
    if (folder := _folder()) and (Path(folder) / SLACK_MANIFEST).exists():
        return None
    return missing() or f"the folder that IMAGINE_SPECS names has no {SLACK_MANIFEST}: save {MANIFESTS} there under that name"


def slack_message() -> Check | None:
    """Check Slack messages: `{"text": …, "blocks": […]}`."""
    return _compiled(folder, "slack-message.schema.json", "#/definitions/Message") if (folder := _folder()) else None


def slack_manifest() -> Check | None:
    """Check the manifest of a Slack app."""
    return _compiled(folder, SLACK_MANIFEST, "#") if (folder := _folder()) else None


def slack_view() -> Check | None:
    """Check Slack's modals."""
    return _compiled(folder, "slack-view.schema.json", "#/definitions/ModalView") if (folder := _folder()) else None


def discord_request(operation: str) -> Check | None:
    """Check the JSON that one of Discord's operations takes; its name is from the OpenAPI document."""
    if not (folder := _folder()):
        return None
    pointer = _operations(folder).get(operation)
    return _compiled(folder, "discord-openapi.json", pointer) if pointer else None


def _folder() -> str | None:
    return os.environ.get("IMAGINE_SPECS") or None


@cache
def _document(folder: str, filename: str) -> Any:
    document = json.loads((Path(folder) / filename).read_text())
    if "openapi" in document:
        _close(document)
        schemas = document["components"]["schemas"]
        schemas["SnowflakeType"] = {"anyOf": [schemas["SnowflakeType"], {"type": "integer"}]}
    return document


def _close(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _close(item)
    if not isinstance(node, dict):
        return
    if isinstance(properties := node.get("properties"), dict):
        node.setdefault("additionalProperties", False)
        for neighbour, allowed, kind in SENT_TOO:
            if neighbour in properties:
                properties.setdefault(allowed, {"type": [kind, "null"]})
    for item in node.values():
        _close(item)


@cache
def _operations(folder: str) -> dict[str, str]:
    found = {}
    for path, methods in _document(folder, "discord-openapi.json")["paths"].items():
        escaped = path.replace("~", "~0").replace("/", "~1")
        for method, operation in methods.items():
            takes = operation.get("requestBody", {}).get("content", {}) if isinstance(operation, dict) else {}
            if "application/json" in takes:
                pointer = f"#/paths/{escaped}/{method}/requestBody/content/application~1json/schema"
                found[operation["operationId"]] = pointer
    return found


@cache
def _compiled(folder: str, filename: str, pointer: str) -> Check:
    document = _document(folder, filename)
    follow = cache(partial(_follow, document))
    pick = _picker(follow)
    strict = validators.extend(
        Draft202012Validator,
        {"$ref": lambda v, ref, instance, _: v.descend(instance, follow(ref))}
        | {choice: _narrowed(pick, Draft202012Validator.VALIDATORS[choice]) for choice in CHOICES},
    )
    return partial(_first_mistake, strict(follow(pointer)))


def _first_mistake(validator: Any, payload: object) -> str | None:
    error = exceptions.best_match(validator.iter_errors(payload))
    return f"{error.json_path}: {error.message[:300]}" if error else None


def _follow(document: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        document = document[step.replace("~1", "/").replace("~0", "~")]
    return document


def _picker(follow: Callable[[str], Any]) -> Callable[[list[Any], object], list[Any]]:
    """Narrow a choice to the alternatives of the payload's own `type`: far quicker, and the complaint is exact."""
    kinds: dict[int, list[tuple[set[Any], Any]]] = {}

    def types(schema: Any) -> set[Any]:
        while "$ref" in schema:
            schema = follow(schema["$ref"])
        if nested := next((schema[c] for c in CHOICES if c in schema), None):
            return set[Any]().union(*map(types, nested))
        kind = schema.get("properties", {}).get("type", {})
        return {kind["const"]} if "const" in kind else set(kind.get("enum", []))

    def pick(alternatives: list[Any], instance: object) -> list[Any]:
        if not isinstance(instance, dict) or "type" not in instance:
            return alternatives
        if id(alternatives) not in kinds:
            kinds[id(alternatives)] = [(types(each), each) for each in alternatives]
        chosen = [each for allowed, each in kinds[id(alternatives)] if instance["type"] in allowed]
        return chosen or alternatives

    return pick


def _narrowed(pick: Any, usual: Any) -> Any:
    def choose(validator: Any, alternatives: Any, instance: object, schema: Any) -> Iterator[Any]:
        chosen = pick(alternatives, instance)
        if len(chosen) == 1:
            yield from validator.descend(instance, chosen[0])
        else:
            yield from usual(validator, chosen, instance, schema)

    return choose
