"""Kernels written by hand, where the compiler's own are far from what the memory of a GPU can do. bench/LOG.md says how far.

Triton comes with torch's builds for GPUs, so only what runs there may import this.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator"
# ruff: noqa: N803, ANN001, ANN202

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl


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
