"""The command line: `imagine …`, or `python -m bot …`."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
import math
import os
import re
import shlex
import sys
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bot import command, remembered
from bot.errors import BadRequest, Told
from bot.models import MODELS
from bot.request import Finished, ImageRequest, Picture, Started, Step
from bot.styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from PIL import Image

app: Final = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Draw pictures from words: here, in Slack and in Discord.",
)
NAME: Final = 180  # bytes of a prompt in the name of a file, which may have 255 on most disks
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and line breaks
HERE: Final = "http://127.0.0.1:8000"  # where `imagine serve` listens
say: Final = Console(stderr=True, highlight=False)  # what people read; what programs read goes to standard output


def main() -> None:
    """Run the command line; what is said to people ends it with status 2, without a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        app()
    except Told as told:
        text = CONTROLS.sub("", str(told))  # what it quotes may be meant for the terminal
        say.print(text, markup=False, emoji=False, soft_wrap=True)  # a path that is broken in two cannot be copied
        sys.exit(2)


@app.command()
def draw(
    prompt: Annotated[list[str], typer.Argument(help="What you want to see.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file, or the folder, to draw into.")] = None,
    n: Annotated[str | None, typer.Option("--n", help="How many pictures.")] = None,
    ar: Annotated[str | None, typer.Option("--ar", help="The shape, such as 3:2.")] = None,
    size: Annotated[str | None, typer.Option("--size", help="The size in pixels, such as 320x224.")] = None,
    seed: Annotated[str | None, typer.Option("--seed", help="The same seed gives the same picture.")] = None,
    no: Annotated[str | None, typer.Option("--no", help="What to leave out.")] = None,
    steps: Annotated[str | None, typer.Option("--steps", help="More steps, more care, more time.")] = None,
    guidance: Annotated[str | None, typer.Option("--guidance", "--cfg", help="How closely to follow the words.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Which model draws.", envvar="IMAGINE_MODEL")] = None,
    style: Annotated[str | None, typer.Option("--style", help=f"How it looks: {', '.join(STYLES)}.")] = None,
    repeat: Annotated[str | None, typer.Option("--repeat", help="All of it so many times.")] = None,
    upscale: Annotated[str | None, typer.Option("--upscale", help="2: twice as wide and high, with finer detail.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="A picture to start from.")] = None,
    strength: Annotated[str | None, typer.Option("--strength", help="How far to go from that picture, such as 0.6.")] = None,
    vary: Annotated[
        str | None,
        typer.Option("--vary", help="A variation: its seed, and how far to go, such as 7:0.3; 7:0.3,9:0.3 varies that."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures drawn side by side; they then differ by rounding.")] = 1,
) -> None:
    """Draw pictures, as /imagine would, into PNG files."""
    name, start = _start(image)
    options: dict[str, object] = {"n": n, "ar": ar, "size": size, "seed": seed, "no": no, "steps": steps, "guidance": guidance}
    options |= {"model": model, "upscale": upscale, "strength": strength, "vary": vary, "image": name}
    options |= {"style": style, "repeat": repeat}
    requests = _read(" ".join(prompt), options)
    paths = _paths(requests, output)
    for path in paths:
        _see_that_it_can_be_written(path)
    logging.getLogger().setLevel(logging.WARNING)  # the progress bar says it all
    pictures, seconds = list[Picture](), 0.0
    written = list[Path]()
    try:
        with closing(_draw(requests, batch_size, start)) as drawing:
            for finished in drawing:  # each is on the disk before the next one begins, whatever becomes of that
                seconds += finished.seconds
                for picture in finished.pictures:
                    pictures.append(picture)
                    written.append(_write(paths[len(written)], picture.png, requests[0].seed))
        if len(pictures) > 1:
            written.append(_write(paths[-1], _png(contact_sheet(pictures)), requests[0].seed))
    finally:
        for path in written:  # now that there is no bar any more
            typer.echo(path)
    say.print(f"{seconds / len(pictures):.2f} s per picture, {seconds:.2f} s in all, seed {requests[0].seed}")


@app.command()
def recipe(file: Annotated[Path, typer.Argument(help="A picture that the bot drew.")]) -> None:
    """Print the commands that redraw a picture: here, and in chat."""
    from bot import recipe as recipes

    request = recipes.of(file)
    typer.echo(shell_command(request))
    typer.echo(f"/imagine {command.write(request)}")


@app.command()
def show(job: Annotated[str, typer.Argument(help="The id of a job, as the log or the bot gave it.")]) -> None:
    """Print where the pictures of a job are kept, and what became of it. It changes nothing."""
    from bot.local import home
    from bot.store_local import LocalStore

    async def look() -> None:
        with LocalStore.read_only(home()) as store:
            record = await store.record(job)
            count = len(await store.pictures(job)) if record else 0
        if record is None:
            raise Told(f"There is no job {job} in {home()}. Jobs are kept for 30 days; IMAGINE_HOME names the folder.")
        say.print(
            f"{record.outcome or 'under way'}: /imagine {command.write(record.job.request)}",
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        for index in range(count):
            typer.echo(store.folder(job) / f"{index}.png")

    try:
        asyncio.run(look())
    except Told as told:
        raise Told(f"{told} A bot on Modal has them at its address: https://…/pictures/{job}/0.png, 1.png and so on.") from None


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 8000,
) -> None:
    """Run the whole bot on this machine: the chat page, and Slack and Discord where their secrets are set."""
    from bot import local, platforms

    if not host:
        raise BadRequest("--host needs an address. 127.0.0.1 is for this machine alone, 0.0.0.0 for all that reach it.")

    def reached(url: str) -> None:
        say.print(f"Open {url} and type:  /imagine {command.EXAMPLES[0]}")
        say.print("Ctrl-C stops. What was promised by then is finished at the next start.")

    for name, state in platforms.states().items():
        say.print(f"{name:8} {state}")
    local.serve(host, port, reached)


@app.command()
def register() -> None:
    """Tell Discord about /imagine. Do it once, and again when the options change."""
    from bot import platforms

    count = asyncio.run(platforms.register())
    say.print(f"Discord knows {count} commands now. They may take a minute to show in every client.")


@app.command()
def doctor(
    url: Annotated[str | None, typer.Option(help="Where the bot is reached, such as https://imagine.example.com.")] = None,
    channel: Annotated[str | None, typer.Option(help="The id of a channel that the bot should be in.")] = None,
) -> None:
    """Find what is set up wrongly, and say what to click. It changes nothing."""
    from bot import doctor as doctors

    raise typer.Exit(asyncio.run(doctors.run(os.environ, url=url, channel=channel, say=typer.echo)))


@app.command()
def status(
    url: Annotated[str, typer.Option(help="Where the bot is reached, such as https://imagine.example.com.")] = HERE,
    on_modal: Annotated[bool, typer.Option("--modal", help="Ask Modal for the containers of `modal deploy -m bot`.")] = False,  # noqa: FBT002
) -> None:
    """Say what is up, what waits, and how long people waited lately. It changes nothing."""
    for line in asyncio.run(_state_on_modal() if on_modal else _state(url)):
        typer.echo(line)


async def _state(url: str) -> Sequence[str]:
    """Look at a bot from outside, and at what it wrote down if that is here."""
    from bot import status
    from bot.local import home
    from bot.store_local import LocalStore

    about = await status.of_server(url)
    if not status.is_here(url):
        return about
    try:
        with LocalStore.read_only(home()) as store:
            return [*about, *await status.of_jobs(store)]
    except Told as told:  # what the bot itself has said is worth having
        return [*about, str(told)]


async def _state_on_modal() -> Sequence[str]:
    try:
        from bot import deploy
    except ImportError as error:
        raise Told("Modal's own package is not installed here: `pip install imagine-bot[modal]`.") from error
    return await deploy.state()


class _Platform(StrEnum):
    SLACK = "slack"
    DISCORD = "discord"


@app.command()
def manifest(
    platform: Annotated[_Platform, typer.Argument(help="Whose.")],
    url: Annotated[str | None, typer.Option(help="Where the bot is reached, such as https://imagine.example.com.")] = None,
) -> None:
    """Print what the platform wants to know: for Slack YAML to paste, for Discord the commands that `register` puts to it."""
    from bot import manifest as manifests
    from bot.doctor import places

    if refusal := places.unfit(url):
        raise BadRequest(f"{refusal.what} {refusal.fix}")
    if platform is _Platform.SLACK:
        text = manifests.as_yaml(manifests.for_slack(url or manifests.PLACEHOLDER))
    else:
        text = manifests.as_json(manifests.for_discord())
    typer.echo(text, nl=False)


def shell_command(request: ImageRequest) -> str:
    """Write the command that draws this request from a terminal."""
    words = [word for pair in command.flags(request) for word in pair]
    if request.negative_prompt:
        words.append(f"--no={request.negative_prompt}")
    return shlex.join(["imagine", "draw", *words, "--", command.typed(request.prompt)])


def contact_sheet(pictures: Sequence[Picture]) -> Image.Image:
    """Lay pictures of one size out in a grid, left to right and down."""
    from PIL import Image

    images = [Image.open(io.BytesIO(picture.png)) for picture in pictures]
    width, height = images[0].size
    columns = math.ceil(math.sqrt(len(images)))
    sheet = Image.new("RGB", (columns * width, math.ceil(len(images) / columns) * height), "white")
    for index, image in enumerate(images):
        sheet.paste(image, (index % columns * width, index // columns * height))
    return sheet


def _read(text: str, options: Mapping[str, object]) -> Sequence[ImageRequest]:
    """Read what to draw; what speaks to the bot in chat is answered with what does the same here."""
    if remembered.is_about_settings(text):
        raise BadRequest(
            "Only chat has settings; here, IMAGINE_MODEL names the model, and all else is an option. "
            f"To draw these words: {_literally(text)}"
        )
    try:
        return command.read_all(text, options=options)
    except command.HelpWanted:
        if not text.strip():
            raise BadRequest(f"Say what to draw, for example: {shlex.join(['imagine', 'draw', command.EXAMPLES[0]])}") from None
        raise BadRequest(f"imagine draw --help explains it all. To draw the word: {_literally('help')}") from None


def _literally(text: str) -> str:
    return shlex.join(["imagine", "draw", f"\\{text}"])


def _start(image: Path | None) -> tuple[str | None, bytes | None]:
    """Read the picture to start from as chat does; name it by its file, which is the same with every Pillow."""
    if image is None:
        return None, None
    from bot.upload import LARGEST, vet

    try:
        with image.open("rb") as file:
            content = file.read(LARGEST + 1)  # one more shows that it is too large, and some files never end
    except OSError as error:
        raise BadRequest(f"{image} cannot be read: {error.strerror}.") from error
    return hashlib.sha256(content).hexdigest()[:24], vet(content)


def _draw(requests: Sequence[ImageRequest], batch_size: int, start: bytes | None) -> Generator[Finished, None, None]:
    """Load the model and draw, with a bar that moves at every step."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=say, transient=True) as bar:
        task = bar.add_task(f"loading {requests[0].model}", total=None)
        from bot.gen import Generator  # torch and diffusers take seconds to import

        generator = Generator(MODELS[requests[0].model], hasten=False)  # for a few pictures that takes longer than it saves
        for request in requests:
            for event in generator.generate(request, batch_size=batch_size, image=start):
                match event:
                    case Started():
                        bar.update(task, description="drawing")
                    case Step(index, total):
                        bar.update(task, completed=index, total=total)
                    case Finished():
                        yield event


def _paths(requests: Sequence[ImageRequest], output: Path | None) -> list[Path]:
    """Return a path for each picture, and where there are several one for their sheet, in a folder that exists."""
    named = output if output and output.suffix and not _is_folder(output) else None
    if named and named.suffix.lower() != ".png":
        raise BadRequest(f"Pictures are PNG files here: name it {named.with_suffix('.png')}.")
    folder = named.parent if named else output or Path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"Pictures cannot go to {folder}: {error.strerror}.") from error
    name, count = named or Path(f"{_stem(requests[0])}.png"), sum(request.n for request in requests)
    if count == 1:
        return [folder / name.name]
    return [folder / f"{name.stem}-{end}{name.suffix}" for end in (*range(1, count + 1), "sheet")]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # which is told of what is written there
        return False


def _stem(request: ImageRequest) -> str:
    words = "-".join(re.findall(r"\w+", request.prompt.lower())[:6])[:60]
    short = words.encode()[:NAME].decode(errors="ignore")  # a letter that was cut through goes
    return f"{short or 'picture'}-{request.seed}"


def _see_that_it_can_be_written(path: Path) -> None:
    """Open a file as if to write it, and leave everything as it was: drawing for nothing takes longer."""
    try:
        file = path.resolve()  # not a link to it
        is_new = not file.exists()
        file.open("ab").close()
        if is_new:
            file.unlink()
    except OSError as error:
        raise BadRequest(f"{path} cannot be written: {error.strerror}. --output names another place.") from error


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write(path: Path, png: bytes, seed: int) -> Path:
    """Put a picture into its file, whole or not at all: what was there before is gone only when this one is there."""
    draft = path.with_name(f".imagine-{os.getpid()}.part")
    try:
        if path.is_symlink() or (path.exists() and not (path.is_file() and os.access(path.parent, os.W_OK))):
            path.write_bytes(png)  # a link stays one; and beside some files nothing can be made
        else:
            draft.write_bytes(png)
            draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Told(
            f"{path} was not written: {error.strerror}. With --seed {seed}, the same command draws the same again."
        ) from error
    return path


if __name__ == "__main__":
    main()
