"""Stage three: distil the denoiser to four steps without guidance (distribution matching with a critic, arXiv 2405.14867).

    python -m training.distill --assets DIR --work DIR --seconds 480

The student draws in a few steps, as LCMScheduler will. Where it errs is the difference between two denoisers that look at its
noised pictures: the teacher, with guidance, which knows how scenes look, and a shadow, which learns how the student's look.
The shadow's inner features also feed a critic that tells rendered latents from drawn ones.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from training import checkpoints, denoiser
from training.denoiser import EMPTY, SHAPES, Diffusion, Pool, by_weight, fill_all
from training.models import STEPS, TIMESTEPS, build_denoiser, build_text_encoder, read_text, size_ids
from training.pictures import Studio
from training.stage import Average, Clock, Log, Machine, channels_last, half, placed, rounds, start
from training.tokenizer import encode

NAME = "student"
BATCH = 160
GUIDANCE = 3.0  # the teacher's
RATE, SHADOW_RATE = 1e-4, 2e-4
SHADOW_UPDATES = 2  # for each of the student's
SHADOW_WARM_UP = 120  # updates before the student's first
CRITIC_WEIGHT, CRITIC_SHADOW_WEIGHT = 0.02, 0.05
CRITIC_TIMESTEPS = 600  # the critic looks at latents with at most this much noise
OTHER_SCHEDULES = (1, 2, 3, 6, 8)  # numbers of steps practised now and then
SHAPE_WEIGHTS = (0.9, 0.05, 0.05)
SAVE_EVERY = 120  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a denoiser is told: tokens [batch, context, width], and pooled text with sizes."""

    tokens: Tensor
    conditions: dict[str, Tensor]

    def nothing(self) -> Told:
        """Return the same with zeros for a text."""
        pooled = torch.zeros_like(self.conditions["text_embeds"])
        return Told(tokens=torch.zeros_like(self.tokens), conditions=self.conditions | dict(text_embeds=pooled))

    def first(self, count: int) -> Told:
        """Return the first `count`."""
        return Told(tokens=self.tokens[:count], conditions={key: value[:count] for key, value in self.conditions.items()})


class Seer(nn.Module):
    """A denoiser that returns the clean picture it sees in a noisy one."""

    def __init__(self, denoiser: UNet2DConditionModel, diffusion: Diffusion, *, fast: bool) -> None:
        super().__init__()
        self.denoiser, self._diffusion = denoiser, diffusion
        self._fast: Callable[..., tuple[Tensor]] = torch.compile(denoiser, dynamic=False) if fast else denoiser

    def velocity(self, noisy: Tensor, timesteps: Tensor, told: Told) -> Tensor:
        """Return v, float32."""
        network = self._fast if len(noisy) == BATCH and noisy.shape[2] == noisy.shape[3] else self.denoiser
        with half(noisy.device):
            (guess,) = network(
                channels_last(noisy), timesteps, told.tokens, added_cond_kwargs=told.conditions, return_dict=False
            )
        return guess.float()

    def forward(self, noisy: Tensor, timesteps: Tensor, told: Told) -> Tensor:
        return self._diffusion.clean(noisy, self.velocity(noisy, timesteps, told), timesteps)


class Critic(nn.Module):
    """Judges latents by the shadow's features on the way down; returns one logit a place, [batch, places]."""

    def __init__(self, denoiser: UNet2DConditionModel) -> None:
        super().__init__()
        widths = (*denoiser.config.block_out_channels, denoiser.config.block_out_channels[-1])
        self.heads = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(32, width), nn.SiLU(), nn.Conv2d(width, 128, 3, 1, 1), nn.SiLU(), nn.Conv2d(128, 1, 1))
            for width in widths
        )

    def forward(self, denoiser: UNet2DConditionModel, noisy: Tensor, timesteps: Tensor, told: Told) -> Tensor:
        with half(noisy.device):
            features = self._features(denoiser, channels_last(noisy), timesteps, told)
            logits = [head(feature).flatten(1) for head, feature in zip(self.heads, features, strict=True)]
        return torch.cat([logit.float().mean(1, keepdim=True) for logit in logits], 1)

    @staticmethod
    def _features(denoiser: UNet2DConditionModel, x: Tensor, timesteps: Tensor, told: Told) -> list[Tensor]:
        """Walk down the denoiser as its own forward does."""
        time = denoiser.time_embedding(denoiser.get_time_embed(sample=x, timestep=timesteps))
        time = time + denoiser.get_aug_embed(emb=time, encoder_hidden_states=told.tokens, added_cond_kwargs=told.conditions)
        x, features = denoiser.conv_in(x), []
        for block in denoiser.down_blocks:
            extra = dict(encoder_hidden_states=told.tokens) if getattr(block, "has_cross_attention", False) else {}
            x, states = block(hidden_states=x, temb=time, **extra)
            features.append(states[0])
        return [*features, denoiser.mid_block(x, time, encoder_hidden_states=told.tokens)]


def schedule(steps: int) -> list[int]:
    """Return LCMScheduler's timesteps for a number of steps."""
    return [TIMESTEPS - 1 - math.floor(index * TIMESTEPS / steps) for index in range(steps)]


class Trainer:
    """Student, teacher, shadow and critic."""

    def __init__(self, machine: Machine, tokenizer: CLIPTokenizer, work: Path) -> None:
        self.machine, device = machine, machine.device
        self.diffusion = Diffusion(device)
        taught = checkpoints.load(work, denoiser.NAME)
        network = build_denoiser()
        self.text_encoder = build_text_encoder(tokenizer).to(device).eval().requires_grad_(False)
        checkpoints.restore(taught, denoiser=network, text_encoder=self.text_encoder)
        network = placed(network, device).requires_grad_(False)
        fast = device.type == "cuda"
        self.teacher = Seer(network, self.diffusion, fast=fast)
        self.shadow = Seer(copy.deepcopy(network).requires_grad_(True), self.diffusion, fast=fast)
        self.student = Seer(copy.deepcopy(network).requires_grad_(True), self.diffusion, fast=fast)
        if checkpoints.exists(work, NAME):
            checkpoints.restore(checkpoints.load(work, NAME), denoiser=self.student.denoiser)
        self.critic = Critic(network).to(device)
        self.average = Average(0.997, self.student.denoiser)
        self.empty = encode(tokenizer, [""]).to(device)
        self.steps = 0
        self.mine = list(self.student.denoiser.parameters())
        self.theirs = [*self.shadow.denoiser.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.AdamW(self.mine, RATE, betas=(0.5, 0.99), weight_decay=0.0, fused=fast)
        self.shadow_optimizer = torch.optim.AdamW(self.theirs, SHADOW_RATE, betas=(0.5, 0.99), weight_decay=0.0, fused=fast)

    @torch.no_grad()
    def tell(self, pool: Pool) -> tuple[Tensor, Told]:
        """Return (rendered latents, what is told of them)."""
        latents, ids = pool.draw(BATCH)
        ids = torch.where(torch.rand(BATCH, 1, device=ids.device) < EMPTY, self.empty, ids)
        with half(ids.device):
            tokens, pooled = read_text(self.text_encoder, ids)
        sizes = size_ids(BATCH, pool.height, pool.width, ids.device)
        return latents, Told(tokens=tokens, conditions=dict(text_embeds=pooled, time_ids=sizes))

    @torch.no_grad()
    def _begun(self, like: Tensor, told: Told) -> tuple[Tensor, Tensor]:
        """Draw as the sampler does, up to a step chosen at random; return (noisy latents, timesteps)."""
        others = torch.rand(()).item() < 0.25
        steps = OTHER_SCHEDULES[int(torch.randint(len(OTHER_SCHEDULES), ()))] if others else STEPS
        timesteps = [torch.full((len(like),), t, device=like.device) for t in schedule(steps)]
        chosen = int(torch.randint(steps, ()))
        noisy = torch.randn_like(like)
        for now, following in itertools.pairwise(timesteps[: chosen + 1]):
            noisy = self.diffusion.add(self.student(noisy, now, told), torch.randn_like(like), following)
        return noisy, timesteps[chosen]

    def _noised(self, clean: Tensor, low: int, high: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return (noisy, noise, timesteps) at random timesteps."""
        timesteps = torch.randint(low, high, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        return self.diffusion.add(clean, noise, timesteps), noise, timesteps

    def _matching_loss(self, drawn: Tensor, told: Told) -> Tensor:
        """Return a loss whose gradient leads from the shadow's view to the guided teacher's."""
        with torch.no_grad():
            noisy, _, timesteps = self._noised(drawn, 20, 980)
            prompted, free = self.teacher(noisy, timesteps, told), self.teacher(noisy, timesteps, told.nothing())
            wanted = free + GUIDANCE * (prompted - free)
            seen = self.shadow(noisy, timesteps, told)
            scale = (drawn - wanted).abs().mean((1, 2, 3), keepdim=True).clamp(min=0.02)
            target = drawn - (seen - wanted) / scale
        return 0.5 * F.mse_loss(drawn, target)

    def _unprompted_loss(self, latents: Tensor, told: Told) -> Tensor:
        """Keep the student's guess for no text what it was, so that guidance still has something to lead away from."""
        few = latents[: BATCH // 4]
        noisy, noise, timesteps = self._noised(few, 0, TIMESTEPS)
        guess = self.student.velocity(noisy, timesteps, told.nothing().first(len(few)))
        return F.mse_loss(guess, self.diffusion.velocity(few, noise, timesteps))

    def teach_student(self, pool: Pool, share: float) -> dict[str, Tensor]:
        """Take one step of the student."""
        self.steps += 1
        decay = 1 if share < 0.5 else 0.5 + 0.5 * math.cos(math.pi * (share - 0.5) / 0.5)
        self.optimizer.param_groups[0]["lr"] = RATE * min(1.0, self.steps / 50) * max(decay, 0.02)
        latents, told = self.tell(pool)
        drawn = self.student(*self._begun(latents, told), told)
        matching = self._matching_loss(drawn, told)
        noisy, _, timesteps = self._noised(drawn, 0, CRITIC_TIMESTEPS)
        doubt = F.softplus(-self.critic(self.shadow.denoiser, noisy, timesteps, told)).mean()
        unprompted = self._unprompted_loss(latents, told)
        loss = matching + CRITIC_WEIGHT * doubt + 0.25 * unprompted
        self._descend(self.optimizer, self.mine, loss)
        self.average.update()
        return dict(doubt=doubt.detach(), unprompted=unprompted.detach())

    def teach_shadow(self, pool: Pool) -> dict[str, Tensor]:
        """Let the shadow and the critic look at what the student draws now."""
        latents, told = self.tell(pool)
        with torch.no_grad():
            drawn = self.student(*self._begun(latents, told), told)
        noisy, noise, timesteps = self._noised(drawn, 0, TIMESTEPS)
        guess = self.shadow.velocity(noisy, timesteps, told)
        shadow = F.mse_loss(guess, self.diffusion.velocity(drawn, noise, timesteps))
        noisy, _, timesteps = self._noised(drawn, 0, CRITIC_TIMESTEPS)
        real = self.diffusion.add(latents, torch.randn_like(latents), timesteps)
        look = self.shadow.denoiser
        fake_logits = self.critic(look, noisy, timesteps, told)
        critic = F.softplus(fake_logits).mean() + F.softplus(-self.critic(look, real, timesteps, told)).mean()
        self._descend(self.shadow_optimizer, self.theirs, shadow + CRITIC_SHADOW_WEIGHT * critic)
        return dict(shadow=shadow.detach(), critic=critic.detach())

    def _descend(self, optimizer: torch.optim.Optimizer, parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)  # leaves the other network alone
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.machine.average_gradients(parameters)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    def save(self, work: Path) -> None:
        """Write the averaged student."""
        checkpoints.save(work, NAME, checkpoints.state(denoiser=self.average.modules[0]))


def train(trainer: Trainer, pools: Sequence[Pool], log: Log, options: argparse.Namespace) -> None:
    """Alternate for `--seconds`, saving now and then and at the end."""
    clock = Clock(options.seconds)
    for _ in range(SHADOW_WARM_UP):
        trainer.teach_shadow(pools[0])
    turns = rounds(trainer.machine, clock, lambda _: trainer.save(options.work), SAVE_EVERY)
    for elapsed, pool in zip(turns, by_weight(pools, SHAPE_WEIGHTS, seed=3), strict=False):
        figures = trainer.teach_student(pool, elapsed / options.seconds)
        for _ in range(SHADOW_UPDATES):
            figures |= trainer.teach_shadow(pool)
        if log.due(elapsed):
            log.write("step", step=trainer.steps, spent=round(elapsed), **{k: round(v.item(), 4) for k, v in figures.items()})
    log.write("done", step=trainer.steps)


def main() -> None:
    """Fill the pools, distil, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--pool", type=int, default=60_000, help="latents for each process")
    options = parser.parse_args()
    machine = start(seed=3)
    log = Log(machine, options.work / "distill.jsonl")
    tokenizer = CLIPTokenizer.from_pretrained(options.work / "tokenizer")
    trainer = Trainer(machine, tokenizer, options.work)
    studio = Studio(options.assets, machine.device, seed=77_000 + machine.rank)
    pools = fill_all(studio, options.work, tokenizer, options.pool)
    log.write("pool", latents=sum(len(pool.latents) for pool in pools), shapes=len(SHAPES))
    train(trainer, pools, log, options)


if __name__ == "__main__":
    main()
