"""What an admin pastes is what the code will answer, and what the platforms take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bot import command, discord, manifest, slack
from bot.models import MODELS
from bot.request import MAX_PICTURES, PROMPT_LIMIT, SEEDS
from tests.fakes import schemas

FILES = Path(__file__).parent.parent / "manifests"
STRING, INTEGER, NUMBER = 3, 4, 10  # Discord's kinds of options
GUILD, BOT_DM, PRIVATE_CHANNEL = range(3)  # Discord's contexts


@pytest.fixture
def imagine() -> dict[str, Any]:
    (only,) = manifest.for_discord()
    return only


@pytest.fixture
def options(imagine: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {option["name"]: option for option in imagine["options"]}


@pytest.mark.parametrize(("name", "made"), [("slack.json", manifest.for_slack()), ("discord.json", manifest.for_discord())])
def test_the_file_in_the_repository_is_what_the_code_prints(name: str, made: object) -> None:
    assert (FILES / name).read_text("utf-8") == manifest.as_json(made)


def test_a_manifest_reads_back_as_itself_and_keeps_its_letters() -> None:
    assert json.loads(manifest.as_json({"a": "ü"})) == {"a": "ü"}
    assert "ü" in manifest.as_json({"a": "ü"})


def test_slack_grants_just_the_scopes_that_the_code_uses() -> None:
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
    assert len(slash["command"]) <= 32
    assert len(slash["description"]) <= 2000
    assert len(slash["usage_hint"]) <= 1000


def test_slacks_hint_can_be_typed() -> None:
    (slash,) = manifest.for_slack()["features"]["slash_commands"]
    assert command.read(slash["usage_hint"]).prompt == "a red fox in the snow"


def test_discords_limits_are_kept(imagine: dict[str, Any]) -> None:
    assert len(imagine["options"]) <= 25
    for named in (imagine, *imagine["options"]):
        assert named["name"] == named["name"].lower()
        assert 1 <= len(named["name"]) <= 32
        assert 1 <= len(named["description"]) <= 100
        choices = named.get("choices") or []
        assert len(choices) <= 25
        assert all(1 <= len(choice["name"]) <= 100 for choice in choices)


def test_discord_asks_for_the_prompt_first_and_for_nothing_else(imagine: dict[str, Any]) -> None:
    required = [option.get("required", False) for option in imagine["options"]]
    assert required == [True] + [False] * (len(required) - 1)
    assert imagine["options"][0]["name"] == "prompt"


def test_every_flag_of_the_grammar_is_an_option_with_its_words(options: dict[str, dict[str, Any]]) -> None:
    assert options.keys() - {"prompt"} == set(discord.OPTIONS) <= command.FLAGS.keys()
    for name in options.keys() - {"prompt"}:
        assert options[name]["description"] == command.FLAGS[name].about


@pytest.mark.parametrize(
    ("name", "kind", "limits"),
    [
        ("prompt", STRING, {"min_length": 1, "max_length": PROMPT_LIMIT}),
        ("no", STRING, {"min_length": 1, "max_length": PROMPT_LIMIT}),
        ("n", INTEGER, {"min_value": 1, "max_value": MAX_PICTURES}),
        ("seed", INTEGER, {"min_value": 0, "max_value": SEEDS - 1}),
        ("steps", INTEGER, {"min_value": 1, "max_value": max(model.max_inference_steps for model in MODELS.values())}),
        ("guidance", NUMBER, {"min_value": 0, "max_value": max(model.max_guidance_scale for model in MODELS.values())}),
        ("ar", STRING, {}),
        ("size", STRING, {}),
        ("model", STRING, {}),
    ],
)
def test_discord_holds_people_to_our_limits(
    options: dict[str, dict[str, Any]], name: str, kind: int, limits: dict[str, float]
) -> None:
    assert options[name]["type"] == kind
    assert limits.items() <= options[name].items()


@pytest.mark.parametrize("name", ["ar", "model"])
def test_every_choice_that_discord_offers_can_be_drawn(options: dict[str, dict[str, Any]], name: str) -> None:
    assert options[name]["choices"]
    for choice in options[name]["choices"]:
        assert command.read("a fox", options={name: choice["value"]}).prompt == "a fox"


def test_discord_offers_every_model(options: dict[str, dict[str, Any]]) -> None:
    assert [choice["value"] for choice in options["model"]["choices"]] == list(MODELS)


def test_the_command_is_there_in_servers_and_in_private(imagine: dict[str, Any]) -> None:
    assert set(imagine["contexts"]) == {GUILD, BOT_DM, PRIVATE_CHANNEL}


@pytest.mark.skipif(bool(schemas.missing()), reason=schemas.missing() or "")
def test_discords_own_schema_takes_the_commands() -> None:
    check = schemas.discord_request("bulk_set_application_commands")
    assert check is not None
    assert check(manifest.for_discord()) is None
    assert check([command | {"name": "x" * 33} for command in manifest.for_discord()]) is not None
