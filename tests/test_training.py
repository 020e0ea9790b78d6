"""The stages of training, from sprites to a folder that diffusers loads, with toy networks on toy scenes."""

from __future__ import annotations

import functools
import itertools
import json
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from diffusers import AutoPipelineForText2Image
from torch import nn
from transformers import CLIPTokenizer

from tests.fakes import assets
from training import (
    autoencoder,
    checkpoints,
    classifier,
    denoiser,
    distill,
    evaluate,
    export,
    models,
    report,
    stage,
    tokenizer,
)
from training.denoiser import Pool, by_weight
from training.stage import Clock, Log, Machine, rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("one_thread")
MEBIBYTE = 2**20
ALONE = Machine(rank=0, peers=1, device=torch.device("cpu"))
SMALL: dict[str, Any] = {
    "training.autoencoder.BATCH": 2,
    "training.autoencoder.CRITIC_FROM": 0.5,
    "training.autoencoder.CROP": 32,
    "training.autoencoder.TESTED": 2,
    "training.autoencoder.build_autoencoder": functools.partial(models.build_autoencoder, width=8),
    "training.classifier.BATCH": 8,
    "training.classifier.STEPS_A_CHUNK": 1,
    "training.classifier.WIDTHS": (16, 16, 16, 16),
    "training.denoiser.BATCH": 4,
    "training.denoiser.SHAPES": ((64, 64), (64, 96), (96, 64)),
    "training.distill.BATCH": 4,
    "training.distill.SHADOW_WARM_UP": 1,
    "training.pictures.CHUNK": 8,
    "training.stage.TELL_EVERY": 0,
    "training.tokenizer.CAPTIONS": 300,
} | {
    f"training.{module}.build_denoiser": functools.partial(models.build_denoiser, widths=(32, 32, 32), heads=(1, 1, 1))
    for module in ("denoiser", "distill", "export")
}


def tick() -> SimpleNamespace:
    """Return a clock that a second passes on whenever somebody looks."""
    return SimpleNamespace(monotonic=functools.partial(next, itertools.count()))


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(name, value)
        yield


def run(main: Callable[[], None], **options: object) -> None:
    """Call a stage's command line; its clock ticks once a look."""
    words = [word for key, value in options.items() for word in ((f"--{key}",) if value is True else (f"--{key}", str(value)))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["stage", *words])
        patch.setattr("training.stage.time", tick())
        main()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run every stage as the README does, a few steps of each."""
    work = tmp_path_factory.mktemp("work")
    sprites = {"assets": assets.build(tmp_path_factory.mktemp("assets"))}
    run(tokenizer.main, **sprites, out=work / "tokenizer")
    places = sprites | {"work": work}
    run(autoencoder.main, **places, seconds=6, pool=8)
    run(denoiser.main, **places, seconds=4, until=10, pool=8, local=work / "denoiser.pt")
    run(distill.main, **places, seconds=6, pool=8)
    run(autoencoder.main, **places, seconds=6, pool=8, polish=True)
    run(export.main, work=work, out=work / "pipeline")
    run(classifier.main, **places, seconds=4)
    run(evaluate.main, **places, name="rendered", out=work / "rendered.json", count=2)
    run(evaluate.main, **places, name="drawn", out=work / "drawn.json", count=2, pipeline=work / "pipeline")
    return work


def lines(work: Path, name: str, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (work / f"{name}.jsonl").read_text().splitlines()]
    return [line for line in found if line["event"] == event]


# All the stages, one after the other


@pytest.mark.parametrize("name", ["denoiser", "distill"])
def test_a_stage_takes_steps_with_finite_losses(work: Path, name: str) -> None:
    steps = lines(work, name, "step")
    assert len(steps) >= 2
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    losses = [
        value for line in steps for key, value in line.items() if key in ("loss", "doubt", "unprompted", "shadow", "critic")
    ]
    assert losses
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)


def test_the_autoencoder_and_the_judge_finish(work: Path) -> None:
    first, polished = lines(work, "autoencoder", "done")
    assert math.isfinite(first["psnr"])
    assert math.isfinite(polished["psnr"])
    assert first["steps"] >= 2
    assert polished["steps"] >= 2
    assert lines(work, "classifier", "done")[0]["step"] >= 2


def test_every_stage_leaves_finite_weights(work: Path) -> None:
    for name in (autoencoder.NAME, denoiser.NAME, distill.NAME, classifier.NAME):
        assert all(tensor.isfinite().all() for tensor in checkpoints.load(work, name).values())


def test_distilling_moves_the_student_and_leaves_the_teacher(work: Path) -> None:
    teacher, student = (checkpoints.load(work, name) for name in (denoiser.NAME, distill.NAME))
    assert student.keys() < teacher.keys()
    assert any(not torch.equal(teacher[key], student[key]) for key in student)


def test_polishing_leaves_the_latents_as_they_are(work: Path) -> None:
    before: Any = autoencoder.load(work, ALONE.device)
    trainer = autoencoder.Trainer(ALONE, before)
    trainer.step(torch.rand(2, 3, 32, 32) * 2 - 1, 0.5)
    coder = trainer.average.modules[0]
    assert isinstance(coder, autoencoder.Coder)
    after: Any = coder.fold()
    assert all(torch.equal(a, b) for a, b in zip(before.encoder.parameters(), after.encoder.parameters(), strict=True))
    assert not torch.equal(before.decoder.layers[-1].weight, after.decoder.layers[-1].weight)


def test_the_exported_folder_is_standard_diffusers(work: Path) -> None:
    folder = work / "pipeline"
    index = json.loads((folder / "model_index.json").read_text())
    parts = [value for key, value in index.items() if not key.startswith("_") and isinstance(value, list) and value[0]]
    assert {library for library, _ in parts} == {"diffusers", "transformers"}
    assert {file.suffix for file in folder.rglob("*") if file.is_file()} == {".json", ".md", ".safetensors"}
    assert (folder / "README.md").read_text() == export.CARD.read_text()


def test_diffusers_loads_and_draws_with_it(work: Path) -> None:
    load: Any = AutoPipelineForText2Image.from_pretrained
    pipeline: Any = load(work / "pipeline", dtype=torch.float32)
    assert type(pipeline).__name__ == "StableDiffusionXLPipeline"
    pipeline.set_progress_bar_config(disable=True)
    for steps, guidance in ((models.STEPS, 1.0), (2, 1.5)):
        drawn = pipeline(
            "a fox", num_inference_steps=steps, guidance_scale=guidance, height=64, width=96, output_type="pt"
        ).images
        assert drawn.shape == (1, 3, 64, 96)
        assert drawn.isfinite().all()


def test_evaluation_measures_every_set(work: Path) -> None:
    drawn = json.loads((work / "drawn.json").read_text())
    assert set(drawn["sets"]) == {f"{name}, held out" if held else name for name, held in evaluate.SETS}
    table = list(report.table(*(report.Run.read(work / f"{name}.json") for name in ("rendered", "drawn"))))
    assert len({line.count("|") for line in table}) == 1


# Going on from a checkpoint


@pytest.fixture(scope="module")
def reader(work: Path) -> CLIPTokenizer:
    read: CLIPTokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    return read


@pytest.fixture
def pool(reader: CLIPTokenizer) -> Pool:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(4, models.LATENT_CHANNELS, 1, 1, generator=generator).expand(-1, -1, 8, 8).half()
    ids = tokenizer.encode(reader, ["a fox", "an owl", "a car", "a house"]).to(torch.int16)
    return Pool(latents=latents, ids=ids, height=64, width=64)


def advance(trainer: denoiser.Trainer, pool: Pool, steps: int) -> list[float]:
    torch.manual_seed(trainer.steps)
    return [trainer.step(pool, 0.0).item() for _ in range(steps)]


def test_a_resumed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path, reader: CLIPTokenizer, pool: Pool) -> None:
    torch.manual_seed(1)
    whole = denoiser.Trainer(ALONE, reader, tmp_path)
    advance(whole, pool, 2)
    whole.save(tmp_path, tmp_path / "exact.pt", spent=7.0)
    losses = advance(whole, pool, 2)
    again = denoiser.Trainer(ALONE, reader, tmp_path)
    again.resume(tmp_path / "exact.pt")
    assert (again.spent, again.steps) == (7.0, 2)
    assert advance(again, pool, 2) == losses
    for one, other in zip(whole._modules, again._modules, strict=True):
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_another_machine_goes_on_from_the_averaged_weights(tmp_path: Path, reader: CLIPTokenizer, pool: Pool) -> None:
    trainer = denoiser.Trainer(ALONE, reader, tmp_path)
    advance(trainer, pool, 2)
    trainer.save(tmp_path, tmp_path / "exact.pt", spent=7.0)
    moved = denoiser.Trainer(ALONE, reader, tmp_path)
    moved.resume(tmp_path / "was-left-there.pt")
    assert (moved.spent, moved.steps) == (7.0, 2)
    network: Any = moved.denoiser
    for saved, loaded in zip(trainer.average.modules[0].parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(loaded, saved, rtol=1e-3, atol=1e-6)  # it travels in half precision


def test_the_denoiser_learns(tmp_path: Path, reader: CLIPTokenizer, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denoiser, "WARM_UP", 5)
    torch.manual_seed(1)
    trainer = denoiser.Trainer(ALONE, reader, tmp_path)
    noise, timesteps = torch.randn(pool.latents.shape), torch.tensor([100, 400, 700, 950])
    sizes, told = models.size_ids(4, pool.height, pool.width, ALONE.device), torch.ones(4, 1)

    def loss() -> float:
        return trainer._loss(pool.latents.float(), noise, timesteps, pool.ids.long(), told, sizes).item()

    before = loss()
    advance(trainer, pool, 12)
    assert loss() < 0.9 * before


# The loop they share


def test_rounds_save_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "time", tick())
    saved: list[float] = []
    assert list(rounds(ALONE, Clock(8), saved.append, every=3)) == [1, 2, 3, 4, 5, 6, 7]
    assert saved == [4, 9]  # by then a look more has been taken


def test_only_the_first_process_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "time", tick())
    saved: list[float] = []
    follower = Machine(rank=1, peers=1, device=ALONE.device)
    assert list(rounds(follower, Clock(3), saved.append, every=0)) == [1, 2]
    assert not saved


def test_a_log_speaks_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "TELL_EVERY", 15)
    log = Log(ALONE, tmp_path / "log.jsonl")
    assert [elapsed for elapsed in range(50) if log.due(elapsed)] == [16, 32, 48]


def test_pools_are_drawn_by_weight_and_alike_everywhere(pool: Pool) -> None:
    pools = [pool, Pool(latents=pool.latents, ids=pool.ids, height=32, width=64)]
    one, other = ([p.height for p in itertools.islice(by_weight(pools, (0.9, 0.1), seed=4), 300)] for _ in range(2))
    assert one == other
    assert one.count(32) == pytest.approx(30, abs=15)


# Files that travel


def test_a_checkpoint_is_split_into_small_files_and_joined(tmp_path: Path) -> None:
    tensors = {f"part {n}": torch.randn(5 * MEBIBYTE // 2).half().float() for n in range(7)} | {"steps": torch.tensor(12345)}
    checkpoints.save(tmp_path, "model", tensors)
    files = list(tmp_path.iterdir())
    assert len(files) == 3
    assert all(file.stat().st_size <= 16 * MEBIBYTE for file in files)
    joined = checkpoints.load(tmp_path, "model")
    assert joined.keys() == tensors.keys()
    assert all(torch.equal(joined[key], tensors[key]) for key in tensors)


def test_a_smaller_checkpoint_leaves_nothing_of_the_larger(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, "model", {f"{n}": torch.zeros(5 * MEBIBYTE) for n in range(3)})
    checkpoints.save(tmp_path, "model", {"1": torch.ones(2)})
    assert checkpoints.load(tmp_path, "model").keys() == {"1"}
    assert checkpoints.exists(tmp_path, "model")
    assert not checkpoints.exists(tmp_path, "mod")


def test_networks_are_kept_under_their_names() -> None:
    one, other, copies = nn.Linear(2, 3), nn.Linear(3, 2), (nn.Linear(2, 3), nn.Linear(3, 2))
    checkpoints.restore(checkpoints.state(one=one, other=other), one=copies[0], other=copies[1])
    assert torch.equal(one.weight, copies[0].weight)
    assert torch.equal(other.bias, copies[1].bias)
