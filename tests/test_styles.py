"""A style is words around a prompt, ours or the admin's; what people do with it is told in test_command."""

from __future__ import annotations

import re

import pytest

from bot import command
from bot.errors import Told
from bot.platforms import check
from bot.styles import OURS, STYLES, of_the_admin, offered, split

GIVEN = "Brand: in navy  and coral, flat; poster: a poster of {prompt}, bold letters ;; oil: thick oil paint"


def test_an_admin_may_add_styles_and_put_others_in_place_of_ours() -> None:
    found = of_the_admin({"IMAGINE_STYLES": GIVEN})
    assert {name: style.apply("a {fox}") for name, style in found.items()} == {
        "brand": "a {fox}, in navy and coral, flat",
        "poster": "a poster of a {fox}, bold letters",
        "oil": "a {fox}, thick oil paint",
    }
    assert found["brand"].about == "in navy and coral, flat"
    check({"IMAGINE_STYLES": GIVEN})
    assert list(offered({"IMAGINE_STYLES": GIVEN})) == ["brand", "poster", "oil", *(name for name in OURS if name != "oil")]
    assert offered({}) == OURS


@pytest.mark.parametrize("name", ["brand", "poster"])
def test_a_style_of_the_admins_is_picked_by_name_and_comes_off_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for style in of_the_admin({"IMAGINE_STYLES": GIVEN}).values():
        monkeypatch.setitem(STYLES, style.name, style)
    request = command.read(f"a fox --style {name.upper()}")
    assert split(request.prompt) == ("a fox", name)
    assert command.filled(request)["style"] == name
    assert name in command.help_text()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("in navy and coral", "the style “in navy and coral” needs another name"),
        ("none: plain", "the style “none” needs another name"),
        (f"{'x' * 31}: plain", "needs another name"),
        ("brand:", "the style “brand” has no words"),
        ("same: {prompt}", "the style “same” has no words"),
        ("brand: {prompt} and {prompt}", "has two places for the prompt"),
    ],
)
def test_styles_that_could_not_be_picked_are_said_at_the_start(given: str, told: str) -> None:
    with pytest.raises(Told, match=re.escape(told)):
        check({"IMAGINE_STYLES": given})
