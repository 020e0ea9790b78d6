"""Who people are in a workspace: the language they read, and whether they look after it for others.

https://docs.slack.dev/reference/methods/users.info
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bot.courier import attempt
from bot.errors import NotTaken, Refused
from bot.slack_reply import sent
from bot.texts import ENGLISH, language

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slack_sdk.web.async_client import AsyncWebClient

    Somebody = tuple[str, str]  # a workspace, and who in it

log: Final = logging.getLogger(__name__)

KNOWN_FOR: Final = 10 * 60  # seconds
UNKNOWN_FOR: Final = 60  # seconds until we ask again after somebody of whom Slack told nothing
PATIENCE: Final = 0.4  # seconds: out of the three that Slack gives us for everything
MOST: Final = 10_000  # people to keep in mind
AT_A_TIME: Final = 8  # whose language is asked for: of more, Slack would refuse to tell, and answers would wait for the asking


@dataclass(frozen=True, slots=True)
class Person:
    """What we know of somebody, and until when."""

    language: str
    looks_after: frozenset[str] | None  # workspaces, and organisations of them; None where Slack has not said so yet
    until: float


class People:
    """Knows the people of all workspaces, and asks Slack about those it does not know."""

    def __init__(self, client: Callable[[str], AsyncWebClient]) -> None:
        """Take what returns the client of a workspace."""
        self._client = client
        self._known: dict[Somebody, Person] = {}
        self._asking: dict[Somebody, asyncio.Task[Person]] = {}

    async def language(self, user: str, team: str) -> str:
        """Return the language to talk to somebody in; a command or a press does not say.

        Only a stranger waits for it, the first time; in a crowd of strangers, most are talked to in English instead.
        """
        who = team, user
        known = self._known.get(who)
        crowded = len(self._asking) >= AT_A_TIME and who not in self._asking
        if known is None:
            return ENGLISH if crowded else (await self._about(who)).language
        if time.monotonic() >= known.until and not crowded:
            self._ask(who)  # for the next time
        return known.language

    async def is_moderator(self, user: str, team: str) -> bool:
        """Return whether somebody is an admin or owner of this workspace; those of others are guests in shared channels.

        Raises `NotTaken` where Slack does not say: an admin is not to be told that only admins may.
        """
        who = team, user
        about = await self._about(who)
        if about.looks_after is None:
            about = await asyncio.shield(self._ask(who))
        if about.looks_after is None:
            raise NotTaken
        return team in about.looks_after

    async def _about(self, who: Somebody) -> Person:
        known = self._known.get(who)
        if known and time.monotonic() < known.until:
            return known
        return await asyncio.shield(self._ask(who))

    def _ask(self, who: Somebody) -> asyncio.Task[Person]:
        if who not in self._asking:  # all who want to know at once share one question
            self._asking[who] = asyncio.create_task(self._asked(who))
        return self._asking[who]

    async def _asked(self, who: Somebody) -> Person:
        try:
            person = await self._answered(who)
        finally:
            del self._asking[who]
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[who] = person
        return person

    async def _answered(self, who: Somebody) -> Person:
        team, user = who
        call = sent(self._client(team).users_info(user=user, include_locale=True))
        answer = await attempt(asyncio.wait_for(call, PATIENCE))
        if isinstance(answer, Exception):
            log.info("nothing is known of somebody: %r", answer)
            before = self._known.get(who)
            looks_after = frozenset[str]() if isinstance(answer, Refused) else None  # what it refuses, it will not say later
            return Person(before.language if before else ENGLISH, looks_after, time.monotonic() + UNKNOWN_FOR)
        about: Mapping[str, Any] = answer["user"]
        return Person(language(about.get("locale")), _looked_after_by(about), time.monotonic() + KNOWN_FOR)


def _looked_after_by(about: Mapping[str, Any]) -> frozenset[str]:
    """Return where somebody is an admin or owner: in their workspace, in the whole organisation, in both or in neither."""
    in_all: Mapping[str, Any] = about.get("enterprise_user") or {}
    places = ((about, "team_id"), (in_all, "enterprise_id"))
    return frozenset(who[place] for who, place in places if who.get("is_admin") or who.get("is_owner"))
