"""Kernels written by hand, where the compiler's own are far from what a GPU can do. bench/LOG.md says how far.

Triton comes with torch's builds for GPUs, so only what runs there may import this.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# ruff: noqa: N803, ANN001, ANN202

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
import triton
import triton.language as tl

EIGHT: Final = torch.float8_e4m3fn


@triton.jit
def _place(
    query, key, query_weight, key_weight, cos, sin, query_out, key_out,
    query_stride, key_stride, row_stride, turn_stride, pair_stride, tokens, first, all_tokens, heads, eps,
    HEADS: tl.constexpr, SIDE: tl.constexpr,
):  # fmt: skip
    """Take one token of query or key: all its heads, each of SIDE numbers. Numbers 2i and 2i + 1 are turned by the angle i."""
    row, token = tl.program_id(0), tl.program_id(0) % tokens
    place = row // tokens * all_tokens + first + token
    head, pair = tl.arange(0, HEADS)[:, None], tl.arange(0, SIDE // 2)[None, :]
    inside = head < heads
    if tl.program_id(1) == 0:
        source, weights, target, stride = query, query_weight, query_out, query_stride
    else:
        source, weights, target, stride = key, key_weight, key_out, key_stride
    both = tl.arange(0, SIDE)[None, :]
    numbers = tl.load(source + row.to(tl.int64) * stride + head * SIDE + both, mask=inside, other=0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(numbers * numbers, 1, keep_dims=True) / SIDE + eps)
    numbers = numbers * scale * tl.load(weights + both).to(tl.float32)
    even, odd = tl.split(tl.reshape(numbers, (HEADS, SIDE // 2, 2)))
    turn = row // tokens * row_stride + (first + token) * turn_stride + pair * pair_stride
    c, s = tl.load(cos + turn), tl.load(sin + turn)
    turned = tl.reshape(tl.join(even * c - odd * s, odd * c + even * s), (HEADS, SIDE))
    tl.store(target + place.to(tl.int64) * heads * SIDE + head * SIDE + both, turned.to(target.dtype.element_ty), mask=inside)


@torch.library.custom_op("imagine::place", mutates_args=())
def place(
    queries: Sequence[torch.Tensor],
    keys: Sequence[torch.Tensor],
    weights: Sequence[torch.Tensor],
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalize queries and keys, turn them by their places, and join their parts: in one reading and one writing.

    `queries` and `keys` are parts of one row of tokens, each (rows, tokens, heads * numbers); `weights` are two for each part,
    of its query's norm and of its key's. `cos` and `sin` of the angles are (rows or 1, all tokens, numbers / 2).
    Returns (rows, all tokens, heads, numbers) of both.
    """
    rows, _, width = queries[0].shape
    every, side = sum(part.shape[1] for part in queries), width // heads
    found = queries[0].new_empty(rows, every, heads, side), keys[0].new_empty(rows, every, heads, side)
    first = 0
    for number, (query, key) in enumerate(zip(queries, keys, strict=True)):
        tokens = query.shape[1]
        _place[(rows * tokens, 2)](
            query, key, weights[2 * number], weights[2 * number + 1], cos, sin, *found,
            query.stride(1), key.stride(1), *_strides(cos), tokens, first, every, heads, eps,
            HEADS=triton.next_power_of_2(heads), SIDE=side,
        )  # fmt: skip
        first += tokens
    return found


def _strides(angles: torch.Tensor) -> tuple[int, ...]:
    return 0 if len(angles) == 1 else angles.stride(0), *angles.stride()[1:]


@place.register_fake
def _(queries, keys, weights, cos, sin, heads, eps):  # noqa: ARG001
    every = sum(part.shape[1] for part in queries)
    shape = queries[0].shape[0], every, heads, queries[0].shape[2] // heads
    return queries[0].new_empty(shape), keys[0].new_empty(shape)


@triton.jit
def _bend_and_shrink(given, small, scales, stride, width, LARGEST: tl.constexpr, BLOCK: tl.constexpr):
    """Take one row, and keep it from the one reading to the one writing."""
    row, place = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = place < width
    numbers = tl.load(given + row * stride + place, mask=inside, other=0.0).to(tl.float32)
    # (1 + tanh(x)) / 2 is 1 / (1 + exp(-2x)), in half the instructions; they take longer here than the memory does.
    numbers = numbers / (1 + tl.exp(-1.5957691216057308 * numbers * (1 + 0.044715 * numbers * numbers)))
    largest = tl.maximum(tl.max(tl.abs(numbers), 0), 1e-12)
    tl.store(small + row * width + place, (numbers * (LARGEST / largest)).to(small.dtype.element_ty), mask=inside)
    tl.store(scales + row, largest / LARGEST)


@torch.library.custom_op("imagine::bend_and_shrink", mutates_args=())
def bend_and_shrink(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Bend numbers, (rows, numbers), by a GELU of the tanh kind, and put each row into eight bits.

    Returns what `bot.layers.shrink` makes of a GELU's: the numbers, scaled to what eight bits reach, and each row's scale.
    """
    count, width = rows.shape
    small, scales = rows.new_empty(rows.shape, dtype=EIGHT), rows.new_empty(count, 1, dtype=torch.float32)
    block = triton.next_power_of_2(width)
    _bend_and_shrink[(count,)](
        rows, small, scales, rows.stride(0), width,
        LARGEST=torch.finfo(torch.float8_e4m3fn).max, BLOCK=block, num_warps=min(max(block // 1024, 1), 16),
    )  # fmt: skip
    return small, scales


@bend_and_shrink.register_fake
def _(rows):
    count = rows.shape[0]  # its `len` would be a number: to the compiler, what was made for it serves no other
    return rows.new_empty(rows.shape, dtype=EIGHT), rows.new_empty(count, 1, dtype=torch.float32)
