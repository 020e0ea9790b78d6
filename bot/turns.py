"""Whose turn it is: one drawing at a time, and people take turns.

Start-time fair queueing: each picture a person asks for starts, in virtual time, where their last one ended, or now if
that is past. The earliest start is served first. So somebody's first picture waits for at most the one being drawn and
the first of each other person, however many those others have asked for.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left, insort
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(order=True, slots=True)
class Ticket:
    """A place in the queue."""

    start: float  # virtual time
    number: int  # order of arrival, between equal starts
    called: asyncio.Event = field(compare=False, default_factory=asyncio.Event)


class Turns:
    """A fair queue in front of one generator."""

    def __init__(self) -> None:
        self._now = 0.0  # virtual time: the start of the job being served
        self._ends: dict[str, float] = {}  # where each person's last job ends
        self._waiting: list[Ticket] = []  # sorted
        self._serving: Ticket | None = None
        self._numbers = itertools.count()

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    @property
    def serving(self) -> bool:
        """Whether a job is being served."""
        return self._serving is not None

    def ahead(self, ticket: Ticket) -> int:
        """Count the jobs that will be served before this one, the one being served included."""
        return bisect_left(self._waiting, ticket) + (self.serving and ticket is not self._serving)

    @contextmanager
    def queue(self, person: str, cost: float = 1) -> Iterator[Ticket]:
        """Stand in the queue, and keep the turn once called, until the block ends."""
        ticket = Ticket(max(self._now, self._ends.get(person, 0.0)), next(self._numbers))
        self._ends[person] = ticket.start + cost
        insort(self._waiting, ticket)
        self._call()
        try:
            yield ticket
        finally:
            if ticket is self._serving:
                self._serving = None
            else:
                del self._waiting[bisect_left(self._waiting, ticket)]
                if self._ends[person] == ticket.start + cost:  # or one of theirs that came later would be passed by the next
                    self._ends[person] = ticket.start  # for what was never begun, nothing is owed
            self._call()

    def _call(self) -> None:
        if self._serving:
            return
        if not self._waiting:
            self._ends.clear()  # nobody was kept waiting, so nobody owes anything
            return
        self._serving = self._waiting.pop(0)
        self._now = self._serving.start
        self._ends = {person: end for person, end in self._ends.items() if end > self._now}
        self._serving.called.set()
