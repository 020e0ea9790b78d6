"""What a group norm with its SiLU takes on a GPU: as torch compiles it, and by our kernels, in each size of piece.

`python -m bench.norms`. A line for each size that SD 1.5 and SDXL have, of two rows: microseconds, from a CUDA graph of many.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch.nn.functional import group_norm, silu

from bot import fast, kernels_norm

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final = (  # channels, side
    *((320, 128), (960, 128), (320, 64), (960, 64), (1280, 64)),
    *((640, 32), (1920, 32), (1280, 16), (2560, 16), (1280, 8)),
)
ROWS: Final = 2
GROUPS: Final = 32
EPS: Final = 1e-5
MANY: Final = 20
ROUNDING: Final = 0.01
PIECES: Final = (32, 4), (16, 2), (64, 4), (32, 8)  # pixels at a time, warps


@torch.inference_mode()
def main() -> None:
    """Measure, and print a table."""
    names = [f"{pixels} pixels, {warps} warps" for pixels, warps in PIECES]
    print(f"| channels, side | compiled | {' | '.join(names)} |\n|{'---|' * (2 + len(PIECES))}")
    for channels, side in SIZES:
        torch.compiler.reset()
        picture = torch.randn(ROWS, channels, side, side, device="cuda").half().contiguous(memory_format=torch.channels_last)
        added, weight, bias = (torch.randn(count, device="cuda").half() for count in (ROWS * channels, channels, channels))
        added = added.view(ROWS, channels)
        taken = [microseconds(partial(torch.compile(plainly, dynamic=False), picture, added, weight, bias))]
        for piece in PIECES:
            kernels_norm.FEW = kernels_norm.MANY = piece  # type: ignore[misc]
            ours = partial(kernels_norm.normalize, picture, added, weight, bias, GROUPS, EPS, silu=True)
            expected = plainly(picture, added, weight, bias).float()
            assert float((ours().float() - expected).norm() / expected.norm()) < ROUNDING
            taken.append(microseconds(ours))
        print(f"| {channels}, {side} |", " | ".join(f"{each:.1f}" for each in taken), "|", flush=True)


def plainly(picture: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do it with torch, and leave the channels of a pixel side by side."""
    found = silu(group_norm(picture + added[:, :, None, None], GROUPS, weight, bias, EPS))
    return found.contiguous(memory_format=torch.channels_last)


def microseconds(call: Callable[[], object]) -> float:
    """Return how long one of many takes."""
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(MANY):
            call()
    graph.replay()
    return fast.seconds(graph.replay, 5) / MANY * 1e6


if __name__ == "__main__":
    main()
