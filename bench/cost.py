"""What a picture costs on Modal, and what waiting costs: `python -m bench.cost` prints the tables of README.md.

    cost of a picture = its seconds on the GPU × (price of the GPU + cores × price of a core + GiB × price of a GiB)

The tables reckon with the GPU alone. Modal bills by the second, from when a container starts to when it stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bot.deploy import IDLE, OFFERED
from bot.models import ROWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Dollars a second, without the factors for a region of one's choice. https://modal.com/pricing, as of July 2026.
SOURCE: Final = "[modal.com/pricing](https://modal.com/pricing), July 2026"
GPU: Final = {
    "T4": 0.000164,
    "L4": 0.000222,
    "A10": 0.000306,
    "L40S": 0.000542,
    "A100-80GB": 0.000694,
    "H100": 0.001097,
    "H200": 0.001261,
}
CORE: Final = 0.0000131
GIB: Final = 0.00000222

LEAST_CORES: Final = 0.125  # what Modal bills for a container that does next to nothing
WEB_GIB: Final = 0.25  # 0.1 were measured for our part (RESULTS.md); the rest is room for Modal's
HOUR: Final = 3600  # seconds
MONTH: Final = 730 * HOUR

# Seconds for a picture of a model's own size and steps, on a GPU, as RESULTS.md has them. What is not here is not measured.
SECONDS: Final[Mapping[tuple[str, str], float]] = {
    ("z-image-turbo", "H200"): 1.013,
    ("sdxl", "H200"): 0.819,
    ("sdxl-turbo", "H200"): 0.056,
    ("flux-schnell", "H200"): 0.553,
}


def by_gpu() -> str:
    """Return what each GPU costs, busy or not."""
    rows = (
        (gpu, f"${price * HOUR:.2f}", f"${price * IDLE:.3f}", f"${price * MONTH:,.0f}")
        for gpu, price in GPU.items()
    )  # fmt: skip
    return _table((f"GPU ({SOURCE})", "an hour", f"idle for {IDLE // 60} minutes", "awake for a month"), rows)


def by_model() -> str:
    """Return what a picture of each model costs, on the first GPU of its row and wherever else it was measured."""
    pairs = {(model, ROWS[model].gpu[0]) for model in OFFERED} | SECONDS.keys()
    rows = ((model, gpu, *_picture(GPU[gpu], SECONDS.get((model, gpu)))) for model, gpu in sorted(pairs, key=_order))
    return _table(("model", "GPU", "seconds per picture", "a thousand pictures"), rows)


def web() -> float:
    """Return the dollars a month for the one small container that is always awake."""
    return (LEAST_CORES * CORE + WEB_GIB * GIB) * MONTH


def _picture(price: float, seconds: float | None) -> tuple[str, str]:
    if seconds is None:
        return "not measured", f"${price * 1000:.2f} × seconds per picture"
    return f"{seconds:.2f}", f"${price * seconds * 1000:.2f}"


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    model, gpu = pair
    return list(ROWS).index(model) if model not in OFFERED else OFFERED.index(model) - len(OFFERED), list(GPU).index(gpu)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(by_gpu(), by_model(), f"web: ${web():.2f} a month", sep="\n\n")
