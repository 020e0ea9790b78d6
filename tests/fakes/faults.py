"""Make a platform misbehave: refuse, drop, forget or hang, by script or at random but repeatably."""

import random
from collections import defaultdict, deque
from collections.abc import Sequence
from enum import Enum, auto


class Fault(Enum):
    """What can go wrong with one request."""

    RATE_LIMITED = auto()  # 429, nothing processed
    SERVER_ERROR = auto()  # 500, nothing processed
    RESET = auto()  # connection reset, nothing processed
    LOST_ANSWER = auto()  # processed, then the connection is reset
    HANG = auto()  # no answer ever, nothing processed
    HANG_AFTER = auto()  # processed, no answer ever


class Faults:
    """The faults one server has in store. `struck` lists those that happened."""

    def __init__(self, *, retry_after: float = 0.0) -> None:
        self.retry_after = retry_after  # seconds, told to whoever is rate limited
        self.struck: list[tuple[str, Fault]] = []
        self.clear()

    def clear(self) -> None:
        """Behave well from now on."""
        self._scripted: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._rate = 0.0
        self._dice = random.Random(0)  # noqa: S311  (repeatable is the point)
        self._kinds: Sequence[Fault] = tuple(Fault)

    def next(self, name: str, fault: Fault, *, times: int = 1) -> None:
        """Let the next requests to this method or route (`*` for any) fail so; repeated calls queue up."""
        self._scripted[name].extend([fault] * times)

    def random(self, *, rate: float, seed: int = 0, kinds: Sequence[Fault] = tuple(Fault)) -> None:
        """Let this share of requests fail; the same seed and order of requests give the same faults."""
        self._rate, self._kinds = rate, kinds
        self._dice = random.Random(seed)  # noqa: S311  (repeatable is the point)

    def draw(self, name: str) -> Fault | None:
        """Decide what happens to one request."""
        fault = self._planned(name) or self._unlucky()
        if fault:
            self.struck.append((name, fault))
        return fault

    def _planned(self, name: str) -> Fault | None:
        for key in (name, "*"):
            if self._scripted[key]:
                return self._scripted[key].popleft()
        return None

    def _unlucky(self) -> Fault | None:
        return self._dice.choice(self._kinds) if self._dice.random() < self._rate else None
