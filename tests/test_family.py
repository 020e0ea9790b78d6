"""Every picture has a scheduler of its own: whatever it does there, the next one begins as if nothing had been."""

from __future__ import annotations

import copy
from typing import Any

import diffusers
import pytest
import torch

from bot.families import FAMILIES
from bot.family import copied
from bot.models import MODELS, ROWS
from bot.request import compose
from bot.steps import Task
from tests.fakes.pipelines import build

SCHEDULERS = [
    *(diffusers.PNDMScheduler, diffusers.DDIMScheduler, diffusers.HeunDiscreteScheduler),
    *(diffusers.EulerDiscreteScheduler, diffusers.EulerAncestralDiscreteScheduler, diffusers.LCMScheduler),
    *(diffusers.DPMSolverMultistepScheduler, diffusers.UniPCMultistepScheduler, diffusers.FlowMatchEulerDiscreteScheduler),
]


def draw(scheduler: Any) -> torch.Tensor:
    """Take all steps, where the network always predicts the same."""
    torch.manual_seed(0)
    latents, predicted = torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8)
    for time in scheduler.timesteps:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(latents, time)
        latents = scheduler.step(predicted, time, latents, return_dict=False)[0]
    return latents


@pytest.mark.parametrize("kind", SCHEDULERS)
def test_two_copies_of_a_scheduler_know_nothing_of_each_other(kind: Any) -> None:
    scheduler, other = kind(), kind()
    for each in (scheduler, other):
        each.set_timesteps(5, device="cpu")
    before = copy.deepcopy(vars(scheduler))
    first, second = copied(scheduler), copied(scheduler)
    found = draw(first)
    assert torch.equal(draw(second), found)
    assert torch.equal(draw(other), found)
    assert vars(scheduler).keys() == before.keys()
    for name, value in before.items():
        now = vars(scheduler)[name]
        assert torch.equal(now, value) if torch.is_tensor(value) else str(now) == str(value), name


def test_a_schedule_is_made_once_for_all_drawings_that_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROWS["sdxl"]
    monkeypatch.setitem(MODELS, row.name, row)
    family = FAMILIES[row.pipeline](build(row), row, "cpu")
    asked = [compose("a fox", model=row.name, seed=seed, num_inference_steps=steps) for seed, steps in ((1, 5), (2, 5), (3, 6))]
    first, second, other = (family.drawing(Task(arrived=0), request, 0, None) for request in asked)
    assert first.scheduler is not second.scheduler
    assert first.scheduler.sigmas is second.scheduler.sigmas
    assert len(other.timesteps) == 6


def test_what_never_changes_is_not_copied() -> None:
    scheduler: Any = diffusers.PNDMScheduler(skip_prk_steps=True)  # type: ignore[no-untyped-call]
    own = copied(scheduler)
    assert own.alphas_cumprod is scheduler.alphas_cumprod
    assert own.config is scheduler.config
    assert own.ets is not scheduler.ets
