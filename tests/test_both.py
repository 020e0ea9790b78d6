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

COMMANDS = [
    "a red fox in the snow --seed 7",
    "a fox --ar 3:2 --n 4 --no blur, “text” --steps 3 --guidance 1.5 --seed 4294967294",
    'the words "quoted --n 3" \\--seed and \\{a,b} --style oil --seed 1',
    "🦊 狐 @everyone <!channel> `code` *bold* & <b> --upscale 2 --seed 0",
    "a fox --vary 9:0.25 --n 2 --seed 3",
]


async def idle(service: Service) -> None:
    await until(lambda: not service.desk_is_busy())


@pytest.mark.parametrize("typed", COMMANDS)
async def test_a_recipe_from_slack_draws_the_same_in_discord(
    typed: str, slack: SlackServer, discord: DiscordServer, service: Service
) -> None:
    await slack.command(service.url, typed)
    await idle(service)
    in_slack = [picture for message in slack.messages for picture in message.pictures]
    message = next(message for message in slack.messages if message.pictures and message.labels)
    await slack.click(service.url, message, "Details")
    [told] = [message for message in slack.messages if message.ephemeral_to and message.via == "response_url"]
    await discord.imagine(service.url, {"prompt": told.plain.splitlines()[0]})
    await idle(service)
    (in_discord,) = [message for message in discord.messages if message.pictures]
    first, second = service.generator.drawn
    assert first == second
    assert set(in_discord.pictures) == set(in_slack)


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
    await slack.command(service.url, recipe.removeprefix("/imagine "))
    await idle(service)
    in_slack = {picture for message in slack.messages for picture in message.pictures}
    first, second = service.generator.drawn
    assert first == second
    assert set(answer.message.pictures) == in_slack
