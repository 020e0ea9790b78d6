"""Compile all kernels for GPUs, of which none need be here: `TRITON_INTERPRET=0 python -m tests.compiling`.

The interpreter, in which their other tests run, forgives what Triton's compiler does not.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bot import kernels, kernels_conv, kernels_norm

WARP = 32  # threads
KINDS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float8_e4m3fn: "*fp8e4nv",
    int: "i32",
    float: "fp32",
}


class Compiled:
    """A kernel that is compiled when it is started, and not started."""

    def __init__(self, kernel: Any, *capabilities: int) -> None:
        """Take the GPUs that it is for: 75 is a T4, 90 an H100."""
        self._kernel, self._capabilities = kernel, capabilities

    def __getitem__(self, _grid: object) -> Compiled:
        return self

    def __call__(self, *given: Any, num_warps: int = 4, **constants: Any) -> None:
        """Compile for what is given."""
        kinds = [KINDS[each.dtype if torch.is_tensor(each) else type(each)] for each in given]
        signature = dict(zip(self._kernel.arg_names, kinds, strict=False)) | dict.fromkeys(constants, "constexpr")
        for capability in self._capabilities:
            source = ASTSource(self._kernel, signature, constants)
            made = triton.compile(source, target=GPUTarget("cuda", capability, WARP), options={"num_warps": num_warps})
            sys.stdout.write(f"{self._kernel.__name__} {capability} {len(made.asm['cubin'])} bytes\n")


def main() -> None:
    """Start each kernel."""
    kernels._place = Compiled(kernels._place, 75, 90)
    kernels._bend_and_shrink = Compiled(kernels._bend_and_shrink, 90)  # old ones have no numbers of eight bits
    kernels_norm._measure = Compiled(kernels_norm._measure, 75, 90)
    kernels_norm._apply = Compiled(kernels_norm._apply, 75, 90)
    kernels_conv._multiply = Compiled(kernels_conv._multiply, 80, 90)  # smaller ones have not the memory
    kernels_conv._join = Compiled(kernels_conv._join, 80, 90)
    tokens, norms = torch.zeros(1, 6, 3 * 64).bfloat16(), [torch.ones(64).bfloat16()] * 2
    kernels.place([tokens], [tokens], norms, torch.ones(1, 6, 32), torch.ones(1, 6, 32), 3, 1e-6)
    kernels.bend_and_shrink(torch.zeros(4, 12288).bfloat16())
    for channels, side in ((320, 8), (1920, 65), (128, 65)):
        picture = torch.zeros(2, channels, side, side).half().contiguous(memory_format=torch.channels_last)
        numbers = picture[:, :, 0, 0]
        kernels_norm.normalize(picture, numbers if side == 8 else None, numbers[0], numbers[0], 32, 1e-5, silu=True)
    deep, weight = (
        torch.zeros(*shape).half().contiguous(memory_format=torch.channels_last) for shape in ((2, 256, 8, 8), (64, 256, 3, 3))
    )
    kernels_conv.convolve(deep, weight, weight[:, 0, 0, 0])


if __name__ == "__main__":
    main()
