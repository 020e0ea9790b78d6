"""Load a model and draw with it: a request in, events out. Knows diffusers, and nothing of chat."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from transformers.utils import logging as transformers_logging

# Or importing diffusers complains that torchvision is missing, which nothing here uses.
transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
import diffusers
from diffusers.utils import logging as diffusers_logging

from bot import recipe
from bot.errors import Told, TooLarge
from bot.request import Event, Finished, ImageRequest, Picture, Started, Step
from bot.texts import Phrase

if TYPE_CHECKING:
    from collections import abc
    from collections.abc import Callable, Iterator, Sequence

    from PIL import Image

    from bot.models import Model

log: Final = logging.getLogger(__name__)

GIB: Final = 2**30  # bytes
WEIGHTLESS: Final = Phrase("The weights of {model} are not on this machine. Whoever runs this bot can fetch them.")
ROOM: Final = 3  # GiB that a drawing needs besides the largest network, where the networks take turns on the GPU


class Generator:
    """One model, loaded once, drawing one job at a time.

    Noise is drawn on the CPU from each picture's own seed, one picture at a time unless asked otherwise, so a picture
    of a set is the same to the byte when it is drawn alone.
    """

    def __init__(self, model: Model, device: str | None = None, memory: float | None = None) -> None:
        """Load the weights; `device` defaults to the fastest there is, and `memory` to the GiB that it has."""
        self.model = model
        self.device = device or _fastest()
        self._turn = threading.Lock()
        self._pipeline = _load(model, self.device, _memory(self.device) if memory is None else memory)

    def generate(
        self, request: ImageRequest, *, batch_size: int = 1, image: bytes | None = None
    ) -> abc.Generator[Event, None, None]:
        """Yield `Started`, a `Step` after each denoising step, and `Finished`.

        `image` is the picture that the request starts from, if any. Closing the iterator stops the drawing within one
        step. Raises what the pipeline raises.
        """
        if image or request.variation_strength or request.upscale > 1:
            raise Told("I cannot start from a picture, vary or upscale yet.")
        events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        stop = threading.Event()
        drawing = threading.Thread(
            target=self._draw, args=(request, batch_size, events.put, stop), name=f"draw-{self.model.name}", daemon=True
        )
        drawing.start()
        try:
            while not isinstance(event := events.get(), BaseException):
                yield event
                if isinstance(event, Finished):
                    return
            raise event
        finally:
            stop.set()
            drawing.join()

    def _draw(
        self, request: ImageRequest, batch_size: int, emit: Callable[[Event | BaseException], None], stop: threading.Event
    ) -> None:
        """Draw all pictures of a request, batch by batch. Runs in a thread of its own: `pipeline()` calls back."""
        try:
            with self._turn:
                emit(Started())
                begun = time.perf_counter()
                try:
                    pictures = self._pictures(request, batch_size, emit, stop)
                except torch.OutOfMemoryError as error:
                    log.warning("%s, %d at a time: %s", request, batch_size, error)
                    pictures = None
                if pictures is None:  # here, the exception holds the memory of what failed no more
                    pictures = self._pictures_one_by_one(request, batch_size, emit, stop)
                emit(Finished(pictures, time.perf_counter() - begun))
        except BaseException as error:  # noqa: BLE001  it is raised again where the events are read
            emit(error)

    def _pictures(
        self, request: ImageRequest, batch_size: int, emit: Callable[[Event], None], stop: threading.Event
    ) -> tuple[Picture, ...]:
        batches = _batches(request, batch_size)
        progress = _Progress(len(batches) * request.num_inference_steps, emit, stop)
        return tuple(picture for batch in batches for picture in self._batch(batch, progress))

    def _pictures_one_by_one(
        self, request: ImageRequest, batch_size: int, emit: Callable[[Event], None], stop: threading.Event
    ) -> tuple[Picture, ...]:
        """Draw again what did not fit into the memory, if there is a smaller way."""
        torch.cuda.empty_cache()
        if min(batch_size, request.n) == 1:
            raise TooLarge
        try:
            return self._pictures(request, 1, emit, stop)
        except torch.OutOfMemoryError as error:
            raise TooLarge from error

    @torch.inference_mode()
    def _batch(self, requests: Sequence[ImageRequest], progress: _Progress) -> Iterator[Picture]:
        """Draw requests that differ in nothing but the seed, in one batch."""
        first = requests[0]
        without = {"negative_prompt": first.negative_prompt} if self.model.guided else {}
        images: list[Image.Image] = self._pipeline(
            prompt=first.prompt,
            num_inference_steps=first.num_inference_steps,
            guidance_scale=first.guidance_scale,
            width=first.width,
            height=first.height,
            num_images_per_prompt=len(requests),
            generator=[torch.Generator().manual_seed(request.seed) for request in requests],
            callback_on_step_end=progress.step,
            callback_on_step_end_tensor_inputs=[],
            **without,
            **self.model.arguments,
        ).images
        for request, image in zip(requests, images, strict=True):
            yield Picture(png=recipe.stamp(image, request), request=request)


class Stopped(Exception):
    """Nobody waits for this drawing any more."""


class _Progress:
    """Counts the steps of all batches, and is where a drawing can be stopped."""

    def __init__(self, total: int, emit: Callable[[Event], None], stop: threading.Event) -> None:
        self._index, self._total, self._emit, self._stop = 0, total, emit, stop

    def step(self, _pipeline: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """Serve as diffusers' `callback_on_step_end`."""
        if self._stop.is_set():
            raise Stopped
        self._index += 1
        self._emit(Step(self._index, self._total))
        return tensors


def _batches(request: ImageRequest, batch_size: int) -> list[list[ImageRequest]]:
    alone = [request.alone(index) for index in range(request.n)]
    return [alone[start : start + batch_size] for start in range(0, request.n, batch_size)]


def _load(model: Model, device: str, memory: float) -> Any:
    _quiet()
    begun = time.perf_counter()
    dtype = torch.float32 if device == "cpu" else getattr(torch, model.dtype)
    try:
        pipeline: Any = diffusers.AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]
            model.repository, revision=model.revision, variant=model.variant, dtype=dtype
        )
    except OSError as error:
        log.exception("%s was not loaded", model.name)
        raise Told(WEIGHTLESS, model=model.name) from error
    _place(pipeline, model, device, memory)
    pipeline.set_progress_bar_config(disable=True)
    log.info("loaded %s on %s in %.1f s", model.name, device, time.perf_counter() - begun)
    return pipeline


def _place(pipeline: Any, model: Model, device: str, memory: float) -> None:
    """Put the networks on the device: all of them, or, where its memory (in GiB) is too small for that, by turns."""
    if memory >= model.vram:
        pipeline.to(device)
        for network in (pipeline.vae, getattr(pipeline, "unet", None)):
            if network is not None:
                network.to(memory_format=torch.channels_last)  # a picture is a tenth quicker so on a CPU
        return
    largest = max(_size(part) for part in pipeline.components.values())
    if memory >= largest + ROOM:
        pipeline.enable_model_cpu_offload(device=device)
    else:
        cpu, gpu = torch.device("cpu"), torch.device(device)
        pipeline.enable_group_offload(gpu, cpu, offload_type="leaf_level")  # layer by layer: slow, and better than nothing
    pipeline.vae.enable_slicing()
    pipeline.vae.enable_tiling()
    log.info("%s needs %g GiB and has %.1f: its parts take turns", model.name, model.vram, memory)


def _memory(device: str) -> float:
    """Return how many GiB a device has; the memory of a computer is not counted."""
    if not device.startswith("cuda"):
        return math.inf
    return torch.cuda.get_device_properties(device).total_memory / GIB


def _size(part: Any) -> float:
    """Return the GiB that the weights of a part of a pipeline take."""
    if not isinstance(part, torch.nn.Module):
        return 0
    return sum(weight.numel() * weight.element_size() for weight in part.parameters()) / GIB


def fetch(model: Model, token: str | None = None) -> None:
    """Have the hub's files of a model on this machine, those that loading it reads and no others."""
    if Path(model.repository).is_dir():
        return
    _quiet()
    pipeline: Any = getattr(diffusers, model.pipeline)
    pipeline.download(model.repository, revision=model.revision, variant=model.variant, token=token)


def _quiet() -> None:
    """Leave the terminal to our own progress bar, and the log to what somebody can act on."""
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()


def _fastest() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
