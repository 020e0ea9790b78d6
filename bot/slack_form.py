"""The form in which people set everything: a modal with a field for each flag. https://docs.slack.dev/surfaces/modals

What it was opened with, and where its picture goes, travels along in `private_metadata`: any of us can read it back.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bot import command, remembered
from bot.actions import so_many
from bot.models import MODELS
from bot.request import LEAST_STRENGTH, MAX_PICTURES, SEEDS, USUAL_STRENGTH, shorten
from bot.slack_blocks import LABEL, plain
from bot.styles import STYLES
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bot.desk import Proposal
    from bot.errors import Told
    from bot.models import Model

CALLBACK: Final = "imagine"
CONFIRMED: Final = "imagine_confirmed"
LONGEST: Final = 3000  # characters of a field
CHOICES: Final = 100  # that a menu holds
NONE: Final = command.PLAIN  # Slack's options cannot be empty
FILETYPES: Final = ["png", "jpg", "jpeg", "webp", "gif"]
PLACE: Final = "place"
START: Final = "start"
UPLOAD: Final = "upload_picture"
REASON: Final = "reason"
ASKING: Final = ("type", "callback_id", "title", "submit", "close", "private_metadata")
HIDDEN: Final = ("vary", "image", "repeat")  # flags that have no field of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What a form shows when it opens: flags by name, as they are typed, and the words."""

    prompt: str = ""
    flags: Mapping[str, str] = field(default_factory=dict)
    file: str = ""  # Slack's id of a picture that can be started from


def of(filled: Mapping[str, str], defaults: Mapping[str, str] | None = None, file: str = "") -> Form:
    """Return a form with that in it, as `command.filled` writes it, over somebody's defaults; `file` can be started from."""
    flags = remembered.changed(defaults or {}, filled)
    plain_too = {"style": filled["style"] or NONE} if "style" in filled else {}
    return Form(prompt=filled["prompt"], flags=flags | plain_too, file=file)


def view(form: Form, address: Mapping[str, str], language: str) -> dict[str, Any]:
    """Write the modal; `address` is where the picture goes, without a channel where the person is still to choose one."""
    words = _Words(language)
    blocks = [*_about_words(form, words), *_about_numbers(form, words), *_about_pictures(form, words)]
    if not address.get("channel"):
        blocks.append(words.field(PLACE, Phrase("Where to post it"), _conversation(), optional=False))
    kept = {name: form.flags[name] for name in HIDDEN if name in form.flags}
    return {
        "type": "modal",
        "callback_id": CALLBACK,
        "title": plain(words.say(Phrase("Imagine"))),
        "submit": plain(words.say(Phrase("Draw"))),
        "close": plain(words.say(Phrase("Close"))),
        "private_metadata": json.dumps({"address": dict(address), "kept": kept, "file": form.file}),
        "blocks": blocks,
    }


def _about_words(form: Form, words: _Words) -> Iterator[dict[str, Any]]:
    flags = form.flags
    yield words.field("prompt", Phrase("What you want to see"), _text(form.prompt, multiline=True), optional=False)
    yield words.field("no", Phrase("What to leave out"), _text(flags.get("no", "")))
    yield words.field("model", Phrase("Model"), _select([(name, name) for name in MODELS], flags.get("model")))
    yield words.field("style", Phrase("Style"), _select(words.styles(), flags.get("style", NONE)))
    yield words.field("shape", Phrase("Shape, width to height"), _select(words.shapes(flags), _shape(flags)))


def _about_numbers(form: Form, words: _Words) -> Iterator[dict[str, Any]]:
    flags = form.flags
    steps, guidance = (max(limits) for limits in zip(*map(_limits, MODELS.values()), strict=True))
    closely = _number(flags.get("guidance"), 0, guidance, decimal=True)
    yield words.field("n", Phrase("How many pictures"), _number(flags.get("n"), 1, MAX_PICTURES))
    yield words.field("steps", Phrase("Steps"), _number(flags.get("steps"), 1, steps))
    yield words.field("guidance", Phrase("Guidance: how closely to follow the words"), closely)
    yield words.field("seed", Phrase("Seed: the same one gives the same picture"), _number(flags.get("seed"), 0, SEEDS - 1))
    twice = words.say(Phrase("Twice as wide and high"))
    yield words.field("upscale", Phrase("Size"), _check(twice, on=flags.get("upscale") == "2"))


def _about_pictures(form: Form, words: _Words) -> Iterator[dict[str, Any]]:
    if form.file or "image" in form.flags:
        yield words.field(START, Phrase("Picture"), _check(words.say(Phrase("Start from that picture")), on=True))
    yield words.field(UPLOAD, Phrase("Start from a picture of yours"), _files())
    far = _number(form.flags.get("strength"), LEAST_STRENGTH, 1, decimal=True)
    hint = words.say(Phrase("From {least} to 1; usually {usual}."), least=LEAST_STRENGTH, usual=USUAL_STRENGTH)
    yield words.field("strength", Phrase("Strength: how far to go from that picture"), far, hint=hint)


def confirmation(proposal: Proposal) -> dict[str, Any]:
    """Write the modal that asks, on top of the form, whether to draw so much."""
    job = proposal.job
    return {
        "type": "modal",
        "callback_id": CONFIRMED,
        "title": plain(say(job.language, Phrase("Imagine"))),
        "submit": plain(say(job.language, Phrase("Draw"))),
        "close": plain(say(job.language, Phrase("Back"))),
        "private_metadata": json.dumps({"proposal": job.id, "address": dict(job.reply_to)}),
        "blocks": [
            {"type": "section", "text": plain(so_many(job))},
            {"type": "section", "text": plain(shorten(job.title, LONGEST))},
        ],
    }


def refused(body: Mapping[str, Any], words: str) -> dict[str, Any]:
    """Write the modal that asked once more, below what stood in its way: so the form under it stays as it was filled in."""
    shown = body["view"]
    asked = [block for block in shown["blocks"] if block["block_id"] != REASON]
    reason = {"type": "section", "block_id": REASON, "text": plain(words)}
    return {name: shown[name] for name in ASKING} | {"blocks": [reason, *asked]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a person has filled in, and where they want it."""

    text: str
    options: Mapping[str, str]
    address: Mapping[str, str]


def read(body: Mapping[str, Any]) -> Filled:
    """Read what a form was sent with. Raises `KeyError` for what is no form of ours."""
    sent = body["view"]
    metadata = json.loads(sent["private_metadata"])
    held = {name: next(iter(elements.values())) for name, elements in sent["state"]["values"].items()}
    options = {name: value for name, value in ((name, _value(held[name])) for name in held) if value}
    text, shape = options.pop("prompt", ""), options.pop("shape", "")
    files = held.get(UPLOAD, {}).get("files") or ()
    if shape:
        flag, _, value = shape.partition(" ")
        options[flag] = value
    starts = options.pop(START, "")
    kept = {name: value for name, value in metadata.get("kept", {}).items() if name != "image" or (starts and not files)}
    file = files[0]["id"] if files else metadata.get("file", "") if starts and "image" not in kept else ""
    if file:
        kept["image"] = secrets.token_hex(12)
    address = {**metadata["address"], **_place(body, options.pop(PLACE, "")), **({"file": file} if file else {})}
    return Filled(text=text, options={**options, **kept}, address=address)


def proposed(body: Mapping[str, Any]) -> tuple[str, Mapping[str, str]]:
    """Read which proposal was agreed to, and where it is to go."""
    metadata = json.loads(body["view"]["private_metadata"])
    return metadata["proposal"], metadata["address"]


def field_of(told: Told, body: Mapping[str, Any]) -> str:
    """Return the field that an error is about, by its block_id; the prompt's, where it is about no other."""
    named = str(told.values.get("name", ""))
    found = ABOUT.get(told.template) or NAMED.get(named) or (named if named in command.FLAGS else "prompt")
    found = "shape" if found in {"ar", "size"} else found
    return found if found in body["view"]["state"]["values"] else "prompt"


# Which field the errors of a request are about, by what they name, and by their templates.
NAMED: Final = {
    "Steps": "steps",
    "Guidance": "guidance",
    "The number of pictures": "n",
    "The seed": "seed",
    "The strength": "strength",
    "The width": "shape",
    "The height": "shape",
    "The negative prompt": "no",
}
ABOUT: Final = {
    "{model} cannot be told what to leave out: drop --no, and say what you want to see instead.": "no",
    "--strength says how far to go from a picture: attach one, or drop it.": "strength",
    "That is too large to upscale for {model}: leave --size at {width}x{height} or less.": "upscale",
    "That shape is too long for {model}: try one between 1:{widest:.3g} and {widest:.3g}:1.": "shape",
    "There is no model “{name}” here. There is: {models}.": "model",
    "There is no style “{name}”. There is: {styles}.": "style",
}


class _Words:
    """Says what stands on the form, in one language."""

    def __init__(self, language: str) -> None:
        self._language = language

    def say(self, phrase: Phrase, **values: object) -> str:
        return say(self._language, phrase, **values)

    def field(
        self, name: str, label: Phrase, element: dict[str, Any], *, optional: bool = True, hint: str = ""
    ) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "input", "block_id": name, "optional": optional, "label": plain(self.say(label))}
        if hint:
            block["hint"] = plain(hint)
        return block | {"element": {**element, "action_id": name}}

    def styles(self) -> list[tuple[str, str]]:
        named = [(style.name, f"{style.name}: {self.say(style.about)}") for style in STYLES.values()]
        return [(NONE, self.say(Phrase("no style"))), *named]

    def shapes(self, flags: Mapping[str, str]) -> list[tuple[str, str]]:
        sized = [(f"size {flags['size']}", flags["size"].replace("x", "×"))] if "size" in flags else []
        named = dict.fromkeys([*command.SHAPES, flags.get("ar", command.SHAPES[0])])
        shapes = [(f"ar {shape}", shape) for shape in named]
        return [(NONE, self.say(Phrase("as the model likes it"))), *sized, *shapes]


def _shape(flags: Mapping[str, str]) -> str:
    return next((f"{name} {flags[name]}" for name in ("size", "ar") if name in flags), NONE)


def _limits(model: Model) -> tuple[float, float]:
    return model.max_inference_steps, model.max_guidance_scale


def _text(value: str, *, multiline: bool = False) -> dict[str, Any]:
    element = {"type": "plain_text_input", "multiline": multiline, "max_length": LONGEST}
    return element | ({"initial_value": value[:LONGEST]} if value else {})


def _number(value: str | None, least: float, most: float, *, decimal: bool = False) -> dict[str, Any]:
    bounds = {"is_decimal_allowed": decimal, "min_value": f"{least:g}", "max_value": f"{most:.10g}"}
    return {"type": "number_input", **bounds} | ({"initial_value": value} if value else {})


def _select(options: Sequence[tuple[str, str]], chosen: str | None) -> dict[str, Any]:
    shown = [_option(value, label) for value, label in options]
    first = [option for option in shown if option["value"] == chosen]
    if len(shown) > CHOICES:
        shown.sort(key=lambda option: option not in first)  # or the chosen one might be cut off
    return {"type": "static_select", "options": shown[:CHOICES]} | ({"initial_option": first[0]} if first else {})


def _check(label: str, *, on: bool) -> dict[str, Any]:
    option = _option("2", label)
    return {"type": "checkboxes", "options": [option]} | ({"initial_options": [option]} if on else {})


def _files() -> dict[str, Any]:
    return {"type": "file_input", "max_files": 1, "filetypes": FILETYPES}


def _conversation() -> dict[str, Any]:
    return {"type": "conversations_select", "default_to_current_conversation": True, "response_url_enabled": True}


def _option(value: str, label: str) -> dict[str, Any]:
    return {"text": plain(shorten(label, LABEL)), "value": value}


def _value(held: Mapping[str, Any]) -> str:
    """Return what a field holds, as it would be typed; nothing where it is empty."""
    if option := held.get("selected_option"):
        return "" if option["value"] == NONE else str(option["value"])
    if options := held.get("selected_options"):
        return str(options[0]["value"])
    return str(held.get("value") or held.get("selected_conversation") or "").strip()


def _place(body: Mapping[str, Any], channel: str) -> dict[str, str]:
    """Return the address that a person chose on the form itself."""
    if not channel:
        return {}
    urls = [url["response_url"] for url in body.get("response_urls", ()) if url["channel_id"] == channel]
    return {"channel": channel, "response_url": urls[0] if urls else ""}
