"""The embedded model really draws: what is asked, the same each time, and it stops when told."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from bot import recipe
from bot.gen import Generator
from bot.models import SKETCH
from bot.request import SEEDS, Finished, ImageRequest, Picture, Started, Step, compose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# diffusers' scheduler hands numpy a tensor in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")

ROUNDING = 4  # of 255: how far a pixel may be off when pictures are drawn side by side, as sums are then made in another order


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(SKETCH, "cpu")


class Passes:
    """How often the network has been asked for a step; `fails` makes it break down at the next one."""

    def __init__(self) -> None:
        self.count = 0
        self.fails = False

    def __call__(self, *_: object) -> None:
        self.count += 1
        if self.fails:
            raise RuntimeError("out of memory")


@pytest.fixture
def passes(generator: Generator) -> Iterator[Passes]:
    counted = Passes()
    hook = generator._pipeline.unet.register_forward_pre_hook(counted)
    yield counted
    hook.remove()


def small(**given: Any) -> ImageRequest:
    """Ask for a picture that takes a quarter of a second."""
    usual: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "width": 192, "height": 192, "num_inference_steps": 2}
    return compose(model=SKETCH.name, **(usual | given))


def draw(generator: Generator, request: ImageRequest, batch_size: int = 1) -> tuple[Picture, ...]:
    *_, finished = generator.generate(request, batch_size=batch_size)
    assert isinstance(finished, Finished)
    return finished.pictures


def pixels(picture: Picture) -> NDArray[np.float64]:
    with Image.open(io.BytesIO(picture.png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def test_the_same_request_gives_the_same_bytes(generator: Generator) -> None:
    assert draw(generator, small()) == draw(generator, small())


def test_another_generator_gives_the_same_bytes(generator: Generator) -> None:
    assert draw(Generator(SKETCH, "cpu"), small()) == draw(generator, small())


@pytest.mark.parametrize(
    "given",
    [{"seed": 8}, {"prompt": "a blue whale"}, {"guidance_scale": 2}, {"num_inference_steps": 3}, {"negative_prompt": "red"}],
)
def test_every_part_of_a_request_counts(generator: Generator, given: dict[str, Any]) -> None:
    (one,), (other,) = draw(generator, small()), draw(generator, small(**given))
    assert not np.array_equal(pixels(one), pixels(other))


def test_a_picture_of_a_set_is_the_one_that_its_own_seed_draws_alone(generator: Generator) -> None:
    request = small(n=3, seed=SEEDS - 2)
    pictures = draw(generator, request)
    assert [picture.request.seed for picture in pictures] == [SEEDS - 2, SEEDS - 1, 0]
    for index, picture in enumerate(pictures):
        assert draw(generator, request.alone(index)) == (picture,)


def test_pictures_drawn_side_by_side_differ_from_those_drawn_alone_by_no_more_than_rounding(generator: Generator) -> None:
    request = small(n=3)
    pairs = zip(draw(generator, request), draw(generator, request, batch_size=3), strict=True)
    for alone, together in pairs:
        assert together.request == alone.request
        assert np.abs(pixels(together) - pixels(alone)).max() <= ROUNDING


def redness(picture: Picture) -> float:
    """Say how much redder than blue the border is, from -255 to 255."""
    image = pixels(picture)
    border = np.concatenate([image[:16].reshape(-1, 3), image[-16:].reshape(-1, 3)])
    return float(border[:, 0].mean() - border[:, 2].mean())


def test_a_background_has_the_colour_that_was_asked_for(generator: Generator) -> None:
    red, blue = (
        redness(*draw(generator, compose(f"a cat on a {colour} background", model=SKETCH.name, seed=7)))
        for colour in ("red", "blue")
    )
    assert red > 40
    assert blue < -40


def test_events_come_in_order_and_are_counted_over_all_pictures(generator: Generator) -> None:
    *events, finished = generator.generate(small(n=2, num_inference_steps=3))
    assert events == [Started(), *(Step(index, 6) for index in range(1, 7))]
    assert isinstance(finished, Finished)
    assert finished.seconds > 0
    assert [picture.request for picture in finished.pictures] == [
        small(num_inference_steps=3),
        small(num_inference_steps=3, seed=8),
    ]


@pytest.mark.parametrize(("batch_size", "total"), [(1, 5), (2, 3), (3, 2), (5, 1), (10, 1)])
def test_pictures_drawn_side_by_side_share_their_steps(generator: Generator, batch_size: int, total: int) -> None:
    events = list(generator.generate(small(n=5, num_inference_steps=1), batch_size=batch_size))
    assert [event for event in events if isinstance(event, Step)] == [Step(index, total) for index in range(1, total + 1)]


@pytest.mark.parametrize(
    "given",
    [
        {"width": 224, "height": 192},
        {"width": 192, "height": 224},
        {"width": SKETCH.max_side, "height": SKETCH.min_side, "num_inference_steps": 1},
        {"num_inference_steps": 1},
        {"num_inference_steps": SKETCH.max_inference_steps},
        {"guidance_scale": 0},
        {"guidance_scale": 1},
        {"guidance_scale": SKETCH.max_guidance_scale},
        {"prompt": "🦊 狐 " * 300, "negative_prompt": "blur " * 300},
    ],
    ids=", ".join,
)
def test_whatever_may_be_asked_can_be_drawn(generator: Generator, given: dict[str, Any]) -> None:
    request = small(**given)
    (picture,) = draw(generator, request)
    assert pixels(picture).shape == (request.height, request.width, 3)
    assert picture.request == request


def test_a_picture_carries_the_recipe_that_redraws_it_to_the_byte(generator: Generator, tmp_path: Path) -> None:
    (picture,) = draw(generator, small(prompt="ein Fuchs 🦊", negative_prompt="blur", guidance_scale=1.25))
    (tmp_path / "fox.png").write_bytes(picture.png)
    assert draw(generator, recipe.of(tmp_path / "fox.png")) == (picture,)


def test_closing_the_events_stops_the_drawing_and_the_next_one_is_unchanged(generator: Generator, passes: Passes) -> None:
    expected = draw(generator, small())
    passes.count = 0
    events = generator.generate(small(num_inference_steps=SKETCH.max_inference_steps))
    assert [next(events), next(events)] == [Started(), Step(1, SKETCH.max_inference_steps)]
    events.close()
    assert passes.count <= 3  # the step that was under way when we closed; one more if this machine is very busy
    assert draw(generator, small()) == expected


def test_events_that_nobody_reads_draw_nothing(generator: Generator, passes: Passes) -> None:
    generator.generate(small()).close()
    assert passes.count == 0


def test_whoever_reads_the_events_learns_what_went_wrong_and_the_next_drawing_is_unchanged(
    generator: Generator, passes: Passes
) -> None:
    expected = draw(generator, small())
    passes.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        draw(generator, small())
    passes.fails = False
    assert draw(generator, small()) == expected


def test_two_who_draw_at_once_do_not_disturb_each_other(generator: Generator) -> None:
    requests = [small(), small(prompt="a blue whale", seed=9)]
    expected = [draw(generator, request) for request in requests]
    drawn: dict[int, tuple[Picture, ...]] = {}

    def draw_one(index: int) -> None:
        drawn[index] = draw(generator, requests[index])

    threads = [threading.Thread(target=draw_one, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [drawn[0], drawn[1]] == expected
