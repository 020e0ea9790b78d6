"""One grammar for everybody: `a red fox --ar 3:2 --seed 7 --no blur --n 4` ⇄ `ImageRequest`.

Flags are Midjourney's where people's fingers know them. They may stand before, between or after the words.

- A value is one word; `--no` takes all words up to the next flag. `--seed=7` is fine too.
- Quotes around the whole prompt, or around a value, are dropped; quotes within it are kept.
  Between quotes nothing is a flag.
- `{red, blue}` stands for each of them in turn: `a {red,blue} fox` is two pictures, of one seed. `__animal__` stands for
  one out of a list that the admin has written, chosen by the seed.
- A backslash before `--`, a quote, `{` or `__` keeps it as part of the words.
"""

from __future__ import annotations

import difflib
import itertools
import math
import os
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot.errors import BadRequest, Told
from bot.models import DEFAULT, MODELS
from bot.request import MAX_PICTURES, PROMPT_LIMIT, ImageRequest, at_most, compose, fresh_seed
from bot.styles import STYLES, split
from bot.texts import ENGLISH, Phrase, say

LONGEST: Final = 3 * PROMPT_LIMIT  # characters of a whole command: a prompt, what to leave out, and the flags
EXAMPLES: Final = ("a red fox in the snow", "a robot wearing a crown --ar 3:2 --n 4", "a {red,blue} fox --style watercolor")
SHAPES: Final = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")  # to pick from; any other can be typed
KEPT: Final = ("model", "ar", "size", "n", "style")  # flags that people may set once for all their commands
ABOUT_A_MODEL: Final = {"width", "height"}  # what fits one model may not fit another


def read(text: str, *, model: str = DEFAULT, options: Mapping[str, object] | None = None) -> ImageRequest:
    """Read a command that makes one request. Raises what `read_all` raises, and where there are several requests."""
    requests = read_all(text, model=model, options=options)
    if len(requests) > 1:
        raise BadRequest("That makes {count} different pictures. Choose one.", count=len(requests))
    return requests[0]


def read_all(
    text: str,
    *,
    model: str = DEFAULT,
    options: Mapping[str, object] | None = None,
    defaults: Mapping[str, str] | None = None,
) -> Sequence[ImageRequest]:
    """Read what a person typed after the command; `model` serves where they name none.

    `options` are flags that were given apart from the text, by name; None is one left open. They win over the text, which
    wins over the person's own `defaults`. Several requests come of `{red,blue}` and of `--repeat`.
    Raises `BadRequest` or `HelpWanted`; the message is for the person.
    """
    text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be answered
    at_most(Phrase("The command"), len(text), LONGEST)
    prompt, given = _scan(text, model)
    for name, value in (options or {}).items():
        if value is not None:
            _set(given, name, str(value))
    if prompt.lower() in {"", "help"} and not given:
        raise HelpWanted(model)
    if "aspect_ratio" in given and "width" in given:
        raise BadRequest("Give either --ar or --size, not both.")
    return _expand(prompt, {"model": model} | _defaults(defaults or {}, given) | given)


def unpasted(text: str) -> str:
    """Take the command's own name off a text, where somebody copied all of it."""
    return _PASTED.sub("", text, count=1) if _PASTED.match(text) else text


def check(defaults: Mapping[str, str]) -> None:
    """Raise `BadRequest` for defaults that could not be drawn with."""
    if "ar" in defaults and "size" in defaults:
        raise BadRequest("Give either --ar or --size, not both.")
    read_all("a fox", options=defaults)


def settings_in(text: str) -> dict[str, str] | None:
    """Read `settings --model sdxl --n 2`; None where the text is no such thing, but a prompt.

    `settings` alone is empty; `settings reset` has an empty value for everything.
    """
    word, _, rest = text.strip().partition(" ")
    if word.lower() != "settings":
        return None
    if rest.strip().lower() == "reset":
        return dict.fromkeys(KEPT, "")
    words, found = _Words(rest), {}
    while (word := words.take() or "") and (match := _FLAG.fullmatch(word)):
        if (name := _known(match[1])) not in KEPT:
            flags = ", ".join(f"--{flag}" for flag in KEPT)
            raise BadRequest("--{name} is not remembered; these are: {flags}.", name=name, flags=flags)
        found[name] = (match[2] or _bare(list(words.value(greedy=False)))).lower()  # as the menus of the forms have it
    if word:
        return None  # other words: somebody wants a picture of the settings of a table
    return found


def changed(defaults: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Lay changes over what is remembered: a shape takes the place of a size, and a size of a shape."""
    gone = {name for name, rival in (("ar", "size"), ("size", "ar")) if changes.get(rival) and name not in changes}
    return {name: value for name, value in defaults.items() if name not in gone} | dict(changes)


def options_in(text: str) -> dict[str, str]:
    """Read a line of nothing but flags, as the options of a command. Raises `BadRequest` for any other word."""
    words, found = _Words(text), dict[str, str]()
    while word := words.take():
        if not (match := _FLAG.fullmatch(word)):
            raise BadRequest("“{word}” is not a setting. For example: --steps 20 --n 4", word=word[:50])
        name = _known(match[1])
        found[name] = _bare([match[2]] if match[2] else list(words.value(greedy=name == "no")))
    return found


def write(request: ImageRequest) -> str:
    """Print the request as text that `read` turns into the same request."""
    words = [typed(request.prompt), *(word for pair in flags(request) for word in pair)]
    if request.negative_prompt:
        words += ["--no", protect(request.negative_prompt)]
    return " ".join(words)


def filled(request: ImageRequest, words: str = "") -> dict[str, str]:
    """Return what stands in a form that draws a request: the prompt, and what the flags say, by their names.

    Where several requests came of `words`, the prompt is what was typed for them all, without the flags beside it.
    """
    prompt, style = split(request.prompt)
    if words:
        asked, _ = _scan(words, request.model)
        prompt = protect(asked)
        if _filled(_permutations(asked)[0], request.seed, None).split() == request.prompt.split():
            style = ""  # its words are the person's own
    else:
        prompt = typed(prompt)
    said = {name.removeprefix("--"): value for name, value in flags(request)}
    return {"prompt": prompt, "no": request.negative_prompt, "style": style, **said}


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


class HelpWanted(Told):
    """The person asked how this works."""

    def __init__(self, model: str) -> None:
        super().__init__("")
        self._model = model

    def into(self, language: str) -> str:
        """Explain the command."""
        return help_text(self._model, language)


def help_text(model: str = DEFAULT, language: str = ENGLISH) -> str:
    """Explain the command in a few lines, from the tables that the parser itself uses."""
    row = MODELS[model]
    flags = [(f"--{name} {flag.example}", say(language, flag.about)) for name, flag in FLAGS.items() if flag.about]
    lines = [
        say(language, "Type what you want to see:"),
        *(f"    /imagine {example}" for example in EXAMPLES),
        say(language, "Add what you like:"),
        *(f"    {flag}  {about}" for flag, about in flags),
        say(language, "Remember what you always want: /imagine settings --n 4"),
        say(language, "Styles: {styles}", styles=", ".join(STYLES)),
        say(language, "Models:"),
        *(_model_line(name, language, default=name == model) for name in MODELS),
        say(
            language,
            "Limits: {least} to {most} pixels a side, {steps} steps, {pictures} pictures.",
            least=row.min_side,
            most=row.max_side,
            steps=row.max_inference_steps,
            pictures=MAX_PICTURES,
        ),
    ]
    return "\n".join(lines)


def _model_line(name: str, language: str, *, default: bool) -> str:
    chosen = say(language, " (used unless you choose)") if default else ""
    return f"    {name}  {say(language, MODELS[name].about)}{chosen}"


def _whole(value: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", value):  # Python reads 1_0 and ٣ too, and no form does
        raise ValueError(value)
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


def _style(value: str) -> str:
    if value.lower() not in STYLES:
        raise BadRequest("There is no style “{name}”. There is: {styles}.", name=value[:50], styles=", ".join(STYLES))
    return value.lower()


UNSAID: Final = Phrase()  # of a flag that we write, and people only copy


@dataclass(frozen=True, slots=True)
class Flag:
    """What a flag sets, how its value is read, and how it is explained."""

    sets: str
    read: Callable[[str], Any]
    example: str
    about: Phrase = UNSAID


FLAGS: Final = {
    "ar": Flag("aspect_ratio", _ratio, "3:2", Phrase("the shape, width to height")),
    "size": Flag("size", _size, "320x224", Phrase("the size in pixels")),
    "n": Flag("n", _whole, "4", Phrase("how many pictures")),
    "seed": Flag("seed", _whole, "7", Phrase("the same seed gives the same picture (0 to 4294967295)")),
    "no": Flag("negative_prompt", str, "blur, text", Phrase("what to leave out")),
    "steps": Flag("num_inference_steps", _whole, "20", Phrase("more steps, more care, more time")),
    "guidance": Flag("guidance_scale", _decimal, "2", Phrase("how closely to follow the words")),
    "model": Flag("model", str.lower, DEFAULT, Phrase("which model draws")),
    "style": Flag("style", _style, "watercolor", Phrase("how it looks")),
    "repeat": Flag("repeat", _whole, "2", Phrase("all of it so many times, each with a new seed")),
    "upscale": Flag("upscale", _whole, "2", Phrase("twice as wide and high, with finer detail")),
    "strength": Flag("strength", _decimal, "0.6", Phrase("how far to go from a picture that you attach")),
    "vary": Flag("variation", _variation, "7:0.3"),
    "image": Flag("image", str.lower, "0123456789abcdef01234567"),
    "help": Flag("help", str, "", Phrase("this text")),
}
ALIASES: Final = {"cfg": "guidance", "aspect": "ar", "negative": "no", "step": "steps", "h": "help"}

_FLAG: Final = re.compile(r"(?:--|[—–]-?|―)([^\W\d_][\w-]*)(?:=(.*))?", re.DOTALL)  # phones turn -- into a dash
_VALUE: Final = re.compile(r"(?:(?:--|[—–]-?|―)[^\W\d_][\w-]*=)?")  # where the value in --flag=value begins, or the word
_PASTED: Final = re.compile(r"\s*/imagine(?:\s+prompt:|\s|$)\s*", re.IGNORECASE)
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
            raise HelpWanted(model)
        value = _bare([match[2]]) if match[2] else _bare(list(words.value(greedy=name == "no")))
        _set(given, name, value)
    return _bare(prompt), given


def _set(given: dict[str, Any], name: str, value: str) -> None:
    flag = FLAGS[name]
    if not value:
        raise BadRequest("--{name} needs a value. For example: --{name} {example}", name=name, example=flag.example)
    try:
        result = flag.read(value)
    except ValueError:
        raise BadRequest(
            "--{name} does not understand “{value}”. For example: --{name} {example}",
            name=name,
            value=value[:50],
            example=flag.example,
        ) from None
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
        raise BadRequest("I don't know --{typed}. Did you mean --{meant}?", typed=typed[:50], meant=close[0])
    flags = ", ".join(f"--{name}" for name, flag in FLAGS.items() if flag.about)
    raise BadRequest("I don't know --{typed}. There are: {flags}.", typed=typed[:50], flags=flags)


def _defaults(defaults: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read a person's own defaults, those that go with what they have `given` this time."""
    usual: dict[str, Any] = {}
    for name, value in defaults.items():
        if value and (name != "model" or value in MODELS):  # which the admin may have taken away
            _set(usual, name, value)
    if "width" in given or "aspect_ratio" in given:
        usual = {name: value for name, value in usual.items() if name not in {*ABOUT_A_MODEL, "aspect_ratio"}}
    if given.get("model", usual.get("model")) != usual.get("model"):
        usual = {name: value for name, value in usual.items() if name not in ABOUT_A_MODEL}
    return usual


def _expand(prompt: str, given: dict[str, Any]) -> Sequence[ImageRequest]:
    """Make all the requests that a prompt stands for, with the same seeds, so that people can compare."""
    style, repeat = given.pop("style", None), given.pop("repeat", 1)
    if not 1 <= repeat <= MAX_PICTURES:
        raise BadRequest("--repeat is from 1 to {limit}.", limit=MAX_PICTURES)
    given["n"] = given.get("n", 1) * repeat
    given.setdefault("seed", fresh_seed())
    prompts = _permutations(prompt)
    if (count := len(prompts) * given["n"]) > MAX_PICTURES and len(prompts) > 1:
        raise BadRequest("That makes {count} pictures, and {limit} fit one message.", count=count, limit=MAX_PICTURES)
    return [compose(_filled(each, given["seed"], style), **given) for each in prompts]


def _permutations(prompt: str) -> list[str]:
    """Write a prompt out for every choice in its `{…, …}`."""
    parts = _CHOICE.split(prompt)  # what stands between, and what is chosen from, by turns
    choices = [_choices(part) if index % 2 else [part] for index, part in enumerate(parts)]
    if math.prod(map(len, choices)) > MOST_PERMUTATIONS:
        raise BadRequest("That is too many choices in {{…}}: {limit} pictures fit one message.", limit=MAX_PICTURES)
    return ["".join(words) for words in itertools.product(*choices)]


def _choices(between: str) -> list[str]:
    """Return what stands between braces, one by one; braces around a single thing are just braces."""
    return [word.strip() for word in between.split(",")] if "," in between else [f"{{{between}}}"]


def _filled(prompt: str, seed: int, style: str | None) -> str:
    """Put something for each `__list__`, drop the backslashes that kept `{` and `__`, and add the style."""
    choose = random.Random(seed)  # noqa: S311  not a secret: the same seed shall give the same words
    filled = _LIST.sub(lambda found: choose.choice(WILDCARDS[found[1]]) if found[1] in WILDCARDS else found[0], prompt)
    words = _KEPT.sub(lambda found: found[0][1:], filled)
    return STYLES[style].apply(words) if style and words.strip() else words


def typed(prompt: str) -> str:
    """Write a prompt so that nothing in it is a choice or a flag."""
    return protect(_KEEP.sub(r"\\\g<0>", prompt))


def wildcards(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the admin's lists: `IMAGINE_WILDCARDS="animal: fox, cat, owl; place: beach, city"`."""
    lists = (line.partition(":") for line in environ.get("IMAGINE_WILDCARDS", "").split(";"))
    found = {name.strip().lower(): [word.strip() for word in words.split(",") if word.strip()] for name, _, words in lists}
    return {name: words for name, words in found.items() if re.fullmatch(r"[a-z0-9]+", name) and words}


WILDCARDS: Final = wildcards(os.environ)
MOST_PERMUTATIONS: Final = 1000  # that are written out at all, before anything is said of them

_CHOICE: Final = re.compile(r"(?<!\\)\{([^{}]*)\}")
_LIST: Final = re.compile(r"(?<!\\)__([a-z0-9]+)__")
_KEEP: Final = re.compile(r"(?<!\\)\\*(?:\{|__(?=[a-z0-9]+__))")
_KEPT: Final = re.compile(r"(?<!\\)\\+(?:\{|__(?=[a-z0-9]+__))")


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
