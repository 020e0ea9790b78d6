"""The generator in a process of its own, for a machine that serves and draws.

In one process the two would share one interpreter lock, and an answer would wait for the drawing at every turn; and a
drawing that takes its process down would take the doors down with it. The other side is `bot.gen`, unchanged.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from contextlib import suppress
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
        self._model, self._loaded, self._drawing = model, False, False
        self._sending = threading.Lock()
        self._start()

    def load(self) -> None:
        """Wait until the model is loaded."""
        if not self._loaded:
            try:
                self._receive()
            except Told:
                self.close()  # it has nothing to draw with; whoever asks next starts another, which may have
                raise
            self._loaded = True

    def generate(
        self, request: ImageRequest, *, batch_size: int = 1, image: bytes | None = None
    ) -> abc.Generator[Event, None, None]:
        """Yield the events of a drawing; closing the iterator stops it within one step."""
        if not self._process.is_alive():
            self._start()
        self.load()
        self._send((request, batch_size, image))
        self._drawing = True
        try:
            while event := self._receive():
                yield event
        finally:
            self.stop()
            while self._drawing:
                with suppress(Told, RuntimeError):  # nobody waits for this one any more
                    self._receive()

    def stop(self) -> None:
        """Have the drawing that is under way begin no other step; from any thread, also while another one reads its events."""
        if self._drawing:
            with suppress(OSError):  # it is gone, and whoever reads its events learns that
                self._send(None)

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

    def _send(self, what: object) -> None:
        with self._sending:
            self._pipe.send(what)

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
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the doors, which then end this process
        signal.signal(number, signal.SIG_IGN)
    os.nice(POLITE)
    with suppress(EOFError, BrokenPipeError):  # nobody is there any more
        try:
            generator = _ready(model)
        except Told as told:
            pipe.send(_Over(told))
        else:
            pipe.send(_Over())
            _heed(pipe, generator)


def _ready(model: Model) -> Generator:
    """Load a model; for a GPU, also compile what makes it fast there, or take that back where it does not work."""
    from bot.gen import Generator  # torch and diffusers take seconds to import, and the doors need neither

    generator = Generator(model)
    if generator.hastened:
        with suppress(Told):  # too large to warm up with: smaller pictures may do
            generator.warm()
    return generator


def _heed(pipe: Connection, generator: Generator) -> None:
    """Draw whatever comes, and stop when told to."""
    stop = threading.Event()  # of the drawing that is under way
    while True:
        if drawing := pipe.recv():
            stop = threading.Event()
            threading.Thread(target=_draw, args=(pipe, generator, stop, *drawing), daemon=True).start()
        else:
            stop.set()  # it is heard in the middle of a step, and no other one is begun


def _draw(
    pipe: Connection,
    generator: Generator,
    stop: threading.Event,
    request: ImageRequest,
    batch_size: int,
    image: bytes | None,
) -> None:
    """Draw, and send the events as they come, and then that it is over."""
    over = _Over()
    try:
        for event in generator.generate(request, batch_size=batch_size, image=image, stop=stop):
            pipe.send(event)
    except Told as told:
        over = _Over(told)
    except BaseException:  # noqa: BLE001  it is raised again on the other side, where somebody waits for it
        over = _Over(traceback.format_exc())
    with suppress(BrokenPipeError):  # nobody is there any more
        pipe.send(over)
