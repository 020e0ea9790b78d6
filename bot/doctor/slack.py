"""Look at the Slack app: https://docs.slack.dev/reference/methods/auth.test"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, urlsplit

from bot import slack, slack_install
from bot.doctor.ask import Answer, ask, ask_slack, clock, not_refused
from bot.doctor.finding import Finding, right, unknown, wrong
from bot.doctor.setup import REINSTALL, SLACK_APP, TOKEN_ERRORS, VARIABLES, Setup

ACKNOWLEDGED: Final = 3  # seconds: what Slack and Discord wait for
HARMLESS: Final = b"ssl_check=1"  # Slack sends it to see whether we are there; it asks for nothing


async def app(setup: Setup) -> AsyncIterator[Finding]:
    """See whether Slack takes the token, and what it allows."""
    if not setup.holds("SLACK_BOT_TOKEN"):
        return
    answer = await ask_slack(setup, "auth.test")
    if not answer.fields.get("ok"):
        error = str(answer.fields.get("error", answer.status))
        yield wrong(f"Slack does not take SLACK_BOT_TOKEN ({error}).", TOKEN_ERRORS.get(error, REINSTALL))
        return
    yield right(f"Slack takes SLACK_BOT_TOKEN: it is {answer.fields.get('user')} in {answer.fields.get('team')}.")
    yield clock("Slack's", answer)
    for finding in _scopes(answer.headers.get("x-oauth-scopes")):
        yield finding


def _scopes(header: str | None) -> Iterator[Finding]:
    if header is None:
        yield unknown("Slack did not say which scopes the token has.")
        return
    granted = {scope.strip() for scope in header.split(",")}
    missing = [scope for scope in slack.SCOPES if scope not in granted]
    for scope in missing:
        fix = f"{SLACK_APP}OAuth & Permissions › Scopes › Bot Token Scopes: add {scope}, then reinstall the app."
        yield wrong(f"The Slack app lacks the scope {scope}.", fix)
    if not missing:
        yield right("The Slack app has every scope it needs.")


def in_channel(channel: str, answer: Answer) -> Finding:
    """See whether the bot is in a channel, or can get in."""
    found, error = answer.fields.get("channel") or {}, answer.fields.get("error")
    invite = "In the channel, type `/invite @imagine`; where the bot is in it already, that changes nothing."
    if error == "missing_scope":
        needed = answer.fields.get("needed")
        return unknown(f"Slack tells who is in {channel} only to those with {needed}, which the bot does not need.", invite)
    if error in TOKEN_ERRORS:
        return unknown(f"Slack says nothing of {channel} without a token that works.")
    if error:
        return wrong(f"Slack shows the bot no channel {channel} ({error}): the id is wrong, or it is private.", invite)
    if found.get("is_archived"):
        return wrong(f"Slack channel {channel} is archived.", "Take another one, or unarchive it in its settings.")
    if found.get("is_member"):
        return right(f"The bot is in Slack channel {channel}.")
    return right(f"The bot is not in Slack channel {channel} yet; it is public, so it joins with its first picture.")


async def door(setup: Setup) -> AsyncIterator[Finding]:
    """See that the bot takes what is signed with our secret, and nothing else."""
    where = f"{setup.url}/slack/events"
    forged = await ask(setup, "POST", where, data=HARMLESS, headers=_signed("0" * 32))
    if forged.status != HTTPStatus.UNAUTHORIZED:
        yield not_refused(where, forged)
        return
    answer = await ask(setup, "POST", where, data=HARMLESS, headers=_signed(setup.environ["SLACK_SIGNING_SECRET"]))
    if answer.status == HTTPStatus.UNAUTHORIZED:
        fix = f"Set the same one there and here, from {VARIABLES['SLACK_SIGNING_SECRET'][1]}, and restart the bot."
        yield wrong(f"{where} refuses what is signed with SLACK_SIGNING_SECRET.", fix)
    elif answer.status != HTTPStatus.OK:
        yield wrong(f"{where} answers {answer.status} to a good request.", "The bot's log says why.")
    elif answer.seconds > ACKNOWLEDGED:
        fix = "Keep one server running, near and not asleep."
        yield wrong(f"{where} took {answer.seconds:.1f} s; Slack waits for {ACKNOWLEDGED}.", fix)
    else:
        yield right(f"{where} takes what SLACK_SIGNING_SECRET signs, and refuses forgeries.")
    if setup.holds(*slack.OAUTH):
        yield await _way_in(setup)


async def _way_in(setup: Setup) -> Finding:
    """See that an admin who wants to install the app is sent to Slack, and that something of ours awaits them."""
    where, back = f"{setup.url}{slack_install.INSTALL}", f"{setup.url}{slack_install.REDIRECT}"
    there, here = await ask(setup, "GET", where), await ask(setup, "GET", back)
    asked = parse_qs(urlsplit(there.headers.get("location", "")).query)
    if HTTPStatus.NOT_FOUND in {there.status, here.status}:
        fix = f"Set {' and '.join(slack.OAUTH)} where the bot runs too, restart it, and let requests through to both."
        return wrong(f"{where} or {back} is not there, so nobody can install the app by it.", fix)
    if asked.get("client_id") != [setup.environ["SLACK_CLIENT_ID"]]:
        return wrong(f"{where} installs another app than that of SLACK_CLIENT_ID.", "Set the same one there and here.")
    return right(f"{where} sends admins to Slack to install the app, and {back} is there for their way back.")


def _signed(secret: str) -> dict[str, str]:
    """Sign as Slack does. https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    stamp = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:%s:%s" % (stamp.encode(), HARMLESS), hashlib.sha256).hexdigest()
    form = "application/x-www-form-urlencoded"
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "Content-Type": form}
