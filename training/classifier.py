"""The judge: a classifier that says what is in a picture. It is trained on rendered scenes alone and never sees a drawn one.

python -m training.classifier --assets DIR --work DIR --seconds 240
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training import checkpoints
from training.pictures import Studio, signed
from training.scenes import KINDS, STYLE_NAMES, TINTS, Scene
from training.stage import Clock, Log, channels_last, half, placed, start

NAME = "classifier"
SIZE = 128  # pixels it looks at
WIDTHS = (64, 128, 256, 384)
POOL = 65_536  # pictures kept
BATCH, STEPS_A_CHUNK = 256, 5
RATE = 2e-3
COUNTS = 5  # nothing to four things
COLOURLESS = ("bw", "vintage", "sketch", "neon")  # styles that hide a tint
SKIP = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What is there: subjects float [batch, concepts] summing to 1 or 0; the rest int64 [batch], SKIP where unseen."""

    subjects: Tensor
    background: Tensor
    style: Tensor
    tint: Tensor
    count: Tensor

    def at(self, index: Tensor) -> Labels:
        """Return some of them."""
        return Labels(**{name: getattr(self, name)[index] for name in self.__slots__})


def labels(scenes: Sequence[Scene], concepts: int, device: torch.device) -> Labels:
    """Read the labels off the scenes."""
    subjects = torch.zeros(len(scenes), concepts)
    for row, scene in enumerate(scenes):
        for subject in scene.subjects:
            subjects[row, subject.concept] = 1 / len(scene.subjects)
    visible = [len(scene.subjects) == 1 and scene.style not in COLOURLESS for scene in scenes]
    tints = [TINTS.index(scene.tint) if scene.tint else len(TINTS) for scene in scenes]
    columns = dict(
        background=[KINDS.index(scene.kind) for scene in scenes],
        style=[STYLE_NAMES.index(scene.style) for scene in scenes],
        tint=[tint if seen else SKIP for tint, seen in zip(tints, visible, strict=True)],
        count=[scene.count for scene in scenes],
    )
    return Labels(
        subjects=subjects.to(device), **{name: torch.tensor(column, device=device) for name, column in columns.items()}
    )


class Block(nn.Module):
    """A residual block that may halve the picture."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.SiLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.body(x) + self.skip(x))


class Classifier(nn.Module):
    """Reads pictures [batch, 3, SIZE, SIZE] in [-1, 1]; returns logits by name."""

    def __init__(self, concepts: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.SiLU()]
        inputs = WIDTHS[0]
        for width in WIDTHS:
            blocks += [Block(inputs, width, 1 if width == WIDTHS[0] else 2), Block(width, width, 1)]
            inputs = width
        self.trunk = nn.Sequential(*blocks)
        outputs = dict(subjects=concepts, background=len(KINDS), style=len(STYLE_NAMES), tint=len(TINTS) + 1, count=COUNTS)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * inputs, size) for name, size in outputs.items()})

    def forward(self, picture: Tensor) -> dict[str, Tensor]:
        found = self.trunk(picture)
        pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1)
        return {name: head(pooled) for name, head in self.heads.items()}


def small(pictures: Tensor) -> Tensor:
    """Scale pictures of any size to what the classifier looks at."""
    return F.interpolate(pictures, size=(SIZE, SIZE), mode="area")


def roughened(picture: Tensor, rng: random.Random) -> Tensor:
    """Shift, blur and add noise, so that the judge minds the subject and not the pixels."""
    picture = torch.roll(picture, (rng.randint(-6, 6), rng.randint(-6, 6)), (2, 3))
    if rng.random() < 0.4:
        less = F.interpolate(picture, scale_factor=rng.choice([0.5, 0.7]), mode="area")
        picture = F.interpolate(less, size=(SIZE, SIZE), mode="bilinear")
    return picture + rng.choice([0.0, 0.04, 0.1]) * torch.randn_like(picture)


def loss_of(logits: dict[str, Tensor], truth: Labels) -> Tensor:
    """Add up the heads' losses; pictures without subjects do not count for the first."""
    present = truth.subjects.sum(1)
    subjects = -(F.log_softmax(logits["subjects"].float(), 1) * truth.subjects).sum() / present.sum().clamp(min=1)
    weights = dict(background=0.5, style=0.3, tint=0.4, count=0.3)
    return subjects + sum(
        weight * F.cross_entropy(logits[name].float(), getattr(truth, name), ignore_index=SKIP)
        for name, weight in weights.items()
    )


class Pool:
    """The last POOL rendered pictures, uint8, and their labels."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._pictures, self._labels = studio, list[Tensor](), list[Labels]()

    def grow(self) -> None:
        """Render one more chunk, forget the oldest."""
        (batch,), concepts = self._studio.batches(1), len(self._studio.composer.concepts)
        self._pictures.append((small(batch.pictures.float()) + 0.5).to(torch.uint8))
        self._labels.append(labels(batch.scenes, concepts, batch.pictures.device))
        if len(self._pictures) * len(batch.scenes) > POOL:
            del self._pictures[0], self._labels[0]

    def draw(self, rng: random.Random) -> tuple[Tensor, Labels]:
        """Return a batch, half of it from each of two chunks."""
        chunks = [rng.randrange(len(self._pictures)) for _ in range(2)]
        index = [torch.randperm(len(self._pictures[c]), device=self._pictures[c].device)[: BATCH // 2] for c in chunks]
        halves = [self._labels[c].at(i) for c, i in zip(chunks, index, strict=True)]
        both = {name: torch.cat([getattr(part, name) for part in halves]) for name in Labels.__slots__}
        return torch.cat([self._pictures[c][i] for c, i in zip(chunks, index, strict=True)]), Labels(**both)


def load(work: Path, concepts: int, device: torch.device) -> Classifier:
    """Return the trained judge."""
    classifier = Classifier(concepts)
    checkpoints.restore(checkpoints.load(work, NAME), classifier=classifier)
    return classifier.to(device).eval()


def main() -> None:
    """Train for a while, then save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=240)
    options = parser.parse_args()
    machine, rng = start(seed=9), random.Random(9)
    log = Log(machine, options.work / "classifier.jsonl")
    studio = Studio(options.assets, machine.device, seed=999_000, hold_out=False)
    classifier = placed(Classifier(len(studio.composer.concepts)), machine.device)
    optimizer = torch.optim.AdamW(classifier.parameters(), RATE, weight_decay=0.03)
    pool, clock, steps = Pool(studio), Clock(options.seconds), 0
    while clock.share < 1:
        pool.grow()
        for _ in range(STEPS_A_CHUNK):
            steps += 1
            optimizer.param_groups[0]["lr"] = RATE * min(1.0, steps / 100) * max(1 - clock.share, 0.005)
            pictures, truth = pool.draw(rng)
            with half(machine.device):
                logits = classifier(channels_last(roughened(signed(pictures), rng)))
            loss = loss_of(logits, truth)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
        if steps % 500 == 0:
            log.write("step", step=steps, loss=round(loss.item(), 3), spent=round(clock.elapsed))
    log.write("done", step=steps)
    checkpoints.save(options.work, NAME, checkpoints.state(classifier=classifier))


if __name__ == "__main__":
    main()
