"""A corner of Discord: people, channels, interactions and messages, and what of them a reader sees."""

import hashlib
import hmac
import itertools
import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, IntEnum, IntFlag, auto
from typing import Any

from tests.fakes.faults import Fault

EPOCH = 1420070400000  # milliseconds; Discord's ids count from 2015
MAGIC = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
    b"RIFF": "image/webp",
}
MENTION = re.compile(r"@everyone|@here|<@[!&]?\d+>")
LIFETIME = 15 * 60  # seconds an interaction token works
SIGNED_FOR = 24 * 3600  # seconds that an address of a file works
MAX_FILE = 10 * 2**20  # bytes, where nobody pays for more
MANAGE_MESSAGES = 1 << 13
ORDINARY = 2248473465835073  # what an ordinary member may do
BUTTON, TEXT_DISPLAY = 2, 10


class Refusal(Exception):
    """Discord's `{"message": …, "code": …}`; `violation` says in words what a correct app would never have sent."""

    def __init__(self, status: int, code: int, message: str, violation: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.status, self.violation = status, violation
        self.body = {"message": message, "code": code, **details}


class Flag(IntFlag):
    """The message flags that matter here."""

    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    COMPONENTS_V2 = 1 << 15


class ChannelType(IntEnum):
    """What sort of conversation a channel is."""

    GUILD_TEXT = 0
    DM = 1
    GUILD_VOICE = 2
    GROUP_DM = 3
    GUILD_ANNOUNCEMENT = 5
    ANNOUNCEMENT_THREAD = 10
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    GUILD_STAGE_VOICE = 13
    GUILD_FORUM = 15


class Access(Enum):
    """What the bot may do in a channel: the status, code and words with which it is refused."""

    OPEN = (200, 0, "")
    MISSING_ACCESS = (403, 50001, "Missing Access")
    MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
    CLOSED_DMS = (403, 50007, "Cannot send messages to this user")


class State(Enum):
    """How far an interaction has come. Only the answered ones have a working token."""

    PENDING = auto()
    ANSWERED = auto()
    VOID = auto()


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody."""

    id: str
    name: str
    closed_dms: bool = False
    moderator: bool = False

    @property
    def permissions(self) -> str:
        """What they may do in a server."""
        return str(ORDINARY | (MANAGE_MESSAGES if self.moderator else 0))


@dataclass(slots=True, kw_only=True)
class Channel:
    """A conversation, and what the bot may do there."""

    id: str
    type: ChannelType = ChannelType.GUILD_TEXT
    guild_id: str | None = None
    recipient: str | None = None
    access: Access = Access.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file as it was sent."""

    filename: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A file on a message; the description is its alt text, and `says` what Discord says of it in place of the truth."""

    id: str
    filename: str
    description: str | None
    content: bytes
    url: str
    says: Mapping[str, Any] = field(default_factory=dict)
    redirect: str | None = None  # where whoever fetches it is sent on to

    @property
    def content_type(self) -> str | None:
        """What Discord takes it for, by its first bytes."""
        return next((kind for magic, kind in MAGIC.items() if self.content.startswith(magic)), None)

    def as_json(self, url: str) -> dict[str, Any]:
        """Show it as Discord's API does, at an address that works for a while."""
        about = {"id": self.id, "filename": self.filename, "size": len(self.content), "url": url, "proxy_url": url}
        about |= {"description": self.description, "content_type": self.content_type}
        if self.content_type == "image/png":
            about["width"], about["height"] = struct.unpack(">II", self.content[16:24])
        return {**about, **self.says}


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What a message became, and when."""

    time: float
    content: str
    attachments: list[Attachment]


@dataclass(slots=True, kw_only=True, eq=False)
class Message:
    """A message as it stands; `pings` collects everyone it was ever allowed to call."""

    id: str
    channel_id: str
    author: str
    content: str = ""
    embeds: list[Any] = field(default_factory=list)
    components: list[Any] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    forwards: "Message | None" = None
    flags: int = 0
    token: str | None = None  # of the interaction it answers
    metadata: Mapping[str, Any] | None = None  # what Discord tells of that interaction
    reader: str | None = None  # who sees it, where nobody else does
    edits: list[Edit] = field(default_factory=list)
    deleted: bool = False
    pings: list[str] = field(default_factory=list)

    @property
    def ephemeral(self) -> bool:
        """Whether only one person sees it."""
        return bool(self.flags & Flag.EPHEMERAL)

    @property
    def loading(self) -> bool:
        """Whether it still says that the bot is thinking."""
        return bool(self.flags & Flag.LOADING)

    @property
    def pictures(self) -> list[bytes]:
        """The pictures a reader sees; with components of the second version, only those that a component shows."""
        shown = self.attachments
        if self.flags & Flag.COMPONENTS_V2:
            urls = {str(node["url"]).removeprefix("attachment://") for node in nodes(self.components) if "url" in node}
            shown = [attachment for attachment in shown if attachment.filename in urls]
        return [a.content for a in shown if a.content_type and not self.deleted]

    @property
    def buttons(self) -> list[dict[str, Any]]:
        """Its buttons, in order."""
        return [node for node in nodes(self.components) if node.get("type") == BUTTON]

    @property
    def labels(self) -> list[str]:
        """The words on its buttons, in order."""
        return [str(button.get("label")) for button in self.buttons]


@dataclass(slots=True, kw_only=True)
class Interaction:
    """One use of a command or a button; whoever holds its token may answer it."""

    id: str
    token: str
    type: int
    channel_id: str
    user_id: str
    created: float
    user_installed: bool = False
    locale: str = "en-US"
    state: State = State.PENDING
    deferred: bool = False  # answered by "thinking", and nothing yet since
    followups: int = 0
    message: Message | None = None  # @original
    source: Message | None = None  # the message whose button was pressed
    answer: Mapping[str, Any] | None = None


@dataclass(slots=True, kw_only=True)
class Call:
    """One request that reached Discord; status 0 where nothing was processed."""

    time: float
    route: str
    path: str
    status: int = 0
    fault: Fault | None = None


@dataclass(slots=True, kw_only=True)
class World:
    """Everything Discord holds, and every mistake the app made."""

    application_id: str = "1100000000000000001"
    bot_token: str = "MTEwMDAwMDAwMDAwMDAwMDAwMQ.fake.token"
    public_key: str = ""
    interactions_endpoint_url: str | None = None
    attachment_size_limit: int = MAX_FILE  # bytes
    users: dict[str, User] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    interactions: dict[str, Interaction] = field(default_factory=dict)  # by token
    commands: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by guild, or "" for everywhere
    calls: list[Call] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.time
    root: str = ""  # of our own addresses
    _nonces: dict[tuple[str, str], Message] = field(default_factory=dict)
    _index: dict[str, Message] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def snowflake(self) -> str:
        """Make an id: milliseconds, then a counter."""
        return str((int(self.clock() * 1000) - EPOCH) << 22 | next(self._numbers) & 0x3FFFFF)

    def add_user(self, name: str, **about: Any) -> User:
        """Make somebody."""
        user = User(id=self.snowflake(), name=name, **about)
        return self.users.setdefault(user.id, user)

    def add_channel(self, **about: Any) -> Channel:
        """Make a channel."""
        channel = Channel(id=self.snowflake(), **about)
        return self.channels.setdefault(channel.id, channel)

    def direct(self, user: User) -> Channel:
        """Find or open the bot's own conversation with somebody."""
        for channel in self.channels.values():
            if channel.type is ChannelType.DM and channel.recipient == user.id:
                return channel
        access = Access.CLOSED_DMS if user.closed_dms else Access.OPEN
        return self.add_channel(type=ChannelType.DM, recipient=user.id, access=access)

    def see(self, channel_id: str) -> Channel:
        """Find a channel the bot can know of."""
        channel = self.channels.get(channel_id)
        if channel is None:
            raise Refusal(404, 10003, "Unknown Channel")
        if channel.access is Access.MISSING_ACCESS:
            raise Refusal(*channel.access.value)
        return channel

    def reach(self, channel_id: str) -> Channel:
        """Find a channel the bot may post to."""
        channel = self.see(channel_id)
        if channel.access is not Access.OPEN:
            raise Refusal(*channel.access.value)
        return channel

    def message(self, message_id: str) -> Message:
        """Find a message."""
        message = self._index.get(message_id)
        if message is None or message.deleted:
            raise Refusal(404, 10008, "Unknown Message")
        return message

    def interaction(self, token: str) -> Interaction:
        """Find the interaction that a token still opens."""
        found = self.interactions.get(token)
        if found is None or found.state is not State.ANSWERED:
            raise Refusal(404, 10015, "Unknown Webhook")
        if self.clock() - found.created > LIFETIME:
            raise Refusal(401, 50027, "Invalid Webhook Token")
        return found

    def expire(self, token: str) -> None:
        """Let an interaction be older than its token lives."""
        self.interactions[token].created = self.clock() - LIFETIME - 1

    def post(self, channel_id: str, payload: Mapping[str, Any], files: Mapping[int, Upload], **about: Any) -> Message:
        """Put a message into a channel, unless the same nonce already did."""
        key = (channel_id, str(payload.get("nonce")))
        if payload.get("enforce_nonce") and key in self._nonces:
            return self._nonces[key]
        message = Message(id=self.snowflake(), channel_id=channel_id, **({"author": self.application_id} | about))
        message.flags |= int(payload.get("flags") or 0)
        self._write(message, payload, files)
        self.messages.append(message)
        self._index[message.id] = message
        if payload.get("nonce") is not None:
            self._nonces[key] = message
        return message

    def edit(self, message: Message, payload: Mapping[str, Any], files: Mapping[int, Upload]) -> Message:
        """Change a message: what is not mentioned stays, but attachments left out of their list go."""
        message.flags = message.flags & ~Flag.LOADING | int(payload.get("flags") or 0) & Flag.COMPONENTS_V2
        self._write(message, payload, files)
        edit = Edit(time=self.clock(), content=message.content, attachments=list(message.attachments))
        message.edits.append(edit)
        return message

    def _write(self, message: Message, payload: Mapping[str, Any], files: Mapping[int, Upload]) -> None:
        message.content = payload.get("content", message.content) or ""
        message.embeds = payload.get("embeds", message.embeds) or []
        message.components = payload.get("components", message.components) or []
        message.attachments = self._attached(message, payload.get("attachments"), files)
        if payload.keys() & {"content", "components"}:
            texts = [message.content]
            texts += [str(n.get("content")) for n in nodes(message.components) if n.get("type") == TEXT_DISPLAY]
            called = pings("\n".join(texts), payload.get("allowed_mentions"))
            message.pings += [ping for ping in called if ping not in message.pings]

    def _attached(self, message: Message, listed: list[Any] | None, files: Mapping[int, Upload]) -> list[Attachment]:
        if listed is None:
            listed = [{"id": a.id} for a in message.attachments] + [{"id": n} for n in sorted(files)]
        existing = {attachment.id: attachment for attachment in message.attachments}
        return [
            existing.get(str(entry["id"])) or self._stored(message.channel_id, entry, files[int(entry["id"])])
            for entry in listed
        ]

    def _stored(self, channel_id: str, entry: Mapping[str, Any], file: Upload) -> Attachment:
        id_, name = self.snowflake(), entry.get("filename") or file.filename
        url = f"{self.root}/attachments/{channel_id}/{id_}/{name}"
        return Attachment(id=id_, filename=name, description=entry.get("description"), content=file.content, url=url)

    def address(self, file: Attachment) -> str:
        """Sign the address of a file: whoever has it may fetch the file for a day."""
        expires = f"{int(self.clock()) + SIGNED_FOR:x}"
        return f"{file.url}?ex={expires}&is={int(self.clock()):x}&hm={self._seal(file, expires)}"

    def may_fetch(self, file: Attachment, query: Mapping[str, str]) -> bool:
        """Tell whether an address was signed by us, and not too long ago."""
        expires = query.get("ex", "0")
        return int(expires, 16) > self.clock() and query.get("hm") == self._seal(file, expires)

    def show_file(self, file: Attachment) -> dict[str, Any]:
        """Show a file as Discord does."""
        return file.as_json(self.address(file))

    def _seal(self, file: Attachment, expires: str) -> str:
        return hmac.new(self.bot_token.encode(), f"{file.id} {expires}".encode(), hashlib.sha256).hexdigest()

    def stamp(self, snowflake: str) -> str:
        """Tell when an id was made, as Discord writes times."""
        return datetime.fromtimestamp(((int(snowflake) >> 22) + EPOCH) / 1000, UTC).isoformat()


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Walk over every object in some components, outermost first."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from nodes(child)


def pings(content: str, allowed: Mapping[str, Any] | None) -> list[str]:
    """List whom a text calls. Without `allowed_mentions` that is everyone it names, even inside a code span."""
    found = [mention.replace("<@!", "<@") for mention in MENTION.findall(content)]
    if allowed is None:
        return list(dict.fromkeys(found))
    parse = set(allowed.get("parse") or [])
    named = {f"<@{user}>" for user in allowed.get("users") or []} | {f"<@&{role}>" for role in allowed.get("roles") or []}
    kinds = {"@": "everyone", "<@&": "roles", "<@": "users"}
    prefixes = {kind: prefix for prefix, kind in kinds.items()}
    by_kind = [next(k for k, prefix in prefixes.items() if mention.startswith(prefix)) for mention in found]
    return list(dict.fromkeys(m for m, kind in zip(found, by_kind, strict=True) if kind in parse or m in named))
