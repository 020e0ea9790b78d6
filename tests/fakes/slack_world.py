"""A Slack workspace: people, channels, files and messages, and what of them a reader sees."""

from __future__ import annotations

import html
import itertools
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.fakes.faults import Fault

MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
SCOPES = (
    *("commands", "chat:write", "files:write", "files:read", "channels:join", "im:write"),
    *("app_mentions:read", "im:history", "users:read"),
)
PING = re.compile(r"<(![a-z]+|!subteam\^\w+|@[UW]\w*)(?:\|[^>]*)?>")
NAME_PING = re.compile(r"(?<!\w)@(channel|here|everyone)\b")  # only where the sender asked for names to be linked


class Refusal(Exception):
    """Slack's `{"ok": false, "error": …}`; `violation` says in words what a correct app would never have sent."""

    def __init__(self, error: str, violation: str | None = None, **details: Any) -> None:
        super().__init__(error)
        self.error, self.violation, self.details = error, violation, details


class Kind(StrEnum):
    """What sort of conversation a channel is."""

    PUBLIC = "public"
    PRIVATE = "private"
    DM = "dm"


class Via(StrEnum):
    """How a message came to be."""

    API = "api"
    FILE_SHARE = "file_share"
    ACK = "ack"
    RESPONSE_URL = "response_url"
    PERSON = "person"


@dataclass(slots=True, kw_only=True)
class Person:
    """Somebody in the workspace."""

    id: str
    is_admin: bool = False
    is_owner: bool = False
    is_admin_of_all: bool = False  # the workspaces of the organisation
    locale: str = "en-US"
    team: str = ""  # another workspace than this, of a guest in a shared channel


@dataclass(slots=True, kw_only=True)
class Channel:
    """A conversation, and who is in it."""

    id: str
    kind: Kind = Kind.PUBLIC
    bot_is_member: bool = True
    is_archived: bool = False
    members: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A place where a file can be seen."""

    channel: str
    ts: str
    thread_ts: str | None


@dataclass(slots=True, kw_only=True)
class File:
    """A file, from the moment an upload address was asked for."""

    id: str
    name: str
    length: int
    upload: str = ""  # the secret part of the upload address
    url: str
    user: str
    is_external: bool = False  # it lies on somebody else's server, and `url` points there
    granted: bool = False  # a person put it into the app's own form
    alt_txt: str | None = None
    title: str = ""
    content: bytes | None = None
    completed: float | None = None
    polls: int = 0
    deleted: bool = False
    shares: list[Share] = field(default_factory=list)

    @property
    def download(self) -> str:
        """The address that answers with the bytes."""
        place, _, name = self.url.rpartition("/")
        return self.url if self.is_external else f"{place}/download/{name}"

    def is_shared(self, channel: str) -> bool:
        """Say whether people of this channel can see it."""
        return not self.deleted and any(share.channel == channel for share in self.shares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a message became, and when."""

    time: float
    text: str
    blocks: list[Any]


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """A message as it stands; `pings` collects everyone it ever called."""

    ts: str
    channel: str
    via: Via = Via.API
    user: str
    text: str = ""
    blocks: list[Any] = field(default_factory=list)
    images: list[File | bytes] = field(default_factory=list)  # of its image blocks, in order
    files: list[File] = field(default_factory=list)
    forwards: Message | None = None
    thread_ts: str | None = None
    ephemeral_to: str | None = None
    edits: list[Edit] = field(default_factory=list)
    deleted: bool = False
    pings: list[str] = field(default_factory=list)

    @property
    def pictures(self) -> list[bytes]:
        """The pictures a reader of the channel sees in it."""
        if self.deleted:
            return []
        seen = [i for i in self.images if isinstance(i, bytes) or i.is_shared(self.channel)]
        shown = [i if isinstance(i, bytes) else i.content or b"" for i in seen]
        return shown + [f.content or b"" for f in self.files if not f.deleted and f not in self.images]

    @property
    def plain(self) -> str:
        """The words a reader sees: the blocks' where there are any, else the text's."""
        words = [part for _, part in texts(self.blocks)] or [self.text]
        return html.unescape("\n".join(words))

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """Its buttons, in order."""
        return [node for node in nodes(self.blocks) if node.get("type") == "button"]

    def button(self, label: str) -> dict[str, Any]:
        """Find the one button with this label."""
        (found,) = [button for button in self.buttons if button["text"]["text"] == label]
        return found

    @property
    def labels(self) -> list[str]:
        """What its buttons say, in order."""
        return [button["text"]["text"] for button in self.buttons]


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that reached Slack; `answer` is `ok` or Slack's error, and empty where nothing was processed."""

    time: float
    method: str
    channel: str
    ts: str
    answer: str = ""
    fault: Fault | None = None


@dataclass(slots=True, kw_only=True)
class ResponseUrl:
    """An address that lets an app answer one command or click without a token."""

    url: str
    channel: str
    user: str
    created: float
    uses: int = 0
    original: Message | None = None  # the message that was clicked; a command has none
    thread_ts: str | None = None


@dataclass(slots=True, kw_only=True)
class Trigger:
    """What a command, click or shortcut gives an app: leave to open one modal, if it is quick."""

    id: str
    user: str
    created: float
    address: ResponseUrl
    exchanged: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class View:
    """A modal on somebody's screen, and what they have entered so far."""

    id: str
    user: str
    channel: str | None  # that they look at behind it
    content: dict[str, Any]
    hash: str
    state: dict[str, dict[str, dict[str, Any]]]  # by block_id and action_id
    is_open: bool = True
    below: View | None = None  # which shows again when this one is closed

    @property
    def root(self) -> str:
        """The id of the lowest one of the stack."""
        return self.below.root if self.below else self.id

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Its input blocks, by block_id."""
        return {block["block_id"]: block for block in self.content["blocks"] if block["type"] == "input"}

    @property
    def plain(self) -> str:
        """All words that stand on it."""
        return html.unescape("\n".join(part for _, part in texts([self.content["title"], *self.content["blocks"]])))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What stands in a channel: messages that show pictures, and messages of words alone."""

    pictures: list[Message]
    words: list[Message]


@dataclass(slots=True, kw_only=True)
class World:
    """Everything the workspace holds, and every mistake the app made."""

    team_id: str = "T0TEAM"
    name: str = "Fake"
    organisation: str = ""  # an Enterprise Grid, where the app is installed in all of it
    app_id: str = "A0APP"
    bot_user_id: str = "U0BOT"
    token: str = "xoxb-1-2-fake"
    signing_secret: str = "8f742231b10e8888abcd99eee77785a5"
    token_error: str = ""  # what became of the token: account_inactive, token_revoked
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    events: set[str] = field(default_factory=lambda: {"app_mention", "message.im"})  # that it has subscribed to
    manifest_scopes: set[str] = field(default_factory=lambda: set(SCOPES))  # that it may ask an admin for
    redirect_urls: list[str] = field(default_factory=list)
    shortcuts: dict[str, str] | None = None  # `global` or `message`, by callback_id; None knows of all
    is_interactive: bool = True
    people: dict[str, Person] = field(default_factory=lambda: {id_: Person(id=id_) for id_ in ("U1", "U2")})
    channels: dict[str, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    response_urls: dict[str, ResponseUrl] = field(default_factory=dict)
    triggers: dict[str, Trigger] = field(default_factory=dict)
    views: list[View] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    silently_unshared: bool | int = False  # True, or how many more shares get lost
    most_in_blocks: int = 100_000  # characters in all; Slack has such a limit, and does not say which
    counts_utf16: bool = False  # an emoji as two characters, as JavaScript does; Slack does not say
    processing_polls: int = 1  # of files.info that find a file unprocessed,
    processing_seconds: float = 1.0  # unless so much time has passed
    root: str = ""  # of our own addresses
    fetch: Callable[[str], Awaitable[bytes | None]]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _index: dict[tuple[str, str], Message] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Furnish it: the bot is in C1 (public), G1 (private) and D1, but not in C2, G2 and D2; C9 is archived."""
        for id_, kind, bot in (("C1", Kind.PUBLIC, True), ("C2", Kind.PUBLIC, False)):
            self.add_channel(id_, kind=kind, bot_is_member=bot)
        for id_, bot in (("G1", True), ("G2", False)):
            self.add_channel(id_, kind=Kind.PRIVATE, bot_is_member=bot)
        self.add_channel("C9", is_archived=True)
        self.add_channel("D1", kind=Kind.DM, members={"U1"})
        self.add_channel("D2", kind=Kind.DM, members={"U1", "U2"}, bot_is_member=False)

    def install(self, manifest: Mapping[str, Any]) -> None:
        """Grant and deliver just what an app's manifest asks for."""
        settings = manifest["settings"]
        self.manifest_scopes = set(manifest["oauth_config"]["scopes"]["bot"])
        self.scopes = set(self.manifest_scopes)
        self.redirect_urls = list(manifest["oauth_config"].get("redirect_urls", []))
        self.events = set(settings.get("event_subscriptions", {}).get("bot_events", []))
        self.is_interactive = settings.get("interactivity", {}).get("is_enabled", False)
        self.shortcuts = {each["callback_id"]: each["type"] for each in manifest["features"].get("shortcuts", [])}

    def add_person(self, id_: str, **about: Any) -> Person:
        """Let somebody join the workspace, and its channels."""
        self.people[id_] = Person(id=id_, **about)
        for channel in self.channels.values():
            if channel.kind is not Kind.DM:
                channel.members.add(id_)
        return self.people[id_]

    def add_channel(self, id_: str, *, members: set[str] | None = None, **about: Any) -> Channel:
        """Make a channel; everybody is in it unless told otherwise."""
        self.channels[id_] = Channel(id=id_, members=set(self.people) if members is None else members, **about)
        return self.channels[id_]

    def number(self) -> int:
        """Give a number nobody has had before."""
        return next(self._numbers)

    def reach(self, channel: str) -> Channel:
        """Find a channel the bot may post to."""
        found = self.see(channel)
        if found.is_archived:
            raise Refusal("is_archived")
        if not found.bot_is_member:
            raise Refusal("not_in_channel")
        return found

    def see(self, channel: str) -> Channel:
        """Find a channel the bot can know of."""
        found = self.channels.get(channel)
        if found is None or not (found.bot_is_member or found.kind is Kind.PUBLIC):
            raise Refusal("channel_not_found")
        return found

    def direct(self, user: str) -> Channel:
        """Find or open the bot's own conversation with somebody."""
        if user not in self.people:
            raise Refusal("user_not_found")
        for channel in self.channels.values():
            if channel.kind is Kind.DM and channel.bot_is_member and channel.members == {user}:
                return channel
        return self.add_channel(f"D{self.number():04}", kind=Kind.DM, members={user})

    def message(self, channel: str, ts: str) -> Message:
        """Find a message that everybody can see."""
        message = self.find(channel, ts)
        if message is None or message.deleted or message.ephemeral_to:
            raise Refusal("message_not_found")
        return message

    def find(self, channel: str, ts: str) -> Message | None:
        """Find a message, even a deleted or ephemeral one."""
        return self._index.get((channel, ts))

    def post(self, channel: str, *, linked: bool = False, **parts: Any) -> Message:
        """Put a message into a channel, and note whom it calls."""
        ts = f"{int(self.clock())}.{self.number():06}"
        message = Message(ts=ts, channel=channel, **({"user": self.bot_user_id} | parts))
        message.pings += pings(message.text, message.blocks, linked=linked)
        self.messages.append(message)
        self._index[channel, ts] = message
        for file in message.files:
            file.shares.append(Share(channel=channel, ts=ts, thread_ts=message.thread_ts))
        return message

    def edit(self, message: Message, *, text: str, blocks: list[Any], images: list[File | bytes]) -> None:
        """Change what a message says."""
        message.text, message.blocks, message.images = text, blocks, images
        message.edits.append(Edit(time=self.clock(), text=text, blocks=blocks))
        message.pings += [ping for ping in pings(text, blocks) if ping not in message.pings]

    def delete(self, message: Message) -> None:
        """Take a message away; files shared by it are shared there no longer."""
        message.deleted = True
        for file in message.files:
            file.shares = [share for share in file.shares if share.ts != message.ts]

    def is_processed(self, file: File) -> bool:
        """Say whether Slack has looked at a file yet."""
        if file.completed is None:
            return False
        return file.polls > self.processing_polls or self.clock() - file.completed >= self.processing_seconds

    def may_see(self, file: File) -> bool:
        """Say whether the app can know of a file."""
        shared = any(self.channels[share.channel].bot_is_member for share in file.shares)
        return not file.deleted and (shared or file.granted or file.user == self.bot_user_id)

    def attach(self, name: str, content: bytes, *, user: str = "U1", link: str = "", is_processed: bool = True) -> File:
        """Let somebody choose a file to send; with a `link` it lies on another server, and is only shown by Slack."""
        id_ = f"F{self.number():07}"
        url = link or f"{self.root}/files-pri/{self.team_id}-{id_}/{name}"
        file = File(id=id_, name=name, title=name, user=user, url=url, length=len(content), content=content)
        file.completed, file.is_external = self.clock(), bool(link)
        file.polls = self.processing_polls + 1 if is_processed else 0
        self.files[id_] = file
        return file

    @property
    def modal(self) -> View:
        """The one modal that is open, or the one on top of it."""
        found = [view for view in self.views if view.is_open]
        assert len({view.root for view in found}) == 1
        return found[-1]

    def outcomes(self, channel: str | None = None) -> Outcomes:
        """List what people can see now: messages with pictures, and messages of words alone."""
        live = [m for m in self.messages if not m.deleted and channel in {None, m.channel}]
        return Outcomes([m for m in live if m.pictures], [m for m in live if not m.pictures and m.plain])


def mimetype(content: bytes) -> str:
    """Tell a picture's type from its first bytes."""
    return next((kind for magic, kind in MAGIC.items() if content.startswith(magic)), "application/octet-stream")


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Walk over every object in some blocks, outermost first."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(child)


def texts(blocks: Any) -> Iterator[tuple[str, str]]:
    """Find the words in some blocks that are not on a button, each with the kind of text it is."""
    for node in nodes([b for b in blocks if isinstance(b, dict) and b.get("type") != "actions"]):
        if node.get("type") in {"mrkdwn", "plain_text", "markdown", "text"} and isinstance(node.get("text"), str):
            yield node["type"], node["text"]


def pings(text: str, blocks: Any, *, linked: bool = False) -> list[str]:
    """List whom a message calls: `<!channel>`, `<@U1>`, …."""
    sources = [text, *(part for kind, part in texts(blocks) if kind in {"mrkdwn", "markdown"})]
    called = [f"<{name}>" for source in sources for name in PING.findall(source)]
    called += [f"<!{name}>" for source in sources if linked for name in NAME_PING.findall(source)]
    for node in nodes(blocks):  # rich text spells mentions out
        if node.get("type") in {"broadcast", "user", "usergroup"}:
            called.append(f"<{node.get('range') or node.get('user_id') or node.get('usergroup_id')}>")
    return list(dict.fromkeys(called))
