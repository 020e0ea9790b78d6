"""The embedded model as it is packed: what its card promises of the folder, and that no prompt breaks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoPipelineForText2Image

from bot.models import SKETCH

FOLDER = Path(SKETCH.repository)
FILES = [file for file in FOLDER.rglob("*") if file.is_file()]
ABSURD = (
    "", " \t\n", "?!", "🦊🌲", "雪の中の狐", "asdfghjkl", "fox " * 200, "a" * 3000, "<|endoftext|> cat", "\x00\x01", "a wombat",
    "nothing, in no place",
)  # fmt: skip


def test_it_fits_into_the_repository() -> None:
    assert sum(file.stat().st_size for file in FILES) <= 40_000_000
    assert max(file.stat().st_size for file in FILES) <= 16 * 2**20


def test_it_is_a_diffusers_folder_without_code_or_pickles() -> None:
    index = json.loads((FOLDER / "model_index.json").read_text())
    parts = [value for value in index.values() if isinstance(value, list) and value[0]]
    assert {library for library, _ in parts} == {"diffusers", "transformers"}
    assert {file.suffix for file in FILES} == {".json", ".md", ".safetensors"}


def test_its_card_is_the_one_that_training_writes() -> None:
    assert (FOLDER / "README.md").read_text() == (Path(__file__).parent.parent / "training" / "CARD.md").read_text()


@pytest.mark.usefixtures("one_thread")
def test_no_prompt_breaks_it() -> None:
    load: Any = AutoPipelineForText2Image.from_pretrained
    pipeline = load(FOLDER, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 64}
    for some in (ABSURD, ABSURD[:1]):  # together, and the empty one alone
        pictures = pipeline(list(some), num_inference_steps=2, guidance_scale=1.0, output_type="pt", **size).images
        assert pictures.shape == (len(some), 3, 64, 64)
        assert pictures.isfinite().all()
