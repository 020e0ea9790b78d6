"""Whole stories in Discord: what people do one after the other, through signed HTTP, with everything restarted in between."""

from __future__ import annotations

import asyncio
import io
import re
import shutil
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from bot import command, png, recipe
from bot.desk import CANCELLING
from bot.errors import Told
from bot.request import each_alone
from bot.store_local import LocalStore
from bot.styles import STYLES, Style
from bot.texts import Phrase
from tests.conftest import environment, serving, until
from tests.fakes.discord_forms import prefilled
from tests.fakes.discord_world import Access, ChannelType, Message
from tests.fakes.faults import Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bot.request import ImageRequest
    from tests.conftest import Service
    from tests.fakes.discord import Answer, DiscordServer
    from tests.fakes.generator import QuickGenerator
    from tests.fakes.slack import SlackServer

FIRST_ROW = ["Redraw", "Edit", "Details", "Delete"]


class House:
    """The bot, which can be restarted, and what people do with it in Discord."""

    def __init__(self, folder: Path, discord: DiscordServer, environ: dict[str, str]) -> None:
        self.folder, self.discord, self._environ = folder, discord, environ
        self._stack = AsyncExitStack()
        self._drawn: list[ImageRequest] = []
        self.service: Service

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def generator(self) -> QuickGenerator:
        return self.service.generator

    @property
    def drawn(self) -> list[ImageRequest]:
        """What was drawn, before the last restart too."""
        return self._drawn + self.generator.drawn

    async def open(self, *, held_up: bool = False) -> None:
        self.service = await self._stack.enter_async_context(serving(self.folder, self._environ, held_up=held_up))

    async def close(self) -> None:
        await self._stack.aclose()
        self._drawn += self.generator.drawn

    async def restart(self, *, held_up: bool = False) -> None:
        await self.close()
        await self.open(held_up=held_up)

    async def forget(self) -> None:
        """Let so long a time pass that nothing is remembered."""
        await self.close()
        shutil.rmtree(self.folder)
        await self.open()

    async def idle(self) -> None:
        await until(lambda: not self.service.desk_is_busy())

    async def imagine(self, prompt: str = "a fox", **options: Any) -> Message:
        """Use the command; return the message that comes of it."""
        who = {name: options.pop(name) for name in ("user", "channel", "locale", "user_installed") if name in options}
        return await self.outcome(await self.discord.imagine(self.url, {"prompt": prompt} | options, **who))

    async def click(self, message: Message, button: str, **who: Any) -> Answer:
        """Press a button."""
        return await self.discord.click(self.url, message, button, **who)

    async def press(self, message: Message, button: str, **who: Any) -> Message:
        """Press a button; return the message that comes of it."""
        return await self.outcome(await self.click(message, button, **who))

    async def outcome(self, answer: Answer) -> Message:
        assert answer.message, answer.body
        assert not answer.message.reader, answer.message.content
        await self.idle()
        return answer.message

    def kept(self) -> list[Path]:
        return list(self.folder.glob("pictures/*/*.png"))


@pytest.fixture
async def house(tmp_path: Path, slack: SlackServer, discord: DiscordServer) -> AsyncIterator[House]:
    made = House(tmp_path / "home", discord, environment(slack, discord))
    await made.open()
    yield made
    await made.close()


def requests_in(message: Message) -> list[ImageRequest]:
    """Read the recipes of a message's pictures."""
    return [recipe.inside(picture) for picture in message.pictures]


# From one picture to the next


async def test_draw_vary_upscale_edit_details_delete_with_a_restart_before_each_step(house: House) -> None:
    drawn = await house.imagine("a red fox", n=4, seed=7, no="blur", guidance=1.5)
    assert drawn.labels == [*FIRST_ROW, *(f"{what} {i}" for what in ("Vary", "Upscale") for i in range(1, 5))]
    first = house.drawn[0]

    await house.restart()
    varied = await house.press(drawn, "Vary 3")
    assert len(varied.pictures) == 4
    assert {request.seed for request in requests_in(varied)} == {9}
    assert len({request.variation_seed for request in requests_in(varied)}) == 4

    await house.restart()
    upscaled = await house.press(varied, "Upscale 2")
    assert requests_in(upscaled) == [replace(requests_in(varied)[1], upscale=2)]
    assert upscaled.labels == [*FIRST_ROW, "Vary"]

    await house.restart()
    opened = await house.click(drawn, "Edit")
    assert prefilled(opened.modal) == {
        "What you want to see": "a red fox",
        "What to leave out": "blur",
        "Model": "sketch",
        "Style": "-",
        "Settings": "--size 256x256 --steps 4 --guidance 1.5 --seed 7 --n 4",
    }
    await house.restart()
    edited = await house.outcome(await house.discord.submit(house.url, opened, {"What you want to see": "a red hare"}))
    assert house.drawn[-1] == replace(first, prompt="a red hare")

    await house.restart()
    told = (await house.click(edited, "Details")).told
    assert "/imagine a red hare --size 256x256 --steps 4 --guidance 1.5 --seed 7 --n 4 --model sketch --no blur" in told
    assert "7, 8, 9, 10" in told

    await house.restart()
    kept = len(house.kept())
    answer = await house.click(edited, "Delete")
    assert (edited.pictures, edited.labels, edited.content) == ([], [], "Deleted.")
    await house.idle()
    assert answer.message is edited
    assert edited.deleted
    assert len(house.kept()) == kept - 4
    assert not [message for message in (drawn, varied, upscaled) if message.deleted]


async def test_redrawing_is_the_same_with_another_seed(house: House) -> None:
    again = await house.press(await house.imagine("a red fox", n=2, seed=7), "Redraw")
    first, second = house.drawn
    assert replace(second, seed=7) == first
    assert second.seed != 7
    assert len(again.pictures) == 2


async def test_a_message_says_what_who_how_and_how_long(house: House) -> None:
    message = await house.imagine("a red fox", seed=7)
    assert message.content == (
        f"**a red fox**\n-# 256×256 · 4 steps · guidance 1 · seed 7 · sketch · 0.0 s · <@{house.discord.user.id}>"
    )
    assert not message.pings
    assert [attachment.description for attachment in message.attachments] == ["a red fox"]


async def test_a_grid_says_its_seeds(house: House) -> None:
    assert "· seeds 7 to 10 ·" in (await house.imagine(n=4, seed=7)).content


async def test_ten_pictures_have_all_their_buttons(house: House) -> None:
    message = await house.imagine(n=10)
    assert len(message.labels) == 24
    assert [len(row["components"]) for row in message.components] == [4, 5, 5, 5, 5]
    await house.press(message, "Vary 10")
    assert house.drawn[1].seed == house.drawn[0].seed + 9


async def test_what_is_in_details_draws_the_same_again(house: House) -> None:
    message = await house.press(await house.imagine("a {fox --n 3", seed=7, no="a --b"), "Vary 2")
    told = (await house.click(message, "Details")).told
    command, seeds = told.removeprefix("```\n").split("\n```\n")
    assert seeds.startswith("The seeds, picture by picture\\: ")
    for typed in (command, command.removeprefix("/imagine "), command.replace("/imagine ", "/imagine prompt:")):
        again = await house.imagine(typed)
        assert house.drawn[-1] == house.drawn[-2]
        assert again.pictures == message.pictures


@pytest.mark.parametrize("label", ["Redraw", "Vary", "Upscale"])
async def test_anybody_may_go_on_from_a_picture(label: str, house: House) -> None:
    message = await house.imagine()
    eve = house.discord.add_user("eve")
    assert f"<@{eve.id}>" in (await house.press(message, label, user=eve)).content


async def test_a_double_click_draws_once(house: House) -> None:
    message = await house.imagine()
    first, second = await asyncio.gather(house.click(message, "Redraw"), house.click(message, "Redraw"))
    told = [answer.message for answer in (first, second) if answer.message and answer.message.reader]
    assert [message.content for message in told] == ["I am already on it."]
    await house.idle()
    assert len(house.drawn) == 2


async def test_a_button_an_hour_old_works(house: House) -> None:
    message = await house.imagine()
    assert message.token
    house.discord.expire(message.token)
    assert (await house.press(message, "Redraw")).pictures


async def test_where_the_message_is_the_bots_own_its_buttons_work_too(house: House) -> None:
    house.generator.gate.clear()
    answer = await house.discord.imagine(house.url, {"prompt": "a fox", "seed": 7})
    assert answer.message
    assert answer.interaction
    house.discord.expire(answer.interaction.token)
    house.generator.gate.set()
    await house.idle()
    (posted,) = [message for message in house.discord.messages if message.pictures]
    assert posted.token is None
    assert posted.labels == [*FIRST_ROW, "Vary", "Upscale"]
    assert (await house.press(posted, "Vary")).pictures
    await house.click(posted, "Delete")
    await house.idle()
    assert posted.deleted


async def test_a_variation_of_a_variation_goes_on_from_the_one_that_was_chosen(house: House) -> None:
    once = await house.press(await house.imagine("a red fox", n=2, seed=7), "Vary 2")
    twice = await house.press(once, "Vary 3")
    await house.forget()
    thrice = await house.press(twice, "Vary 4")
    chosen = [requests_in(message)[place] for message, place in ((once, 2), (twice, 3))]
    assert [each.varied for each in house.drawn[-2:]] == [each.variations for each in chosen]
    assert {(each.seed, len(each.variations)) for each in requests_in(thrice)} == {(8, 3)}
    told = (await house.click(thrice, "Details")).told
    assert command.write(house.drawn[-1]) in told


# When what we remember in is slow


@contextmanager
def slow(seconds: float, way: str = "_in_thread") -> Iterator[None]:
    """Let whatever is read and written be long in coming back."""
    with pytest.MonkeyPatch.context() as patched:
        quickly = getattr(LocalStore, way)

        async def slowly(store: LocalStore, work: Any) -> Any:
            found = await quickly(store, work)
            await asyncio.sleep(seconds)
            return found

        patched.setattr(LocalStore, way, slowly)
        yield


@pytest.mark.parametrize("label", ["Redraw", "Vary", "Upscale"])
async def test_whoever_is_told_no_gets_nothing_drawn_and_may_press_again_at_once(
    label: str, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = await house.imagine()
    monkeypatch.setattr("bot.deadline.DOING", 0.2)  # which two writes do not fit in
    monkeypatch.setattr("bot.desk.TAKE_BACK", 2)
    with slow(0.12):
        answer = await house.click(message, label)
        assert answer.read == "I could not take that just now. Please try again in a moment."
        await house.idle()
    monkeypatch.undo()
    assert len(house.drawn) == 1
    assert (await house.press(message, label)).pictures
    assert len(house.drawn) == 2


@pytest.mark.parametrize("label", ["Redraw", "Edit", "Delete", "Correct it"])
async def test_however_slow_it_is_there_is_an_answer_in_time(label: str, house: House) -> None:
    message = await house.imagine()
    if label == "Correct it":
        refused = await house.discord.imagine(house.url, {"prompt": "a fox", "steps": 9999})
        assert refused.message
        message = refused.message
    with slow(0.39):
        assert (await house.click(message, label)).status == 200


async def test_a_form_whose_picture_is_not_found_in_time_is_not_lost(house: House) -> None:
    opened = await house.discord.choose(house.url, house.discord.say("a fox", files={"a.png": photo()}))
    with slow(1), pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.discord_forms.left_to_answer", lambda _: 5)
        refused = await house.discord.submit(house.url, opened, {"Settings": "--strength 0.3"})
    assert refused.read == "I could not take that just now. Please try again in a moment."
    assert refused.message
    again = await house.click(refused.message, "Correct it")
    await house.outcome(await house.discord.submit(house.url, again))
    assert house.drawn[0].strength == 0.3
    assert house.generator.started_from[0]


async def test_a_cancel_that_may_be_done_is_not_said_to_have_failed(house: House) -> None:
    message = await held_up(house)
    with slow(1.8, "_write"):  # which is longer than a press waits for it
        assert "I cannot tell whether it was done" in (await house.click(message, "Cancel")).read
    house.generator.gate.set()
    await until(lambda: "Cancelled." in message.content)


# When everything is forgotten


@pytest.mark.parametrize("label", ["Redraw", "Vary 2", "Upscale 2", "Details", "Edit", "Delete"])
async def test_a_button_a_month_old_works(label: str, house: House) -> None:
    message = await house.imagine("a red fox", n=3, seed=7, steps=3)
    (first,) = house.drawn
    await house.forget()
    answer = await house.click(message, label)
    if label == "Details":
        assert command.write(first) in answer.told
    elif label == "Edit":
        assert "--seed 7 --n 3" in prefilled(answer.modal)["Settings"]
    elif label == "Delete":
        await house.idle()
        assert message.deleted
    else:
        await house.outcome(answer)
        anew = house.drawn[-1]
        assert (anew.prompt, anew.num_inference_steps) == ("a red fox", 3)
        assert (anew.n, anew.upscale, anew.seed == 8) == {"Re": (3, 1, False), "Va": (4, 1, True), "Up": (1, 2, True)}[
            label[:2]
        ]


async def test_a_stranger_is_told_from_the_asker_a_month_later_too(house: House) -> None:
    message = await house.imagine()
    await house.forget()
    answer = await house.click(message, "Delete", user=house.discord.add_user("eve"))
    assert answer.read == "Only who asked for it, or a moderator, can delete it."
    assert message.pictures


async def test_a_message_without_pictures_can_be_deleted_a_month_later(house: House) -> None:
    house.generator.fails = ValueError("broken")
    answer = await house.discord.imagine(house.url, {"prompt": "a fox"})
    message = await house.outcome(answer)
    assert "Something went wrong on my side" in message.content
    assert message.labels == ["Redraw", "Edit", "Delete"]
    await house.forget()
    await house.click(message, "Delete")
    await house.idle()
    assert message.deleted


async def test_different_prompts_in_one_message_are_read_off_it(house: House) -> None:
    asked = await house.discord.imagine(house.url, {"prompt": "a {red,blue} fox", "seed": 7})
    assert asked.message
    message = await house.press(asked.message, "Draw 2 pictures")
    await house.forget()
    told = (await house.click(message, "Details")).told
    assert "/imagine a red fox --size" in told
    assert "/imagine a blue fox --size" in told


async def test_a_picture_without_a_recipe_is_not_guessed_at(house: House) -> None:
    message = await house.imagine()
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    message.attachments[:] = [replace(file, content=buffer.getvalue()) for file in message.attachments]
    await house.forget()
    assert "I don't remember that picture any more" in (await house.click(message, "Redraw")).read


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.HANG])
async def test_where_discord_does_not_deliver_the_picture_people_are_asked_to_try_again(fault: Fault, house: House) -> None:
    message = await house.imagine()
    await house.forget()
    house.discord.faults.next("download", fault)
    assert "Please try again in a moment" in (await house.click(message, "Redraw")).read
    assert (await house.press(message, "Redraw")).pictures


@pytest.fixture
def noisy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw pictures that need more room than their recipes."""

    def noise(request: ImageRequest) -> bytes:
        return png.stamp(Image.effect_noise((256, 256), 90).convert("RGB"), request)

    monkeypatch.setattr("tests.fakes.generator.plain", noise)


SMALL = 30_000  # bytes: for less than such a picture, and more than a smaller one


@pytest.mark.usefixtures("noisy")
async def test_pictures_too_large_become_smaller_ones_whose_recipe_is_beside_them(house: House) -> None:
    house.discord.attachment_size_limit = SMALL
    message = await house.imagine("a `red` fox", n=10, seed=7)
    assert len(message.pictures) == 10
    assert all(file.filename.endswith(".webp") and len(file.content) <= SMALL for file in message.attachments)
    assert message.attachments[3].description == "a `red` fox"
    await house.forget()
    await house.press(message, "Vary 4")
    assert (house.drawn[-1].prompt, house.drawn[-1].seed) == ("a `red` fox", 10)


# What Discord shows no more than a part of: of a fence, of marks that are escaped, and of much in few letters.
LONG = ("x" * 2000, "[```]" * 400, "🦊" * 1900)


@pytest.mark.parametrize("words", LONG)
async def test_what_details_cannot_show_is_in_a_file(words: str, house: House) -> None:
    message = await house.imagine(words, no=words)
    again = await house.imagine(read_as_typed(await house.click(message, "Details")))
    assert house.drawn[0] == house.drawn[1]
    assert again.pictures == message.pictures


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.RESET, Fault.HANG])
async def test_a_file_that_discord_does_not_take_is_said_to_be_so(fault: Fault, house: House) -> None:
    message = await house.imagine("x" * 2000, no="y" * 2000)
    house.discord.faults.next("create_interaction_response", fault, times=9)
    assert (await house.click(message, "Details")).read == "I could not take that just now. Please try again in a moment."


def read_as_typed(details: Answer) -> str:
    """Return the command that somebody copies from their details."""
    assert details.message
    if not details.message.attachments:
        shown = details.message.content or "".join(embed["description"] for embed in details.message.embeds)
        fenced = re.fullmatch(r"```\n(.*)\n```", shown)
        return fenced[1] if fenced else re.sub(r"\\(.)", r"\1", shown)
    assert details.message.content == "It is too long to be shown here, and all of it is in this file."
    [file] = details.message.attachments
    assert (file.filename, details.status) == ("recipe.txt", 202)
    return file.content.decode()


async def smaller(house: House, words: str, n: int) -> Message:
    """Draw two prompts so that their pictures do not fit a message, and forget them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bot.discord_reply.LARGEST_REQUEST", SMALL * 2 * n)
        asked = await house.discord.imagine(house.url, {"prompt": f"{words[:1990]} {{a,b}}", "no": words, "n": n})
        assert asked.message
        message = await house.press(asked.message, f"Draw {2 * n} pictures")
    assert len(message.pictures) == 2 * n
    assert message.attachments[0].filename.endswith(".webp")
    await house.forget()
    return message


@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize("words", ["x" * 1000, *LONG])
async def test_what_stands_beside_smaller_pictures_is_whole(words: str, house: House) -> None:
    message = await smaller(house, words, 1)
    _, second = house.drawn
    await house.press(message, "Vary 2")
    assert (house.drawn[-1].prompt, house.drawn[-1].negative_prompt) == (second.prompt, second.negative_prompt)


@pytest.mark.usefixtures("noisy")
@pytest.mark.parametrize("words", LONG)
async def test_a_recipe_that_was_cut_off_is_in_the_pictures(words: str, house: House) -> None:
    message = await smaller(house, words, 5)  # with as many files as a message holds
    assert message.embeds[-1]["description"].endswith("…")
    lines = read_as_typed(await house.click(message, "Details")).splitlines()
    assert [command.read(line) for line in lines[:10]] == each_alone(house.drawn)
    await house.press(message, "Vary 3")
    assert house.drawn[-1].prompt == house.drawn[0].prompt


def stripped(webp: bytes) -> bytes:
    """Return a picture as somebody hands it on who keeps only what can be seen."""
    with Image.open(io.BytesIO(webp)) as image:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP")
    return buffer.getvalue()


@pytest.mark.usefixtures("noisy")
async def test_a_recipe_that_was_cut_off_and_is_lost_draws_nothing_else(house: House) -> None:
    message = await smaller(house, "x" * 2000, 5)
    message.attachments = [replace(file, content=stripped(file.content)) for file in message.attachments]
    for label in ("Redraw", "Details", "Edit"):
        assert "is cut off. Please type it again." in (await house.click(message, label)).read
    await house.click(message, "Delete")
    await house.idle()
    assert message.deleted


@pytest.mark.usefixtures("noisy")
async def test_all_of_a_message_fits_one_request(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.discord_reply.LARGEST_REQUEST", 10 * SMALL)
    message = await house.imagine(n=10)
    assert sum(len(file.content) for file in message.attachments) <= 10 * SMALL


# Cancelling


async def held_up(house: House, *, wakes: bool = False, **who: Any) -> Message:
    """Ask for a picture that is not drawn before the gate opens."""
    house.generator.gate.clear()
    house.generator.wakes = wakes
    answer = await house.discord.imagine(house.url, {"prompt": "a fox"}, **who)
    assert answer.message
    return answer.message


@pytest.mark.parametrize("stage", ["waking", "running", "queued"])
async def test_a_job_is_cancelled_at_any_stage(stage: str, house: House) -> None:
    others = await held_up(house, user=house.discord.add_user("eve")) if stage == "queued" else None
    message = await held_up(house, wakes=stage == "waking")
    assert message.labels == ["Cancel"]
    assert (await house.click(message, "Cancel")).read == CANCELLING
    if stage != "queued":
        house.generator.gate.set()
    await until(lambda: "Cancelled." in message.content)
    assert "Cancel" not in message.labels
    assert not message.pictures
    house.generator.gate.set()
    await house.idle()
    assert len(house.drawn) == (stage == "queued")
    assert others is None or others.pictures
    assert (await house.press(message, "Redraw")).pictures


async def test_a_cancel_that_comes_too_late_says_so(house: House) -> None:
    message = await held_up(house)
    components = message.components
    house.generator.gate.set()
    await house.idle()
    message.components = components  # as somebody saw it who had not seen the outcome yet
    assert (await house.click(message, "Cancel")).read == "It is too late to cancel that: it is done."
    assert message.pictures


async def test_a_stranger_cancels_nothing_and_is_told_so_alone(house: House) -> None:
    message = await held_up(house)
    eve, mod = house.discord.add_user("eve"), house.discord.add_user("mod", moderator=True)
    answer = await house.click(message, "Cancel", user=eve)
    assert answer.read == "Only who asked for it, or a moderator, can cancel it."
    assert answer.message
    assert answer.message.reader == eve.id
    assert (await house.click(message, "Cancel", user=mod)).read == CANCELLING
    house.generator.gate.set()
    await house.idle()
    assert not message.pictures


async def test_a_cancel_outlives_a_restart(house: House) -> None:
    message = await held_up(house)
    await house.click(message, "Cancel")
    house.generator.gate.set()
    await house.restart()
    await house.idle()
    assert "Cancelled." in message.content


# Who may delete


async def test_only_the_asker_and_moderators_delete(house: House) -> None:
    first, second = await house.imagine(), await house.imagine()
    eve, mod = house.discord.add_user("eve"), house.discord.add_user("mod", moderator=True)
    assert (await house.click(first, "Delete", user=eve)).read == "Only who asked for it, or a moderator, can delete it."
    assert first.pictures
    await house.click(first, "Delete", user=mod)
    await house.click(second, "Delete")
    await house.idle()
    assert (first.deleted, second.deleted) == (True, True)
    assert not house.kept()


async def test_a_message_is_deleted_once(house: House) -> None:
    message = await house.imagine()
    answers = await asyncio.gather(house.click(message, "Delete"), house.click(message, "Delete"))
    await house.idle()
    assert message.deleted
    assert {answer.status for answer in answers} == {200}


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.RESET, Fault.LOST_ANSWER])
async def test_deleting_gets_over_faults(fault: Fault, house: House) -> None:
    message = await house.imagine()
    house.discord.faults.next("delete_original_webhook_message", fault)
    await house.click(message, "Delete")
    await house.idle()
    assert message.deleted
    assert house.discord.faults.struck


async def test_a_message_is_deleted_by_the_bot_where_the_press_has_expired(house: House) -> None:
    message = await house.imagine()
    house.discord.faults.next("delete_original_webhook_message", Fault.RATE_LIMITED)
    answer = await house.click(message, "Delete")
    assert answer.interaction
    house.discord.expire(answer.interaction.token)
    await house.idle()
    assert message.deleted
    assert "delete_message" in {call.route for call in house.discord.calls}


# Permutations


async def test_several_prompts_are_drawn_once_they_are_confirmed(house: House) -> None:
    asked = await house.discord.imagine(house.url, {"prompt": "a {red,blue} fox in {snow,rain}", "seed": 7, "n": 2})
    assert asked.read.startswith("This makes 8 pictures.")
    assert "a red fox in snow\na red fox in rain" in asked.read
    assert asked.message
    await house.restart()
    assert not house.drawn
    message = await house.press(asked.message, "Draw 8 pictures")
    assert len(message.pictures) == 8
    assert [file.description for file in message.attachments][::2] == [
        *("a red fox in snow", "a red fox in rain", "a blue fox in snow", "a blue fox in rain")
    ]
    assert message.content.startswith("**a {red,blue} fox in {snow,rain}**")
    assert (await house.click(asked.message, "Draw 8 pictures")).read == "I am already on it."
    assert len(house.drawn) == 4


async def test_a_proposal_keeps_the_picture_that_it_starts_from(house: House) -> None:
    options = {"prompt": "a {red,blue} fox", "image": house.discord.upload("a.png", photo())}
    asked = await house.discord.imagine(house.url, options)
    assert asked.message
    await house.restart()
    message = await house.press(asked.message, "Draw 2 pictures")
    assert len(message.pictures) == 2
    assert [bool(start) for start in house.generator.started_from] == [True, True]


async def test_a_proposal_can_be_declined(house: House) -> None:
    asked = await house.discord.imagine(house.url, {"prompt": "a {red,blue} fox"})
    assert asked.message
    await house.click(asked.message, "No")
    assert (asked.message.content, asked.message.labels) == ("Nothing is drawn.", [])
    assert not house.drawn


async def test_what_was_typed_with_choices_is_edited_as_it_was_typed(house: House) -> None:
    asked = await house.discord.imagine(house.url, {"prompt": "a {red,blue} fox --repeat 2 --no blur --style oil", "seed": 7})
    assert asked.message
    message = await house.press(asked.message, "Draw 4 pictures")
    opened = await house.click(message, "Edit")
    held = prefilled(opened.modal)
    assert (held["What you want to see"], held["What to leave out"], held["Style"]) == ("a {red,blue} fox", "blur", "oil")
    same = await house.discord.submit(house.url, opened)
    assert same.message
    await house.press(same.message, "Draw 4 pictures")
    assert house.drawn[:2] == house.drawn[2:]
    again = await house.discord.submit(house.url, opened, {"What you want to see": "a {green,blue} fox"})
    assert "a green fox" in again.read


# The form


async def test_the_form_opens_with_the_persons_defaults(house: House) -> None:
    await house.discord.imagine(house.url, {"n": 2, "style": "oil", "ar": "3:2"}, name="imagine-settings")
    opened = await house.discord.imagine(house.url, {}, name="imagine-form")
    assert prefilled(opened.modal) == {
        "What you want to see": "",
        "What to leave out": "",
        "Model": "sketch",
        "Style": "oil",
        "Settings": "--ar 3:2 --n 2",
    }
    typed = {"What you want to see": "a fox", "Style": "neon", "Settings": "--n 2 --steps 3"}
    await house.outcome(await house.discord.submit(house.url, opened, typed))
    (request,) = house.drawn
    assert (request.prompt, request.n, request.num_inference_steps) == ("a fox, neon glow", 2, 3)
    assert (request.width, request.height) == (256, 256)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"Settings": "--steps 9999"}, "Steps must be from 1 to 50"),
        ({"Settings": "20 steps"}, "“20” is not a setting"),
        ({"Settings": "--sede 4"}, "Did you mean --seed?"),
        ({"Settings": "--help me"}, "is not a setting"),
        ({"Settings": "--ar 3:2 --size 256x256"}, "either --ar or --size"),
        ({"What you want to see": "a fox --steps many"}, "--steps does not understand"),
        ({"What you want to see": "x" * 2001}, "I can read 2000"),
    ],
)
async def test_nothing_that_was_typed_is_lost_where_a_value_is_wrong(typed: dict[str, str], told: str, house: House) -> None:
    opened = await house.discord.imagine(house.url, {}, name="imagine-form")
    everything = {"What you want to see": "a red fox", "What to leave out": "blur, text", "Style": "oil"} | typed
    refused = await house.discord.submit(house.url, opened, everything)
    assert told in refused.read
    assert refused.message
    await house.restart()
    again = await house.click(refused.message, "Correct it")
    assert everything.items() <= prefilled(again.modal).items()
    right = {"What you want to see": "a fox", "Settings": "--n 2"}
    await house.outcome(await house.discord.submit(house.url, again, right))
    (request,) = house.drawn
    assert (request.prompt, request.negative_prompt, request.n) == ("a fox, oil painting", "blur, text", 2)


async def test_nothing_is_lost_where_an_order_cannot_be_written_down(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = await house.discord.imagine(house.url, {}, name="imagine-form")
    monkeypatch.setattr("bot.desk.HAND_OVER", 0.0)
    refused = await house.discord.submit(house.url, opened, {"What you want to see": "a fox"})
    assert refused.read == "I could not take that just now. Please try again in a moment."
    assert refused.message
    monkeypatch.undo()
    again = await house.click(refused.message, "Correct it")
    await house.outcome(await house.discord.submit(house.url, again))
    assert [request.prompt for request in house.drawn] == ["a fox"]


async def test_a_command_that_cannot_be_drawn_is_corrected_in_the_form(house: House) -> None:
    refused = await house.discord.imagine(house.url, {"prompt": "a fox", "steps": 9999, "size": "256 x 256", "style": "oil"})
    assert refused.message
    opened = await house.click(refused.message, "Correct it")
    assert prefilled(opened.modal)["Settings"] == '--size "256 x 256" --steps 9999'
    assert prefilled(opened.modal)["Style"] == "oil"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"prompt": "settings of a table", "style": "oil"}, "and not “of”"),
        ({"prompt": "setings --n 4"}, "Did you mean /imagine settings?"),
        ({"prompt": "settings", "seed": 7}, "--seed is not remembered"),
        ({"prompt": "settings", "size": "1x1"}, "must be from"),
        ({"prompt": "a fox", "image": b"hello"}, "That is not a picture that I can read"),
        ({"prompt": "settings", "image": "photo"}, "--image is not remembered"),
    ],
)
async def test_nothing_that_was_typed_is_lost_whatever_is_refused(options: dict[str, Any], told: str, house: House) -> None:
    if content := options.get("image"):
        options = options | {"image": house.discord.upload("a.png", photo() if content == "photo" else content)}
    refused = await house.discord.imagine(house.url, options)
    assert told in refused.read
    assert refused.message
    again = prefilled((await house.click(refused.message, "Correct it")).modal)
    assert again["What you want to see"] == options["prompt"]
    assert again.get("Style", "-") in {options.get("style", "-"), ""}
    assert house.drawn == []


async def test_settings_that_were_refused_are_corrected_in_the_form(house: House) -> None:
    refused = await house.discord.imagine(house.url, {"prompt": "settings --nn 4", "style": "oil"})
    assert refused.message
    again = await house.click(refused.message, "Correct it")
    told = await house.discord.submit(house.url, again, {"What you want to see": "settings --n 4"})
    assert told.read.startswith("What I add to your commands: --n 4 --style oil\n")


async def test_options_beside_settings_are_remembered_with_them(house: House) -> None:
    answer = await house.discord.imagine(house.url, {"prompt": "settings --style oil", "n": 4})
    assert answer.read.startswith("What I add to your commands: --style oil --n 4\n")


async def test_a_refused_command_is_corrected_over_what_the_person_always_wants(house: House) -> None:
    await house.discord.imagine(house.url, {"n": 2, "style": "oil", "size": "320x224"}, name="imagine-settings")
    refused = await house.discord.imagine(house.url, {"prompt": "a fox --ar 1:1 --stpes 5", "style": "neon"})
    assert refused.message
    again = await house.click(refused.message, "Correct it")
    shown = prefilled(again.modal)
    assert (shown["Style"], shown["Settings"], shown["Model"]) == ("neon", "--n 2", "sketch")
    right = {"What you want to see": "a fox --ar 1:1 --steps 5"}
    await house.outcome(await house.discord.submit(house.url, again, right))
    (request,) = house.drawn
    assert (request.prompt, request.n, request.width, request.height) == ("a fox, neon glow", 2, 256, 256)
    assert request.num_inference_steps == 5


async def test_the_form_offers_every_style_and_model(house: House) -> None:
    opened = await house.discord.imagine(house.url, {}, name="imagine-form")
    menus = [part["component"] for part in opened.modal["components"] if part["component"]["type"] == 3]
    assert [option["value"] for option in menus[0]["options"]] == ["sketch"]
    assert len(menus[1]["options"]) == 12


async def test_of_more_styles_than_a_menu_holds_the_chosen_one_is_shown(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"own{number}" for number in range(30)):
        monkeypatch.setitem(STYLES, name, Style(name, Phrase(name), f"{{prompt}}, {name} look"))
    drawn = await house.imagine("a fox", style="own29", seed=7)
    opened = await house.click(drawn, "Edit")
    assert prefilled(opened.modal)["Style"] == "own29"
    await house.outcome(await house.discord.submit(house.url, opened))
    assert house.drawn[0] == house.drawn[1]


# Options, settings and help


@pytest.mark.parametrize(
    ("focused", "typed", "offered"),
    [
        ("style", "", 11),
        ("style", "paint", ["oil: oil painting"]),
        ("style", "OIL", ["oil: oil painting"]),
        ("style", "no such", []),
        ("model", "ske", 1),
    ],
)
async def test_names_are_completed(focused: str, typed: str, offered: list[str] | int, house: House) -> None:
    answer = await house.discord.autocomplete(house.url, {"prompt": "a fox", focused: typed}, focused)
    names = [choice["name"] for choice in answer.body["data"]["choices"]]
    assert (len(names) if isinstance(offered, int) else names) == offered


async def test_styles_and_models_are_described_in_the_persons_language(house: House) -> None:
    answer = await house.discord.autocomplete(house.url, {"style": "gem"}, "style", locale="de")
    assert [choice["value"] for choice in answer.body["data"]["choices"]] == ["oil"]


async def test_all_options_reach_the_request(house: House) -> None:
    await house.imagine(n=2, repeat=2, ar="3:2", seed=5, no="blur", steps=3, guidance=1.5, model="sketch", style="oil")
    (request,) = house.drawn
    assert (request.prompt, request.n, request.seed, request.negative_prompt) == ("a fox, oil painting", 4, 5, "blur")
    await house.imagine(upscale=2)
    assert house.drawn[-1].upscale == 2


async def test_settings_are_remembered_shown_and_forgotten_for_one_person_in_one_server(house: House) -> None:
    changed = await house.discord.imagine(house.url, {"n": 2}, name="imagine-settings")
    assert changed.read.startswith("What I add to your commands: --n 2\n")
    await house.restart()
    await house.imagine()
    await house.imagine(user=house.discord.add_user("eve"))
    await house.imagine(channel=house.discord.direct(house.discord.user))
    assert [request.n for request in house.drawn] == [2, 1, 1]
    typed = await house.discord.imagine(house.url, {"prompt": "settings --style oil"})
    assert "--n 2 --style oil" in typed.read
    await house.discord.imagine(house.url, {"ar": "3:2"}, name="imagine-settings")
    sized = await house.discord.imagine(house.url, {"size": "256x256"}, name="imagine-settings")
    assert sized.read.startswith("What I add to your commands: --n 2 --style oil --size 256x256\n")
    await house.discord.imagine(house.url, {"prompt": "settings --ar 1:1"})
    refused = await house.discord.imagine(house.url, {"size": "1x1"}, name="imagine-settings")
    assert "must be from" in refused.read
    assert "--n 2 --style oil --ar 1:1" in (await house.discord.imagine(house.url, {}, name="imagine-settings")).read
    reset = await house.discord.imagine(house.url, {"reset": True}, name="imagine-settings")
    assert reset.read.startswith("I add nothing to your commands.")
    await house.imagine()
    assert house.drawn[-1].n == 1


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("settings help", "What I add to your commands: --n 2"),
        ("settings rest", "and not “rest”"),
        ("help", "Type what you want to see"),
    ],
)
async def test_what_speaks_to_us_is_never_drawn(prompt: str, told: str, house: House) -> None:
    answer = await house.discord.imagine(house.url, {"prompt": prompt, "n": 2})
    assert answer.message
    assert told in answer.read
    assert house.drawn == []


@pytest.mark.parametrize("words", ["a __animl__", "a fox --model **x**", "a fox --steps <@1>`"])
async def test_what_we_say_is_read_as_it_is_meant(words: str, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox"]})
    refused = await house.discord.imagine(house.url, {"prompt": words})
    with pytest.raises(Told) as told:
        command.read(words)
    assert refused.read == str(told.value)
    assert not re.search(r"(?<!\\)(?:\\\\)*[*_`<>]", refused.told)


@pytest.mark.parametrize("locale", ["en-US", "de"])
async def test_help_is_short_and_fits(locale: str, house: House) -> None:
    by_name = await house.discord.imagine(house.url, {}, name="imagine-help", locale=locale)
    typed = await house.discord.imagine(house.url, {"prompt": "help"}, locale=locale)
    assert by_name.read == typed.read
    assert "/imagine a red fox in the snow" in by_name.read


# Pictures to start from


def photo(kind: str = "PNG", size: tuple[int, int] = (40, 20)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP")])
async def test_a_picture_is_drawn_from_an_attached_one(name: str, kind: str, house: House) -> None:
    message = await house.imagine(image=house.discord.upload(name, photo(kind)), strength=0.4)
    (request,), (start,) = house.drawn, house.generator.started_from
    assert (len(request.image), request.strength) == (24, 0.4)
    assert start
    with Image.open(io.BytesIO(start)) as image:
        assert (image.format, image.size) == ("PNG", (40, 20))
    assert "from a picture, strength 0.4" in message.content
    await house.restart()
    opened = await house.click(message, "Edit")
    assert f"--image {request.image} --strength 0.4" in prefilled(opened.modal)["Settings"]
    await house.outcome(await house.discord.submit(house.url, opened, {"What you want to see": "a hare"}))
    assert house.drawn[-1] == replace(request, prompt="a hare")
    assert house.generator.started_from == [start]


@pytest.mark.parametrize(
    ("content", "about", "told"),
    [
        (b"hello", {}, "That is not a picture that I can read"),
        (photo(), {"says": {"content_type": "video/mp4"}}, "That is not a picture that I can read"),
    ],
)
async def test_what_is_no_picture_is_refused_at_once(content: bytes, about: Any, told: str, house: House) -> None:
    file = house.discord.upload("a.png", content, **about)
    answer = await house.discord.imagine(house.url, {"prompt": "a fox", "image": file})
    assert told in answer.read
    assert not house.service.desk_is_busy()


@pytest.mark.parametrize(
    ("content", "about", "told"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(20), {}, "That is not a picture that I can read"),
        (photo(), {"says": {"url": "http://169.254.169.254/latest"}}, "The picture to start from is not here any more"),
        (photo(), {"says": {"url": "https://evil.example/a.png"}}, "The picture to start from is not here any more"),
        (photo(), {"redirect": "http://127.0.0.1:1/"}, "The picture to start from is not here any more"),
    ],
)
async def test_only_pictures_of_discords_own_are_fetched(content: bytes, about: Any, told: str, house: House) -> None:
    message = await house.imagine(image=house.discord.upload("a.png", content, **about))
    assert told in message.content
    assert not house.drawn


async def test_fetching_a_picture_gets_over_faults(house: House) -> None:
    house.discord.faults.next("download", Fault.SERVER_ERROR)
    assert (await house.imagine(image=house.discord.upload("a.png", photo()))).pictures


async def test_a_message_is_imagined_with_its_words_and_its_picture(house: House) -> None:
    said = house.discord.say("a fox <@1> --n 2 {x}", files={"a.pdf": b"%PDF-1.7", "a.png": photo()})
    opened = await house.discord.choose(house.url, said)
    assert prefilled(opened.modal)["What you want to see"].startswith("a fox ")
    await house.restart()
    await house.outcome(await house.discord.submit(house.url, opened, {"Settings": "--strength 0.3"}))
    (request,) = house.drawn
    assert (request.n, request.strength) == (2, 0.3)
    assert request.prompt.endswith(" {x}")
    assert house.generator.started_from[0]


async def test_a_message_that_was_forwarded_is_imagined(house: House) -> None:
    said = house.discord.say("")
    said.forwards = house.discord.say("a fox & a hen", files={"a.png": photo()})
    opened = await house.discord.choose(house.url, said)
    assert prefilled(opened.modal)["What you want to see"] == "a fox & a hen"
    await house.outcome(await house.discord.submit(house.url, opened))
    assert house.generator.started_from[0]


@pytest.mark.parametrize("said", ["/imagine a fox --n 2", "/imagine prompt: a fox --n 2"])
async def test_a_command_that_somebody_wrote_is_imagined_as_one(said: str, house: House) -> None:
    opened = await house.discord.choose(house.url, house.discord.say(said))
    assert prefilled(opened.modal)["What you want to see"] == "a fox --n 2"
    await house.outcome(await house.discord.submit(house.url, opened))
    assert (house.drawn[0].prompt, house.drawn[0].n) == ("a fox", 2)


async def test_a_picture_without_words_opens_the_form_with_it(house: House) -> None:
    image = house.discord.upload("a.png", photo())
    opened = await house.discord.imagine(house.url, {"image": image}, name="imagine-form")
    typed = {"What you want to see": "a fox", "Settings": "--strength 0.4"}
    await house.outcome(await house.discord.submit(house.url, opened, typed))
    assert house.drawn[0].strength == 0.4
    assert house.generator.started_from[0]


async def test_a_recipe_that_starts_from_a_picture_finds_it_again(house: House) -> None:
    message = await house.imagine(image=house.discord.upload("a.png", photo()))
    command = (await house.click(message, "Details")).told.splitlines()[1]
    await house.restart()
    again = await house.imagine(command)
    assert house.drawn[0] == house.drawn[1]
    assert again.pictures == message.pictures
    assert house.generator.started_from[0]


@pytest.mark.parametrize("forgotten", [False, True])
async def test_one_of_our_own_pictures_is_imagined_with_all_that_belongs_to_it(forgotten: bool, house: House) -> None:
    await house.discord.imagine(house.url, {"n": 2, "ar": "1:1", "style": "neon"}, name="imagine-settings")
    words = "a *red* \\{x,y} \\--fox" + "x" * 1500  # which alt text does not hold
    message = await house.imagine(words, no="blur", style="oil", ar="3:2", seed=7, guidance=2)
    if forgotten:
        await house.forget()
    opened = await house.discord.choose(house.url, message)
    assert prefilled(opened.modal) == {
        "What you want to see": words,
        "What to leave out": "blur",
        "Model": "sketch",
        "Style": "oil",
        "Settings": "--size 320x224" if forgotten else "--n 2 --size 320x224",
    }
    await house.outcome(await house.discord.submit(house.url, opened))
    assert house.generator.started_from[-1]


async def test_a_message_of_ours_without_a_picture_is_imagined_with_its_words(house: House) -> None:
    message = await held_up(house)
    opened = await house.discord.choose(house.url, message)
    assert prefilled(opened.modal)["What you want to see"] == "a fox"
    house.generator.gate.set()
    await house.idle()


async def test_a_message_of_many_words_fits_the_form(house: House) -> None:
    opened = await house.discord.choose(house.url, house.discord.say("x" * 4000 + "y" * 4000))
    assert len(prefilled(opened.modal)["What you want to see"]) == 4000


async def test_nothing_is_lost_where_a_picture_and_a_wrong_value_come_together(house: House) -> None:
    said = house.discord.say("a fox", files={"a.png": photo()})
    opened = await house.discord.choose(house.url, said)
    refused = await house.discord.submit(house.url, opened, {"Settings": "--strength 7"})
    assert "The strength must be from" in refused.read
    assert refused.message
    again = await house.click(refused.message, "Correct it")
    await house.outcome(await house.discord.submit(house.url, again, {"Settings": "--strength 0.7"}))
    assert house.generator.started_from[0]


async def test_where_the_picture_of_a_form_is_gone_it_is_said_and_nothing_else_is_drawn(house: House) -> None:
    opened = await house.discord.choose(house.url, house.discord.say("a fox", files={"a.png": photo()}))
    await house.forget()
    refused = await house.discord.submit(house.url, opened, {"Style": "oil"})
    assert refused.read == "The picture to start from is not here any more. Please attach it again."
    assert refused.message
    assert not house.drawn
    again = await house.click(refused.message, "Correct it")
    assert prefilled(again.modal)["Style"] == "oil"
    await house.forget()
    await house.outcome(await house.discord.submit(house.url, again))
    assert [(request.prompt, request.image) for request in house.drawn] == [("a fox, oil painting", "")]


# Where people are


async def test_in_a_server_without_the_bot_a_persons_own_app_does_it_all(house: House) -> None:
    elsewhere = house.discord.add_channel(guild_id=house.discord.snowflake(), access=Access.MISSING_ACCESS)
    message = await house.imagine(channel=elsewhere, user_installed=True)
    varied = await house.press(message, "Vary", user_installed=True)
    assert len(varied.pictures) == 4
    await house.click(varied, "Delete", user_installed=True)
    await house.idle()
    assert varied.deleted


async def test_somebody_who_is_no_member_is_answered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = house.discord._payload

    def without_member(*about: Any) -> dict[str, Any]:
        full = payload(*about)
        return {key: value for key, value in full.items() if key != "member"} | {"user": full["member"]["user"]}

    monkeypatch.setattr(house.discord, "_payload", without_member)
    assert (await house.imagine(user_installed=True)).pictures


@pytest.mark.parametrize("kind", [ChannelType.DM, ChannelType.GROUP_DM])
async def test_among_people_it_works_as_in_a_server(kind: ChannelType, house: House) -> None:
    channel = house.discord.add_channel(type=kind, recipient=house.discord.user.id)
    message = await house.imagine(channel=channel, user_installed=True)
    await house.click(message, "Delete", user_installed=True)
    await house.idle()
    assert message.deleted


@pytest.mark.parametrize("kind", [kind for kind in ChannelType if kind not in {ChannelType.DM, ChannelType.GROUP_DM}])
async def test_in_a_thread_and_wherever_else_in_a_server_it_works_as_in_a_channel(kind: ChannelType, house: House) -> None:
    channel = house.discord.add_channel(type=kind, guild_id=house.discord.guild)
    message = await house.imagine(channel=channel)
    assert (await house.press(message, "Redraw")).channel_id == channel.id
    opened = await house.click(message, "Edit")
    assert (await house.outcome(await house.discord.submit(house.url, opened))).channel_id == channel.id
    assert (await house.discord.choose(house.url, message)).modal
    await house.click(message, "Delete")
    await house.idle()
    assert message.deleted


# Languages


async def test_a_german_reads_german(house: House) -> None:
    house.generator.gate.clear()
    answer = await house.discord.imagine(house.url, {"prompt": "ein Fuchs", "seed": 7}, locale="de")
    assert answer.message
    assert answer.message.content.startswith("**ein Fuchs**\n-# Ich zeichne · 256×256 · 4 Schritte")
    assert answer.message.labels == ["Abbrechen"]
    assert (await house.click(answer.message, "Abbrechen", user=house.discord.add_user("eve"))).read.startswith("Only who")
    house.generator.gate.set()
    message = await house.outcome(answer)
    assert message.labels == ["Neu zeichnen", "Ändern", "Einzelheiten", "Löschen", "Variieren", "Vergrößern"]
    opened = await house.click(message, "Ändern", locale="de")
    assert opened.modal["title"] == "Ein Bild zeichnen"
    assert list(prefilled(opened.modal)) == ["Was du sehen willst", "Was fehlen soll", "Modell", "Stil", "Einstellungen"]
    refused = await house.discord.submit(house.url, opened, {"Einstellungen": "--steps 99"})
    assert "Die Zahl der Schritte muss bei sketch" in refused.read
    assert refused.message
    assert refused.message.labels == ["Verbessern"]


async def test_each_reads_their_own_language_of_one_message(house: House) -> None:
    message = await house.imagine(n=2, seed=7)
    told = (await house.click(message, "Details", user=house.discord.add_user("eva"), locale="de")).told
    assert "Die Seeds, Bild für Bild\\: 7, 8" in told
    varied = await house.press(message, "Vary 1", locale="de")
    assert varied.labels[0] == "Neu zeichnen"


# Hostile words


HOSTILE = [
    "@everyone @here <@1573585147561771010> <@&12345>",
    "```code``` `b` **bold** ||spoiler|| [link](https://a.example)",
    "{}{0}{prompt} {{x}} %s \\ \\\\ \" ' “",
    "imagine:delete:000000000000000000000000:0:1",
    "*" * 2000,
    "🦊" * 900,
    "\u202egnp.exe \x00\x07 a\ud83e",
]


@pytest.mark.parametrize("words", HOSTILE)
async def test_hostile_words_go_through_every_door_unharmed(words: str, house: House) -> None:
    message = await house.imagine(words, no=words[:1900], seed=7)
    first = house.drawn[0]
    message = await house.press(message, "Vary")
    opened = await house.click(message, "Edit")
    edited = await house.outcome(await house.discord.submit(house.url, opened))
    assert house.drawn[-1] == house.drawn[-2] == replace(house.drawn[-1], prompt=first.prompt)
    details = await house.click(edited, "Details")
    assert details.message
    shown = details.message.content or "".join(embed["description"] for embed in details.message.embeds)
    assert shown
    said = house.discord.say(words[:2000])
    await house.discord.submit(house.url, await house.discord.choose(house.url, said))
    await house.idle()
    wrong = [
        await house.discord.submit(house.url, opened, {"Settings": words}),
        *[await house.discord.imagine(house.url, {"prompt": "a fox", option: words}) for option in ("size", "model", "style")],
        await house.discord.imagine(house.url, {"style": words}, name="imagine-settings"),
    ]
    assert all(answer.read for answer in wrong)
    await house.discord.autocomplete(house.url, {"style": words}, "style")
    assert not [ping for posted in house.discord.messages for ping in posted.pings if posted is not said]


async def test_a_button_that_an_edit_has_taken_off_its_message_is_answered(house: House) -> None:
    message = await house.imagine()
    answer = await house.click(message, "Details", bare=True)
    assert answer.seconds < 1
    assert "/imagine a fox" in answer.told


@pytest.mark.parametrize("custom_id", ["imagine:redraw:1:2:3", "x" * 100, "imagine:again:zz"])
async def test_a_button_that_is_not_ours_any_more_is_answered(custom_id: str, house: House) -> None:
    message = await house.imagine()
    message.components[0]["components"][0]["custom_id"] = custom_id
    answer = await house.click(message, "Redraw")
    assert answer.seconds < 1
    assert "another version of me" in answer.read


@pytest.mark.parametrize(("name", "options"), [("imagine-a-film", {"prompt": "a fox"}), ("imagine", {})])
async def test_a_command_that_is_not_ours_any_more_is_answered(
    name: str, options: dict[str, str], house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Between an update and `imagine register`, people send what the last version knew."""
    answer = await house.discord.imagine(house.url, options, name=name)
    assert "another version of me" in answer.told
    assert "imagine register" in caplog.text
    assert "Traceback" not in caplog.text


# Progress


def preview(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


async def test_how_far_it_is_and_a_preview_are_shown_and_the_outcome_takes_their_place(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.02)
    house.discord.limit.most = 100
    previews = {2: preview(10), 4: preview(20), 6: preview(30)}
    house.generator.previews = [previews.get(step, b"") for step in range(1, 9)]
    house.generator.holds = set(previews)
    answer = await house.discord.imagine(house.url, {"prompt": "a fox", "steps": 8})
    assert answer.message
    message = answer.message
    for step, seen in previews.items():
        await until(lambda: f"step {step} " in message.content)  # noqa: B023
        assert [file.content for file in message.attachments] == [seen]
        house.generator.gate.set()
    await house.idle()
    shown = [edit for edit in message.edits if "step " in edit.content]
    assert {file.content for edit in shown for file in edit.attachments} <= set(previews.values())
    assert all(len(edit.attachments) <= 1 for edit in shown)
    assert all(file.description == "Not finished: a fox" for edit in shown for file in edit.attachments)
    assert [file.filename for file in message.attachments] == [f"sketch-{house.drawn[0].seed}.png"]
    assert "Cancel" not in message.labels


async def test_a_queue_and_a_machine_that_wakes_are_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.05)
    monkeypatch.setattr("bot.local.LOOK_AGAIN", 0.05)
    first = await held_up(house, wakes=True)
    await until(lambda: "waking a GPU, usually about 5 s" in first.content)
    second = await held_up(house, user=house.discord.add_user("eve"))
    await until(lambda: "1 drawing ahead" in second.content)
    assert (first.labels, second.labels) == (["Cancel"], ["Cancel"])
    house.generator.gate.set()
    await house.idle()
    assert first.pictures
    assert second.pictures


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_discords_limits_make_for_fewer_edits_and_lose_no_picture(
    most: int, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.0)
    house.discord.limit.most, house.discord.limit.seconds = most, 0.3
    house.generator.step_seconds, house.generator.holds = 0.02, {9}
    answer = await house.discord.imagine(house.url, {"prompt": "a fox", "steps": 20})
    assert answer.message
    message = answer.message
    await until(lambda: "step 9 " in message.content)
    house.generator.gate.set()
    await house.idle()
    assert message.pictures
    assert 1 <= len([edit for edit in message.edits if "step " in edit.content]) <= 20


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.SERVER_ERROR, Fault.RESET, Fault.LOST_ANSWER])
async def test_faults_between_the_steps_lose_nothing(fault: Fault, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.0)
    house.generator.step_seconds = 0.01
    house.discord.limit.seconds = 0.3
    house.discord.faults.next("update_original_webhook_message", fault)
    message = await house.imagine()
    assert message.pictures
    assert house.discord.faults.struck
    house.discord.faults.next("update_original_webhook_message", fault)
    assert (await house.press(message, "Redraw")).pictures


async def test_an_outcome_does_not_wait_long_for_a_status_that_waits(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library waits within its lock where nothing is left of a limit; giving that wait up must free the lock."""
    monkeypatch.setattr("bot.discord_reply.Reply.edit_every", 0.0)
    monkeypatch.setattr("bot.courier.SETTLE", 0.1)
    house.discord.limit.most, house.discord.limit.seconds = 1, 0.8
    house.generator.step_seconds = 0.05
    assert (await house.imagine(steps=6)).pictures
    house.discord.violations.clear()  # it came before the headers allowed it, and was sent again


# Secrets


async def test_no_token_and_no_prompt_reaches_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "bot")
    message = await house.imagine("a secret fox")
    assert message.token
    house.discord.faults.next("update_original_webhook_message", Fault.SERVER_ERROR)
    await house.press(message, "Redraw")
    written = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("bot"))
    tokens = [interaction.token for interaction in house.discord.interactions.values()]
    assert not [secret for secret in (*tokens, house.discord.bot_token, "a secret fox") if secret in written]
