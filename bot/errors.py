"""Everything that can go wrong, and who is told.

ImagineError
├── Stranger       nobody we trust signed this request: a bare 401
├── Told           the message is shown to the person word for word, so it is written for them
│   ├── BadRequest     what they asked cannot be drawn; the message says what to type instead
│   ├── HelpWanted     they asked for help; the message is the help
│   ├── TooLarge       the machine's memory does not hold it, one picture at a time either
│   └── NotTaken       we could not write the job down, so nothing was promised
└── Undelivered    a platform did not take what we sent; logged, never shown
    ├── Busy           it asked us to wait, or the network failed: the same call may work later
    └── Refused        it said no, and would again: take the next way
"""

from collections.abc import Mapping


class ImagineError(Exception):
    """The root of the tree above."""


class Stranger(ImagineError):
    """Nobody we trust signed this request."""


class Told(ImagineError):
    """The message is for the person who asked, word for word."""


class BadRequest(Told):
    """What was asked cannot be drawn as it stands."""


class HelpWanted(Told):
    """The person asked how this works."""


class TooLarge(Told):
    """The machine's memory does not hold it."""

    def __init__(self) -> None:
        super().__init__("That is more than this machine's memory holds. Please try it smaller: --size makes it so.")


class NotTaken(Told):
    """The job could not be written down, so nothing was promised."""

    def __init__(self) -> None:
        super().__init__("I could not take that just now. Please try again in a moment.")


class Undelivered(ImagineError):
    """A platform did not take what we sent."""


class Busy(Undelivered):
    """The same call may work in `retry_after` seconds; None leaves the wait to the caller."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Undelivered):
    """The platform said no; `code` is its own word for why, `detail` what it added."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code, self.detail = code, detail


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that a 429 asks us to wait; one that does not say so legibly gets a second."""
    try:
        return float(headers.get("Retry-After", 1))
    except ValueError:
        return 1.0
