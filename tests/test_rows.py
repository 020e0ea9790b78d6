"""Every row of the table of models can be loaded and drawn with: a toy of each takes the way that the real one takes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from accelerate.hooks import CpuOffload  # type: ignore[import-untyped]
from PIL import Image

from bot.errors import Told, TooLarge
from bot.gen import Generator
from bot.models import MODELS, ROWS, SKETCH, Model
from bot.request import Finished, Picture, Step, compose
from bot.weights import ROOM
from tests.fakes.pipelines import TOYS, build

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SIDE = 64  # pixels
EVERY = pytest.mark.parametrize("name", ROWS)
LARGE = pytest.mark.parametrize("name", sorted(ROWS.keys() - {"sketch"}))  # which take turns where there is little memory


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repositories")


@pytest.fixture
def toy(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Put a toy where the row of this name looks for its weights."""
    repository = folder / name
    if not repository.exists():
        build(ROWS[name]).save_pretrained(repository, variant=ROWS[name].variant)
    row = replace(ROWS[name], repository=str(repository), min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, name, row)
    return row


def draw(generator: Generator, batch_size: int = 1, **given: Any) -> tuple[Picture, ...]:
    asked: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "num_inference_steps": 2} | given
    request = compose(model=generator.model.name, **asked)
    *events, finished = generator.generate(request, batch_size=batch_size)
    assert isinstance(finished, Finished)
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.index for step in steps] == sorted({step.index for step in steps})
    assert steps[-1].index == steps[-1].total
    return finished.pictures


def test_there_is_a_toy_for_every_row() -> None:
    assert TOYS.keys() == ROWS.keys()


@EVERY
def test_a_row_names_the_class_that_its_repository_is_made_for(name: str) -> None:
    assert type(build(ROWS[name])).__name__ == ROWS[name].pipeline


@EVERY
def test_a_row_draws_what_is_asked_for(toy: Model) -> None:
    generator = Generator(toy, "cpu")
    (picture,) = draw(generator)
    with Image.open(io.BytesIO(picture.png)) as image:
        assert image.size == (SIDE, SIDE)
    assert draw(generator) == (picture,)
    assert draw(generator, seed=8)[0].png != picture.png


@EVERY
def test_a_row_draws_several_at_a_time(toy: Model) -> None:
    assert len(draw(Generator(toy, "cpu"), batch_size=2, n=3)) == 3


@EVERY
def test_a_row_reads_what_to_leave_out_only_if_it_says_so(toy: Model) -> None:
    generator = Generator(toy, "cpu")
    if toy.guided:
        assert draw(generator, negative_prompt="blur")[0].png != draw(generator)[0].png
    else:
        with pytest.raises(Told, match="drop --no"):
            draw(generator, negative_prompt="blur")


def test_weights_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(Told, match="The weights of sketch are not on this machine"):
        Generator(replace(SKETCH, repository=str(tmp_path)), "cpu")


class Memory:
    """Holds so many pictures at a time."""

    def __init__(self, generator: Generator, pictures: int) -> None:
        self.pictures = pictures
        self.refused = 0
        generator._pipeline.unet.register_forward_pre_hook(self._pass, with_kwargs=True)

    def _pass(self, _network: object, _: object, arguments: dict[str, torch.Tensor]) -> None:
        if len(arguments["sample"]) > self.pictures:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("name", ["sdxl-turbo"])
def test_pictures_that_do_not_fit_side_by_side_are_drawn_one_by_one(toy: Model) -> None:
    generator = Generator(toy, "cpu")
    expected = draw(generator, n=3)
    memory = Memory(generator, 1)
    request = compose("a red fox", model=toy.name, seed=7, num_inference_steps=2, n=3)
    *_, finished = generator.generate(request, batch_size=3)
    assert isinstance(finished, Finished)
    assert finished.pictures == expected
    assert memory.refused == 1


@pytest.mark.parametrize("name", ["sdxl-turbo"])
def test_a_picture_that_does_not_fit_at_all_is_refused_in_words_and_the_next_one_is_drawn(toy: Model) -> None:
    generator = Generator(toy, "cpu")
    memory = Memory(generator, 0)
    with pytest.raises(TooLarge, match="Please try it smaller"):
        draw(generator)
    memory.pictures = 1
    assert len(draw(generator)) == 1


@pytest.mark.parametrize("memory", [ROOM + 0.5, 0.5], ids=["whole networks", "single layers"])
@EVERY
def test_networks_that_take_turns_in_little_memory_draw_the_same(toy: Model, memory: float) -> None:
    lean = Generator(toy, "cpu", memory)
    for ours, theirs in zip(draw(lean, n=2), draw(Generator(toy, "cpu"), n=2), strict=True):
        assert np.abs(pixels(ours) - pixels(theirs)).max() <= 1


@LARGE
def test_networks_take_turns_after_a_cancel_too(toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the encoders of the next prompt come beside the largest network, and for both there is no room."""
    present, beside = set[torch.nn.Module](), list[bool]()

    def come(hook: CpuOffload, module: torch.nn.Module, *given: Any, **named: Any) -> tuple[Any, Any]:
        if hook.prev_module_hook is not None:
            hook.prev_module_hook.offload()
        present.add(module)
        if module in encoders:
            beside.append(generator._family.network in present)
        return given, named

    def go(_: CpuOffload, module: torch.nn.Module) -> torch.nn.Module:
        present.discard(module)
        return module

    monkeypatch.setattr(CpuOffload, "pre_forward", come)
    monkeypatch.setattr(CpuOffload, "init_hook", go)
    generator = Generator(toy, "cpu", ROOM + 0.5)
    encoders = [part for name, part in generator._pipeline.components.items() if name.startswith("text_encoder")]
    events = generator.generate(compose("a red fox", model=toy.name, seed=7, num_inference_steps=4))
    assert any(isinstance(event, Step) for event in events)
    events.close()
    assert generator._family.network in present
    assert draw(generator, prompt="a blue whale")
    assert len(beside) >= 2 * len([each for each in encoders if each is not None])
    assert not any(beside)


@LARGE
def test_where_there_is_little_memory_all_pictures_are_decoded_in_tiles(toy: Model) -> None:
    generator = Generator(toy, "cpu", ROOM + 0.5)
    draw(generator)
    assert generator._pipeline.vae.use_tiling


def pixels(picture: Picture) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(picture.png)) as image:
        return np.asarray(image, dtype=np.float64)
