"""One grammar for everybody: `a red fox --ar 3:2 --seed 7 --no blur --n 4` ⇄ `ImageRequest`.

Flags are Midjourney's where people's fingers know them. They may stand before, between or after the words.

- A value is one word; `--no` takes all words up to the next flag. `--seed=7`, `--seed:7` and `-seed 7` are fine too.
- Quotes around the whole prompt, or around a value, are dropped; quotes within it are kept.
  Between quotes nothing is a flag.
- What `{red,blue}` and `__animal__` stand for is said in `choices`.
- A backslash before `--`, a quote, `{` or `__` keeps it as part of the words.
- `help` alone, and what begins with `settings` (see `remembered`), is never drawn, unless between quotes or behind a backslash.
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
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS, ImageRequest, at_most, canonical, compose, fresh_seed, mended
from bot.styles import STYLES, split
from bot.texts import ENGLISH, Phrase, say

COMMAND: Final = "/imagine "
LONGEST: Final = 3 * PROMPT_LIMIT  # characters of a whole command: a prompt, what to leave out, and the flags
EXAMPLES: Final = ("a red fox in the snow", "a robot wearing a crown --ar 3:2 --n 4", "a {red,blue} fox --style watercolor")
SHAPES: Final = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")  # to pick from; any other can be typed
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
    text = mended(text)
    at_most(Phrase("The command"), len(text), LONGEST)
    prompt, given = _scan(unpasted(text), model)
    for name, value in (options or {}).items():
        if value is not None:
            _set(given, name, mended(str(value)))
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


def begins_flag(word: str) -> bool:
    """Return whether a word is a flag, or begins as one and goes on with a mistake."""
    return _FLAG.match(word) is not None


def names_in(text: str) -> set[str]:
    """Return the names of the flags in a text, whether or not it can be read."""
    flags = filter(None, (_FLAG.fullmatch(word) for word in Words(text).left()))
    return {ALIASES.get(name, name) for flag in flags for name in [flag[1].lower().replace("-", "_")]}


def options_in(text: str) -> dict[str, str]:
    """Read a line of nothing but flags, as the options of a command. Raises `BadRequest` for any other word."""
    words, found = Words(text), dict[str, str]()
    while word := words.take():
        name, value = words.flag(word) or ("", "")
        if name in {"", "help"}:
            raise BadRequest("“{word}” is not a setting. For example: --steps 20 --n 4", word=word[:50])
        found[name] = value
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
        if canonical(choices.filled(choices.prompts_in(asked)[0], request.seed)) == request.prompt:
            style = ""  # its words are the person's own
    else:
        prompt = typed(prompt)
    said = {name.removeprefix("--"): value for name, value in flags(request)}
    rounds = len({each.seed for each in (request, *others)})  # of which each has a seed of its own
    if asked and rounds > 1:
        said["repeat"] = f"{rounds}"
    return {"prompt": prompt, "no": request.negative_prompt, "style": style, **said}


def redrawn(request: ImageRequest, words: str) -> str:
    """Return which of the words for several requests stand for them with other seeds too."""
    prompt = filled(request, words)["prompt"]
    return "" if choices.has_lists(prompt) else prompt  # by another seed, a list gives something else than is drawn


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
DASHES: Final = r"[-\u2010-\u2015\u2212\uff0d]"
_MARK: Final = rf"(?:{DASHES}{{2,4}}|[\u2013-\u2015\u2212]|-(?=(?:{'|'.join([*FLAGS, *ALIASES])})(?:[=:]|$)))"
_FLAG: Final = re.compile(rf"{_MARK}([^\W\d_][\w-]*)(?:[=:](.*))?", re.DOTALL | re.IGNORECASE)
_VALUE: Final = re.compile(rf"(?:{_MARK}[^\W\d_][\w-]*[=:])?", re.IGNORECASE)  # the value in --flag=value follows, or the word
_QUOTES: Final = {'"': '"', "“": "”", "„": "“", "«": "»", "”": "”"}
STOPS: Final = ".,:;!?…"  # that may end a word
SETTINGS: Final = re.compile(rf"set+[ing]{{2,3}}s?[{STOPS}]*", re.IGNORECASE)  # and what hurried fingers make of it
_OURS: Final = re.compile(
    rf"help|/imagine|prompt:.*|{SETTINGS.pattern}", re.IGNORECASE
)  # these, as the first word, speak to us
_ESCAPED: Final = re.compile(rf"\\+(?:{DASHES}|[\"“„«”]|(?:{_OURS.pattern})$)", re.IGNORECASE)
_NAMED: Final = re.compile(r"\s*/imagine(?:\s|$)", re.IGNORECASE)
_PASTED: Final = re.compile(r"\s*(?:(?:/imagine(?:\s|$)|prompt:)\s*)+", re.IGNORECASE)  # Discord shows its option's name


def _scan(text: str, model: str) -> tuple[str, dict[str, Any]]:
    """Split text into the prompt and what the flags set; `model` is for the help."""
    words = Words(text)
    prompt: list[str] = []
    given: dict[str, Any] = {}
    while (word := words.take()) is not None:
        _check_place(word, prompt, words)
        flag = words.flag(word)
        if flag is None:
            prompt.append(word)
            continue
        name, value = flag
        if name == "help":
            raise HelpWanted(model)
        _set(given, name, value)
    if len(prompt) == 1 and prompt[0].lower() == "help":
        raise HelpWanted(model)
    return _bare(prompt), given


def _check_place(word: str, prompt: Sequence[str], words: Words) -> None:
    """Refuse a flag within braces: people who write one mean something else than we would make of it."""
    flags = [part for part in re.split("[{,|]", word) if begins_flag(part)]
    if flags and choices.is_open(" ".join([*prompt, word])) and any("}" in each for each in words.left()):
        raise BadRequest("“{flag}” cannot stand within {{…}}: flags go before or after the words.", flag=flags[0][:50])


def _flag(word: str) -> re.Match[str] | None:
    """Return a word as a flag, or None; what only begins like one is pointed out."""
    found = _FLAG.fullmatch(word)
    if found is None and word.startswith("--") and begins_flag(word):
        raise _unknown(word.removeprefix("--"))
    return found


def has_flag(text: str) -> bool:
    """Return whether a flag is written out in a text, with both of its hyphens."""
    return any(word.startswith("--") and begins_flag(word) for word in text.split())


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
    words = canonical(choices.filled(prompt, seed))  # or a space at their end would part them from the style
    return STYLES[style].apply(words) if style and words else words


def typed(prompt: str) -> str:
    """Write a prompt so that nothing in it is a choice or a flag, and it speaks of a picture."""
    return _of_a_picture(protect(choices.keep(prompt)))


def _of_a_picture(words: str) -> str:
    """Write words so that their first one does not speak to us."""
    return f"\\{words}" if _OURS.fullmatch(words.partition(" ")[0]) else words


class Words:
    """The words of a text, front to back; what stands in quotes is one word, quotes and all."""

    def __init__(self, text: str) -> None:
        self._words = _join_quoted(text.split())
        self._next = 0

    def _peek(self) -> str | None:
        return self._words[self._next] if self._next < len(self._words) else None

    def take(self) -> str | None:
        """Return the next word, and go on."""
        word = self._peek()
        self._next += 1
        return word

    def left(self) -> Sequence[str]:
        """Return the words that are not taken yet."""
        return self._words[self._next :]

    def flag(self, word: str) -> tuple[str, str] | None:
        """Read a word that was taken as a flag: its name, and its value, which is taken too. None where it is none."""
        if (match := _flag(word)) is None:
            return None
        name = _known(match[1])
        return name, _bare([match[2]] if match[2] else list(self._value(greedy=name == "no")))

    def _value(self, *, greedy: bool) -> Iterator[str]:
        """Take the value of a flag: one word, or all words up to the next flag."""
        first = True
        while (word := self._peek()) is not None and not _flag(word):
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
    return " ".join(f"\\{word}" if begins_flag(word) or _guarded(word) else word for word in text.split())


def _guarded(word: str) -> bool:
    return word[0] in _QUOTES or _ESCAPED.match(word) is not None
