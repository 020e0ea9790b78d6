"""What README.md says about money is what the list of prices comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import cost
from bot.models import ROWS

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("table", [cost.by_gpu(), cost.by_model()])
def test_the_tables_of_the_readme_are_those_of_the_price_list(table: str) -> None:
    assert table in README


def test_so_is_what_the_container_costs_that_is_always_awake() -> None:
    assert f"about ${cost.web():.0f} a month" in README
    assert f"{cost.LEAST_CORES} cores × ${cost.CORE * cost.HOUR:.3f} an hour" in README
    assert f"{cost.WEB_GIB} GiB × ${cost.GIB * cost.HOUR:.3f} an hour" in README


def test_every_gpu_that_a_model_may_get_has_a_price() -> None:
    assert {gpu for row in ROWS.values() for gpu in row.gpu} <= cost.GPU.keys()


def test_what_was_measured_is_on_a_gpu_that_has_a_price_and_of_a_model_that_is_there() -> None:
    assert all(model in ROWS and gpu in cost.GPU for model, gpu in cost.SECONDS)


@pytest.mark.parametrize(
    ("measured", "cells"),
    [
        ({("sdxl", "L40S"): 2.5, ("sdxl", "H200"): 1.0}, ("2.50", "$2.50")),
        ({("sdxl", "H200"): 1.0}, ("2.0 to 4.0, reckoned", "$2.00 to $4.00")),
        ({}, ("not measured", "$1.00 × seconds per picture")),
    ],
)
def test_a_picture_costs_its_seconds_times_the_price(
    measured: dict[tuple[str, str], float], cells: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "SECONDS", measured)
    monkeypatch.setitem(cost.GPU, "L40S", 0.001)
    monkeypatch.setattr(cost, "PEAKS", {"H200": (800, 4000), "L40S": (400, 1000)})
    assert cost._picture("sdxl", "L40S") == cells
