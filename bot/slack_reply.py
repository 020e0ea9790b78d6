"""The ways back to a person in Slack. https://docs.slack.dev/messaging

A picture is posted by editing the status message, so that however often we try there is one message. The file itself
is shared in that message's thread: a file shared nowhere can be seen by nobody but the bot, and Slack ignores alt text
at upload, while an image block in the message shows the shared file with alt text.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot import slack_blocks
from bot.courier import EDIT_EVERY, describe
from bot.errors import BadRequest, Busy, Refused, Undelivered, retry_after
from bot.request import Event, Job, Picture, Step, shorten
from bot.slack_blocks import escape
from bot.texts import Phrase, say
from bot.upload import fetch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from slack_sdk.web.async_client import AsyncWebClient

    from bot.courier import Notes, Outcome
    from bot.store import Store

API_URL: Final = "https://slack.com/api/"
FILES: Final = "https://files.slack.com"  # where Slack keeps what people upload; our token goes nowhere else
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
# What Slack says of a message that has too much in it. It does not say how it counts characters: of an emoji's four bytes, it
# may make one or two, and call an alt text of a thousand of them invalid.
# And it calls a picture invalid that it is still at work on: then it is as well to try again later.
TOO_LONG: Final = {"msg_blocks_too_long": slack_blocks.SLIMMEST, "msg_too_long": slack_blocks.SLIMMEST, "invalid_blocks": 1}
NOT_INSTALLED: Final = "not_installed"  # our own word, where Slack was not asked
FILES_OF: Final = "files "  # and a channel: the note of what was uploaded for it
GONE: Final = {"message_not_found", "file_not_found", "file_deleted"}
DRAWING: Final = Phrase("Drawing · {how}")
POSTING: Final = Phrase("done, posting")
SENT_DIRECTLY: Final = Phrase("I sent it to you directly.")
NOT_HERE: Final = Phrase("I could not post it here.")
NOT_DELETED: Final = Phrase("Slack did not let me delete all of it. An admin of the workspace can.")
KEPT: Final = Phrase("Your picture is drawn, but I could not post it. An admin can fetch it: `imagine show {id}`.")
INVITE: Final = Phrase("I am not in this channel. Invite me with `/invite`, and I can post pictures here.")
REMOVED: Final = Phrase("I am no longer installed in this workspace. An admin of it can install me again.")
HINTS: Final = {
    **dict.fromkeys(("not_in_channel", "channel_not_found"), INVITE),
    "missing_scope": Phrase(
        "I lack the permission {detail}. An admin can add it under OAuth & Permissions, then reinstall the app."
    ),
    "is_archived": Phrase("That channel is archived."),
    **dict.fromkeys((NOT_INSTALLED, "account_inactive", "token_revoked"), REMOVED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What it takes to talk to Slack."""

    client: AsyncWebClient
    session: aiohttp.ClientSession
    store: Store

    @property
    def origins(self) -> tuple[str, ...]:
        """Where the workspace's files are: Slack's own host for them, or whatever stands in for all of Slack."""
        base = urlsplit(self.client.base_url)
        return (FILES,) if self.client.base_url == API_URL else (f"{base.scheme}://{base.netloc}",)


class Reply:
    """The ways back to one person."""

    def __init__(self, line: Line, job: Job, notes: Notes) -> None:
        self._line, self._client, self._job, self._notes = line, line.client, job, notes
        self._channel, self._user = job.reply_to["channel"], job.reply_to["user"]
        self._thread = job.reply_to.get("thread") or None
        self._hint = ""  # why the best way was refused, in words for the person
        self._shows_previews = job.reply_to["site"].startswith("https://")
        self.ways = (self.in_channel, self.by_link, self.in_dm, self.privately)

    edit_every = EDIT_EVERY

    @property
    def is_announced(self) -> bool:
        """Whether the person has been told that the job was taken: by the answer to their command, or before a restart."""
        return bool(self._job.reply_to.get("announced") or self._noted(self._channel))

    async def status(self, event: Event) -> None:
        """Post the message that will become the picture, or edit it."""
        words = self._say(DRAWING, how=describe(event, self._job.language))
        preview = await self._preview(event)
        try:
            await self._show(self._channel, slack_blocks.status(self._job, words, preview=preview))
        except Refused:
            if not preview:
                raise
            self._shows_previews = False  # Slack cannot fetch them from here
            await self._show(self._channel, slack_blocks.status(self._job, words))

    async def start_picture(self) -> bytes | None:
        """Fetch the picture that came with the job, as long as it lies with Slack."""
        if not (id_ := self._job.reply_to.get("file")):
            return None
        try:
            found: Mapping[str, Any] = (await sent(self._client.files_info(file=id_)))["file"]
        except Refused as refused:
            raise BadRequest("Slack does not show me that picture. Invite me to its channel, or attach it anew.") from refused
        url = str(found.get("url_private_download") or found.get("url_private") or "")
        if found.get("is_external") or not url:
            raise BadRequest("That picture lies on another site. Please upload it to Slack.")
        headers = {"Authorization": f"Bearer {self._client.token}"}
        return await fetch(self._line.session, url, origins=self._line.origins, headers=headers)

    async def delete(self) -> None:
        """Delete the message that the job names, its pictures, and what shows them in its thread."""
        try:
            await self._delete(self._job.reply_to)
        except Refused:
            with suppress(Undelivered):
                await self._respond({"response_type": "ephemeral", "text": escape(self._say(NOT_DELETED))})
            raise

    async def _delete(self, address: Mapping[str, str]) -> None:
        await self._forget_preview(address["target"])
        shown = filter(None, address.get("files", "").split(","))
        for file in dict.fromkeys([*shown, *await self._uploaded(address["target"])]):
            await self._delete_file(file)
        try:
            await self._delete_message(address["ts"])
        except Refused:
            # It is not ours to delete by name where we are no member, but whoever pressed its button lets us.
            await post(self._line.session, address["response_url"], json={"delete_original": True})

    async def _uploaded(self, job_id: str) -> list[str]:
        """Return the files of a job that Slack was given, also those that it then showed nowhere."""
        record = await self._line.store.record(job_id)
        notes = record.notes if record else {}
        return [file for name, files in notes.items() if name.startswith(FILES_OF) for file in files]

    async def in_channel(self, outcome: Outcome) -> None:
        """Turn the status message into the outcome."""
        if self._notes.get("previewed"):
            await self._forget_preview(self._job.id)  # first of all: whichever way the outcome goes in the end
        try:
            await self._deliver(self._channel, outcome)
        except Refused as refused:
            if refused.code in HINTS:
                self._hint = self._say(HINTS[refused.code], detail=refused.detail)
            raise

    async def by_link(self, outcome: Outcome) -> None:
        """Show the pictures from our own server: Slack fetches them, and no file is shared."""
        links = [
            {"image_url": f"{self._job.reply_to['site']}/pictures/{self._job.id}/{index}.png"}
            for index, _ in enumerate(outcome.pictures)
        ]
        message = slack_blocks.outcome(outcome, links, self._hint)
        if self._noted(self._channel):
            with suppress(Refused):
                await self._show(self._channel, message)
                return
        await self._respond({"response_type": "in_channel" if links else "ephemeral", **message})

    async def in_dm(self, outcome: Outcome) -> None:
        """Send the outcome to the person alone."""
        opened = await sent(self._client.conversations_open(users=[self._user]))
        await self._deliver(opened["channel"]["id"], outcome)
        await self._close(SENT_DIRECTLY)

    async def privately(self, outcome: Outcome) -> None:
        """Say in the channel, for the person alone, that the pictures are kept."""
        words = outcome.reason or self._say(KEPT, id=self._job.id)
        text = f"{escape(words)}\n{self._hint}".strip()
        try:
            await sent(privately(self._client, self._job.reply_to, text=text))
        except Refused:
            await self._respond({"response_type": "ephemeral", "text": text})
        await self._close(NOT_HERE)

    def _say(self, template: str, **values: object) -> str:
        return say(self._job.language, template, **values)

    def _noted(self, channel: str) -> str | None:
        ts: str | None = self._notes.get(f"ts {channel}")
        return ts

    async def _close(self, words: str) -> None:
        """Leave no message in the channel that says we are still drawing, if that can be helped."""
        if self._noted(self._channel):
            with suppress(Undelivered):
                await self._show(self._channel, slack_blocks.status(self._job, self._say(words), cancel=False))

    async def _preview(self, event: Event) -> str:
        """Put what can be seen so far where Slack can fetch it; return its address, another each time, or nothing."""
        if not (self._shows_previews and isinstance(event, Step) and event.preview):
            return ""
        if not self._notes.get("previewed"):
            await self._notes.set("previewed", "yes")
        await self._line.store.keep_file(preview_name(self._job.id), event.preview)
        return f"{self._job.reply_to['site']}/previews/{self._job.id}/{event.index}.jpg"

    async def _deliver(self, channel: str, outcome: Outcome) -> None:
        files: list[dict[str, Any]] = []
        if outcome.pictures:
            thread = self._thread if channel == self._channel else None
            if not (ts := self._noted(channel)):
                words = self._say(DRAWING, how=self._say(POSTING))
                ts = await self._show(channel, slack_blocks.status(self._job, words, cancel=False))
            files = [{"slack_file": {"id": id_}} for id_ in await self._share(channel, thread or ts, outcome.pictures)]
        await self._show_outcome(channel, outcome, files)

    async def _show_outcome(self, channel: str, outcome: Outcome, files: Sequence[Mapping[str, Any]], slim: int = 0) -> None:
        """Show it with no less than Slack takes."""
        try:
            await self._show(channel, slack_blocks.outcome(outcome, files, self._hint, slim=slim))
        except Refused as refused:
            if slim >= TOO_LONG.get(refused.code, 0):
                raise
            await self._show_outcome(channel, outcome, files, slim + 1)

    async def _forget_preview(self, job_id: str) -> None:
        await self._line.store.drop_file(preview_name(job_id))

    async def _show(self, channel: str, message: Mapping[str, Any]) -> str:
        """Edit this job's message in a channel, or post it; return its ts."""
        if ts := self._noted(channel):
            try:
                await sent(self._client.chat_update(channel=channel, ts=ts, **message))
            except Refused as refused:
                if refused.code != "message_not_found":  # somebody deleted it
                    raise
            else:
                return ts
        where = {"channel": channel, "thread_ts": self._thread if channel == self._channel else None}
        quiet = {"unfurl_links": False, "unfurl_media": False}
        posted = await self._joined(channel, lambda: self._client.chat_postMessage(**{**where, **quiet, **message}))
        await self._notes.set(f"ts {channel}", posted["ts"])
        return str(posted["ts"])

    async def _joined(self, channel: str, call: Callable[[], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        """Make a call; where we are not a member of a public channel, join it and call again."""
        try:
            return await sent(call())
        except Refused as refused:
            if refused.code != "not_in_channel":
                raise
            try:
                await sent(self._client.conversations_join(channel=channel))
            except Refused:
                raise refused from None
            return await sent(call())

    async def _share(self, channel: str, thread: str, pictures: Sequence[Picture]) -> list[str]:
        """Upload the pictures once, share them in the thread once, and see that they are."""
        noted = FILES_OF + channel
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
        place = await sent(self._client.files_getUploadURLExternal(filename=name, length=len(picture.png)))
        await post(self._line.session, place["upload_url"], data=picture.png)
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
            found: Mapping[str, Any] = (await sent(self._client.files_info(file=file)))["file"]
        except Refused as refused:
            if refused.code == "file_not_found":  # it was uploaded, and not completed yet
                return False
            raise
        return bool(found.get("mimetype")) and any(place == channel for place, _ in _shares(found))

    async def _delete_file(self, file: str) -> None:
        """Delete a file, and first the messages that brought it: Slack would leave them standing, and empty."""
        try:
            found: Mapping[str, Any] = (await sent(self._client.files_info(file=file)))["file"]
        except Refused as refused:
            if refused.code in GONE:
                return
            raise
        for channel, ts in _shares(found):
            await self._delete_message(ts, channel)
        await _gone(self._client.files_delete(file=file))

    async def _delete_message(self, ts: str, channel: str = "") -> None:
        await _gone(self._client.chat_delete(channel=channel or self._channel, ts=ts))

    async def _respond(self, message: Mapping[str, Any]) -> None:
        """Answer through the `response_url`: works in any channel for 30 minutes, five times, and without files.

        Where Slack's own answer is lost we answer again, and there may be two: Slack gives no way to know, and a second
        message is better than none.
        """
        if not self._notes.get("responded"):
            await respond(self._line.session, self._job.reply_to, message)
            await self._notes.set("responded", "yes")


def preview_name(job_id: str) -> str:
    """Return the name under which the preview of a job is kept: none of a picture that people brought can be reached by it."""
    return hashlib.sha256(f"preview {job_id}".encode()).hexdigest()[:24]


def _shares(file: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Return the channel and ts of every message that shows a file."""
    for channels in (file.get("shares") or {}).values():
        for channel, messages in channels.items():
            for message in messages:
                yield channel, message["ts"]


async def _gone(call: Awaitable[AsyncSlackResponse]) -> None:
    """Delete something, unless somebody has done it before."""
    try:
        await sent(call)
    except Refused as refused:
        if refused.code not in GONE:
            raise


def privately(client: AsyncWebClient, address: Mapping[str, str], **message: Any) -> Awaitable[AsyncSlackResponse]:
    """Call Slack to say something to a person alone, where they asked."""
    where = {"channel": address["channel"], "user": address["user"], "thread_ts": address.get("thread") or None}
    return client.chat_postEphemeral(**{**where, **message})


async def respond(session: aiohttp.ClientSession, address: Mapping[str, str], message: Mapping[str, Any]) -> None:
    """Say something by the `response_url` of an interaction, beside the message that it came from."""
    if not (url := address.get("response_url")):
        raise Refused("no response_url")
    thread = {"thread_ts": address["thread"]} if address.get("thread") else {}
    await post(session, url, json={"replace_original": False, **thread, **message})


async def sent(call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
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


async def post(session: aiohttp.ClientSession, url: str, **arguments: Any) -> None:
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
