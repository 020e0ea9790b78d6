"""Weights are read ahead of whoever waits for them: the right files, for as long as that helps, and without a say in errors."""

from __future__ import annotations

import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bot import weights
from bot.errors import Told
from bot.models import ROWS, Model
from tests.conftest import until
from tests.fakes.pipelines import build

LARGE = 2**26  # bytes: more than all else that loading a toy reads
ENDLESS = 2**40  # bytes: more than is read while a toy is loaded
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="it alone tells how much is read")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sdxl")
    build(ROWS["sdxl"]).save_pretrained(folder, variant="fp16")
    return folder


@pytest.fixture
def toy(saved: Path, tmp_path: Path) -> Model:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    return replace(ROWS["sdxl"], repository=str(tmp_path))


def put(model: Model, name: str, size: int = LARGE) -> None:
    """Put a file of nothing much beside the weights."""
    with Path(model.repository, name).open("wb") as file:
        file.truncate(size)


def got() -> int:
    """Return how many bytes this process has asked the system for; what it maps is not counted."""
    return int(Path("/proc/self/io").read_text("ascii").split()[1])


def readers() -> int:
    return sum(thread.name.startswith("read-ahead") for thread in threading.enumerate())


@LINUX
async def test_files_of_weights_are_read_before_they_are_used(toy: Model) -> None:
    put(toy, "vae/diffusion_pytorch_model.fp16-00002-of-00002.safetensors")
    put(toy, "vae/diffusion_pytorch_model.safetensors", 5 * LARGE)
    before = got()
    with weights.read(toy, torch.float16):
        await until(lambda: got() - before > LARGE)
    assert got() - before < 2 * LARGE


@pytest.mark.parametrize(
    ("variant", "there", "wanted"),
    [
        (None, ["vae/model.safetensors"], ["vae/model.safetensors"]),
        (None, ["vae/model.safetensors", "vae/model.fp16.safetensors"], ["vae/model.safetensors"]),
        ("fp16", ["vae/model.safetensors", "vae/model.fp16.safetensors"], ["vae/model.fp16.safetensors"]),
        ("fp16", ["unet/m.fp16.safetensors", "vae/m.safetensors"], ["unet/m.fp16.safetensors", "vae/m.safetensors"]),
        ("fp16", ["vae/m.fp16-2-of-2.safetensors", "vae/m.fp16-1-of-2.safetensors", "vae/m-1-of-1.safetensors"],
         ["vae/m.fp16-1-of-2.safetensors", "vae/m.fp16-2-of-2.safetensors"]),
        (None, ["vae/m-2-of-2.safetensors", "vae/m-1-of-2.safetensors", "text_encoder/m.safetensors"],
         ["text_encoder/m.safetensors", "vae/m-1-of-2.safetensors", "vae/m-2-of-2.safetensors"]),
        (None, ["whole.safetensors", "vae/config.json", "vae/model.bin"], []),
    ],
)  # fmt: skip
def test_the_files_that_loading_wants_are_those_read_ahead(
    variant: str | None, there: list[str], wanted: list[str], tmp_path: Path
) -> None:
    for name in [*there, "vae_1_0/of-a-clone.safetensors"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "model_index.json").write_text('{"_class_name": "Some", "text_encoder": [], "unet": [], "vae": []}', "utf-8")
    assert [str(file.relative_to(tmp_path)) for file in weights._files(tmp_path, variant)] == wanted


def test_loading_cannot_do_without_any_file_that_is_read_ahead(toy: Model) -> None:
    files = list(weights._files(Path(toy.repository), toy.variant))
    assert files == sorted(Path(toy.repository).rglob("*.safetensors"))
    for file in files:
        away = file.rename(file.with_suffix(".away"))
        with pytest.raises(Told, match="The weights of sdxl are not on this machine"):
            weights.load(toy, "cpu", 99)
        away.rename(file)


def test_a_file_that_cannot_be_read_ahead_holds_nothing_up(toy: Model) -> None:
    Path(toy.repository, "text_encoder", "amiss.fp16.safetensors").symlink_to("nowhere")
    weights.load(toy, "cpu", 99)


@LINUX
def test_what_does_not_fit_into_the_memory_is_not_read_ahead(toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MEMORY", LARGE)
    put(toy, "vae/diffusion_pytorch_model.fp16-00002-of-00002.safetensors")
    before = got()
    weights.load(toy, "cpu", 99)
    assert got() - before < LARGE


@pytest.fixture
def much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MEMORY", 4 * ENDLESS)


@LINUX
@pytest.mark.usefixtures("much_memory")
def test_nothing_is_read_ahead_any_more_once_weights_are_loaded(toy: Model) -> None:
    put(toy, "vae/diffusion_pytorch_model.fp16-00002-of-00002.safetensors", ENDLESS)
    before = got()
    weights.load(toy, "cpu", 99)
    assert not readers()
    assert got() - before < ENDLESS / 2


@LINUX
@pytest.mark.usefixtures("much_memory")
def test_nothing_is_read_ahead_any_more_once_weights_cannot_be_loaded(toy: Model) -> None:
    put(toy, "vae/diffusion_pytorch_model.fp16-00002-of-00002.safetensors", ENDLESS)
    Path(toy.repository, "unet", "diffusion_pytorch_model.fp16.safetensors").unlink()
    before = got()
    with pytest.raises(Told, match="The weights of sdxl are not on this machine"):
        weights.load(toy, "cpu", 99)
    assert not readers()
    assert got() - before < ENDLESS / 2


def test_what_fails_with_weights_that_are_there_is_not_put_down_to_them(toy: Model) -> None:
    with pytest.raises(OSError, match="no space"), weights.read(toy, torch.float16):
        raise OSError("no space")
