"""The third platform: a page served by the bot itself, for trying it out on one machine.

It keeps nothing of its own. While a job runs, the page is told each event; afterwards it reads what the store has kept,
so a page that was reloaded, or a server that was restarted, shows the same.

`page.html` is one file. Between its double braces stand words for people, which are put into their language here.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import secrets
from collections import defaultdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from bot.actions import DELETED, Action, Press, of_proposal, offered, so_many, while_drawing
from bot.courier import Outcome, Pace, attempt, describe, summary
from bot.desk import GONE, Caller, Proposal
from bot.errors import NotTaken, Told
from bot.models import MODELS
from bot.request import Event, Job, Picture, Step, settings
from bot.styles import STYLES
from bot.texts import ENGLISH, LANGUAGES, Phrase, language, say
from bot.upload import vetted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from bot.actions import Button
    from bot.courier import Notes
    from bot.desk import Desk
    from bot.request import ImageRequest

    Answer = dict[str, Any]

log: Final = logging.getLogger(__name__)

TEMPLATE: Final = resources.files("bot").joinpath("page.html").read_text("utf-8")
_WORDS: Final = re.compile(r"\{\{((?:[^{}]|\{\w+\})+)\}\}")
WORDS: Final = frozenset(_WORDS.findall(TEMPLATE))

# What the page may say apart from the words, by the names of the flags.
FIELDS: Final = (
    "no",
    "model",
    "style",
    "size",
    "steps",
    "guidance",
    "seed",
    "n",
    "strength",
    "upscale",
    "image",
    "vary",
    "repeat",
)
NAME: Final = 60  # characters of a prompt in the name of a file

NOT_HERE: Final = Phrase("There is no such drawing here any more.")
ELSEWHERE: Final = Phrase("That drawing has ended, and not on this page.")


class Page:
    """Everybody who looks at the page of this server."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk, which takes orders."""
        self._desk, self._store = desk, desk.store
        self._watchers: defaultdict[str, set[asyncio.Queue[Answer]]] = defaultdict(set)
        self._pace = Pace(per_minute=1_000_000)  # the page is ours, and bears all there are
        self._latest: dict[str, Answer] = {}  # of jobs under way, for those who come later
        self._presses = {
            Action.CANCEL: self._cancel,
            Action.DELETE: self._delete,
            Action.DETAILS: self._details,
            Action.EDIT: self._edit,
            Action.DRAW: self._confirm,
        }

    async def imagine(self, text: str, caller: Caller, options: Mapping[str, str], *, form: bool) -> Answer:
        """Take what somebody typed, or filled into the form; say that it is being drawn. Raises `Told`."""
        if not form and (shown := await self._desk.settings(text, caller)) is not None:
            return {"told": shown}
        given = {name: value for name in FIELDS if (value := options.get(name, "").strip())}
        taken = await self._desk.order(text, caller, options=given, form=form)
        return _question(taken.job) if isinstance(taken, Proposal) else _drawing(taken)

    async def press(self, packed: str, caller: Caller) -> Answer:
        """Do what a button says. Raises `Told`."""
        press = Press.unpack(packed)
        if press is None or press.action is Action.DISCARD:  # for which the page needs nobody
            raise Told(GONE)
        return await self._presses.get(press.action, self._follow)(press, caller)

    async def attach(self, content: bytes) -> Answer:
        """Keep a picture to start from; say by which name. Raises `Told`."""
        name, png = secrets.token_hex(12), await vetted(content)
        if failure := await attempt(self._store.keep_file(name, png)):
            log.error("a picture that was attached was not kept", exc_info=failure)
            raise NotTaken from failure
        return {"image": name}

    async def watch(self, job_id: str, language: str) -> AsyncIterator[Answer]:
        """Yield what happens to a job, and last how it ended."""
        events: asyncio.Queue[Answer] = asyncio.Queue()
        self._watchers[job_id].add(events)
        if latest := self._latest.get(job_id):
            events.put_nowait(latest)
        try:
            while (ended := await self._ended(job_id, language)) is None:
                yield await events.get()
            yield ended
        finally:
            self._watchers[job_id].discard(events)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def pace(self, _job: Job) -> Pace:
        """Return how many statuses it bears."""
        return self._pace

    def reply(self, job: Job, notes: Notes) -> _Reply:
        """Return the way back to whoever watches this job."""
        return _Reply(self, job, notes)

    def tell(self, job_id: str, event: Answer) -> None:
        """Send something to all who watch a job, now or later."""
        self._latest[job_id] = event
        for events in self._watchers.get(job_id, ()):
            events.put_nowait(event)

    def forget(self, job_id: str) -> None:
        """Keep nothing more of a job: the store has it."""
        self._latest.pop(job_id, None)

    async def _follow(self, press: Press, caller: Caller) -> Answer:
        return _drawing(await self._desk.press(press, caller, _nothing))

    async def _confirm(self, press: Press, caller: Caller) -> Answer:
        return _drawing(await self._desk.confirm(press, caller))

    async def _cancel(self, press: Press, caller: Caller) -> Answer:
        return {"told": await self._desk.cancel(press, caller, _nobody)}

    async def _details(self, press: Press, caller: Caller) -> Answer:
        return {"told": await self._desk.details(press, caller, _nothing)}

    async def _delete(self, press: Press, caller: Caller) -> Answer:
        await self._desk.delete(press, caller, _nobody)
        return {"deleted": say(caller.language, DELETED)}

    async def _edit(self, press: Press, caller: Caller) -> Answer:
        return {
            "form": await self._desk.edit(press, _nothing),
            "models": [[row.name, say(caller.language, row.about)] for row in MODELS.values()],
            "styles": [[style.name, say(caller.language, style.about)] for style in STYLES.values()],
        }

    async def _ended(self, job_id: str, language: str) -> Answer | None:
        record = await self._store.record(job_id)
        if record is None:
            return {"reason": say(language, NOT_HERE)}
        if record.notes.get("deleted"):
            return {"reason": say(language, DELETED)}
        summed_up = record.notes.get("summary")
        if summed_up is None:
            return None if record.outcome is None else {"reason": say(language, ELSEWHERE)}
        return _outcome(record.job, await self._store.pictures(job_id), summed_up)


def caller(*, claim: str, person: str, locale: str) -> Caller:
    """Say who asks. Whoever watches a job sees its buttons, and so its address: what proves who they are is not in there."""
    return Caller(
        claim=f"page:{claim}",
        platform="page",
        person=f"page:{person}",
        reply_to={"user": "page"},
        language=language(locale),
    )


@cache
def html(language: str) -> str:
    """Return the page, in one of our languages."""
    return _WORDS.sub(lambda found: say(language, found[1]), TEMPLATE).replace('lang="en"', f'lang="{language}"', 1)


@cache
def policy(language: str) -> str:
    """Say what the page may do: run what it brings along, and talk to us. A prompt that got into it could do nothing else.

    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Content-Security-Policy
    """
    [script], [style] = (re.findall(f"<{tag}>(.*?)</{tag}>", html(language), re.DOTALL) for tag in ("script", "style"))
    return (
        f"default-src 'none'; img-src 'self' data:; connect-src 'self'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )


def spoken(accepted: str) -> str:
    """Return the one of our languages that a browser likes best, by its Accept-Language."""
    ranked = sorted((_liked(each) for each in accepted.split(",")), key=lambda pair: -pair[0])
    return next((code for liked, code in ranked if liked and code in LANGUAGES), ENGLISH)


def _liked(accepted: str) -> tuple[float, str]:
    """Read `de-AT;q=0.8`: how much, and which language."""
    locale, _, quality = accepted.partition(";")
    code = locale.strip().partition("-")[0].lower()
    number = re.fullmatch(r"\s*q=([01](?:\.\d{1,3})?)\s*", quality)
    return float(number[1]) if number else float(not quality), code


def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _drawing(job: Job) -> Answer:
    """Say that a job is being drawn, and how large the pictures will be."""
    request = job.request
    return {
        "job": job.id,
        "prompt": job.title,
        "settings": settings(request, job.language),
        "width": request.width * request.upscale,
        "height": request.height * request.upscale,
        "count": len(job.alone()),
        "buttons": _buttons(button for row in while_drawing(job) for button in row),
    }


def _question(job: Job) -> Answer:
    """Ask whether to draw so much."""
    return {
        "question": so_many(job),
        "prompt": job.title,
        "buttons": _buttons(button for row in of_proposal(job) for button in row),
    }


def _outcome(job: Job, pictures: Sequence[Picture], summed_up: str) -> Answer:
    """Say how a job ended, with the buttons of each picture beside it."""
    buttons = [button for row in offered(Outcome(job=job, pictures=pictures)) for button in row]
    of_one = [button for button in buttons if button.press.action in {Action.VARY, Action.UPSCALE}]
    common = _buttons(button for button in buttons if button not in of_one)
    if not pictures:
        return {"reason": summed_up, "buttons": common}
    shown = [
        {
            "src": f"/pictures/{job.id}/{index}.png",
            "alt": _alt(job, picture, index, len(pictures)),
            "file": _file_name(picture),
            "buttons": _buttons(button for button in of_one if button.press.index == index),
        }
        for index, picture in enumerate(pictures)
    ]
    return {"pictures": shown, "settings": summed_up, "buttons": common}


def _buttons(buttons: Iterable[Button]) -> list[Answer]:
    return [
        {
            "label": button.label,
            "press": button.press.pack(),
            "action": button.press.action,
            "danger": button.danger,
            "primary": button.primary,
        }
        for button in buttons
    ]


def _alt(job: Job, picture: Picture, index: int, count: int) -> str:
    prompt = picture.request.prompt
    if count == 1:
        return prompt
    return say(job.language, "{prompt}, picture {number} of {count}", prompt=prompt, number=index + 1, count=count)


def _file_name(picture: Picture) -> str:
    words = re.sub(r"\W+", "-", picture.request.prompt.lower())[:NAME].strip("-")
    return f"{words or 'picture'}-{picture.request.seed}.png"


async def _nothing() -> Sequence[ImageRequest]:
    """Recall nothing: the page keeps no more than the store does."""
    return []


async def _nobody() -> bool:
    """Nobody moderates the page."""
    return False


class _Reply:
    """The way back to the page."""

    edit_every = 0.0  # the page is ours, and shows every step
    is_announced = True  # by the answer to the command

    def __init__(self, page: Page, job: Job, notes: Notes) -> None:
        self._page, self._job, self._notes = page, job, notes
        self.ways = (self.in_page,)

    async def status(self, event: Event) -> None:
        """Tell the page how far the job is, and what it looks like so far."""
        told: Answer = {"status": describe(event, self._job.language), "done": 0}
        if isinstance(event, Step):
            told["done"] = event.index / event.total
            if event.preview:
                told["preview"] = f"data:image/jpeg;base64,{base64.b64encode(event.preview).decode()}"
                told["tile"] = event.place
        self._page.tell(self._job.id, told)

    async def start_picture(self) -> bytes | None:
        """Nothing is fetched: the page has sent its pictures before."""
        return None

    async def delete(self) -> None:
        """Do nothing: the page shows of a job what the store knows."""

    async def in_page(self, outcome: Outcome) -> None:
        """Note how the job ended, and tell the page to look."""
        await self._notes.set("summary", summary(outcome))
        self._page.tell(self._job.id, {"status": say(self._job.language, "here it is"), "done": 1})
        self._page.forget(self._job.id)
