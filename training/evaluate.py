"""Measure a pipeline: does it draw what the prompt says, and does it look like a rendered scene?

    python -m training.evaluate --assets DIR --work DIR --pipeline DIR --steps 4 --guidance 1 --out results.json

The judge is `training.classifier`. Beside every score stand its ceiling (the same scenes, rendered) and a control (the drawn
pictures, judged by one another's prompts). Prompts name every concept equally often. A combination is held out if training
never rendered it; the patch distance is Fréchet's, between 8×8 patches, in units of the rendered patches' own spread.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image
from torch import Tensor

from training.classifier import SKIP, Classifier, labels, load, small
from training.render import Renderer, to_image
from training.scenes import BACKGROUNDS, STYLE_NAMES, TINTS, Composer, Scene, Wish, held_out, load_concepts

SIZE = 256  # pixels
BATCH = 64
PATCH = 8  # pixels
PATCHES = 100  # of each picture
FAINT = (2 / 255) ** 2  # variance added to every direction, so that invisible differences do not count
PAIRS = ("left", "right", "above", "under")
NEAR = 0.52  # side of the square looked at for one of a pair, as a share of the picture


def _any(rng: random.Random, composer: Composer) -> int:
    return rng.randrange(len(composer.concepts))


def _background(rng: random.Random, composer: Composer) -> Wish:
    return Wish(concepts=(_any(rng, composer),), kind=rng.choice(list(BACKGROUNDS)), style="3d")


def _tint(rng: random.Random, composer: Composer) -> Wish:
    chosen = next(c for c in iter(lambda: _any(rng, composer), None) if composer.concepts[c].tintable)
    return Wish(concepts=(chosen,), kind="plain", style="3d", tint=rng.choice(TINTS))


def _style(rng: random.Random, composer: Composer) -> Wish:
    return Wish(concepts=(_any(rng, composer),), kind="plain", style=rng.choice(STYLE_NAMES))


def _count(rng: random.Random, composer: Composer) -> Wish:
    return Wish(
        concepts=(_any(rng, composer),), kind=rng.choice(["plain", "meadow", "space"]), style="3d", count=rng.randint(2, 4)
    )


def _relation(rng: random.Random, composer: Composer) -> Wish:
    pair = tuple(rng.sample(range(len(composer.concepts)), 2))
    return Wish(concepts=pair, kind="plain", style="3d", relation=rng.choice(PAIRS))


SETS: dict[str, tuple[Callable[[random.Random, Composer], Wish], tuple[str, ...]]] = {  # what is asked, what is judged
    "background": (_background, ("subject_top1", "subject_top5", "background")),
    "tint": (_tint, ("subject_top1", "subject_top5", "tint")),
    "style": (_style, ("subject_top1", "subject_top5", "style")),
    "count": (_count, ("subject_top1", "subject_top5", "count")),
    "relation": (_relation, ("subject_top5", "relation")),
}
SPLIT = ("background", "tint")  # sets whose combinations can be held out


def is_held_out(wish: Wish, composer: Composer) -> bool:
    """Say whether training never rendered this combination."""
    return any(
        held_out(composer.concepts[c].name, kind=wish.kind)
        or (wish.tint and held_out(composer.concepts[c].name, tint=wish.tint))
        for c in wish.concepts
    )


def ask(composer: Composer, name: str, count: int, *, held: bool) -> list[Scene]:
    """Return the scenes of one set, always the same ones."""
    rng, scenes = random.Random(zlib.crc32(f"{name}{held}".encode())), list[Scene]()
    while len(scenes) < count:
        wish = SETS[name][0](rng, composer)
        if name not in SPLIT or is_held_out(wish, composer) == held:
            scenes.append(composer.scene(rng, wish))
    return scenes


def judge(classifier: Classifier, pictures: Tensor, scenes: Sequence[Scene], device: torch.device) -> dict[str, float]:
    """Return the share of pictures that show what the scenes say, by kind of question."""
    with torch.no_grad():
        parts = [classifier(small(part.to(device)) * 2 - 1) for part in torch.split(pictures, 128)]
    logits = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    truth = labels(scenes, logits["subjects"].shape[1], device)
    best = truth.subjects.gather(1, logits["subjects"].topk(5, 1).indices) > 0
    scores = dict(subject_top1=best[:, 0].float().mean().item(), subject_top5=best.any(1).float().mean().item())
    for name in ("background", "style", "tint", "count"):
        wanted = getattr(truth, name)
        seen = wanted != SKIP
        scores[name] = (logits[name].argmax(1) == wanted)[seen].float().mean().item() if seen.any() else float("nan")
    if scenes[0].relation:
        scores["relation"] = relations(classifier, pictures, scenes, device)
    return scores


def relations(classifier: Classifier, pictures: Tensor, scenes: Sequence[Scene], device: torch.device) -> float:
    """Return how often each of two subjects is likelier where it was asked for than where the other was."""
    places = {"left": (0.26, 0.5), "right": (0.74, 0.5), "above": (0.5, 0.27), "under": (0.5, 0.74)}
    opposite = {"left": "right", "right": "left", "above": "under", "under": "above"}
    side, right = round(NEAR * SIZE), 0
    for picture, scene in zip(pictures, scenes, strict=True):
        relation = scene.relation or ""
        crops = []
        for place in (relation, opposite[relation]):
            left, top = (round(min(max(c - NEAR / 2, 0), 1 - NEAR) * SIZE) for c in places[place])
            crops.append(picture[:, top : top + side, left : left + side])
        with torch.no_grad():
            logits = classifier(small(torch.stack(crops).to(device)) * 2 - 1)["subjects"].log_softmax(1)
        first, second = (subject.concept for subject in scene.subjects)
        right += bool(logits[0, first] > logits[1, first] and logits[1, second] > logits[0, second])
    return right / len(scenes)


def patches(pictures: Tensor, seed: int) -> Tensor:
    """Return random patches, float64 [count · PATCHES, 3 · PATCH · PATCH]."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for picture in pictures:
        for top, left in torch.randint(0, SIZE - PATCH + 1, (PATCHES, 2), generator=generator).tolist():
            found.append(picture[:, top : top + PATCH, left : left + PATCH].flatten())
    return torch.stack(found).double()


@dataclass(frozen=True, slots=True)
class Whitening:
    """The rendered patches' mean and the matrix that gives them unit spread."""

    mean: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, real: Tensor) -> Whitening:
        """Fit."""
        values, vectors = torch.linalg.eigh(torch.cov(real.T))
        return cls(real.mean(0), vectors * (values.clamp(min=0) + FAINT).rsqrt())

    def distance(self, one: Tensor, other: Tensor) -> float:
        """Return Fréchet's distance between two sets of patches, whitened."""
        a, b = (one - self.mean) @ self.matrix, (other - self.mean) @ self.matrix
        first, second = torch.cov(a.T), torch.cov(b.T)
        values, vectors = torch.linalg.eigh(first)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        overlap = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
        return float(((a.mean(0) - b.mean(0)) ** 2).sum() + first.trace() + second.trace() - 2 * overlap)


def sharpness(pictures: Tensor) -> float:
    """Return the mean strength of the strongest tenth of edges."""
    right = (pictures[:, :, 1:, 1:] - pictures[:, :, 1:, :-1]).abs().amax(1).flatten(1)
    return right.topk(right.shape[1] // 10, 1).values.mean().item()


class Artist:
    """Draws prompts with a pipeline; a picture depends on its prompt and seed alone."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self._pipeline = AutoPipelineForText2Image.from_pretrained(options.pipeline, dtype=torch.float32).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._how = dict(num_inference_steps=options.steps, guidance_scale=options.guidance, height=SIZE, width=SIZE)

    def draw(self, prompts: Sequence[str]) -> Tensor:
        """Return pictures [count, 3, SIZE, SIZE] in [0, 1]."""
        drawn = []
        for start in range(0, len(prompts), BATCH):
            some = list(prompts[start : start + BATCH])
            generators = [torch.Generator().manual_seed(1000 + start + i) for i in range(len(some))]
            drawn.append(self._pipeline(some, generator=generators, output_type="pt", **self._how).images.float().cpu())
        return torch.cat(drawn)


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """Return every figure."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    composer, renderer = Composer(load_concepts(options.assets)), Renderer(options.assets, device)
    classifier, artist = load(options.work, len(composer.concepts), device), Artist(options, device)
    results: dict[str, Any] = dict(
        pipeline=options.name, steps=options.steps, guidance=options.guidance, pictures_a_set=options.count
    )
    real, again, drawn = list[Tensor](), list[Tensor](), list[Tensor]()
    for name, (_, judged) in SETS.items():
        for held in (False, True) if name in SPLIT else (False,):
            scenes = ask(composer, name, options.count, held=held)
            rendered = torch.cat([renderer.render(scenes[i : i + 128], i).cpu() for i in range(0, len(scenes), 128)])
            pictures = artist.draw([scene.caption for scene in scenes])
            scores = [judge(classifier, rendered, scenes, device), judge(classifier, pictures, scenes, device)]
            scores.append(judge(classifier, pictures, scenes[7:] + scenes[:7], device) if name != "relation" else {})
            title = f"{name}, held out" if held else name
            results[title] = {key: [round(score[key], 3) for score in scores if key in score] for key in judged}
            print(title, json.dumps(results[title]), flush=True)
            real.append(rendered[::2])
            again.append(rendered[1::2])
            drawn.append(pictures[1::2])
            if options.sheets:
                options.sheets.mkdir(parents=True, exist_ok=True)
                to_image(torch.cat([torch.cat(list(row), 2) for row in torch.split(pictures[:32], 8)], 1)).save(
                    options.sheets / f"{title}.png"
                )
    looks = [patches(torch.cat(part), seed) for seed, part in enumerate((real, again, drawn))]
    whitening = Whitening.of(looks[0])
    results["patch distance"] = dict(
        rendered=round(whitening.distance(looks[0], looks[1]), 3), drawn=round(whitening.distance(looks[0], looks[2]), 3)
    )
    results["sharpness"] = dict(rendered=round(sharpness(torch.cat(again)), 4), drawn=round(sharpness(torch.cat(drawn)), 4))
    return results


def main() -> None:
    """Evaluate one pipeline. Scores are lists: ceiling, drawn, shuffled control."""
    parser = argparse.ArgumentParser(description=__doc__)
    for folder in ("assets", "work", "pipeline", "out"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    parser.add_argument("--name", default="pipeline")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=384, help="pictures of each set")
    parser.add_argument("--sheets", type=Path)
    options = parser.parse_args()
    results = evaluate(options)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({key: results[key] for key in ("patch distance", "sharpness")}))


if __name__ == "__main__":
    main()
