"""Lay `training.evaluate`'s results side by side, as README.md has them.

python -m training.report rendered.json drawn.json [another.json …]            (their .safetensors beside them)

The patch distance is Fréchet's, between 8×8 patches, in units of the rendered patches' own spread: of the odd pictures, to the
rendered even ones. The rendered odd ones show how low it can be.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

FAINT = (2 / 255) ** 2  # variance added to every direction, so that invisible differences do not count


@dataclass(frozen=True, slots=True)
class Spread:
    """How patches are spread: their mean and covariance."""

    mean: Tensor
    covariance: Tensor

    def distance(self, one: Spread, other: Spread) -> float:
        """Return Fréchet's distance between two others, in units of this one's spread."""
        values, vectors = torch.linalg.eigh(self.covariance)
        unit = vectors * (values.clamp(min=0) + FAINT).rsqrt()
        first, second = unit.T @ one.covariance @ unit, unit.T @ other.covariance @ unit
        values, vectors = torch.linalg.eigh(first)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
        overlap = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
        apart = (((one.mean - other.mean) @ unit) ** 2).sum()
        return float(apart + first.trace() + second.trace() - 2 * overlap)


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation: its figures, and the spread of its patches by half."""

    figures: dict[str, Any]
    spread: dict[str, Spread]

    @classmethod
    def read(cls, file: Path) -> Run:
        """Read what `training.evaluate` wrote."""
        kept = load_file(file.with_suffix(".safetensors"))
        halves = {half: Spread(kept[f"{half}.mean"], kept[f"{half}.covariance"]) for half in ("even", "odd")}
        return cls(json.loads(file.read_text()), halves)


def shown(score: dict[str, Any]) -> str:
    """Return a share, its interval, and its control, in percent."""
    low, high = score["interval"]
    control = f", control {100 * score['shuffled']:.1f}" if "shuffled" in score else ""
    return f"{100 * score['right']:.1f} % ({100 * low:.1f}–{100 * high:.1f}{control})"


def table(runs: list[Run]) -> Iterable[str]:
    """Yield the lines of a table in Markdown; the first run is the ceiling."""
    yield "| asked | judged | " + " | ".join(f"{run.figures['name']} ({run.figures['pictures_a_set']})" for run in runs) + " |"
    yield "|---|---|" + "---|" * len(runs)
    for title, judged in runs[0].figures["sets"].items():
        for key in judged:
            cells = [shown(run.figures["sets"][title][key]) for run in runs]
            yield f"| {title} | {key.replace('_', ' ')} | " + " | ".join(cells) + " |"
    real = runs[0].spread["even"]
    distances = [f"{real.distance(real, run.spread['odd']):.1f}" for run in runs]
    yield "| all | patch distance, lower is better | " + " | ".join(distances) + " |"
    yield "| all | strength of the strongest edges | " + " | ".join(f"{run.figures['sharpness']:.3f}" for run in runs) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    options = parser.parse_args()
    print("\n".join(table([Run.read(file) for file in options.results])))


if __name__ == "__main__":
    main()
