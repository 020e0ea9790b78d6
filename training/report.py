"""Lay `training.evaluate`'s results side by side, as README.md has them.

python -m training.report rendered.json drawn.json [another.json …]

The first run is the ceiling, the second the one in question; the rest stand beside it. Shares are in percent, with their 95 %
intervals. The patch distance is Fréchet's, between 8×8 patches, in units of the rendered patches' own spread: from the odd
pictures to the rendered even ones. The rendered odd ones show how low it can be. It needs the .safetensors beside the results.
"""

from __future__ import annotations

import argparse
import json
import math
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
        moments = file.with_suffix(".safetensors")
        kept = load_file(moments) if moments.exists() else {}
        halves = {half: Spread(kept[f"{half}.mean"], kept[f"{half}.covariance"]) for half in ("even", "odd") if kept}
        return cls(json.loads(file.read_text()), halves)

    def named(self) -> str:
        """Return its name, and how many pictures of each set it is of."""
        return f"{self.figures['name']} ({self.figures['pictures_a_set']:,})"

    def share(self, title: str, key: str, kind: str = "right") -> float:
        """Return a share of one set, in percent."""
        found: float = self.figures["sets"][title][key].get(kind, math.nan)
        return 100 * found

    def shown(self, title: str, key: str) -> str:
        """Return a share and its interval."""
        low, high = (100 * end for end in self.figures["sets"][title][key]["interval"])
        return f"{self.share(title, key):.1f} ({low:.1f}–{high:.1f})"


def table(ceiling: Run, run: Run, *others: Run) -> Iterable[str]:
    """Yield the lines of a table in Markdown."""
    everyone = (ceiling, run, *others)
    yield row(
        "asked", "judged", ceiling.named(), run.named(), "of the ceiling", "control", *(other.named() for other in others)
    )
    yield "|---" * (6 + len(others)) + "|"
    for title, judged in ceiling.figures["sets"].items():
        for key in judged:
            most, control = ceiling.share(title, key), run.share(title, key, "shuffled")
            yield row(
                title,
                key.replace("_", " "),
                f"{most:.1f}",
                run.shown(title, key),
                f"{100 * run.share(title, key) / most:.0f} %" if most else "",
                "" if math.isnan(control) else f"{control:.1f}",
                *(other.shown(title, key) for other in others),
            )
    if all(one.spread for one in everyone):
        real = ceiling.spread["even"]
        lowest, distance, *rest = (f"{real.distance(real, one.spread['odd']):.1f}" for one in everyone)
        yield row("all of these", "patch distance, lower is better", lowest, distance, "", "", *rest)
    edges, mine, *theirs = (f"{one.figures['sharpness']:.3f}" for one in everyone)
    yield row("all of these", "strength of the strongest edges", edges, mine, "", "", *theirs)


def row(*cells: str) -> str:
    """Return a line of a table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    options = parser.parse_args()
    print("\n".join(table(*map(Run.read, options.results))))


if __name__ == "__main__":
    main()
