"""One grammar for everybody: `a red fox --ar 3:2 --seed 7 --no blur --n 4` ⇄ `ImageRequest`.

Flags are Midjourney's where people's fingers know them. They may stand before, between or after the words.

- A value is one word; `--no` takes all words up to the next flag. `--seed=7` is fine too.
- Quotes around the whole prompt, or around a value, are dropped; quotes within it are kept.
  Between quotes nothing is a flag.
- A backslash before `--` or before a quote keeps it as part of the words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bot.errors import BadRequest, HelpWanted
from bot.models import DEFAULT, MODELS
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS, ImageRequest, at_most, compose

LONGEST: Final = 3 * PROMPT_LIMIT  # characters of a whole command: a prompt, what to leave out, and the flags
EXAMPLES: Final = ("a red fox in the snow", "a robot wearing a crown --ar 3:2 --n 4", "a cat --seed 7 --no blur")


def read(text: str, *, model: str = DEFAULT, options: Mapping[str, object] | None = None) -> ImageRequest:
    """Read what a person typed after the command; `model` serves where they name none.

    `options` are flags that were given apart from the text, by name; None is one left open. They win over the text.
    Raises `BadRequest` or `HelpWanted`; the message is for the person.
    """
    text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be answered
    at_most("command", len(text), LONGEST)
    prompt, given = _scan(text, model)
    for name, value in (options or {}).items():
        if value is not None:
            _set(given, name, str(value))
    if prompt.lower() in {"", "help"} and not given:
        raise HelpWanted(help_text(model))
    if "aspect_ratio" in given and "width" in given:
        raise BadRequest("Give either --ar or --size, not both.")
    return compose(prompt, **({"model": model} | given))


def write(request: ImageRequest) -> str:
    """Print the request as text that `read` turns into the same request."""
    words = [protect(request.prompt), *(word for pair in flags(request) for word in pair)]
    if request.negative_prompt:
        words += ["--no", protect(request.negative_prompt)]
    return " ".join(words)


def flags(request: ImageRequest) -> list[tuple[str, str]]:
    """Return the flags that say everything but the words, each with its value."""
    always = [
        ("--size", f"{request.width}x{request.height}"),
        ("--steps", f"{request.num_inference_steps}"),
        ("--guidance", f"{request.guidance_scale:g}"),
        ("--seed", f"{request.seed}"),
        ("--n", f"{request.n}"),
        ("--model", request.model),
    ]
    sometimes = [
        ("--vary", f"{request.variation_seed}:{request.variation_strength:g}", request.variation_strength),
        ("--image", request.image, request.image),
        ("--strength", f"{request.strength:g}", request.image),
        ("--upscale", f"{request.upscale}", request.upscale > 1),
    ]
    return always + [(name, value) for name, value, given in sometimes if given]


def help_text(model: str = DEFAULT) -> str:
    """Explain the command in a few lines, from the tables that the parser itself uses."""
    row = MODELS[model]
    lines = [
        "Type what you want to see:",
        *(f"    /imagine {example}" for example in EXAMPLES),
        "Add what you like:",
        *(f"    --{name} {flag.example}  {flag.about}" for name, flag in FLAGS.items() if flag.about),
        "Models:",
        *(f"    {m.name}  {m.about}{' (used unless you choose)' if m.name == model else ''}" for m in MODELS.values()),
        f"Limits: {row.min_side} to {row.max_side} pixels a side, {row.max_inference_steps} steps, {MAX_PICTURES} pictures.",
    ]
    return "\n".join(lines)


def _whole(value: str) -> int:
    return int(value)


def _decimal(value: str) -> float:
    return float(value.replace(",", "."))


def _pair(value: str, number: str, between: str) -> list[str]:
    match = re.fullmatch(f"({number}){between}({number})", value, re.IGNORECASE)
    if not match:
        raise ValueError(value)
    return [match[1], match[2]]


def _ratio(value: str) -> float:
    width, height = map(float, _pair(value, r"\d{1,5}(?:\.\d{1,5})?", "[:/x×]"))
    if not width or not height:
        raise ValueError(value)
    return width / height


def _size(value: str) -> dict[str, int]:
    width, height = map(int, _pair(value, r"\d{1,5}", "[x×*]"))
    return {"width": width, "height": height}


def _variation(value: str) -> dict[str, float]:
    seed, strength = _pair(value, r"\d{1,10}(?:\.\d{1,2})?", "[:/]")
    return {"variation_seed": int(seed), "variation_strength": float(strength)}


@dataclass(frozen=True, slots=True)
class Flag:
    """What a flag sets, how its value is read, and how it is explained."""

    sets: str
    read: Callable[[str], Any]
    example: str
    about: str = ""  # none: we write this flag, and people only copy it


FLAGS: Final = {
    "ar": Flag("aspect_ratio", _ratio, "3:2", "the shape, width to height"),
    "size": Flag("size", _size, "320x224", "the size in pixels"),
    "n": Flag("n", _whole, "4", "how many pictures"),
    "seed": Flag("seed", _whole, "7", f"the same seed gives the same picture (0 to {SEEDS - 1})"),
    "no": Flag("negative_prompt", str, "blur, text", "what to leave out"),
    "steps": Flag("num_inference_steps", _whole, "20", "more steps, more care, more time"),
    "guidance": Flag("guidance_scale", _decimal, "2", "how closely to follow the words"),
    "model": Flag("model", str.lower, DEFAULT, "which model draws"),
    "upscale": Flag("upscale", _whole, "2", "twice as wide and high, with finer detail"),
    "strength": Flag("strength", _decimal, "0.6", "how far to go from a picture that you attach"),
    "vary": Flag("variation", _variation, "7:0.3"),
    "image": Flag("image", str.lower, "0123456789abcdef01234567"),
    "help": Flag("help", str, "", "this text"),
}
ALIASES: Final = {"cfg": "guidance", "aspect": "ar", "negative": "no", "step": "steps", "h": "help"}

_FLAG: Final = re.compile(r"(?:--|[—–]-?|―)([^\W\d_][\w-]*)(?:=(.*))?", re.DOTALL)  # phones turn -- into a dash
_VALUE: Final = re.compile(r"(?:(?:--|[—–]-?|―)[^\W\d_][\w-]*=)?")  # where the value in --flag=value begins, or the word
_QUOTES: Final = {'"': '"', "“": "”", "„": "“", "«": "»", "”": "”"}
_ESCAPED: Final = re.compile(r"\\+(?:--|[—–―\"“„«”])")


def _scan(text: str, model: str) -> tuple[str, dict[str, Any]]:
    """Split text into the prompt and what the flags set; `model` is for the help."""
    words = _Words(text)
    prompt: list[str] = []
    given: dict[str, Any] = {}
    while (word := words.take()) is not None:
        match = _FLAG.fullmatch(word)
        if match is None:
            prompt.append(word)
            continue
        name = _known(match[1])
        if name == "help":
            raise HelpWanted(help_text(model))
        value = _bare([match[2]]) if match[2] else _bare(list(words.value(greedy=name == "no")))
        _set(given, name, value)
    return _bare(prompt), given


def _set(given: dict[str, Any], name: str, value: str) -> None:
    flag = FLAGS[name]
    if not value:
        raise BadRequest(f"--{name} needs a value. For example: --{name} {flag.example}")
    try:
        result = flag.read(value)
    except ValueError:
        message = f"--{name} does not understand “{value[:50]}”. For example: --{name} {flag.example}"
        raise BadRequest(message) from None
    if flag.sets == "negative_prompt" and "negative_prompt" in given:
        result = f"{given['negative_prompt']}, {result}"
    given.update(result if isinstance(result, dict) else {flag.sets: result})


def _known(typed: str) -> str:
    """Return the flag that was meant, or say which one it may have been."""
    name = ALIASES.get(typed.lower(), typed.lower())
    if name in FLAGS:
        return name
    close = difflib.get_close_matches(name, [*FLAGS, *ALIASES], n=1)
    if close:
        raise BadRequest(f"I don't know --{typed[:50]}. Did you mean --{close[0]}?")
    raise BadRequest(f"I don't know --{typed[:50]}. There are: {', '.join(f'--{flag}' for flag in FLAGS)}.")


class _Words:
    """The words of a text, front to back; what stands in quotes is one word, quotes and all."""

    def __init__(self, text: str) -> None:
        self._words = _join_quoted(text.split())
        self._next = 0

    def peek(self) -> str | None:
        return self._words[self._next] if self._next < len(self._words) else None

    def take(self) -> str | None:
        word = self.peek()
        self._next += 1
        return word

    def value(self, *, greedy: bool) -> Iterator[str]:
        """Take the value of a flag: one word, or all words up to the next flag."""
        first = True
        while (word := self.peek()) is not None and not _FLAG.fullmatch(word):
            self.take()
            yield word
            if not greedy or (first and _quoted(word)):
                return
            first = False


def _join_quoted(words: list[str]) -> list[str]:
    """Join the words from an opening quote to the closing one at a word's end."""
    joined: list[str] = []
    start = 0
    never_closed: set[str] = set()  # or a thousand opening quotes would be looked through a thousand times
    while start < len(words):
        end = start + 1
        opened = words[start][_VALUE.match(words[start]).end() :]  # type: ignore[union-attr]  # it always matches
        closing = _QUOTES.get(opened[:1])
        if closing and closing not in never_closed:
            ends = (i + 1 for i in range(start, len(words)) if words[i].endswith(closing) and (i > start or len(opened) > 1))
            end = next(ends, 0)
            if not end:
                never_closed.add(closing)
                end = start + 1
        joined.append(" ".join(words[start:end]))
        start = end
    return joined


def _quoted(word: str) -> bool:
    return len(word) > 1 and _QUOTES.get(word[0]) == word[-1]


def _bare(words: list[str]) -> str:
    """Join words into the text that was meant: one pair of quotes around it all, and escapes, come off."""
    if len(words) == 1 and _quoted(words[0]):
        return words[0][1:-1].strip()
    return " ".join(word[1:] if _ESCAPED.match(word) else word for word in words)


def protect(text: str) -> str:
    """Write words so that `read` takes none of them for a flag."""
    return " ".join(f"\\{word}" if _FLAG.match(word) or _guarded(word) else word for word in text.split())


def _guarded(word: str) -> bool:
    return word[0] in _QUOTES or _ESCAPED.match(word) is not None
