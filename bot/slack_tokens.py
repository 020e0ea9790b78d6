"""Which token opens which workspace: its own, where an admin of it has installed us, or the one that the bot was given.

They are kept in our store, as slack_sdk keeps them. A job's address names the workspace and never its token, which is
looked up whenever Slack is called. https://docs.slack.dev/authentication/installing-with-oauth
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from slack_sdk.errors import SlackApiError
from slack_sdk.oauth.installation_store.async_installation_store import AsyncInstallationStore
from slack_sdk.oauth.installation_store.models.bot import Bot
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.courier import attempt
from bot.errors import Busy, Refused
from bot.slack_reply import NOT_INSTALLED, sent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    import aiohttp
    from slack_sdk.oauth.installation_store.models.installation import Installation

    from bot.store import Store

log: Final = logging.getLogger(__name__)

KEPT_FOR: Final = 60  # seconds until a process looks again for what it knows
DEAD: Final = {"account_inactive", "token_revoked", "invalid_auth"}  # what Slack says of a token that has had its day
MOST: Final = 10_000  # workspaces to keep in mind


class Tokens(AsyncInstallationStore):
    """The tokens of all workspaces that we are in. A workspace is its id, or its organisation's where that installed us."""

    def __init__(self, store: Store, *, given: str, are_kept: bool, session: aiohttp.ClientSession, api_url: str) -> None:
        """Take the token that the bot was `given`, which may be none; where no others `are_kept`, it opens everything."""
        self.store, self.session, self.api_url = store, session, api_url
        self._given, self._are_kept = given, are_kept
        self._given_for = "", -math.inf  # the workspace of the one that we were given, where Slack takes it, and until when
        self._asking: asyncio.Task[str | Exception] | None = None
        self._known: dict[str, tuple[str, float]] = {}  # tokens, and until when they are not looked up again
        self._renewing: dict[str, asyncio.Task[None]] = {}

    def client(self, team: str) -> AsyncWebClient:
        """Return what calls Slack for a workspace."""
        return _Client(self, team, base_url=self.api_url, session=self.session, retry_handlers=[])  # the courier retries

    async def of(self, team: str) -> str | None:
        """Return the token of a workspace, if there is one. Raises whatever keeps us from knowing."""
        if not self._are_kept:
            return self._given
        token, until = self._known.get(team, (None, 0.0))
        if token is None:
            return await self._look(team)
        if time.monotonic() >= until and team not in self._renewing:
            self._renewing[team] = asyncio.create_task(self._renew(team))  # for the next time
        return token

    async def instead(self, team: str, dead: str) -> str | None:
        """Return another token than one that Slack takes no more: what was kept since, or else the one that we were given."""
        self._known.pop(team, None)
        return await self._look(team, dead) if self._are_kept else None

    async def async_save(self, installation: Installation) -> None:
        """Keep the token of a workspace."""
        bot = installation.to_bot()
        team = installed_in(vars(bot))
        await self.store.remember(_name(team), json.dumps(vars(bot)), forever=True)
        self._keep_in_mind(team, bot.bot_token)
        log.info("%s has installed the app", team)

    async def forget(self, team: str, when: float) -> None:
        """Delete the token of a workspace that threw us out, unless it has let us in again since: Slack may tell us late."""
        kept = await self._kept(team)
        if kept and int(kept.installed_at) <= when:
            await self.store.erase(_name(team))
            log.info("%s has removed the app", team)
        self._known.pop(team, None)

    async def _renew(self, team: str) -> None:
        found = await attempt(self._look(team))
        del self._renewing[team]
        if isinstance(found, Exception):
            log.warning("the token of %s was not looked up again: %r", team, found)
        elif found is None:
            self._known.pop(team, None)

    async def _look(self, team: str, dead: str = "") -> str | None:
        kept = await self._kept(team)
        found = kept.bot_token if kept else None
        if found in {None, dead}:
            found = await self._given_to(team)
        if found in {None, dead}:
            return None
        self._keep_in_mind(team, found)
        return found

    async def _kept(self, team: str) -> Bot | None:
        text = await self.store.recall(_name(team))
        return Bot(**json.loads(text)) if text else None

    async def _given_to(self, team: str) -> str | None:
        """Return the token that we were given, where it is of this workspace; Slack is asked about that once."""
        if not self._given:
            return None
        whose, until = self._given_for
        if time.monotonic() < until:
            return self._given if team == whose else None
        answer = await asyncio.shield(self._ask())  # whoever has no time to wait leaves the answer to the next
        if isinstance(answer, Exception):
            raise answer
        return self._given if team == answer else None

    def _ask(self) -> asyncio.Task[str | Exception]:
        if self._asking is None or self._asking.done():  # all who want to know at once share one question
            self._asking = asyncio.create_task(attempt(self._asked()))
        return self._asking

    async def _asked(self) -> str:
        client = AsyncWebClient(self._given, self.api_url, session=self.session, retry_handlers=[])
        try:
            about: Mapping[str, Any] = (await sent(client.auth_test())).data  # type: ignore[assignment]  # it is never bytes
        except Refused as refused:
            log.warning("Slack does not take SLACK_BOT_TOKEN: %s", refused)
            self._given_for = "", time.monotonic() + KEPT_FOR
        else:
            self._given_for = installed_in(about), math.inf
        return self._given_for[0]

    def _keep_in_mind(self, team: str, token: str) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[team] = token, time.monotonic() + KEPT_FOR


class _Client(AsyncWebClient):
    """Slack's own client, which looks up the token of its workspace at each call: a job may outlive the one it began with."""

    def __init__(self, tokens: Tokens, team: str, **about: Any) -> None:
        super().__init__(**about)
        self._tokens, self._team = tokens, team

    async def api_call(self, api_method: str, **how: Any) -> AsyncSlackResponse:
        token = await _found(self._tokens.of(self._team))
        if not token:
            raise Refused(NOT_INSTALLED)
        self.token = token
        try:
            return await super().api_call(api_method, **how)
        except SlackApiError as error:
            if not _is_dead(error) or not (other := await _found(self._tokens.instead(self._team, token))):
                raise
        self.token = other
        return await super().api_call(api_method, **how)


async def _found(look: Awaitable[str | None]) -> str | None:
    """Return the token that a look finds, if any. Raises `Busy` where that cannot be known now."""
    found = await attempt(look)
    if isinstance(found, Exception):
        raise Busy(f"the token was not found: {found!r}") from found
    return found


def _is_dead(error: SlackApiError) -> bool:
    answer = error.response
    return isinstance(answer, AsyncSlackResponse) and answer.get("error") in DEAD  # it is none where a proxy has answered


def installed_in(about: Mapping[str, Any]) -> str:
    """Return where we are installed, by what Slack or slack_sdk says: in a workspace, or in a whole organisation."""
    team = None if about.get("is_enterprise_install") else about.get("team_id")
    return str(team or about.get("enterprise_id") or "")  # what tells of an organisation may name nothing else


def _name(team: str) -> str:
    return f"slack token {team}"
