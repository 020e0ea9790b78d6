"""Pipelines taken apart draw what diffusers' own draw in one go: alone, in company, from a picture, whoever joins when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import diffusers
import pytest
import torch
from PIL import Image

from bot.families import FAMILIES
from bot.family import Drawing, Family, slerp
from bot.models import MODELS, ROWS, Model
from bot.request import ImageRequest, compose
from bot.steps import Task
from tests.fakes.pipelines import build

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE = 64  # pixels
ROUNDING = 2e-5  # of the largest number: sums are made in another order where several are drawn at once
NAME = "0123456789abcdef01234567"  # of a kept picture

pytestmark = [
    pytest.mark.parametrize("name", [name for name in ROWS if name != "sketch"]),  # its toy is sdxl's
    pytest.mark.usefixtures("toy"),
]


@pytest.fixture
def toy(name: str, monkeypatch: pytest.MonkeyPatch) -> Model:
    row = replace(ROWS[name], min_side=SIDE, width=SIDE, height=SIDE)
    monkeypatch.setitem(MODELS, name, row)
    return row


@pytest.fixture
def pipeline(name: str) -> Any:
    pipeline = build(ROWS[name])
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()  # as loading does: encoders of words drop some, by chance, while they learn
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def family(name: str, pipeline: Any) -> Family:
    return FAMILIES[ROWS[name].pipeline](pipeline, ROWS[name], "cpu")


def request(name: str, **given: Any) -> ImageRequest:
    return compose("a red fox", model=name, **({"seed": 7, "num_inference_steps": 4} | given))


def begun(family: Family, asked: ImageRequest, image: Image.Image | None = None) -> Drawing:
    with torch.inference_mode():
        drawing = family.drawing(Task(arrived=0), asked, 0, image)
        family.begin(drawing)
    return drawing


def step(family: Family, drawings: Sequence[Drawing], size: int = 0) -> None:
    with torch.inference_mode():
        rows = [*drawings, *[drawings[-1]] * (size - len(drawings))]
        for drawing, prediction in zip(drawings, family.predict(rows), strict=False):
            family.step(drawing, prediction)
            drawing.left -= 1


def drawn(family: Family, asked: ImageRequest, image: Image.Image | None = None) -> torch.Tensor:
    drawing = begun(family, asked, image)
    while drawing.left:
        step(family, [drawing])
    latents: torch.Tensor = drawing.latents
    return latents


def words(asked: ImageRequest, model: Model) -> dict[str, Any]:
    given: dict[str, Any] = {
        "prompt": asked.prompt,
        "num_inference_steps": asked.num_inference_steps,
        "guidance_scale": asked.guidance_scale,
        "width": asked.width,
        "height": asked.height,
        "generator": torch.Generator().manual_seed(asked.seed),
        "output_type": "latent",
        **model.arguments,
    }
    return given | ({"negative_prompt": asked.negative_prompt or None} if model.guided else {})


def theirs(pipeline: Any, asked: ImageRequest, image: Image.Image | None = None) -> torch.Tensor:
    """Return the latents that diffusers' own pipeline ends with."""
    given = words(asked, ROWS[asked.model])
    if image is not None:
        pipeline = diffusers.AutoPipelineForImage2Image.from_pipe(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        given |= {"image": image, "strength": asked.strength}
        if "StableDiffusion" in type(pipeline).__name__ and "3" not in type(pipeline).__name__:
            del given["width"], given["height"]
    latents: torch.Tensor = pipeline(**given).images
    return latents


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference, as a share of the largest number."""
    return float((one - other).abs().max() / other.abs().max())


def asked_for(name: str) -> list[ImageRequest]:
    """Return requests that differ in all that may differ."""
    model = ROWS[name]
    some: list[dict[str, Any]] = [
        {"seed": 1},
        {"seed": 2, "num_inference_steps": 7},
        {"prompt": "a whale", "num_inference_steps": 1},
    ]
    if model.max_guidance_scale:
        some += [{"guidance_scale": model.max_guidance_scale / 3}]
    if model.guided:
        some += [{"negative_prompt": "blue"}, {"guidance_scale": 1.0}]
    return [replace(request(name), **given) for given in some]


def test_alone_it_is_what_the_pipeline_draws(name: str, family: Family, pipeline: Any) -> None:
    for asked in asked_for(name):
        assert difference(drawn(family, asked), theirs(pipeline, asked)) < ROUNDING


def test_in_company_it_is_what_the_pipeline_draws(name: str, family: Family, pipeline: Any) -> None:
    everybody = [begun(family, asked) for asked in asked_for(name)]
    waiting = list(everybody)
    drawing: list[Drawing] = []
    while waiting or drawing:
        drawing += [waiting.pop(0)] if waiting else []  # one more joins before every step
        for guided in (True, False):
            if rows := [row for row in drawing if row.shape.guided is guided]:
                step(family, rows, size=4 if len(rows) == 3 else 0)
        drawing = [row for row in drawing if row.left]
    for row in everybody:
        assert difference(row.latents, theirs(pipeline, row.request)) < ROUNDING


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
def test_from_a_picture_it_is_what_the_pipeline_draws(name: str, family: Family, pipeline: Any, strength: float) -> None:
    image = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
    asked = request(name, image=NAME, strength=strength)
    assert difference(drawn(family, asked, image), theirs(pipeline, asked, image)) < ROUNDING


def test_from_a_picture_a_network_is_given_what_lies_as_noise_does(name: str, family: Family, pipeline: Any) -> None:
    """Or it would be compiled anew for each order of the same numbers."""
    pipeline.vae.to(memory_format=torch.channels_last)  # as loading has it
    seen: list[dict[str, Any]] = []

    def run(**inputs: Any) -> torch.Tensor:
        seen.append({key: value.stride() for key, value in inputs.items() if torch.is_tensor(value)})
        return family.call(**inputs)

    family.run = run
    image = Image.new("RGB", (SIDE, SIDE), "red")
    for drawing in begun(family, request(name)), begun(family, request(name, image=NAME, strength=0.6), image):
        with torch.inference_mode():
            family.step(drawing, *family.predict([drawing]))
    assert seen[0] == seen[1]


def test_the_least_strength_still_takes_a_step(name: str, family: Family) -> None:
    drawing = begun(family, request(name, image=NAME, strength=0.05), Image.new("RGB", (SIDE, SIDE)))
    assert 1 <= drawing.left <= 2  # PNDM takes its second step twice


def test_a_picture_of_another_shape_is_cut_to_fill(name: str, family: Family) -> None:
    asked = request(name, image=NAME, strength=0.5, num_inference_steps=2)
    wide = Image.new("RGB", (3 * SIDE, SIDE), "red")
    wide.paste((0, 0, 255), (SIDE, 0, 2 * SIDE, SIDE))
    middle = Image.new("RGB", (SIDE, SIDE), "blue")
    assert difference(drawn(family, asked, wide), drawn(family, asked, middle)) < 0.05


def test_a_variation_begins_between_two_noises(name: str, family: Family) -> None:
    one, other = (begun(family, request(name, seed=seed)).latents for seed in (1, 2))
    for share, expected in ((0.0, one), (0.3, None), (1.0, other)):
        found = begun(family, request(name, seed=1, variation_seed=2, variation_strength=share)).latents
        if expected is not None:
            assert difference(found, expected) < ROUNDING
        assert abs(float(found.std() / one.std()) - 1) < 0.15  # as strong as any: a mean of the two would be weaker
    assert torch.equal(slerp(one, one, 0.5), one)


def test_a_variation_of_a_variation_begins_nearer_to_that_one_than_to_the_first(name: str, family: Family) -> None:
    first, once, twice = (
        begun(family, request(name, seed=1, **given)).latents
        for given in (
            {},
            {"variation_seed": 2, "variation_strength": 0.5},
            {"varied": ((2, 0.5),), "variation_seed": 3, "variation_strength": 0.1},
        )
    )
    assert 0 < difference(once, twice) < difference(first, twice) / 2
    assert abs(float(twice.std() / first.std()) - 1) < 0.15


def test_colours_of_latents_are_found(name: str, family: Family) -> None:
    drawing = begun(family, request(name))
    with torch.inference_mode():
        preview = family.preview(drawing, family.predict([drawing])[0], family.colours())
    assert preview.shape == (SIDE // 8, SIDE // 8, 3)
    assert preview.dtype == torch.uint8


def test_after_its_share_of_the_steps_guidance_stops(name: str, pipeline: Any) -> None:
    row = replace(ROWS[name], guidance_stop=0.5)
    family = FAMILIES[row.pipeline](pipeline, row, "cpu")
    drawing = begun(family, request(name, num_inference_steps=6))
    passes = []
    while drawing.left:
        passes.append(drawing.shape.guided)
        step(family, [drawing])
    half = len(passes) // 2 + len(passes) % 2
    assert passes == [row.guidance_scale > 1 and row.guided] * half + [False] * (len(passes) - half)
