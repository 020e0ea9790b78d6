"""Stage one: the autoencoder, trained on rendered scenes against a critic that looks at patches.

    python -m training.autoencoder --assets DIR --work DIR --seconds 280
    python -m training.autoencoder --assets DIR --work DIR --seconds 200 --polish     (the decoder alone; latents stay)

Latents have zero mean and unit variance in every channel (a batch norm, folded into the encoder at the end), survive noise,
and survive being shrunk: half-size latents must decode to the half-size picture, which makes them easier to denoise
(EQ-VAE, arXiv 2502.09509).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor, nn

from training import checkpoints
from training.models import LATENT_CHANNELS, build_autoencoder
from training.pictures import Studio, signed
from training.stage import Average, Clock, Log, Machine, channels_last, half, placed, start

NAME = "autoencoder"
POOL = 32_768  # pictures
CROP = 128  # pixels
BATCH = 160  # crops
RATE, POLISH_RATE, CRITIC_RATE = 1.2e-3, 6e-4, 4e-4
CRITIC_FROM = 0.25  # share of the time after which the critic speaks
TESTED = 256  # pictures that the reconstruction is measured on
NOISE = 0.08  # standard deviation of the noise on latents
SHRINK_EVERY = 4  # steps
EDGE_WEIGHT, CRITIC_WEIGHT, FEATURE_WEIGHT = 0.8, 0.25, 0.3


class Critic(nn.Module):
    """Says of each patch whether it looks rendered; returns [batch, 1, h, w] and its features on the way."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 4 * width)
        strides = (2, 2, 2, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, stride, 1), nn.GroupNorm(1, b), nn.LeakyReLU(0.2))
            for a, b, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.last = nn.Conv2d(widths[-1], 1, 3, 1, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        features = []
        for block in self.blocks:
            image = block(image)
            features.append(image)
        return self.last(image), features


class Coder(nn.Module):
    """The autoencoder with normalised latents."""

    def __init__(self) -> None:
        super().__init__()
        self.autoencoder = build_autoencoder()
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(LATENT_CHANNELS, affine=False, momentum=0.02)

    def forward(self, image: Tensor, *, shrink: bool) -> tuple[Tensor, Tensor]:
        """Return (latents, picture of the noisy latents); with `shrink`, of half-size latents."""
        latents = self.norm(self.autoencoder.encoder(image).float())
        seen = F.avg_pool2d(latents, 2) if shrink else latents
        return latents, self.autoencoder.decoder(seen + NOISE * torch.randn_like(seen))

    def keep_latents(self, autoencoder: AutoencoderTiny) -> None:
        """Go on from a folded autoencoder, with its encoder as it is."""
        self.autoencoder.load_state_dict(autoencoder.state_dict())
        self.autoencoder.encoder.requires_grad_(False)
        self.norm = nn.Identity()

    @torch.no_grad()
    def fold(self) -> AutoencoderTiny:
        """Return the plain autoencoder, the norm folded into its encoder's last convolution."""
        if isinstance(self.norm, nn.Identity):
            return self.autoencoder
        assert self.norm.running_var is not None
        assert self.norm.running_mean is not None
        last = self.autoencoder.encoder.layers[-1]
        scale = (self.norm.running_var + self.norm.eps).rsqrt()
        last.weight.mul_(scale.view(-1, 1, 1, 1))
        last.bias.sub_(self.norm.running_mean).mul_(scale)
        return self.autoencoder


def edges(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences between neighbours."""
    return image[..., :, 1:] - image[..., :, :-1], image[..., 1:, :] - image[..., :-1, :]


def likeness_loss(made: Tensor, image: Tensor) -> Tensor:
    """Compare colours and edges."""
    loss = (made - image).abs().mean() + 1.5 * ((made - image) ** 2).mean()
    for a, b in zip(edges(made), edges(image), strict=True):
        loss = loss + EDGE_WEIGHT * (a - b).abs().mean()
    return loss


def correlation_loss(latents: Tensor) -> Tensor:
    """Punish channels that repeat one another."""
    correlation = torch.corrcoef(latents.permute(1, 0, 2, 3).flatten(1))
    return (correlation - torch.eye(len(correlation), device=latents.device)).pow(2).mean()


class Trainer:
    """The coder and its critic, one step at a time."""

    def __init__(self, machine: Machine, polished: AutoencoderTiny | None) -> None:
        self.machine, self.polishes = machine, polished is not None
        self.coder = placed(Coder(), machine.device)
        if polished is not None:
            self.coder.keep_latents(polished)
        self.critic = placed(Critic(), machine.device)
        fused = machine.device.type == "cuda"
        self.optimizer = torch.optim.AdamW(self.coder.parameters(), RATE, betas=(0.9, 0.99), weight_decay=1e-4, fused=fused)
        self.critic_optimizer = torch.optim.AdamW(self.critic.parameters(), CRITIC_RATE, betas=(0.5, 0.9), fused=fused)
        self.average = Average(0.999, self.coder)
        self.steps = 0

    def step(self, image: Tensor, share: float) -> dict[str, Tensor]:
        """Train on crops [batch, 3, CROP, CROP] in [-1, 1]."""
        self.steps += 1
        rate = min(1, self.steps / 100) * (0.5 + 0.5 * math.cos(math.pi * share))
        self.optimizer.param_groups[0]["lr"] = (POLISH_RATE if self.polishes else RATE) * rate
        shrink = not self.polishes and self.steps % SHRINK_EVERY == 0
        criticised = self.polishes or (share > CRITIC_FROM and not shrink)
        with half(self.machine.device):
            latents, made = self.coder(image, shrink=shrink)
        target = F.avg_pool2d(image, 2) if shrink else image
        loss = likeness_loss(made.float(), target) + 0.1 * correlation_loss(latents)
        figures = {"likeness": loss.detach()}
        if criticised:
            loss = loss + self._criticism(made, image, loss)
        self._descend(self.optimizer, self.coder, loss)
        self.average.update()
        for mine, average in zip(self.coder.buffers(), self.average.modules[0].buffers(), strict=True):
            average.copy_(mine)
        if criticised:
            figures["critic"] = self._teach_critic(made.detach(), image)
        return figures

    def _criticism(self, made: Tensor, image: Tensor, loss: Tensor) -> Tensor:
        """Return the critic's part of the loss, in proportion to the rest at the decoder's last layer."""
        with half(self.machine.device):
            verdict, features = self.critic(made)
            with torch.no_grad():
                _, wanted = self.critic(image)
        gaps = [(a.float() - b.float()).abs().mean() for a, b in zip(features, wanted, strict=True)]
        matching = torch.stack(gaps).mean()
        likeness, last = loss + FEATURE_WEIGHT * matching, self.coder.autoencoder.decoder.layers[-1].weight
        doubt = -verdict.float().mean()
        (of_likeness,) = torch.autograd.grad(likeness, last, retain_graph=True)
        (of_doubt,) = torch.autograd.grad(doubt, last, retain_graph=True)
        weight = (of_likeness.norm() / (of_doubt.norm() + 1e-6)).clamp(0, 100).detach()
        criticism: Tensor = FEATURE_WEIGHT * matching + CRITIC_WEIGHT * weight * doubt
        return criticism

    def _teach_critic(self, made: Tensor, image: Tensor) -> Tensor:
        with half(self.machine.device):
            real, fake = self.critic(image)[0].float(), self.critic(made)[0].float()
        loss = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        self._descend(self.critic_optimizer, self.critic, loss)
        return loss.detach()

    @staticmethod
    def _descend(optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()


def crops(pool: Tensor) -> Tensor:
    """Return random crops of random pictures, [BATCH, 3, CROP, CROP]."""
    top, left = torch.randint(0, pool.shape[2] - CROP + 1, (2,)).tolist()
    index = torch.randint(0, len(pool), (BATCH,), device=pool.device)
    return channels_last(signed(pool[index, :, top : top + CROP, left : left + CROP]))


@torch.no_grad()
def fidelity(autoencoder: AutoencoderTiny, pictures: Tensor) -> dict[str, float]:
    """Return the reconstruction's PSNR (dB) and the sharpness of its edges, 1 being the original's."""
    image = signed(pictures)
    with half(image.device):
        made = autoencoder.decoder(autoencoder.encoder(image)).float().clamp(-1, 1)
    psnr = 10 * torch.log10(4 / (made - image).pow(2).mean((1, 2, 3)))
    strength = [sum(edge.pow(2).mean() for edge in edges(x)) for x in (made, image)]
    return dict(psnr=round(psnr.mean().item(), 2), sharpness=round(float(strength[0] / strength[1]), 3))


def load(folder: Path, device: torch.device) -> AutoencoderTiny:
    """Return the trained autoencoder, frozen."""
    autoencoder = build_autoencoder()
    checkpoints.restore(checkpoints.load(folder, NAME), autoencoder=autoencoder)
    return placed(autoencoder, device).eval().requires_grad_(False)


def main() -> None:
    """Train for a while, then save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=280)
    parser.add_argument("--pool", type=int, default=POOL)
    parser.add_argument("--polish", action="store_true")
    options = parser.parse_args()
    machine = start(seed=1)
    log = Log(machine, options.work / "autoencoder.jsonl")
    studio = Studio(options.assets, machine.device, seed=1, hold_out=False)
    pool = torch.cat([batch.pictures for batch in studio.batches(options.pool)])
    before = load(options.work, machine.device) if options.polish else None
    trainer, clock = Trainer(machine, before), Clock(options.seconds)
    log.write("pool", pictures=len(pool))
    while clock.share < 1:
        figures = trainer.step(crops(pool), clock.share)
        if trainer.steps % 250 == 0:
            values = {name: round(value.item(), 4) for name, value in figures.items()}
            log.write("step", step=trainer.steps, crops_a_second=round(trainer.steps * BATCH / clock.elapsed), **values)
    coder = trainer.average.modules[0]
    assert isinstance(coder, Coder)
    autoencoder = coder.fold().eval()
    log.write("done", steps=trainer.steps, **fidelity(autoencoder, studio.batch(TESTED).pictures))
    checkpoints.save(options.work, NAME, checkpoints.state(autoencoder=autoencoder))


if __name__ == "__main__":
    main()
