"""Which pictures take the next step, and how many of them at once. Pure bookkeeping: no torch, no clock, no threads.

Drawing a picture is repeating one thing: a pass through the network. Between two passes nothing is fixed, so whoever
comes may join, whoever has gone may be left out, and somebody short may go before somebody long. Words used here:

- a *task* is one request being drawn; a *row* is one of its pictures, which is one row of every batch it takes part in;
- rows of the same *shape* can go through the network in one pass, whatever else differs: their words, seeds, steps, and
  how far each has come;
- a pass with more rows takes longer, but mostly not as much longer as it has more rows. `Curve` holds how long, as measured.

Three rules decide, in this order:

1. **The task with the least left to do goes first**: of all orders, that keeps people waiting the least on average. Waiting
   counts as if it were work done (`AGEING`), so nobody starves: after w seconds, only what is shorter by AGEING * w seconds
   still passes, and in the end nothing does.
2. **Rows of the same shape ride along**, in the same order.
3. **As many as make everybody here wait the least in all** (`_size`): few, where passes with many rows take long and
   somebody would be done soon alone; many, where they gain much. Where a crowd waits (`CROWD`), as many as may: then all that
   counts is how much is done in a second.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

SIZES: Final = (1, 2, 4, 8)  # rows that a pass may have: few, for each is compiled by itself
AGEING: Final = 0.5  # seconds of work that one second of waiting makes up for
NEWCOMERS: Final = 3.0  # how many will come and wait for whatever is under way: more of them, larger batches (bench/LOG.md)
CROWD: Final = 8  # tasks of one shape: where so many wait, others come before they are done (bench/LOG.md)


@dataclass(eq=False, slots=True, kw_only=True)
class Row:
    """One picture under way."""

    task: Task
    shape: Any  # hashable
    left: int  # passes still to make


@dataclass(eq=False, slots=True, kw_only=True)
class Task:
    """One request under way."""

    arrived: float  # seconds, on the clock of whoever calls
    together: int = 1  # rows of its own that go side by side even where it does not pay
    rows: list[Any] = field(default_factory=list)  # those that could take a step now


class Curve:
    """How long a pass takes: a line through what was measured, from the amount of work in it to seconds."""

    def __init__(self) -> None:
        self._points: list[tuple[float, float]] = []  # (work, seconds), sorted

    def learn(self, work: float, seconds: float) -> None:
        """Note a measurement; a newer one of the same work replaces the older."""
        self._points = [point for point in self._points if point[0] != work]
        insort(self._points, (work, seconds))

    def seconds(self, work: float) -> float:
        """Say how long a pass takes: between two measurements on the line from one to the other, beyond them in proportion."""
        if not self._points:
            return work
        above = bisect_left(self._points, (work, 0.0))
        if above == 0 or above == len(self._points):
            nearest, seconds = self._points[min(above, len(self._points) - 1)]
            return seconds * work / nearest
        (low, before), (high, after) = self._points[above - 1], self._points[above]
        return before + (after - before) * (work - low) / (high - low)


class Schedule:
    """All tasks under way."""

    def __init__(self, costs: Callable[[Any], Mapping[int, float]]) -> None:
        """Take what says, for a shape, how many rows a pass may have, one first, and how many seconds each such pass takes."""
        self._costs = costs
        self._tasks: list[Task] = []
        self._most: dict[Hashable, int] = {}  # rows that fit into the memory, where more did not

    def __bool__(self) -> bool:
        return any(task.rows for task in self._tasks)

    def add(self, task: Task) -> None:
        """Let a task take part."""
        self._tasks.append(task)

    def remove(self, task: Task) -> None:
        """Let it take part no more; it may have gone before."""
        if task in self._tasks:
            self._tasks.remove(task)

    def limit(self, shape: Hashable, rows: int) -> None:
        """Make no pass with more rows of this shape again: it did not fit."""
        self._most[shape] = max(1, rows)

    def costs(self, shape: Hashable) -> Mapping[int, float]:
        """Return how many rows a pass may have, and the seconds it takes, as far as it fits."""
        most = self._most.get(shape)
        return {size: seconds for size, seconds in self._costs(shape).items() if most is None or size <= most}

    def next(self, now: float) -> list[Any]:
        """Return the rows that make the next pass; none if there are none."""
        alone = cache(lambda shape: self.costs(shape)[1])  # hundreds of rows may wait, of few shapes
        ranked = sorted((task for task in self._tasks if task.rows), key=lambda task: _rank(task, now, alone))
        if not ranked:
            return []
        leader = ranked[0]
        shape = min(leader.rows, key=_left).shape
        riders = [own for task in ranked if (own := [row for row in sorted(task.rows, key=_left) if row.shape == shape])]
        together = min(leader.together, len(riders[0]), self._most.get(shape, leader.together))
        size = max(together, self._size(shape, riders))
        return list(itertools.islice(itertools.chain.from_iterable(riders), size))

    def stepped(self, row: Row) -> bool:
        """Note that a row has made a pass; return whether it was the last one, after which the row takes part no more."""
        row.left -= 1
        if row.left <= 0:
            row.task.rows.remove(row)
        return row.left <= 0

    def _size(self, shape: Hashable, riders: Sequence[Sequence[Row]]) -> int:
        """Choose how many rows go at once: so that the tasks here, and those to come, wait the least in all."""
        costs = self.costs(shape)
        if len(riders) >= CROWD:
            return max(costs)
        return min(costs, key=lambda size: _waiting(riders, costs, size))


def padded(costs: Mapping[int, float], rows: int) -> int:
    """Return the number of rows that a pass with so many is filled up to, so that few different passes are ever made."""
    return min((size for size in costs if size >= rows), default=rows)


def _rank(task: Task, now: float, alone: Callable[[Any], float]) -> float:
    left: float = sum(row.left * alone(row.shape) for row in task.rows)
    return left - AGEING * (now - task.arrived)


def _left(row: Row) -> int:
    return row.left


def _waiting(riders: Sequence[Sequence[Row]], costs: Mapping[int, float], size: int) -> float:
    """Add up the seconds until each task is done, if rows go `size` at a time, and one takes the place of each that is done."""
    rows = [(task, row.left) for task, own in enumerate(riders) for row in own]
    cost = costs[padded(costs, min(size, len(rows)))]
    places, ends = [0.0] * size, [0.0] * len(riders)
    for task, left in rows:
        end = heapq.heappop(places) + cost * left
        heapq.heappush(places, end)
        ends[task] = max(ends[task], end)
    return sum(ends) + NEWCOMERS * max(places)
