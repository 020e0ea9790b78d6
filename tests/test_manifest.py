"""What an admin pastes is what the code will answer, and what the platforms take."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from bot import command, discord_commands, manifest, slack
from bot.models import ROWS
from bot.request import LEAST_STRENGTH, MAX_PICTURES, PROMPT_LIMIT, SEEDS
from bot.texts import say
from tests.fakes import schemas

FILES = Path(__file__).parent.parent / "manifests"
STRING, INTEGER, NUMBER, ATTACHMENT = 3, 4, 10, 11  # Discord's kinds of options
MESSAGE = 3  # a kind of command
FOR_SERVERS, FOR_PEOPLE = range(2)
GUILD, BOT_DM, PRIVATE_CHANNEL = range(3)  # Discord's contexts


@pytest.fixture
def imagine() -> dict[str, Any]:
    return next(command for command in manifest.for_discord() if command["name"] == "imagine")


@pytest.fixture
def options(imagine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {option["name"]: option for option in imagine["options"]}


PRINTED = {"slack.yaml": manifest.as_yaml(manifest.for_slack()), "discord.json": manifest.as_json(manifest.for_discord())}


@pytest.mark.parametrize("name", PRINTED)
def test_the_file_in_the_repository_is_what_the_code_prints(name: str) -> None:
    assert (FILES / name).read_text("utf-8") == PRINTED[name]


def test_nothing_else_lies_beside_them() -> None:
    assert {path.name for path in FILES.iterdir()} == PRINTED.keys()


@pytest.mark.parametrize(("write", "read"), [(manifest.as_yaml, yaml.safe_load), (manifest.as_json, json.loads)])
def test_a_manifest_reads_back_as_itself_and_keeps_its_letters(write: Callable[[Any], str], read: Callable[[str], Any]) -> None:
    tricky = {"z": "ü", "a": ["yes", "#2b2d42", "/imagine", "a: b", "no", "7", "a fox " * 40]}
    assert read(write(tricky)) == tricky
    assert list(read(write(tricky))) == ["z", "a"]
    assert "ü" in write(tricky)


def test_what_is_pasted_into_slack_reads_like_a_list() -> None:
    assert "  - command: /imagine\n    description: Draw a picture of what you type\n" in PRINTED["slack.yaml"]


def test_slack_is_asked_for_the_scopes_that_the_code_lists() -> None:
    assert manifest.for_slack()["oauth_config"]["scopes"] == {"bot": list(slack.SCOPES)}


@pytest.mark.parametrize("url", ["https://imagine.example.com", "https://imagine.example.com/"])
def test_slack_posts_commands_to_the_address_that_answers_them(url: str) -> None:
    (slash,) = manifest.for_slack(url)["features"]["slash_commands"]
    assert (slash["command"], slash["url"]) == ("/imagine", "https://imagine.example.com/slack/events")


def test_the_address_in_a_manifest_without_one_is_nobodys() -> None:
    (slash,) = manifest.for_slack()["features"]["slash_commands"]
    assert str(urlsplit(slash["url"]).hostname).endswith(".example.com")


def test_slack_hands_over_words_as_they_were_typed() -> None:
    (slash,) = manifest.for_slack()["features"]["slash_commands"]
    assert slash["should_escape"] is False


def test_slacks_limits_are_kept() -> None:
    made = manifest.for_slack()
    (slash,) = made["features"]["slash_commands"]
    assert len(made["display_information"]["name"]) <= 35
    assert len(made["display_information"]["description"]) <= 140
    assert re.fullmatch("#[0-9a-f]{6}", made["display_information"]["background_color"])
    assert len(slash["command"]) <= 32
    assert len(slash["description"]) <= 2000
    assert len(slash["usage_hint"]) <= 1000


def test_slacks_hint_can_be_typed() -> None:
    (slash,) = manifest.for_slack()["features"]["slash_commands"]
    assert command.read(slash["usage_hint"]).prompt == "a red fox in the snow"


@pytest.mark.parametrize("made", [c for c in manifest.for_discord() if c["type"] != MESSAGE], ids=lambda made: made["name"])
def test_discords_limits_are_kept(made: dict[str, Any]) -> None:
    assert len(made["options"]) <= 25
    assert len(json.dumps(made, ensure_ascii=False)) <= 8000
    for named in (made, *made["options"]):
        assert named["name"] == named["name"].lower()
        assert 1 <= len(named["name"]) <= 32
        assert all(1 <= len(words) <= 100 for words in (named["description"], *named["description_localizations"].values()))
        choices = named.get("choices") or []
        assert len(choices) <= 25
        assert all(1 <= len(choice["name"]) <= 100 for choice in choices)


def test_discord_asks_for_the_prompt_first_and_for_nothing_else(imagine: dict[str, Any]) -> None:
    required = [option.get("required", False) for option in imagine["options"]]
    assert required == [True] + [False] * (len(required) - 1)
    assert imagine["options"][0]["name"] == "prompt"


def test_the_menu_of_a_message_has_a_command_with_a_name_in_every_language() -> None:
    (menu,) = (command for command in manifest.for_discord() if command["type"] == MESSAGE)
    assert (menu["name"], menu["name_localizations"]) == ("Imagine this", {"de": "Zeichne das"})


def test_every_flag_of_the_grammar_is_an_option_with_its_words(options: dict[str, dict[str, Any]]) -> None:
    assert options.keys() - {"prompt", "image"} == set(discord_commands.OPTIONS) <= command.FLAGS.keys()
    assert command.FLAGS.keys() - options.keys() == {"vary", "help"}  # which nobody types, and which is a command
    for name in options.keys() - {"prompt", "image"}:
        about = command.FLAGS[name].about
        assert options[name]["description"] == about
        assert options[name]["description_localizations"] == {"de": say("de", about)}


@pytest.mark.parametrize(
    ("name", "kind", "limits"),
    [
        ("prompt", STRING, {"min_length": 1, "max_length": command.LONGEST}),
        ("no", STRING, {"min_length": 1, "max_length": PROMPT_LIMIT}),
        ("n", INTEGER, {"min_value": 1, "max_value": MAX_PICTURES}),
        ("seed", INTEGER, {"min_value": 0, "max_value": SEEDS - 1}),
        ("steps", INTEGER, {"min_value": 1, "max_value": max(model.max_inference_steps for model in ROWS.values())}),
        ("guidance", NUMBER, {"min_value": 0, "max_value": max(model.max_guidance_scale for model in ROWS.values())}),
        ("ar", STRING, {}),
        ("size", STRING, {}),
        ("model", STRING, {"autocomplete": True}),
        ("style", STRING, {"autocomplete": True}),
        ("image", ATTACHMENT, {}),
        ("strength", NUMBER, {"min_value": LEAST_STRENGTH, "max_value": 1}),
        ("upscale", INTEGER, {"min_value": 1, "max_value": 2}),
        ("repeat", INTEGER, {"min_value": 1, "max_value": MAX_PICTURES}),
    ],
)
def test_discord_holds_people_to_our_limits(
    options: dict[str, dict[str, Any]], name: str, kind: int, limits: dict[str, float]
) -> None:
    assert options[name]["type"] == kind
    assert limits.items() <= options[name].items()


@pytest.mark.parametrize("name", ["ar"])
def test_every_choice_that_discord_offers_can_be_drawn(options: dict[str, dict[str, Any]], name: str) -> None:
    assert options[name]["choices"]
    for choice in options[name]["choices"]:
        assert command.read("a fox", options={name: choice["value"]}).prompt == "a fox"


@pytest.mark.parametrize("made", manifest.for_discord(), ids=lambda made: made["name"])
def test_a_command_is_there_in_servers_and_in_private_for_servers_and_for_people(made: dict[str, Any]) -> None:
    assert set(made["contexts"]) == {GUILD, BOT_DM, PRIVATE_CHANNEL}
    assert set(made["integration_types"]) == {FOR_SERVERS, FOR_PEOPLE}


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {  # which Slack would not take
    "a name that is too long": lambda made: made["display_information"].update(name="imagine " * 5),
    "a command without its slash": lambda made: made["features"]["slash_commands"][0].update(command="imagine"),
    "an address without a scheme": lambda made: made["features"]["slash_commands"][0].update(url="imagine.example.com"),
    "a shortcut of another kind": lambda made: made["features"]["shortcuts"][0].update(type="channel"),
    "a way back that is no list": lambda made: made["oauth_config"].update(redirect_urls="https://imagine.example.com"),
    "a scope by another name": lambda made: made["oauth_config"]["scopes"].update(robot=["commands"]),
    "a setting by another name": lambda made: made["settings"].update(socket_mode=False),
}
with_manifests = pytest.mark.skipif(bool(schemas.missing_manifest()), reason=schemas.missing_manifest() or "")


@with_manifests
@pytest.mark.parametrize("url", [None, "https://imagine.example.com/", f"https://{'imagine-' * 20}.modal.run"])
def test_slacks_own_schema_takes_what_is_pasted(url: str | None) -> None:
    check = schemas.slack_manifest()
    assert check
    pasted = PRINTED["slack.yaml"] if url is None else manifest.as_yaml(manifest.for_slack(url))
    assert check(yaml.safe_load(pasted)) is None


@with_manifests
@pytest.mark.parametrize("mistake", WRONG)
def test_slacks_own_schema_would_not_take_a_mistake(mistake: str) -> None:
    check, made = schemas.slack_manifest(), manifest.for_slack()
    assert check
    WRONG[mistake](made)
    assert check(made) is not None


@pytest.mark.skipif(bool(schemas.missing()), reason=schemas.missing() or "")
def test_discords_own_schema_takes_the_commands() -> None:
    check = schemas.discord_request("bulk_set_application_commands")
    assert check is not None
    assert check(manifest.for_discord()) is None
    assert check([command | {"name": "x" * 33} for command in manifest.for_discord()]) is not None
