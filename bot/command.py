"""One grammar for everybody: `a red fox --ar 3:2 --seed 7 --no blur --n 4` ⇄ `ImageRequest`.

Flags are Midjourney's where people's fingers know them. They may stand before, between or after the words.

- A value is one word; `--no` takes all words up to the next flag. `--seed=7`, `--seed:7` and `-seed 7` are fine too.
- Quotes around the whole prompt, or around a value, are dropped; quotes within it are kept.
  Between quotes nothing is a flag.
- What `{red,blue}` and `__animal__` stand for is said in `choices`.
- A backslash before `--`, a quote, `{` or `__` keeps it as part of the words.
- `help` alone, and what begins with `settings`, is never drawn, unless it stands between quotes or behind a backslash.
  So does what begins with `/imagine` or `prompt:`, or these are taken off: some platforms do so, and some leave them on.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bot import choices
from bot.errors import BadRequest, Told
from bot.models import DEFAULT, MODELS
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS, ImageRequest, at_most, compose, fresh_seed
from bot.styles import STYLES, split
from bot.texts import ENGLISH, Phrase, say

COMMAND: Final = "/imagine "
LONGEST: Final = 3 * PROMPT_LIMIT  # characters of a whole command: a prompt, what to leave out, and the flags
EXAMPLES: Final = ("a red fox in the snow", "a robot wearing a crown --ar 3:2 --n 4", "a {red,blue} fox --style watercolor")
SHAPES: Final = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")  # to pick from; any other can be typed
KEPT: Final = ("model", "ar", "size", "n", "style")  # flags that people may set once for all their commands
RIVALS: Final = {"ar": ("size",), "size": ("ar",), "model": ("size",)}  # what a flag that is typed leaves no room for
PLAIN: Final = "none"  # instead of the style that a person usually has
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
    wins over the person's own `defaults`, all of which can be drawn with. Several requests come of `{red,blue}` and of
    `--repeat`.
    Raises `BadRequest` or `HelpWanted`; the message is for the person.
    """
    text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair could not be answered
    at_most(Phrase("The command"), len(text), LONGEST)
    prompt, given = _scan(unpasted(text), model)
    for name, value in (options or {}).items():
        if value is not None:
            _set(given, name, str(value))
    if not prompt and not given:
        raise HelpWanted(model)
    if "aspect_ratio" in given and "width" in given:
        raise BadRequest("Give either --ar or --size, not both.")
    return _expand(prompt, {"model": model} | _defaults(defaults or {}, given, model) | given)


def unpasted(text: str) -> str:
    """Take the command's own name off a text, where somebody copied all of it, or what a platform has left of that."""
    found = _PASTED.match(text)
    return text[found.end() :] if found else text


def is_named(text: str) -> bool:
    """Return whether a text begins with the command's own name."""
    return _NAMED.match(text) is not None


def check(defaults: Mapping[str, str]) -> None:
    """Raise `BadRequest` for defaults that could not be drawn with."""
    read_all("a fox", options=defaults)


def usable(defaults: Mapping[str, str]) -> dict[str, str]:
    """Return the defaults that can still be drawn with: the admin may have taken a model or a style away since."""
    named = {name: value for name, value in defaults.items() if value and name in KEPT}
    if not named or _serve(named):
        return named
    kept: dict[str, str] = {}
    for name in KEPT:  # the model first: it decides which sizes there are
        if name in named and _serve({**kept, name: named[name]}):
            kept[name] = named[name]
    return {name: value for name, value in named.items() if name in kept}


def _serve(defaults: Mapping[str, str]) -> bool:
    try:
        check(defaults)
    except BadRequest:
        return False
    return True


def settings_in(text: str) -> dict[str, str] | None:
    """Read `settings --model sdxl --n 2`; None where the text is a prompt. Raises `BadRequest` for what may be a mistake.

    `settings` alone is empty, and so is `settings help`. With `reset` anywhere, all else is forgotten, by an empty value; a
    flag without a value forgets what it sets.
    """
    if not is_about_settings(text):
        return None
    first, *rest = unpasted(text).split()
    if first.lower().rstrip(_STOPS) != "settings":
        raise BadRequest("Did you mean /imagine settings? To draw “{word}”, put it between quotes.", word=first)
    return _remembered(_Words(" ".join(rest)))


def is_about_settings(text: str) -> bool:
    """Return whether a text is no prompt, such as `a setting sun`, but meant for the settings."""
    first, *rest = unpasted(text).split() or [""]
    if not _SETTINGS.fullmatch(first):
        return False
    exact = first.lower().rstrip(_STOPS) == "settings"
    return exact or not rest or bool(_FLAG.match(rest[0]) or _AFTER_SETTINGS.fullmatch(rest[0]))


def _remembered(words: _Words) -> dict[str, str]:
    """Read what stands after `settings`."""
    found, forgotten = dict[str, str](), dict[str, str]()
    while word := words.take():
        if said := _AFTER_SETTINGS.fullmatch(word):
            forgotten |= dict.fromkeys(KEPT if said[1].lower() == "reset" else (), "")
            continue
        if not (match := _flag(word)):
            raise BadRequest(
                "After “settings” I read flags such as --n 4 --style oil, or reset, and not “{word}”. "
                "To draw these words, put them between quotes.",
                word=word[:50],
            )
        name = _known(match[1])
        if name not in KEPT:
            flags = ", ".join(f"--{flag}" for flag in KEPT)
            raise BadRequest("--{name} is not remembered; these are: {flags}.", name=name, flags=flags)
        found[name] = match[2] or _bare(list(words.value(greedy=False)))
    return forgotten | found


def changed(defaults: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    """Lay changes over what is remembered: a shape takes the place of a size, and a size of a shape; `none` forgets."""
    changes = {name: _kept(value) if name in KEPT else value for name, value in changes.items()}
    gone = {name for name, rival in (("ar", "size"), ("size", "ar")) if changes.get(rival) and name not in changes}
    return {name: value for name, value in usable(defaults).items() if name not in gone} | changes


def _kept(value: str) -> str:
    """Write a value of a flag that is remembered as the menus of the forms have it."""
    return "" if value.lower() == PLAIN else value.lower()


def unsaid(defaults: Mapping[str, str], text: str) -> dict[str, str]:
    """Return the defaults that go with what was typed, whether or not it can be read: a form's fields win over its words."""
    flags = filter(None, (_FLAG.fullmatch(word) for word in _Words(text).left()))
    typed = {ALIASES.get(name, name) for flag in flags for name in [flag[1].lower().replace("-", "_")]}
    gone = typed.union(*(RIVALS.get(name, ()) for name in typed))
    return {name: value for name, value in defaults.items() if name not in gone}


def options_in(text: str) -> dict[str, str]:
    """Read a line of nothing but flags, as the options of a command. Raises `BadRequest` for any other word."""
    words, found = _Words(text), dict[str, str]()
    while word := words.take():
        match = _flag(word)
        name = _known(match[1]) if match else ""
        if match is None or name == "help":
            raise BadRequest("“{word}” is not a setting. For example: --steps 20 --n 4", word=word[:50])
        found[name] = _bare([match[2]] if match[2] else list(words.value(greedy=name == "no")))
    return found


def write(request: ImageRequest) -> str:
    """Print the request as text that `read` turns into the same request."""
    words = [typed(request.prompt), *(word for pair in flags(request) for word in pair)]
    if request.negative_prompt:
        words += ["--no", protect(request.negative_prompt)]
    return " ".join(words)


def filled(request: ImageRequest, words: str = "", others: Sequence[ImageRequest] = ()) -> dict[str, str]:
    """Return what stands in a form that draws a request: the prompt, and what the flags say, by their names.

    Where `others` came of the same `words`, the prompt is what was typed for them all, without the flags beside it.
    """
    prompt, style = split(request.prompt)
    if asked := _asked(words, request.model):
        prompt = _of_a_picture(protect(asked))
        if choices.filled(choices.prompts_in(asked)[0], request.seed).split() == request.prompt.split():
            style = ""  # its words are the person's own
    else:
        prompt = typed(prompt)
    said = {name.removeprefix("--"): value for name, value in flags(request)}
    rounds = len({each.seed for each in (request, *others)})  # of which each has a seed of its own
    if asked and rounds > 1:
        said["repeat"] = f"{rounds}"
    return {"prompt": prompt, "no": request.negative_prompt, "style": style, **said}


def _asked(words: str, model: str) -> str:
    """Return the prompt in what was typed; nothing where it cannot be read any more: styles and models come and go."""
    try:
        return _scan(words, model)[0]
    except Told:
        return ""


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
        ("--vary", ",".join(f"{seed}:{strength:g}" for seed, strength in request.variations), request.variations),
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
    named = ", ".join(f"__{name}__" for name in choices.LISTS)
    flags = [(f"--{name} {flag.example}", say(language, flag.about)) for name, flag in FLAGS.items() if flag.about]
    lines = [
        say(language, "Type what you want to see:"),
        *(f"    /imagine {example}" for example in EXAMPLES),
        say(language, "Add what you like:"),
        *(f"    {flag}  {about}" for flag, about in flags),
        say(language, "Remember what you always want: /imagine settings --n 4"),
        say(language, "Styles: {styles}", styles=", ".join(STYLES)),
        *([say(language, "Lists: {lists}", lists=named)] if named else []),
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
    width, height = map(_decimal, _pair(value, r"\d{1,5}(?:[.,]\d{1,5})?", "[:/x×]"))
    if not width or not height:
        raise ValueError(value)
    return width / height


def _size(value: str) -> dict[str, int]:
    width, height = map(int, _pair(value, r"\d{1,5}", "[x×*]"))
    return {"width": width, "height": height}


def _variations(value: str) -> dict[str, Any]:
    pairs = (_pair(each, r"\d{1,10}(?:\.\d{1,2})?", "[:/]") for each in value.split(","))
    *varied, (seed, strength) = [(int(seed), float(strength)) for seed, strength in pairs]
    return {"variation_seed": seed, "variation_strength": strength, "varied": tuple(varied)}


def _style(value: str) -> str:
    name = value.lower()
    if name not in {*STYLES, PLAIN}:
        known = ", ".join([*STYLES, PLAIN])
        raise BadRequest("There is no style “{name}”. There is: {styles}.", name=value[:50], styles=known)
    return "" if name == PLAIN else name


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
    "vary": Flag("variations", _variations, "7:0.3,9:0.3"),
    "image": Flag("image", str.lower, "0123456789abcdef01234567"),
    "help": Flag("help", str, "", Phrase("this text")),
}
ALIASES: Final = {
    "cfg": "guidance",
    "cfg_scale": "guidance",
    "guidance_scale": "guidance",
    "aspect": "ar",
    "aspect_ratio": "ar",
    "negative": "no",
    "negative_prompt": "no",
    "step": "steps",
    "num_inference_steps": "steps",
    "h": "help",
}

# Phones and word processors turn -- into dashes of their own; one hyphen is enough for a flag that there is.
_DASHES: Final = r"[-\u2010-\u2015\u2212\uff0d]"
_MARK: Final = rf"(?:{_DASHES}{{2,4}}|[\u2013-\u2015\u2212]|-(?=(?:{'|'.join([*FLAGS, *ALIASES])})(?:[=:]|$)))"
_FLAG: Final = re.compile(rf"{_MARK}([^\W\d_][\w-]*)(?:[=:](.*))?", re.DOTALL | re.IGNORECASE)
_VALUE: Final = re.compile(rf"(?:{_MARK}[^\W\d_][\w-]*[=:])?", re.IGNORECASE)  # the value in --flag=value follows, or the word
_QUOTES: Final = {'"': '"', "“": "”", "„": "“", "«": "»", "”": "”"}
_STOPS: Final = ".,:;!?…"  # that may end a word
_SETTINGS: Final = re.compile(rf"set+[ing]{{2,3}}s?[{_STOPS}]*", re.IGNORECASE)  # and what hurried fingers make of it
_AFTER_SETTINGS: Final = re.compile(rf"{_DASHES}*(reset|help|h)[{_STOPS}]*", re.IGNORECASE)
_OURS: Final = re.compile(
    rf"help|/imagine|prompt:.*|{_SETTINGS.pattern}", re.IGNORECASE
)  # these, as the first word, speak to us
_ESCAPED: Final = re.compile(rf"\\+(?:{_DASHES}|[\"“„«”]|(?:{_OURS.pattern})$)", re.IGNORECASE)
_NAMED: Final = re.compile(r"\s*/imagine(?:\s|$)", re.IGNORECASE)
_PASTED: Final = re.compile(r"\s*(?:(?:/imagine(?:\s|$)|prompt:)\s*)+", re.IGNORECASE)  # Discord shows its option's name


def _scan(text: str, model: str) -> tuple[str, dict[str, Any]]:
    """Split text into the prompt and what the flags set; `model` is for the help."""
    words = _Words(text)
    prompt: list[str] = []
    given: dict[str, Any] = {}
    while (word := words.take()) is not None:
        _check_place(word, prompt, words)
        match = _flag(word)
        if match is None:
            prompt.append(word)
            continue
        name = _known(match[1])
        if name == "help":
            raise HelpWanted(model)
        value = _bare([match[2]]) if match[2] else _bare(list(words.value(greedy=name == "no")))
        _set(given, name, value)
    if len(prompt) == 1 and prompt[0].lower() == "help":
        raise HelpWanted(model)
    return _bare(prompt), given


def _check_place(word: str, prompt: Sequence[str], words: _Words) -> None:
    """Refuse a flag within braces: people who write one mean something else than we would make of it."""
    flags = [part for part in re.split("[{,|]", word) if _FLAG.match(part)]
    if flags and choices.is_open(" ".join([*prompt, word])) and any("}" in each for each in words.left()):
        raise BadRequest("“{flag}” cannot stand within {{…}}: flags go before or after the words.", flag=flags[0][:50])


def _flag(word: str) -> re.Match[str] | None:
    """Return a word as a flag, or None; what only begins like one is pointed out."""
    found = _FLAG.fullmatch(word)
    if found is None and word.startswith("--") and _FLAG.match(word):
        raise _unknown(word.removeprefix("--"))
    return found


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
    name = typed.lower().replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in FLAGS:
        raise _unknown(typed)
    return name


def _unknown(typed: str) -> BadRequest:
    known = [name for name in (*FLAGS, *ALIASES) if name != "h"]  # which is like too many
    if close := difflib.get_close_matches(typed.lower(), known, n=1):
        return BadRequest("I don't know --{typed}. Did you mean --{meant}?", typed=typed[:50], meant=close[0])
    flags = ", ".join(f"--{name}" for name, flag in FLAGS.items() if flag.about)
    return BadRequest("I don't know --{typed}. There are: {flags}.", typed=typed[:50], flags=flags)


def _defaults(defaults: Mapping[str, str], given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Read a person's own defaults, those that go with what they have `given` this time; `model` serves anyway."""
    usual: dict[str, Any] = {}
    for name, value in defaults.items():
        _set(usual, name, value)
    if "width" in given or "aspect_ratio" in given:
        usual = {name: value for name, value in usual.items() if name not in {*ABOUT_A_MODEL, "aspect_ratio"}}
    serving = usual.get("model", model)
    if given.get("model", serving) != serving:
        usual = {name: value for name, value in usual.items() if name not in ABOUT_A_MODEL}
    return usual


def _expand(prompt: str, given: dict[str, Any]) -> Sequence[ImageRequest]:
    """Make all the requests that a prompt stands for, with the same seeds, so that people can compare."""
    style, repeat, count = given.pop("style", None), given.pop("repeat", 1), given.pop("n", 1)
    if not 1 <= repeat <= MAX_PICTURES:
        raise BadRequest("--repeat is from 1 to {limit}.", limit=MAX_PICTURES)
    choices.check(prompt)
    prompts, seeds = choices.prompts_in(prompt), [given.pop("seed", fresh_seed())]
    if len(prompts) * repeat > 1 and len(prompts) * repeat * count > MAX_PICTURES:
        raise _too_many(len(prompts), repeat, count)
    if choices.has_lists(prompt):  # each round chooses anew
        seeds += [(seeds[0] + number * count) % SEEDS for number in range(1, repeat)]
    else:
        count *= repeat
    made = (compose(_worded(each, seed, style), seed=seed, n=count, **given) for seed in seeds for each in prompts)
    return list(dict.fromkeys(made))


def _too_many(prompts: int, repeat: int, count: int) -> BadRequest:
    """Say that it is too much, and which flags would fit, if any do: `--n` may come from what a person always wants."""
    told = {"count": prompts * repeat * count, "limit": MAX_PICTURES}
    if fewer := MAX_PICTURES // (prompts * repeat):
        flags = f"--n {fewer}"
    elif repeat > 1 and (fewer := MAX_PICTURES // (prompts * count)):
        flags = f"--repeat {fewer}"
    elif repeat > 1 and (fewer := MAX_PICTURES // prompts):
        flags = f"--n 1 --repeat {fewer}"
    else:
        return BadRequest("That makes {count} pictures, and {limit} fit one message.", **told)
    return BadRequest("That makes {count} pictures, and {limit} fit one message: try {flags}.", flags=flags, **told)


def _worded(prompt: str, seed: int, style: str | None) -> str:
    """Fill in what a prompt leaves open, and add the style."""
    words = choices.filled(prompt, seed)
    return STYLES[style].apply(words) if style and words.strip() else words


def typed(prompt: str) -> str:
    """Write a prompt so that nothing in it is a choice or a flag, and it speaks of a picture."""
    return _of_a_picture(protect(choices.keep(prompt)))


def _of_a_picture(words: str) -> str:
    """Write words so that their first one does not speak to us."""
    return f"\\{words}" if _OURS.fullmatch(words.partition(" ")[0]) else words


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

    def left(self) -> Sequence[str]:
        return self._words[self._next :]

    def value(self, *, greedy: bool) -> Iterator[str]:
        """Take the value of a flag: one word, or all words up to the next flag."""
        first = True
        while (word := self.peek()) is not None and not _flag(word):
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
