"""Everything that can go wrong, and who is told.

ImagineError
├── Stranger       nobody we trust signed this request: a bare 401
├── Told           the message is shown to the person, in their language, so it is written for them
│   ├── BadRequest     what they asked cannot be drawn; the message says what to type instead
│   ├── HelpWanted     they asked for help; the message is the help (in `command`, which knows it)
│   ├── TooLarge       the machine's memory does not hold it, one picture at a time either
│   ├── Spoilt         the model's numbers overflowed, and no picture came of it
│   ├── Cancelled      somebody who may asked for no picture after all
│   ├── NotTaken       we could not write the job down, so nothing was promised
│   └── Unsure         nobody could tell in time whether it was done, and it may yet be
└── Undelivered    a platform did not take what we sent; logged, never shown
    ├── Busy           it asked us to wait, or the network failed: the same call may work later
    └── Refused        it said no, and would again: take the next way
"""

from collections.abc import Mapping
from typing import Final

from bot.texts import ENGLISH, Phrase, say

# What Python raises of something that has another shape than it should.
UNREADABLE: Final = (LookupError, TypeError, ValueError, AttributeError, RecursionError)


class ImagineError(Exception):
    """The root of the tree above."""


class Stranger(ImagineError):
    """Nobody we trust signed this request."""


class Told(ImagineError):
    """The message is for the person who asked: a template, and what goes into it, so that it can be said in their language."""

    def __init__(self, template: str, /, **values: object) -> None:
        super().__init__(template)
        self.template, self.values = template, values

    def __str__(self) -> str:
        """Say it in English, for the log."""
        return self.into(ENGLISH)

    def into(self, language: str) -> str:
        """Say it in a language."""
        return say(language, self.template, **self.values)


class BadRequest(Told):
    """What was asked cannot be drawn as it stands."""


class TooLarge(Told):
    """The machine's memory does not hold it."""

    def __init__(self, *_: object) -> None:
        super().__init__(Phrase("That is more than this machine's memory holds. Please try it smaller: --size makes it so."))


class Spoilt(Told):
    """The model's numbers overflowed, and no picture came of it."""

    def __init__(self, *_: object) -> None:
        super().__init__(
            Phrase("The model lost its way with that, and made no picture. Please try another seed, or less guidance.")
        )


class Cancelled(Told):
    """Somebody who may asked for no picture after all."""

    def __init__(self, *_: object) -> None:
        super().__init__(Phrase("Cancelled."))


class NotTaken(Told):
    """The job could not be written down, so nothing was promised."""

    def __init__(self, *_: object) -> None:
        super().__init__(Phrase("I could not take that just now. Please try again in a moment."))


class Unsure(Told):
    """It may be done, now or in a moment, or not: nobody could tell in time."""

    def __init__(self, *_: object) -> None:
        super().__init__(Phrase("That took too long, and I cannot tell whether it was done. Please look before you try again."))


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
