"""Checkpoints: tensors in safetensors files small enough to travel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

LIMIT = 15 * 2**20  # bytes of tensors in one file


def save(folder: Path, name: str, tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float16) -> None:
    """Write tensors as NAME-1.safetensors, NAME-2.safetensors, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-*.safetensors"):
        old.unlink()
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for key, tensor in tensors.items():
        stored = tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        if size + stored.nbytes > LIMIT:
            shards.append({})
            size = 0
        shards[-1][key] = stored
        size += stored.nbytes
    for number, shard in enumerate(shards, 1):
        save_file(shard, folder / f"{name}-{number}.safetensors")


def exists(folder: Path, name: str) -> bool:
    """Say whether there is such a checkpoint."""
    return any(folder.glob(f"{name}-*.safetensors"))


def load(folder: Path, name: str) -> dict[str, Tensor]:
    """Read a checkpoint's tensors as float32."""
    tensors: dict[str, Tensor] = {}
    for file in sorted(folder.glob(f"{name}-*.safetensors")):
        tensors |= load_file(file)
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}


def state(**modules: nn.Module) -> dict[str, Tensor]:
    """Return the weights of several networks, each under its name."""
    return {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}


def restore(tensors: Mapping[str, Tensor], **modules: nn.Module) -> None:
    """Put `state`'s weights back."""
    for name, module in modules.items():
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        module.load_state_dict(own)
