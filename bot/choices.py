"""What a prompt leaves open: `{red, blue}` is each of them in turn, `__animal__` one out of a list, chosen by the seed.

`{a fox, asleep | an owl}`: where there is a bar between braces, it stands between the choices, and commas are just commas.
`{a fox {asleep, awake}, an owl}`: a choice may hold another one. Lists are the admin's, and their words may name lists. A
backslash before `{` or `__` keeps it as it is.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
from typing import TYPE_CHECKING, Final

from bot.errors import BadRequest
from bot.request import MAX_PICTURES, PROMPT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    _Part = str | list[str]  # a mark, or all that can stand there

VARIABLE: Final = "IMAGINE_WILDCARDS"  # animal: fox, cat, owl; place: beach, city
MOST: Final = 100  # prompts that are written out at all, before anything is said of them
NESTED: Final = 20  # braces within braces: at each level all that stands in them is written out again
DEEPEST: Final = 5  # lists within lists: one that names itself would have no end

NAME: Final = r"[^\W_]+"  # of a list
_MARKS: Final = re.compile(r"((?<!\\)\{|[},|])")
_LIST: Final = re.compile(rf"(?<!\\)__({NAME})__")
_KEEP: Final = re.compile(r"(?<!\\)\\*(?:\{|__)")
_KEPT: Final = re.compile(r"(?<!\\)\\+(?:\{|__)")


def prompts_in(prompt: str) -> list[str]:
    """Write a prompt out for every choice in its braces, each once."""
    return list(dict.fromkeys(_combined(_flat(_nested(prompt)))))


def is_open(prompt: str) -> bool:
    """Return whether a brace is still to be closed at its end."""
    depth = 0
    for mark in _MARKS.findall(prompt):
        depth = max(0, depth + {"{": 1, "}": -1}.get(mark, 0))
    return depth > 0


def _nested(prompt: str) -> list[list[_Part]]:
    """Read a prompt: what stands in no brace, and in each of those that are still open at its end, one in another."""
    levels: list[list[_Part]] = [[]]
    for index, part in enumerate(_MARKS.split(prompt)):
        is_mark = index % 2 == 1
        if is_mark and part == "{":
            if len(levels) > NESTED:
                raise BadRequest(
                    "That is more than {limit} braces within one another. A backslash keeps a brace as it is: \\{{",
                    limit=NESTED,
                )
            levels.append([])
        elif is_mark and part == "}" and len(levels) > 1:
            between = levels.pop()
            levels[-1].append(_chosen(between))
        else:
            levels[-1].append(part if is_mark else [part])
    return levels


def _flat(levels: Sequence[list[_Part]]) -> list[_Part]:
    """Take a brace that is never closed for a mere brace."""
    first, *others = levels
    return [*first, *(part for level in others for part in ("{", *level))]


def _chosen(between: list[_Part]) -> list[str]:
    """Return all that can stand for what is between two braces; braces around a single thing are just braces."""
    mark = "|" if "|" in between else ","
    if mark not in between:
        return _combined(["{", *between, "}"])
    choices: list[list[_Part]] = [[]]
    for part in between:
        if part == mark:
            choices.append([])
        else:
            choices[-1].append(part)
    return [words.strip() for choice in choices for words in _combined(choice)]


def _combined(parts: Iterable[_Part]) -> list[str]:
    """Write out all that parts can be together: a mark is itself, and of words one or the other."""
    ways = [[part] if isinstance(part, str) else part for part in parts]
    if math.prod(map(len, ways)) > MOST:
        raise BadRequest("That is too many choices in {{…}}: {limit} pictures fit one message.", limit=MAX_PICTURES)
    return ["".join(words) for words in itertools.product(*ways)]


def has_lists(prompt: str) -> bool:
    """Return whether something in a prompt is to be chosen from a list."""
    return any(name in LISTS for name in named(prompt))


def check(prompt: str) -> None:
    """Raise `BadRequest` for a list that is not there; where there are none at all, `__words__` are just words."""
    for name in named(prompt):
        if LISTS and name not in LISTS:
            raise BadRequest(
                "There is no list “{missing}” here. There is: {lists}. A backslash keeps the words: \\__{missing}__",
                missing=name[:50],
                lists=", ".join(LISTS),
            )


def filled(prompt: str, seed: int) -> str:
    """Put something for each `__list__`, and drop the backslashes that kept `{` and `__`."""
    choose = random.Random(seed)  # noqa: S311  not a secret: the same seed shall give the same words

    def one(found: re.Match[str]) -> str:
        words = LISTS.get(found[1].lower())
        return choose.choice(words) if words else found[0]

    for _ in range(DEEPEST):
        if len(prompt) <= PROMPT_LIMIT:
            prompt = _LIST.sub(one, prompt)
    return _KEPT.sub(lambda found: found[0][1:], prompt)


def keep(prompt: str) -> str:
    """Write a prompt so that nothing in it is open."""
    return _KEEP.sub(r"\\\g<0>", prompt)


def lists(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Read the admin's lists. What is wrong with them was said when the bot started (`platforms.check`)."""
    given = (line.partition(":") for line in environ.get(VARIABLE, "").split(";"))
    found = {name.strip().lower(): [each.strip() for each in words.split(",") if each.strip()] for name, _, words in given}
    return {name: words for name, words in found.items() if name}


def named(prompt: str) -> list[str]:
    """Return the names of all lists in a prompt, or in what stands in a list."""
    return [name.lower() for name in _LIST.findall(prompt)]


LISTS: Final = lists(os.environ)
