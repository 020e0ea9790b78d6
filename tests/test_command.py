"""What people type is read as they meant it, or answered with what to type instead."""

import re
import string
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bot.command import (
    ALIASES,
    EXAMPLES,
    FLAGS,
    HelpWanted,
    filled,
    help_text,
    options_in,
    read,
    read_all,
    write,
)
from bot.errors import BadRequest, Told
from bot.models import MODELS, SKETCH
from bot.remembered import settings_in
from bot.request import LEAST_STRENGTH, MAX_PICTURES, MOST_VARIATIONS, PROMPT_LIMIT, SEEDS, UPSCALES, ImageRequest, compose
from bot.styles import STYLES, split

quick = settings(derandomize=True, max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

HOSTILE = [
    *("--seed", "--no", "--n=3", "--help", "-h", "--", "---", "-", "--5", "--seed,", "--ünï", "—seed", "–n", "―ar", "—-n", "—"),
    *("/imagine", "prompt:", "Prompt:x", "\\prompt:", "settings"),
    *("\\", "\\\\", "\\--seed", "\\\\--seed", '\\"', "\\—", "\\fox", '"', '""', '"a', 'b"', '"c"', "'", "“", "”", "“d”", "„e“"),
    *(
        "«f»",
        "»",
        "”g”",
        "help",
        "HELP",
        "seed=7",
        "=",
        "3:2",
        "<@U1>",
        "@everyone",
        "`",
        "狐",
        "🦊",
        "👩\u200d🚀",
        "e\u0301",
        "\u0338",
    ),
]
SIDES = st.integers(SKETCH.min_side // SKETCH.multiple, SKETCH.max_side // SKETCH.multiple).map(SKETCH.multiple.__mul__)
WORDS = st.lists(st.sampled_from(HOSTILE) | st.text(min_size=1, max_size=6), min_size=1, max_size=8).map(" ".join)


def _drawable(words: str) -> bool:
    try:
        compose(words, model=SKETCH.name)
    except BadRequest:
        return False
    return True


REQUESTS = st.builds(
    ImageRequest,
    prompt=WORDS.filter(_drawable),
    negative_prompt=st.just("") | WORDS,
    num_inference_steps=st.integers(1, SKETCH.max_inference_steps),
    guidance_scale=st.floats(0, SKETCH.max_guidance_scale),
    width=SIDES,
    height=SIDES,
    seed=st.integers(0, SEEDS - 1),
    n=st.integers(1, MAX_PICTURES),
    model=st.sampled_from(sorted(MODELS)),
    variation_seed=st.integers(0, SEEDS - 1),
    variation_strength=st.just(0.0) | st.floats(0, 1),
    varied=st.lists(st.tuples(st.integers(0, SEEDS - 1), st.floats(0, 1)), max_size=MOST_VARIATIONS - 1).map(tuple),
) | st.builds(
    ImageRequest,
    prompt=st.just("a fox"),
    num_inference_steps=st.just(4),
    guidance_scale=st.just(1.0),
    width=st.just(256),
    height=st.just(256),
    seed=st.just(7),
    model=st.just("sketch"),
    image=st.text("0123456789abcdef", min_size=24, max_size=24),
    strength=st.floats(LEAST_STRENGTH, 1),
    upscale=st.sampled_from(UPSCALES),
)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=80) | st.lists(
    st.sampled_from([*HOSTILE, *(f"--{name}" for name in [*FLAGS, *ALIASES])])
).map(" ".join)


def outcome(text: str, options: dict[str, object] | None = None) -> ImageRequest | bytes:
    """Return what is read, but for a seed that may be fresh, or what is sent back instead."""
    try:
        return replace(read(text, options=options), seed=0)
    except Told as told:
        return str(told).encode()


@quick
@given(REQUESTS)
def test_a_request_printed_as_a_command_is_read_as_the_same_request(request: ImageRequest) -> None:
    assert read(write(request)) == request


@quick
@given(REQUESTS)
@example(compose("prompt: a fox", model="sketch"))
@example(compose("/imagine prompt:prompt: a fox", model="sketch"))
def test_what_is_printed_is_the_same_however_much_of_the_command_a_platform_leaves(request: ImageRequest) -> None:
    for before in ("/imagine ", "/imagine prompt: ", "/imagine prompt:", "prompt: ", "prompt:", "/imagine prompt: /imagine "):
        text = before + write(request)
        assert read(text) == request
        assert settings_in(text) is None


@quick
@given(WORDS)
@example("prompt: a fox")
@example("prompt:prompt: a fox")
def test_the_same_words_are_the_same_picture_on_every_platform(words: str) -> None:
    in_slack, in_discord, on_the_page = words, f"prompt:{words}", f"/imagine {words}"
    assert outcome(in_slack) == outcome(in_discord) == outcome(on_the_page)


@quick
@given(REQUESTS)
def test_what_is_printed_is_one_line(request: ImageRequest) -> None:
    assert len(write(request).splitlines()) == 1


@quick
@given(TEXTS)
def test_whatever_is_typed_ends_in_a_request_or_in_words_that_can_be_sent(text: str) -> None:
    assert isinstance(outcome(text), (ImageRequest, bytes))


@pytest.mark.parametrize(
    "flag",
    [
        "--ar 99999:0." + "0" * 310 + "1",
        "--ar 0." + "0" * 310 + "1:99999",
        "--seed " + "9" * 4301,
        "--guidance 1e999",
        "--size ٢٥٦x٢٥٦",
        "--\ud800",
        "--seed \ud800",
        "--model \ud800",
        "--stp\ud800 5",
    ],
    ids=lambda flag: ascii(flag[:30]),
)
def test_what_nobody_would_type_ends_so_too(flag: str) -> None:
    assert isinstance(outcome(f"a fox {flag}"), (ImageRequest, bytes))


@pytest.mark.parametrize(
    "piece", ['"', '"a ', "“a ", '" ', "--", "-- ", "—", "\\", "--no ", "--x", "a ", "a", "🦊", "=", "--ar=", "١"]
)
def test_ten_thousand_characters_of_anything_are_answered_in_words(piece: str) -> None:
    with pytest.raises(Told) as told:
        read(f"{piece * (10_000 // len(piece))} fox")
    assert len(str(told.value)) < 2000


def test_what_is_said_of_something_long_is_short() -> None:
    for text in (f"fox --{'z' * 9000}", f"fox --seed {'z' * 9000}", f"fox --seed {'9' * 4000}", f"fox --model {'z' * 9000}"):
        with pytest.raises(BadRequest) as refused:
            read(text)
        assert len(str(refused.value)) < 300


FOX = compose("a red fox", model="sketch", seed=7, n=2, num_inference_steps=5)


@pytest.mark.parametrize(
    "text",
    [
        "a red fox --seed 7 --n 2 --steps 5",
        "--seed 7 --n 2 --steps 5 a red fox",
        "a --seed 7 red --n 2 fox --steps 5",
        "--steps 5 a red --n 2 fox --seed 7",
        "a red fox --seed=7 --n=2 --steps=5",
        "a red fox —seed 7 –n 2 ―steps 5",
        "a red fox —-seed 7 —n=2 –steps=5",
        "a red fox --SEED 7 --N 2 --Steps 5",
        "a\nred\nfox\n--seed\n7\n--n 2\n--steps 5\n",
        "  a   red  fox   --seed   7 --n 2 --steps 5 ",
        '"a red fox" --seed 7 --n 2 --steps 5',
        '--seed 7 "a red fox" --n 2 --steps 5',
        "“a red fox” --seed 7 --n “2” --steps 5",
        "„a red fox“ --seed 7 --n 2 --steps 5",
        "«a red fox» --seed 7 --n 2 --steps 5",
        '"a\nred\nfox" --seed "7" --n="2" --steps 5',
        "a red fox --seed 1 --seed 7 --n 2 --steps 5",
        "a red fox --seed 7 --n 2 --step 5",
        "a red fox --seed:7 --n:2 --steps:5",
        "a red fox -seed 7 -n 2 -Steps=5",
        "a red fox ——seed 7 −−n 2 ‑‑steps 5",
        "a red fox ---seed 7 -–n 2 －－steps 5",
        "a red fox --seed 7 --n 2 --num-inference-steps 5",
        "/imagine a red fox --seed 7 --n 2 --steps 5",
        " /Imagine prompt: a red fox --seed 7 --n 2 --steps 5",
        "/imagine prompt:a red fox --seed 7 --n 2 --steps 5",
        "a red fox --seed 007 --n +2 --steps 5",
    ],
)
def test_flags_may_stand_anywhere_and_however_a_phone_writes_them(text: str) -> None:
    assert read(text) == FOX


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a fox", "a fox"),
        ("🦊 in ❤\ufe0f", "🦊 in ❤\ufe0f"),
        ("a fox - sly - in snow", "a fox - sly - in snow"),
        ("a fox — sly — in snow", "a fox — sly — in snow"),
        ("a well-known fox", "a well-known fox"),
        ("top -5 foxes", "top -5 foxes"),
        ("route --66", "route --66"),
        ("x--y", "x--y"),
        ('a sign saying "open"', 'a sign saying "open"'),
        ('"open" says the sign', '"open" says the sign'),
        ('a sign saying "--seed 7"', 'a sign saying "--seed 7"'),
        ('"--seed 7"', "--seed 7"),
        ("it's a fox's den", "it's a fox's den"),
        ("a fox \\--seed \\—n", "a fox --seed —n"),
        ('\\"a fox"', '"a fox"'),
        ("C:\\fox", "C:\\fox"),
        ('a 6" fox', 'a 6" fox'),
        ("help me, fox", "help me, fox"),
        ("a fox -sly -well-known -5 -nn", "a fox -sly -well-known -5 -nn"),
        ("a fox \\-n 2", "a fox -n 2"),
        ("\\/imagine a fox", "/imagine a fox"),
        ("a fox /imagine", "a fox /imagine"),
        ("prompt: a fox", "a fox"),
        ("\\prompt: a fox", "prompt: a fox"),
        ('"prompt: a fox"', "prompt: a fox"),
        ("a prompt: a fox", "a prompt: a fox"),
        ("/imagined foxes", "/imagined foxes"),
    ],
)
def test_words_that_are_no_flags_stay_words(text: str, prompt: str) -> None:
    request = read(text)
    assert request.prompt == prompt
    assert replace(request, seed=0) == compose(prompt, model="sketch", seed=0)


@pytest.mark.parametrize(
    ("text", "negative_prompt", "prompt"),
    [
        ("a fox --no blur", "blur", "a fox"),
        ("a fox --no blur, text, people", "blur, text, people", "a fox"),
        ("a fox --no blur text --seed 7", "blur text", "a fox"),
        ('--no "blur, text" a fox', "blur, text", "a fox"),
        ("--no “blur, text” a fox", "blur, text", "a fox"),
        ("--no=blur a fox", "blur", "a fox"),
        ('--no="blur, text" a fox', "blur, text", "a fox"),
        ("a fox --no blur --no text", "blur, text", "a fox"),
        ("a fox --negative blur", "blur", "a fox"),
        ('a fox --no blur "big signs"', 'blur "big signs"', "a fox"),
        ("a fox --no \\--seed", "--seed", "a fox"),
        ("a fox --no — dashes", "— dashes", "a fox"),
    ],
)
def test_no_takes_all_words_up_to_the_next_flag(text: str, negative_prompt: str, prompt: str) -> None:
    request = read(text)
    assert (request.negative_prompt, request.prompt) == (negative_prompt, prompt)


@pytest.mark.parametrize("ratio", ["3:2", "3/2", "3x2", "3X2", "3×2", "1.5:1", "6:4", "0.3:0.2", "00003:00002"])
@pytest.mark.parametrize("flag", ["--ar", "--aspect"])
def test_a_shape_may_be_spelled_as_people_do(flag: str, ratio: str) -> None:
    request = read(f"a fox {flag} {ratio}")
    assert (request.width, request.height) == (320, 224)


@pytest.mark.parametrize("size", ["320x224", "320X224", "320×224", "320*224"])
def test_a_size_may_be_spelled_as_people_do(size: str) -> None:
    request = read(f"a fox --size {size}")
    assert (request.width, request.height) == (320, 224)


@pytest.mark.parametrize("flag", ["--guidance", "--cfg"])
@pytest.mark.parametrize(("typed", "scale"), [("2", 2), ("1.5", 1.5), ("1,5", 1.5), (".5", 0.5), ("0", 0)])
def test_decimals_take_a_point_or_a_comma(flag: str, typed: str, scale: float) -> None:
    assert read(f"a fox {flag} {typed}").guidance_scale == scale


def test_a_model_may_be_named_in_any_case() -> None:
    assert read("a fox --model SKETCH").model == "sketch"


NOT_UNDERSTOOD = [
    ("--seed seven", "--seed does not understand “seven”. For example: --seed 7"),
    ("--n 1.5", "--n does not understand “1.5”. For example: --n 4"),
    ("--n 1_0", "--n does not understand “1_0”. For example: --n 4"),
    ("--n ٣", "--n does not understand “٣”. For example: --n 4"),
    ("--steps lots", "--steps does not understand “lots”. For example: --steps 20"),
    ("--guidance high", "--guidance does not understand “high”. For example: --guidance 2"),
    ("--ar wide", "--ar does not understand “wide”. For example: --ar 3:2"),
    ("--ar 3:0", "--ar does not understand “3:0”. For example: --ar 3:2"),
    ("--ar 0:2", "--ar does not understand “0:2”. For example: --ar 3:2"),
    ("--ar -3:2", "--ar does not understand “-3:2”. For example: --ar 3:2"),
    ("--ar 3:2:1", "--ar does not understand “3:2:1”. For example: --ar 3:2"),
    ("--size 320", "--size does not understand “320”. For example: --size 320x224"),
    ("--size 256.9x256", "--size does not understand “256.9x256”. For example: --size 320x224"),
    ("--size big", "--size does not understand “big”. For example: --size 320x224"),
]
NEEDS_A_VALUE = [
    (f"--{name}", f"--{name} needs a value. For example: --{name} {FLAGS[name].example}") for name in FLAGS if name != "help"
]
UNKNOWN = [
    ("--sed 7", "I don't know --sed. Did you mean --seed?"),
    ("--seeds 7", "I don't know --seeds. Did you mean --seed?"),
    ("--stpes 7", "I don't know --stpes. Did you mean --steps?"),
    ("--guidence 7", "I don't know --guidence. Did you mean --guidance?"),
    ("--modle x", "I don't know --modle. Did you mean --model?"),
    ("--sise 320x224", "I don't know --sise. Did you mean --size?"),
    ("—aspct 3:2", "I don't know --aspct. Did you mean --aspect?"),
    ("--seed, 7", "I don't know --seed,. Did you mean --seed?"),
    ("--no blur --steps/4", "I don't know --steps/4. Did you mean --steps?"),
    ("--cfg_scal 7", "I don't know --cfg_scal. Did you mean --cfg_scale?"),
    ("--hlep", "I don't know --hlep. Did you mean --help?"),
    ("--zzz", f"I don't know --zzz. There are: {', '.join(f'--{name}' for name, flag in FLAGS.items() if flag.about)}."),
]
LIMITS = [
    ("--steps 51", "Steps must be from 1 to 50 for sketch; you asked for 51."),
    ("--steps -3", "Steps must be from 1 to 50 for sketch; you asked for -3."),
    ("--guidance nan", "Guidance must be from 0 to 2.0 for sketch; you asked for nan."),
    ("--guidance inf", "Guidance must be from 0 to 2.0 for sketch; you asked for inf."),
    ("--n 11", "The number of pictures must be from 1 to 10; you asked for 11."),
    ("--seed -1", "The seed must be from 0 to 4,294,967,295; you asked for -1."),
    ("--size 64x256", "The width must be from 192 to 512 for sketch; you asked for 64."),
    ("--size 256x250", "The height must be a multiple of 32 for sketch: try 256."),
    ("--ar 9:1", "That shape is too long for sketch: try one between 1:1.78 and 1.78:1."),
    ("--model dalle", "There is no model “dalle” here. There is: sketch."),
    ("--ar 3:2 --size 320x224", "Give either --ar or --size, not both."),
]


@pytest.mark.parametrize(("flags", "sentence"), [*NOT_UNDERSTOOD, *NEEDS_A_VALUE, *UNKNOWN, *LIMITS])
def test_what_is_not_understood_is_answered_with_what_would_be(flags: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read(f"a fox {flags}")
    assert str(refused.value) == sentence


@pytest.mark.parametrize("flags", ["--seed --n 2", "--n 2 --seed", "--seed=", "--no --seed 7"])
def test_a_flag_never_takes_the_next_flag_for_its_value(flags: str) -> None:
    with pytest.raises(BadRequest, match="needs a value"):
        read(f"a fox {flags}")


@pytest.mark.parametrize("text", ["--n 3", "--seed 7 --no blur", '"" --n 3', "\x00"])
def test_flags_without_words_ask_for_words(text: str) -> None:
    with pytest.raises(BadRequest, match=r"^Say what to draw"):
        read(text)


@pytest.mark.parametrize(
    "text",
    ["", "  ", '""', "help", "Help", " HELP ", "--help", "—help", "--h", "a fox --help", "--seed 7 --help", "--n 2 help"],
)
def test_help_is_given_to_whoever_asks_or_says_nothing(text: str) -> None:
    with pytest.raises(HelpWanted) as wanted:
        read(text)
    assert str(wanted.value) == help_text()


def test_help_explains_every_flag_model_and_limit_of_the_tables() -> None:
    words = help_text()
    for name, flag in FLAGS.items():
        assert (f"--{name} {flag.example}" in words) == bool(flag.about)
        assert flag.about in words
    for model in MODELS.values():
        assert re.search(rf"\b{model.name}\b.*{model.about}", words)
    for limit in (SKETCH.min_side, SKETCH.max_side, SKETCH.max_inference_steps, MAX_PICTURES, SEEDS - 1):
        assert f"{limit}" in words


def test_help_is_short_enough_for_one_message_of_discord() -> None:
    assert len(help_text()) <= 2000


@pytest.mark.parametrize("text", ["", "help", "--help"])
def test_help_names_the_model_that_is_used_here(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "large", replace(SKETCH, name="large", about="draws well", max_inference_steps=99))
    with pytest.raises(HelpWanted) as wanted:
        read(text, model="large")
    assert "large  draws well (used unless you choose)" in str(wanted.value)
    assert "99 steps" in str(wanted.value)


@pytest.mark.parametrize("text", EXAMPLES)
def test_the_examples_of_the_help_can_be_typed(text: str) -> None:
    assert all(request.prompt for request in read_all(text))


@pytest.mark.parametrize("name", [name for name in FLAGS if name != "help"])
def test_the_example_of_every_flag_can_be_typed(name: str) -> None:
    started = {"image": FLAGS["image"].example}  # or a strength would be of nothing
    assert read(f"a fox --{name} {FLAGS[name].example}", options=started).prompt.startswith("a fox")


@pytest.mark.parametrize("alias", ALIASES)
def test_every_other_name_of_a_flag_stands_for_one(alias: str) -> None:
    assert ALIASES[alias] in FLAGS
    assert alias not in FLAGS


def test_the_default_model_may_be_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "large", replace(SKETCH, name="large", num_inference_steps=20))
    assert read("a fox", model="large").num_inference_steps == 20
    assert read("a fox --model sketch", model="large").num_inference_steps == SKETCH.num_inference_steps


VALUES = st.integers() | st.floats() | st.text(max_size=8) | st.text(string.digits + ":x.,-", max_size=8)
OPTIONS = st.dictionaries(st.sampled_from([name for name in FLAGS if name not in {"help", "no"}]), VALUES, max_size=3)


@quick
@given(OPTIONS)
@example({"ar": "99999:0." + "0" * 310 + "1"})
@example({"seed": 10**400})
@example({"guidance": float("nan")})
@example({"steps": True})
def test_options_given_apart_meet_a_sentence_too(options: dict[str, object]) -> None:
    assert isinstance(outcome("a fox", options), (ImageRequest, bytes))


@quick
@given(st.dictionaries(st.sampled_from(["n", "steps", "guidance"]), st.integers(-99, 99) | st.floats(-99, 99), min_size=1))
@example({"n": 11})
@example({"steps": 51, "n": 2})
@example({"guidance": 2.01})
def test_options_given_apart_obey_the_same_limits_as_flags(options: dict[str, float]) -> None:
    typed = " ".join(f"--{name} {value}" for name, value in options.items())
    assert outcome("a fox", dict(options)) == outcome(f"a fox {typed}")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seed": -1}, "The seed must be from 0 to 4,294,967,295; you asked for -1."),
        ({"ar": "9:1"}, "That shape is too long for sketch: try one between 1:1.78 and 1.78:1."),
        ({"size": "320"}, "--size does not understand “320”. For example: --size 320x224"),
        ({"ar": "3:2", "size": "320x224"}, "Give either --ar or --size, not both."),
        ({"no": "x" * 2001}, "The negative prompt has 2001 characters; I can read 2000. Please shorten it."),
        ({"model": "dalle"}, "There is no model “dalle” here. There is: sketch."),
        ({"n": ""}, "--n needs a value. For example: --n 4"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_the_words_of_its_flag(options: dict[str, object], sentence: str) -> None:
    assert outcome("a fox", options) == sentence.encode()


def test_an_option_wins_over_the_text_and_an_open_one_does_not() -> None:
    request = read("a fox --seed 1 --n 2", options={"seed": 7, "n": None, "ar": None})
    assert (request.seed, request.n) == (7, 2)


def test_an_option_is_taken_as_it_is_because_nothing_in_it_can_be_a_flag() -> None:
    assert read("a fox", options={"no": 'blur --seed 7 "x" \\--n'}).negative_prompt == 'blur --seed 7 "x" \\--n'


def test_the_longest_prompt_can_be_typed_and_printed() -> None:
    request = compose("x" * PROMPT_LIMIT, negative_prompt="--n " * (PROMPT_LIMIT // 4), model="sketch")
    assert read(write(request)) == request


def prompts(text: str, **given: Any) -> list[str]:
    return [request.prompt for request in read_all(text, **given)]


def test_braces_stand_for_each_thing_in_them_by_turns() -> None:
    assert prompts("a {red,blue} fox") == ["a red fox", "a blue fox"]
    assert prompts("a { red , deep blue } {fox,owl}") == ["a red fox", "a red owl", "a deep blue fox", "a deep blue owl"]
    assert prompts('"a {red,blue} fox"') == ["a red fox", "a blue fox"]
    assert prompts("a {,big} fox") == ["a fox", "a big fox"]
    assert prompts("{a fox, asleep | an owl}") == ["a fox, asleep", "an owl"]
    assert prompts("a {red,red, blue} fox") == ["a red fox", "a blue fox"]


def test_pictures_to_be_compared_have_the_same_seed() -> None:
    assert len({request.seed for request in read_all("a {red,blue,green} fox")}) == 1


@pytest.mark.parametrize("text", ["a {red} fox", "a } fox {", "{", "a {} fox", r"a \{red,blue} fox", "a fox __animal__"])
def test_braces_around_one_thing_and_lists_that_are_not_there_are_just_words(text: str) -> None:
    assert prompts(text) == [text.replace("\\{", "{")]


def test_a_command_that_is_one_picture_is_told_where_it_is_several() -> None:
    with pytest.raises(BadRequest, match="2 different pictures"):
        read("a {red,blue} fox")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{a,b} {c,d} {e,f} --n 2", "That makes 16 pictures, and 10 fit one message: try --n 1."),
        ("{a,b} fox --n 6", "That makes 12 pictures, and 10 fit one message: try --n 5."),
        ("{a,b,c,d} {e,f,g}", "That makes 12 pictures, and 10 fit one message."),
        ("{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}{a,b,c}", "That is too many choices in {…}: 10 pictures fit one message."),
        ("a fox --repeat 11", "--repeat is from 1 to 10."),
        ("a fox --repeat 3 --n 4", "That makes 12 pictures, and 10 fit one message: try --n 3."),
        ("{a,b} fox --repeat 6", "That makes 12 pictures, and 10 fit one message: try --repeat 5."),
        ("{a,b} fox --repeat 4 --n 2", "That makes 16 pictures, and 10 fit one message: try --n 1."),
        ("{a,b} fox --repeat 6 --n 2", "That makes 24 pictures, and 10 fit one message: try --repeat 2."),
        ("{a,b,c} fox --repeat 6 --n 5", "That makes 90 pictures, and 10 fit one message: try --n 1 --repeat 3."),
        ("{a,b,c,d} {e,f,g} --repeat 2", "That makes 24 pictures, and 10 fit one message."),
        ("a fox --style baroque", "There is no style “baroque”. There is: " + ", ".join(STYLES) + ", none."),
    ],
)
def test_too_much_for_one_message_is_said(text: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_all(text)
    assert str(refused.value) == sentence


@pytest.mark.parametrize(
    "words", ["{a,b}", "{a,b} --repeat 3", "{a,b,c} --repeat 6", "a __animal__ --repeat 4", "a fox --repeat 4"]
)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
@pytest.mark.usefixtures("lists")
def test_the_flags_that_are_advised_fit(words: str, n: int) -> None:
    try:
        read_all(f"{words} --n {n}")
    except BadRequest as refused:
        advised = str(refused).partition("try ")[2].removesuffix(".")
        assert read_all(f"{words} --n {n} {advised}")


def test_repeating_is_having_so_many_more() -> None:
    assert read("a fox --n 2 --repeat 3").n == 6


def test_a_style_is_words_around_the_prompt() -> None:
    assert prompts("a {red,blue} fox --style Pixel") == ["a red fox, pixel art", "a blue fox, pixel art"]
    assert prompts("a fox {,in snow} --style pixel") == ["a fox, pixel art", "a fox in snow, pixel art"]


@pytest.mark.parametrize("style", STYLES)
def test_every_style_keeps_the_prompt(style: str) -> None:
    assert "a {fox}" in STYLES[style].apply("a {fox}")


@pytest.mark.parametrize("style", STYLES)
def test_a_style_comes_off_again(style: str) -> None:
    assert split(STYLES[style].apply("a {fox}")) == ("a {fox}", style)


@pytest.mark.parametrize("prompt", ["a fox", "a fox , watercolor", ", watercolor", "watercolor"])
def test_words_that_are_no_style_stay(prompt: str) -> None:
    assert split(prompt) == (prompt, "")


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox", "cat", "owl"], "place": ["beach"]})


@pytest.mark.usefixtures("lists")
def test_a_list_of_the_admins_gives_one_thing_chosen_by_the_seed() -> None:
    drawn = [read(f"a __animal__ on a __place__ --seed {seed}").prompt for seed in range(20)]
    assert set(drawn) == {"a fox on a beach", "a cat on a beach", "a owl on a beach"}
    assert drawn == [read(f"a __Animal__ on a __PLACE__ --seed {seed}").prompt for seed in range(20)]


@pytest.mark.usefixtures("lists")
def test_help_names_the_lists() -> None:
    assert "Lists: __animal__, __place__" in help_text().splitlines()


@pytest.mark.usefixtures("lists")
def test_what_is_repeated_is_chosen_anew_from_a_list() -> None:
    requests = read_all("a __animal__ --repeat 5 --n 2 --seed 7")
    assert [(request.seed, request.n) for request in requests] == [(seed, 2) for seed in (7, 9, 11, 13, 15)]
    assert len(set(prompts("a __animal__ --repeat 5 --seed 7"))) > 1
    assert [read(write(request)) for request in requests] == list(requests)
    assert len(set(prompts("a __animal__ --n 5 --seed 7"))) == 1


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a __animl__", "There is no list “animl” here. There is: animal, place. A backslash keeps the words: \\__animl__"),
        ("a __animal__ --repeat 3 --n 4", "That makes 12 pictures, and 10 fit one message: try --n 3."),
        ("a __animal__ --repeat 2 --seed -1", "The seed must be from 0 to 4,294,967,295; you asked for -1."),
    ],
)
def test_what_a_list_cannot_give_is_said(text: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_all(text)
    assert str(refused.value) == sentence
    assert read_all("a \\__animl__ fox")[0].prompt == "a __animl__ fox"


@pytest.mark.usefixtures("lists")
def test_what_was_drawn_from_a_list_that_is_gone_can_be_edited(monkeypatch: pytest.MonkeyPatch) -> None:
    [request] = read_all("a __animal__")
    monkeypatch.setattr("bot.choices.LISTS", {"place": ["beach"]})
    assert filled(request, "a __animal__")["prompt"] == "a __animal__"


def test_what_was_typed_and_is_read_no_more_can_still_be_edited() -> None:
    request = compose("a red fox", model="sketch", seed=7)
    assert filled(request, "a {red,blue} fox --style gone")["prompt"] == "a red fox"


@pytest.mark.parametrize(
    "text",
    ["a fox {--no blur, --no text}", "{a, b --n 2} fox", "{a --ar 3:2,b}", "{--n 2,--n 3} fox", "a {red|--seed 7|blue} fox"],
)
def test_flags_within_braces_are_pointed_out(text: str) -> None:
    with pytest.raises(BadRequest, match="cannot stand within"):
        read_all(text)


@pytest.mark.parametrize("text", ["a smile :{ --n 2", "a fox \\{ --n 2 }", '"{a --n 2,b}"', "{--fox}"])
def test_braces_that_are_no_choice_leave_flags_alone(text: str) -> None:
    assert read_all(text)


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    "words", ["a __animal__", "{a,b}", r"\{a,b}", r"\__animal__ \\__animal__", "__animal____animal__", "a{b{c,d}}"]
)
def test_what_looks_like_a_choice_can_be_meant_as_words(words: str) -> None:
    request = compose(words, model="sketch")
    assert read(write(request)) == request


def test_a_persons_defaults_serve_where_the_command_says_nothing() -> None:
    usual = {"n": "3", "ar": "3:2", "style": "oil"}
    [request] = read_all("a fox", defaults=usual)
    assert (request.n, request.width, request.height, request.prompt) == (3, 320, 224, "a fox, oil painting")
    [request] = read_all("a fox --n 1 --size 256x288 --style neon", defaults=usual)
    assert (request.n, request.width, request.height, request.prompt) == (1, 256, 288, "a fox, neon glow")
    assert prompts("a fox --style none", defaults=usual) == ["a fox"]


def test_defaults_that_do_not_go_with_what_was_named_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "large", replace(SKETCH, name="large", width=512, height=512))
    [request] = read_all("a fox --model large", defaults={"size": "256x256"})
    assert request.width == 512
    [request] = read_all("a fox --model large", model="large", defaults={"size": "320x320"})
    assert request.width == 320
    [request] = read_all("a fox", defaults={"model": "large", "size": "320x320"})
    assert (request.model, request.width) == ("large", 320)


@pytest.mark.parametrize(
    "words",
    [
        *("help", "HELP", "\\help", "/imagine", "prompt: a fox", "prompt:a fox", "\\prompt:"),
        *("settings of a table", "settings: none", "Settings?", "setting", "Settings help", '"settings"'),
    ],
)
def test_words_that_speak_to_us_can_be_meant_as_a_picture(words: str) -> None:
    request = compose(words, model="sketch")
    for text in (write(request), f'"{words}"'):
        assert settings_in(text) is None
        assert read(text).prompt == words


def test_a_line_of_settings_is_read_as_options() -> None:
    line = "--size 320x224 --seed=7 --no blur and text --n 4"
    assert options_in(line) == {"size": "320x224", "seed": "7", "no": "blur and text", "n": "4"}
    assert options_in("") == {}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("20 steps", "“20” is not a setting"),
        ("--sede 4", "Did you mean --seed?"),
        ("--help", "“--help” is not a setting"),
        ("--n 2 -h me", "“-h” is not a setting"),
    ],
)
def test_a_line_of_settings_has_no_other_words(line: str, told: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(told)):
        options_in(line)


@pytest.mark.parametrize(
    "words",
    [
        "a {red,blue} fox",
        "a {red,blue} fox --no blur --style oil --repeat 2 --ar 3:2 --seed 7",
        "a {red,blue} fox, oil painting --n 2",
        "\\prompt: a {red,blue} fox",
        "\\settings {red,blue}",
        'a {red, blue} \\--fox \\{x} "--n 3" --upscale 2',
        "{a red,a blue} fox, oil painting --style oil",
        "a __animal__ --repeat 4",
        "a {red,blue} __animal__ --repeat 2 --n 2 --style oil",
        "a fox {,in the snow} --style oil",
        "a fox{ \u202e,in the snow} --style oil",
    ],
)
@pytest.mark.usefixtures("lists")
def test_a_form_that_is_filled_in_draws_all_that_was_asked_for(words: str) -> None:
    requests = read_all(words)
    form = filled(requests[0], words, requests[1:])
    options = {name: value for name, value in form.items() if value and name != "prompt"}
    assert list(read_all(form["prompt"], options=options)) == list(requests)


def test_a_form_that_is_filled_in_has_what_the_person_always_wants_and_says_it_once() -> None:
    words = "a {red,blue} fox"
    requests = read_all(words, defaults={"style": "oil", "n": "2"})
    form = filled(requests[0], words)
    assert (form["prompt"], form["style"], form["n"]) == (words, "oil", "2")
