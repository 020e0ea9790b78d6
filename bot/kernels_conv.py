"""The convolution of a picture of few pixels and many channels, as kernels written by hand.

There is little to compute, and a lot of weights to read for it: 30 MB for 64 pixels, in the middle of Stable Diffusion 1.5. Who
divides the pixels and the channels of the result among programs gets a dozen of them, and a dozen cannot read as fast as the
memory gives. So what is summed is divided too; a second kernel adds the parts. The programs keep more of what they read than
most GPUs have the memory for: an A100 and an H100 have it, an L4, an A10 or a T4 has not.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# ruff: noqa: N803, ANN001, ANN202

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch.nn.functional import conv2d

MOST: Final = 128  # pixels of all rows together, which are one guided picture of the usual size; more are left to the usual way
OUTPUTS: Final = 128  # channels of the result that a program takes
DEPTH: Final = 64  # channels of what is given that it takes at a time
SHARES: Final = 12  # parts of what is summed: with ten times 128 channels, a program for nearly each of 132 multiprocessors
AHEAD: Final = 5  # steps that are read beforehand
WARPS: Final = 8
BYTES: Final = 2  # of a number in float16, which is what the one network has that this is for
ROOM: Final = 1024  # bytes that a program needs besides what it reads
JOINED: Final = 1024  # numbers that a program of the second kernel adds up


@triton.jit
def _multiply(
    given, weight, parts, pixels, height, width, outputs, CHANNELS: tl.constexpr, STEPS: tl.constexpr,
    MOST: tl.constexpr, OUTPUTS: tl.constexpr, DEPTH: tl.constexpr, AHEAD: tl.constexpr,
):  # fmt: skip
    """Take all pixels, some channels of the result, and a share of what is summed: of the nine pixels around, some channels."""
    share, pixel, lane = tl.program_id(1), tl.arange(0, MOST), tl.arange(0, DEPTH)
    output = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    x, y = pixel % width, pixel // width % height
    found = tl.zeros([MOST, OUTPUTS], tl.float32)
    for step in tl.range(0, STEPS, num_stages=AHEAD):
        number = share * STEPS + step
        around, channel = number % 9, number // 9 * DEPTH + lane  # one behind the other, as they read mostly the same pixels
        down, right = around // 3 - 1, around % 3 - 1
        here = (pixel < pixels) & (y + down >= 0) & (y + down < height) & (x + right >= 0) & (x + right < width)
        place = (pixel + down * width + right)[:, None] * CHANNELS + channel[None, :]
        tile = tl.load(given + place, mask=here[:, None], other=0.0)
        source = (output * 9 + around)[None, :] * CHANNELS + channel[:, None]
        factors = tl.load(weight + source, mask=(output < outputs)[None, :], other=0.0)
        found = tl.dot(tile, factors, found)
    target = (share * pixels + pixel)[:, None] * outputs + output[None, :]
    tl.store(parts + target, found, mask=(pixel < pixels)[:, None] & (output < outputs)[None, :])


@triton.jit
def _join(parts, bias, result, count, biased, outputs, SHARES: tl.constexpr, JOINED: tl.constexpr):
    """Add up the shares of some numbers, and the bias."""
    number = tl.program_id(0) * JOINED + tl.arange(0, JOINED)
    there = number < count
    found = tl.load(bias + number % outputs, mask=there & (number < biased), other=0.0).to(tl.float32)
    for share in tl.static_range(SHARES):
        found += tl.load(parts + share * count + number, mask=there)
    tl.store(result + number, found.to(result.dtype.element_ty), mask=there)


def fits(device: torch.device) -> bool:
    """Say whether programs on this GPU have the memory for what they read beforehand: those of the largest GPUs do."""
    there: int = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    return there >= AHEAD * (MOST + OUTPUTS) * DEPTH * BYTES + ROOM


@torch.library.custom_op("imagine::convolve", mutates_args=())
def convolve(given: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolve pictures, (rows, channels, height, width), with three by three weights; what is beyond an edge is zero."""
    rows, channels, height, width = given.shape
    pixels, outputs, steps = rows * height * width, len(weight), 9 * channels // (DEPTH * SHARES)
    given, weight = (each.contiguous(memory_format=torch.channels_last) for each in (given, weight))
    if pixels > MOST or steps * DEPTH * SHARES != 9 * channels or given.dtype is not torch.float16:
        return conv2d(given, weight, bias, padding=1)
    parts, result = given.new_empty(SHARES, pixels, outputs, dtype=torch.float32), _result(given, weight)
    _multiply[triton.cdiv(outputs, OUTPUTS), SHARES](
        given, weight, parts, pixels, height, width, outputs,
        CHANNELS=channels, STEPS=steps, MOST=MOST, OUTPUTS=OUTPUTS, DEPTH=DEPTH, AHEAD=AHEAD, num_warps=WARPS,
    )  # fmt: skip
    count, more = pixels * outputs, weight if bias is None else bias
    biased = 0 if bias is None else count
    _join[(triton.cdiv(count, JOINED),)](parts, more, result, count, biased, outputs, SHARES=SHARES, JOINED=JOINED)
    return result


@convolve.register_fake
def _(given, weight, bias):  # noqa: ARG001
    return _result(given, weight)


def _result(given: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    shape = given.shape[0], weight.shape[0], *given.shape[2:]
    return torch.empty(shape, dtype=given.dtype, device=given.device, memory_format=torch.channels_last)
