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
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

import discord
from discord import ui

from bot import command, remembered
from bot.courier import LOST_START, attempt
from bot.deadline import left, left_to_answer
from bot.discord_answers import caller, language, order_taken, privately, tell
from bot.discord_reply import plain
from bot.errors import NotTaken, Told
from bot.models import MODELS
from bot.request import shorten
from bot.styles import STYLES
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator, Mapping

    from bot.desk import Desk, Proposal
    from bot.discord_answers import Interaction
    from bot.request import Job

T = TypeVar("T")
log: Final = logging.getLogger(__name__)

KEEPING: Final = 0.4  # seconds for a draft to be written down, or found
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
    """What stands in a form, and the address of a picture to start from, which no field of a form holds."""

    prompt: str = ""
    no: str = ""
    model: str = ""
    style: str = ""
    flags: str = ""
    start: str = ""
    start_in: str = ""  # the name of the draft that has the address, as long as this one has not

    @classmethod
    def typed(cls, prompt: str, options: Mapping[str, object], start: str = "") -> Draft:
        """Keep what was typed as options of a command, or a request says as such."""
        given = _said(options)
        fields = {name: given.pop(name, "") for name in ("no", "model", "style")}
        return cls(prompt=prompt, flags=_flags(given), start=start, **fields)

    @property
    def options(self) -> dict[str, str]:
        """What it says apart from the prompt, by the name of the flag. Raises `BadRequest`."""
        fields = {"no": self.no, "model": self.model, "style": self.style}
        return command.options_in(self.flags) | {name: value for name, value in fields.items() if value}

    async def keep(self, desk: Desk, seconds: float) -> str:
        """Keep it, and return by what name. Raises `NotTaken` where that takes longer."""
        name = secrets.token_hex(12)
        await _soon(desk.store.remember(f"draft {name}", json.dumps(asdict(self))), seconds)
        return name

    @classmethod
    async def kept(cls, desk: Desk, name: str) -> Draft | None:
        """Return what was kept by this name. Raises `NotTaken` where that is not found in time."""
        found = await _soon(desk.store.recall(f"draft {name}"), left(KEEPING))
        return cls(**json.loads(found)) if found else None

    async def started(self, desk: Desk) -> Draft:
        """Return it with the address of the picture to start from. Raises `LostStart` where nobody has that any more."""
        if not self.start_in:
            return self
        earlier = await Draft.kept(desk, self.start_in)
        if earlier is None:
            raise LostStart
        return await replace(self, start=earlier.start, start_in=earlier.start_in).started(desk)


class LostStart(Told):
    """The draft that had the picture to start from is gone."""

    def __init__(self) -> None:
        super().__init__(LOST_START)


async def _soon(work: Awaitable[T], seconds: float) -> T:
    found = await attempt(asyncio.wait_for(work, seconds))
    if isinstance(found, Exception):
        raise NotTaken from found
    return found


class Form(ui.Modal):
    """Everything about a picture, in the five fields that Discord allows."""

    def __init__(self, draft: Draft, language: str, name: str = "") -> None:
        """Fill in a draft; `name` is of the kept one that has the picture to start from."""
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
        typed = Draft(
            prompt=self.prompt.value,
            no=self.no.value,
            model=_chosen(self.model),
            style=_chosen(self.style),
            flags=self.flags.value,
            start_in=self._name,
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
            name = self._name if draft.start or draft.start_in else ""
            await interaction.response.send_modal(Form(draft, language(interaction.locale), name))
        else:
            await tell(interaction, draft or Told(LOST))


async def open_form(interaction: Interaction, draft: Draft) -> None:
    """Open the form with a draft in it."""
    name = await draft.keep(interaction.client.desk, left(KEEPING)) if draft.start else ""
    await interaction.response.send_modal(Form(draft, language(interaction.locale), name))


async def usual(interaction: Interaction, prompt: str, options: Mapping[str, object], start: str = "") -> Draft:
    """Return a draft with that in it, over what the person always wants."""
    desk = interaction.client.desk
    defaults = {"model": desk.model} | await desk.defaults(caller(interaction))
    return Draft.typed(prompt, remembered.changed(remembered.unsaid(defaults, prompt), _said(options)), start)


async def draw(interaction: Interaction, draft: Draft, options: Mapping[str, object] | None = None) -> None:
    """Order what a draft says, or its prompt with the `options` of a command; or remember it, where it says `settings`.

    What cannot be done is told to its writer, and nothing of it is lost.
    """
    try:
        draft = await draft.started(interaction.client.desk)
        given = draft.options if options is None else options
        if (shown := await _settings(interaction, draft, given)) is not None:
            await privately(interaction, plain(shown))
            return
        taken = await _order(interaction, draft, given, form=options is None)
    except LostStart as lost:  # they can go on with what they typed, or attach it anew
        await refuse(interaction, lost, replace(draft, start_in=""))
    except Told as refused:
        await refuse(interaction, refused, draft, options)
    else:
        await order_taken(interaction, taken)


async def refuse(interaction: Interaction, told: Told, draft: Draft, options: Mapping[str, object] | None = None) -> None:
    """Say why not, and let them correct it; of a command with `options`, over what they always want, as in every form."""
    if isinstance(told, command.HelpWanted):
        raise told
    if options is not None and not remembered.is_about_settings(draft.prompt):
        draft = await usual(interaction, draft.prompt, options, draft.start)
    await tell(interaction, told, **await _way_back(interaction, draft))


async def _settings(interaction: Interaction, draft: Draft, options: Mapping[str, object]) -> str | None:
    """Take `settings …`, with the flags that were given apart from it; return what to say, or None where it is a prompt."""
    flags = _flags(_said({**options, "image": draft.start or None}))
    return await interaction.client.desk.settings(f"{draft.prompt} {flags}", caller(interaction))


async def _way_back(interaction: Interaction, draft: Draft) -> dict[str, ui.View]:
    """Return the button that opens the form again, where what was typed can be kept."""
    name = await attempt(draft.keep(interaction.client.desk, left_to_answer(KEEPING)))
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


def _said(options: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in options.items() if value is not None}


def _flags(options: Mapping[str, str]) -> str:
    return " ".join(f'--{name} "{value}"' if " " in value else f"--{name} {value}" for name, value in options.items())


def _text(name: str, value: str, *, paragraph: bool = False, required: bool = False) -> ui.TextInput[Form]:
    style = discord.TextStyle.paragraph if paragraph else discord.TextStyle.short
    return ui.TextInput(custom_id=name, style=style, default=shorten(value, LONGEST), required=required, max_length=LONGEST)


def _menu(name: str, options: Iterable[discord.SelectOption], chosen: str) -> ui.Select[Form]:
    listed = list(options)
    for option in listed:
        option.default = option.value == chosen
    if len(listed) > CHOICES:
        listed.sort(key=lambda option: not option.default)  # or the chosen one might be cut off
    return ui.Select(custom_id=name, options=listed[:CHOICES], required=False)


def _options(named: Iterable[tuple[str, str]], language: str) -> Iterator[discord.SelectOption]:
    """Offer names, each with a few words about it."""
    for name, about in named:
        yield discord.SelectOption(label=name, value=name, description=shorten(say(language, about), ABOUT))


def _chosen(menu: ui.Select[Form]) -> str:
    return "".join(value for value in menu.values if value != NONE)
