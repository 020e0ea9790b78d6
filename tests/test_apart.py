"""The generator in a process of its own, with the real model."""

from __future__ import annotations

import copy
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from bot.apart import Apart, _draw, _ready
from bot.command import read
from bot.errors import Cancelled, Told, TooLarge
from bot.gen import Generator
from bot.models import SKETCH
from bot.request import Finished, Started, Step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bot.request import Event

REQUEST = read("a red fox --seed 7 --steps 2")


@pytest.fixture(scope="module")
def apart() -> Iterator[Apart]:
    generator = Apart(SKETCH)
    yield generator
    generator.close()


def finished(generator: Apart | Generator) -> Finished:
    *_, last = generator.generate(REQUEST)
    assert isinstance(last, Finished)
    return last


def test_draws_the_same_picture_as_the_generator_itself(apart: Apart) -> None:
    assert finished(apart).pictures == finished(Generator(SKETCH)).pictures


@pytest.mark.parametrize("hastened", [True, False], ids=["on a GPU", "elsewhere"])
@pytest.mark.parametrize("fails", [None, TooLarge()], ids=["", "too large"])
def test_on_a_gpu_everything_is_compiled_before_the_first_picture(
    hastened: bool, fails: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Warming also takes back what a GPU does not bear."""
    warmed: list[bool] = []

    def warm() -> None:
        warmed.append(True)
        if fails:
            raise fails

    loaded = SimpleNamespace(hastened=hastened, warm=warm)
    monkeypatch.setitem(sys.modules, "bot.gen", SimpleNamespace(Generator=lambda _: loaded))
    assert cast("object", _ready(SKETCH)) is loaded
    assert warmed == [True] * hastened


def without_preview(event: Event) -> Event:
    """Return what a machine that took no second for a step would have told."""
    return replace(event, preview=b"") if isinstance(event, Step) else event


def test_tells_every_event_in_order(apart: Apart) -> None:
    *events, last = apart.generate(REQUEST)
    assert [without_preview(event) for event in events] == [Started(), Step(1, 2), Step(2, 2)]
    assert isinstance(last, Finished)


def test_stops_when_nobody_listens_any_more_and_draws_the_next_one(apart: Apart) -> None:
    events = apart.generate(read("a red fox --steps 50 --n 10"))
    assert next(events) == Started()
    events.close()
    assert finished(apart).pictures


def test_whoever_stops_it_from_elsewhere_is_heard_in_the_middle_of_a_step(apart: Apart) -> None:
    events = apart.generate(read("a red fox --size 512x512 --steps 50 --n 10"))
    assert [without_preview(next(events)) for _ in range(2)] == [Started(), Step(1, 500)]
    apart.stop()
    after: list[Event] = []
    with pytest.raises(Cancelled):
        after.extend(events)
    assert len(after) < 5
    apart.stop()  # there is nothing to stop any more
    assert finished(apart).pictures


def test_what_cannot_be_drawn_is_told_here_and_the_next_drawing_works(apart: Apart) -> None:
    broken = copy.copy(REQUEST)
    object.__setattr__(broken, "width", 31)  # which no check has seen yet
    with pytest.raises(Told, match="The width must be"):
        list(apart.generate(broken))
    assert finished(apart).pictures


def test_where_the_weights_are_missing_that_is_told_until_they_are_there(tmp_path: Path) -> None:
    generator = Apart(replace(SKETCH, repository=str(tmp_path)))
    try:
        for ask in (generator.load, lambda: finished(generator)):
            with pytest.raises(Told, match="The weights of sketch are not on this machine"):
                ask()
        shutil.copytree(SKETCH.repository, tmp_path, dirs_exist_ok=True)
        assert finished(generator).pictures
    finally:
        generator.close()


def test_a_failure_over_there_is_raised_here_with_its_traceback_and_the_next_drawing_works(apart: Apart) -> None:
    with pytest.raises(RuntimeError, match=r"gen\.py[\s\S]*cannot identify image"):
        list(apart.generate(REQUEST, image=b"no picture"))
    assert finished(apart).pictures


def test_whatever_ends_a_drawing_over_there_is_told_here() -> None:
    class Leaving:
        def generate(self, _request: object, **_: object) -> Iterator[Event]:
            yield Started()
            raise SystemExit(3)

    here, there = multiprocessing.Pipe()
    _draw(there, cast("Generator", Leaving()), threading.Event(), REQUEST, 1, None)
    assert here.recv() == Started()
    assert "SystemExit: 3" in here.recv().failure


def test_a_process_that_is_killed_is_an_error_and_then_replaced(apart: Apart) -> None:
    events = apart.generate(read("a red fox --steps 50"))
    next(events)
    assert apart._process.pid
    os.kill(apart._process.pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="ended with status -9"):
        list(events)
    assert finished(apart).pictures


def test_a_process_that_nobody_listens_to_any_more_ends_in_the_middle_of_a_step() -> None:
    generator = Apart(SKETCH)
    events = generator.generate(read("a red fox --size 512x512 --steps 50"))
    assert [next(events), next(events)]
    generator._pipe.close()
    generator._process.join(30)
    assert generator._process.exitcode == 0


def test_draws_at_a_lower_priority_than_the_doors(apart: Apart) -> None:
    assert apart._process.pid
    assert os.getpriority(os.PRIO_PROCESS, apart._process.pid) > os.getpriority(os.PRIO_PROCESS, 0)
