"""The third platform: a page served by the bot itself, for trying it out on one machine.

It keeps nothing of its own. While a job runs, the page is told each event; afterwards it reads what the store has kept,
so a page that was reloaded, or a server that was restarted, shows the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from bot.courier import Pace, describe, summary
from bot.desk import Caller, Proposal
from bot.request import Event, Job, Step, settings
from bot.texts import language

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bot.courier import Notes, Outcome
    from bot.desk import Desk

HTML: Final = resources.files("bot").joinpath("page.html").read_text("utf-8")


class Page:
    """Everybody who looks at the page of this server."""

    def __init__(self, desk: Desk) -> None:
        """Take the desk, which takes orders."""
        self._desk, self._store = desk, desk.store
        self._watchers: defaultdict[str, set[asyncio.Queue[dict[str, Any]]]] = defaultdict(set)
        self.pace = Pace(per_minute=1_000_000)  # the page is ours, and bears all there are
        self._latest: dict[str, dict[str, Any]] = {}  # of jobs under way, for those who come later

    async def imagine(self, text: str, *, claim: str, person: str, locale: str = "") -> dict[str, Any]:
        """Take what somebody typed; say that it is being drawn. Raises `Told`."""
        text = text.removeprefix("/imagine").strip()
        caller = Caller(
            claim=f"page:{claim}",
            platform="page",
            person=f"page:{person}",
            reply_to={"user": person},
            language=language(locale),
        )
        if (shown := await self._desk.settings(text, caller)) is not None:
            return {"told": shown}
        ordered = await self._desk.order(text, caller)
        job = await self._desk.submit(ordered.job) if isinstance(ordered, Proposal) else ordered  # here, nobody needs asking
        return {"job": job.id, "prompt": job.title, "settings": settings(job.request, job.language)}

    async def watch(self, job_id: str) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens to a job, and last how it ended."""
        events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._watchers[job_id].add(events)
        if latest := self._latest.get(job_id):
            events.put_nowait(latest)
        try:
            while (ended := await self._ended(job_id)) is None:
                yield await events.get()
            yield ended
        finally:
            self._watchers[job_id].discard(events)
            if not self._watchers[job_id]:
                del self._watchers[job_id]

    def reply(self, job: Job, notes: Notes) -> _Reply:
        """Return the way back to whoever watches this job."""
        return _Reply(self, job, notes)

    def tell(self, job_id: str, event: dict[str, Any]) -> None:
        """Send something to all who watch a job, now or later."""
        self._latest[job_id] = event
        for events in self._watchers.get(job_id, ()):
            events.put_nowait(event)

    def forget(self, job_id: str) -> None:
        """Keep nothing more of a job: the store has it."""
        self._latest.pop(job_id, None)

    async def _ended(self, job_id: str) -> dict[str, Any] | None:
        record = await self._store.record(job_id)
        if record is None:
            return {"reason": "There is no such drawing here any more."}
        summed_up = record.notes.get("summary")
        if summed_up is None:
            return None if record.outcome is None else {"reason": "That drawing has ended, and not on this page."}
        pictures = await self._store.pictures(job_id)
        links = [{"src": f"/pictures/{job_id}/{i}.png", "seed": picture.request.seed} for i, picture in enumerate(pictures)]
        return {"pictures": links, "settings": summed_up} if links else {"reason": summed_up}


class _Reply:
    """The way back to the page."""

    edit_every = 0.0  # the page is ours, and shows every step
    is_announced = True  # by the answer to the command

    def __init__(self, page: Page, job: Job, notes: Notes) -> None:
        self._page, self._job, self._notes = page, job, notes
        self.ways = (self.in_page,)

    async def status(self, event: Event) -> None:
        """Tell the page how far the job is."""
        done = event.index / event.total if isinstance(event, Step) else 0
        self._page.tell(self._job.id, {"status": describe(event, self._job.language), "done": done})

    async def start_picture(self) -> bytes | None:
        """Nothing comes with a command of the page's."""
        return None

    async def delete(self) -> None:
        """Nothing of the page's is kept but the pictures."""

    async def in_page(self, outcome: Outcome) -> None:
        """Note how the job ended, and tell the page to look."""
        await self._notes.set("summary", summary(outcome))
        self._page.tell(self._job.id, {"status": "here it is", "done": 1})
        self._page.forget(self._job.id)
