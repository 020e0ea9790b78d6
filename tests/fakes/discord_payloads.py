"""Build interactions as Discord sends them.

https://discord.com/developers/docs/interactions/receiving-and-responding
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from tests.fakes.discord_routes import Kind, owners, show, show_user
from tests.fakes.discord_world import ORDINARY, Access, Attachment, Channel, ChannelType, Interaction, Message, User, World

PERMISSIONS = str(ORDINARY)
MESSAGE_COMMAND = 3


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


def command(world: World, name: str, options: Mapping[str, Any], command_id: str, focused: str | None = None) -> dict[str, Any]:
    """Build the `data` of a command, or of a command half typed with the cursor in one option."""
    listed: list[dict[str, Any]] = []
    for key, value in options.items():
        kind = next(option for type_, option in KINDS if isinstance(value, type_))
        entry = {"name": key, "type": kind, "value": value.id if isinstance(value, Attachment) else value}
        listed.append(entry | ({"focused": True} if key == focused else {}))
    files = [value for value in options.values() if isinstance(value, Attachment)]
    return {"id": command_id, "name": name, "type": 1, "options": listed, **_resolved(world, files)}


def message_command(world: World, name: str, target: Message, command_id: str) -> dict[str, Any]:
    """Build the `data` of a command from the menu of a message."""
    resolved = {"messages": {target.id: show(world, target)}}
    return {"id": command_id, "name": name, "type": MESSAGE_COMMAND, "target_id": target.id, "resolved": resolved}


def modal(world: World, custom_id: str, components: list[Any], files: list[Attachment]) -> dict[str, Any]:
    """Build the `data` of a modal that was filled in."""
    return {"custom_id": custom_id, "components": components, **_resolved(world, files)}


def _resolved(world: World, files: list[Attachment]) -> dict[str, Any]:
    shown = {file.id: {**world.show_file(file), "ephemeral": True} for file in files}
    return {"resolved": {"attachments": shown}} if shown else {}


def interaction(world: World, about: Interaction, data: Mapping[str, Any], *, channel: Channel, user: User) -> dict[str, Any]:
    """Build the whole of an interaction."""
    place = _guild(channel, user, world) if channel.guild_id else {"user": show_user(user)}
    source = {"message": show(world, about.source)} if about.source else {}
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
        "locale": about.locale,
        "app_permissions": PERMISSIONS if channel.access is Access.OPEN else "0",
        "entitlements": [],
        "entitlement_sku_ids": [],
        "authorizing_integration_owners": owners(world, about),
        "context": _context(channel),
        "attachment_size_limit": world.attachment_size_limit,
    }


def ping(world: World) -> dict[str, Any]:
    """Build the question whether anybody is there."""
    about = {"id": world.snowflake(), "application_id": world.application_id, "type": Kind.PING, "version": 1}
    return {**about, "token": "ping", "entitlements": [], "user": show_user(User(id=world.snowflake(), name="discord"))}


def press(message: Message, button: str) -> dict[str, Any]:
    """Build the `data` of a button pressed: one that is there, by its words or its custom_id."""
    for number, node in enumerate(message.buttons, 1):
        if button in {node.get("label"), node.get("custom_id")} and not node.get("disabled") and not message.deleted:
            return {"component_type": 2, "custom_id": node["custom_id"], "id": number}
    raise KeyError(f"There is no button {button!r} to press, but {message.labels}.")


def _context(channel: Channel) -> Context:
    if channel.guild_id:
        return Context.GUILD
    return Context.BOT_DM if channel.type is ChannelType.DM else Context.PRIVATE_CHANNEL


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
        "permissions": user.permissions,
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
