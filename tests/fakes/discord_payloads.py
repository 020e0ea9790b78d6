"""Build interactions as Discord sends them.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from tests.fakes.discord_routes import Kind, show, show_user
from tests.fakes.discord_world import Attachment, Channel, ChannelType, Interaction, Message, User, World

PERMISSIONS = "2248473465835073"  # what an ordinary member may do
MAX_ATTACHMENT = 10485760  # bytes


class Context(IntEnum):
    """Where an interaction happens."""

    GUILD = 0
    BOT_DM = 1
    PRIVATE_CHANNEL = 2


class Option(IntEnum):
    """What sort of value an option of a command has."""

    STRING = 3
    INTEGER = 4
    BOOLEAN = 5
    NUMBER = 10
    ATTACHMENT = 11


KINDS: list[tuple[type, Option]] = [  # in this order: a bool is an int, too
    (str, Option.STRING),
    (bool, Option.BOOLEAN),
    (int, Option.INTEGER),
    (float, Option.NUMBER),
    (Attachment, Option.ATTACHMENT),
]


def command(name: str, options: Mapping[str, Any], command_id: str, focused: str | None = None) -> dict[str, Any]:
    """Build the `data` of a command, or of a command half typed with the cursor in one option."""
    listed: list[dict[str, Any]] = []
    for key, value in options.items():
        kind = next(option for type_, option in KINDS if isinstance(value, type_))
        entry = {"name": key, "type": kind, "value": value.id if isinstance(value, Attachment) else value}
        listed.append(entry | ({"focused": True} if key == focused else {}))
    files = {value.id: value.as_json() for value in options.values() if isinstance(value, Attachment)}
    resolved = {"resolved": {"attachments": files}} if files else {}
    return {"id": command_id, "name": name, "type": 1, "options": listed, **resolved}


def interaction(
    world: World, about: Interaction, data: Mapping[str, Any], *, channel: Channel, user: User, locale: str
) -> dict[str, Any]:
    """Build the whole of an interaction."""
    place = _guild(channel, user, world) if channel.guild_id else {"user": show_user(user)}
    source = {"message": show(world, about.source)} if about.source else {}
    owner = {"1": user.id} if about.user_installed else {"0": channel.guild_id or "0"}
    return {
        "id": about.id,
        "application_id": world.application_id,
        "type": about.type,
        "data": dict(data),
        **place,
        **source,
        "channel_id": channel.id,
        "channel": _channel(channel),
        "token": about.token,
        "version": 1,
        "locale": locale,
        "app_permissions": PERMISSIONS,
        "entitlements": [],
        "entitlement_sku_ids": [],
        "authorizing_integration_owners": owner,
        "context": _context(channel),
        "attachment_size_limit": MAX_ATTACHMENT,
    }


def ping(world: World) -> dict[str, Any]:
    """Build the question whether anybody is there."""
    about = {"id": world.snowflake(), "application_id": world.application_id, "type": Kind.PING, "version": 1}
    return {**about, "token": "ping", "entitlements": [], "user": show_user(User(id=world.snowflake(), name="discord"))}


def press(message: Message, custom_id: str) -> dict[str, Any]:
    """Build the `data` of a button pressed."""
    found = next((number for number, b in enumerate(message.buttons, 1) if b.get("custom_id") == custom_id), 0)
    return {"component_type": 2, "custom_id": custom_id, "id": found}


def _context(channel: Channel) -> Context:
    by_type = {ChannelType.GUILD_TEXT: Context.GUILD, ChannelType.DM: Context.BOT_DM}
    return by_type.get(channel.type, Context.PRIVATE_CHANNEL)


def _channel(channel: Channel) -> dict[str, Any]:
    about: dict[str, Any] = {"id": channel.id, "type": channel.type, "flags": 0, "last_message_id": None}
    if not channel.guild_id:
        return about
    about |= {"guild_id": channel.guild_id, "name": "general", "parent_id": None, "position": 0, "topic": None}
    return {**about, "nsfw": False, "rate_limit_per_user": 0, "permissions": PERMISSIONS}


def _guild(channel: Channel, user: User, world: World) -> dict[str, Any]:
    member: dict[str, Any] = {
        "user": show_user(user),
        "roles": [],
        "permissions": PERMISSIONS,
        "joined_at": world.stamp(user.id),
        "premium_since": None,
        "communication_disabled_until": None,
        "unusual_dm_activity_until": None,
        **dict.fromkeys(("nick", "avatar", "banner", "avatar_decoration_data", "collectibles")),
        **dict.fromkeys(("pending", "mute", "deaf"), False),
        "flags": 0,
    }
    guild: dict[str, Any] = {"id": channel.guild_id, "locale": "en-US", "features": []}
    return {"guild": guild, "guild_id": channel.guild_id, "guild_locale": "en-US", "member": member}
