"""What we say at once to somebody in Discord, and who that is."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from bot import texts
from bot.actions import of_proposal, so_many, while_drawing
from bot.desk import ALREADY, Caller, Proposal
from bot.discord_http import NOBODY
from bot.discord_reply import CONTENT, copyable, embeds, plain, status_of, view
from bot.errors import NotTaken, Told
from bot.request import settings, shorten

if TYPE_CHECKING:
    import discord

    from bot.discord_http import Client
    from bot.request import Job

    Interaction = discord.Interaction[Client]

log: Final = logging.getLogger(__name__)


def caller(interaction: Interaction, **address: str) -> Caller:
    """Say who asks, and where they are to be answered."""
    usual = {
        "token": interaction.token,
        "channel": "" if interaction.channel_id is None else str(interaction.channel_id),
        "user": str(interaction.user.id),
        "limit": str(interaction.filesize_limit),
    }
    return Caller(
        claim=f"discord:{interaction.id}",
        platform="discord",
        person=f"discord:{interaction.user.id}",
        reply_to=usual | address,
        language=language(interaction.locale),
        place=str(interaction.guild_id or ""),
    )


def language(locale: discord.Locale) -> str:
    """Return our language for what somebody has set their Discord to."""
    return texts.language(locale.value)


async def order_taken(interaction: Interaction, taken: Job | Proposal) -> None:
    """Say that it is being drawn; or ask the person, and nobody else, whether it shall be."""
    if isinstance(taken, Proposal):
        await ask(interaction, taken.job)
        return
    if taken.reply_to["token"] != interaction.token:  # somebody was quicker, and is answered there
        raise Told(ALREADY)
    words = status_of(taken, settings(taken.request, taken.language))
    await interaction.response.send_message(words, view=view(while_drawing(taken)), allowed_mentions=NOBODY)


async def ask(interaction: Interaction, job: Job) -> None:
    """Say how many pictures it would be, and of what."""
    prompts = [request.prompt for request in job.requests]
    content = shorten(f"{so_many(job)}\n{copyable(shorten(chr(10).join(prompts), CONTENT // 3))}", CONTENT)
    await privately(interaction, content, view=view(of_proposal(job)))


async def privately(interaction: Interaction, content: str, **more: Any) -> None:
    """Say something to the one who asked, and to nobody else; what is too long stands below."""
    if len(content) > CONTENT:
        content, more = "", {"embeds": embeds(content), **more}
    await interaction.response.send_message(content, ephemeral=True, allowed_mentions=NOBODY, **more)


async def tell(interaction: Interaction, error: BaseException, **more: Any) -> None:
    """Say what went wrong, in their language."""
    if not isinstance(error, Told):
        log.error("interaction %s failed", interaction.id, exc_info=error)
    words = error if isinstance(error, Told) else NotTaken()
    await privately(interaction, plain(words.into(language(interaction.locale))), **more)
