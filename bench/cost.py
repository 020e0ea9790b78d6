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

# Seconds for a picture of a model's own size and steps, on a GPU: RESULTS.md's latency, and 3 to 15 ms until the file is there.
# What is not here is not measured.
SECONDS: Final[Mapping[tuple[str, str], float]] = {
    ("z-image-turbo", "H200"): 0.776,
    ("sdxl", "H200"): 0.762,
    ("sdxl-turbo", "H200"): 0.051,
    ("sd35-medium", "H200"): 1.416,
    ("flux-schnell", "H200"): 0.506,
    ("flux-dev", "H200"): 3.413,
}

# What NVIDIA's data sheets promise: TFLOP/s of half-precision tensor cores without sparsity, and the memory's GB/s.
PEAKS: Final[Mapping[str, tuple[float, float]]] = {
    "L40S": (362, 864),
    "A100-80GB": (312, 2039),
    "H100": (989, 3350),
    "H200": (989, 4800),
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
    rows = ((model, gpu, *_picture(model, gpu)) for model, gpu in sorted(pairs, key=_order))
    return _table(("model", "GPU", "seconds per picture", "a thousand pictures"), rows)


def web() -> float:
    """Return the dollars a month for the one small container that is always awake."""
    return (LEAST_CORES * CORE + WEB_GIB * GIB) * MONTH


def _picture(model: str, gpu: str) -> tuple[str, str]:
    thousand = 1000 * GPU[gpu]
    if seconds := SECONDS.get((model, gpu)):
        return f"{seconds:.2f}", f"${thousand * seconds:.2f}"
    if reckoned := _reckoned(model, gpu):
        least, most = reckoned
        return f"{least:.1f} to {most:.1f}, reckoned", f"${thousand * least:.2f} to ${thousand * most:.2f}"
    return "not measured", f"${thousand:.2f} × seconds per picture"


def _reckoned(model: str, gpu: str) -> tuple[float, float] | None:
    """Return the least and the most seconds, from those of an H200: as if all of it were products, or all of it memory."""
    seconds = SECONDS.get((model, "H200"))
    if not seconds or gpu not in PEAKS:
        return None
    times = [seconds * known / peak for known, peak in zip(PEAKS["H200"], PEAKS[gpu], strict=True)]
    return min(times), max(times)


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    model, gpu = pair
    return list(ROWS).index(model) if model not in OFFERED else OFFERED.index(model) - len(OFFERED), list(GPU).index(gpu)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(by_gpu(), by_model(), f"web: ${web():.2f} a month", sep="\n\n")
