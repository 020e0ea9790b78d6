"""C's heap is one for all threads, and what is free in it goes back: seen in a process of its own, where nothing else is."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")

SCRIPT = """
import ctypes, sys, threading
from pathlib import Path
from bot import heap

library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
MIB = 2**20

def take(size):
    block = library.malloc(size)
    ctypes.memset(ctypes.c_void_p(block), 1, size)
    return block

def take_and_free():
    for block in [take(MIB) for _ in range(50)]:
        library.free(block)

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MIB

if "shared" in sys.argv:
    heap.share()
if "by the generator" in sys.argv:
    import bot.gen
library.free(take(30 * MIB))  # glibc takes it that we want blocks so large again, and keeps from now on what they need
before = held()
thread = threading.Thread(target=take_and_free)
thread.start()
thread.join()
if "given back" in sys.argv:
    heap.give_back()
print(held() - before)
"""


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        (["shared", "given back"], 0),
        (["shared"], 50),
        (["given back"], 50),  # which is why it is shared
        (["by the generator", "given back"], 0),
    ],
)
def test_what_a_thread_has_freed_goes_back_to_the_system(how: list[str], kept: int) -> None:
    assert run(SCRIPT, *how) == pytest.approx(kept, abs=10)  # MiB


def run(script: str, *arguments: str) -> int:
    command = [sys.executable, "-c", script, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)  # noqa: S603
