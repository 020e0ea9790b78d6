"""The training's scenes: they show what their captions say, and never what is held out."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import assets
from training import tokenizer
from training.pictures import Studio
from training.render import TINT_PAINTS, Renderer
from training.scenes import (
    BACKGROUNDS,
    NUMBERS,
    STYLE_NAMES,
    TIME_PHRASES,
    TINTS,
    Composer,
    Scene,
    Wish,
    held_out,
    load_concepts,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import CLIPTokenizer

pytestmark = pytest.mark.usefixtures("one_thread")
FOX, OWL, SNAIL = range(3)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assets.build(tmp_path_factory.mktemp("assets"))


@pytest.fixture(scope="module")
def composer(folder: Path) -> Composer:
    return Composer(load_concepts(folder))


@pytest.fixture(scope="module")
def renderer(folder: Path) -> Renderer:
    return Renderer(folder, CPU)


def wished(composer: Composer, seed: int = 0, **wish: object) -> Scene:
    return composer.scene(random.Random(seed), Wish(**{"style": "3d", "kind": "meadow"} | wish))  # type: ignore[arg-type]


def render(renderer: Renderer, *scenes: Scene) -> NDArray[np.float32]:
    """Return [scenes, height, width, 3] in [0, 1]."""
    pixels: NDArray[np.float32] = renderer.render(scenes, 0).permute(0, 2, 3, 1).numpy()
    return pixels


def where(picture: NDArray[np.float32], concept: str) -> NDArray[np.bool_]:
    """Return which pixels have the colour of a concept's disc."""
    near: NDArray[np.bool_] = np.all(abs(picture - np.array(assets.PAINT[concept]) / 255) < 0.12, axis=-1)
    return near


def islands(mask: NDArray[np.bool_]) -> int:
    """Count the connected parts of a mask, single pixels aside."""
    left, found = set(map(tuple, np.argwhere(mask[::4, ::4]))), 0
    while left:
        part, edge = 0, [left.pop()]
        while edge:
            row, column = edge.pop()
            part += 1
            near = {(row + down, column + right) for down, right in product((-1, 0, 1), repeat=2)} & left
            left -= near
            edge += near
        found += part > 3
    return found


# What the caption says


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_as_many_things_are_rendered_as_the_caption_names(composer: Composer, renderer: Renderer, count: int) -> None:
    scene = wished(composer, concepts=(FOX,), count=count)
    assert scene.caption.startswith(f"{NUMBERS[count]} foxes" if count > 1 else "a fox")
    assert islands(where(render(renderer, scene)[0], "fox")) == scene.count == count


def test_a_tint_is_seen_on_the_subject(composer: Composer, renderer: Renderer) -> None:
    scenes = [wished(composer, kind="plain", concepts=(SNAIL,), tint=tint) for tint in TINTS]
    bright = assets.PAINT["snail"][0] / 255
    for tint, scene, picture in zip(TINTS, scenes, render(renderer, *scenes), strict=True):
        assert f"{tint} snail" in scene.caption
        middle = picture[round(scene.boxes[0].y * 256), round(scene.boxes[0].x * 256)]
        apart = {name: abs(np.array(paint) * (0.35 + 0.8 * bright) - middle).max() for name, paint in TINT_PAINTS.items()}
        assert min(apart, key=apart.__getitem__) == tint
        assert apart[tint] < 0.03


@pytest.mark.parametrize(("relation", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("above", 0, -1), ("under", 0, 1)])
def test_a_thing_is_where_the_caption_puts_it(
    composer: Composer, renderer: Renderer, relation: str, axis: int, sign: int
) -> None:
    picture = render(renderer, wished(composer, concepts=(FOX, OWL), relation=relation))[0]
    middles = [np.argwhere(where(picture, concept)).mean(0)[axis] for concept in ("fox", "owl")]
    assert (middles[0] - middles[1]) * sign > 60


def test_captions_name_counts_tints_hats_and_times(composer: Composer) -> None:
    rng = random.Random(1)
    for scene in (composer.scene(rng) for _ in range(2000)):
        said = scene.caption.lower()
        assert scene.count == sum(subject.count for subject in scene.subjects)
        for subject in scene.subjects:
            assert subject.count == 1 or NUMBERS[subject.count] in said
            assert subject.tint is None or subject.tint in said
            assert subject.hat is None or subject.hat in said
        if scene.time != "day" and scene.subjects:
            assert any(phrase in said for phrase in TIME_PHRASES[scene.time].split("|"))


def test_the_same_seeds_give_the_same_pictures(folder: Path) -> None:
    one, other = (Studio(folder, CPU, seed=5).batch(4, 64, 96) for _ in range(2))
    assert one.scenes == other.scenes
    assert torch.equal(one.pictures, other.pictures)
    assert one.pictures.shape == (4, 3, 64, 96)


@pytest.mark.parametrize("style", STYLE_NAMES)
def test_every_style_and_background_can_be_rendered(composer: Composer, renderer: Renderer, style: str) -> None:
    kinds = list(BACKGROUNDS)[STYLE_NAMES.index(style) :: len(STYLE_NAMES)]
    pictures = render(renderer, *(wished(composer, kind=kind, style=style, concepts=(FOX,)) for kind in kinds))
    assert np.isfinite(pictures).all()
    assert (pictures.std((1, 2, 3)) > 0.02).all()


# What is held out


def hidden(composer: Composer, scene: Scene) -> bool:
    names = [(composer.concepts[subject.concept].name, subject.tint) for subject in scene.subjects]
    return any(held_out(name, kind=scene.kind) or (tint and held_out(name, tint=tint)) for name, tint in names)


def test_training_never_sees_what_is_held_out(composer: Composer) -> None:
    rng = random.Random(2)
    assert not any(hidden(composer, composer.scene(rng)) for _ in range(10_000))


def test_without_the_rule_it_would_have(composer: Composer) -> None:
    free, rng = Composer(composer.concepts, hold_out=False), random.Random(2)
    assert sum(hidden(free, free.scene(rng)) for _ in range(1000)) > 20


def test_one_pair_in_twelve_is_held_out() -> None:
    pairs = [held_out(f"thing {number}", kind=kind) for number in range(500) for kind in BACKGROUNDS]
    assert sum(pairs) / len(pairs) == pytest.approx(1 / 12, rel=0.1)


def test_says_so_where_nothing_is_left_to_show(composer: Composer) -> None:
    alone = [concept for concept in composer.concepts if concept.name == "fox"]
    kind = next(kind for kind in [*BACKGROUNDS, "studio"] if held_out("fox", kind=kind))
    with pytest.raises(LookupError, match=kind):
        Composer(alone)._subject(random.Random(0), kind, 1, 0, None)


# How it is read


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizer, "CAPTIONS", 300)
        return tokenizer.train(tokenizer.corpus(folder), tmp_path_factory.mktemp("tokenizer"))


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["C", "Z", "M"]), max_size=12))
@pytest.mark.parametrize("known", ["a fox in the snow, pixel art", ""])
def test_any_text_survives_the_tokenizer(trained: CLIPTokenizer, known: str, text: str) -> None:
    ids = trained(f"{known} {text}").input_ids
    read = str(trained.decode(ids, skip_special_tokens=True))
    normal = trained.backend_tokenizer.normalizer.normalize_str(f"{known} {text}")
    assert "".join(read.split()) == "".join(normal.split())


def test_known_words_are_one_token_and_long_prompts_are_cut(trained: CLIPTokenizer) -> None:
    assert len(trained("fox").input_ids) == 3  # with the two marks
    ids = tokenizer.encode(trained, ["", "fox " * 100])
    assert ids.shape == (2, tokenizer.CONTEXT)
    assert ids[0].tolist() == [trained.bos_token_id] + [trained.eos_token_id] * 47
    assert ids[1, -1] == trained.eos_token_id
