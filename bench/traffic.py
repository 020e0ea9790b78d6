"""Bursts of requests as a busy channel makes them, drawn in three ways on one GPU: `python -m bench.traffic sd15`.

Messages come at random moments (Poisson), each asking for one to four pictures, in 12, 20 or 30 steps. The load is a share of
what can be drawn one picture after the other. The same messages at the same moments are drawn:

- in turn: one picture after the other, first come, first served;
- in batches: up to eight waiting pictures of a model with as many steps, from the front of the queue, as a batch to its end;
- ours: each message calls `generate` when it comes.

With several models (`python -m bench.traffic sd15 sdxl`) each message is for one of them by chance, and all share the GPU. They
do so nowhere else: deployed, each model has GPUs of its own.
The time of a message is from when it came to when its last picture's file was there.

LOADS and SECONDS_EACH ask for other loads and longer ones, WAYS for some of the ways only. For ten minutes of two ways, which
would take twenty, give each a process and a GPU of one computer: EACH, the seconds that a picture takes by itself, is then what
loads refer to in both, in place of what each process measures, so that the same messages come at the same moments.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu import draw, note, passes, prepared, tried
from bot.request import compose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bot.family import Drawing
    from bot.gen import Generator

STEPS: Final = ((12, 0.2), (20, 0.6), (30, 0.2))  # and how often
PICTURES: Final = ((1, 0.6), (2, 0.15), (3, 0.05), (4, 0.2))
LOADS: Final = (0.5, 0.7, 0.9, 1.2)
SECONDS: Final = float(os.environ.get("SECONDS_EACH", "12"))
BATCH: Final = 8
PATIENCE: Final = 120  # seconds
CALLERS: Final = (6, 12)  # messages under way at all times, while it is measured how busy the GPU is
SPAN: Final = 2.5  # seconds of that


@dataclass(eq=False, slots=True)
class Message:
    """One request, when it comes, and when it was done."""

    at: float
    generator: Generator
    steps: int
    pictures: int
    seed: int
    left: int = 0
    done: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)


def messages(load: float, alone: Mapping[tuple[Generator, int], float], seed: int = 1) -> list[Message]:
    """Return what comes within the time of one measurement, at a load, if a picture alone takes so many seconds."""
    chance = random.Random(seed)  # noqa: S311  chance that can be repeated
    generators = [*dict.fromkeys(generator for generator, _ in alone)]
    each = float(os.environ.get("EACH", "0")) or mean(alone)
    work = each * sum(share * count for count, share in PICTURES)
    found: list[Message] = []
    now = 0.0
    while (now := now + chance.expovariate(load / work)) < SECONDS:
        (steps,), (count,) = (chance.choices(*zip(*table, strict=True)) for table in (STEPS, PICTURES))
        found.append(Message(now, chance.choice(generators), steps, count, 10 * len(found), count))
    return found


def mean(alone: Mapping[tuple[Generator, int], float]) -> float:
    """Return how long a picture takes by itself, on average."""
    share = {steps: share / len({generator for generator, _ in alone}) for steps, share in STEPS}
    return sum(share[steps] * took for (_, steps), took in alone.items())


def in_turn(come: list[Message]) -> Callable[[Message], None]:
    """Draw one picture after the other."""
    return in_batches(come, most=1)


def in_batches(come: list[Message], most: int = BATCH) -> Callable[[Message], None]:
    """Draw what waits, so many at a time, those at the front with as many steps together."""
    waiting: list[Message] = []
    changed = threading.Condition()

    def serve() -> None:
        served = 0
        while served < sum(message.pictures for message in come):
            with changed:
                changed.wait_for(lambda: waiting)
                batch = [message for message in waiting if _alike(message, waiting[0])][:most]
                while sum(message.left for message in batch) > most and len(batch) > 1:
                    batch.pop()
            count = min(most, sum(message.left for message in batch))
            request = {"n": count, "num_inference_steps": batch[0].steps}
            drawn(batch[0].generator, batch[0].seed, request, side_by_side=count)
            served += count
            with changed:
                for message in batch:
                    taken = min(count, message.left)
                    message.left -= taken
                    count -= taken
                    if not message.left:
                        waiting.remove(message)
                        finished(message)

    threading.Thread(target=serve, daemon=True).start()

    def take(message: Message) -> None:
        with changed:
            waiting.append(message)
            changed.notify()

    return take


def _alike(one: Message, other: Message) -> bool:
    return (one.generator, one.steps) == (other.generator, other.steps)


def ours(_come: list[Message]) -> Callable[[Message], None]:
    """Draw at once."""

    def take(message: Message) -> None:
        drawn(message.generator, message.seed, {"n": message.pictures, "num_inference_steps": message.steps})
        finished(message)

    return lambda message: threading.Thread(target=take, args=(message,), daemon=True).start()


def drawn(generator: Generator, seed: int, given: dict[str, Any], side_by_side: int = 1) -> None:
    """Draw, and forget what was drawn."""
    request = compose(f"a red fox, number {seed % 7}", model=generator.model.name, seed=seed, **given)
    for _ in generator.generate(request, batch_size=side_by_side):
        pass


def finished(message: Message) -> None:
    """Note that a message has its pictures."""
    message.done = time.perf_counter()
    message.over.set()


def run(way: Callable[[list[Message]], Callable[[Message], None]], come: list[Message]) -> dict[str, float]:
    """Let messages come, and say how long they took."""
    take = way(come)
    begun = time.perf_counter()
    for message in come:
        time.sleep(max(0.0, begun + message.at - time.perf_counter()))
        take(message)
    for message in come:
        if not message.over.wait(PATIENCE):
            raise TimeoutError
    took = sorted(message.done - begun - message.at for message in come)
    pictures = sum(message.pictures for message in come)
    return {
        "messages": len(come),
        "p50_s": statistics.median(took),
        "p95_s": took[min(len(took) - 1, int(0.95 * len(took)))],
        "pictures_per_second": pictures / (max(message.done for message in come) - begun),
    }


def busy(generator: Generator, callers: int) -> None:
    """Note how much of the time the GPU computes, while so many messages of two pictures are under way at all times."""
    begun, over = threading.Barrier(callers + 1, timeout=PATIENCE), threading.Event()

    def call(seed: int) -> None:
        asked = {"n": 2, "num_inference_steps": STEPS[1][0]}
        drawn(generator, seed, asked)
        begun.wait()
        while not over.is_set():
            drawn(generator, seed, asked)

    threads = [threading.Thread(target=call, args=(seed,), daemon=True) for seed in range(callers)]
    for thread in threads:
        thread.start()
    begun.wait()
    try:
        with profile(activities=[ProfilerActivity.CUDA]) as found, rows_of(generator) as rows:
            time.sleep(SPAN)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    spans = sorted(
        (event.time_range.start, event.time_range.end) for event in found.events() if event.device_type.name == "CUDA"
    )
    until, computing, gaps = spans[0][0], 0.0, []
    for start, end in spans:
        if start > until:
            gaps.append(start - until)
        computing += max(0.0, end - max(start, until))
        until = max(until, end)
    whole = spans[-1][1] - spans[0][0]
    longest = [round(gap / 1000, 2) for gap in sorted(gaps, reverse=True)[:8]]
    idle = {f"gaps under {most} µs": round(sum(gap for gap in gaps if gap < most) / whole, 4) for most in (2, 10, 100)}
    figures = {"seconds": whole / 1e6, "longest_gaps_ms": longest, "idle_in": idle, "pictures_in_a_pass": statistics.mean(rows)}
    note(what="busy", messages=callers, share=computing / whole, **figures)


@contextmanager
def rows_of(generator: Generator) -> Iterator[list[int]]:
    """Count the pictures in each pass meanwhile."""
    advance, rows = generator._advance, list[int]()

    def counted(drawings: Sequence[Drawing]) -> list[Any]:
        rows.append(len(drawings))
        return advance(drawings)

    generator._advance = counted  # type: ignore[method-assign]
    try:
        yield rows
    finally:
        generator._advance = advance  # type: ignore[method-assign]


def seconds(generator: Generator, steps: int) -> float:
    """Return how long one picture takes, if nothing else is drawn."""
    begun = time.perf_counter()
    for seed in range(4):
        draw(generator, seed, num_inference_steps=steps)
    return (time.perf_counter() - begun) / 4


def main() -> None:
    """Measure."""
    torch.set_grad_enabled(False)
    generators = [prepared(name) for name in sys.argv[1:] or ["sd15"]]
    for generator in generators:
        for count in range(1, BATCH + 1):  # or the first batch of a size is compiled while it is timed
            drawn(generator, 0, {"n": count, "num_inference_steps": 2}, side_by_side=count)
        note(model=generator.model.name, what="a pass, ms", by_work=passes(generator))
    alone = {(generator, steps): seconds(generator, steps) for generator in generators for steps, _ in STEPS}
    seconds_alone = {f"{generator.model.name}, {steps}": round(took, 4) for (generator, steps), took in alone.items()}
    note(what="alone", seconds=seconds_alone, mean=mean(alone))
    for generator in generators:
        for callers in CALLERS:
            with tried("busy"):
                busy(generator, callers)
    ways = [way for way in (in_turn, in_batches, ours) if way.__name__ in os.environ.get("WAYS", way.__name__).split(",")]
    for load in map(float, os.environ.get("LOADS", ",".join(map(str, LOADS))).split(",")):
        for way in ways:
            with tried(way.__name__):
                note(what=way.__name__, load=load, **run(way, messages(load, alone)))
    if torch.cuda.is_available():
        note(
            what="memory after traffic",
            peak_gib=torch.cuda.max_memory_allocated() / 2**30,
            held_gib=torch.cuda.memory_reserved() / 2**30,
        )


if __name__ == "__main__":
    main()
