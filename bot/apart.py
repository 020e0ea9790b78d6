"""The generator in a process of its own, for a machine that serves and draws.

In one process the two would share one interpreter lock, and an answer would wait for the drawing at every turn; and a
drawing that takes its process down would take the doors down with it. The other side is `bot.gen`, unchanged.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bot.errors import Told

if TYPE_CHECKING:
    from collections import abc
    from multiprocessing.connection import Connection

    from bot.gen import Generator
    from bot.models import Model
    from bot.request import Event, ImageRequest

POLITE: Final = 10  # niceness: whoever waits at the doors goes first


@dataclass(frozen=True, slots=True)
class _Over:
    """The last thing said of a drawing: that it ended, or what went wrong. Tracebacks do not travel; their text does."""

    failure: str | Told = ""  # what is for the person, or a traceback


class Apart:
    """A `bot.gen.Generator` that lives elsewhere: the same `generate`."""

    def __init__(self, model: Model) -> None:
        """Start the other process, which then loads the model."""
        self._model, self._loaded = model, False
        self._start()

    def load(self) -> None:
        """Wait until the model is loaded."""
        if not self._loaded:
            self._receive()
            self._loaded = True

    def generate(
        self, request: ImageRequest, *, batch_size: int = 1, image: bytes | None = None
    ) -> abc.Generator[Event, None, None]:
        """Yield the events of a drawing; closing the iterator stops it within one step."""
        if not self._process.is_alive():
            self._start()
        self.load()
        self._pipe.send((request, batch_size, image))
        self._drawing = True
        try:
            while event := self._receive():
                yield event
        finally:
            if self._drawing:
                self._pipe.send(None)
            while self._drawing:
                with suppress(Told, RuntimeError):  # nobody waits for this one any more
                    self._receive()

    def close(self) -> None:
        """End the other process, in the middle of a drawing if need be."""
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take along locks that our other threads hold
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._model), name="generator", daemon=True)
        self._process.start()
        theirs.close()
        self._loaded = False

    def _receive(self) -> Event | None:
        """Return the next event from over there, or None when there are no more. Raises what went wrong there."""
        try:
            received: Event | _Over = self._pipe.recv()
        except (EOFError, OSError):
            self._drawing = False
            self._process.join()
            raise RuntimeError(f"the generator's process ended with status {self._process.exitcode}") from None
        if not isinstance(received, _Over):
            return received
        self._drawing = False
        if received.failure:
            raise received.failure if isinstance(received.failure, Told) else RuntimeError(received.failure)
        return None


def _work(pipe: Connection, model: Model) -> None:
    """Be the other process: load the model, then draw whatever comes, until nobody is there any more."""
    for stop in (signal.SIGINT, signal.SIGTERM):  # meant for the doors, which then end this process
        signal.signal(stop, signal.SIG_IGN)
    os.nice(POLITE)
    from bot.gen import Generator  # torch and diffusers take seconds to import, and the doors need neither

    try:
        generator = Generator(model)
        pipe.send(_Over())
        while True:
            if drawing := pipe.recv():
                pipe.send(_draw(pipe, generator, *drawing))
    except (EOFError, BrokenPipeError):
        return


def _draw(pipe: Connection, generator: Generator, request: ImageRequest, batch_size: int, image: bytes | None) -> _Over:
    """Draw, and send the events as they come, unless told to stop."""
    try:
        with closing(generator.generate(request, batch_size=batch_size, image=image)) as events:
            for event in events:
                pipe.send(event)
                if pipe.poll():
                    pipe.recv()
                    break
    except Told as told:
        return _Over(told)
    except Exception:  # noqa: BLE001  it is raised again on the other side
        return _Over(traceback.format_exc())
    return _Over()
