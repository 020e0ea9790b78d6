"""What every training stage shares: the machine, the clock, the log, averaged weights."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
TELL_EVERY = 15  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """This process among its peers, one for each GPU (or one CPU process, for a trial)."""

    rank: int
    peers: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Average the gradients over all processes, in one message."""
        if self.peers == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.peers
        parts = torch.split(flat, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)])

    def agree(self, number: float) -> float:
        """Return the first process's number, so that timed loops end together."""
        if self.peers == 1:
            return number
        shared = torch.tensor([number], device=self.device, dtype=torch.float64)
        dist.broadcast(shared, 0)
        return float(shared.item())

    def wait(self) -> None:
        """Wait for the others."""
        if self.peers > 1:
            dist.barrier()


def start(seed: int) -> Machine:
    """Join the other processes (torchrun sets the environment) and seed the random numbers."""
    rank, peers, local = (
        int(os.environ.get(key, default)) for key, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if torch.cuda.is_available():
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    else:
        device = torch.device("cpu")
    if peers > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(seed * 64 + rank)
    return Machine(rank=rank, peers=peers, device=device)


class Clock:
    """Seconds since the start of a stage, and the share of its time that has passed."""

    def __init__(self, seconds: float) -> None:
        self._start, self.seconds = time.monotonic(), seconds

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """Elapsed over allowed, 1 when time is up."""
        return self.elapsed / self.seconds


def rounds(machine: Machine, clock: Clock, save: Callable[[float], None], every: float) -> Iterator[float]:
    """Yield the seconds so far until time is up, the same to every process; save now and then and at the end."""
    saved = 0.0
    while (elapsed := machine.agree(clock.elapsed)) < clock.seconds:
        yield elapsed
        if elapsed - saved > every:
            saved = elapsed
            if machine.leads:
                save(elapsed)
    if machine.leads:
        save(clock.elapsed)
    machine.wait()


class Log:
    """Prints figures, and keeps them as JSON lines for the curve."""

    def __init__(self, machine: Machine, path: Path) -> None:
        self._machine, self._path, self._start = machine, path, time.monotonic()
        self._told = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)

    def due(self, elapsed: float) -> bool:
        """Say whether it is time for another line, `elapsed` seconds after the start of a stage."""
        due = elapsed - self._told > TELL_EVERY
        self._told = elapsed if due else self._told
        return due

    def write(self, event: str, **figures: Any) -> None:
        """Record one line, from the first process only."""
        if not self._machine.leads:
            return
        line = dict(event=event, seconds=round(time.monotonic() - self._start, 1), **figures)
        print(json.dumps(line), flush=True)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Average:
    """An exponential moving average of weights."""

    def __init__(self, decay: float, *modules: nn.Module) -> None:
        self._decay, self.updates = decay, 0
        self._followed = modules
        self.modules = [copy.deepcopy(module).eval().requires_grad_(False) for module in modules]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the followed weights; early on, faster."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for average, followed in zip(self.modules, self._followed, strict=True):
            torch._foreach_lerp_(list(average.parameters()), [p.detach() for p in followed.parameters()], 1 - decay)


def half(device: torch.device) -> torch.autocast:
    """Compute in bfloat16."""
    return torch.autocast(device.type, dtype=torch.bfloat16)


def placed(module: Module, device: torch.device) -> Module:
    """Move a network of convolutions to the device, laid out as they like it best."""
    module.to(device)
    module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks the argument
    return module


def channels_last(image: Tensor) -> Tensor:
    """Lay out as convolutions like it best."""
    return image.contiguous(memory_format=torch.channels_last)
