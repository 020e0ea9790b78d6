"""Discord, from a signed interaction to what stands in the channel, and discord.py's inside that we rely on."""

from __future__ import annotations

import asyncio
import io
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bot import recipe
from bot.discord import Discord
from tests.conftest import until
from tests.fakes.discord_world import Access, ChannelType, Message, State
from tests.fakes.faults import Fault

if TYPE_CHECKING:
    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer


async def imagine(discord: DiscordServer, service: Service, **options: Any) -> Message:
    """Use the command, wait for its outcome, and return the one message that it is."""
    answer = await discord.imagine(service.url, {"prompt": "a red fox", "seed": 7} | options)
    assert answer.status == 200
    return await outcome(discord, service)


async def outcome(discord: DiscordServer, service: Service) -> Message:
    await until(lambda: not service.desk_is_busy())
    [shown] = [message for message in discord.messages if message.pictures]
    return shown


async def test_a_ping_is_answered(discord: DiscordServer, service: Service) -> None:
    answer = await discord.ping(service.url)
    assert (answer.status, answer.body) == (200, {"type": 1})


async def test_the_answer_comes_at_once(discord: DiscordServer, service: Service) -> None:
    service.generator.gate.clear()
    answer = await discord.imagine(service.url, {"prompt": "a red fox", "seed": 7})
    service.generator.gate.set()
    assert answer.message
    assert answer.message.content.startswith("**a red fox**\n-# Drawing")
    assert "seed 7" in answer.message.content


async def test_the_picture_takes_the_place_of_the_answer_with_alt_text_settings_and_recipe(
    discord: DiscordServer, service: Service
) -> None:
    message = await imagine(discord, service)
    [attachment] = message.attachments
    assert attachment.description == "a red fox"
    assert "256×256 · 4 steps · guidance 1 · seed 7 · sketch" in message.content
    with Image.open(io.BytesIO(attachment.content)) as picture:
        assert recipe.parse(picture.info["parameters"]).seed == 7


async def test_ten_pictures_are_one_message(discord: DiscordServer, service: Service) -> None:
    assert len(set((await imagine(discord, service, n=10)).pictures)) == 10


async def test_typed_options_win_over_flags_in_the_prompt(discord: DiscordServer, service: Service) -> None:
    await imagine(discord, service, prompt="a fox --ar 3:2 --seed 1", no="blur", steps=4, guidance=1.5)
    [drawn] = service.generator.drawn
    assert (drawn.prompt, drawn.seed, drawn.negative_prompt) == ("a fox", 7, "blur")
    assert (drawn.num_inference_steps, drawn.guidance_scale, drawn.width) == (4, 1.5, 320)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"steps": 9999}, "Steps must be from 1 to 50"),
        ({"size": "300x256"}, "try 288"),
        ({"ar": "3:2", "size": "256x256"}, "either --ar or --size"),
        ({"prompt": "a fox --sede 7"}, "Did you mean --seed?"),
        ({"model": "sdxl"}, "There is no model"),
        ({"prompt": "--help"}, "Type what you want to see"),
    ],
)
async def test_what_cannot_be_drawn_is_told_to_the_one_who_asked_and_nothing_is_queued(
    options: dict[str, Any], told: str, discord: DiscordServer, service: Service
) -> None:
    answer = await discord.imagine(service.url, {"prompt": "a fox"} | options)
    assert answer.message
    assert answer.message.ephemeral
    assert told in answer.read
    assert not service.desk_is_busy()


@pytest.mark.parametrize(
    "words",
    [
        "@everyone @here <@1573585147561771010> <@&12345>",
        "`code` ```block``` **bold** __under__ ~~no~~ > quote ||spoiler||",
        "[link](https://a.example) <https://b.example> # big",
        "[a```](b) c [** ||x||](y) https://x.y/** <#1> <t:0:R> </a:1> :fox:",
        "*" * 2000,
        "🦊" * 900,
        "\\" * 1999,
    ],
)
async def test_words_are_shown_as_typed_and_ping_nobody(words: str, discord: DiscordServer, service: Service) -> None:
    message = await imagine(discord, service, prompt=words, no=words)
    assert not [ping for posted in discord.messages for ping in posted.pings]
    assert len(message.content) <= 2000
    shown = read_by_a_person(message.content.partition("\n")[0].removeprefix("**").removesuffix("**"))
    assert shown == words if len(words) < 500 else words.startswith(shown.removesuffix("…"))


def read_by_a_person(content: str) -> str:
    """Return what Discord shows of text that has no markup left; fail where it has some."""
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_~|`\[\]()<>#:@]", content)
    return re.sub(r"\\(.)", r"\1", content)


async def test_in_a_dm_the_answer_is_edited_too(discord: DiscordServer, service: Service) -> None:
    await discord.imagine(service.url, {"prompt": "a fox"}, channel=discord.direct(discord.user))
    assert (await outcome(discord, service)).pictures


async def held_up(discord: DiscordServer, service: Service, **where: Any) -> None:
    """Ask for a picture whose interaction expires before it is drawn."""
    service.generator.gate.clear()
    answer = await discord.imagine(service.url, {"prompt": "a fox @everyone"}, **where)
    assert answer.interaction
    discord.expire(answer.interaction.token)
    service.generator.gate.set()


async def test_after_fifteen_minutes_the_bot_posts_in_the_channel_and_calls_only_the_one_who_asked(
    discord: DiscordServer, service: Service
) -> None:
    await held_up(discord, service)
    message = await outcome(discord, service)
    assert message.channel_id == discord.channel.id
    assert message.token is None
    assert {ping.strip("<@!>") for ping in message.pings} == {discord.user.id}


@pytest.mark.parametrize("access", [Access.MISSING_ACCESS, Access.MISSING_PERMISSIONS])
async def test_where_the_bot_may_not_post_it_sends_a_dm(access: Access, discord: DiscordServer, service: Service) -> None:
    channel = discord.add_channel(guild_id=discord.guild, access=access)
    await held_up(discord, service, channel=channel)
    message = await outcome(discord, service)
    assert discord.channels[message.channel_id].type is ChannelType.DM


async def test_an_answer_that_can_be_edited_but_not_with_a_picture_says_so(discord: DiscordServer, service: Service) -> None:
    channel = discord.add_channel(guild_id=discord.guild, access=Access.MISSING_ACCESS)
    eve = discord.add_user("eve", closed_dms=True)
    service.generator.gate.clear()
    answer = await discord.imagine(service.url, {"prompt": "a fox"}, channel=channel, user=eve)
    discord.attachment_size_limit = 10  # which is not what the payload said
    service.generator.gate.set()
    await until(lambda: not service.desk_is_busy())
    assert answer.message
    assert "imagine show" in answer.message.content
    discord.violations.clear()  # that file was against the rules


async def test_what_cannot_be_delivered_at_all_is_kept(discord: DiscordServer, service: Service) -> None:
    channel = discord.add_channel(guild_id=discord.guild, access=Access.MISSING_ACCESS)
    await held_up(discord, service, channel=channel, user=discord.add_user("eve", closed_dms=True))
    await until(lambda: not service.desk_is_busy())
    assert not [message for message in discord.messages if message.pictures]
    assert [path.name for path in service.folder.glob("pictures/*/*")] == ["0.png"]


async def test_an_answer_that_discord_never_got_is_made_good_in_the_channel(
    discord: DiscordServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord_reply.SETTLES", 0.05)
    service.generator.gate.clear()
    answer = await discord.imagine(service.url, {"prompt": "a fox"})
    assert answer.interaction
    answer.interaction.state = State.VOID
    service.generator.gate.set()
    assert (await outcome(discord, service)).token is None


async def test_a_drawing_that_overtakes_our_own_answer_waits_for_it(discord: DiscordServer, service: Service) -> None:
    service.generator.gate.clear()
    answer = await discord.imagine(service.url, {"prompt": "a fox"})
    assert answer.interaction
    answer.interaction.state = State.VOID
    service.generator.gate.set()
    await until(lambda: any(call.status == 404 for call in discord.calls))
    answer.interaction.state = State.ANSWERED
    assert (await outcome(discord, service)) is answer.message


@pytest.mark.parametrize("fault", list(Fault)[:4])
@pytest.mark.parametrize("expired", [False, True])
async def test_a_fault_on_the_way_changes_nothing(
    fault: Fault,
    expired: bool,
    discord: DiscordServer,
    service: Service,
) -> None:
    route = "create_message" if expired else "update_original_webhook_message"
    discord.faults.next(route, fault)
    if expired:
        await held_up(discord, service)
    else:
        await discord.imagine(service.url, {"prompt": "a fox"})
    await outcome(discord, service)
    assert (route, fault) in discord.faults.struck


async def test_statuses_keep_their_distance(discord: DiscordServer, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.1)
    service.generator.step_seconds = 0.02
    message = await imagine(discord, service, steps=50)
    steps = [edit.time for edit in message.edits if "step " in edit.content]
    assert len(steps) >= 3
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(steps))


async def test_three_hundred_at_once_get_their_own_answers(
    discord: DiscordServer, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.deadline.DOING", 30)  # people wait for so long here, and nobody is turned away
    monkeypatch.setattr("bot.discord_http.IN_TIME", 30)
    answers = await asyncio.gather(
        *(discord.imagine(service.url, {"prompt": f"fox number {i}"}, patience=30) for i in range(300))
    )
    assert all(answer.message and f"fox number {i}**" in answer.message.content for i, answer in enumerate(answers))
    await until(lambda: sum(bool(m.pictures) for m in discord.messages) == 300, 60)


async def test_the_library_keeps_nothing_of_past_interactions(discord: DiscordServer, service: Service) -> None:
    assert service.parts.discord
    state = service.parts.discord.client._connection
    for _ in range(50):
        await discord.imagine(service.url, {"prompt": "a fox"}, user=discord.add_user("eve"))
    await until(lambda: not service.desk_is_busy(), 30)
    assert (len(state._users), len(state._guilds), len(state._messages or [])) == (0, 0, 0)
    await discord.imagine(service.url, {}, name="imagine-form")
    for button in ("Redraw", "Edit", "Details"):
        await discord.click(service.url, discord.messages[0], button)
    await until(lambda: not service.desk_is_busy(), 30)
    waiting = state._view_store
    assert (waiting._views, waiting._synced_message_views, waiting._modals) == ({}, {}, {})


async def test_commands_are_registered(discord: DiscordServer, service: Service) -> None:
    platform = service.parts.discord
    assert isinstance(platform, Discord)
    assert await platform.register() == 5
    names = ["imagine", "imagine-form", "imagine-settings", "imagine-help", "Imagine this"]
    assert [command["name"] for command in discord.commands[""]] == names
