"""How long somebody who typed or pressed something is kept waiting: one deadline, however many waits there are until then.

It goes with the task that serves them, so nobody has to pass it on. What outlives the answer asks no more how much is left.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from typing import Final

# Seconds, of the three that the platforms wait.
DOING: Final = 2.1  # to do what was asked
TAKEN_BACK: Final = 2.35  # to take back what was not done in time
ANSWERED: Final = 2.6  # to answer, also that it was not

_begun: Final[ContextVar[float]] = ContextVar("begun", default=math.inf)  # who never began has all the time there is


def begin() -> None:
    """Start the clock of whoever this task serves."""
    _begun.set(time.monotonic())


def left(most: float) -> float:
    """Return the seconds that one wait for what was asked may take, of which it needs so many at `most`."""
    return _until(DOING, most)


def left_to_take_back(most: float) -> float:
    """Return the same for a wait on the way back from what was not done."""
    return _until(TAKEN_BACK, most)


def left_to_answer(most: float) -> float:
    """Return the same for a wait on the way to the answer itself."""
    return _until(ANSWERED, most)


def _until(end: float, most: float) -> float:
    return max(0.0, min(most, _begun.get() + end - time.monotonic()))
