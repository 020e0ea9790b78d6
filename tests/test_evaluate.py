"""The figures of the embedded model: known inputs give the figures that they must."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.fakes import assets
from training import classifier, report
from training.evaluate import QUESTIONS, SETS, Moments, ask, interval, patches, rendering, scores, sharpness
from training.scenes import HATS, KINDS, STYLE_NAMES, TINTS, Composer, Scene, held_out, load_concepts

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
CACHE = Path(__file__).parent.parent / "training" / ".cache"
ASSETS, WORK = CACHE / "assets", CACHE / "run"
JUDGED = pytest.mark.parametrize(("name", "held"), [(name, held) for name, held in SETS if name != "relation"])


@pytest.fixture(scope="module")
def composer(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    return Composer(load_concepts(assets.build(tmp_path_factory.mktemp("assets"))))


class Knowing(nn.Module):
    """A judge without error: the brightness of a picture is the number of its scene."""

    def __init__(self, scenes: Sequence[Scene], concepts: int) -> None:
        super().__init__()
        self._truth = classifier.labels(scenes, concepts, CPU)

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        truth = self._truth.at((pictures.mean((1, 2, 3)) * 500 + 500).round().long())
        sizes = {"background": len(KINDS), "style": len(STYLE_NAMES), "tint": len(TINTS) + 1, "count": classifier.COUNTS}
        heads = {name: nn.functional.one_hot(getattr(truth, name).clamp(min=0), size) for name, size in sizes.items()}
        return {"subjects": truth.subjects} | {name: head.float() for name, head in heads.items()}


def numbered(count: int) -> Tensor:
    return (torch.arange(count) / 1000).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


# What is asked


@pytest.mark.parametrize(("name", "held"), SETS)
def test_asks_for_what_is_held_out_and_for_nothing_else_unseen(composer: Composer, name: str, held: bool) -> None:
    for scene in ask(composer, name, 40, held=held):
        for subject in scene.subjects:
            concept = composer.concepts[subject.concept].name
            unseen = {
                "kind": held_out(concept, kind=scene.kind),
                "tint": bool(scene.tint) and held_out(concept, tint=scene.tint),
            }
            assert unseen == {pair: held and pair == QUESTIONS[name].pair for pair in unseen}
            assert not (held and concept in HATS)


def test_asks_the_same_in_every_run(composer: Composer) -> None:
    assert ask(composer, "style", 30, held=True)[:10] == ask(composer, "style", 10, held=True)


# What is judged


@JUDGED
def test_a_judge_without_error_finds_everything_and_chance_in_the_control(composer: Composer, name: str, held: bool) -> None:
    scenes, chance = (
        ask(composer, name, 400, held=held),
        {"count": 1 / 3, "tint": 1 / len(TINTS), "style": 1 / len(STYLE_NAMES)},
    )
    found = scores(Knowing(scenes, len(composer.concepts)), numbered(400), scenes, name, CPU)  # type: ignore[arg-type]
    assert found.keys() == set(QUESTIONS[name].judged)
    for key, score in found.items():
        assert score["right"] == 1
        assert score["interval"] == [pytest.approx(0.99, abs=0.002), 1]
        assert score["shuffled"] == pytest.approx(chance.get(key, 0.25), abs=0.25 if key not in chance else 0.1)


def test_intervals_are_wilsons() -> None:
    assert interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert interval(0.0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)


@pytest.mark.skipif(
    not (ASSETS / "sprites.npz").exists() or not any(WORK.glob("classifier-*")),
    reason="training/.cache has no sprites (made from npm packages) or no judge (trained on them)",
)
def test_the_trained_judge_knows_rendered_scenes() -> None:
    composer, picture = Composer(load_concepts(ASSETS)), rendering(ASSETS, CPU)
    judge = classifier.load(WORK, len(composer.concepts), CPU)
    for name in ("background", "count"):
        scenes = ask(composer, name, 16, held=True)
        found = scores(judge, picture(scenes), scenes, name, CPU)
        assert all(found[key]["right"] >= 0.8 for key in ("subject_top5", name))
        assert found["subject_top5"]["shuffled"] <= 0.2


# How pictures look


def test_moments_of_parts_are_those_of_the_whole() -> None:
    numbers, moments = torch.rand(300, 5, dtype=torch.float64), Moments()
    for part in torch.split(numbers, 70):
        moments.add(part)
    torch.testing.assert_close(moments.mean, numbers.mean(0))
    torch.testing.assert_close(moments.covariance, torch.cov(numbers.T))


def test_patches_are_pieces_of_the_pictures() -> None:
    found = patches(torch.rand(3, 1, 1, 1).expand(-1, 3, 20, 20), seed=0)
    assert (found == found[:, :1]).all()
    assert len(set(found[:, 0].tolist())) == 3


def test_the_distance_is_zero_to_itself_and_counts_spreads() -> None:
    one = report.Spread(torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    shifted = report.Spread(torch.tensor([3.0, 0, 0, 0], dtype=torch.float64), one.covariance)
    wider = report.Spread(one.mean, torch.diag(torch.tensor([4.0, 1, 1, 1], dtype=torch.float64)))
    assert one.distance(one, one) == pytest.approx(0, abs=1e-6)
    assert one.distance(one, shifted) == pytest.approx(9, rel=1e-3)
    assert one.distance(one, wider) == pytest.approx(1, rel=1e-3)  # (2 - 1)² in the one direction


def test_blur_takes_sharpness() -> None:
    picture = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert sharpness(nn.functional.avg_pool2d(picture, 5, 1)) < 0.5 * sharpness(picture)


def test_reports_runs_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    spread = {f"{half}.mean": torch.zeros(2) for half in ("even", "odd")}
    spread |= {f"{half}.covariance": torch.eye(2) for half in ("even", "odd")}
    for name, right in (("rendered", 0.9), ("new", 0.8)):
        score = {"right": right, "interval": [right - 0.02, right + 0.02], "shuffled": 0.1}
        run = {"name": name, "pictures_a_set": 50, "sets": {"tint": {"tint": score}}, "sharpness": 0.1}
        (tmp_path / f"{name}.json").write_text(json.dumps(run))
        save_file(spread, tmp_path / f"{name}.safetensors")
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path / "rendered.json"), str(tmp_path / "new.json")])
    report.main()
    first, _, tint, distance, _ = capsys.readouterr().out.splitlines()
    assert first == "| asked | judged | rendered (50) | new (50) | of the ceiling | control |"
    assert tint == "| tint | tint | 90.0 | 80.0 (78.0–82.0) | 89 % | 10.0 |"
    assert distance == "| all of these | patch distance, lower is better | 0.0 | 0.0 |  |  |"
