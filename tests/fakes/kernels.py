"""What kernels of ours compute, by torch's own means: for a computer without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch.nn.functional import group_norm, silu

from bot.layers_conv import convolved

if TYPE_CHECKING:
    import pytest
    import torch


def compute_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put these in for the kernels that UNets and decoders have."""
    monkeypatch.setattr("bot.kernels_norm.normalize", normalize)
    monkeypatch.setattr("bot.kernels_conv.convolve", convolved)
    monkeypatch.setattr("bot.kernels_conv.fits", lambda _: True)


def normalize(given: torch.Tensor, added: torch.Tensor | None, *norm: Any) -> torch.Tensor:
    """Normalize as `bot.kernels_norm.normalize` does."""
    weight, bias, groups, eps, bent = norm
    if added is not None:
        given = given + added.repeat(len(given) // len(added), 1)[:, :, None, None]
    found = group_norm(given, groups, weight, bias, eps)
    return silu(found) if bent else found
