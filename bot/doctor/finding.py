"""What the doctor says: something is right, wrong, or not to be known from here, and what there is to click."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ANSWERS: Final = {True: "✓ right  ", False: "✗ wrong  ", None: "– unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is right, wrong or, where `ok` is None, not to be known from here."""

    ok: bool | None
    what: str
    fix: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{ANSWERS[self.ok]} {self.what}" + (f" → {self.fix}" if self.fix else "")


def right(what: str) -> Finding:
    """Find something as it should be."""
    return Finding(ok=True, what=what)


def wrong(what: str, fix: str) -> Finding:
    """Find something wrong, and say what to click."""
    return Finding(ok=False, what=what, fix=fix)


def unknown(what: str, fix: str = "") -> Finding:
    """Say what is not to be known from here."""
    return Finding(ok=None, what=what, fix=fix)
