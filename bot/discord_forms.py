"""The form in which people change everything about a picture before it is drawn.

It is made anew from its custom_id when it is sent off, by whatever process that reaches. What does not fit there, and what
somebody typed that cannot be drawn, is kept as a draft in the store, so that the form can be opened again with it.
https://discord.com/developers/docs/components/reference
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import discord
from discord import ui

from bot import command
from bot.courier import attempt
from bot.discord_answers import caller, language, order_taken, tell
from bot.errors import Told
from bot.models import MODELS
from bot.request import shorten
from bot.styles import STYLES
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bot.desk import Desk, Proposal
    from bot.discord_answers import Interaction
    from bot.request import Job

log: Final = logging.getLogger(__name__)

KEEPING: Final = 0.4  # seconds for a draft to be written down: Discord waits for our answer
LONGEST: Final = 4000  # characters that a field holds
CHOICES: Final = 25  # that a menu holds
ABOUT: Final = 100  # characters beside a choice
NONE: Final = "-"  # a menu cannot have an option without a value

TITLE: Final = Phrase("Draw a picture")
AGAIN: Final = Phrase("Correct it")
LOST: Final = Phrase("I don't have that any more. Please type it again.")
FLAGS_ABOUT: Final = Phrase("For example --size 320x224 --steps 20 --guidance 2 --seed 7 --n 4")
AGAIN_ID: Final = "imagine:again:(?P<name>[0-9a-f]{24})"
FORM: Final = re.compile(r"imagine:form:([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What stands in a form, and the address of a picture to start from."""

    prompt: str = ""
    no: str = ""
    model: str = ""
    style: str = ""
    flags: str = ""
    start: str = ""

    @classmethod
    def typed(cls, prompt: str, options: Mapping[str, object], start: str = "") -> Draft:
        """Keep what was typed as options of a command, or a request says as such."""
        given = {name: str(value) for name, value in options.items() if value is not None}
        fields = {name: given.pop(name, "") for name in ("no", "model", "style")}
        flags = " ".join(f'--{name} "{value}"' if " " in value else f"--{name} {value}" for name, value in given.items())
        return cls(prompt=prompt, flags=flags, start=start, **fields)

    @property
    def options(self) -> dict[str, str]:
        """What it says apart from the prompt, by the name of the flag. Raises `BadRequest`."""
        fields = {"no": self.no, "model": self.model, "style": self.style}
        return command.options_in(self.flags) | {name: value for name, value in fields.items() if value}

    async def keep(self, desk: Desk) -> str:
        """Keep it, and return by what name."""
        name = secrets.token_hex(12)
        await desk.store.remember(f"draft {name}", json.dumps(asdict(self)))
        return name

    @classmethod
    async def kept(cls, desk: Desk, name: str) -> Draft | None:
        """Return what was kept by this name."""
        found = await desk.store.recall(f"draft {name}")
        return cls(**json.loads(found)) if found else None


class Form(ui.Modal):
    """Everything about a picture, in the five fields that Discord allows."""

    def __init__(self, draft: Draft, language: str, name: str = "") -> None:
        """Fill in a draft; `name` is of one that is kept, with what no field holds."""
        super().__init__(title=say(language, TITLE), custom_id=f"imagine:form:{name}", timeout=None)
        self._name = name
        self.prompt = _text("prompt", draft.prompt, paragraph=True, required=True)
        self.no = _text("no", draft.no, paragraph=True)
        models = _options(((model.name, model.about) for model in MODELS.values()), language)
        styles = _options(((style.name, style.about) for style in STYLES.values()), language)
        plain = discord.SelectOption(label=say(language, "no style"), value=NONE)
        self.model = _menu("model", models, draft.model)
        self.style = _menu("style", (plain, *styles), draft.style or NONE)
        self.flags = _text("flags", draft.flags)
        for text, about, field in (
            (Phrase("What you want to see"), None, self.prompt),
            (Phrase("What to leave out"), None, self.no),
            (Phrase("Model"), None, self.model),
            (Phrase("Style"), None, self.style),
            (Phrase("Settings"), FLAGS_ABOUT, self.flags),
        ):
            self.add_item(ui.Label(text=say(language, text), description=about and say(language, about), component=field))
        self.stop()  # or the library would keep it in memory until it is sent off, which may be never

    async def on_submit(self, interaction: Interaction, /) -> None:  # type: ignore[override]
        """Draw it."""
        desk = interaction.client.desk
        kept = await Draft.kept(desk, self._name) if self._name else None
        typed = Draft(
            prompt=self.prompt.value,
            no=self.no.value,
            model=_chosen(self.model),
            style=_chosen(self.style),
            flags=self.flags.value,
            start=kept.start if kept else "",
        )
        await draw(interaction, typed)

    async def on_error(self, interaction: Interaction, error: Exception, /) -> None:  # type: ignore[override]
        """Say what went wrong."""
        await tell(interaction, error)


def form(custom_id: str, locale: discord.Locale) -> Form:
    """Make the form anew that has this custom_id, to take what was typed into it."""
    found = FORM.fullmatch(custom_id)
    return Form(Draft(), language(locale), (found and found[1]) or "")


class Again(ui.DynamicItem[ui.Button[ui.View]], template=AGAIN_ID):
    """A button that opens the form again, with what was typed."""

    def __init__(self, name: str, language: str) -> None:
        """Label it."""
        label, style = say(language, AGAIN), discord.ButtonStyle.primary
        super().__init__(ui.Button(label=label, style=style, custom_id=f"imagine:again:{name}"))
        self._name = name

    @classmethod
    async def from_custom_id(  # type: ignore[override]
        cls, interaction: Interaction, _item: ui.Item[Any], match: re.Match[str], /
    ) -> Again:
        """Make it anew when it is pressed."""
        return cls(match["name"], language(interaction.locale))

    async def callback(self, interaction: Interaction) -> None:  # type: ignore[override]
        """Open the form."""
        draft = await attempt(Draft.kept(interaction.client.desk, self._name))
        if isinstance(draft, Draft):
            await interaction.response.send_modal(Form(draft, language(interaction.locale), self._name))
        else:
            await tell(interaction, draft or Told(LOST))


async def open_form(interaction: Interaction, draft: Draft) -> None:
    """Open the form with a draft in it."""
    name = await draft.keep(interaction.client.desk) if draft.start else ""
    await interaction.response.send_modal(Form(draft, language(interaction.locale), name))


async def draw(interaction: Interaction, draft: Draft, options: Mapping[str, object] | None = None) -> None:
    """Order what a draft says, or its prompt with the `options` of a command.

    What cannot be drawn is told to its writer, and nothing of it is lost.
    """
    try:
        given = draft.options if options is None else options
        taken = await _order(interaction, draft, given, form=options is None)
    except command.HelpWanted:
        raise
    except Told as refused:
        await tell(interaction, refused, **await _way_back(interaction, draft))
    else:
        await order_taken(interaction, taken)


async def _way_back(interaction: Interaction, draft: Draft) -> dict[str, ui.View]:
    """Return the button that opens the form again, where what was typed can be kept."""
    name = await attempt(asyncio.wait_for(draft.keep(interaction.client.desk), KEEPING))
    if not isinstance(name, str):
        log.warning("a draft was not kept: %r", name)
        return {}
    view = ui.View(timeout=None)
    view.add_item(Again(name, language(interaction.locale)))
    view.stop()
    return {"view": view}


async def _order(interaction: Interaction, draft: Draft, options: Mapping[str, object], *, form: bool) -> Job | Proposal:
    """Hand an order in; a picture to start from gets a name, by which the recipe knows it."""
    address = {}
    if draft.start:
        address["image"], options = draft.start, {**options, "image": secrets.token_hex(12)}
    return await interaction.client.desk.order(draft.prompt, caller(interaction, **address), options=options, form=form)


def _text(name: str, value: str, *, paragraph: bool = False, required: bool = False) -> ui.TextInput[Form]:
    style = discord.TextStyle.paragraph if paragraph else discord.TextStyle.short
    return ui.TextInput(custom_id=name, style=style, default=shorten(value, LONGEST), required=required, max_length=LONGEST)


def _menu(name: str, options: Iterable[discord.SelectOption], chosen: str) -> ui.Select[Form]:
    listed = list(options)[:CHOICES]
    for option in listed:
        option.default = option.value == chosen
    return ui.Select(custom_id=name, options=listed, required=False)


def _options(named: Iterable[tuple[str, str]], language: str) -> Iterator[discord.SelectOption]:
    """Offer names, each with a few words about it."""
    for name, about in named:
        yield discord.SelectOption(label=name, value=name, description=shorten(say(language, about), ABOUT))


def _chosen(menu: ui.Select[Form]) -> str:
    return "".join(value for value in menu.values if value != NONE)
