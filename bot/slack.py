"""Slack: verify, read, acknowledge, reply. https://docs.slack.dev/interactivity/handling-user-interaction

Here is what comes in: commands, presses, forms, shortcuts and messages. `slack_reply` is the way back, `slack_blocks` and
`slack_form` are what people see, `slack_people` is who they are.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from bot import command, slack_blocks, slack_form, slack_reply
from bot.actions import Action, Press
from bot.courier import Pace, attempt
from bot.deadline import left, left_to_answer
from bot.desk import Caller, Proposal
from bot.errors import BadRequest, NotTaken, Stranger, Told, Undelivered
from bot.request import Job, settings
from bot.slack_blocks import escape
from bot.slack_form import Form
from bot.slack_install import INSTALL, Installing
from bot.slack_people import People
from bot.slack_reply import DRAWING, Line, Reply, post, preview_name, privately, respond, sent
from bot.slack_tokens import Tokens, installed_in
from bot.texts import Phrase, say
from bot.upload import TYPES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import aiohttp
    from slack_bolt.context.async_context import AsyncBoltContext

    from bot.courier import Notes
    from bot.desk import Desk
    from bot.request import ImageRequest

    Ack = Callable[..., Awaitable[BoltResponse]]
    Body = dict[str, Any]
    Context = Mapping[str, Any]

log: Final = logging.getLogger(__name__)
bolts: Final = logging.getLogger("slack_bolt")
bolts.setLevel(logging.ERROR)  # it warns of two tokens, of which it has one

API_URL: Final = slack_reply.API_URL
ENVIRONMENT: Final = ("SLACK_SIGNING_SECRET", "SLACK_BOT_TOKEN")
SCOPES: Final = (
    *("commands", "chat:write", "files:write", "files:read", "channels:join", "im:write"),
    *("app_mentions:read", "im:history", "users:read"),
)
OAUTH: Final = ("SLACK_CLIENT_ID", "SLACK_CLIENT_SECRET")  # both or none
EVENTS: Final = ("app_mention", "message.im", "app_uninstalled", "tokens_revoked")
THIS: Final = "imagine_this"  # the shortcut of a message
NEW: Final = "imagine_new"  # the shortcut from anywhere

STATUSES: Final = 35  # a minute in one workspace: Slack takes 50 edits and more there, and the outcomes come first
READING: Final = 1.0  # seconds to look up a workspace's token
OPENING: Final = 1.5  # seconds for a form to open
SAYING: Final = 0.8  # seconds for words to one person, by one way
SAID: Final = {None, "file_share", "thread_broadcast"}  # the subtypes of messages in which people say something
UNSEEN: Final = {"tombstone", "hidden_by_limit"}  # the modes of files that were deleted, or are too old for a free workspace

UNHEARD: Final = BoltResponse(status=503, body="")  # where Slack does not take our words, its own say that something is wrong
NOT_YET: Final = Phrase("I am not installed in this workspace. An admin of it can install me: {url}")
TOO_SLOW: Final = Phrase("The form did not open in time. Please try again.")


def needed(environ: Mapping[str, str]) -> Sequence[str]:
    """Return the variables without which Slack is off: where admins install the app by OAuth, no token has to be copied."""
    return ENVIRONMENT[:1] if all(environ.get(name) for name in OAUTH) else ENVIRONMENT


class Slack:
    """One Slack app, in as many workspaces as have it."""

    def __init__(
        self,
        *,
        signing_secret: str,
        token: str,
        session: aiohttp.ClientSession,
        desk: Desk,
        api_url: str = API_URL,
        client_id: str = "",
        client_secret: str = "",
    ) -> None:
        """Take the desk, which takes orders; with a client's id and secret, admins of any workspace may install the app."""
        self._verifier = SignatureVerifier(signing_secret)
        self._desk = desk
        self._paces = defaultdict[str, Pace](lambda: Pace(STATUSES))  # of workspaces: as many as have installed us
        self._session = session
        self._tokens = Tokens(desk.store, given=token, are_kept=bool(client_id), session=session, api_url=api_url)
        self._people = People(self._tokens.client)
        self.installing = Installing(self._tokens, client_id, client_secret, SCOPES) if client_id else None
        self.app = AsyncApp(
            signing_secret=signing_secret,
            logger=bolts,  # else bolt takes over the root's level, whatever is set for its own
            request_verification_enabled=False,  # `verify` has done it, on the raw bytes
            process_before_response=True,  # nothing happens after the answer
            authorize=_Authorizing(self._authorize),
            oauth_flow=self.installing,  # without it, bolt makes one of its own of what it finds in the environment
        )
        self.app.error(self._failed)
        self.app.command(re.compile(""))(self._commanded)  # whatever the admin has called it
        self.app.action(re.compile(""))(self._pressed)
        self.app.shortcut(re.compile(f"{THIS}|{NEW}"))(self._asked_for_the_form)
        self.app.view(slack_form.CALLBACK)(self._filled_in)
        self.app.view(slack_form.CONFIRMED)(self._confirmed)
        self.app.event("app_mention")(self._written)
        self.app.event("message")(self._written)
        self.app.event("app_uninstalled")(self._removed)
        self.app.event("tokens_revoked")(self._removed)

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

    def pace(self, job: Job) -> Pace:
        """Return how many statuses the job's workspace bears."""
        return self._paces[job.reply_to.get("team", "")]

    def reply(self, job: Job, notes: Notes) -> Reply:
        """Return the way back to the person who made this job."""
        return Reply(self._line(job.reply_to.get("team", "")), job, notes)

    async def preview(self, job_id: str) -> bytes | None:
        """Return what can be seen so far of a job that is being drawn."""
        return await self._desk.store.file(preview_name(job_id))

    def _line(self, team: str) -> Line:
        return Line(client=self._tokens.client(team), session=self._session, store=self._desk.store)

    # Whose request it is

    async def _authorize(self, context: Context) -> AuthorizeResult:
        """Let bolt go on where we have a token. Raises `Told` where we have none, or cannot find out in time."""
        team = _team(context)
        found = await attempt(self._token(team))
        if isinstance(found, Exception):
            log.warning("the token of %s was not found: %r", team, found)
            raise NotTaken from found
        if not found:
            raise Told(NOT_YET, url=f"{context['site']}{INSTALL}")
        return AuthorizeResult(enterprise_id=context.get("enterprise_id"), team_id=context.get("team_id"), bot_token=found)

    async def _token(self, team: str) -> str | None:
        async with asyncio.timeout(left(READING)):
            return await self._tokens.of(team)

    async def _failed(self, error: Exception, body: Body, context: Context, ack: Ack) -> BoltResponse:
        """Say why nothing came of a request, where that can be said; bolt itself would say nothing."""
        if not isinstance(error, Told):
            raise error
        said = {"text": escape(error.into(await self._people.language(context.get("user_id") or "", _team(context))))}
        if "command" in body:
            return await ack(**said)
        address = {"response_url": body.get("response_url", "")}
        private = {"response_type": "ephemeral", **said}
        return await ack() if await self._say(lambda: respond(self._session, address, private)) else UNHEARD

    # What comes in. Jobs are kept before anything is acknowledged.

    async def _commanded(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Take a command. Only the person who gave it sees the answer, and they see it at once."""
        try:
            address = {"channel": body["channel_id"], "response_url": body["response_url"]}
            caller = await self._caller(body["user_id"], body["trigger_id"], context, address)
        except KeyError as missing:
            return BoltResponse(status=400, body=f"no {missing} in this command")
        text = slack_blocks.unescape(body.get("text", ""))
        if not text.strip():
            return await self._empty(ack, body["trigger_id"], caller)
        told = replace(caller, reply_to={**caller.reply_to, "announced": "yes"})
        try:
            taken = await self._take(text, told)
        except Told as error:
            return await ack(text=escape(error.into(caller.language)))
        if isinstance(taken, Job):
            words = say(caller.language, DRAWING, how=settings(taken.request, caller.language))
            taken = slack_blocks.status(taken, words)
        return await ack(taken)

    async def _empty(self, ack: Ack, trigger_id: str, caller: Caller) -> BoltResponse:
        """Answer a command without words: with the form."""
        try:
            await self._open(trigger_id, Form(flags=await self._desk.defaults(caller)), caller)
        except Told as told:
            return await ack(text=escape(told.into(caller.language)))
        return await ack()

    async def _pressed(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Take a press of a button."""
        [action, *_] = body["actions"]
        if press := Press.unpack(action.get("action_id", "")):
            address = _pressed_in(body, press, action.get("value", ""))
            caller = await self._caller(body["user"]["id"], body["trigger_id"], context, address)
            for message in await self._acted(press, caller, body):
                if not await self._tell(caller, message):
                    return UNHEARD
        return await ack()

    async def _acted(self, press: Press, caller: Caller, body: Body) -> Sequence[Mapping[str, Any]]:
        """Do what a button says; return what is to be said to who pressed it, in one message or several."""
        try:
            return await self._act(press, caller, body)
        except Told as told:
            return [{"text": escape(told.into(caller.language))}]

    async def _act(self, press: Press, caller: Caller, body: Body) -> Sequence[Mapping[str, Any]]:

        async def recall() -> Sequence[ImageRequest]:
            return slack_blocks.recall(body.get("message"))

        async def moderator() -> bool:
            return await self._people.is_moderator(caller.reply_to["user"], caller.place)

        match press.action:
            case Action.EDIT:
                form = slack_form.of(await self._desk.edit(press, recall))
                await self._open(body["trigger_id"], form, caller)
            case Action.DETAILS:
                return slack_blocks.details(await self._desk.details(press, caller, recall))
            case Action.CANCEL:
                await self._desk.cancel(press, caller, moderator)  # its message says so itself
            case Action.DELETE:
                await self._desk.delete(press, caller, moderator)
            case Action.DRAW:
                await self._desk.confirm(press, caller)
                await self._take_back(caller)
            case Action.DISCARD:
                await self._take_back(caller)
            case _:
                await self._desk.press(press, caller, recall)
        return ()

    async def _asked_for_the_form(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Open the form, with the words and the picture of a message where it is a message's shortcut."""
        message = body.get("message") or {}
        address = {
            "channel": (body.get("channel") or {}).get("id", ""),
            "thread": _thread_of(message, message.get("ts", "")),
            "response_url": body.get("response_url", ""),
        }
        caller = await self._caller(body["user"]["id"], body["trigger_id"], context, address)
        try:
            await self._open(body["trigger_id"], await self._form_for(message, caller), caller)
        except Told as told:
            if not (address["channel"] and await self._tell(caller, {"text": escape(told.into(caller.language))})):
                return UNHEARD
        return await ack()

    async def _form_for(self, message: Body, caller: Caller) -> Form:
        """Fill in a form with a message."""

        async def recall() -> Sequence[ImageRequest]:
            return slack_blocks.recall(message)

        said = _forwarded(message) or message
        text = slack_blocks.unmark(slack_blocks.unaddressed(said.get("text", "")))
        filled = await self._desk.imagined(text, slack_blocks.press_in(message), recall)
        return slack_form.of(filled, await self._desk.defaults(caller), _picture_in(said))

    async def _filled_in(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Take a form; what is wrong is said beside its field, and nothing of it is lost."""
        filled = slack_form.read(body)
        caller = await self._caller(body["user"]["id"], body["view"]["id"], context, filled.address)
        try:
            ordered = await self._desk.order(filled.text, caller, options=filled.options, form=True)
        except command.HelpWanted:
            told: Told = BadRequest("Say what to draw, for example: /imagine a red fox in the snow")
            return await ack(response_action="errors", errors={"prompt": told.into(caller.language)})
        except Told as told:
            named = slack_form.field_of(told, body)
            return await ack(response_action="errors", errors={named: told.into(caller.language)})
        if isinstance(ordered, Proposal):
            return await ack(response_action="push", view=slack_form.confirmation(ordered))
        return await ack()

    async def _confirmed(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Draw what a form has proposed."""
        job_id, address = slack_form.proposed(body)
        caller = await self._caller(body["user"]["id"], body["view"]["id"], context, address)
        try:
            await self._desk.confirm(Press(action=Action.DRAW, job_id=job_id, asker=body["user"]["id"]), caller)
        except Told as told:
            return await ack(response_action="update", view=slack_form.refused(body, told.into(caller.language)))
        return await ack(response_action="clear")

    async def _written(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Take what somebody writes to us, in a channel, a thread, or directly; Slack sends it again if it doubts we heard."""
        event = body["event"]
        if event.get("bot_id") or event.get("subtype") not in SAID or not event.get("user"):
            return await ack()
        address, options = {"channel": event["channel"], "thread": event.get("thread_ts", "")}, {}
        if file := _picture_in(event) or _file_in(event):
            address["file"], options["image"] = file, secrets.token_hex(12)
        said = f"{event['channel']}:{event['ts']}"  # which it keeps when it is edited: that is another event
        caller = await self._caller(event["user"], said, context, address)
        try:
            taken = await self._take(slack_blocks.unmark(event.get("text", ""), _own_name(body)), caller, options)
        except Told as told:
            taken = {"text": escape(told.into(caller.language))}
        if isinstance(taken, Job):
            return await ack()
        is_said = await self._desk.once(f"{caller.claim} {body['event_id']}", lambda: self._tell(caller, taken))
        return await ack() if is_said else UNHEARD

    async def _removed(self, ack: Ack, body: Body, context: Context) -> BoltResponse:
        """Forget the token of a workspace that is rid of us; those of single people, which may be revoked too, we never had."""
        event = body["event"]
        if event["type"] == "app_uninstalled" or event["tokens"].get("bot"):
            await self._tokens.forget(_team(context), body["event_time"])
        return await ack()

    # What they have in common

    async def _caller(self, user: str, interaction: str, context: Context, address: Mapping[str, str]) -> Caller:
        """Say who asks, and where they are answered."""
        team = _team(context)
        return Caller(
            claim=f"slack:{team}:{interaction}",
            platform="slack",
            person=f"slack:{team}:{user}",
            reply_to={**address, "team": team, "user": user, "site": context["site"]},
            language=await self._people.language(user, team),
            place=team,
        )

    async def _take(self, text: str, caller: Caller, options: Mapping[str, object] | None = None) -> Job | dict[str, Any]:
        """Take what somebody types: return the job, or what to say to them alone."""
        if (shown := await self._desk.settings(text, caller)) is not None:
            return {"text": escape(shown)}
        ordered = await self._desk.order(text, caller, options=options)
        return ordered if isinstance(ordered, Job) else slack_blocks.question(ordered)

    async def _open(self, trigger_id: str, form: Form, caller: Caller) -> None:
        """Open the form. Raises `Told` where Slack did not."""
        view = slack_form.view(form, caller.reply_to, caller.language)
        client = self._tokens.client(caller.place)
        if not await self._in_time(lambda: sent(client.views_open(trigger_id=trigger_id, view=view)), left(OPENING)):
            raise Told(TOO_SLOW)

    async def _tell(self, caller: Caller, message: Mapping[str, Any]) -> bool:
        """Say something to a person alone, where they asked; return whether Slack took it."""
        address = caller.reply_to
        private = {"response_type": "ephemeral", **message}
        if address.get("response_url") and await self._say(lambda: respond(self._session, address, private)):
            return True
        return await self._say(lambda: sent(privately(self._tokens.client(caller.place), address, **message)))

    async def _take_back(self, caller: Caller) -> None:
        """Delete the private words whose button was pressed."""
        url = caller.reply_to["response_url"]
        await self._say(lambda: post(self._session, url, json={"delete_original": True}))

    async def _say(self, call: Callable[[], Awaitable[Any]]) -> bool:
        return await self._in_time(call, left_to_answer(SAYING))

    async def _in_time(self, call: Callable[[], Awaitable[Any]], seconds: float) -> bool:
        """Make a call before we answer, unless it takes too long; return whether it worked."""
        failure = await attempt(asyncio.wait_for(_done(call), seconds))
        if failure:
            unexpected = None if isinstance(failure, Undelivered | TimeoutError) else failure
            log.warning("Slack did not take what we said at once: %r", failure, exc_info=unexpected)
        return failure is None


class _Authorizing(AsyncAuthorize):
    """Has bolt go by our own tokens: what it brings along asks Slack first, out of our three seconds."""

    def __init__(self, authorize: Callable[[Context], Awaitable[AuthorizeResult]]) -> None:
        self._authorize = authorize

    async def __call__(self, *, context: AsyncBoltContext, **_: str | None) -> AuthorizeResult:
        return await self._authorize(context)


async def _done(call: Callable[[], Awaitable[Any]]) -> None:
    await call()


def _team(context: Context) -> str:
    """Return where we are installed: in a workspace, or in a whole organisation, where Slack may not say which workspace."""
    if not (team := installed_in(context)):
        raise KeyError("team_id")
    return team


def _pressed_in(body: Body, press: Press, value: str) -> dict[str, str]:
    """Return where a button was pressed, and what its message has."""
    container = body["container"]
    address = {
        "channel": body["channel"]["id"],
        "thread": _thread_of({**container, **(body.get("message") or {})}, container["message_ts"]),
        "response_url": body.get("response_url", ""),
    }
    if press.action is Action.DELETE:
        address |= {"ts": container["message_ts"], "files": value}
    return address


def _thread_of(message: Mapping[str, Any], ts: str) -> str:
    """Return the thread that a message is in. One that others reply to is in its own, for Slack; people see it above that."""
    thread = str(message.get("thread_ts") or "")
    return "" if thread == ts else thread


def _forwarded(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what somebody has forwarded without a word or a picture of their own."""
    if message.get("text") or message.get("files"):
        return None
    return next((each for each in message.get("attachments") or () if each.get("is_share")), None)


def _picture_in(message: Mapping[str, Any]) -> str:
    """Return Slack's id of the first picture in a message: one that a person attached, or one that we have shown."""
    files = [file for file in _files(message) if (file.get("mimetype") or "image/png") in TYPES]  # or not yet known
    shown = [block["slack_file"] for block in message.get("blocks") or () if "slack_file" in block]
    return next((str(file["id"]) for file in (*files, *shown) if file.get("id")), "")


def _file_in(message: Mapping[str, Any]) -> str:
    """Return Slack's id of the first file that somebody attached to their words; if it is no picture, they are told so."""
    return next((str(file["id"]) for file in _files(message) if file.get("id")), "")


def _files(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the files that people attached to a message, and can still see there."""
    return [file for file in message.get("files") or () if file.get("mode") not in UNSEEN]


def _own_name(body: Body) -> str:
    """Return our own id, which those who mention us have written."""
    return next((str(each.get("user_id") or "") for each in body.get("authorizations") or ()), "")
