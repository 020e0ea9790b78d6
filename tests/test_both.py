"""What one platform tells of a picture draws the identical one on the other."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import until

if TYPE_CHECKING:
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer
    from tests.fakes.slack_world import Message

COMMANDS = [
    "a red fox in the snow --seed 7",
    "a fox --ar 3:2 --n 4 --no blur, “text” --steps 3 --guidance 1.5 --seed 4294967294",
    'the words "quoted --n 3" \\--seed and \\{a,b} --style oil --seed 1',
    "🦊 狐 @everyone <!channel> `code` *bold* & <b> --upscale 2 --seed 0",
    "a fox --vary 9:0.25 --n 2 --seed 3",
    "a fox --vary 9:0.25,4:1,0:0.3 --n 2 --seed 3",
]


async def drawn_in_slack(slack: SlackServer, service: Service, typed: str) -> Message:
    """Type a command; return the message that it becomes."""
    await slack.command(service.url, typed)
    await idle(service)
    return [message for message in slack.messages if message.pictures and "Details" in message.labels][-1]


async def idle(service: Service) -> None:
    await until(lambda: not service.desk_is_busy())


@pytest.mark.parametrize("typed", COMMANDS)
async def test_a_recipe_from_slack_draws_the_same_in_discord(
    typed: str, slack: SlackServer, discord: DiscordServer, service: Service
) -> None:
    in_slack = await drawn_in_slack(slack, service, typed)
    await slack.click(service.url, in_slack, "Details")
    told = [message.plain for message in slack.messages if message.ephemeral_to and message.plain.startswith("/imagine ")]
    answer = await discord.imagine(service.url, {"prompt": told[-1].splitlines()[0]})
    assert answer.message
    await idle(service)
    first, second = service.generator.drawn
    assert first == second
    assert answer.message.pictures == in_slack.pictures


@pytest.mark.parametrize("typed", COMMANDS)
async def test_a_recipe_from_discord_draws_the_same_in_slack(
    typed: str, slack: SlackServer, discord: DiscordServer, service: Service
) -> None:
    answer = await discord.imagine(service.url, {"prompt": typed})
    assert answer.message
    await idle(service)
    told = (await discord.click(service.url, answer.message, "Details")).told
    shown = re.search(r"^```\n(.*)\n```", told)
    recipe = shown[1] if shown else re.sub(r"\\(.)", r"\1", told.splitlines()[0])
    in_slack = await drawn_in_slack(slack, service, recipe.removeprefix("/imagine "))
    first, second = service.generator.drawn
    assert first == second
    assert in_slack.pictures == answer.message.pictures
