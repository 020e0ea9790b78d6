"""How an app gets into a workspace: an admin is asked, and the app exchanges the code that comes of it for a token.

https://docs.slack.dev/authentication/installing-with-oauth
"""

import secrets
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.fakes.slack_world import Refusal, World

FRESH = 10 * 60  # seconds that a code lasts
EXCHANGED = {"code", "redirect_uri", "grant_type"}


@dataclass(slots=True, kw_only=True)
class Code:
    """What the app gets for a token."""

    workspace: World
    scopes: set[str]
    created: float
    used: bool = False


class Consent:
    """The page on which Slack asks an admin whether an app may in, and what the app does afterwards."""

    def __init__(self, world: World) -> None:
        self.client_id, self.client_secret = "1234567890.9876543210", "c0ffee" * 5 + "aa"
        self.codes: dict[str, Code] = {}
        self.rotates = False  # whether tokens expire, to be renewed; once that is switched on, it stays
        self._world = world

    def allow(self, url: str, workspace: World) -> str:
        """Click *Allow* on the page at an address, for a workspace; return where Slack sends the browser."""
        asked = self._asked(url)
        code = f"{self._world.number()}.{secrets.token_hex(16)}"
        self.codes[code] = Code(workspace=workspace, scopes=set(asked["scope"].split(",")), created=self._world.clock())
        return self._back(asked, code=code)

    def cancel(self, url: str) -> str:
        """Click *Cancel*."""
        return self._back(self._asked(url), error="access_denied")

    def spoil(self, **about: Any) -> None:
        """Do something to all codes that are out."""
        self.codes = {name: replace(code, **about) for name, code in self.codes.items()}

    def exchange(self, authorization: str, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Give the app a token for a code. https://docs.slack.dev/reference/methods/oauth.v2.access"""
        client_id, client_secret = _basic(authorization)
        if strange := sent.keys() - EXCHANGED:
            raise Refusal("invalid_arguments", f"oauth.v2.access was called with {sorted(strange)}.")
        if client_id != self.client_id:
            raise Refusal("invalid_client_id")
        if client_secret != self.client_secret:
            raise Refusal("bad_client_secret")
        code = self.codes.get(sent.get("code", ""))
        if code is None or self._world.clock() - code.created > FRESH:
            raise Refusal("invalid_code")
        if code.used:
            raise Refusal("code_already_used")
        code.used = True
        return self._granted(code)

    def _granted(self, code: Code) -> dict[str, Any]:
        workspace = code.workspace
        workspace.token, workspace.token_error = f"xoxb-{self._world.number()}-{secrets.token_hex(12)}", ""
        workspace.scopes = code.scopes
        organisation = {"id": workspace.organisation, "name": "Fake Inc."} if workspace.organisation else None
        return {
            "access_token": workspace.token,
            "token_type": "bot",
            "scope": ",".join(sorted(code.scopes)),
            "bot_user_id": workspace.bot_user_id,
            "app_id": workspace.app_id,
            "team": None if organisation else {"id": workspace.team_id, "name": workspace.name},
            "enterprise": organisation,
            "is_enterprise_install": bool(organisation),
            "authed_user": {"id": "U1"},
            **({"expires_in": 43200, "refresh_token": f"xoxe-1-{secrets.token_hex(12)}"} if self.rotates else {}),
        }

    def _asked(self, url: str) -> dict[str, str]:
        """Read what the app asks for; Slack shows an error where it may not."""
        found = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
        expected = f"{self._world.root}/oauth/v2/authorize"
        wrong = {
            "the address": url.partition("?")[0] != expected,
            "client_id": found.get("client_id") != self.client_id,
            "scope": not self._world.manifest_scopes >= set(found.get("scope", "").split(",")),
            "user_scope": bool(found.get("user_scope")),
            "state": not found.get("state"),
            "redirect_uri": found.get("redirect_uri", self._world.redirect_urls[0]) not in self._world.redirect_urls,
        }
        assert not any(wrong.values()), f"{_named(wrong)} of {url} would be refused."
        return found

    def _back(self, asked: Mapping[str, str], **told: str) -> str:
        return f"{asked.get('redirect_uri') or self._world.redirect_urls[0]}?{urlencode({**told, 'state': asked['state']})}"


def _named(wrong: Mapping[str, bool]) -> str:
    names: Iterable[str] = (name for name, is_wrong in wrong.items() if is_wrong)
    return ", ".join(names)


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, encoded = authorization.partition(" ")
    if scheme != "Basic":
        raise Refusal("invalid_client_id", "oauth.v2.access was called without `Authorization: Basic …`.")
    client_id, _, client_secret = b64decode(encoded).decode().partition(":")
    return client_id, client_secret
