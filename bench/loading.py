"""How long weights take from the disk to the device, ours beside diffusers' own way: `python -m bench.loading sketch sd15 …`.

The exact architectures with random weights (`bench.architectures`) and the tokenizers of toys, saved as the hub has them, under
TMPDIR: flux-schnell takes 34 GB there. Warm: the system has all files in its memory. Cold: it was made to drop them, and then
asked what it still has. What a disk keeps by itself, or the host of a virtual machine, stays warm.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import diffusers
import numpy as np
import torch

from bench import architectures
from bench.gpu import sync
from bot import weights
from bot.models import ROWS, SKETCH
from tests.fakes import pipelines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from bot.models import Model

TIMES: Final = int(os.environ.get("TIMES", "3"))
DEVICE: Final = architectures.DEVICE


def main() -> None:
    """Measure the models that are named, and print the table."""
    weights._quiet()
    print(f"torch {torch.__version__}, diffusers {diffusers.__version__}, {os.cpu_count()} cores, {DEVICE}; medians of {TIMES}")
    print("| model | GB of weights | way | files | in memory before | read, s | to the device, s | both, s | least | most |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in sys.argv[1:]:
        with TemporaryDirectory() as folder:
            measure(saved(ROWS[name], folder))


def saved(row: Model, folder: str) -> Model:
    """Put what a hub has of a model into a folder, and return its row with that; the embedded model is in one already."""
    if row == SKETCH:
        return row
    pipeline = architectures.build(row.name, getattr(torch, row.dtype))
    toy = pipelines.build(row)
    pipeline.register_modules(**{name: part for name, part in toy.components.items() if name.startswith("tokenizer")})
    pipeline.save_pretrained(folder, variant=row.variant)
    return replace(row, repository=folder)


def measure(row: Model) -> None:
    """Load a model in all ways, again and again, and print what that took."""
    ways: dict[str, Callable[[Model], tuple[float, float]]] = {"diffusers": theirs, "ours": ours}
    files = sorted(Path(row.repository).rglob("*.safetensors"))
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for way in ways.values():
        taken(way, row)  # the first one of a process also imports, and wakes the GPU
    for _ in range(TIMES):
        for name, way in ways.items():
            drop(files)
            for state in ("cold", "warm"):
                found.setdefault((name, state), []).append((held(files), *taken(way, row)))
    size = sum(file.stat().st_size for file in files) / 1e9
    for (name, state), rounds in found.items():
        before, read, placed = (statistics.median(column) for column in zip(*rounds, strict=True))
        both = [one + other for _, one, other in rounds]
        seconds = " | ".join(f"{each:.2f}" for each in (read, placed, statistics.median(both), min(both), max(both)))
        print(f"| {row.name} | {size:.1f} | {name} | {state} | {before:.0%} | {seconds} |", flush=True)


def taken(way: Callable[[Model], tuple[float, float]], row: Model) -> tuple[float, float]:
    """Load, and leave nothing of it behind."""
    seconds = way(row)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return seconds


def theirs(row: Model) -> tuple[float, float]:
    """Load as the manual of diffusers has it; return the seconds that reading took, and the rest."""
    dtype = torch.float32 if DEVICE == "cpu" else getattr(torch, row.dtype)
    begun = time.perf_counter()
    pipeline: Any = diffusers.DiffusionPipeline.from_pretrained(row.repository, variant=row.variant, dtype=dtype)  # type: ignore[no-untyped-call]
    read = time.perf_counter()
    pipeline.to(DEVICE)
    sync()
    return read - begun, time.perf_counter() - read


def ours(row: Model) -> tuple[float, float]:
    """Load as the bot does; return the seconds that reading took, and the rest, which puts channels side by side too."""
    reading, ends = weights.read, list[float]()

    @contextmanager
    def read(model: Model, dtype: torch.dtype) -> Iterator[Any]:
        with reading(model, dtype) as pipeline:
            ends.append(time.perf_counter())
            yield pipeline

    weights.read = read
    begun = time.perf_counter()
    try:
        weights.load(row, DEVICE, weights.memory_of(DEVICE))
    finally:
        weights.read = reading
    sync()
    return ends[0] - begun, time.perf_counter() - ends[0]


def drop(files: Sequence[Path]) -> None:
    """Make the system forget what it has of files in its memory, which takes that they are on the disk."""
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened)
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def held(files: Sequence[Path]) -> float:
    """Return how much of files the system has in its memory."""
    pages = np.concatenate([_pages(np.memmap(file, np.uint8, "r")) for file in files])
    return float(np.mean(pages & 1))


def _pages(mapped: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what mincore(2) says of each page."""
    pages = np.zeros(-(-mapped.size // mmap.PAGESIZE), np.uint8)
    address, answers = (ctypes.c_void_p(each.ctypes.data) for each in (mapped, pages))
    assert ctypes.CDLL(None).mincore(address, ctypes.c_size_t(mapped.size), answers) == 0
    return pages


if __name__ == "__main__":
    main()
