"""Weights: fetched from the hub, read from the disk, and brought to the device that draws with them."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import diffusers
import torch
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from bot.errors import Told
from bot.texts import Phrase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bot.models import Model

log: Final = logging.getLogger(__name__)

GIB: Final = 2**30  # bytes
WEIGHTLESS: Final = Phrase("The weights of {model} are not on this machine. Whoever runs this bot can fetch them.")
ROOM: Final = 3  # GiB that a drawing needs besides the largest network, where the networks take turns on the GPU
# Bytes of the computer's memory; 0 where that is not told.
MEMORY: Final = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
READERS: Final = 8  # threads that read ahead: one alone does not keep a network busy, nor a fast disk
BLOCK: Final = 2**23  # bytes that each reads at a time


def fetch(model: Model, token: str | None = None) -> Path:
    """Have the hub's files of a model on this machine, those that loading it reads and no others; return their folder."""
    if Path(model.repository).is_dir():
        return Path(model.repository)
    _quiet()
    pipeline: Any = getattr(diffusers, model.pipeline)
    return Path(pipeline.download(model.repository, revision=model.revision, variant=model.variant, token=token))


def load(model: Model, device: str, memory: float) -> Any:
    """Return the pipeline of a model, ready to draw on a device that has so many GiB."""
    _quiet()
    begun = time.perf_counter()
    dtype = torch.float32 if device == "cpu" else getattr(torch, model.dtype)
    with read(model, dtype) as pipeline:
        if dtype is torch.float16 and getattr(pipeline.vae.config, "force_upcast", False):
            pipeline.vae.to(_wide(device))
        _place(pipeline, model, device, memory)
    pipeline.set_progress_bar_config(disable=True)
    log.info("loaded %s on %s in %.1f s", model.name, device, time.perf_counter() - begun)
    return pipeline


@contextmanager
def read(model: Model, dtype: torch.dtype) -> Iterator[Any]:
    """Read a pipeline from the disk: most of it when it is first used, so its files are read ahead as long as this lasts.

    Parts that take turns on a GPU are mostly used later.
    """
    pool = ThreadPoolExecutor(READERS, "read-ahead")
    try:
        yield _opened(model, dtype, pool)
    finally:
        pool.shutdown(cancel_futures=True)


def _opened(model: Model, dtype: torch.dtype, pool: ThreadPoolExecutor) -> Any:
    try:
        folder = fetch(model)
        pool.submit(_read_ahead, folder, model.variant, pool)
        return diffusers.AutoPipelineForText2Image.from_pretrained(  # type: ignore[no-untyped-call]
            str(folder), variant=model.variant, dtype=dtype
        )
    except OSError as error:
        log.exception("%s was not loaded", model.name)
        raise Told(WEIGHTLESS, model=model.name) from error


def _read_ahead(folder: Path, variant: str | None, pool: ThreadPoolExecutor) -> None:
    """Have the system read files into its memory: who only maps them, as loading does, waits for every few pages in turn.

    Only what fits: or what is read first would be gone when it is wanted. What goes wrong here stays in the pool: loading meets
    it too, and says so.
    """
    files = [*_files(folder, variant)]
    if sum(file.stat().st_size for file in files) > MEMORY / 2:
        return
    for file in files:
        for start in range(0, file.stat().st_size, BLOCK):
            pool.submit(_touch, file, start)


def _touch(file: Path, start: int) -> None:
    with file.open("rb", buffering=0) as opened:
        opened.seek(start)
        opened.read(BLOCK)


def _files(folder: Path, variant: str | None) -> Iterator[Path]:
    """Yield the files that loading wants, in its order: of each part those of the variant, or the plain ones if it has none."""
    parts = json.loads((folder / "model_index.json").read_text("utf-8"))
    for part in sorted(folder / name for name in parts if (folder / name).is_dir()):
        files = sorted(part.glob("*.safetensors"))
        varied = [file for file in files if variant and f".{variant}" in file.name]
        yield from varied or [file for file in files if file.name.count(".") == 1]


def _wide(device: str) -> torch.dtype:
    """Return what holds the large numbers of an autoencoder that overflows in float16: as short as there is."""
    short = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if short else torch.float32


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
        _close_ring(pipeline)
    else:
        cpu, gpu = torch.device("cpu"), torch.device(device)
        pipeline.enable_group_offload(gpu, cpu, offload_type="leaf_level")  # layer by layer: slow, and better than nothing
    pipeline.vae.enable_slicing()
    pipeline.vae.enable_tiling()
    log.info("%s needs %g GiB and has %.1f: its parts take turns", model.name, model.vram, memory)


def _close_ring(pipeline: Any) -> None:
    """Have what comes first send away the network that takes the steps: each part sends away only the one that it follows.

    A pipeline itself clears the GPU after each picture. Here somebody may cancel in the middle, or come while others are drawn.
    """
    network = getattr(pipeline, "unet", None) or pipeline.transformer
    hooks = pipeline._all_hooks  # noqa: SLF001  there is no other way to them
    hooks[0].hook.prev_module_hook = next(hook for hook in hooks if hook.model is network)


def memory_of(device: str) -> float:
    """Return how many GiB a device has; the memory of a computer is not counted."""
    if not device.startswith("cuda"):
        return math.inf
    return torch.cuda.get_device_properties(device).total_memory / GIB


def _size(part: Any) -> float:
    """Return the GiB that the weights of a part of a pipeline take."""
    if not isinstance(part, torch.nn.Module):
        return 0
    return sum(weight.numel() * weight.element_size() for weight in part.parameters()) / GIB


def _quiet() -> None:
    """Leave the terminal to our own progress bar, and the log to what somebody can act on."""
    for library in (diffusers_logging, transformers_logging):
        library.set_verbosity_error()
        library.disable_progress_bar()
