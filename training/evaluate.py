"""Measure a pipeline: does it draw what the prompt says, and does it look like a rendered scene?

    python -m training.evaluate --assets DIR --work DIR --out rendered.json              (the scenes, rendered: the ceiling)
    python -m training.evaluate --assets DIR --work DIR --out drawn.json --pipeline DIR --steps 4 --guidance 1
    python -m training.report rendered.json drawn.json                                    (the table in README.md)

The judge is `training.classifier`. Beside every score stand its interval and a control: the pictures, judged by one another's
prompts. Prompts name every concept equally often. Next to OUT lies what the patch distance needs, as safetensors.

A combination is held out if neither denoiser nor student was ever shown it: a subject on a background, or a subject in a tint.
No pair of subject and style, or of subject and count, was: those lines put the subject on a background that it was never seen
on, in any style and in any number, so that subject, background and style (or count) together are new.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from training.classifier import SKIP, Classifier, labels, load, small
from training.render import Renderer, to_image
from training.scenes import BACKGROUNDS, HATS, STYLE_NAMES, TINTS, Composer, Scene, Wish, held_out, load_concepts

SIZE = 256  # pixels
BATCH = 128
SHIFT = 7  # the control asks of a picture what the seventh after it was asked
Z = 1.96  # standard deviations of a 95 % interval
PATCH = 8  # pixels
PATCHES = 100  # of each picture
LOOKED_AT = 512  # pictures of each set that patches are taken from, so that runs of any size compare
HALVES = ("even", "odd")
PAIRS = ("left", "right", "above", "under")
NEAR = 0.52  # side of the square looked at for one of a pair, as a share of the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, which pair with the subject may be held out, and what is judged."""

    wish: Callable[[random.Random, Composer], Wish]
    pair: str | None
    judged: tuple[str, ...]


def _any(rng: random.Random, composer: Composer) -> int:
    return rng.randrange(len(composer.concepts))


def _background(rng: random.Random, composer: Composer) -> Wish:
    return Wish(concepts=(_any(rng, composer),), kind=rng.choice(list(BACKGROUNDS)), style="3d")


def _tint(rng: random.Random, composer: Composer) -> Wish:
    chosen = next(c for c in iter(lambda: _any(rng, composer), None) if composer.concepts[c].tintable)
    return Wish(concepts=(chosen,), kind="plain", style="3d", tint=rng.choice(TINTS))


def _style(rng: random.Random, composer: Composer) -> Wish:
    return Wish(concepts=(_any(rng, composer),), kind=rng.choice(list(BACKGROUNDS)), style=rng.choice(STYLE_NAMES))


def _count(rng: random.Random, composer: Composer) -> Wish:
    return Wish(concepts=(_any(rng, composer),), kind=rng.choice(list(BACKGROUNDS)), style="3d", count=rng.randint(2, 4))


def _relation(rng: random.Random, composer: Composer) -> Wish:
    pair = tuple(rng.sample(range(len(composer.concepts)), 2))
    return Wish(concepts=pair, kind="plain", style="3d", relation=rng.choice(PAIRS))


SUBJECT = ("subject_top1", "subject_top5")
QUESTIONS = {
    "background": Question(wish=_background, pair="kind", judged=(*SUBJECT, "background")),
    "tint": Question(wish=_tint, pair="tint", judged=(*SUBJECT, "tint")),
    "style": Question(wish=_style, pair="kind", judged=(*SUBJECT, "background", "style")),
    "count": Question(wish=_count, pair="kind", judged=(*SUBJECT, "background", "count")),
    "relation": Question(wish=_relation, pair=None, judged=("subject_top5", "relation")),
}
SETS = [(name, held) for name, question in QUESTIONS.items() for held in ((False, True) if question.pair else (False,))]


def hidden(wish: Wish, composer: Composer) -> set[str]:
    """Return which of a wish's pairs training never rendered: {"kind"}, {"tint"}, both or none."""
    pairs = {"kind": dict(kind=wish.kind)} | ({"tint": dict(tint=wish.tint)} if wish.tint else {})
    names = [composer.concepts[concept].name for concept in wish.concepts]
    return {pair for pair, what in pairs.items() for name in names if held_out(name, **what)}


def ask(composer: Composer, name: str, count: int, *, held: bool) -> list[Scene]:
    """Return the scenes of one set, always the same ones. Held out means its own pair and no other."""
    rng, scenes, question = random.Random(zlib.crc32(f"{name}{held}".encode())), list[Scene](), QUESTIONS[name]
    while len(scenes) < count:
        wish = question.wish(rng, composer)
        worn = held and composer.concepts[wish.concepts[0]].name in HATS  # others wore it where it was held out itself
        if not worn and hidden(wish, composer) == ({question.pair} if held else set()):
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
    generator, places = torch.Generator().manual_seed(seed), pictures.shape[2] - PATCH + 1
    windows = pictures.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # a view: count, 3, top, left, PATCH, PATCH
    top, left = torch.randint(0, places, (2, len(pictures), PATCHES), generator=generator)
    picture = torch.arange(len(pictures))[:, None].expand(-1, PATCHES)
    return windows[picture, :, top, left].flatten(0, 1).flatten(1).double()


class Moments:
    """The mean and the covariance of patches that come in parts; both are what Fréchet's distance looks at."""

    def __init__(self) -> None:
        self._count, self._sum, self._products = 0, torch.zeros(()), torch.zeros(())

    def add(self, patches: Tensor) -> None:
        """Take in some more, [count, numbers]."""
        self._count += len(patches)
        self._sum = self._sum + patches.sum(0)
        self._products = self._products + patches.T @ patches

    @property
    def mean(self) -> Tensor:
        """Return the mean, float64 [numbers]."""
        return self._sum / self._count

    @property
    def covariance(self) -> Tensor:
        """Return the covariance, float64 [numbers, numbers]."""
        return (self._products / self._count - self.mean.outer(self.mean)) * (self._count / (self._count - 1))


def sharpness(pictures: Tensor) -> float:
    """Return the mean strength of the strongest tenth of edges."""
    right = (pictures[:, :, 1:, 1:] - pictures[:, :, 1:, :-1]).abs().amax(1).flatten(1)
    return right.topk(right.shape[1] // 10, 1).values.mean().item()


class Artist:
    """Draws scenes' captions with a pipeline; a picture depends on its prompt and seed alone."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self._pipeline = AutoPipelineForText2Image.from_pretrained(options.pipeline, dtype=torch.float32).to(device)
        self._pipeline.set_progress_bar_config(disable=True)
        self._how = dict(num_inference_steps=options.steps, guidance_scale=options.guidance, height=SIZE, width=SIZE)

    def __call__(self, scenes: Sequence[Scene]) -> Tensor:
        """Return pictures [count, 3, SIZE, SIZE] in [0, 1]."""
        drawn = []
        for start in range(0, len(scenes), BATCH):
            prompts = [scene.caption for scene in scenes[start : start + BATCH]]
            generators = [torch.Generator().manual_seed(1000 + start + i) for i in range(len(prompts))]
            drawn.append(self._pipeline(prompts, generator=generators, output_type="pt", **self._how).images.float().cpu())
        return torch.cat(drawn)


def rendering(assets: Path, device: torch.device) -> Callable[[Sequence[Scene]], Tensor]:
    """Return what renders scenes, as an artist draws them."""
    renderer = Renderer(assets, device)
    return lambda scenes: torch.cat(
        [renderer.render(scenes[i : i + BATCH], i, SIZE, SIZE).cpu() for i in range(0, len(scenes), BATCH)]
    )


def interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `count`."""
    middle, spread = share + Z**2 / (2 * count), Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    return (middle - spread) / (1 + Z**2 / count), (middle + spread) / (1 + Z**2 / count)


def scores(
    classifier: Classifier, pictures: Tensor, scenes: Sequence[Scene], name: str, device: torch.device
) -> dict[str, Any]:
    """Return what is judged in one set: the share that is right, its interval, and the control's share."""
    right = judge(classifier, pictures, scenes, device)
    shuffled = judge(classifier, pictures, [*scenes[SHIFT:], *scenes[:SHIFT]], device) if name != "relation" else {}
    return {
        key: dict(right=round(right[key], 4), interval=[round(end, 4) for end in interval(right[key], len(scenes))])
        | ({"shuffled": round(shuffled[key], 4)} if shuffled else {})
        for key in QUESTIONS[name].judged
    }


def sheet(pictures: Tensor) -> Image.Image:
    """Return the first pictures side by side."""
    return to_image(torch.cat([torch.cat(list(row), 2) for row in torch.split(pictures[:32], 8)], 1))


def evaluate(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return every figure, and the moments of the patches of even and of odd pictures."""
    torch.backends.cudnn.allow_tf32 = False  # so that a GPU draws what a CPU draws
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    composer = Composer(load_concepts(options.assets))
    classifier = load(options.work, len(composer.concepts), device)
    picture = Artist(options, device) if options.pipeline else rendering(options.assets, device)
    halves, edges = (Moments(), Moments()), 0.0
    results: dict[str, Any] = dict(name=options.name, pictures_a_set=options.count, sets={})
    if options.pipeline:
        results |= dict(steps=options.steps, guidance=options.guidance)
    for seed, (name, held) in enumerate(SETS):
        scenes, title = ask(composer, name, options.count, held=held), f"{name}, held out" if held else name
        pictures = picture(scenes)
        results["sets"][title] = scores(classifier, pictures, scenes, name, device)
        print(title, json.dumps(results["sets"][title]), flush=True)
        edges += sharpness(pictures) / len(SETS)
        for half, moments in enumerate(halves):
            moments.add(patches(pictures[half:LOOKED_AT:2], 2 * seed + half))
        if options.sheets:
            options.sheets.mkdir(parents=True, exist_ok=True)
            sheet(pictures).save(options.sheets / f"{title.replace(', ', '-').replace(' ', '-')}.png")
    kept = {f"{half}.{what}": getattr(halves[i], what) for i, half in enumerate(HALVES) for what in ("mean", "covariance")}
    return results | dict(sharpness=round(edges, 4)), kept


def main() -> None:
    """Evaluate one pipeline, or the rendered scenes themselves."""
    parser = argparse.ArgumentParser(description=__doc__)
    for folder in ("assets", "work", "out"):
        parser.add_argument(f"--{folder}", type=Path, required=True)
    parser.add_argument("--pipeline", type=Path, help="left out, the scenes are rendered: the ceiling")
    parser.add_argument("--name", default="pipeline")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--count", type=int, default=1024, help="pictures of each set")
    parser.add_argument("--sheets", type=Path)
    options = parser.parse_args()
    results, moments = evaluate(options)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    save_file(moments, options.out.with_suffix(".safetensors"))


if __name__ == "__main__":
    main()
