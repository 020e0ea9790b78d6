"""The embedded model really draws: what is asked, the same each time, and it stops when told."""

from __future__ import annotations

import gc
import io
import math
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch._dynamo.config as compiler
from PIL import Image

from bot import recipe
from bot.errors import Cancelled, Spoilt
from bot.gen import SOON, Generator, _Pass, _Task
from bot.models import MODELS, SKETCH
from bot.request import SEEDS, Finished, ImageRequest, Picture, Started, Step, compose
from bot.steps import SIZES, Curve, Row, Task
from tests.conftest import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bot.family import Drawing

# diffusers' scheduler hands numpy a tensor in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")

ROUNDING = 4  # of 255: how far a pixel may be off when pictures are drawn side by side, as sums are then made in another order


@pytest.fixture(scope="module")
def generator() -> Generator:
    return Generator(SKETCH, "cpu")


@pytest.fixture(autouse=True)
def no_previews(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep previews, which come by the clock, out of what is compared."""
    monkeypatch.setattr("bot.gen.PREVIEW_EVERY", math.inf)


class Passes:
    """How often the network has been asked for a step; `fails` makes it break down at the next one.

    What `during` has under a number is done in the step of that number.
    """

    def __init__(self) -> None:
        self.count = 0
        self.fails = False
        self.during: dict[int, Callable[[], object]] = {}

    def __call__(self, *_: object) -> None:
        self.count += 1
        self.during.get(self.count, bool)()
        if self.fails:
            raise RuntimeError("out of memory")


class Done:
    """What a GPU says of a pass, when it is done with it."""

    def synchronize(self) -> None:
        """Wait for nothing."""


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


@pytest.mark.parametrize(("batch_size", "indices"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (3, [3, 5]), (5, [5]), (10, [5])])
def test_pictures_drawn_side_by_side_share_their_steps(generator: Generator, batch_size: int, indices: list[int]) -> None:
    events = list(generator.generate(small(n=5, num_inference_steps=1), batch_size=batch_size))
    assert [event for event in events if isinstance(event, Step)] == [Step(index, 5) for index in indices]


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


def test_a_drawing_that_is_cancelled_in_a_step_takes_no_other(generator: Generator, passes: Passes) -> None:
    stop = threading.Event()
    passes.during[3] = stop.set
    with pytest.raises(Cancelled):
        list(generator.generate(small(num_inference_steps=20), stop=stop))
    assert passes.count == 3


def test_a_gpu_is_not_handed_the_next_step_long_before_it_is_done(
    generator: Generator, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, curve, rests = threading.Event(), Curve(), list[float]()
    curve.learn(1.0, 1e6)  # seconds: it lets us wait for days

    def rest(_somebody: object, seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            stop.set()

    monkeypatch.setattr(generator._turn, "wait_for", rest)
    monkeypatch.setattr(generator, "device", "cuda")
    monkeypatch.setattr(generator, "_mark", Done)
    monkeypatch.setattr(generator, "_full", 1.0)
    monkeypatch.setattr(generator, "_curve", curve)
    with pytest.raises(Cancelled):
        list(generator.generate(small(num_inference_steps=20), stop=stop))
    assert passes.count == 3
    assert all(1e3 < seconds < 1e6 for seconds in rests[:3])


def test_handing_over_nothing_says_nothing_of_how_long_it_takes() -> None:
    generator = Generator(SKETCH, "cpu")
    assert generator._launch() == []
    assert generator._quickest == math.inf


def test_a_gpu_that_was_handed_too_much_at_once_is_not_handed_too_much_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hands it a pass too early waits in there until it has room: that says nothing of the next one."""
    generator, rests = Generator(SKETCH, "cpu"), list[float]()
    monkeypatch.setattr(generator._turn, "wait_for", lambda _somebody, seconds: rests.append(seconds))
    monkeypatch.setattr("bot.gen.time.monotonic", lambda: 0.0)
    passes = [_Pass([], {}, [], None, seconds=100.0)]
    generator._quickest = 1.0
    for took in (70.0, 70.0, 1.0):
        generator._took = took
        generator._hold_back(passes)
    assert rests == [SOON * 100 - 70 - 2, SOON * 100 - 70 - 2, SOON * 100 - 1 - 2]


def test_what_is_done_while_a_gpu_is_at_a_pass_is_part_of_the_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews are made into files then: a GPU that was handed the next pass so much later would wait for it."""
    generator, rests, now = Generator(SKETCH, "cpu"), list[float](), [50.0]

    class Mark:
        def synchronize(self) -> None:
            now[0] = 60.0  # then it gets to the next one

    def preview(_: object) -> bytes:
        now[0] += 7
        return b""

    monkeypatch.setattr("bot.gen.time.monotonic", lambda: now[0])
    monkeypatch.setattr("bot.gen._small", preview)
    monkeypatch.setattr(generator._turn, "wait_for", lambda _somebody, seconds: rests.append(seconds))
    drawing = generator._family.drawing(_Task(arrived=0, request=small(), stop=threading.Event()), small(), 0, None)
    generator._quickest = 0.0
    following = _Pass([drawing], {drawing.task: (0, torch.zeros(1))}, [], Mark(), seconds=100.0)  # type: ignore[arg-type]
    monkeypatch.setattr(generator, "device", "cuda")
    monkeypatch.setattr(generator, "_launch", lambda: [following])
    generator._go_on([])
    generator._go_on([following])
    assert rests == [SOON * 100, SOON * 100 - 7]


def test_what_it_takes_to_choose_a_pass_is_part_of_what_it_takes_to_hand_it_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long queue is longer to choose from: a GPU that was handed the next pass too late would wait for it."""
    generator, now = Generator(SKETCH, "cpu"), [100.0]
    chosen = generator._family.drawing(_Task(arrived=0, request=small(), stop=threading.Event()), small(), 0, None)
    chosen.task.rows.append(chosen)
    begin, predict = generator._family.begin, generator._family.predict

    def taking(seconds: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def slowly(*given: Any) -> Any:
            now[0] += seconds
            return work(*given)

        return slowly

    monkeypatch.setattr("bot.gen.time.monotonic", lambda: now[0])
    monkeypatch.setattr(generator._schedule, "next", taking(7, lambda _: [chosen]))
    monkeypatch.setattr(generator._family, "begin", taking(1000, begin))  # which is for once
    monkeypatch.setattr(generator._family, "predict", taking(2, predict))
    assert len(generator._launch()) == 1
    assert generator._took == generator._quickest == 9


@pytest.mark.parametrize(
    ("each", "most"),
    [((6.0, 4.5, 4.2, 4.1), 8), ((6.0, 4.6, 4.55, 3.0), 2), ((30.0, 31.0, 1.0, 1.0), 1)],
    ids=["all gain, eight not much", "four gain too little", "nothing gains"],
)
def test_as_many_may_go_at_once_as_were_measured_to_gain_enough(
    each: tuple[float, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = Generator(SKETCH, "cpu")
    took = iter([size * seconds for size, seconds in zip(SIZES, each, strict=True)])
    monkeypatch.setattr("bot.fast.seconds", lambda *_, **__: next(took))
    generator._measure(small())
    shape = generator._family.drawing(None, small(), 0, None).shape
    assert max(generator._costs(shape)) == most


@pytest.mark.parametrize("part", ["begin", "colours", "predict"])
def test_what_there_is_no_room_to_measure_goes_one_at_a_time(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(SKETCH, "cpu")
    shape = generator._family.drawing(None, small(), 0, None).shape
    monkeypatch.setattr(generator, "device", "cuda")
    monkeypatch.setattr(generator, "generate", lambda *_: iter(()))  # the first picture fits
    monkeypatch.setattr(generator._family, part, find_no_room)
    generator.warm()
    assert list(generator._costs(shape)) == [1]


@pytest.mark.parametrize("hastened", [True, False], ids=["made faster", "as it is"])
@pytest.mark.parametrize("fits", [True, False], ids=["two fit", "two do not fit"])
def test_what_is_made_faster_is_warm_for_other_shapes_too(hastened: bool, fits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the compiler was told where the model was loaded, whoever calls."""
    with compiler.patch(recompile_limit=77):
        generator = Generator(SKETCH, "cpu")
    family, done, slowed = generator._family, list[tuple[str, bool, int]](), list[Any]()
    predict, decode = family.predict, family.decode

    def predicting(drawings: Sequence[Drawing]) -> Any:
        done.append(("predict", _is_wide(drawings[0]), compiler.recompile_limit))
        if len(drawings) > 1 and not fits:
            raise torch.OutOfMemoryError
        return predict(drawings)

    def decoding(drawing: Drawing) -> Any:
        done.append(("decode", _is_wide(drawing), compiler.recompile_limit))
        return decode(drawing)

    monkeypatch.setattr(generator, "hastened", hastened)
    monkeypatch.setattr(family, "predict", predicting)
    monkeypatch.setattr(family, "decode", decoding)
    monkeypatch.setattr("bot.fast.slow", slowed.append)
    generator.warm()
    assert {limit for *_, limit in done} == {77}
    assert [what for what, wide, _ in done if wide] == ["predict", "decode", "predict", *["predict"] * fits] * hastened
    assert not slowed


LEAVING = """
import threading
from contextlib import suppress
from bot.errors import Cancelled
from bot.gen import Generator
from bot.models import SKETCH
from bot.request import compose

def read():
    with suppress(Cancelled):
        list(events)

request = compose("a fox", model="sketch", seed=1, width=512, height=512, num_inference_steps=50)
events = Generator(SKETCH, "cpu").generate(request)
assert [next(events), next(events)]
{then}
"""


@pytest.mark.parametrize("then", ["threading.Thread(target=read, daemon=True).start()", ""], ids=["read", "left"])
def test_a_process_ends_in_the_middle_of_a_drawing(then: str) -> None:
    """Python ends threads where they are, and torch does not bear that."""
    command = [sys.executable, "-c", LEAVING.format(then=then)]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)  # noqa: S603
    assert (ended.returncode, ended.stderr) == (0, "")


def test_whoever_waits_is_told_when_a_generator_is_closed() -> None:
    generator = Generator(SKETCH, "cpu")
    events = generator.generate(small(num_inference_steps=50))
    assert isinstance(next(events), Started)
    generator.close()
    with pytest.raises(Cancelled):
        list(events)
    generator.close()  # which it is


@pytest.mark.parametrize("what", ["words", "_encode", "_mix", "predict", "decode"])
def test_what_only_makes_it_quicker_makes_room_before_anything_is_refused(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(SKETCH, "cpu")

    def drawn() -> tuple[Picture, ...]:
        request = small(n=2, image=PHOTO, strength=0.7, variation_seed=1, variation_strength=0.3)
        *_, finished = generator.generate(request, image=photo())
        assert isinstance(finished, Finished)
        return finished.pictures

    expected, work, held = drawn(), getattr(generator._family, what), ["a graph"]

    class Held:
        def forget(self) -> bool:
            return bool(held and held.pop())

    def crowded(*given: Any) -> Any:
        if held:
            raise torch.OutOfMemoryError
        return work(*given)

    generator._family.kept.append(Held())
    monkeypatch.setattr(generator._family, what, crowded)
    assert drawn() == expected
    assert not held


@pytest.mark.parametrize(("stop", "expected"), [(1.0, {True}), (0.5, {True, False})])
def test_what_draws_its_last_steps_without_guidance_is_warm_for_those(
    stop: float, expected: set[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(SKETCH, guidance_scale=2.0, guidance_stop=stop)
    monkeypatch.setitem(MODELS, model.name, model)
    generator, guided = Generator(model, "cpu"), set[bool]()
    predict = generator._family.predict

    def predicting(drawings: Sequence[Drawing]) -> Any:
        guided.add(drawings[0].shape.guided)
        return predict(drawings)

    monkeypatch.setattr(generator._family, "predict", predicting)
    generator._compile_other_shapes()
    assert guided == expected


def _is_wide(drawing: Drawing) -> bool:
    return bool(drawing.shape.width > drawing.shape.height)


@pytest.mark.parametrize("hastened", [True, False], ids=["made faster", "as it is"])
def test_what_fails_while_warming_is_taken_back_if_there_is_something_to_take_back(
    hastened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, slowed = Generator(SKETCH, "cpu"), list[Any]()
    predict = generator._family.predict
    failures = [RuntimeError("this GPU does not bear it")]

    def fail(drawings: Any) -> Any:
        if failures:
            raise failures.pop()
        return predict(drawings)

    monkeypatch.setattr(generator, "hastened", hastened)
    monkeypatch.setattr(generator._family, "predict", fail)
    monkeypatch.setattr("bot.fast.slow", slowed.append)
    generator.warm()
    assert slowed == [generator._family] * hastened
    assert not failures


def test_what_the_compiler_was_told_holds_on_the_thread_that_draws() -> None:
    """Torch keeps its settings for each thread apart, and everything that is compiled is compiled there."""
    seen = list[int]()
    with compiler.patch(recompile_limit=77):
        generator = Generator(SKETCH, "cpu")
    generator._pipeline.unet.register_forward_pre_hook(lambda *_: seen.append(compiler.recompile_limit))
    draw(generator, small())
    assert set(seen) == {77}


def test_a_drawing_that_is_cancelled_before_it_begins_takes_no_step(generator: Generator, passes: Passes) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        list(generator.generate(small(), stop=stop))
    assert passes.count == 0


def test_a_drawing_that_waits_behind_another_is_cancelled_at_once(generator: Generator) -> None:
    stop, busy = threading.Event(), generator.generate(small(num_inference_steps=SKETCH.max_inference_steps))
    assert next(busy) == Started()
    with ThreadPoolExecutor(1) as reader:
        waits = reader.submit(list, generator.generate(small(n=4, num_inference_steps=SKETCH.max_inference_steps), stop=stop))
        next(event for event in busy if len(generator._schedule._tasks) > 1)
        stop.set()
        with pytest.raises(Cancelled):
            waits.result(10)
    assert len(generator._schedule._tasks) == 1  # the other one goes on
    busy.close()


def test_whoever_reads_the_events_learns_what_went_wrong_and_the_next_drawing_is_unchanged(
    generator: Generator, passes: Passes
) -> None:
    expected = draw(generator, small())
    passes.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        draw(generator, small())
    passes.fails = False
    assert draw(generator, small()) == expected


def finish(generator: Generator, _passes: Passes) -> None:
    draw(generator, small(n=2, upscale=2))


def leave(generator: Generator, _passes: Passes) -> None:
    events = generator.generate(small(n=3))
    assert next(events) == Started()
    events.close()


def leave_while_it_is_enlarged(generator: Generator, _passes: Passes) -> None:
    left, refining = threading.Event(), generator._family.refining

    def linger(task: Any, request: ImageRequest, place: int, image: Image.Image) -> Any:
        if image.width > 1:  # smaller ones only count the steps to come
            assert left.wait(10)
        return refining(task, request, place, image)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator._family, "refining", linger)
        events = generator.generate(small(upscale=2))
        assert [type(next(events)) for _ in range(3)] == [Started, Step, Step]
        events.close()
        left.set()


def cancel(generator: Generator, passes: Passes) -> None:
    stop = threading.Event()
    passes.during[passes.count + 2] = stop.set
    with pytest.raises(Cancelled):
        list(generator.generate(small(n=3), stop=stop))


def fail(generator: Generator, passes: Passes) -> None:
    passes.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        draw(generator, small(n=2))
    passes.fails = False


def fail_at_the_file(generator: Generator, _passes: Passes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bot.png.stamp", no_space)
        with pytest.raises(OSError, match="no space"):
            draw(generator, small())


def no_space(*_: object) -> bytes:
    raise OSError("no space")


@pytest.mark.parametrize("end", [finish, leave, leave_while_it_is_enlarged, cancel, fail, fail_at_the_file])
async def test_nothing_of_a_drawing_is_held_once_it_is_over(
    generator: Generator, passes: Passes, end: Callable[[Generator, Passes], None]
) -> None:
    gc.collect()
    gc.disable()  # what waits for it holds memory for hours: there is much to look through, and so it comes seldom
    try:
        end(generator, passes)
        await until(lambda: not held())
    finally:
        gc.enable()


def held() -> list[object]:
    return [each for each in gc.get_objects() if issubclass(type(each), (Task, Row))]  # `isinstance` makes torch warn


PHOTO = "0123456789abcdef01234567"  # the name of a kept picture


def photo(colour: str = "green", size: tuple[int, int] = (100, 50)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def draw_from(generator: Generator, image: bytes, **given: Any) -> Picture:
    *_, finished = generator.generate(small(image=PHOTO, **given), image=image)
    assert isinstance(finished, Finished)
    return finished.pictures[0]


def test_a_picture_may_start_from_another_one(generator: Generator) -> None:
    green, blue = (pixels(draw_from(generator, photo(colour), strength=0.5)) for colour in ("green", "blue"))
    assert green.shape == (192, 192, 3)
    assert green[..., 1].mean() > blue[..., 1].mean()
    assert green[..., 2].mean() < blue[..., 2].mean()
    assert np.array_equal(green, pixels(draw_from(generator, photo("green"), strength=0.5)))


def test_what_is_no_picture_to_start_from_is_told_to_whoever_asked(generator: Generator) -> None:
    with pytest.raises(OSError, match="cannot identify"):
        draw_from(generator, b"no picture", strength=0.5)


def test_variations_lie_near_their_picture_and_apart_from_each_other(generator: Generator) -> None:
    (whole,) = draw(generator, small())
    near, far = (draw(generator, small(n=2, variation_seed=1, variation_strength=strength)) for strength in (0.05, 1.0))
    assert [picture.request.seed for picture in near] == [7, 7]
    assert near[0] != near[1]
    assert distance(whole, near[0]) < distance(whole, far[0])
    assert draw(generator, near[1].request) == near[1:]


def test_variations_keep_the_composition_though_noise_is_added_at_every_step(generator: Generator) -> None:
    (whole,) = draw(generator, small(num_inference_steps=4))
    near, others = (
        draw(generator, small(num_inference_steps=4, n=4, **given))
        for given in ({"variation_seed": 1, "variation_strength": SKETCH.variation}, {"seed": 100})
    )
    assert np.mean([distance(whole, each) for each in near]) < np.mean([distance(whole, each) for each in others]) / 2


def test_a_variation_of_a_variation_is_another_one_and_drawn_again_from_its_recipe(generator: Generator) -> None:
    once, beside, twice = (
        draw(generator, small(variation_seed=seed, variation_strength=0.3, varied=varied))[0]
        for seed, varied in ((1, ()), (2, ()), (2, ((1, 0.3),)))
    )
    assert len({once.png, beside.png, twice.png}) == 3
    assert draw(generator, recipe.inside(twice.png)) == (twice,)


def distance(one: Picture, other: Picture) -> float:
    return float(np.abs(pixels(one) - pixels(other)).mean())


def test_an_upscaled_picture_is_the_same_one_larger(generator: Generator) -> None:
    (usual,) = draw(generator, small())
    *events, finished = generator.generate(small(upscale=2))
    assert isinstance(finished, Finished)
    (large,) = finished.pictures
    assert pixels(large).shape == (384, 384, 3)
    smaller = pixels(large).reshape(192, 2, 192, 2, 3).mean(axis=(1, 3))
    assert np.abs(smaller - pixels(usual)).mean() < 20
    assert draw(generator, small(upscale=2)) == (large,)
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[-1].index == steps[-1].total > 2


def test_now_and_then_a_step_shows_what_the_picture_looks_like(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.gen.PREVIEW_EVERY", -1)  # at every step
    *events, finished = generator.generate(small(width=256))
    assert isinstance(finished, Finished)
    shown = [event.preview for event in events if isinstance(event, Step)]
    with Image.open(io.BytesIO(shown[-1])) as preview, Image.open(io.BytesIO(finished.pictures[0].png)) as picture:
        assert preview.format == "JPEG"
        assert preview.size == (384, 288)
        difference = np.asarray(picture.resize(preview.size), dtype=float) - np.asarray(preview, dtype=float)
    assert np.abs(difference).mean() < 35  # of 255: the same colours in the same places, without the details


def find_no_room(*_: object) -> Any:
    raise torch.OutOfMemoryError("there is no room")


@pytest.mark.parametrize("part", ["colours", "_clean", "preview"])
def test_a_preview_that_fails_is_not_shown_and_harms_nobody(
    generator: Generator, part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    *steps, expected = generator.generate(small())
    monkeypatch.setattr("bot.gen.PREVIEW_EVERY", -1)
    monkeypatch.setattr(generator, "_colours", None)
    monkeypatch.setattr(generator._family, part, find_no_room)
    *without, finished = generator.generate(small())
    assert without == steps
    assert isinstance(expected, Finished)
    assert isinstance(finished, Finished)
    assert finished.pictures == expected.pictures
    assert "no preview of" in caplog.text
    assert "there is no room" in caplog.text


def test_now_and_then_what_is_free_goes_back_to_the_system(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr("bot.heap.give_back", done.set)
    monkeypatch.setattr("bot.gen.TIDY_EVERY", 3600)
    draw(generator, small())
    assert not done.is_set()
    monkeypatch.setattr("bot.gen.TIDY_EVERY", 0)
    draw(generator, small())
    assert done.wait(10)


def test_a_failing_job_leaves_its_neighbours_unharmed(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = draw(generator, small())
    decode = generator._family.decode

    def overflow(drawing: Any) -> Any:
        if drawing.request.prompt == "a black hole":
            drawing.latents[:] = math.nan
        return decode(drawing)

    monkeypatch.setattr(generator._family, "decode", overflow)
    good, bad = generator.generate(small()), generator.generate(small(prompt="a black hole"))
    assert [next(good), next(bad)] == [Started(), Started()]
    with pytest.raises(Spoilt, match="lost its way"):
        list(bad)
    *_, finished = good
    assert isinstance(finished, Finished)
    assert finished.pictures == expected


def test_whoever_shared_a_pass_with_a_drawing_that_fails_after_it_takes_that_step_once(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (expected,) = draw(generator, small(num_inference_steps=4))
    begin, schedule, sizes = generator._family.begin, generator._schedule, list[int]()

    def begin_to_fail(drawing: Any) -> None:
        begin(drawing)
        if drawing.request.prompt == "a black hole":
            monkeypatch.setattr(drawing.scheduler, "step", lose_count)

    def together(_now: float) -> list[Any]:
        rows = [row for task in schedule._tasks for row in task.rows]
        if not sizes and len(rows) < 2:
            return []
        sizes.append(len(rows))
        return sorted(rows, key=lambda row: row.request.prompt == "a black hole")  # the other one has moved by then

    monkeypatch.setattr(generator._family, "begin", begin_to_fail)
    monkeypatch.setattr(schedule, "next", together)
    with ThreadPoolExecutor(2) as readers:
        bad = readers.submit(draw, generator, small(prompt="a black hole", num_inference_steps=4))
        good = readers.submit(draw, generator, small(num_inference_steps=4))
        with pytest.raises(RuntimeError, match="lost count"):
            bad.result(60)
        (picture,) = good.result(60)
    assert sizes[0] == 2
    assert np.abs(pixels(picture) - pixels(expected)).max() <= ROUNDING


def lose_count(*_: object, **__: object) -> Any:
    raise RuntimeError("lost count")


def test_a_short_job_overtakes_a_long_one_which_then_ends_as_it_would_have(generator: Generator) -> None:
    requests = [small(num_inference_steps=12), small(seed=8, num_inference_steps=1)]
    expected = [draw(generator, request) for request in requests]
    long = generator.generate(requests[0])
    assert [next(long), next(long)] == [Started(), Step(1, 12)]
    assert draw(generator, requests[1]) == expected[1]
    steps = generator._schedule.next(0)
    assert steps[0].left > 1, "the long one is not yet done"
    *_, finished = long
    assert isinstance(finished, Finished)
    assert finished.pictures == expected[0]


def test_in_company_all_leave_and_stop_when_they_like(generator: Generator, passes: Passes) -> None:
    expected = draw(generator, small())
    gone, staying = generator.generate(small(num_inference_steps=50)), generator.generate(small())
    assert [next(gone), next(staying)] == [Started(), Started()]
    gone.close()
    *_, finished = staying
    assert isinstance(finished, Finished)
    assert finished.pictures == expected
    assert passes.count < 10
    assert generator._worker is None or not generator._schedule


def test_a_device_that_does_not_compute_is_found(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    generator.check()
    monkeypatch.setattr(generator, "device", "meta")  # which has shapes, and no numbers
    with pytest.raises(RuntimeError):
        generator.check()


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
