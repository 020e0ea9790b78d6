"""Installing the app in a workspace: the way to Slack, the way back, and what the admin reads in the browser.

https://docs.slack.dev/authentication/installing-with-oauth
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import logging
import secrets
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urljoin

import aiohttp
from slack_bolt.oauth.async_callback_options import AsyncCallbackOptions
from slack_bolt.oauth.async_oauth_flow import AsyncOAuthFlow
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.response import BoltResponse
from slack_sdk.oauth.installation_store.models.installation import Installation
from slack_sdk.oauth.state_store.async_state_store import AsyncOAuthStateStore
from slack_sdk.web.async_client import AsyncWebClient

from bot import command
from bot.courier import attempt
from bot.errors import Refused, Told, Undelivered
from bot.slack_reply import sent
from bot.texts import Phrase, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slack_bolt.oauth.async_callback_options import AsyncFailureArgs, AsyncSuccessArgs
    from slack_bolt.request.async_request import AsyncBoltRequest

    from bot.slack_tokens import Tokens

log: Final = logging.getLogger(__name__)
_quiet: Final = logging.getLogger(f"{__name__}.calls")
_quiet.setLevel(logging.INFO)  # at DEBUG, slack_sdk writes down all that it is answered: here, a token

INSTALL, REDIRECT = "/slack/install", "/slack/oauth_redirect"
FRESH: Final = 10 * 60  # seconds from our door to Slack and back; Slack's own codes last as long
PATIENCE: Final = 15  # seconds that somebody looks at an empty page while Slack is asked
AT_ONCE: Final = 4  # exchanges: strangers can begin them too, and pictures are posted over the same connections

INSTALLED: Final = Phrase("imagine is installed in {team}.")
TYPE_THIS: Final = Phrase("Type this in any channel:")
NOTHING: Final = Phrase("Nothing was installed.")
START_AGAIN: Final = Phrase("Start again")
STALE: Final = Phrase("That link has expired, or was begun in another browser. Please start again from here.")
USED: Final = Phrase("That permission was used before, or has expired. Please start again.")
SILENT: Final = Phrase("Slack does not answer just now. Please start again in a minute.")
BROKEN: Final = Phrase("Something went wrong on my side, and it is in my log. Please start again in a minute.")
NOT_OURS: Final = Phrase(
    "Slack does not know this bot's app. Whoever runs it has to check SLACK_CLIENT_ID and SLACK_CLIENT_SECRET."
)
ROTATING: Final = Phrase(
    "The tokens of this bot's app expire, which I cannot use. Whoever runs it has to make the app anew from its manifest, "
    "which leaves token rotation off."
)
REASONS: Final = {  # by bolt's words, and Slack's
    "access_denied": Phrase("You have not allowed it, so nothing has changed. If that was not meant, please start again."),
    **dict.fromkeys(("invalid_browser", "invalid_state", "missing_code"), STALE),
    **dict.fromkeys(("invalid_code", "code_already_used", "code_expired"), USED),
    **dict.fromkeys(("invalid_client_id", "bad_client_secret"), NOT_OURS),
}
OTHERWISE: Final = Phrase("Slack did not allow it. Please start again, or ask whoever looks after your workspace.")

STYLE: Final = "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}code{font-size:1rem}"
PAGE: Final = """<!DOCTYPE html>
<html lang="{language}">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>imagine</title>
<style>{style}</style>
<h1>{title}</h1>
<p>{words}</p>
<p>{next}</p>
"""
HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the address of this page has a code in it
    "Cache-Control": "no-store",
}


class States(AsyncOAuthStateStore):
    """What ties an answer of Slack's to the browser that asked, and not for long.

    It is signed, so that nothing is written down for strangers at our door. What is good only once is Slack's code.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def async_issue(self, *_: object, **__: object) -> str:
        """Return a new one."""
        return self._signed(f"{secrets.token_hex(16)}-{time.time() + FRESH:.0f}")

    async def async_consume(self, state: str) -> bool:
        """Return whether one is ours, and still good."""
        made = state.rpartition("-")[0]
        is_ours = hmac.compare_digest(self._signed(made).encode(), state.encode())
        return is_ours and time.time() < int(made.rpartition("-")[2])

    def _signed(self, made: str) -> str:
        return f"{made}-{hmac.new(self._secret, made.encode(), hashlib.sha256).hexdigest()}"


class Installing(AsyncOAuthFlow):
    """Bolt's own flow, whose every end is a sentence."""

    def __init__(self, tokens: Tokens, client_id: str, client_secret: str, scopes: Sequence[str]) -> None:
        """Take what knows the tokens, and will know the new one."""
        settings = AsyncOAuthSettings(
            client_id=client_id,
            client_secret=client_secret,
            scopes=scopes,
            user_scopes=[],
            install_path=INSTALL,
            redirect_uri_path=REDIRECT,
            install_page_rendering_enabled=False,
            callback_options=AsyncCallbackOptions(success=_installed, failure=_refused),
            authorization_url=urljoin(tokens.api_url, "/oauth/v2/authorize"),
            installation_store=tokens,
            state_store=States(client_secret),
            state_expiration_seconds=FRESH,
        )
        client = AsyncWebClient(base_url=tokens.api_url, session=tokens.session, retry_handlers=[], logger=_quiet)
        super().__init__(client=client, logger=log, settings=settings)
        self._places = asyncio.Semaphore(AT_ONCE)

    async def build_authorize_url(self, state: str, request: AsyncBoltRequest) -> str:
        """Return where Slack asks the admin. Bolt would put in what a stranger typed, and what it finds in the environment."""
        del request
        asked = {"state": state, "client_id": self.settings.client_id, "scope": ",".join(self.settings.scopes or ())}
        return f"{self.settings.authorization_url}?{urlencode(asked)}"

    async def handle_callback(self, request: AsyncBoltRequest) -> BoltResponse:
        """Take whom Slack sends back to us."""
        answer = await attempt(super().handle_callback(request))
        if not isinstance(answer, Exception):
            return answer
        if isinstance(answer, Told):
            return _sorry(request, answer)
        log.error("an installation failed", exc_info=answer)
        return _sorry(request, Told(BROKEN), HTTPStatus.INTERNAL_SERVER_ERROR)

    async def run_installation(self, code: str) -> Installation:
        """Exchange the code for a token. Bolt would write the code into the log, and ask for what nobody here needs."""
        # By hand: slack_sdk's own method uses what aiohttp is about to drop.
        headers = {"Authorization": aiohttp.encode_basic_auth(self.settings.client_id, self.settings.client_secret)}
        try:
            async with asyncio.timeout(PATIENCE), self._places:
                answer = await sent(self.client.api_call("oauth.v2.access", data={"code": code}, headers=headers))
        except Refused as refused:
            log.warning("an installation was refused: %s", refused)
            raise Told(REASONS.get(refused.code, OTHERWISE)) from None
        except (Undelivered, TimeoutError) as error:
            log.warning("Slack gave no token: %r", error)
            raise Told(SILENT) from None
        if "expires_in" in answer.data:
            log.error("an installation was refused: token rotation is on")
            raise Told(ROTATING)
        team, organisation = answer.get("team") or {}, answer.get("enterprise") or {}
        return Installation(
            app_id=answer.get("app_id"),
            enterprise_id=organisation.get("id"),
            enterprise_name=organisation.get("name"),
            team_id=team.get("id"),
            team_name=team.get("name"),
            bot_token=answer["access_token"],
            bot_user_id=answer.get("bot_user_id"),
            bot_scopes=answer.get("scope") or "",
            user_id=(answer.get("authed_user") or {}).get("id", ""),
            is_enterprise_install=answer.get("is_enterprise_install"),
        )


async def _installed(args: AsyncSuccessArgs) -> BoltResponse:
    language, installation = _language(args.request), args.installation
    team = installation.enterprise_name if installation.is_enterprise_install else installation.team_name
    shown = f"<code>/imagine {html.escape(command.EXAMPLES[0])}</code>"
    return _page(language, say(language, INSTALLED, team=team or "Slack"), say(language, TYPE_THIS), shown)


async def _refused(args: AsyncFailureArgs) -> BoltResponse:
    return _sorry(args.request, Told(REASONS.get(args.reason, OTHERWISE)))


def _sorry(request: AsyncBoltRequest, told: Told, status: int = HTTPStatus.BAD_REQUEST) -> BoltResponse:
    language = _language(request)
    again = f'<a href="{INSTALL}">{html.escape(say(language, START_AGAIN))}</a>'
    return _page(language, say(language, NOTHING), told.into(language), again, status)


def _page(language: str, title: str, words: str, onward: str, status: int = HTTPStatus.OK) -> BoltResponse:
    """Write a page; `onward` is markup of ours."""
    title, words = html.escape(title), html.escape(words)
    body = PAGE.format(language=language, style=STYLE, title=title, words=words, next=onward)
    return BoltResponse(status=status, body=body, headers=dict(HEADERS))


def _language(request: AsyncBoltRequest) -> str:
    return str(request.context["language"])
