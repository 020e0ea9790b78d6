"""What people always want is read as they meant it, and never stands in their way."""

import re
from dataclasses import replace

import pytest

from bot.command import read_all
from bot.errors import BadRequest
from bot.models import MODELS, SKETCH
from bot.remembered import changed, settings_in, unsaid, usable

FORGOTTEN = dict.fromkeys(("model", "ar", "size", "n", "style"), "")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("settings", {}),
        (" Settings ", {}),
        ("settings reset", FORGOTTEN),
        ("settings --n 4 --style=oil", {"n": "4", "style": "oil"}),
        ('settings --style="oil"', {"style": "oil"}),
        ("settings --style=OIL --model SKETCH", {"style": "OIL", "model": "SKETCH"}),
        ("settings --reset", FORGOTTEN),
        ("settings -reset", FORGOTTEN),
        ("settings —reset", FORGOTTEN),
        ("settings reset reset", FORGOTTEN),
        ("settings reset.", FORGOTTEN),
        ("settings --n 4 reset", FORGOTTEN | {"n": "4"}),
        ("settings --style --reset --n=4", FORGOTTEN | {"n": "4"}),
        ("settings --n 4 help", {"n": "4"}),
        ("settings\n--n 4", {"n": "4"}),
        ("settings: --n 4", {"n": "4"}),
        ("Settings?", {}),
        ("settings.", {}),
        ("settings help", {}),
        ("settings --help", {}),
        ("settings RESET --n 3", {"model": "", "ar": "", "size": "", "n": "3", "style": ""}),
        ("settings --style", {"style": ""}),
        ("a fox settings", None),
        ("a setting sun", None),
        ("setting sun --n 4", None),
        ("setting: a desert", None),
        ("/imagine settings --n 4", {"n": "4"}),
        ('"settings of a table"', None),
        ("\\settings of a table", None),
        ("", None),
    ],
)
def test_settings_are_told_from_a_prompt(text: str, found: dict[str, str] | None) -> None:
    assert settings_in(text) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("settings of a table", "and not “of”. To draw these words, put them between quotes."),
        ("settings --n 4 of a table", "and not “of”."),
        ("settings n 4", "and not “n”."),
        ("settings rest", "and not “rest”."),
        ("settings reset all", "and not “all”."),
        ("settings --nn 4", "I don't know --nn."),
        ("setings --n 4", "Did you mean /imagine settings? To draw “setings”, put it between quotes."),
        ("Setting", "Did you mean /imagine settings?"),
        ("setting: --n 4", "Did you mean /imagine settings?"),
        ("settings, all of them", "and not “all”."),
        ("settigns reset", "Did you mean /imagine settings?"),
        ("settigns --reset", "Did you mean /imagine settings?"),
    ],
)
def test_what_may_be_meant_for_the_settings_is_not_drawn(text: str, told: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(told)):
        settings_in(text)


def test_only_some_flags_are_remembered() -> None:
    with pytest.raises(BadRequest, match="--seed is not remembered; these are: --model, --ar, --size, --n, --style"):
        settings_in("settings --seed 7")


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"n": "2"}, {"ar": "3:2", "n": "2"}),
        ({"size": "256x256"}, {"size": "256x256"}),
        ({"size": ""}, {"ar": "3:2", "size": ""}),
        ({"size": "none"}, {"ar": "3:2", "size": ""}),
        ({"size": "None"}, {"ar": "3:2", "size": ""}),
        ({"style": "Oil", "model": "SKETCH"}, {"ar": "3:2", "style": "oil", "model": "sketch"}),
        ({"no": "None"}, {"ar": "3:2", "no": "None"}),
        ({"ar": "1:1", "size": "256x256"}, {"ar": "1:1", "size": "256x256"}),
    ],
)
def test_a_size_takes_the_place_of_a_shape_that_was_remembered(changes: dict[str, str], kept: dict[str, str]) -> None:
    assert changed({"ar": "3:2"}, changes) == kept


def test_defaults_that_the_admin_has_taken_away_block_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"n": "2", "style": "gone", "model": "gone", "size": "1024x1024", "seed": "7", "ar": ""}
    [request] = read_all("a fox", defaults=usable(kept))
    assert (request.model, request.n, request.width, request.prompt) == ("sketch", 2, 256, "a fox")
    assert changed(kept, {"style": "oil"}) == {"n": "2", "style": "oil"}
    monkeypatch.setitem(MODELS, "large", replace(SKETCH, name="large", max_side=1024))
    assert usable({**kept, "model": "large"}) == {"n": "2", "model": "large", "size": "1024x1024"}


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("a fox", {"model", "size", "n"}),
        ("a fox --aspect 3:2", {"model", "n"}),
        ("a fox —model sketch", {"n"}),
        ("a fox --n lots --zzz", {"model", "size"}),
    ],
)
def test_what_is_typed_leaves_no_room_for_its_rivals(typed: str, left: set[str]) -> None:
    assert unsaid({"model": "sketch", "size": "256x256", "n": "2"}, typed).keys() == left
