"""The front desk: what the doors may ask of the house. It takes orders and presses, and hands jobs over; it draws nothing.

What it says no to, it raises as `Told`, for the person alone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bot import command, remembered
from bot.actions import FORBIDDEN, Action, follow
from bot.courier import attempt
from bot.deadline import left, left_to_answer, left_to_take_back
from bot.errors import NotTaken, Told, Unsure
from bot.request import NOT_TAKEN, Job, canonical, compose, each_alone
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bot.actions import Press
    from bot.request import ImageRequest
    from bot.store import Record, Store

T = TypeVar("T")
log: Final = logging.getLogger(__name__)

# Seconds, and all of it together no more than the deadline of whoever asks.
RECALL: Final = 0.4  # to find out what can be done without: without somebody's defaults, theirs is a plain command
REMEMBER: Final = 1.5  # to find out, or write down, what nothing can be done without
HAND_OVER: Final = 1.5  # to write a job down before we say that we could not
TAKE_BACK: Final = 0.25  # to write down that nobody waits for it, once the deadline is past
DOUBLE: Final = 2  # seconds: the same button pressed twice within is pressed once

# Of a proposal's address, what is not said again when its button is pressed: Slack does not say of private words which thread
# they stand in, and nobody of a picture to start from (`file` in Slack, `image` in Discord) where it lies.
PROPOSED: Final = ("thread", "file", "image")

STARTED_FROM: Final = ("prompt", "no", "style", "model", "size")  # what a picture and one that starts from it have in common

GONE: Final = Phrase("I don't remember that picture any more. Please type it again.")
TOO_LATE: Final = Phrase("It is too late to cancel that: it is done.")
ALREADY: Final = Phrase("I am already on it.")
CANCELLING: Final = Phrase("Cancelling. If it was just done, the pictures still come.")
HOW: Final = Phrase(
    "Change it with /imagine settings --n 4 --style oil, or forget it with /imagine settings reset. It holds {kept}."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, by which interaction, and where they are to be answered."""

    claim: str  # the platform's own id of the interaction
    platform: str
    person: str  # unique over all platforms
    reply_to: Mapping[str, str]  # an address; its `user` is the platform's own id of the person
    language: str
    place: str = ""  # the workspace or server, where people may have defaults of their own

    def job(self, requests: Sequence[ImageRequest], **more: Any) -> Job:
        """Make a job of what they ask for."""
        return Job(
            claim=self.claim,
            request=requests[0],
            others=tuple(requests[1:]),
            platform=self.platform,
            person=self.person,
            reply_to=self.reply_to,
            language=self.language,
            **more,
        )

    @property
    def defaults(self) -> str:
        """The name under which their defaults are remembered."""
        return f"defaults {self.person} {self.place}".strip()


@dataclass(frozen=True, slots=True)
class Proposal:
    """A job that is so many pictures that the person is asked first; its `draw` button says yes."""

    job: Job


class Desk:
    """Takes jobs in."""

    def __init__(self, store: Store, hand_over: Callable[[Job], Awaitable[None]], model: str) -> None:
        """Take what carries a job that is written down, and the model that serves where people name none."""
        self.store, self.model = store, model
        self._hand_over = hand_over

    async def submit(self, job: Job) -> Job:
        """Write a job down and hand it over; return the job that holds its claim.

        With `NotTaken`, nothing is owed and nothing will be done; with `Unsure`, that could not be seen to in time.
        """
        held = await attempt(self._claimed(job))
        if isinstance(held, Job):
            return held
        log.error("job %s was not taken", job.id, exc_info=held)
        # It may yet be written down, or be in somebody's hands, and nobody waits for it any more.
        failure = await attempt(_within(left_to_take_back(TAKE_BACK), self.store.finish(job.id, NOT_TAKEN)))
        raise (Unsure if failure or isinstance(held, Unsure) else NotTaken) from held

    async def order(
        self, text: str, caller: Caller, *, options: Mapping[str, object] | None = None, form: bool = False
    ) -> Job | Proposal:
        """Take what a person typed after the command, or filled into a `form`, which has shown them their defaults."""
        defaults = {} if form else await self.defaults(caller)
        requests = command.read_all(text, model=self.model, options=options, defaults=defaults)
        if len(requests) == 1:
            return await self.submit(caller.job(requests))
        words = canonical(command.unpasted(text))
        proposed = caller.job(requests, words=words)
        await self._soon(self.store.remember(f"proposal {proposed.id}", proposed.dump()))
        return Proposal(proposed)

    async def settings(self, text: str, caller: Caller) -> str | None:
        """Answer `settings …`: change what is remembered for this person, and show it. None where the text is no such thing."""
        changes = remembered.settings_in(text)
        if changes is None:
            return None
        defaults = await self.remembered(caller)
        if changes:
            defaults = await self.set_defaults(caller, remembered.changed(defaults, changes))
        return self.shown(defaults, caller.language)

    def shown(self, defaults: Mapping[str, str], language: str) -> str:
        """Say what is remembered for a person, and how to change it."""
        serving = remembered.usable(defaults)
        gone = {name: value for name, value in defaults.items() if name not in serving}
        lines = [say(language, "I add nothing to your commands.")]
        if serving:
            lines = [say(language, "What I add to your commands: {flags}", flags=_flags(serving))]
        if gone:
            lines.append(say(language, "What I cannot add any more, and leave out: {flags}", flags=_flags(gone)))
        kept = ", ".join(f"--{name}" for name in remembered.KEPT)
        return "\n".join([*lines, say(language, HOW, kept=kept)])

    async def defaults(self, caller: Caller) -> dict[str, str]:
        """Return the flags that serve where a person's commands lack them; none where that cannot be found out at once."""
        found = await attempt(_within(left(RECALL), self.remembered(caller)))
        if isinstance(found, Exception):
            log.warning("the defaults of %s were not found: %r", caller.person, found)
            return {}
        return remembered.usable(found)

    async def remembered(self, caller: Caller) -> dict[str, str]:
        """Return all that a person has set, to be seen or changed. Raises `NotTaken` where it cannot be found out at once."""
        found = await self._soon(self.store.recall(caller.defaults))
        defaults: dict[str, str] = json.loads(found or "{}")
        return defaults

    async def set_defaults(self, caller: Caller, defaults: Mapping[str, str]) -> dict[str, str]:
        """Remember flags for a person, in place of those before, and return them; what is empty is not to be remembered."""
        kept = {name: value for name, value in defaults.items() if value}
        remembered.check(kept)
        await self._for_good(self.store.remember(caller.defaults, json.dumps(kept), forever=True))
        return kept

    async def confirm(self, press: Press, caller: Caller) -> Job:
        """Draw what was proposed, once."""
        proposed = await self._soon(self.store.recall(f"proposal {press.job_id}"))
        if proposed is None:
            raise Told(GONE)
        job = Job.load(proposed)
        address = {**caller.reply_to, **{name: job.reply_to[name] for name in PROPOSED if job.reply_to.get(name)}}
        who = replace(caller, claim=f"proposal {press.job_id}", reply_to=address)
        return await self.submit(who.job(job.requests, words=job.words))

    async def press(self, press: Press, caller: Caller, recall: Recall) -> Job:
        """Redraw, vary or upscale."""
        requests, words = await self._asked(press, recall)
        if words:  # they stand for all the prompts, which are the same again only where all are drawn again
            words = command.redrawn(requests[0], words) if press.action is Action.REDRAW else ""
        job = caller.job(follow(press.action, requests, press.index), words=words)
        return await self._once(press, job)

    async def edit(self, press: Press, recall: Recall) -> dict[str, str]:
        """Return what stands in the form that opens: flags by name, and the prompt."""
        (request, *others), words = await self._asked(press, recall)
        return command.filled(request, words, others)

    async def imagined(self, text: str, press: Press | None, recall: Recall) -> dict[str, str]:
        """Return what stands in the form that a message opens, by which one can start from it: flags by name, and the prompt.

        A message of ours, known by one of its buttons, has what belongs to its first picture. A command is one, without its
        name; so is what has a flag, written out, and can be read as one. Any other text is mere words, with neither flags nor
        choices in it, for prose has dashes and programs have braces.
        """
        if press:
            (request, *_), _ = await self._asked(press, recall)
            filled = command.filled(request)
            return {name: filled[name] for name in STARTED_FROM}
        if command.is_named(text):
            return {"prompt": command.unpasted(text)}
        return {"prompt": text if command.has_flag(text) and self._can_be_drawn(text) else command.typed(text)}

    def _can_be_drawn(self, text: str) -> bool:
        """Return whether somebody's words are a command as they stand: with one wrong flag, they never meant any."""
        try:
            command.read_all(text, model=self.model)
        except Told:
            return False
        return not remembered.is_about_settings(text)

    async def details(self, press: Press, caller: Caller, recall: Recall) -> str:
        """Say how the pictures are drawn again: as a command for all of them, and each one's seed."""
        requests, _ = await self._asked(press, recall)
        lines = [f"{command.COMMAND}{command.write(request)}" for request in requests]
        pictures = each_alone(requests)
        if len(pictures) > 1:
            numbers = ", ".join(f"{each.variation_seed if each.variation_strength else each.seed}" for each in pictures)
            lines.append(say(caller.language, "The seeds, picture by picture: {seeds}", seeds=numbers))
        return "\n".join(lines)

    async def cancel(self, press: Press, caller: Caller, moderator: Moderator) -> str:
        """Stop a job that waits or is drawn; return what to say."""
        record = await self._soon(self.store.record(press.job_id))
        if not await self._is_under_way(record):
            raise Told(TOO_LATE)
        await self._allow(press, caller, record, moderator)
        await self._for_good(self.store.cancel(press.job_id))
        return say(caller.language, CANCELLING)

    async def _is_under_way(self, record: Record | None) -> bool:
        """Say whether a job's pictures are still to come: not where they are there, and on their way."""
        if record is None or record.outcome is not None:
            return False
        return not await self._soon(self.store.is_drawn(record.job.id))

    async def delete(self, press: Press, caller: Caller, moderator: Moderator) -> Job:
        """Have a message deleted, and its pictures, also those still to come; the caller's address names the message."""
        record = await self._soon(self.store.record(press.job_id))
        await self._allow(press, caller, record, moderator)
        if await self._is_under_way(record):
            await self._for_good(self.store.cancel(press.job_id))
        requests = record.job.requests if record else [compose("?", model=self.model)]  # what is forgotten can be deleted, too
        address = {**caller.reply_to, "target": press.job_id}
        return await self.submit(replace(caller, reply_to=address).job(requests, errand="delete"))

    async def once(self, claim: str, tell: Callable[[], Awaitable[bool]]) -> bool:
        """Have something said, unless it was before; return whether it is said, or should come again.

        It is noted afterwards, and where that is not found out at once, it is said again: better twice than never.
        """
        noted = f"told {claim}"
        if await attempt(_within(left_to_answer(RECALL), self.store.recall(noted))) == "yes":
            return True
        if not await tell():
            return False
        await attempt(_within(left_to_answer(RECALL), self.store.remember(noted, "yes")))
        return True

    async def _claimed(self, job: Job) -> Job:
        held = await _within(left(HAND_OVER), self._held(job))
        if held.id == job.id:
            failure = await attempt(_within(left(HAND_OVER), self._hand_over(held)))
            if isinstance(failure, TimeoutError):
                raise Unsure from failure  # it may be in somebody's hands
            if failure:
                raise failure
        return held

    async def _held(self, job: Job) -> Job:
        """Write a job down; return the one that holds its claim."""
        while (held := await self.store.claim(job)).id != job.id and await self._was_not_taken(held):
            job = replace(job, claim=f"{job.claim} again")  # they were told to try again, and did with the same thing
        return held

    async def _was_not_taken(self, job: Job) -> bool:
        record = await self.store.record(job.id)
        return record is not None and record.outcome == NOT_TAKEN

    async def _asked(self, press: Press, recall: Recall) -> tuple[Sequence[ImageRequest], str]:
        """Return what was asked for where a button was pressed, and in which words, if they stand for several prompts.

        `recall` reads it off the message, where we have forgotten.
        """
        if record := await self._soon(self.store.record(press.job_id)):
            return record.job.requests, record.job.words
        if recalled := await recall():
            return recalled, ""
        raise Told(GONE)

    async def _allow(self, press: Press, caller: Caller, record: Record | None, moderator: Moderator) -> None:
        """Let who asked for it, and moderators; `moderator` is asked only where it matters."""
        own = record.job.person == caller.person if record else press.asker == caller.reply_to["user"]
        if not own and not await moderator():
            raise Told(FORBIDDEN[press.action])

    async def _once(self, press: Press, job: Job) -> Job:
        """Submit what one of two presses of the same button asks for, and the same again where that press is sent again.

        A press of which nothing came, because it was refused or failed, holds up nobody.
        """
        held = await attempt(self._pressed(press, job))
        if isinstance(held, Job):
            return held
        if not isinstance(held, Unsure):
            await attempt(_within(left_to_take_back(TAKE_BACK), self.store.remember(f"void {job.claim}", "")))
        raise held

    async def _pressed(self, press: Press, job: Job) -> Job:
        for mark in _marks(press, job.person):  # one after the other, or of two at the same time, each could miss one
            if not await self._soon(self._holds(mark, job.claim)):
                raise Told(ALREADY)
        return await self.submit(job)

    async def _holds(self, mark: str, claim: str) -> bool:
        """Return whether a press holds a mark, if need be after others of which nothing came."""
        while (holder := await self.store.first(mark, claim)) != claim:
            if await self.store.recall(f"void {holder}") is None:
                return False
            mark = f"{mark} after {holder}"
        return True

    async def _for_good(self, writing: Awaitable[None]) -> None:
        """Have something written down that nobody takes back: where that takes too long, it may be done or not."""
        try:
            await self._soon(writing)
        except NotTaken as error:
            if isinstance(error.__cause__, TimeoutError):
                raise Unsure from error
            raise

    async def _soon(self, answer: Awaitable[T]) -> T:
        """Wait for the store's answer as long as somebody who has pressed a button can."""
        found = await attempt(_within(left(REMEMBER), answer))
        if isinstance(found, Exception):
            raise NotTaken from found
        return found


async def _within(seconds: float, answer: Awaitable[T]) -> T:
    """Wait no longer than so many seconds; unlike `asyncio.wait_for`, without a task for it."""
    async with asyncio.timeout(seconds):
        return await answer


def _flags(values: Mapping[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in values.items())


def _marks(press: Press, person: str) -> list[str]:
    """Name the piece of time in which somebody presses a button.

    Time is cut into pieces twice, half a piece apart: two presses within `DOUBLE` share a piece of one cut or the other,
    and as the store knows who came first, it does not matter which of us each of them reaches.
    """
    half = time.time() // DOUBLE
    return [f"{press.pack()} {person} {cut} {(half + cut) // 2:.0f}" for cut in (0, 1)]


if TYPE_CHECKING:
    Recall = Callable[[], Awaitable[Sequence[ImageRequest]]]
    Moderator = Callable[[], Awaitable[bool]]
