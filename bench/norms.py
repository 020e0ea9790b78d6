"""What a group norm with its SiLU takes on a GPU: as torch compiles it, and by our kernels, in each size of piece.

`python -m bench.norms`. A line for each size that SD 1.5 and SDXL have, of two rows, and that a decoder has, of one:
microseconds, from a CUDA graph of many. What is compiled is diffusers' own layer, and `ChannelsLastNorm`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import torch
from torch.nn.functional import group_norm, silu

from bot import fast, kernels_norm, layers

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES: Final = (  # rows, channels, side
    *((2, 320, 128), (2, 960, 128), (2, 320, 64), (2, 960, 64), (2, 1280, 64)),
    *((2, 640, 32), (2, 1920, 32), (2, 1280, 16), (2, 2560, 16), (2, 1280, 8)),
    *((1, 512, 64), (1, 512, 128), (1, 512, 256), (1, 256, 512), (1, 512, 512), (1, 128, 1024), (1, 256, 1024)),
)
GROUPS: Final = 32
EPS: Final = 1e-5
MANY: Final = 20
ROUNDING: Final = 0.01
PIECES: Final = (32, 4), (16, 2), (64, 4), (32, 8)  # pixels at a time, warps


@torch.inference_mode()
def main() -> None:
    """Measure, and print a table."""
    names = [f"{pixels} pixels, {warps} warps" for pixels, warps in PIECES]
    print(f"| rows, channels, side | compiled | channels last | {' | '.join(names)} |\n|{'---|' * (3 + len(PIECES))}")
    for rows, channels, side in SIZES:
        torch.compiler.reset()
        picture = torch.randn(rows, channels, side, side, device="cuda").half().contiguous(memory_format=torch.channels_last)
        added, weight, bias = (torch.randn(count, device="cuda").half() for count in (rows * channels, channels, channels))
        added = added.view(rows, channels)
        ways = (torch.compile(way, dynamic=False) for way in (plainly, channels_last))
        taken = [microseconds(partial(way, picture, added, weight, bias)) for way in ways]
        for piece in PIECES:
            kernels_norm.FEW = kernels_norm.MANY = piece  # type: ignore[misc]
            ours = partial(kernels_norm.normalize, picture, added, weight, bias, GROUPS, EPS, silu=True)
            expected = plainly(picture, added, weight, bias).float()
            assert float((ours().float() - expected).norm() / expected.norm()) < ROUNDING
            taken.append(microseconds(ours))
        print(f"| {rows}, {channels}, {side} |", " | ".join(f"{each:.1f}" for each in taken), "|", flush=True)


def plainly(picture: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do it with torch, and leave the channels of a pixel side by side."""
    found = silu(group_norm(picture + added[:, :, None, None], GROUPS, weight, bias, EPS))
    return found.contiguous(memory_format=torch.channels_last)


def channels_last(picture: torch.Tensor, added: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Do it as decoders do where there is no kernel of ours."""
    norm = layers.ChannelsLastNorm(GROUPS, len(weight), EPS, device="meta")
    norm.weight, norm.bias = (torch.nn.Parameter(each, requires_grad=False) for each in (weight, bias))
    return silu(norm(picture + added[:, :, None, None]))


def microseconds(call: Callable[[], object]) -> float:
    """Return how long one of many takes."""
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(MANY):
            call()
    graph.replay()
    return fast.seconds(graph.replay, 0.05) / MANY * 1e6


if __name__ == "__main__":
    main()
