"""C's heap, where torch has its tensors on a CPU: what glibc must be told, or a process that draws for hours only grows.

https://sourceware.org/glibc/wiki/MallocInternals has how it works. Where the library is another one, nothing is done.
"""

from __future__ import annotations

import ctypes
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ARENA_MAX: Final = -8  # `M_ARENA_MAX` in malloc.h


def share() -> None:
    """Let all threads share one heap, from now on: of each other one, `give_back` leaves up to 64 MiB, which is its end."""
    _glibc("mallopt")(ARENA_MAX, 1)


def give_back() -> None:
    """Give the memory that is free back to the system: of what is freed in the middle of a heap, glibc does not by itself."""
    _glibc("malloc_trim")(0)


def _glibc(name: str) -> Callable[..., Any]:
    found = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    return found or (lambda *_: None)
