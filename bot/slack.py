"""Slack: verify, read, acknowledge, reply. https://docs.slack.dev/interactivity/implementing-slash-commands

A picture is posted by editing the status message, so that however often we try there is one message. The file itself
is shared in that message's thread: a file shared nowhere can be seen by nobody but the bot, and Slack ignores alt text
at upload, while an image block in the message shows the shared file with alt text.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.actions import of_proposal
from bot.courier import EDIT_EVERY, Pace, describe, summary
from bot.desk import Caller, Proposal
from bot.errors import Busy, Refused, Stranger, Told, Undelivered, retry_after
from bot.request import Event, Job, Picture, settings, shorten
from bot.texts import ENGLISH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bot.courier import Notes, Outcome
    from bot.desk import Desk

API_URL: Final = "https://slack.com/api/"
ENVIRONMENT: Final = ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN")
SCOPES: Final = ("commands", "chat:write", "files:write", "files:read", "channels:join", "im:write")

SHOWN: Final = 500  # characters of a prompt in a message; alt text has it all
ALT_TEXT: Final = 2000  # characters
STATUSES: Final = 35  # a minute: Slack takes 50 edits and more, and the outcomes come first
POLLS: Final = 20  # of files.info, until Slack has taken in a picture and shared it
POLL_EVERY: Final = 0.5  # seconds

TRY_AGAIN: Final = {
    "ratelimited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
}
INVITE: Final = "I am not in this channel. Invite me with `/invite`, and I can post pictures here."
HINTS: Final = {
    **dict.fromkeys(("not_in_channel", "channel_not_found"), INVITE),
    "missing_scope": "I lack the permission {detail}. An admin can add it under OAuth & Permissions, then reinstall the app.",
    "is_archived": "That channel is archived.",
}


class Slack:
    """One Slack app in one workspace."""

    def __init__(
        self,
        *,
        signing_secret: str,
        token: str,
        session: aiohttp.ClientSession,
        desk: Desk,
        api_url: str = API_URL,
    ) -> None:
        """Take the desk, which takes orders."""
        self._verifier = SignatureVerifier(signing_secret)
        self._desk = desk
        self.pace = Pace(STATUSES)
        self.session = session
        self.client = AsyncWebClient(token=token, base_url=api_url, session=session, retry_handlers=[])  # the courier retries
        self.app = AsyncApp(
            signing_secret=signing_secret,
            request_verification_enabled=False,  # `verify` has done it, on the raw bytes
            process_before_response=True,  # nothing happens after the answer
            authorize=_authorize(token),  # bolt's own asks Slack first, out of our three seconds
        )
        self.app.command(re.compile(""))(self._imagine)  # whatever the admin has called it

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raise `Stranger` unless Slack signed this body in the last five minutes."""
        timestamp = headers.get("x-slack-request-timestamp", "")
        signature = headers.get("x-slack-signature", "")
        # The library turns the timestamp into a number, the body into text and the signature into ASCII, unasked.
        if not (re.fullmatch(r"[0-9]{1,12}", timestamp) and signature.isascii()):
            raise Stranger
        try:
            if not self._verifier.is_valid(body, timestamp, signature):
                raise Stranger
        except UnicodeDecodeError:
            raise Stranger from None

    def reply(self, job: Job, notes: Notes) -> _Reply:
        """Return the way back to the person who made this job."""
        return _Reply(self, job, notes)

    async def _imagine(
        self, ack: Callable[..., Awaitable[BoltResponse]], body: dict[str, Any], context: Mapping[str, Any]
    ) -> BoltResponse:
        """Keep the job, then say so: only the person who asked sees the answer, and they see it at once."""
        try:
            text, caller = _unescape(body.get("text", "")), _caller(body, site=context["site"])
            if (shown := await self._desk.settings(text, caller)) is not None:
                return await ack(text=escape(shown))
            ordered = await self._desk.order(text, caller)
        except KeyError as missing:
            return BoltResponse(status=400, body=f"no {missing} in this command")
        except Told as told:
            return await ack(text=escape(told.into(ENGLISH)))
        if isinstance(ordered, Proposal):
            return await ack(_question(ordered))
        return await ack(_status(ordered, f"Drawing · {settings(ordered.request)}"))


def _authorize(token: str) -> Callable[..., Awaitable[AuthorizeResult]]:
    async def authorize(enterprise_id: str | None, team_id: str | None, **_: Any) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=enterprise_id, team_id=team_id, bot_token=token)

    return authorize


def _caller(body: Mapping[str, str], *, site: str) -> Caller:
    """Read who gives a slash command. Raises `KeyError` for a form that is not one."""
    team, channel, user = body["team_id"], body["channel_id"], body["user_id"]
    address = {"team": team, "channel": channel, "user": user, "response_url": body["response_url"], "site": site}
    return Caller(
        claim=f"slack:{team}:{body['trigger_id']}",
        platform="slack",
        person=f"slack:{team}:{user}",
        reply_to=address,
        language=ENGLISH,
        place=team,
    )


class _Reply:
    """The ways back to one person in Slack."""

    def __init__(self, slack: Slack, job: Job, notes: Notes) -> None:
        self._slack, self._client, self._job, self._notes = slack, slack.client, job, notes
        self._channel, self._user = job.reply_to["channel"], job.reply_to["user"]
        self._hint = ""  # why the best way was refused, in words for the person
        self.ways = (self.in_channel, self.by_link, self.in_dm, self.privately)

    edit_every = EDIT_EVERY

    async def status(self, event: Event) -> None:
        """Post the message that will become the picture, or edit it."""
        await self._show(self._channel, _status(self._job, f"Drawing · {describe(event)}"))

    async def start_picture(self) -> bytes | None:
        """Nothing comes with a slash command."""
        return None

    async def delete(self) -> None:
        """Delete the message that the job names."""
        await _sent(self._client.chat_delete(channel=self._channel, ts=self._job.reply_to["ts"]))

    async def in_channel(self, outcome: Outcome) -> None:
        """Turn the status message into the outcome."""
        try:
            await self._deliver(self._channel, outcome)
        except Refused as refused:
            self._hint = HINTS.get(refused.code, "").format(detail=refused.detail)
            raise

    async def by_link(self, outcome: Outcome) -> None:
        """Show the pictures from our own server: Slack fetches them, and no file is shared."""
        links = [
            {"image_url": f"{self._job.reply_to['site']}/pictures/{self._job.id}/{index}.png"}
            for index, _ in enumerate(outcome.pictures)
        ]
        message = _message(outcome, links, self._hint)
        if self._notes.get(f"ts {self._channel}"):
            with suppress(Refused):
                await self._show(self._channel, message)
                return
        await self._respond({"response_type": "in_channel" if links else "ephemeral", **message})

    async def in_dm(self, outcome: Outcome) -> None:
        """Send the outcome to the person alone."""
        opened = await _sent(self._client.conversations_open(users=[self._user]))
        await self._deliver(opened["channel"]["id"], outcome)
        await self._close("I sent it to you directly.")

    async def privately(self, outcome: Outcome) -> None:
        """Say in the channel, for the person alone, that the pictures are kept."""
        words = (
            outcome.reason
            or f"Your picture is drawn, but I could not post it. An admin can fetch it: `imagine show {self._job.id}`."
        )
        text = f"{escape(words)}\n{self._hint}".strip()
        try:
            await _sent(self._client.chat_postEphemeral(channel=self._channel, user=self._user, text=text))
        except Refused:
            await self._respond({"response_type": "ephemeral", "text": text})
        await self._close("I could not post it here.")

    async def _close(self, words: str) -> None:
        """Leave no message in the channel that says we are still drawing, if that can be helped."""
        if self._notes.get(f"ts {self._channel}"):
            with suppress(Undelivered):
                await self._show(self._channel, _status(self._job, words))

    async def _deliver(self, channel: str, outcome: Outcome) -> None:
        files: list[dict[str, Any]] = []
        if outcome.pictures:
            thread = self._notes.get(f"ts {channel}") or await self._show(
                channel, _status(self._job, "Drawing · done, posting")
            )
            ids = await self._share(channel, thread, outcome.pictures)
            files = [{"slack_file": {"id": file}} for file in ids]
        await self._show(channel, _message(outcome, files, self._hint))

    async def _show(self, channel: str, message: Mapping[str, Any]) -> str:
        """Edit this job's message in a channel, or post it; return its ts."""
        noted = f"ts {channel}"
        if ts := self._notes.get(noted):
            try:
                await _sent(self._client.chat_update(channel=channel, ts=ts, **message))
                return str(ts)
            except Refused as refused:
                if refused.code != "message_not_found":  # somebody deleted it
                    raise
        posted = await self._joined(
            channel, lambda: self._client.chat_postMessage(channel=channel, unfurl_links=False, unfurl_media=False, **message)
        )
        await self._notes.set(noted, posted["ts"])
        return str(posted["ts"])

    async def _joined(self, channel: str, call: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        """Make a call; where we are not a member of a public channel, join it and call again."""
        try:
            return await _sent(call())
        except Refused as refused:
            if refused.code != "not_in_channel":
                raise
            try:
                await _sent(self._client.conversations_join(channel=channel))
            except Refused:
                raise refused from None
            return await _sent(call())

    async def _share(self, channel: str, thread: str, pictures: Sequence[Picture]) -> list[str]:
        """Upload the pictures once, share them in the thread once, and see that they are."""
        noted = f"files {channel}"
        files: list[str] | None = self._notes.get(noted)
        first_try = files is None
        if files is None:
            files = [await self._upload(picture) for picture in pictures]
            await self._notes.set(noted, files)
        if first_try or not await self._shared(files, channel, polls=2):
            titled: list[dict[str, str | None]] = [
                {"id": id_, "title": shorten(each.request.prompt, 100)} for id_, each in zip(files, pictures, strict=True)
            ]
            try:
                await self._joined(
                    channel,
                    lambda: self._client.files_completeUploadExternal(files=titled, channel_id=channel, thread_ts=thread),
                )
            except Refused as refused:
                if first_try or refused.code != "file_not_found":  # else a try whose answer was lost has done it
                    raise
        if not await self._shared(files, channel, polls=POLLS):
            raise Refused("unshared", "Slack took the file and shared it nowhere")
        return files

    async def _upload(self, picture: Picture) -> str:
        name = f"{picture.request.model}-{picture.request.seed}.png"
        place = await _sent(self._client.files_getUploadURLExternal(filename=name, length=len(picture.png)))
        await _post(self._slack.session, place["upload_url"], data=picture.png)
        return str(place["file_id"])

    async def _shared(self, files: Sequence[str], channel: str, polls: int) -> bool:
        """Wait until Slack has taken the files in and shows them in the channel."""
        missing = list(files)
        for _ in range(polls):
            missing = [file for file in missing if not await self._is_shared(file, channel)]
            if not missing:
                return True
            await asyncio.sleep(POLL_EVERY)
        return False

    async def _is_shared(self, file: str, channel: str) -> bool:
        try:
            found: Mapping[str, Any] = (await _sent(self._client.files_info(file=file)))["file"]
        except Refused as refused:
            if refused.code == "file_not_found":  # it was uploaded, and not completed yet
                return False
            raise
        shares: Mapping[str, Mapping[str, Any]] = found.get("shares") or {}
        return bool(found.get("mimetype")) and any(channel in channels for channels in shares.values())

    async def _respond(self, message: Mapping[str, Any]) -> None:
        """Answer through the `response_url`: works in any channel for 30 minutes, five times, and without files.

        Where Slack's own answer is lost we answer again, and there may be two: Slack gives no way to know, and a second
        message is better than none.
        """
        if not self._notes.get("responded"):
            await _post(self._slack.session, self._job.reply_to["response_url"], json=message)
            await self._notes.set("responded", "yes")


def _question(proposal: Proposal) -> dict[str, Any]:
    """Ask whether to draw so much."""
    elements = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": button.label},
            "action_id": button.press.pack(),
            "value": button.press.pack(),
        }
        for row in of_proposal(proposal.job)
        for button in row
    ]
    prompt = shorten(proposal.job.title, SHOWN)
    return {"text": escape(prompt), "blocks": [_prompt(prompt), {"type": "actions", "elements": elements}]}


def _status(job: Job, words: str) -> dict[str, Any]:
    prompt = shorten(job.request.prompt, SHOWN)
    return {"text": f"{escape(prompt)}: {escape(words)}", "blocks": [_prompt(prompt), _context(words)]}


def _message(outcome: Outcome, images: Sequence[Mapping[str, Any]], hint: str) -> dict[str, Any]:
    """Write an outcome in Block Kit; `images` say where each picture is: `image_url` or `slack_file`."""
    request = outcome.job.request
    prompt = shorten(request.prompt, SHOWN)
    blocks = [_prompt(prompt, asked_by=outcome.job.reply_to["user"])]
    blocks += [{"type": "image", "alt_text": shorten(request.prompt, ALT_TEXT), **image} for image in images]
    blocks.append(_context(summary(outcome)))
    if hint:
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": hint}]})
    return {"text": escape(outcome.reason or prompt), "blocks": blocks}


def _prompt(words: str, asked_by: str | None = None) -> dict[str, Any]:
    """Show somebody's words as they typed them: rich text is never read as markup, so it can neither ping nor break."""
    elements: list[dict[str, Any]] = [{"type": "text", "text": words, "style": {"bold": True}}]
    if asked_by:
        elements += [{"type": "text", "text": " · "}, {"type": "user", "user_id": asked_by}]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements}]}


def _context(words: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "plain_text", "text": words, "emoji": False}]}


def escape(text: str) -> str:
    """Make text safe where Slack reads markup. https://docs.slack.dev/messaging/formatting-message-text"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unescape(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


async def _sent(call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
    """Await a call of Slack's client; raise `Busy` or `Refused` for whatever went wrong."""
    try:
        return await call
    except SlackApiError as error:
        answer = error.response
        status = int(getattr(answer, "status_code", 0) or getattr(answer, "status", 0))
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Busy("rate limited", retry_after(answer.headers)) from None
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(answer, AsyncSlackResponse):
            raise Busy(f"HTTP {status}") from None
        code = str(answer.get("error"))
        if code in TRY_AGAIN:
            raise Busy(code) from None
        raise Refused(code, str(answer.get("needed") or answer.get("errors") or "")) from None
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError
        raise Busy(type(error).__name__) from None


async def _post(session: aiohttp.ClientSession, url: str, **arguments: Any) -> None:
    """Post to one of the addresses that Slack hands out, which answer in plain HTTP."""
    try:
        async with session.post(url, **arguments) as response:
            if response.ok:
                return
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                raise Busy("rate limited", retry_after(response.headers))
            if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise Busy(f"HTTP {response.status}")
            raise Refused(f"HTTP {response.status}", shorten(await response.text(), 200))
    except (aiohttp.ClientError, OSError) as error:
        raise Busy(type(error).__name__) from None
