"""The command line: what is printed can be used again, and what goes wrong is said in a sentence."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from bot import __main__ as cli
from bot import command, recipe
from bot.errors import Told
from bot.models import SKETCH, Model
from bot.request import Event, ImageRequest, Job, Picture, compose
from bot.store_local import LocalStore
from bot.upload import ORIENTATION
from tests.fakes.generator import QuickGenerator, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from typer.testing import Result

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave the log as it was."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder, in an environment that says nothing of the bot."""
    for name in [name for name in os.environ if name.startswith("IMAGINE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGINE_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the generator that draws nothing much."""
    monkeypatch.setitem(sys.modules, "bot.gen", SimpleNamespace(Generator=QuickGenerator))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def told(*arguments: str) -> str:
    """Return what a person is told instead."""
    result = run(*arguments)
    assert isinstance(result.exception, Told)
    return str(result.exception)


def process(folder: Path, *command_line: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("IMAGINE_")}
    environment |= {"PYTHONPATH": str(ROOT), "IMAGINE_HOME": str(folder / "home")}
    return subprocess.run(command_line, cwd=folder, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


def python_m_bot(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return process(folder, sys.executable, "-m", "bot", *arguments)


def one_line(text: str) -> str:
    return " ".join(text.split())


SMALL = ("--size", "192x192", "--steps", "2", "--seed", "7")


def test_a_picture_drawn_from_a_terminal_is_redrawn_to_the_byte_by_the_command_that_its_recipe_prints(tmp_path: Path) -> None:
    drawn = python_m_bot(tmp_path, "draw", "it's", "a fox", "--n", "3", *SMALL, "--no", "blur, text", "-o", "foxes")
    assert drawn.returncode == 0, drawn.stderr
    paths = [tmp_path / line for line in drawn.stdout.splitlines()]
    assert [path.name for path in paths] == [f"it-s-a-fox-7{end}.png" for end in ("-1", "-2", "-3", "-sheet")]
    assert "s per picture" in drawn.stderr

    pictures = [Image.open(path).convert("RGB") for path in paths]
    sheet = pictures.pop()
    assert sheet.size == (384, 384)
    for picture, corner in zip(pictures, ((0, 0), (192, 0), (0, 192)), strict=True):
        assert picture.tobytes() == sheet.crop((*corner, corner[0] + 192, corner[1] + 192)).tobytes()
    assert sheet.crop((192, 192, 384, 384)).getcolors() == [(192 * 192, (255, 255, 255))]

    printed = run("recipe", str(paths[1])).stdout.splitlines()[0]
    again = process(tmp_path, "sh", "-c", f'imagine() {{ {shlex.quote(sys.executable)} -m bot "$@"; }}; {printed}')
    assert again.returncode == 0, again.stderr
    assert (tmp_path / again.stdout.strip()).read_bytes() == paths[1].read_bytes()


@pytest.mark.usefixtures("quick")
def test_a_picture_is_drawn_into_the_file_that_was_named(here: Path) -> None:
    result = run("draw", "a red fox", "--seed", "7", "--output", "new/folder/fox.png")
    assert result.exit_code == 0
    assert result.stdout == f"{Path('new/folder/fox.png')}\n"
    assert recipe.of(here / "new/folder/fox.png") == compose("a red fox", model="sketch", seed=7)


@pytest.mark.usefixtures("quick")
def test_a_picture_is_drawn_into_the_folder_that_was_named_and_named_by_its_words(here: Path) -> None:
    run("draw", "A red, red fox!", "--seed", "7", "-o", "foxes")
    assert [path.name for path in (here / "foxes").iterdir()] == ["a-red-red-fox-7.png"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("../../etc/passwd", "etc-passwd-7.png"),
        ("🦊", "picture-7.png"),
        ("雪の中の狐", "雪の中の狐-7.png"),
        ("one two three four five six seven", "one-two-three-four-five-six-7.png"),
        ("x" * 500, f"{'x' * 60}-7.png"),
        ("狐" * 60, f"{'狐' * 60}-7.png"),
        ("x" + "𝓪" * 60, f"x{'𝓪' * 44}-7.png"),
    ],
)
def test_any_words_make_a_name_that_a_file_can_have(here: Path, prompt: str, name: str) -> None:
    assert run("draw", prompt, "--seed", "7").exit_code == 0
    assert [path.name for path in here.glob("*.png")] == [name]


@pytest.mark.usefixtures("quick")
def test_several_pictures_are_numbered_and_come_with_a_sheet(here: Path) -> None:
    result = run("draw", "a fox", "--n", "2", "--seed", "7", "-o", "fox.png")
    names = ["fox-1.png", "fox-2.png", "fox-sheet.png"]
    assert result.stdout.splitlines() == names
    assert sorted(path.name for path in here.glob("*.png")) == names
    assert [recipe.of(here / name).seed for name in names[:2]] == [7, 8]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("n", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 2), (7, 3, 3), (9, 3, 3), (10, 4, 3)]
)
def test_a_sheet_is_as_square_as_it_can_be(n: int, columns: int, rows: int) -> None:
    request = compose("a fox", model="sketch", seed=1, n=n)
    pictures = [Picture(png=plain(one), request=one) for one in (request.alone(index) for index in range(n))]
    sheet = cli.contact_sheet(pictures)
    assert sheet.size == (columns * 8, rows * 8)
    shades = [sheet.getpixel((index % columns * 8 + 4, index // columns * 8 + 4)) for index in range(columns * rows)]
    assert shades == [(1 + index, 0, 0) for index in range(n)] + [(255, 255, 255)] * (columns * rows - n)


@pytest.mark.usefixtures("quick", "here")
@pytest.mark.parametrize("option", ["--steps", "--guidance", "--cfg", "--seed", "--n"])
def test_flags_may_stand_in_the_words_too(option: str) -> None:
    apart, within = (run("draw", *words) for words in (("a fox", option, "2"), (f"a fox {option} 2",)))
    assert apart.exit_code == within.exit_code == 0
    assert len(apart.stdout.splitlines()) == len(within.stdout.splitlines())


HOSTILE = [
    {},
    {"n": 3, "guidance_scale": 1.25, "num_inference_steps": 3, "width": 320, "height": 224},
    {"prompt": 'it\'s $HOME `ls` \\ "quoted" ; rm -rf * & # !'},
    {"prompt": "--seed 9 --help"},
    {"prompt": "—seed 9 \\--n"},
    {"prompt": "-o x.png"},
    {"prompt": "help"},
    {"prompt": '"a fox"'},
    {"prompt": "狐 🦊 é"},
    {"prompt": "-"},
    {"prompt": "settings"},
    {"negative_prompt": "blur, text"},
    {"negative_prompt": "--seed 9"},
    {"negative_prompt": '"blur"'},
    {"negative_prompt": "\\--x —y"},
    {"negative_prompt": "-o x"},
    {"negative_prompt": "it's $HOME"},
]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("given", HOSTILE, ids=lambda given: " ".join(map(str, given.values())))
def test_the_printed_shell_command_draws_the_same_request(here: Path, given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"prompt": "a fox", "model": "sketch", "seed": 7}
    request = compose(**(usual | given))
    _, *arguments = shlex.split(cli.shell_command(request))
    result = run(*arguments)
    assert result.exit_code == 0, result.exception
    first = here / result.stdout.splitlines()[0]
    assert recipe.of(first) == request.alone(0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("given", HOSTILE, ids=lambda given: " ".join(map(str, given.values())))
def test_a_recipe_is_printed_as_a_shell_command_and_as_one_for_chat(tmp_path: Path, given: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"prompt": "a fox", "model": "sketch", "seed": 7}
    request = compose(**(usual | given)).alone(0)
    (tmp_path / "fox.png").write_bytes(plain(request))
    shell, chat = run("recipe", str(tmp_path / "fox.png")).stdout.splitlines()
    assert shell == cli.shell_command(request)
    assert command.read(chat.removeprefix("/imagine ")) == request


TOLD: list[tuple[tuple[str, ...], str]] = [
    (("draw", "a fox", "--steps", "99"), "Steps must be from 1 to 50 for sketch; you asked for 99."),
    (("draw", "a fox", "--seed", "x"), "--seed does not understand “x”. For example: --seed 7"),
    (("draw", "a fox --sede 7"), "I don't know --sede. Did you mean --seed?"),
    (("draw", "a fox", "--ar", "3:2", "--size", "320x224"), "Give either --ar or --size, not both."),
    (("draw", "a fox", "--model", "dalle"), "There is no model “dalle” here. There is: sketch."),
    (("draw", "", "--n", "2"), "Say what to draw, for example: /imagine a red fox in the snow"),
    (("draw", "a fox", "-o", "fox.jpg"), "Pictures are PNG files here: name it fox.png."),
]


@pytest.mark.usefixtures("here", "quick")
@pytest.mark.parametrize(("arguments", "sentence"), TOLD)
def test_what_cannot_be_drawn_is_answered_in_a_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    assert told(*arguments) == sentence


@pytest.mark.usefixtures("here")
def test_nothing_is_compiled_for_a_few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would take longer than it saves."""
    made: list[QuickGenerator] = []

    def make(model: Model, **given: Any) -> QuickGenerator:
        made.append(QuickGenerator(model, **given))
        return made[-1]

    monkeypatch.setitem(sys.modules, "bot.gen", SimpleNamespace(Generator=make))
    assert run("draw", "a fox").exit_code == 0
    assert [generator.hastened for generator in made] == [False]


@pytest.mark.usefixtures("quick")
def test_nothing_is_made_for_what_cannot_be_drawn(here: Path) -> None:
    told("draw", "a fox", "--steps", "99", "-o", "folder/fox.png")
    assert list(here.iterdir()) == []


@pytest.mark.usefixtures("quick")
def test_a_folder_that_cannot_be_made_is_told_before_anything_is_drawn(here: Path) -> None:
    (here / "taken").write_text("a file")
    assert "taken" in told("draw", "a fox", "-o", "taken/fox.png")


def test_a_picture_to_start_from_is_taken_as_in_chat_and_named_by_its_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = QuickGenerator(SKETCH)
    monkeypatch.setitem(sys.modules, "bot.gen", SimpleNamespace(Generator=lambda *_, **__: generator))
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    Image.new("RGBA", (64, 32), (200, 30, 30, 0)).save("fox.webp", exif=turned)
    result = run("draw", "a fox", "--image", "fox.webp", "-o", "new.png")
    assert result.exit_code == 0, result.exception
    [start] = generator.started_from
    assert start
    with Image.open(io.BytesIO(start)) as image:
        assert (image.size, image.getcolors()) == ((32, 64), [(32 * 64, (255, 255, 255))])
    assert recipe.of(here / "new.png").image == hashlib.sha256((here / "fox.webp").read_bytes()).hexdigest()[:24]


@pytest.mark.usefixtures("here", "quick")
def test_a_file_to_start_from_that_is_no_picture_is_answered_in_a_sentence() -> None:
    Path("text.png").write_text("a fox")
    assert told("draw", "a fox", "--image", "text.png").startswith("That is not a picture that I can read.")
    assert told("draw", "a fox", "--image", "nothing.png") == "nothing.png cannot be read: No such file or directory."
    assert told("draw", "a fox", "--image", "/dev/zero") == "That picture is too large: 20 MB is the most."


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("-o", "fox.png", "--n", "2"), "fox-sheet.png cannot be written: Is a directory. --output names another place."),
        (("-o", f"{'x' * 300}.png"), f"{'x' * 300}.png cannot be written: File name too long. --output names another place."),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_anything_is_drawn(
    here: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.setitem(sys.modules, "bot.gen", None)  # who comes as far as drawing fails
    (here / "fox-sheet.png").mkdir()
    assert told("draw", "a fox", *arguments) == sentence
    assert list(here.iterdir()) == [here / "fox-sheet.png"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("folder", ["v1.5", "fox.png", "new"])
def test_a_folder_may_have_any_name(folder: str, here: Path) -> None:
    if folder != "new":
        (here / folder).mkdir()
    assert run("draw", "a fox", "--seed", "7", "-o", folder).stdout == f"{folder}/a-fox-7.png\n"


@pytest.mark.usefixtures("quick")
def test_the_file_that_was_named_is_the_one_that_is_written(here: Path) -> None:
    (here / "fox.png").write_text("the fox of yesterday")
    assert run("draw", "a fox", "-o", "fox.PNG").stdout == "fox.PNG\n"
    assert run("draw", "a fox", "-o", "two.PNG", "--n", "2").stdout.splitlines() == ["two-1.PNG", "two-2.PNG", "two-sheet.PNG"]
    assert (here / "fox.png").read_text() == "the fox of yesterday"


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_written_leaves_what_was_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "fox.png").write_text("the fox of yesterday")

    def full(self: Path, _content: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert told("draw", "a fox", "-o", "fox.png").startswith("fox.png was not written: No space left on device.")
    assert [(path.name, path.read_text()) for path in here.iterdir()] == [("fox.png", "the fox of yesterday")]


def test_nothing_that_is_quoted_speaks_to_the_terminal(tmp_path: Path) -> None:
    ended = python_m_bot(tmp_path, "show", "\x1b]0;owned\x07\x1b[31mx")
    assert ended.returncode == 2
    assert "]0;owned" in ended.stderr
    assert not {"\x1b", "\x07"} & set(ended.stderr)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arguments", [("draw", ""), ("draw", "  "), ("draw", "--", "")])
def test_who_says_nothing_is_told_what_to_say(arguments: tuple[str, ...]) -> None:
    assert told(*arguments) == "Say what to draw, for example: imagine draw 'a red fox in the snow'"


@pytest.mark.usefixtures("here")
def test_a_server_is_not_let_listen_everywhere_by_an_empty_address() -> None:
    assert told("serve", "--host", "").startswith("--host needs an address.")


@pytest.mark.usefixtures("quick")
def test_a_picture_that_is_there_is_left_alone_until_there_is_another(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "fox.png").write_text("the fox of yesterday")
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "bot.gen", None)
        assert run("draw", "a fox", "-o", "fox.png").exception
    assert (here / "fox.png").read_text() == "the fox of yesterday"
    run("draw", "a fox", "-o", "fox.png")
    assert recipe.of(here / "fox.png").prompt == "a fox"


@pytest.mark.usefixtures("quick")
def test_a_disk_that_is_full_by_then_is_told_with_how_to_draw_it_again(here: Path) -> None:
    (here / "fox-2.png").symlink_to("/dev/full")
    result = run("draw", "a fox", "-o", "fox.png", "--seed", "7", "--n", "2")
    assert result.stdout == "fox-1.png\n"
    assert str(result.exception) == (
        "fox-2.png was not written: No space left on device. With --seed 7, the same command draws the same again."
    )


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), Told("The GPU has gone.")], ids=["Ctrl-C", "an error"])
def test_what_is_finished_is_kept_whatever_becomes_of_the_rest(
    failure: BaseException, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(QuickGenerator):
        def generate(self, request: ImageRequest, **given: Any) -> Generator[Event, None, None]:
            if self.drawn:
                raise failure
            yield from super().generate(request, **given)

    monkeypatch.setitem(sys.modules, "bot.gen", SimpleNamespace(Generator=Failing))
    result = run("draw", "a {red,blue,grey} fox", "-o", "fox.png", "--seed", "7")
    assert result.exit_code != 0
    assert result.stdout == "fox-1.png\n"
    assert [path.name for path in here.glob("*.png")] == ["fox-1.png"]
    assert recipe.of(here / "fox-1.png").seed == 7


@pytest.mark.usefixtures("here")
def test_a_file_without_a_recipe_is_answered_in_a_sentence() -> None:
    Path("text.png").write_text("a fox")
    assert told("recipe", "text.png") == (
        "text.png is not a picture that I can open. Use one that the bot drew, a PNG or WebP file."
    )


@pytest.mark.usefixtures("here", "quick")
def test_the_environment_may_name_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGINE_MODEL", "dalle")
    assert told("draw", "a fox") == "There is no model “dalle” here. There is: sketch."


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("settings --n 4", "Only chat has settings; here, IMAGINE_MODEL names the model"),
        ("Setting", "Only chat has settings"),
        ("help", "imagine draw --help explains it all"),
    ],
)
def test_what_speaks_to_the_bot_in_chat_is_answered_with_what_helps_here(here: Path, text: str, sentence: str) -> None:
    answer = told("draw", text)
    assert sentence in answer
    assert list(here.iterdir()) == []
    _, *literally = shlex.split(answer.rpartition(": ")[2])
    first, *_ = run(*literally).stdout.splitlines()
    assert recipe.of(here / first).prompt == text.partition(" ")[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        TOLD[0],
        (("show", "nobody"), "No bot has kept anything in "),
        (("recipe", "fox.png"), "fox.png cannot be read: No such file or directory."),
    ],
)
def test_what_goes_wrong_ends_with_status_2_and_one_sentence(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    ended = python_m_bot(tmp_path, *arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert one_line(ended.stderr).startswith(sentence)
    assert "Traceback" not in ended.stderr


def kept(folder: Path, request: ImageRequest, outcome: str | None) -> str:
    """Leave a job in the store; return its id."""
    job = Job(claim="slack:T1:1.2", request=request, platform="slack", person="slack:T1:U1", reply_to={})

    async def keep() -> None:
        async with LocalStore(folder / "home") as store:
            await store.claim(job)
            if outcome:
                await store.keep(job.id, [Picture(png=plain(one), request=one) for one in map(request.alone, range(request.n))])
                await store.finish(job.id, outcome)

    asyncio.run(keep())
    return job.id


def test_show_prints_where_the_pictures_of_a_job_are(here: Path) -> None:
    request = compose("a fox", model="sketch", seed=7, n=2)
    job_id = kept(here, request, "kept")
    result = run("show", job_id)
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [path.read_bytes() for path in paths] == [plain(request.alone(index)) for index in range(2)]
    assert one_line(result.stderr) == f"kept: /imagine {command.write(request)}"


def test_show_says_that_a_job_is_under_way(here: Path) -> None:
    result = run("show", kept(here, compose("a fox", model="sketch", seed=7), None))
    assert result.stdout == ""
    assert result.stderr.startswith("under way: /imagine a fox")


@pytest.mark.parametrize("prompt", ["a :fox: and [red]snow[/red]", "a long " * 30])
def test_show_prints_a_command_that_can_be_copied(here: Path, prompt: str) -> None:
    request = compose(prompt, model="sketch", seed=7)
    result = run("show", kept(here, request, None))
    assert result.stderr == f"under way: /imagine {command.write(request)}\n"


def test_show_knows_only_the_jobs_of_its_folder(here: Path) -> None:
    kept(here, compose("a fox", model="sketch", seed=7), "kept")
    assert told("show", "nobody").startswith(f"There is no job nobody in {here / 'home'}. Jobs are kept for 30 days;")


def test_show_makes_no_folder_of_a_name_that_was_mistyped(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGINE_HOME", str(here / "hoem"))
    said = told("show", "nobody")
    assert said.startswith(f"No bot has kept anything in {here / 'hoem'}.")
    assert said.endswith("A bot on Modal has them at its address: https://…/pictures/nobody/0.png, 1.png and so on.")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("platform", "read"), [("slack", yaml.safe_load), ("discord", json.loads)])
def test_a_manifest_is_printed_and_nothing_else(platform: str, read: Callable[[str], object], tmp_path: Path) -> None:
    result = python_m_bot(tmp_path, "manifest", platform)
    assert result.returncode == 0
    assert isinstance(read(result.stdout), dict | list)
    assert result.stderr == ""


def test_a_manifest_holds_the_address_it_is_given() -> None:
    made = yaml.safe_load(run("manifest", "slack", "--url", "https://imagine.example.com/").stdout)
    (slash,) = made["features"]["slash_commands"]
    assert slash["url"] == "https://imagine.example.com/slack/events"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("imagine.example.com", "--url takes the bot's bare address."),
        ("https://imagine.example.com/slack/events", "--url takes the bot's bare address."),
        ("http://imagine.example.com", "--url is not https"),
    ],
)
def test_an_address_that_slack_would_not_take_goes_into_no_manifest(url: str, words: str) -> None:
    assert words in told("manifest", "slack", "--url", url)


@pytest.mark.parametrize(
    "arguments",
    [("manifest", "teams"), ("draw",), ("fly",), ("draw", "a fox", "--batch-size", "0"), ("serve", "--port", "99999")],
)
def test_a_command_that_is_typed_wrong_ends_with_status_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    helped = python_m_bot(tmp_path, "--help")
    assert helped.returncode == 0
    for each in cli.app.registered_commands:
        assert each.callback
        assert each.callback.__name__ in helped.stdout


def test_every_flag_of_the_grammar_is_an_option_of_draw() -> None:
    helped = CliRunner().invoke(cli.app, ["draw", "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"}).stdout
    for name in command.FLAGS:
        assert f"--{name}" in helped
    assert "--output" in helped
    assert "--batch-size" in helped
