"""The commands that people find in Discord: `/imagine` and its kin, and what the menu of a message offers.

https://discord.com/developers/docs/interactions/application-commands
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import app_commands

from bot import command, remembered, texts
from bot.discord_answers import caller, language, privately, tell
from bot.discord_buttons import Recall, press_in
from bot.discord_forms import Draft, draw, open_form, refuse, usual
from bot.discord_reply import plain
from bot.errors import BadRequest, Told
from bot.models import MODELS, ROWS
from bot.request import LEAST_STRENGTH, MAX_PICTURES, PROMPT_LIMIT, SEEDS, UPSCALES, shorten
from bot.styles import STYLES
from bot.texts import ENGLISH, Phrase, say
from bot.upload import NOT_READABLE, TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bot.discord_answers import Interaction

log: Final = logging.getLogger(__name__)
logging.getLogger("discord.client").setLevel(logging.ERROR)  # it warns that it has no voice, which nobody wants of it

# Of all models that there are: the commands are the same for every deployment, whichever models that offers.
MOST_STEPS: Final = max(row.max_inference_steps for row in ROWS.values())
MOST_GUIDANCE: Final = max(row.max_guidance_scale for row in ROWS.values())
CHOICES: Final = 25  # that Discord shows
CHOICE: Final = 100  # characters

OTHER_COMMANDS: Final = Phrase("That command is of another version of me. An admin can put that right with: imagine register")
OPTIONS: Final = ("n", "ar", "size", "seed", "no", "steps", "guidance", "model", "style", "strength", "upscale", "repeat")
ANYWHERE: Final = {"guilds": True, "dms": True, "private_channels": True}


async def _models(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    named = ((model.name, model.about) for model in MODELS.values())
    return _matching(named, typed, language(interaction.locale))


async def _styles(interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
    named = ((style.name, style.about) for style in STYLES.values())
    return _matching(named, typed, language(interaction.locale))


def _matching(named: Iterable[tuple[str, str]], typed: str, language: str) -> list[app_commands.Choice[str]]:
    """Offer what has the typed letters in it, in its name or in what is said about it."""
    described = ((name, f"{name}: {say(language, about)}") for name, about in named)
    found = [(name, text) for name, text in described if typed.strip().lower() in text.lower()]
    return [app_commands.Choice(name=shorten(text, CHOICE), value=name) for name, text in found[:CHOICES]]


def _shapes() -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=shape, value=shape) for shape in command.SHAPES]


@app_commands.command(name="imagine", description=Phrase("Draw a picture of what you type"))
@app_commands.describe(
    prompt=Phrase("What you want to see; flags such as --ar 3:2 work here too"),
    image=Phrase("a picture to start from"),
    **{name: command.FLAGS[name].about for name in OPTIONS},
)
@app_commands.choices(ar=_shapes())
@app_commands.autocomplete(model=_models, style=_styles)
@app_commands.allowed_contexts(**ANYWHERE)
@app_commands.allowed_installs(guilds=True, users=True)
async def imagine(
    interaction: Interaction,
    prompt: app_commands.Range[str, 1, command.LONGEST],
    n: app_commands.Range[int, 1, MAX_PICTURES] | None = None,
    ar: str | None = None,
    size: str | None = None,
    seed: app_commands.Range[int, 0, SEEDS - 1] | None = None,
    no: app_commands.Range[str, 1, PROMPT_LIMIT] | None = None,
    steps: app_commands.Range[int, 1, MOST_STEPS] | None = None,
    guidance: app_commands.Range[float, 0.0, MOST_GUIDANCE] | None = None,
    model: str | None = None,
    style: str | None = None,
    image: discord.Attachment | None = None,
    strength: app_commands.Range[float, LEAST_STRENGTH, 1.0] | None = None,
    upscale: app_commands.Range[int, min(UPSCALES), max(UPSCALES)] | None = None,
    repeat: app_commands.Range[int, 1, MAX_PICTURES] | None = None,
) -> None:
    """Draw.

    The prompt is required: what people type after a command goes into no other option by itself, and is dropped.
    https://github.com/discord/discord-api-docs/issues/2626
    """
    values = (n, ar, size, seed, no, steps, guidance, model, style, strength, upscale, repeat)
    options: Mapping[str, object] = dict(zip(OPTIONS, values, strict=True))
    draft = Draft.typed(prompt, options)
    try:
        draft = replace(draft, start=_address(image) if image else "")
    except BadRequest as refused:
        await refuse(interaction, refused, draft, options)
    else:
        await draw(interaction, draft, options)


@app_commands.command(name="imagine-form", description=Phrase("Fill in a form to draw a picture"))
@app_commands.describe(image=Phrase("a picture to start from"))
@app_commands.allowed_contexts(**ANYWHERE)
@app_commands.allowed_installs(guilds=True, users=True)
async def imagine_form(interaction: Interaction, image: discord.Attachment | None = None) -> None:
    """Open the form, with what the person always wants in it."""
    await _open(interaction, {"prompt": ""}, _address(image) if image else "")


@app_commands.command(name="imagine-settings", description=Phrase("What I add to all your commands: show it, or change it"))
@app_commands.describe(reset=Phrase("forget all of it first"), **{name: command.FLAGS[name].about for name in remembered.KEPT})
@app_commands.choices(ar=_shapes())
@app_commands.autocomplete(model=_models, style=_styles)
@app_commands.allowed_contexts(**ANYWHERE)
@app_commands.allowed_installs(guilds=True, users=True)
async def imagine_settings(
    interaction: Interaction,
    model: str | None = None,
    ar: str | None = None,
    size: str | None = None,
    n: app_commands.Range[int, 1, MAX_PICTURES] | None = None,
    style: str | None = None,
    reset: bool = False,  # noqa: FBT001, FBT002  this is how Discord's options are written
) -> None:
    """Show what is remembered for somebody, changed if they say so."""
    desk, who = interaction.client.desk, caller(interaction)
    given = {"model": model, "ar": ar, "size": size, "n": n, "style": style}
    changes = {name: str(value) for name, value in given.items() if value is not None}
    defaults = {} if reset else await desk.remembered(who)
    if changes or reset:
        defaults = await desk.set_defaults(who, remembered.changed(defaults, changes))
    await privately(interaction, plain(desk.shown(defaults, who.language)))


@app_commands.command(name="imagine-help", description=Phrase("How this works, with examples"))
@app_commands.allowed_contexts(**ANYWHERE)
@app_commands.allowed_installs(guilds=True, users=True)
async def imagine_help(interaction: Interaction) -> None:
    """Explain the command."""
    raise command.HelpWanted(interaction.client.desk.model)


@app_commands.context_menu(name=Phrase("Imagine this"))
@app_commands.allowed_contexts(**ANYWHERE)
@app_commands.allowed_installs(guilds=True, users=True)
async def imagine_this(interaction: Interaction, message: discord.Message) -> None:
    """Open the form with a message's words, and its picture to start from."""
    words, files = message.clean_content, message.attachments
    if message.message_snapshots and not (words or files):  # it forwards another
        words, files = message.message_snapshots[0].content, message.message_snapshots[0].attachments
    picture = next((file for file in files if file.content_type in TYPES), None)
    press = press_in(message) if message.author.id == interaction.application_id else None
    filled = await interaction.client.desk.imagined(words, press, Recall(interaction, message))
    await _open(interaction, filled, picture.url if picture else "")


async def _open(interaction: Interaction, filled: Mapping[str, str], start: str) -> None:
    """Open the form with that in it, over the person's defaults."""
    options = {name: value for name, value in filled.items() if name != "prompt"}
    await open_form(interaction, await usual(interaction, filled["prompt"], options, start))


def _address(image: discord.Attachment) -> str:
    """Return where a picture lies; say at once what will not do, before anything is promised."""
    if image.content_type not in TYPES:
        raise BadRequest(NOT_READABLE)
    return image.url


COMMANDS: Final[tuple[Any, ...]] = (imagine, imagine_form, imagine_settings, imagine_help, imagine_this)


class Tree(app_commands.CommandTree[Any]):
    """Our commands; it tells the person what went wrong, for them alone."""

    def __init__(self, client: discord.Client) -> None:
        """Add them all."""
        super().__init__(client)
        for each in COMMANDS:
            self.add_command(each)

    async def on_error(self, interaction: Interaction, error: app_commands.AppCommandError, /) -> None:
        """Say what went wrong."""
        if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
            log.warning("Discord knows other commands than these: `imagine register` tells it. %s", error)
            await tell(interaction, Told(OTHER_COMMANDS))
            return
        await tell(interaction, getattr(error, "original", error))


class Translator(app_commands.Translator):
    """Puts what is said about the commands into our other languages; their names are the same in all."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """Return the words, or None where the English ones serve."""
        del context
        spoken = texts.language(locale.value)
        words = say(spoken, string.message)
        return None if spoken == ENGLISH or words == string.message else words
