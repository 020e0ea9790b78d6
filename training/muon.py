"""Muon: gradient descent by orthogonalised momentum, for weight matrices; steps are scaled to AdamW's (arXiv 2502.16982)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return the nearest semi-orthogonal matrices, roughly: bfloat16 [count, rows, columns]."""
    a, b, c = COEFFICIENTS
    x: Tensor = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        product = x @ x.mT
        x = a * x + (b * product + c * product @ product) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Treats a convolution's weight as a matrix [out, in · height · width]; matrices of one shape go together."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nothing here needs a closure
        """Update every matrix."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[(len(parameter), parameter[0].numel())].append(parameter)
            for (rows, columns), parameters in shapes.items():
                self._update(parameters, group, 0.2 * max(rows, columns) ** 0.5)

    def _update(self, parameters: list[Tensor], group: dict[str, Any], scale: float) -> None:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
        steps = orthogonalised(torch.stack([step.flatten(1) for step in ahead]))
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        moves = [step.view_as(parameter).to(parameter.dtype) for step, parameter in zip(steps, parameters, strict=True)]
        torch._foreach_add_(parameters, moves, alpha=-group["lr"] * scale)
