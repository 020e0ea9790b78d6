"""What an admin gives to Slack and Discord when making the app, written from the code that will answer.

https://docs.slack.dev/reference/app-manifest and https://discord.com/developers/docs/interactions/application-commands
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import discord as discord_py
import yaml

from bot import slack, slack_install
from bot.discord_commands import Translator, Tree

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

PLACEHOLDER: Final = "https://your-bot.example.com"


def for_slack(url: str = PLACEHOLDER) -> dict[str, Any]:
    """Return the manifest of the Slack app that is served at `url`."""
    events = f"{url.rstrip('/')}/slack/events"
    return {
        "display_information": {
            "name": "imagine",
            "description": "Draws pictures from words",
            "background_color": "#2b2d42",
        },
        "features": {
            "app_home": {"home_tab_enabled": False, "messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
            "bot_user": {"display_name": "imagine", "always_online": True},
            "shortcuts": [
                {
                    "name": "Imagine this",
                    "type": "message",
                    "callback_id": slack.THIS,
                    "description": "Draw what a message says, or from its picture",
                },
                {
                    "name": "Imagine",
                    "type": "global",
                    "callback_id": slack.NEW,
                    "description": "Draw a picture of what you type",
                },
            ],
            "slash_commands": [
                {
                    "command": "/imagine",
                    "description": "Draw a picture of what you type",
                    "usage_hint": "a red fox in the snow --ar 3:2",
                    "url": events,
                    "should_escape": False,
                }
            ],
        },
        "oauth_config": {
            "redirect_urls": [f"{url.rstrip('/')}{slack_install.REDIRECT}"],
            "scopes": {"bot": list(slack.SCOPES)},
        },
        "settings": {
            "event_subscriptions": {"request_url": events, "bot_events": list(slack.EVENTS)},
            "interactivity": {"is_enabled": True, "request_url": events},
            "org_deploy_enabled": False,
            "socket_mode_enabled": False,
            "token_rotation_enabled": False,
        },
    }


def for_discord() -> list[dict[str, Any]]:
    """Return the commands as they are registered with Discord."""
    tree, translator = Tree(discord_py.Client(intents=discord_py.Intents(guilds=True))), Translator()
    return [_at_once(command.get_translated_payload(tree, translator)) for command in tree.get_commands()]


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """Return the result of work that never waits: the library's is asynchronous because other translators are."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("that waited")


def as_yaml(manifest: Any) -> str:
    """Write what Slack's page takes in its YAML tab, in our order, a line for each setting."""
    return yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True, width=math.inf)


def as_json(commands: Any) -> str:
    """Write what Discord's API takes."""
    return json.dumps(commands, indent=2, ensure_ascii=False) + "\n"
