"""Stage two: the denoiser and its text encoder, trained together on latents of rendered scenes.

    python -m training.denoiser --assets DIR --work DIR --seconds 420 --until 840
    torchrun --nproc-per-node 4 -m training.denoiser …          (one process for each GPU)

`--until` is the whole training's length, which the learning rate follows. A call trains for `--seconds` and saves; the next
goes on from there.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import autoencoder, checkpoints
from training.models import (
    TIMESTEPS,
    build_denoiser,
    build_text_encoder,
    noise_levels,
    read_text,
    size_ids,
)
from training.muon import Muon
from training.pictures import Studio, signed
from training.stage import Average, Clock, Log, Machine, channels_last, half, placed, rounds, start
from training.tokenizer import CONTEXT, encode

NAME = "denoiser"
SHAPES = ((256, 256), (224, 320), (320, 224))  # pixels, height and width
SHAPE_WEIGHTS = (0.88, 0.06, 0.06)
BATCH = 512  # pictures for each process
RATE = 8e-4
WARM_UP = 200  # steps
SAVE_EVERY = 180  # seconds
UNPROMPTED = 0.1  # share of pictures shown with zeros for a text: what guidance compares with
EMPTY = 0.03  # share shown with an empty prompt: a picture of anything


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Latents float16 [count, channels, height, width] of one shape, and token ids int16 [count, CONTEXT]."""

    latents: Tensor
    ids: Tensor
    height: int  # pixels
    width: int

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Return random (latents float32, ids int64)."""
        index = torch.randint(0, len(self.latents), (count,), device=self.latents.device)
        return self.latents[index].float(), self.ids[index].long()


@torch.no_grad()
def fill(studio: Studio, coder: AutoencoderTiny, tokenizer: CLIPTokenizer, shape: tuple[int, int], count: int) -> Pool:
    """Render, encode and tokenize `count` scenes of one shape."""
    latents, ids = [], []
    for batch in studio.batches(count, *shape):
        with half(studio.renderer.device):
            latents.append(coder.encoder(channels_last(signed(batch.pictures))).half())
        ids.append(encode(tokenizer, [scene.caption for scene in batch.scenes]).to(torch.int16))
    return Pool(latents=torch.cat(latents), ids=torch.cat(ids).to(studio.renderer.device), height=shape[0], width=shape[1])


def fill_all(studio: Studio, run: Path, tokenizer: CLIPTokenizer, count: int) -> list[Pool]:
    """Return a pool for each shape."""
    coder = autoencoder.load(run, studio.renderer.device)
    return [
        fill(studio, coder, tokenizer, shape, round(count * weight))
        for shape, weight in zip(SHAPES, SHAPE_WEIGHTS, strict=True)
    ]


def by_weight(pools: Sequence[Pool], weights: Sequence[float], seed: int) -> Iterator[Pool]:
    """Yield pools at random without end, each as often as its weight says; the same ones to every process."""
    order = torch.Generator().manual_seed(seed)
    while True:
        yield pools[int(torch.multinomial(torch.tensor(weights), 1, generator=order))]


class Diffusion:
    """Noise, and what undoes it: x_t = signal · x_0 + noise · e, v = signal · e - noise · x_0."""

    def __init__(self, device: torch.device) -> None:
        levels = noise_levels(device)
        self._signal, self._noise = levels.sqrt(), (1 - levels).sqrt()

    def at(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        """Return (signal, noise), each [batch, 1, 1, 1]."""
        return self._signal[timesteps].view(-1, 1, 1, 1), self._noise[timesteps].view(-1, 1, 1, 1)

    def add(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return x_t."""
        signal, level = self.at(timesteps)
        return signal * clean + level * noise

    def velocity(self, clean: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return v."""
        signal, level = self.at(timesteps)
        return signal * noise - level * clean

    def clean(self, noisy: Tensor, velocity: Tensor, timesteps: Tensor) -> Tensor:
        """Return x_0 from x_t and v."""
        signal, level = self.at(timesteps)
        return signal * noisy - level * velocity


def optimizers(modules: Sequence[nn.Module], rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside, AdamW for the rest."""
    matrices, rest = list[nn.Parameter](), list[nn.Parameter]()
    for module in modules:
        for name, parameter in module.named_parameters():
            inner = parameter.ndim >= 2 and not any(part in name for part in ("embedding", "conv_in", "conv_out"))
            (matrices if inner else rest).append(parameter)
    fused = matrices[0].is_cuda
    return [
        Muon(matrices, rate, weight_decay=0.02),
        torch.optim.AdamW(rest, rate, betas=(0.9, 0.98), weight_decay=0.0, fused=fused),
    ]


class Trainer:
    """Denoiser, text encoder, their average, one step at a time."""

    def __init__(self, machine: Machine, tokenizer: CLIPTokenizer, run: Path) -> None:
        self.machine, self.diffusion = machine, Diffusion(machine.device)
        self.denoiser = placed(build_denoiser(), machine.device)
        self.text_encoder = build_text_encoder(tokenizer).to(machine.device)
        self.spent, self.steps = 0.0, 0  # seconds and steps of earlier calls
        if checkpoints.exists(run, NAME):
            saved = checkpoints.load(run, NAME)
            checkpoints.restore(saved, denoiser=self.denoiser, text_encoder=self.text_encoder)
            self.spent, self.steps = float(saved["spent"]), int(saved["steps"])
        self.empty = encode(tokenizer, [""]).to(machine.device)
        self.parameters = [*self.denoiser.parameters(), *self.text_encoder.parameters()]
        for parameter in self.parameters if machine.peers > 1 else ():
            torch.distributed.broadcast(parameter.data, 0)
        self.optimizers = optimizers([self.denoiser, self.text_encoder], RATE)
        self.average = Average(0.9985, self.denoiser, self.text_encoder)
        self._warm = 0
        self._fast: Callable[..., tuple[Tensor]] = self.denoiser
        if machine.device.type == "cuda":
            self._fast = torch.compile(self.denoiser, dynamic=False)  # for squares; the rest is too rare to compile for

    def resume(self, file: Path) -> None:
        """Go on exactly where this machine stopped, if its file is here."""
        if not file.exists():
            return
        saved = torch.load(file, map_location=self.machine.device)
        for module, weights in zip(self._modules, saved["modules"], strict=True):
            module.load_state_dict(weights)
        for optimizer, moments in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(moments)
        self._warm, self.average.updates = saved["warm"], saved["updates"]

    @property
    def _modules(self) -> list[nn.Module]:
        return [self.denoiser, self.text_encoder, *self.average.modules]

    def save(self, run: Path, local: Path, spent: float) -> None:
        """Write the averaged weights to travel, and everything for this machine's next call."""
        denoiser, text_encoder = self.average.modules
        progress = dict(spent=torch.tensor(spent, dtype=torch.float64), steps=torch.tensor(self.steps))
        checkpoints.save(run, NAME, checkpoints.state(denoiser=denoiser, text_encoder=text_encoder) | progress)
        exact = dict(
            modules=[module.state_dict() for module in self._modules],
            optimizers=[optimizer.state_dict() for optimizer in self.optimizers],
            warm=self._warm,
            updates=self.average.updates,
        )
        torch.save(exact, local)

    def _loss(self, clean: Tensor, noise: Tensor, timesteps: Tensor, ids: Tensor, told: Tensor, sizes: Tensor) -> Tensor:
        """Return the squared error of v; `told` [batch, 1] is 0 where the text is to be zeros."""
        with half(clean.device):
            tokens, pooled = read_text(self.text_encoder, ids)
            conditions = dict(text_embeds=pooled * told, time_ids=sizes)
            noisy = channels_last(self.diffusion.add(clean, noise, timesteps))
            denoiser = self._fast if clean.shape[2] == clean.shape[3] else self.denoiser
            (guess,) = denoiser(noisy, timesteps, tokens * told[:, :, None], added_cond_kwargs=conditions, return_dict=False)
        return F.mse_loss(guess.float(), self.diffusion.velocity(clean, noise, timesteps))

    def step(self, pool: Pool, share: float) -> Tensor:
        """Train on one batch."""
        self._warm, self.steps = self._warm + 1, self.steps + 1
        rate = min(1.0, self._warm / WARM_UP) * (1 if share < 0.4 else 0.5 + 0.5 * math.cos(math.pi * (share - 0.4) / 0.6))
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = max(RATE * rate, 1e-6)
            optimizer.zero_grad(set_to_none=True)
        clean, ids = pool.draw(BATCH)
        chance = torch.rand(len(ids), 1, device=ids.device)
        ids = torch.where(chance < EMPTY, self.empty, ids)
        told = (chance < 1 - UNPROMPTED).float()
        timesteps = torch.randint(0, TIMESTEPS, (len(ids),), device=ids.device)
        sizes = size_ids(len(ids), pool.height, pool.width, ids.device)
        loss = self._loss(clean, torch.randn_like(clean), timesteps, ids, told, sizes)
        torch.autograd.backward(loss)
        self.machine.average_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update()
        return loss.detach()


def train(trainer: Trainer, pools: Sequence[Pool], log: Log, options: argparse.Namespace) -> None:
    """Train for `--seconds` of the `--until` that the whole takes, saving now and then and at the end."""
    before, first, mean = trainer.spent, trainer.steps, torch.zeros((), device=trainer.machine.device)
    turns = rounds(
        trainer.machine,
        Clock(options.seconds),
        lambda elapsed: trainer.save(options.work, options.local, before + elapsed),
        SAVE_EVERY,
    )
    for elapsed, pool in zip(turns, by_weight(pools, SHAPE_WEIGHTS, seed=first), strict=False):
        loss = trainer.step(pool, min(1.0, (before + elapsed) / options.until))
        mean = loss if trainer.steps == first + 1 else mean * 0.98 + loss * 0.02
        if log.due(elapsed):
            seen = (trainer.steps - first) * BATCH * trainer.machine.peers
            log.write(
                "step",
                step=trainer.steps,
                loss=round(float(mean), 4),
                pictures_a_second=round(seen / elapsed),
                spent=round(before + elapsed),
            )


def main() -> None:
    """Fill the pools, train, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--local", type=Path, default=Path(tempfile.gettempdir(), "denoiser.pt"))
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--until", type=float, required=True)
    parser.add_argument("--pool", type=int, default=300_000, help="latents for each process")
    options = parser.parse_args()
    machine = start(seed=2)
    log = Log(machine, options.work / "denoiser.jsonl")
    tokenizer = CLIPTokenizer.from_pretrained(options.work / "tokenizer")
    trainer = Trainer(machine, tokenizer, options.work)
    trainer.resume(options.local)
    studio = Studio(options.assets, machine.device, seed=1000 * trainer.steps + machine.rank)
    pools = fill_all(studio, options.work, tokenizer, options.pool)
    log.write("pool", latents=sum(len(pool.latents) for pool in pools) * machine.peers, context=CONTEXT)
    train(trainer, pools, log, options)


if __name__ == "__main__":
    main()
