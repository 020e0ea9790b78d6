"""What a transformer makes of all its steps at once is what it makes of each."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from bot.families import FAMILIES, Modulated
from bot.fast import REGIONS
from bot.layers_time import foretell
from bot.models import MODELS, ROWS
from bot.request import compose
from bot.steps import Task
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from bot.family import Drawing

SIDE = 64  # pixels


@pytest.fixture
def planned(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Modulated, list[Any]]:
    """Return a family, and the blocks of its network."""
    row = replace(ROWS[name], min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, name, row)
    family: Any = FAMILIES[row.pipeline](build(row), row, "cpu")
    family.network.eval()
    return family, [block for block in family.network.modules() if type(block).__name__ in REGIONS]


def begun(family: Modulated) -> Drawing:
    """Return a picture that has taken one step of four."""
    asked = compose("a red fox", model=family.model.name, seed=7, num_inference_steps=4)
    drawing = family.drawing(Task(arrived=0), asked, 0, None)
    family.begin(drawing)
    family.step(drawing, *family.predict([drawing]))
    drawing.left -= 1
    return drawing


@torch.inference_mode()
@pytest.mark.parametrize("name", ["flux-schnell", "flux-dev", "sd35-medium"])
def test_a_network_that_is_given_what_it_makes_of_its_steps_predicts_the_same(planned: tuple[Modulated, list[Any]]) -> None:
    family, blocks = planned
    usual = begun(family)
    expected = family.predict([usual, usual])
    asked: list[tuple[int, ...]] = []
    tell = foretell(family.network, blocks)

    def counted(*given: torch.Tensor) -> torch.Tensor:
        asked.append(tuple(len(each) for each in given))
        return tell(*given)

    family.tell = counted
    drawing = begun(family)
    assert {count for given in asked for count in given} == {4}  # all steps at once
    assert len(asked) == 1 + drawing.shape.guided
    for one, other in zip(family.predict([drawing, drawing]), expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    family.decode(drawing)
    assert drawing.foretold is None  # it is large, and nobody needs it any more


@pytest.mark.parametrize("name", ["flux-schnell"])
def test_blocks_that_are_given_different_parts_are_compiled_together(planned: tuple[Modulated, list[Any]]) -> None:
    family, _ = planned
    single = family.network.single_transformer_blocks
    single.extend([copy.deepcopy(single[0]) for _ in range(4)])
    blocks = [*family.network.transformer_blocks, *single]
    family.tell = foretell(family.network, blocks)
    torch.compiler.reset()
    compiler = CompileCounter()
    for block in blocks:
        block.forward = torch.compile(block.forward, fullgraph=True, dynamic=True, backend=compiler)
    with torch.inference_mode():
        begun(family)
    assert len(blocks) == 7
    # With words apart; together, as those leave them; together, as the one before leaves them.
    assert compiler.frame_count == 3
