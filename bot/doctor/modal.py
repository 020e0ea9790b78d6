"""Look at the deployment on Modal, where its package is installed: https://modal.com/docs"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bot import discord, slack
from bot.doctor.finding import Finding, right, unknown, wrong

if TYPE_CHECKING:
    from bot.doctor.setup import Setup

APP: Final = "imagine"  # these two are as in bot/deploy.py, which not every machine can import
SECRETS: Final = {"imagine-chat": (*slack.ENVIRONMENT, *discord.ENVIRONMENT)}


async def deployment(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is deployed on Modal, and its secrets there have their keys."""
    try:
        modal = importlib.import_module("modal")  # a bot on one machine goes without
    except ImportError:
        yield unknown("Modal was skipped: its package is not installed here.", "Only a bot that runs there needs it.")
        return
    if not modal.config.config.get("token_id"):
        yield unknown("Modal was skipped: there is no token for it here.", "If the bot runs there: `modal token new`.")
        return
    try:
        client = await modal.Client.from_env.aio()
        try:
            deployed = await _app(modal, client, setup)
            yield deployed
            for name, keys in setup.modal_secrets.items() if deployed.ok is not None else ():
                yield await _secret(modal, client, name, keys)
        finally:
            await client.close.aio()
    except modal.exception.AuthError:
        yield wrong("Modal does not take the token that is here.", "Make a new one: `modal token new`.")
    except modal.exception.Error as error:
        yield wrong(f"Modal could not be asked ({type(error).__name__}).", "Try again; status.modal.com says how Modal is.")


async def _app(modal: Any, client: Any, setup: Setup) -> Finding:
    try:
        await modal.App.lookup.aio(setup.modal_app, client=client)
    except modal.exception.NotFoundError:
        is_meant = str(urlsplit(setup.url or "").hostname).endswith(".modal.run")
        what = f"Modal has no app {setup.modal_app}."
        return Finding(ok=False if is_meant else None, what=what, fix="If the bot is to run there: `modal deploy -m bot`.")
    return right(f"Modal has the app {setup.modal_app}.")


async def _secret(modal: Any, client: Any, name: str, keys: Sequence[str]) -> Finding:
    try:
        await modal.Secret.from_name(name, required_keys=list(keys), client=client).hydrate.aio()
    except (modal.exception.NotFoundError, modal.exception.InvalidError):
        fix = f"modal.com/secrets › {name} (make it if it is not there) › Edit: {', '.join(keys)}."
        return wrong(f"Modal has no secret {name} with all its keys.", fix)
    return right(f"Modal has the secret {name}, with all its keys.")
