"""The people of a Slack workspace: what they type and press reaches the app as Slack would send it, signed.

https://docs.slack.dev/interactivity/handling-user-interaction
"""

import asyncio
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.fakes import slack_payloads, slack_views
from tests.fakes.slack_methods import REPLY, Method
from tests.fakes.slack_world import File, Kind, Message, Refusal, ResponseUrl, Trigger, Via, View, World

PATIENCE = 3.0  # seconds until Slack tells the person `operation_timeout`
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """How the app took what it was sent. Status 0: not in time, or not at all."""

    status: int
    body: Any  # parsed, if it was JSON; text otherwise
    seconds: float
    trigger_id: str = ""
    response_url: str = ""
    message: Message | None = None  # what the person reads at once
    errors: Mapping[str, str] = field(default_factory=dict)  # of a form, by field
    sent: bytes = b""
    content_type: str = FORM


UNHEARD = Ack(status=0, body="", seconds=0.0)


class People(World):
    """Everything that people can do."""

    session: aiohttp.ClientSession
    public_names: dict[str, str]  # by the true address of a service, the host name by which the world knows it

    def publish(self, service_url: str, name: str) -> None:
        """Let the world know a service by a name; it had that name wherever it was before."""
        others = {true: known for true, known in self.public_names.items() if known != name}
        self.public_names = others | {service_url: name}

    async def say(self, address: ResponseUrl, sent: Mapping[str, Any], via: Via) -> Message:
        """Show what an app answers."""
        raise NotImplementedError

    def refused(self, refusal: Refusal) -> dict[str, Any]:
        """Say no as Slack does, and note it where a correct app would not have asked."""
        if refusal.violation:
            self.violations.append(refusal.violation)
        return {"ok": False, "error": refusal.error, **refusal.details}

    def sign(self, body: str | bytes, timestamp: float | str | None = None, content_type: str = FORM) -> dict[str, str]:
        """Make the headers by which an app knows that a request is Slack's."""
        stamp = str(int(time.time()) if timestamp is None else timestamp)
        raw = body.encode() if isinstance(body, str) else body
        digest = hmac.new(self.signing_secret.encode(), b"v0:%s:%s" % (stamp.encode(), raw), hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "Content-Type": content_type}

    async def command(
        self,
        service_url: str,
        text: str,
        *,
        user: str = "U1",
        channel: str = "C1",
        command: str = "/imagine",
        trigger_id: str | None = None,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Ack:
        """Type a slash command. The same trigger_id again is the same request sent again."""
        trigger = self.pull(channel, user, trigger_id)
        form = slack_payloads.command(self, text, user=user, channel=channel, name=command)
        form |= {"response_url": trigger.address.url, "trigger_id": trigger.id}
        ack = await self._send(service_url, urlencode(form), trigger=trigger, session=session, patience=patience)
        return await self._read_ack(ack, trigger.address)

    async def click(
        self,
        service_url: str,
        message: Message,
        button: str | dict[str, Any],
        *,
        user: str = "U1",
        trigger_id: str | None = None,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Ack:
        """Press a button of a message: one of `message.buttons` (or one that was there a moment ago), or its label."""
        pressed = message.button(button) if isinstance(button, str) else button
        trigger = self.pull(message.channel, user, trigger_id)
        trigger.address.original, trigger.address.thread_ts = message, message.thread_ts
        payload = slack_payloads.click(self, message, pressed, user) | {"response_url": trigger.address.url}
        return await self._interact(service_url, payload, trigger, session=session, patience=patience)

    async def shortcut(self, service_url: str, callback_id: str, *, user: str = "U1") -> Ack:
        """Choose one of the app's shortcuts from the menu beside the message field."""
        payload = slack_payloads.shortcut(self, self._listed(callback_id, "global"), user)
        return await self._interact(service_url, payload, self.pull("", user))

    async def message_shortcut(self, service_url: str, callback_id: str, message: Message, *, user: str = "U1") -> Ack:
        """Choose one of the app's shortcuts from the menu of a message."""
        payload = slack_payloads.message_shortcut(self, self._listed(callback_id, "message"), message, user)
        trigger = self.pull(message.channel, user)
        trigger.address.thread_ts = message.thread_ts
        return await self._interact(service_url, payload | {"response_url": trigger.address.url}, trigger)

    async def submit(self, service_url: str, view: View, entries: Mapping[str, Any] | None = None) -> Ack:
        """Fill in some fields of a form, by block_id, and send it; None clears a field."""
        slack_views.enter(view, entries or {})
        payload = slack_views.grant(self, view)
        payload["response_urls"] = [self._response_url(view, name) for name in view.inputs if _wants_url(view, name)]
        ack = await self._interact(service_url, payload, self.pull("", view.user), answers=True)
        if ack.status != HTTPStatus.OK:
            return ack  # Slack asks to try again
        try:
            return replace(ack, errors=slack_views.read_answer(self, view, ack.body))
        except Refusal as refusal:
            self.refused(refusal)
            return ack

    async def close(self, service_url: str, view: View) -> Ack:
        """Close a form without sending it; the app is only told if it asked to be."""
        view.is_open = False
        if not view.content.get("notify_on_close"):
            return UNHEARD
        return await self._interact(service_url, slack_payloads.closing(self, view), self.pull("", view.user))

    def write(
        self,
        text: str,
        *,
        user: str = "U1",
        channel: str = "C1",
        thread_ts: str | None = None,
        files: Sequence[File] = (),
        to_bot: bool = False,
    ) -> Message:
        """Let somebody write a message."""
        marked, blocks = slack_payloads.typed(self, text, to_bot=to_bot)
        return self.post(channel, user=user, via=Via.PERSON, thread_ts=thread_ts, text=marked, blocks=blocks, files=list(files))

    async def mention(self, service_url: str, text: str, *, channel: str = "C1", **said: Any) -> Ack:
        """Write a message to @imagine in a channel or thread. The app hears of it where it is a member, and may."""
        message = self.write(text, channel=channel, to_bot=True, **said)
        heard = self.channels[channel].bot_is_member and "app_mention" in self.events and "app_mentions:read" in self.scopes
        return await self.event(service_url, slack_payloads.mention(self, message)) if heard else UNHEARD

    async def rewrite(self, service_url: str, message: Message, text: str) -> Ack:
        """Edit a message to @imagine: the app hears of it in an event of its own."""
        message.text, message.blocks = slack_payloads.typed(self, text, to_bot=True)
        edited = {"user": message.user, "ts": f"{self.clock():.6f}"}
        return await self.event(service_url, slack_payloads.mention(self, message) | {"edited": edited})

    async def dm(self, service_url: str, text: str, *, user: str = "U1", **said: Any) -> Ack:
        """Write to the app directly."""
        message = self.write(text, channel=self.direct(user).id, user=user, **said)
        return await self.overhear(service_url, message)

    async def overhear(self, service_url: str, message: Message) -> Ack:
        """Tell the app of a message in its own conversation with somebody: Slack does that for its own words too."""
        is_direct = self.channels[message.channel].kind is Kind.DM
        heard = is_direct and "message.im" in self.events and "im:history" in self.scopes
        return await self.event(service_url, slack_payloads.direct(self, message)) if heard else UNHEARD

    async def event(self, service_url: str, event: dict[str, Any]) -> Ack:
        """Send any event."""
        body = json.dumps(slack_payloads.callback(self, event))
        return await self._send(service_url, body, content_type=JSON)

    async def uninstall(self, service_url: str) -> list[Ack]:
        """Throw the app out: its token is good for nothing, and it is told so twice, where it wants to be told."""
        self.token_error = "account_inactive"
        revoked = {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.bot_user_id]}}
        told: list[dict[str, Any]] = [revoked, {"type": "app_uninstalled"}]
        return [await self.event(service_url, event) for event in told if event["type"] in self.events]

    async def verify_url(self, service_url: str) -> Ack:
        """Ask, as Slack does when an admin enters the address for events, whether there is an app."""
        body = json.dumps({"token": "deprecated", "challenge": "3eZbrw1aBm2rZgRNFdxV", "type": "url_verification"})
        return await self._send(service_url, body, content_type=JSON)

    async def again(self, service_url: str, ack: Ack, retry: int = 1) -> Ack:
        """Send the same once more, as Slack does with an event that it thinks was not taken."""
        headers = {"X-Slack-Retry-Num": str(retry), "X-Slack-Retry-Reason": "http_timeout"}
        more = headers if ack.content_type == JSON else {}
        return await self._send(service_url, ack.sent, content_type=ack.content_type, headers=more)

    def pull(self, channel: str, user: str, trigger_id: str | None = None) -> Trigger:
        """Make what an app needs to answer: a trigger_id and a response_url."""
        if trigger_id in self.triggers:
            return self.triggers[trigger_id]
        address = self._address(channel, user)
        secret = hashlib.md5(address.url.encode(), usedforsecurity=False).hexdigest()
        trigger_id = trigger_id or f"{self.number()}.{self.team_id}.{secret}"
        self.triggers[trigger_id] = Trigger(id=trigger_id, user=user, created=self.clock(), address=address)
        return self.triggers[trigger_id]

    def _address(self, channel: str, user: str) -> ResponseUrl:
        number = self.number()
        url = f"{self.root}/commands/{self.team_id}/{number:010}/{hashlib.sha256(str(number).encode()).hexdigest()[:24]}"
        self.response_urls[url] = ResponseUrl(url=url, channel=channel, user=user, created=self.clock())
        return self.response_urls[url]

    def _response_url(self, view: View, name: str) -> dict[str, str]:
        ((action_id, held),) = view.state[name].items()
        channel = held["selected_conversation"]
        url = self._address(channel, view.user).url
        return {"block_id": name, "action_id": action_id, "channel_id": channel, "response_url": url}

    def _listed(self, callback_id: str, kind: str) -> str:
        if self.shortcuts is not None and self.shortcuts.get(callback_id) != kind:
            raise ValueError(f"The app's manifest has no {kind} shortcut {callback_id}; it has {self.shortcuts}.")
        return callback_id

    async def _interact(
        self, service_url: str, payload: dict[str, Any], trigger: Trigger, *, answers: bool = False, **how: Any
    ) -> Ack:
        if not self.is_interactive:
            self.violations.append("Something was pressed, but the app's manifest has no interactivity.")
            return UNHEARD
        body = urlencode({"payload": json.dumps({**payload, "trigger_id": trigger.id})})
        ack = await self._send(service_url, body, trigger=trigger, **how)
        if ack.body and not answers:
            self.violations.append("A click or shortcut was answered with words, which Slack shows to nobody.")
        return ack

    async def _send(
        self,
        service_url: str,
        body: str | bytes,
        *,
        content_type: str = FORM,
        headers: Mapping[str, str] | None = None,
        trigger: Trigger | None = None,
        session: aiohttp.ClientSession | None = None,
        patience: float = PATIENCE,
    ) -> Ack:
        sent = body.encode() if isinstance(body, str) else body
        names = {"Host": self.public_names[service_url]} if service_url in self.public_names else {}
        signed = {**self.sign(sent, content_type=content_type), **names, **(headers or {})}
        started, status, text = time.monotonic(), 0, ""
        with suppress(TimeoutError, aiohttp.ClientError):
            async with (
                asyncio.timeout(patience),
                (session or self.session).post(f"{service_url}/slack/events", data=sent, headers=signed) as response,
            ):
                text, status = await response.text(), response.status
        answer = json.loads(text) if re.match(r"\s*\{", text) else text
        seconds = time.monotonic() - started
        ack = Ack(status=status, body=answer, seconds=seconds, sent=sent, content_type=content_type)
        return replace(ack, trigger_id=trigger.id, response_url=trigger.address.url) if trigger else ack

    async def _read_ack(self, ack: Ack, address: ResponseUrl) -> Ack:
        if ack.status != HTTPStatus.OK or not ack.body:
            return ack
        said = ack.body if isinstance(ack.body, dict) else {"text": ack.body}
        try:
            sent = Method(do=_nothing, required={}, optional=REPLY).read("ack", said)
            if not sent.keys() & {"text", "blocks", "attachments"}:
                return ack
            message = await self.say(address, sent, Via.ACK)
        except Refusal as refusal:
            self.refused(refusal)
            return ack
        return replace(ack, message=message)


def _wants_url(view: View, name: str) -> bool:
    return bool(view.inputs[name]["element"].get("response_url_enabled")) and bool(slack_views.value(view, name))


async def _nothing(_world: World, _sent: Mapping[str, Any]) -> dict[str, Any]:
    return {}
