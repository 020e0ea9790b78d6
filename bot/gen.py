"""Draw: requests in, events out, any number at a time on one device. Knows nothing of chat.

One thread works on the device. It takes whatever is under way one step further, again and again: `bot.steps` says whose
step is next, `bot.family` takes it. In between it looks who has come and who has gone. Other threads turn finished
pictures into files meanwhile.
"""

from __future__ import annotations

import atexit
import contextvars
import io
import logging
import math
import queue
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar
from weakref import WeakSet

from bot import heap

heap.share()  # before torch starts threads, which would have heaps of their own already
import torch
from PIL import Image
from transformers.utils import logging as transformers_logging

# Or importing diffusers complains that torchvision is missing, which nothing here uses.
transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
from bot import fast, png, weights
from bot.errors import Cancelled, Spoilt, Told, TooLarge
from bot.families import FAMILIES
from bot.request import Event, Finished, ImageRequest, Picture, Started, Step, compose
from bot.steps import SIZES, Curve, Schedule, Task, padded

if TYPE_CHECKING:
    from collections import abc
    from collections.abc import Callable, Mapping, Sequence

    from bot.family import Drawing, Family, Shape
    from bot.models import Model

log: Final = logging.getLogger(__name__)
T = TypeVar("T")

PREVIEW_EVERY: Final = 1.0  # seconds
PREVIEW_SIDE: Final = 384  # pixels
WIDE: Final = 1.5  # width by height of a picture that stands for all that have not the usual shape
LONG: Final = "fox " * 40  # more words than most prompts
WORTHWHILE: Final = 0.98  # more pictures in a pass are tried as long as each takes at most so much of the time
LEAVE: Final = 10.0  # seconds that the end of this process waits for the step under way
LINGER: Final = 10.0  # seconds that the thread on the device stays after the last drawing: the next one is 1 to 4 ms quicker
ENCODERS: Final = 2  # threads that turn pictures into files
SOON: Final = 0.9  # of the time that a pass was measured to take: then the next one is handed over
TIDY_EVERY: Final = 5.0  # seconds between two times that free memory goes back to the system: it takes 5 to 20 ms


@dataclass(eq=False, slots=True, kw_only=True)
class _Task(Task):
    """A request under way, and who waits for it."""

    request: ImageRequest
    total: int = 0  # passes through the network, over all its pictures
    made: int = 0
    pictures: dict[int, Picture] = field(default_factory=dict)
    begun: float = 0.0  # when its first step was, on the clock of `arrived`; 0 is not yet
    previewed: float = 0.0  # when its last preview was
    stop: threading.Event  # set by whoever cancels it
    unwanted: bool = False  # it failed, or nobody waits for it any more
    events: queue.SimpleQueue[Event | BaseException] = field(default_factory=queue.SimpleQueue)
    over: threading.Event = field(default_factory=threading.Event)  # the device does nothing for it any more


@dataclass(frozen=True, slots=True)
class _Pass:
    """One pass through the network, handed to the device; a GPU may not have got to it yet."""

    drawings: Sequence[Drawing]
    previews: Mapping[_Task, tuple[int, torch.Tensor]]  # of which picture, and what it looks like
    pictures: Sequence[tuple[Drawing, torch.Tensor, torch.Tensor]]  # and whether its numbers were numbers
    done: torch.cuda.Event | None  # None where it was done at once
    seconds: float  # that it was measured to take on a GPU; 0 is unknown


class Generator:
    """One model, loaded once, drawing any number of jobs at a time, step by step. Safe to call from many threads.

    Noise is drawn on the CPU from each picture's own seed. On a CPU every picture is computed by itself, so it is the same
    to the byte whoever else draws; on a GPU pictures share passes where that pays, and then differ by rounding.
    """

    def __init__(self, model: Model, device: str | None = None, memory: float | None = None, *, hasten: bool = True) -> None:
        """Load the weights; `device` defaults to the fastest there is, and `memory` to the GiB that it has.

        To be made faster for a GPU takes a minute or two, in `warm` or at the first pictures: some two hundred save as much.
        """
        self.model = model
        self.device = device or _fastest()
        memory = weights.memory_of(self.device) if memory is None else memory
        self._pipeline = weights.load(model, self.device, memory)
        self._family: Family = FAMILIES[model.pipeline](self._pipeline, model, self.device)
        self.hastened = hasten and self.device.startswith("cuda") and memory >= model.vram
        if self.hastened:
            fast.hasten(self._family)
        self._curve = Curve()
        self._full = 0.0  # the work in the largest pass that pays, as `warm` measured; without that, everybody goes alone
        self._took = 0.0  # seconds that it took to choose the last pass and hand it to the device
        self._quickest = math.inf  # the same of the quickest: others may have had to wait until the device had room for them
        self._freed = 0.0  # when the device was done with all but the latest pass, as far as was seen
        self._schedule = Schedule(self._costs)
        self._colours: torch.Tensor | None = None
        self._turn = threading.Condition()  # guards what follows
        self._arrived: list[_Task] = []
        self._ready: list[Drawing] = []  # enlarged, to be refined
        self._gone: list[_Task] = []
        self._closing = False
        self._worker: threading.Thread | None = None
        self._tidied = time.monotonic()
        self._encoders = ThreadPoolExecutor(ENCODERS, f"encode-{model.name}")
        _open.add(self)
        self._context = contextvars.copy_context()  # what the compiler was told holds for one thread: the worker is handed it

    def warm(self) -> None:
        """Prepare what a first drawing would: compile, record, and measure what it gains to draw several at once.

        Call it before anybody draws. Without it all works too, and people wait for it.
        """
        request = compose("a fox", model=self.model.name, seed=0)
        try:
            list(self.generate(request))
            if self.hastened:
                self._as_loaded(self._compile_other_shapes)
        except Told:
            raise
        except Exception:  # a compiler that does not know this GPU, say: then people wait longer, but they get their pictures
            log.exception("%s is not compiled on this %s", self.model.name, self.device)
            if self.hastened:  # or it would take away what lets its parts take turns
                fast.slow(self._family)
            list(self.generate(request))
        if self.device.startswith("cuda"):
            with suppress(torch.OutOfMemoryError):  # what was measured by then is what there is room for
                self._as_loaded(self._measure, request)

    def _as_loaded(self, work: Callable[..., None], *given: object) -> None:
        """Do something with what the compiler was told at loading, which torch keeps for each thread and context by itself."""
        self._context.copy().run(work, *given)

    @torch.inference_mode()
    def _compile_other_shapes(self) -> None:
        """Compile what serves all but the usual shape: or the first who asks for another waits for half a minute more."""
        wide = compose("a fox", model=self.model.name, seed=0, aspect_ratio=WIDE)
        drawing, longer = (self._family.drawing(None, replace(wide, prompt=words), 0, None) for words in (wide.prompt, LONG))
        with suppress(torch.OutOfMemoryError):  # smaller ones may fit
            for each in drawing, longer:
                self._family.begin(each)
            self._family.predict([drawing])
            self._family.decode(replace(drawing))  # a copy, for it loses what steps want
            self._family.predict([drawing] * 2)  # to the compiler, one row is another case than several
            self._family.predict([drawing, longer])  # and words of several lengths, where they are not all filled up to one
            if self.model.guidance_stop < 1:
                freed = replace(drawing, shape=drawing.shape._replace(guided=False))
                self._family.predict([freed])
                self._family.predict([freed] * 2)

    @torch.inference_mode()
    def _measure(self, request: ImageRequest) -> None:
        """Time passes with ever more pictures, until more gain nothing."""
        drawing = self._family.drawing(None, request, 0, None)
        self._with_room(partial(self._family.begin, drawing))
        self._colours = self._with_room(self._family.colours)
        best = math.inf
        for size in SIZES:
            rows = [drawing] * size
            self._family.predict(rows)
            took = fast.seconds(partial(self._family.predict, rows))
            log.info("%s: %d at a time take %.1f ms a step", self.model.name, size, 1000 * took)
            self._curve.learn(size * drawing.shape.work, took)
            if took / size > WORTHWHILE * best:
                return
            best, self._full = took / size, size * drawing.shape.work

    def rest(self) -> None:
        """Make ready for a snapshot of this process and its GPU; drawing works afterwards as before."""
        fast.rest()

    def check(self) -> None:
        """Raise what is wrong with a device that does not compute; one that hangs never returns."""
        torch.ones(1, device=self.device).sum().item()

    def close(self) -> None:
        """Cancel whatever is drawn, and end the thread on the device, after the step under way."""
        with self._turn:
            self._closing = True
            worker = self._worker
            self._turn.notify_all()
        if worker:
            worker.join(LEAVE)

    def generate(
        self,
        request: ImageRequest,
        *,
        batch_size: int = 1,
        image: bytes | None = None,
        stop: threading.Event | None = None,
    ) -> abc.Generator[Event, None, None]:
        """Yield `Started`, a `Step` after each denoising step, and `Finished`.

        `image` is the file of the picture to start from, if the request names one; `batch_size` is how many pictures of this
        request go side by side, even where that does not pay. Closing the iterator stops the drawing within one step; so does
        setting `stop`, from any thread, which then raises `Cancelled` here. Raises what goes wrong.
        """
        task = self._task(request, batch_size, image, stop or threading.Event())
        with self._turn:
            self._arrived.append(task)
            if self._worker is None:
                work, name = partial(self._as_loaded, self._work), f"draw-{self.model.name}"
                self._worker = threading.Thread(target=work, name=name, daemon=True)
                self._worker.start()
            self._turn.notify_all()
        try:
            while not isinstance(event := task.events.get(), BaseException):
                yield event
                if isinstance(event, Finished):
                    return
            try:
                raise event
            finally:
                del event  # it holds the call that raised it, which would hold it, and all that was drawn
        finally:
            with self._turn:
                task.unwanted = True
                self._gone.append(task)
                self._turn.notify_all()
            if len(task.pictures) < request.n:
                task.over.wait()  # or the device might still be at it

    def _task(self, request: ImageRequest, batch_size: int, image: bytes | None, stop: threading.Event) -> _Task:
        start = None if image is None else Image.open(io.BytesIO(image))
        task = _Task(arrived=time.monotonic(), together=batch_size, request=request, stop=stop)
        for place in range(request.n):
            task.rows.append(self._family.drawing(task, request.alone(place), place, start))
        task.total = sum(row.left for row in task.rows)
        if request.upscale > 1:
            task.total += request.n * self._family.refining(task, request, 0, Image.new("RGB", (1, 1))).left
        return task

    # The thread that works on the device

    @torch.inference_mode()
    def _work(self) -> None:
        """Take one step after the other, until there is nobody left to draw for.

        A GPU is handed the next pass while it is busy with this one, or it would wait for us in between; but no sooner than
        that takes, so that whoever comes or goes during a pass mostly does so before the next is under way.
        """
        tasks: set[_Task] = set()
        under_way: list[_Pass] = []
        while self._look_around(tasks, idle=not (self._schedule or under_way)):
            try:
                under_way = self._go_on(under_way)
            except BaseException as error:  # noqa: BLE001  it is raised again where the events are read
                under_way = []
                for task in tasks:
                    self._fail(task, error)
        for task in tasks:  # of one that is closed
            self._fail(task, Cancelled())
            task.over.set()

    def _go_on(self, under_way: Sequence[_Pass]) -> list[_Pass]:
        """Hand the next pass to the device, and tell of those that were under way; return those that are so now."""
        following = self._launch()
        self._freed = time.monotonic()  # for a device that was at nothing before
        self._settle(under_way)
        if self.device.startswith("cuda"):
            self._hold_back(following)
            return following
        self._settle(following)
        return []

    def _hold_back(self, passes: Sequence[_Pass]) -> None:
        """Wait until it is time for the next pass, if the device is at these; or until somebody is to be prepared."""
        seconds = SOON * sum(each.seconds for each in passes) - self._took - 2 * self._quickest
        seconds -= time.monotonic() - self._freed
        if seconds > 0:
            with self._turn:
                self._turn.wait_for(lambda: bool(self._arrived or self._ready), seconds)

    def _look_around(self, tasks: set[_Task], *, idle: bool) -> bool:
        """See who has come, who has gone, and what has come back; wait for that if there is nothing else to do."""
        with self._turn:
            while idle and tasks and not (self._arrived or self._gone or self._ready or self._closing):
                self._turn.wait()
            self._heed(tasks)
            if not self._closing and (tasks or self._turn.wait_for(lambda: self._arrived or self._closing, LINGER)):
                return True
            self._worker = None
            return False

    def _heed(self, tasks: set[_Task]) -> None:
        """Take note of who has come, gone, come back, or is cancelled."""
        for task in self._arrived:
            tasks.add(task)
            self._schedule.add(task)
        for drawing in self._ready:
            drawing.task.rows.append(drawing)
        for task in self._gone:
            tasks.discard(task)
            self._schedule.remove(task)
            task.rows.clear()  # they know their task: it and they would hold each other
            task.over.set()
        for noted in (self._arrived, self._ready, self._gone):
            noted.clear()
        for task in tasks:
            if task.stop.is_set() and not task.unwanted:
                self._fail(task, Cancelled())

    def _launch(self) -> list[_Pass]:
        """Hand the next pass to the device; none if there is none, or if it did not work and another will be tried."""
        begun = time.monotonic()
        drawings: list[Drawing] = self._schedule.next(begun)
        choosing = time.monotonic() - begun
        for drawing in drawings:
            if drawing.latents is None and not drawing.task.unwanted:
                self._begin(drawing)
        drawings = [drawing for drawing in drawings if not drawing.task.unwanted]
        if not drawings:
            return []
        begun = time.monotonic()  # what beginners want is not wanted for every pass
        passes = self._advance(drawings)
        if passes:
            self._took = choosing + time.monotonic() - begun
            self._quickest = min(self._quickest, self._took)
        return passes

    def _begin(self, drawing: Drawing) -> None:
        task = drawing.task
        if not task.begun:
            task.begun = task.previewed = time.monotonic()
            task.events.put(Started())
        try:
            self._with_room(partial(self._family.begin, drawing))
        except Exception as error:  # noqa: BLE001  it is raised again where the events are read
            self._fail(task, error)

    def _advance(self, drawings: Sequence[Drawing]) -> list[_Pass]:
        """Take one step with several drawings. Where that goes wrong, whoever is not to blame goes on without the others."""
        shape, now = drawings[0].shape, time.monotonic()
        size = padded(self._schedule.costs(shape), len(drawings))
        try:
            rows = [*drawings, *[drawings[-1]] * (size - len(drawings))]
            predictions = self._with_room(partial(self._family.predict, rows))
        except Exception as error:  # noqa: BLE001  it is raised again where the events are read
            if len(drawings) == 1:
                self._fail(drawings[0].task, error)
                return []
            log.warning("%d of %s at a time: %s", len(drawings), shape, error)
            if isinstance(error, torch.OutOfMemoryError):
                self._schedule.limit(shape, len(drawings) // 2)
                return []
            return [each for drawing in drawings for each in self._advance([drawing])]
        if self.device == "cpu":
            self._curve.learn(len(drawings) * shape.work, time.monotonic() - now)
        predicted = dict(zip(drawings, predictions, strict=False))
        due = {drawing.task: drawing for drawing in drawings if now - drawing.task.previewed > PREVIEW_EVERY}
        previews = {task: found for task, drawing in due.items() if (found := self._preview(drawing, predicted[drawing], now))}
        drawings = [drawing for drawing, prediction in predicted.items() if self._step(drawing, prediction)]
        pictures = [found for drawing in drawings if self._schedule.stepped(drawing) for found in self._decode(drawing)]
        takes = self._curve.seconds(size * shape.work) if self._full else 0.0
        return [_Pass(drawings, previews, pictures, self._mark(), takes)]

    def _with_room(self, work: Callable[[], T]) -> T:
        """Do something on the device; where that does not fit, let go of what only makes it quicker, and do it once more."""
        try:
            return work()
        except torch.OutOfMemoryError:
            if not self._family.forget():
                raise
        torch.cuda.empty_cache()  # what was let go of is in pieces
        return work()

    def _step(self, drawing: Drawing, prediction: torch.Tensor) -> bool:
        """Take a step with one drawing; return whether that worked."""
        try:
            self._family.step(drawing, prediction)
        except Exception as error:  # noqa: BLE001  it is raised again where the events are read
            self._fail(drawing.task, error)
            return False
        return True

    def _preview(self, drawing: Drawing, prediction: torch.Tensor, now: float) -> tuple[int, torch.Tensor] | None:
        """Begin to bring a preview back from the device; none if that fails, for the picture does not need it."""
        drawing.task.previewed = now
        try:
            if self._colours is None:
                self._colours = self._family.colours()
            return drawing.place, self._fetch(self._family.preview(drawing, prediction, self._colours))
        except Exception as error:  # noqa: BLE001  nobody's drawing is to fail over that
            log.warning("no preview of %s: %s", drawing.request, error)
            return None

    def _decode(self, drawing: Drawing) -> list[tuple[Drawing, torch.Tensor, torch.Tensor]]:
        """Begin to bring a picture back from the device; none if that fails."""
        try:
            image, whole = self._with_room(partial(self._family.decode, drawing))
        except Exception as error:  # noqa: BLE001  it is raised again where the events are read
            self._fail(drawing.task, error)
            return []
        return [(drawing, self._fetch(image), self._fetch(whole))]

    def _fetch(self, tensor: torch.Tensor) -> torch.Tensor:
        """Begin to copy to the memory of the computer, without waiting for it."""
        if not tensor.is_cuda:
            return tensor.cpu()
        return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)

    def _mark(self) -> torch.cuda.Event | None:
        if not self.device.startswith("cuda"):
            return None
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record()
        return mark

    def _settle(self, passes: Sequence[_Pass]) -> None:
        """Wait until the device has done its passes, and tell."""
        for each in passes:
            if each.done:
                each.done.synchronize()
                self._freed = time.monotonic()
            made = Counter(drawing.task for drawing in each.drawings)
            for task, count in made.items():
                task.made += count
                step = Step(task.made, task.total)
                if task in each.previews:
                    place, preview = each.previews[task]
                    step = replace(step, preview=_small(preview), place=place)
                task.events.put(step)
            for drawing, image, whole in each.pictures:
                self._encoders.submit(self._finish, drawing, image, whole)

    def _fail(self, task: _Task, error: BaseException) -> None:
        """End a task, for its reader to learn why."""
        if isinstance(error, torch.OutOfMemoryError):
            log.warning("%s: %s", task.request, error)
            error = TooLarge()
        task.unwanted = True
        task.events.put(error.with_traceback(None))  # what it points at holds the memory that was short
        self._schedule.remove(task)

    # The threads that make files

    def _finish(self, drawing: Drawing, image: torch.Tensor, whole: torch.Tensor) -> None:
        """Make the file of a picture, or send the picture on into its second round."""
        task, request = drawing.task, drawing.request
        try:
            _check(whole)
            picture = Image.fromarray(image.numpy())
            if request.upscale > 1 and not drawing.refining:
                following = self._family.refining(task, request, drawing.place, picture)
                with self._turn:
                    if not task.unwanted:
                        self._ready.append(following)
                        self._turn.notify_all()
                return
            task.pictures[drawing.place] = Picture(png=png.stamp(picture, request), request=request)
            if len(task.pictures) == task.request.n:
                pictures = tuple(task.pictures[place] for place in range(task.request.n))
                task.events.put(Finished(pictures, time.monotonic() - task.begun))
                self._tidy()
        except BaseException as error:  # noqa: BLE001  it is raised again where the events are read
            task.events.put(error)

    def _tidy(self) -> None:
        """Let the system have what is free, now and then: C's library keeps it in pieces, more with every size of picture."""
        if time.monotonic() - self._tidied > TIDY_EVERY:
            self._tidied = time.monotonic()
            heap.give_back()

    def _costs(self, shape: Shape) -> Mapping[int, float]:
        """Smaller pictures may go as many at a time as `warm` has tried, larger ones as are as much work."""
        sizes = [size for size in SIZES if size == 1 or size * shape.work <= self._full]
        return {size: self._curve.seconds(size * shape.work) for size in sizes}


_open: Final = WeakSet[Generator]()


@atexit.register
def _leave() -> None:
    """Let no thread be in the middle of a step when Python ends, which then ends threads, and torch aborts the process."""
    for generator in list(_open):
        generator.close()


def _check(whole: torch.Tensor) -> None:
    if not whole:
        raise Spoilt


def _small(preview: torch.Tensor) -> bytes:
    """Make a small JPEG."""
    image = Image.fromarray(preview.numpy())
    larger = PREVIEW_SIDE / max(image.size)
    buffer = io.BytesIO()
    image.resize((round(image.width * larger), round(image.height * larger))).save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _fastest() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
