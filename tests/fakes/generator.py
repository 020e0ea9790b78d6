"""A generator that draws nothing much, at once: for tests of everything around the drawing."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from PIL import Image

from bot import png
from bot.request import Event, Finished, ImageRequest, Picture, Started, Step, Waking

if TYPE_CHECKING:
    from collections.abc import Generator

    from bot.models import Model


class QuickGenerator:
    """Draws one plain colour for each seed. `gate` holds drawings up; `fails` makes them raise; a step takes `step_seconds`.

    The gate closes by itself after each of the steps in `holds`, so that what is shown of them can be looked at. Whoever is
    held up in a step says it again and again, for a status that comes too soon after another is never shown.

    `wakes` makes it say first that a machine starts; `preview` comes with each step and is of the last picture, or
    `previews` do, one after the other; `started_from` are the pictures that drawings began with.
    """

    def __init__(self, model: Model, *, hasten: bool = True) -> None:
        self.model, self.hastened = model, hasten
        self.gate = threading.Event()
        self.gate.set()
        self.holds: set[int] = set()
        self.step_seconds = 0.0
        self.wakes = False
        self.preview = b""
        self.previews: list[bytes] = []
        self.drawn: list[ImageRequest] = []
        self.started_from: list[bytes | None] = []
        self.fails: Exception | None = None

    def generate(
        self, request: ImageRequest, *, batch_size: int = 1, image: bytes | None = None
    ) -> Generator[Event, None, None]:
        """Yield what the real one yields."""
        del batch_size
        self.started_from.append(image)
        while self.wakes and not self.gate.wait(0.02):
            yield Waking(5)
        yield Started()
        self.gate.wait(30)
        for index in range(request.num_inference_steps):
            time.sleep(self.step_seconds)
            if self.fails:
                raise self.fails
            preview = self.previews.pop(0) if self.previews else self.preview
            if index + 1 in self.holds:
                self.gate.clear()
            step = Step(index + 1, request.num_inference_steps, preview, place=request.n - 1)
            yield step
            while not self.gate.wait(0.02):
                yield step
        self.drawn.append(request)
        alone = [request.alone(index) for index in range(request.n)]
        yield Finished(tuple(Picture(png=plain(one), request=one) for one in alone), 0.01)

    def stop(self) -> None:
        """Go on to the step that was asked for: nobody asks for another one."""

    def load(self) -> None:
        """Be loaded already."""

    def close(self) -> None:
        """Let go of nothing."""


def plain(request: ImageRequest) -> bytes:
    """Return a small PNG whose colour is the seed, with its recipe inside."""
    colour = request.seed % 256, request.seed // 256 % 256, request.seed // 65536 % 256
    return png.stamp(Image.new("RGB", (8, 8), colour), request)
