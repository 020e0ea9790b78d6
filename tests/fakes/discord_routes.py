"""Discord's routes that an image bot uses, named as in Discord's OpenAPI document.

https://discord.com/developers/docs/reference
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from tests.fakes.discord_bodies import Body, check_message, check_schema
from tests.fakes.discord_forms import check_choices, check_modal
from tests.fakes.discord_world import Flag, Interaction, Message, Refusal, State, User, World

MAX_FOLLOWUPS = 5  # of a user's own app where the bot is no member
LAG = 20  # milliseconds
DM = 1


class Kind(IntEnum):
    """What an interaction is."""

    PING = 1
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class Callback(IntEnum):
    """How an interaction is answered."""

    PONG = 1
    MESSAGE = 4
    DEFERRED = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


TALK = {Callback.MESSAGE, Callback.DEFERRED}
FORMS: dict[Any, Callable[[Mapping[str, Any]], None]] = {Callback.MODAL: check_modal, Callback.CHOICES: check_choices}
CHANGE = {Callback.UPDATE, Callback.DEFERRED_UPDATE}
ANSWERS: dict[int, set[Callback]] = {
    Kind.PING: {Callback.PONG},
    Kind.COMMAND: TALK | {Callback.MODAL},
    Kind.COMPONENT: TALK | CHANGE | {Callback.MODAL},
    Kind.AUTOCOMPLETE: {Callback.CHOICES},
    Kind.MODAL: TALK | CHANGE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: the parts of its path, its query and its body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Body


Reply = Any  # JSON, or None for 204
Handler = Callable[[World, Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One route. `is_open` ones need no bot token: what they need is in the path."""

    method: str
    path: str
    name: str
    do: Handler
    is_open: bool = False


def settle(world: World, interaction: Interaction, body: Body) -> None:
    """Take an interaction's answer, whichever way it came."""
    answer = body.payload
    if interaction.state is not State.PENDING:
        raise Refusal(400, 40060, "Interaction has already been acknowledged.")
    check_schema("create_interaction_response", answer)
    kind = answer.get("type") if isinstance(answer, dict) else None
    nothing_to_change = kind in CHANGE and interaction.source is None
    if kind not in ANSWERS[interaction.type] or nothing_to_change:
        problem = f"An interaction of type {interaction.type} was answered by {answer}."
        raise Refusal(400, 50035, "Invalid Form Body", problem)
    data = answer.get("data") or {}
    if kind in {Callback.MESSAGE, Callback.UPDATE}:
        before = interaction.source if kind == Callback.UPDATE else None
        check_message("create_interaction_response", Body(payload=data, files=body.files), before)
    if form := FORMS.get(kind):
        form(data)
    interaction.state, interaction.answer = State.ANSWERED, answer
    interaction.deferred = kind == Callback.DEFERRED
    interaction.message = _original(world, interaction, Callback(kind), Body(payload=data, files=body.files))


def _original(world: World, interaction: Interaction, kind: Callback, said: Body) -> Message | None:
    if kind is Callback.MESSAGE:
        return world.post(interaction.channel_id, said.payload, said.files, **_about(world, interaction, said))
    if kind is Callback.DEFERRED:
        flags = int(said.payload.get("flags") or 0) & Flag.EPHEMERAL | Flag.LOADING
        return world.post(interaction.channel_id, {"flags": flags}, {}, **_about(world, interaction, said))
    if kind is Callback.UPDATE and interaction.source:
        return world.edit(interaction.source, said.payload, said.files)
    return interaction.source if kind is Callback.DEFERRED_UPDATE else None


def _about(world: World, interaction: Interaction, said: Body) -> dict[str, Any]:
    """Say of a new message which interaction it answers, and who alone sees it."""
    ephemeral = int(said.payload.get("flags") or 0) & Flag.EPHEMERAL
    metadata: dict[str, Any] = {
        "id": interaction.id,
        "type": interaction.type,
        "user": show_user(world.users[interaction.user_id]),
        "authorizing_integration_owners": owners(world, interaction),
    }
    if interaction.type == Kind.COMPONENT and interaction.source:
        metadata["interacted_message_id"] = interaction.source.id
    if interaction.type == Kind.MODAL:
        begun = {"type": Kind.COMMAND} | ({"type": Kind.COMPONENT} if interaction.source else {})
        metadata["triggering_interaction_metadata"] = {**metadata, **begun}
        if interaction.source:
            metadata["triggering_interaction_metadata"]["interacted_message_id"] = interaction.source.id
    reader = interaction.user_id if ephemeral else None
    return {"token": interaction.token, "metadata": metadata, "reader": reader}


def owners(world: World, interaction: Interaction) -> dict[str, str]:
    """Say on whose behalf the app is there: a server's, or one person's."""
    if interaction.user_installed:
        return {"1": interaction.user_id}
    return {"0": world.channels[interaction.channel_id].guild_id or "0"}


# Answering interactions


async def _theirs(world: World, asked: Asked) -> tuple[Interaction, Message]:
    interaction = await _webhook(world, asked)
    wanted = asked.path.get("message_id", "@original")
    message = interaction.message if wanted == "@original" else world.message(wanted)
    if message is None or message.deleted or (wanted != "@original" and message.token != interaction.token):
        raise Refusal(404, 10008, "Unknown Message")
    return interaction, message


async def _webhook(world: World, asked: Asked) -> Interaction:
    for _ in range(LAG):
        found = world.interactions.get(asked.path["token"])
        if found is None or found.state is not State.PENDING:
            break
        await asyncio.sleep(0.001)  # an answer that left the app before this request did may be a little behind it
    if asked.path["application_id"] != world.application_id:
        raise Refusal(404, 10015, "Unknown Webhook")
    return world.interaction(asked.path["token"])


async def _callback(world: World, asked: Asked) -> Reply:
    interaction = world.interactions.get(asked.path["token"])
    if interaction is None or interaction.id != asked.path["id"] or interaction.state is State.VOID:
        raise Refusal(404, 10062, "Unknown interaction")
    settle(world, interaction, asked.body)
    if asked.query.get("with_response", "0").lower() not in {"1", "true"}:
        return None
    message = interaction.message
    about = {"id": interaction.id, "type": interaction.type, "response_message_id": message.id if message else None}
    resource = {"type": asked.body.payload["type"]} | ({"message": show(world, message)} if message else {})
    return {"interaction": about, "resource": resource}


async def _get_theirs(world: World, asked: Asked) -> Reply:
    return show(world, (await _theirs(world, asked))[1])


async def _edit_theirs(world: World, asked: Asked) -> Reply:
    interaction, message = await _theirs(world, asked)
    name = "update_webhook_message" if "message_id" in asked.path else "update_original_webhook_message"
    check_schema(name, asked.body.payload)
    check_message(name, asked.body, message)
    if message is interaction.message:
        interaction.deferred = False
    return show(world, world.edit(message, asked.body.payload, asked.body.files))


async def _delete_theirs(world: World, asked: Asked) -> Reply:
    (await _theirs(world, asked))[1].deleted = True


async def _follow_up(world: World, asked: Asked) -> Reply:
    interaction = await _webhook(world, asked)
    check_schema("execute_webhook", asked.body.payload)
    check_message("execute_webhook", asked.body)
    if interaction.deferred and interaction.message:  # the first one takes the place of "thinking"
        interaction.deferred = False
        return show(world, world.edit(interaction.message, asked.body.payload, asked.body.files))
    interaction.followups += 1
    if interaction.user_installed and interaction.followups > MAX_FOLLOWUPS:
        raise Refusal(400, 40094, "This interaction has reached the maximum number of follow-up messages")
    about = _about(world, interaction, asked.body)
    return show(world, world.post(interaction.channel_id, asked.body.payload, asked.body.files, **about))


# Acting as the bot


async def _create_message(world: World, asked: Asked) -> Reply:
    channel = world.reach(asked.path["channel_id"])
    check_schema("create_message", asked.body.payload)
    check_message("create_message", asked.body)
    return show(world, world.post(channel.id, asked.body.payload, asked.body.files))


def _in_channel(world: World, asked: Asked) -> Message:
    message = world.message(asked.path["message_id"])
    if world.see(asked.path["channel_id"]).id != message.channel_id or message.ephemeral:
        raise Refusal(404, 10008, "Unknown Message")
    return message


async def _get_message(world: World, asked: Asked) -> Reply:
    return show(world, _in_channel(world, asked))


async def _edit_message(world: World, asked: Asked) -> Reply:
    message = _in_channel(world, asked)
    if message.author != world.application_id:
        raise Refusal(403, 50005, "Cannot edit a message authored by another user")
    check_schema("update_message", asked.body.payload)
    check_message("update_message", asked.body, message)
    return show(world, world.edit(message, asked.body.payload, asked.body.files))


async def _delete_message(world: World, asked: Asked) -> Reply:
    message = _in_channel(world, asked)
    if message.author != world.application_id:
        raise Refusal(403, 50013, "Missing Permissions")
    message.deleted = True


async def _get_channel(world: World, asked: Asked) -> Reply:
    channel = world.see(asked.path["channel_id"])
    people = [show_user(world.users[channel.recipient])] if channel.recipient else []
    about = {"id": channel.id, "type": channel.type, "last_message_id": None, "flags": 0}
    if channel.type == DM:
        return {**about, "recipients": people}
    return {**about, "guild_id": channel.guild_id, "name": "general", "position": 0, "permission_overwrites": []}


async def _open_dm(world: World, asked: Asked) -> Reply:
    check_schema("create_dm", asked.body.payload)
    user = world.users.get(str((asked.body.payload or {}).get("recipient_id")))
    if user is None:
        raise Refusal(400, 50033, "Invalid Recipient(s)")
    channel = world.direct(user)
    return {"id": channel.id, "type": DM, "last_message_id": None, "flags": 0, "recipients": [show_user(user)]}


async def _me(world: World, _asked: Asked) -> Reply:
    return {**show_user(_bot(world)), "bot": True, "verified": True, "mfa_enabled": False, "email": None}


async def _get_user(world: World, asked: Asked) -> Reply:
    user = world.users.get(asked.path["user_id"])
    if user is None:
        raise Refusal(404, 10013, "Unknown User")
    return show_user(user)


async def _application(world: World, _asked: Asked) -> Reply:
    about: dict[str, Any] = {
        "id": world.application_id,
        "name": "imagine",
        "icon": None,
        "description": "",
        "summary": "",
    }
    about |= {"bot_public": True, "bot_require_code_grant": False, "team": None, "flags": 0}
    about |= {"verify_key": world.public_key, "interactions_endpoint_url": world.interactions_endpoint_url}
    return {**about, "owner": show_user(_bot(world)), "bot": show_user(_bot(world)), "hook": True, "redirect_uris": []}


async def _put_commands(world: World, asked: Asked) -> Reply:
    guild = asked.path.get("guild_id", "")
    check_schema("bulk_set_application_commands", asked.body.payload)
    known = {command["name"]: command["id"] for command in world.commands.get(guild, [])}
    fixed = {"application_id": world.application_id, "version": world.snowflake()}
    defaults = {"type": 1, "description": "", "default_member_permissions": None, "nsfw": False}
    defaults |= {"name_localizations": None, "description_localizations": None}
    world.commands[guild] = [
        {**defaults, **_kept(command), **fixed, "id": known.get(command["name"]) or world.snowflake()}
        for command in asked.body.payload or []
    ]
    return world.commands[guild]


def _kept(command: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a command as Discord does, which does not repeat that an option is not required."""
    options = [{k: v for k, v in option.items() if (k, v) != ("required", False)} for option in command.get("options") or []]
    return {**command, "options": options}


async def _get_commands(world: World, asked: Asked) -> Reply:
    return world.commands.get(asked.path.get("guild_id", ""), [])


def show(world: World, message: Message) -> dict[str, Any]:
    """Show a message as Discord's API does: with components of the second version it lists no attachments."""
    attachments = [] if message.flags & Flag.COMPONENTS_V2 else [world.show_file(a) for a in message.attachments]
    shown = {
        "id": message.id,
        "channel_id": message.channel_id,
        "author": show_user(world.users.get(message.author) or _bot(world)),
        "content": message.content,
        "embeds": message.embeds,
        "components": message.components,
        "attachments": attachments,
        "flags": message.flags,
        "timestamp": world.stamp(message.id),
        "edited_timestamp": world.stamp(world.snowflake()) if message.edits else None,
        "type": 20 if message.token else 0,
    }
    if message.forwards:
        there = show(world, message.forwards)
        inside = (
            "type",
            "content",
            "embeds",
            "attachments",
            "timestamp",
            "edited_timestamp",
            "flags",
            "mentions",
            "components",
        )
        shown["message_snapshots"] = [{"message": {key: there[key] for key in inside}}]
        shown["message_reference"] = {"type": 1, "message_id": there["id"], "channel_id": there["channel_id"]}
    if message.token:
        shown |= {"webhook_id": world.application_id, "application_id": world.application_id}
        shown |= {"interaction_metadata": message.metadata}
    return {**shown, "tts": False, "pinned": False, "mention_everyone": False, "mentions": [], "mention_roles": []}


def show_user(user: User) -> dict[str, Any]:
    """Show somebody as Discord does."""
    about: dict[str, Any] = {"id": user.id, "username": user.name, "global_name": user.name.title(), "avatar": None}
    about |= {"discriminator": "0", "public_flags": 0, "avatar_decoration_data": None, "primary_guild": None}
    return {**about, "clan": None, "collectibles": None}


def _bot(world: World) -> User:
    return User(id=world.application_id, name="imagine")


HOOK = "/webhooks/{application_id}/{token}"
ONE = "/channels/{channel_id}/messages/{message_id}"
COMMANDS = "/applications/{application_id}/commands"
GUILD_COMMANDS = "/applications/{application_id}/guilds/{guild_id}/commands"

_TABLE: list[tuple[str, str, str, Handler]] = [
    ("POST", "/interactions/{id}/{token}/callback", "create_interaction_response", _callback),
    ("POST", HOOK, "execute_webhook", _follow_up),
    ("GET", f"{HOOK}/messages/@original", "get_original_webhook_message", _get_theirs),
    ("PATCH", f"{HOOK}/messages/@original", "update_original_webhook_message", _edit_theirs),
    ("DELETE", f"{HOOK}/messages/@original", "delete_original_webhook_message", _delete_theirs),
    ("GET", HOOK + "/messages/{message_id}", "get_webhook_message", _get_theirs),
    ("PATCH", HOOK + "/messages/{message_id}", "update_webhook_message", _edit_theirs),
    ("DELETE", HOOK + "/messages/{message_id}", "delete_webhook_message", _delete_theirs),
    ("POST", "/channels/{channel_id}/messages", "create_message", _create_message),
    ("GET", ONE, "get_message", _get_message),
    ("PATCH", ONE, "update_message", _edit_message),
    ("DELETE", ONE, "delete_message", _delete_message),
    ("GET", "/channels/{channel_id}", "get_channel", _get_channel),
    ("POST", "/users/@me/channels", "create_dm", _open_dm),
    ("GET", "/users/@me", "get_my_user", _me),
    ("GET", "/users/{user_id}", "get_user", _get_user),
    ("GET", "/applications/@me", "get_my_application", _application),
    ("GET", "/oauth2/applications/@me", "get_my_oauth2_application", _application),
    ("PUT", COMMANDS, "bulk_set_application_commands", _put_commands),
    ("GET", COMMANDS, "list_application_commands", _get_commands),
    ("PUT", GUILD_COMMANDS, "bulk_set_guild_application_commands", _put_commands),
    ("GET", GUILD_COMMANDS, "list_guild_application_commands", _get_commands),
]
ROUTES = [
    Route(method=method, path=path, name=name, do=do, is_open=path.startswith(("/webhooks", "/interactions")))
    for method, path, name, do in _TABLE
]
