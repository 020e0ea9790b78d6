"""What Slack shows holds what it takes to go on, and what people write in Slack is read as they meant it."""

from __future__ import annotations

from typing import Any

import pytest

from bot import slack_blocks
from bot.courier import Outcome
from bot.request import ImageRequest, Job, Picture, compose
from tests.fakes.generator import plain


def drawn(*requests: ImageRequest) -> Outcome:
    first, *others = requests
    address = {"user": "U1", "site": "https://x"}
    job = Job(claim="x", request=first, others=tuple(others), platform="slack", person="p", reply_to=address)
    return Outcome(job=job, pictures=[Picture(png=plain(request), request=request) for request in job.alone()])


def fox(prompt: str = "a fox", **given: Any) -> ImageRequest:
    return compose(prompt, model="sketch", **({"seed": 7} | given))


def message(ended: Outcome) -> dict[str, Any]:
    files = [{"slack_file": {"id": f"F{index}"}} for index, _ in enumerate(ended.pictures)]
    return slack_blocks.outcome(ended, files, "")


def buttons(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [button for block in shown["blocks"] if block["type"] == "actions" for button in block["elements"]]


LONG = "ä" * 1000 + " " + "🦊" * 999


@pytest.mark.parametrize(
    "requests",
    [
        [fox()],
        [fox(n=10)],
        [fox(LONG, negative_prompt=LONG)],
        [fox(f"{number} {LONG[:1990]}") for number in range(10)],
        [fox(variation_seed=9, variation_strength=0.25, varied=((1, 0.3), (2, 0.5)), n=4)],
        [fox(variation_seed=9, variation_strength=0.25, upscale=2, image="0" * 24, strength=0.5)],
        [fox("\\{a} <b> & \"c\" 'd' \\")],
    ],
)
def test_a_message_says_what_was_asked_for(requests: list[ImageRequest]) -> None:
    shown = message(drawn(*requests))
    assert slack_blocks.recall(shown) == requests
    assert all(len(button.get("value", "")) <= 2000 for button in buttons(shown))


def test_the_delete_button_knows_the_files() -> None:
    [delete] = [button for button in buttons(message(drawn(fox(n=3)))) if "confirm" in button]
    assert delete["value"] == "F0,F1,F2"


@pytest.mark.parametrize("value", ["", "[]", "[1]", "{", "[{}]", '[{"colour": "red"}]', "eJw=", "ä", "A"])
def test_what_does_not_say_is_nothing(value: str) -> None:
    shown = message(drawn(fox()))
    for button in buttons(shown):
        button["value"] = value
    buttons(shown)[1]["value"] = ""
    assert list(slack_blocks.recall(shown)) == []


@pytest.mark.parametrize("shown", [None, {}, {"blocks": []}, {"blocks": [{"type": "actions", "elements": [{"type": "x"}]}]}])
def test_a_message_of_others_says_nothing(shown: Any) -> None:
    assert list(slack_blocks.recall(shown)) == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<@U0BOT> a fox", "a fox"),
        ("<@U0BOT|imagine>: a fox", ":  a fox".strip()),
        ("a &lt;fox&gt; &amp;amp;", "a <fox> &amp;"),
        ("<https://a.example/?b=1&amp;c|a.example> <https://b.example>", "a.example https://b.example"),
        ("<@U2> <#C1|general> <#C1|> <!here> <!subteam^S1|@foxes>", "@U2 #general #C1 @here @foxes"),
        ("<not closed", "<not closed"),
        ("", ""),
    ],
)
def test_what_people_write_is_read_as_it_looks(written: str, read: str) -> None:
    assert slack_blocks.unmark(written, "U0BOT").split() == read.split()
