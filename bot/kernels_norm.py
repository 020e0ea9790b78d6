"""Group norm of pictures whose channels lie side by side, and the SiLU after it, as two kernels written by hand.

The first measures, the second applies: each reads the picture once, along its channels. What the compiler makes of a group norm
reads a few bytes here and a few there, or brings the picture into another order and back: up to three times as long.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# ruff: noqa: N803, ANN001, ANN202, FBT001

from __future__ import annotations

import math
from typing import Final

import torch
import triton
import triton.language as tl

LANES: Final = 128  # channels of a pixel that one program takes: whole groups, as many as fit
EVEN: Final = 8  # numbers that a thread reads at once; so programs begin at a multiple of that
SMALL: Final = 64 * 64  # pixels; bench/LOG.md has what was tried for these and for larger pictures
FEW: Final = (16, 2)  # pixels that a program takes at a time, and its warps, in small pictures
MANY: Final = (32, 4)  # the same in large ones
PROGRAMS: Final = 512  # that a kernel is divided into, about: a few for each multiprocessor
PARTS: Final = 64  # of a picture, each measured by itself, that are joined at a time; a large picture has several times as many
# Numbers that Triton would compile once more for, in a second, where 16 divides them.
ANY: Final = ["pixels", "chunk", "adding", "added_rows", "added_stride"]


@triton.jit
def _lanes(first, channels, GROUP: tl.constexpr, TAKEN: tl.constexpr, LANES: tl.constexpr):
    """Return the lanes of a program, the channels that they are, and which of them there are."""
    number = tl.arange(0, LANES)
    channel = first * GROUP + number
    return number, channel, (number < TAKEN * GROUP) & (channel < channels)


@triton.jit
def _tile(given, more, start, end, channel, inside, channels, AT_ONCE: tl.constexpr):
    """Read some channels of some pixels, (pixels, channels), as far as they are there, and add as much to each pixel."""
    pixel = start + tl.arange(0, AT_ONCE)[:, None]
    here = (pixel < end) & inside[None, :]
    place = pixel * channels + channel[None, :]
    return tl.load(given + place, mask=here, other=0.0).to(tl.float32) + more[None, :], here, place


@triton.jit(do_not_specialize=ANY)
def _measure(
    given, added, means, squares, pixels, chunk, channels, adding, added_rows, added_stride, groups,
    GROUP: tl.constexpr, TAKEN: tl.constexpr, GROUPS: tl.constexpr, LANES: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Take one part of the pixels, some groups, one row: write their mean, and the sum of the squares around it."""
    part, row, first = tl.program_id(0), tl.program_id(2), tl.program_id(1) * TAKEN
    number, channel, inside = _lanes(first, channels, GROUP, TAKEN, LANES)
    given += row.to(tl.int64) * pixels * channels
    more = tl.load(added + row % added_rows * added_stride + channel, mask=inside & (channel < adding), other=0.0).to(
        tl.float32
    )
    end = tl.minimum(pixels, (part + 1) * chunk)
    # Sums of how far each number is from the first of its channel: or, far from zero, no digits of them would be left.
    origin = tl.load(given + part * chunk * channels + channel, mask=inside, other=0.0).to(tl.float32) + more
    sums, squared = tl.zeros([AT_ONCE, LANES], tl.float32), tl.zeros([AT_ONCE, LANES], tl.float32)
    for start in range(part * chunk, end, AT_ONCE):
        tile, here, _ = _tile(given, more, start, end, channel, inside, channels, AT_ONCE)
        apart = tl.where(here, tile - origin[None, :], 0.0)
        sums += apart
        squared += apart * apart
    count = (end - part * chunk).to(tl.float32)
    shift = tl.sum(sums, 0) / count
    mean, square = origin + shift, tl.sum(squared, 0) - shift * shift * count  # of each channel
    group = tl.arange(0, GROUPS)
    belongs = (number[:, None] // GROUP == group[None, :]) & inside[:, None]
    group_mean = tl.sum(tl.where(belongs, mean[:, None], 0.0), 0) / GROUP
    apart = mean[:, None] - group_mean[None, :]
    group_square = tl.sum(tl.where(belongs, square[:, None] + apart * apart * count, 0.0), 0)
    target = (row * groups + first + group) * tl.num_programs(0) + part
    known = (group < TAKEN) & (first + group < groups)
    tl.store(means + target, group_mean, mask=known)
    tl.store(squares + target, group_square, mask=known)


@triton.jit(do_not_specialize=ANY)
def _apply(
    given, added, weight, bias, means, squares, result, pixels, chunk, channels, adding, added_rows, added_stride, groups, eps,
    SILU: tl.constexpr, PARTS: tl.constexpr,
    GROUP: tl.constexpr, TAKEN: tl.constexpr, GROUPS: tl.constexpr, LANES: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Take one part of the pixels, some groups, one row: join what was found of all parts, and normalize."""
    own, row, first = tl.program_id(0), tl.program_id(2), tl.program_id(1) * TAKEN
    group, chunks = tl.arange(0, GROUPS), tl.num_programs(0)
    there, source = (group < TAKEN) & (first + group < groups), (row * groups + first + group) * chunks
    # How far the mean of each part is from that of the first one, for the same reason as above.
    origin = tl.load(means + source, mask=there, other=0.0)
    sums, squared = tl.zeros([GROUPS], tl.float32), tl.zeros([GROUPS], tl.float32)
    for begin in range(0, chunks, PARTS):
        part = begin + tl.arange(0, PARTS)
        known = there[:, None] & (part < chunks)[None, :]
        counts = (GROUP * tl.maximum(tl.minimum(pixels - part * chunk, chunk), 0)).to(tl.float32)[None, :]
        apart = tl.load(means + source[:, None] + part[None, :], mask=known, other=0.0) - origin[:, None]
        sums += tl.sum(apart * counts, 1)
        squared += tl.sum(tl.load(squares + source[:, None] + part[None, :], mask=known, other=0.0) + apart * apart * counts, 1)
    shift = sums / (pixels * GROUP)
    variance = tl.maximum(squared / (pixels * GROUP) - shift * shift, 0.0)
    mean, scale = origin + shift, tl.rsqrt(variance + eps)
    number, channel, inside = _lanes(first, channels, GROUP, TAKEN, LANES)
    belongs = number[:, None] // GROUP == group[None, :]
    mean_of_each = tl.sum(tl.where(belongs, mean[None, :], 0.0), 1)
    scale_of_each = tl.sum(tl.where(belongs, scale[None, :], 0.0), 1) * tl.load(weight + channel, mask=inside, other=0.0).to(
        tl.float32
    )
    bias_of_each = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    more = tl.load(added + row % added_rows * added_stride + channel, mask=inside & (channel < adding), other=0.0).to(
        tl.float32
    )
    offset = row.to(tl.int64) * pixels * channels
    end = tl.minimum(pixels, (own + 1) * chunk)
    for start in range(own * chunk, end, AT_ONCE):
        tile, here, place = _tile(given + offset, more, start, end, channel, inside, channels, AT_ONCE)
        tile = (tile - mean_of_each[None, :]) * scale_of_each[None, :] + bias_of_each[None, :]
        if SILU:
            tile = tile * tl.sigmoid(tile)
        tl.store(result + offset + place, tile.to(result.dtype.element_ty), mask=here)


@torch.library.custom_op("imagine::normalize", mutates_args=())
def normalize(
    given: torch.Tensor,
    added: torch.Tensor | None,
    weight: torch.Tensor,
    bias: torch.Tensor,
    groups: int,
    eps: float,
    silu: bool,
) -> torch.Tensor:
    """Normalize pictures, (rows, channels, height, width), by groups of their channels, and bend them if `silu`.

    `added`, (some, channels), is added to each of their pixels before: where it has fewer rows, to the next ones from its
    first on again.
    """
    given = given.contiguous(memory_format=torch.channels_last)
    result = torch.empty_like(given)
    rows, channels, height, width = given.shape
    pixels = height * width
    sizes = _sizes(pixels, groups, channels // groups)
    at_once, blocks = sizes["AT_ONCE"], triton.cdiv(groups, sizes["TAKEN"])
    most = max(1, PROGRAMS // (rows * blocks))
    chunks = min(triton.cdiv(pixels, at_once), most if most < PARTS else most // PARTS * PARTS)
    chunk = at_once * triton.cdiv(pixels, at_once * chunks)
    grid = triton.cdiv(pixels, chunk), blocks, rows
    means, squares = given.new_empty(2, rows, groups, grid[0], dtype=torch.float32)
    more, count, stride = (given, 1, 0) if added is None else (added, len(added), added.stride(0))
    adding = 0 if added is None else channels  # the compiler must not know: with none it waits for each read
    _measure[grid](given, more, means, squares, pixels, chunk, channels, adding, count, stride, groups, **sizes)
    _apply[grid](
        given, more, weight, bias, means, squares, result, pixels, chunk, channels, adding, count, stride, groups, eps,
        SILU=silu, PARTS=PARTS, **sizes,
    )  # fmt: skip
    return result


def _sizes(pixels: int, groups: int, group: int) -> dict[str, int]:
    """Say what a program takes at a time, for groups of so many channels."""
    step = EVEN // math.gcd(group, EVEN)  # groups that begin and end where a thread does
    lanes = max(LANES, triton.next_power_of_2(group * step))
    taken = min(lanes // group, triton.cdiv(groups, step) * step) // step * step
    at_once, warps = FEW if pixels <= SMALL else MANY
    every = triton.next_power_of_2(taken)
    return {"GROUP": group, "TAKEN": taken, "GROUPS": every, "LANES": lanes, "AT_ONCE": at_once, "num_warps": warps}


@normalize.register_fake
def _(given, added, weight, bias, groups, eps, silu):  # noqa: ARG001
    return torch.empty_like(given, memory_format=torch.channels_last)
