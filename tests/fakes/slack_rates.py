"""How often an app may call: https://docs.slack.dev/apis/web-api/rate-limits"""

import math
from collections import defaultdict, deque

MINUTE = 60.0  # seconds
TIERS = {2: 20, 3: 50, 4: 100}  # calls a minute, of each method
METHODS = {
    "chat.update": 3,
    "chat.delete": 3,
    "chat.postEphemeral": 4,
    "files.getUploadURLExternal": 4,
    "files.completeUploadExternal": 4,
    "files.info": 4,
    "files.delete": 3,
    "conversations.join": 3,
    "conversations.open": 3,
    "conversations.info": 3,
    "users.info": 4,
    "views.open": 4,
    "views.update": 4,
}
POSTS_EVERY = 1.0  # seconds, in each channel


class Rates:
    """Counts the calls of one app."""

    def __init__(self) -> None:
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)
        self._posted: dict[str, float] = {}  # when, by channel

    def wait(self, method: str, channel: str, now: float) -> int:
        """Count a call; return 0, or the seconds to wait where it comes too soon."""
        if method == "chat.postMessage":
            early = POSTS_EVERY - (now - self._posted.get(channel, 0))
            if early <= 0:
                self._posted[channel] = now
            return max(0, math.ceil(early))
        if method not in METHODS:
            return 0
        calls = self._calls[method]
        while calls and calls[0] <= now - MINUTE:
            calls.popleft()
        if len(calls) >= TIERS[METHODS[method]]:
            return math.ceil(calls[0] + MINUTE - now)
        calls.append(now)
        return 0
