"""What makes a GPU faster computes the same, as far as that can be seen without one."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from torch.utils._pytree import tree_flatten

from bench.gpu import distance, in_full
from bot.families import FAMILIES, Flux, UNet, ZImage
from bot.fast import Graphs, hasten, rest, seconds, slow
from bot.gen import Generator
from bot.layers import ChannelsLastNorm
from bot.layers_conv import Norm, Resnet, Timeless
from bot.layers_dit import Halves, SingleBlock
from bot.layers_unet import Sharing
from bot.models import MODELS, ROWS, SKETCH
from bot.request import compose
from bot.steps import Task
from tests.fakes import kernels
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bot.family import Drawing, Family

SIDE = 64  # pixels
LONGER = "a red fox in the snow and a blue whale in the sea and a green bird in the sky, all of them asleep under one moon"
GELUS = 5e-3  # of the largest number: there are two kinds of GELU, and on a CPU the quick one is the other


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let networks be as they are changed for a GPU, but neither compiled nor recorded."""

    def as_it_is(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return function

    monkeypatch.setattr("bot.fast.Graphs", lambda function, *_: function)
    monkeypatch.setattr("torch.compile", as_it_is)


def networks(pipeline: Any) -> list[torch.nn.Module]:
    return [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]


def toy(name: str, monkeypatch: pytest.MonkeyPatch) -> Family:
    """Return a toy of a row, on the CPU, whose usual size is a toy's."""
    row = replace(ROWS[name], min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, name, row)
    pipeline = build(row)
    for part in networks(pipeline):
        part.eval()
    return FAMILIES[row.pipeline](pipeline, row, "cpu")


def drawn(family: Family, name: str, **given: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return latents and picture."""
    drawing = denoised(family, name, **given)
    with torch.inference_mode():
        return drawing.latents, family.decode(drawing)[0].float()


@torch.inference_mode()
def denoised(family: Family, name: str, **given: Any) -> Drawing:
    """Take all steps of a drawing, in the company of another."""
    asked = compose("a red fox", model=name, **({"seed": 7, "num_inference_steps": 4} | given))
    drawing = family.drawing(Task(arrived=0), asked, 0, None)
    family.begin(drawing)
    while drawing.left:
        family.step(drawing, family.predict([drawing] * 2)[0])
        drawing.left -= 1
    return drawing


@pytest.mark.usefixtures("uncompiled")
def test_the_embedded_model_made_faster_draws_the_same() -> None:
    family = Generator(SKETCH, "cpu")._family  # its autoencoder is of another kind
    asked: list[dict[str, Any]] = [{}, {"negative_prompt": "blue"}]
    expected = [drawn(family, SKETCH.name, **given) for given in asked]
    hasten(family)
    for given, (latents, _) in zip(asked, expected, strict=True):
        assert float((drawn(family, SKETCH.name, **given)[0] - latents).abs().max() / latents.abs().max()) < GELUS


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("usual", [True, False], ids=["of the usual size", "of another size"])
@pytest.mark.parametrize("name", [name for name in ROWS if name != "sketch"])
def test_made_faster_it_draws_the_same(name: str, usual: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    family = toy(name, monkeypatch)
    row, pipeline = family.model, family.pipeline
    asked: list[dict[str, Any]] = [{}, {"width": 2 * SIDE, "height": SIDE}]
    if row.guided:
        asked.append({"negative_prompt": "blue"})
    expected = [drawn(family, name, **given) for given in asked]
    family = FAMILIES[row.pipeline](pipeline, row if usual else ROWS[name], "cpu")
    hasten(family)
    for given, (latents, picture) in zip(asked, expected, strict=True):
        quick_latents, quick_picture = drawn(family, name, **given)
        assert float((quick_latents - latents).abs().max() / latents.abs().max()) < GELUS
        assert float((quick_picture - picture).abs().mean()) < 1  # of 255
    slow(family)
    kinds = {type(part) for each in networks(pipeline) for part in each.modules()}
    assert not [kind for kind in kinds - {Halves, SingleBlock} if kind.__module__.startswith("bot.")]  # any GPU bears those
    assert not [part for part in pipeline.vae.decoder.modules() if "OneHead" in str(getattr(part, "processor", ""))]
    assert torch.allclose(drawn(family, name, **asked[0])[0], expected[0][0], atol=1e-4)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_with_kernels_of_ours_it_draws_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    kernels.compute_plainly(monkeypatch)
    monkeypatch.setattr("bot.fast._has_triton", lambda _: True)
    family = toy(name, monkeypatch)
    pipeline = family.pipeline
    latents, picture = drawn(family, name)
    hasten(family)
    assert {Resnet, Timeless, Norm} < {type(part) for each in networks(pipeline) for part in each.modules()}
    assert isinstance(family.network, Sharing) is (name == "sd15")
    quick_latents, quick_picture = drawn(family, name)
    assert float((quick_latents - latents).abs().max() / latents.abs().max()) < GELUS
    assert float((quick_picture - picture).abs().mean()) < 1  # of 255
    slow(family)
    assert not [part for each in networks(pipeline) for part in each.modules() if type(part).__module__.startswith("bot.")]
    assert torch.allclose(drawn(family, name)[0], latents, atol=1e-4)


@torch.inference_mode()
@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", [name for name in ROWS if name != "sketch"])
def test_made_faster_it_is_as_near_to_full_precision(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In sixteen bits each way rounds somewhere else: neither is what the other is measured by."""
    family = toy(name, monkeypatch)
    if isinstance(family, UNet) and find_spec("triton"):
        kernels.compute_plainly(monkeypatch)
        monkeypatch.setattr("bot.fast._has_triton", lambda _: True)
    for part in networks(family.pipeline):
        part.bfloat16()
    usual, exact, quick = (FAMILIES[family.model.pipeline](family.pipeline, family.model, "cpu") for _ in range(3))
    exact.network = in_full(family.network)

    def latents(way: Family) -> list[torch.Tensor]:
        return [denoised(way, name, seed=seed).latents.float() for seed in range(2)]

    truths, expected = latents(exact), latents(usual)
    hasten(quick)
    expected_error, error = (
        sum(distance(one, truth) for one, truth in zip(way, truths, strict=True)) for way in (expected, latents(quick))
    )
    assert 0 < error < 1.05 * expected_error


# The pictures that are drawn; whether a pass of one goes by what was compiled as a whole, and whether one of two does.
PATHS: list[tuple[str, dict[str, Any], list[bool]]] = [
    ("sketch", {}, [True, True]),
    ("sketch", {"negative_prompt": "blue"}, [True, True]),
    ("sd15", {}, [True, True]),
    ("sd15", {"guidance_scale": 1.0}, [False, False]),
    ("sdxl", {}, [True, True]),
    ("sdxl", {"guidance_scale": 1.0}, [False, True]),
    ("sd35-medium", {"guidance_scale": 1.0}, [False, False]),
]


@pytest.mark.parametrize(("name", "given", "expected"), PATHS)
def test_what_is_compiled_as_a_whole_serves_as_many_as_it_can(
    name: str, given: dict[str, Any], expected: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without shared rows, one guided picture and two others are the same to it; none is to be compiled while people wait."""
    pytest.importorskip("triton", reason="Triton is there for Linux alone")
    kernels.compute_plainly(monkeypatch)
    whole: list[int] = []

    def compiled(function: Callable[..., Any], *, dynamic: bool, **_: Any) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            if not dynamic and "encoder_hidden_states" in given:
                whole.append(len(given["encoder_hidden_states"]))
            return function(*args, **given)

        return call

    monkeypatch.setattr("bot.fast.Graphs", lambda function, *_: function)
    monkeypatch.setattr("torch.compile", compiled)
    monkeypatch.setattr("bot.fast._has_triton", lambda _: True)
    family = toy(name, monkeypatch)
    alone = together(family, ["a fox"], **given)
    hasten(family)
    found = []
    for prompts in ["a fox"], ["a fox", "a hen"]:
        whole.clear()
        assert torch.allclose(together(family, prompts, **given)[0], alone[0], atol=1e-2)
        found.append(bool(whole))
    assert found == expected


@pytest.mark.parametrize(
    ("name", "side"), [("sd15", 256), ("sdxl-turbo", 256), ("sd35-medium", 128), ("flux-dev", 128), ("z-image-turbo", 128)]
)
def test_nothing_is_compiled_while_people_wait_for_another_shape(name: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A UNet of the usual size is compiled as a whole, which says nothing of others; nor does guidance of a way without it."""
    monkeypatch.setattr("bot.fast.Graphs", lambda function, *_: function)
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="eager"))  # the first half of what the compiler does
    family, generator = toy(name, monkeypatch), Generator(SKETCH, "cpu")
    multiple = min(side // 4, family.model.multiple)  # a shape needs some pixels to be another one
    family.model = replace(family.model, width=side, height=side, multiple=multiple)
    monkeypatch.setitem(MODELS, name, family.model)
    monkeypatch.setattr(generator, "model", family.model)
    monkeypatch.setattr(generator, "_family", family)
    hasten(family)
    decode, decoded = family.decoder, list[torch.Size]()

    def decoding(latents: torch.Tensor) -> torch.Tensor:
        decoded.append(latents.shape[-2:])
        return decode(latents)

    family.decoder = decoding
    compiled = torch._dynamo.utils.counters["stats"]
    before = compiled["unique_graphs"]
    generator._compile_other_shapes()
    after = compiled["unique_graphs"]
    assert after > before
    assert [height < width for height, width in decoded] == [True]
    for width, height in ((3, 4), (5, 3), (5, 4)):  # on a CPU, small convolutions are compiled in another way
        for count in (1, 2, 3):
            together(family, ["a fox", LONGER, "a hen"][:count], width=width * side // 4, height=height * side // 4)
    for count in (1, 2):
        together(family, ["a fox"] * count, width=5 * side // 4, height=side, guidance_scale=0)
    assert compiled["unique_graphs"] == after


def test_a_picture_to_start_from_is_decoded_by_what_is_compiled_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder leaves channels side by side, and all steps do: to the compiler that is another case."""
    family, seen = toy("sd15", monkeypatch), list[bool]()
    family.pipeline.vae.to(memory_format=torch.channels_last)

    def decoder(latents: torch.Tensor) -> torch.Tensor:
        seen.append(latents.is_contiguous())
        return family.call_decoder(latents)

    family.decoder = decoder
    start = Image.new("RGB", (SIDE, SIDE), "red")
    asked = compose("a red fox", model="sd15", seed=7, image="0" * 24)
    with torch.inference_mode():
        drawing = family.drawing(None, asked, 0, start)
        family.begin(drawing)
        family.decode(drawing)
    assert (drawing.latents.is_contiguous(), seen) == (False, [True])


@pytest.mark.parametrize("name", ["flux-dev", "z-image-turbo"])
def test_tiles_of_a_large_picture_are_decoded_by_what_is_compiled_already(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are cut out of it, and so have gaps between their rows: to the compiler that is another case."""
    seen: list[bool] = []

    def compiled(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def call(*args: Any, **given: Any) -> Any:
            if getattr(function, "__self__", None) is family.pipeline.vae.decoder:
                seen.append(args[0].is_contiguous())
            return function(*args, **given)

        return call

    monkeypatch.setattr("bot.fast.Graphs", lambda function, *_: function)
    monkeypatch.setattr("torch.compile", compiled)
    monkeypatch.setattr("bot.family.TILED", 0)
    family = toy(name, monkeypatch)
    family.pipeline.vae.tile_latent_min_size = 4
    hasten(family)
    drawn(family, name)
    assert len(seen) > 1
    assert all(seen)


class Recording:
    """A function that doubles, on a GPU whose graphs are faked: to record it fails with what is in `failures`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *failures: Exception) -> None:
        self.failures = [*failures]
        self.done: list[str] = []
        self._recording = False
        self.stream = self.usual = Stream()
        fakes = {"Stream": Stream, "current_stream": lambda: self.stream, "stream": nullcontext, "graph": self._record}
        for name, fake in (fakes | {"set_stream": partial(setattr, self, "stream")}).items():
            monkeypatch.setattr(f"torch.cuda.{name}", fake)
        monkeypatch.setattr(
            "torch.cuda.CUDAGraph", lambda: SimpleNamespace(pool=str, replay=lambda: self.done.append("replay"))
        )

    @contextmanager
    def _record(self, *_: Any, **__: Any) -> Iterator[None]:
        self._recording, before, self.stream = True, self.stream, Stream()
        try:
            yield
            self.stream = before  # torch does so at the very end, which it may not come to
        finally:
            self._recording = False

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        self.done.append("record" if self._recording else "compute")
        if self._recording and self.failures:
            raise self.failures.pop()
        return 2 * given


class Stream:
    def wait_stream(self, _: object) -> None:
        """There is nothing to wait for."""


FULL = torch.OutOfMemoryError("CUDA out of memory."), torch.AcceleratorError("CUDA error: out of memory")


@pytest.mark.parametrize("full", FULL)
def test_what_there_is_no_room_to_record_is_computed_as_it_comes(full: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """To compute it takes memory once, to record it takes that and keeps it."""
    monkeypatch.setattr("bot.fast.LATER", 2)
    double, given = Recording(monkeypatch, full), torch.ones(3)
    graphs = Graphs(double)
    found = [graphs(given).tolist() for _ in range(5)]
    assert found == [[2, 2, 2]] * 5
    assert double.stream is double.usual
    assert double.done == ["compute", "record", "compute", "compute", "compute", "record", "replay"]


def test_what_there_is_no_room_to_record_may_take_the_place_of_what_was_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """All share one pool of memory, and what has been begun would stay in it."""
    double, small, large = Recording(monkeypatch), torch.ones(1), torch.ones(2)
    graphs = Graphs(double)
    graphs(small)
    double.failures.append(FULL[0])
    for _ in range(3):
        assert graphs(large).tolist() == [2, 2]
    assert double.done == ["compute", "record", "compute", "record", "compute", "record", "replay"]


def test_what_fails_for_another_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = Graphs(Recording(monkeypatch, torch.AcceleratorError("CUDA error: an illegal memory access was encountered")))
    with pytest.raises(torch.AcceleratorError, match="illegal"):
        graphs(torch.ones(3))


@pytest.mark.parametrize("name", ["sd15", "sd35-medium", "z-image-turbo"])
def test_what_is_recorded_can_be_let_go_of(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds memory, more with every shape."""
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
    family = toy(name, monkeypatch)
    hasten(family)
    assert len(family.kept) > 2  # the network, the decoder, and what reads words
    for recorded in family.kept:
        recorded._graphs["a shape"] = "what was recorded"
    assert [family.forget(), family.forget()] == [True, False]
    assert not any(recorded._graphs for recorded in family.kept)
    slow(family)
    assert not family.kept


class Recorder:
    """Is called in the place of CUDA graphs, and notes what would be recorded."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.shapes: set[Any] = set()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        flat, layout = tree_flatten((args, kwargs))
        assert all(torch.is_tensor(value) for value in flat)
        self.shapes.add((layout, tuple(value.shape for value in flat)))
        return self.function(*args, **kwargs)


@torch.inference_mode()
def together(family: Family, prompts: Sequence[str], **given: Any) -> Sequence[torch.Tensor]:
    """Return latents of pictures that take all steps in company."""
    asked = [compose(prompt, model=family.model.name, seed=7, num_inference_steps=2, **given) for prompt in prompts]
    drawings: list[Drawing] = [family.drawing(Task(arrived=0), each, 0, None) for each in asked]
    for drawing in drawings:
        family.begin(drawing)
    while drawings[0].left:
        for drawing, prediction in zip(drawings, family.predict(drawings), strict=True):
            family.step(drawing, prediction)
            drawing.left -= 1
    return [drawing.latents for drawing in drawings]


@pytest.mark.usefixtures("uncompiled")
def test_z_image_is_recorded_for_few_lengths_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(ROWS["z-image-turbo"], min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, row.name, row)
    recorders: list[Recorder] = []

    def recorder(function: Callable[..., Any]) -> Recorder:
        recorders.append(Recorder(function))
        return recorders[-1]

    monkeypatch.setattr("bot.fast.Graphs", recorder)
    family = ZImage(build(row), row, "cpu")
    short, longer = [["a fox", "a red fox", "a fox and a whale"], ["a red fox in the snow and a blue whale in the sea"]]
    expected = {prompt: together(family, [prompt])[0] for prompt in short + longer}
    hasten(family)
    recorded = next(each.shapes for each in recorders if each.function == family.call)
    for prompt, latents in expected.items():
        assert torch.equal(together(family, [prompt])[0], latents)
    assert len(recorded) == 2
    together(family, short[:1], width=2 * SIDE)
    assert len(recorded) == 3
    for prompts in (short, [*short, *longer]):  # words of more than one length are not recorded
        for prompt, latents in zip(prompts, together(family, prompts), strict=True):
            assert torch.allclose(latents, expected[prompt], atol=1e-5)
        assert len(recorded) == 4


@pytest.mark.usefixtures("uncompiled")
def test_other_numbers_of_steps_than_the_usual_one_are_foretold_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(ROWS["flux-schnell"], min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, row.name, row)
    recorded: list[int] = []

    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*given: Any, **named: Any) -> Any:
            if getattr(function, "__name__", "") == "tell":
                recorded.append(len(given[0]))
            return function(*given, **named)

        return record

    monkeypatch.setattr("bot.fast.Graphs", recorder)
    family = Flux(build(row), row, "cpu")
    hasten(family)
    for steps in (1, row.num_inference_steps, 7):
        drawn(family, row.name, num_inference_steps=steps)
    assert recorded == [row.num_inference_steps]


def test_nothing_is_left_running_for_a_snapshot() -> None:
    rest()
    assert float(torch.ones(2).sum()) == 2


def test_what_a_gpu_does_not_bear_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.fast.Graphs", lambda function, *_: function)
    pipeline = build(ROWS["flux-schnell"])
    family = Flux(pipeline, ROWS["flux-schnell"], "cpu")
    hasten(family)
    assert "forward" in pipeline.transformer.transformer_blocks[0].__dict__
    assert type(pipeline.vae.decoder.conv_norm_out) is ChannelsLastNorm
    slow(family)
    assert type(pipeline.vae.decoder.conv_norm_out) is torch.nn.GroupNorm
    assert not [part for part in pipeline.transformer.modules() if "forward" in part.__dict__]
    assert (family.run, family.decoder) == (family.call, family.call_decoder)


@pytest.mark.parametrize(("span", "calls"), [(1.0, 169), (0.0, 5)], ids=["for a second", "too long to be called often"])
def test_what_a_gpu_takes_is_timed_under_load(span: float, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here starting takes 2 ms of the processor's time, and computing 5 of the GPU's, 7 once it is hot."""
    now, made = {"processor": 0.0, "gpu": 0.0}, list[float]()

    def call() -> None:
        now["processor"] += 2
        made.append(7 if len(made) > 0.55 * calls else 5)
        now["gpu"] = max(now.values()) + made[-1]

    class Event:
        def __init__(self, *, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = max(now.values())

        def synchronize(self) -> None:
            now["processor"] = max(now["processor"], self.at)

        def elapsed_time(self, other: Event) -> float:
            assert now["processor"] >= other.at, "nobody has waited for it"
            return other.at - self.at

    monkeypatch.setattr("torch.cuda.Event", Event)
    monkeypatch.setattr("bot.fast.time.monotonic", lambda: now["processor"] / 1000)
    assert seconds(call, span) == pytest.approx(0.007)
    assert len(made) == pytest.approx(calls, rel=0.1)
