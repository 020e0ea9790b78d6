"""How often Discord lets somebody call one thing, said in the headers of every answer.

https://discord.com/developers/docs/topics/rate-limits
"""

import hashlib
import time
from dataclasses import dataclass, field

MANY = "429"


@dataclass(slots=True)
class Limit:
    """So many calls of one thing in so many seconds, from the first one on."""

    most: int = 5
    seconds: float = 2.0
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)  # by key: when it began, and the calls since

    def take(self, key: str) -> tuple[bool, dict[str, str]]:
        """Count a call; say whether it was one too many, and what the headers say then."""
        now = time.time()
        began, count = self._windows.get(key, (now, 0))
        if now >= began + self.seconds:
            began, count = now, 0
        if too_many := count >= self.most:
            count -= 1
        self._windows[key] = began, count + 1
        return too_many, self._headers(key, max(self.most - count - 1, 0), began + self.seconds - now)

    def _headers(self, key: str, left: int, wait: float) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.most),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": f"{time.time() + wait:.3f}",
            "X-RateLimit-Reset-After": f"{wait:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(),
        }
