"""Find what is set up wrongly, and say in one line each what it is and what to click. It changes nothing anywhere.

It asks https://docs.slack.dev/reference/methods/auth.test, https://discord.com/developers/docs/resources/application
and the bot's own doors. A secret is never printed, only what it looks like.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from bot import __version__, discord, manifest, slack
from bot.errors import Busy
from bot.status import is_here

PATIENCE: Final = 10  # seconds for one answer
ACKNOWLEDGED: Final = 3  # seconds: what Slack and Discord wait for
SKEW: Final = 60  # seconds that a clock may be off: signatures are good for five minutes
HARMLESS: Final = b"ssl_check=1"  # Slack sends it to see whether we are there; it asks for nothing
CLIENT: Final = f"DiscordBot (https://discord.com/developers/docs, {__version__})"  # Discord wants an address in it

ANSWERS: Final = {True: "✓ right  ", False: "✗ wrong  ", None: "– unknown"}
PLATFORMS: Final = {"Slack": slack.ENVIRONMENT, "Discord": discord.ENVIRONMENT}
SLACK_APP: Final = "api.slack.com/apps › your app › "
DISCORD_APP: Final = "discord.com/developers/applications › your application › "
REINSTALL: Final = SLACK_APP + "OAuth & Permissions › Reinstall to Workspace; copy the new Bot User OAuth Token."
REGISTER: Final = "Run `imagine register`; for a bot on Modal, `modal run -m bot.deploy::register`."

SLACK_SIGNS: Final = "a Slack signing secret (32 hexadecimal digits)"
SLACK_BOT: Final = "a Slack bot token (xoxb-…)"
SLACK_EXPIRING: Final = "a Slack token that expires (xoxe…)"
DISCORD_KEY: Final = "a Discord public key (64 hexadecimal digits)"
DISCORD_ID: Final = "a Discord application ID (17 to 20 digits)"
DISCORD_BOT: Final = "a Discord bot token (three parts with dots between)"
LOOKS: Final = {
    SLACK_SIGNS: r"[0-9a-f]{32}",
    SLACK_BOT: r"xoxb-[0-9A-Za-z-]+",
    SLACK_EXPIRING: r"xoxe[.-].+",
    "a Slack user token (xoxp-…)": r"xoxp-.+",
    "a Slack app-level token (xapp-…)": r"xapp-.+",
    DISCORD_KEY: r"[0-9A-Fa-f]{64}",
    DISCORD_ID: r"[0-9]{17,20}",
    DISCORD_BOT: r"[0-9A-Za-z_-]{20,}\.[0-9A-Za-z_-]{3,}\.[0-9A-Za-z_-]{3,}",
    "a Discord client secret (32 characters)": r"[0-9A-Za-z_-]{32}",
}
VARIABLES: Final = {  # what each holds, and where it is
    "SLACK_SIGNING_SECRET": (SLACK_SIGNS, SLACK_APP + "Basic Information › App Credentials › Signing Secret › Show"),
    "SLACK_BOT_TOKEN": (SLACK_BOT, SLACK_APP + "OAuth & Permissions › Bot User OAuth Token (there once the app is installed)"),
    "DISCORD_PUBLIC_KEY": (DISCORD_KEY, DISCORD_APP + "General Information › Public Key"),
    "DISCORD_APPLICATION_ID": (DISCORD_ID, DISCORD_APP + "General Information › Application ID"),
    "DISCORD_BOT_TOKEN": (DISCORD_BOT, DISCORD_APP + "Bot › Reset Token"),
}
TOKEN_ERRORS: Final = {  # Slack's words for a token that does not work
    "invalid_auth": "Copy the Bot User OAuth Token anew: " + SLACK_APP + "OAuth & Permissions.",
    "not_authed": "Copy the Bot User OAuth Token anew: " + SLACK_APP + "OAuth & Permissions.",
    "account_inactive": "The app was removed from the workspace. " + REINSTALL,
    "token_revoked": "Somebody revoked it. " + REINSTALL,
    "token_expired": "Make the app anew from `imagine manifest slack`, which leaves token rotation off.",
}
OTHER_MODELS: Final = "the models on offer"
MODAL_APP: Final = "imagine"  # these two are as in bot/deploy.py, which not every machine can import
MODAL_SECRETS: Final = {"imagine-chat": (*slack.ENVIRONMENT, *discord.ENVIRONMENT)}
CHANNEL_IDS: Final = {"Slack": r"[CDG][0-9A-Z]+", "Discord": r"[0-9]{17,20}"}
# The fields of a command that we set; Discord adds others, and leaves out those that are null, false or empty.
MEANT: Final = {
    *("name", "type", "description", "options", "required", "choices", "value", "autocomplete", "channel_types"),
    *("min_value", "max_value", "min_length", "max_length"),
    *("contexts", "integration_types", "default_member_permissions", "nsfw"),
}
TROUBLES: Final[Sequence[tuple[type[Exception], str]]] = (
    (aiohttp.InvalidURL, "is not an address"),
    (aiohttp.ClientConnectorDNSError, "is a name that nobody knows"),
    (aiohttp.ClientSSLError, "shows no valid certificate"),
    (TimeoutError, "does not answer in time"),
    (aiohttp.ClientConnectorError, "takes no connections"),
    (Exception, "breaks off the connection"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is right, wrong or, where `ok` is None, not to be known from here."""

    ok: bool | None
    what: str
    fix: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        return f"{ANSWERS[self.ok]} {self.what}" + (f" → {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What there is to look at."""

    environ: Mapping[str, str]
    session: aiohttp.ClientSession
    url: str | None  # where the bot is reached, without a slash at its end
    channel: str | None
    modal_app: str
    modal_secrets: Mapping[str, Sequence[str]]  # the keys that each must have

    def holds(self, *names: str) -> bool:
        """Say whether these variables can be what they should be, so that it makes sense to use them."""
        return all(_kind(self.environ.get(name, "")) == VARIABLES[name][0] for name in names)

    @property
    def is_local(self) -> bool:
        """Whether the bot is reached from this machine only."""
        return bool(self.url and is_here(self.url))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What somebody answered over HTTP; a body that is no JSON is None."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body, if it is an object."""
        return self.body if isinstance(self.body, dict) else {}


async def run(environ: Mapping[str, str], *, url: str | None, channel: str | None, say: Callable[[str], object]) -> int:
    """Say what is found, a line each, and return the status for the shell: 1 if anything is wrong."""
    wrong = 0
    async with aiohttp.ClientSession() as session:
        async for finding in check(environ, session=session, url=url, channel=channel):
            wrong += finding.ok is False
            say(str(finding))
    say("Nothing wrong was found." if not wrong else "One thing is wrong." if wrong == 1 else f"{wrong} things are wrong.")
    return 1 if wrong else 0


async def check(
    environ: Mapping[str, str],
    *,
    session: aiohttp.ClientSession,
    url: str | None = None,
    channel: str | None = None,
    modal_app: str = MODAL_APP,
    modal_secrets: Mapping[str, Sequence[str]] = MODAL_SECRETS,
) -> AsyncIterator[Finding]:
    """Look at everything. A server that cannot be reached is a finding too."""
    if refusal := _unfit(url):
        yield refusal
    setup = Setup(
        environ=environ,
        session=session,
        url=None if refusal or not url else url.rstrip("/"),
        channel=channel,
        modal_app=modal_app,
        modal_secrets=modal_secrets,
    )
    for look, fix in CHECKS.items():
        try:
            async for finding in look(setup):
                yield finding
        except Busy as busy:
            yield _wrong(f"{busy}.", fix)


async def variables(setup: Setup) -> AsyncIterator[Finding]:
    """See whether every variable is there, and holds what it should."""
    for platform, names in PLATFORMS.items():
        if not any(setup.environ.get(name) for name in names):
            yield _unknown(f"{platform} is not set up here, and was skipped.", f"Set {', '.join(names)}; README.md says how.")
            continue
        for name in names:
            yield _variable(name, setup.environ.get(name, ""))


def _variable(name: str, value: str) -> Finding:
    wanted, where = VARIABLES[name]
    kind = _kind(value)
    if kind == wanted:
        return _right(f"{name} looks like {wanted}.")
    if not value:
        return _wrong(f"{name} is not set.", f"Copy it from {where}.")
    if value != value.strip(" \t\r\n'\""):
        return _wrong(f"{name} has spaces, quotes or a line break around it.", "Take them away; nothing else has to change.")
    if kind == SLACK_EXPIRING:
        return _wrong(f"{name} holds {kind}, and the bot renews none.", TOKEN_ERRORS["token_expired"])
    if kind:
        return _wrong(f"{name} holds {kind}, not {wanted}.", f"Copy the right one from {where}.")
    return _wrong(f"{name} does not look like {wanted}.", f"Copy all of it from {where}.")


def _kind(value: str) -> str | None:
    return next((kind for kind, pattern in LOOKS.items() if re.fullmatch(pattern, value)), None)


async def slack_app(setup: Setup) -> AsyncIterator[Finding]:
    """See whether Slack takes the token, and what it allows."""
    if not setup.holds("SLACK_BOT_TOKEN"):
        return
    answer = await _ask_slack(setup, "auth.test")
    if not answer.fields.get("ok"):
        error = str(answer.fields.get("error", answer.status))
        yield _wrong(f"Slack does not take SLACK_BOT_TOKEN ({error}).", TOKEN_ERRORS.get(error, REINSTALL))
        return
    yield _right(f"Slack takes SLACK_BOT_TOKEN: it is {answer.fields.get('user')} in {answer.fields.get('team')}.")
    yield _clock("Slack's", answer)
    for finding in _scopes(answer.headers.get("x-oauth-scopes")):
        yield finding


def _scopes(header: str | None) -> Iterator[Finding]:
    if header is None:
        yield _unknown("Slack did not say which scopes the token has.")
        return
    granted = {scope.strip() for scope in header.split(",")}
    missing = [scope for scope in slack.SCOPES if scope not in granted]
    for scope in missing:
        fix = f"{SLACK_APP}OAuth & Permissions › Scopes › Bot Token Scopes: add {scope}, then reinstall the app."
        yield _wrong(f"The Slack app lacks the scope {scope}.", fix)
    if not missing:
        yield _right("The Slack app has every scope it needs.")


async def discord_app(setup: Setup) -> AsyncIterator[Finding]:
    """See whether Discord takes the token, and what it knows about the application."""
    if not setup.holds("DISCORD_BOT_TOKEN"):
        return
    answer = await _ask_discord(setup, "/applications/@me")
    if answer.status != HTTPStatus.OK:
        where = VARIABLES["DISCORD_BOT_TOKEN"][1]
        yield _wrong(f"Discord does not take DISCORD_BOT_TOKEN ({answer.status}).", f"Make a new one: {where}.")
        return
    yield _right("Discord takes DISCORD_BOT_TOKEN.")
    for name, field in (("DISCORD_APPLICATION_ID", "id"), ("DISCORD_PUBLIC_KEY", "verify_key")):
        if setup.holds(name):
            yield _of_this_app(name, setup.environ[name].lower() == answer.fields.get(field))
    yield _endpoint(setup, answer.fields.get("interactions_endpoint_url"))
    known = await _ask_discord(setup, f"/applications/{answer.fields.get('id')}/commands")
    for finding in _commands(known.body):
        yield finding


def _of_this_app(name: str, is_same: bool) -> Finding:  # noqa: FBT001  (a finding is a bool and its words)
    if is_same:
        return _right(f"{name} is of the application that DISCORD_BOT_TOKEN is of.")
    fix = f"Copy both from one: {VARIABLES[name][1]}; Bot › Reset Token."
    return _wrong(f"{name} is of another application than DISCORD_BOT_TOKEN.", fix)


def _endpoint(setup: Setup, endpoint: str | None) -> Finding:
    wanted = f"{setup.url or 'https://your-bot.example.com'}/discord/interactions"
    fix = f"{DISCORD_APP}General Information › Interactions Endpoint URL: {wanted} › Save Changes, while the bot runs."
    if not endpoint:
        return _wrong("Discord has no Interactions Endpoint URL, so it sends us nothing.", fix)
    if endpoint == wanted or (not setup.url and urlsplit(endpoint).path == "/discord/interactions"):
        return _right(f"Discord sends interactions to {endpoint}.")
    if setup.is_local:
        return _unknown(f"Discord sends interactions to {endpoint}; whether that leads here cannot be seen from here.")
    return _wrong(f"Discord sends interactions to {endpoint}, not to {wanted}.", fix)


def _commands(known: Any) -> Iterator[Finding]:
    """Compare what Discord knows with what `imagine register` would tell it."""
    ours = {command["name"]: _meaning(command) for command in manifest.for_discord()}
    theirs = {command["name"]: _meaning(command) for command in known} if isinstance(known, list) else {}
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) == theirs.get(name):
            yield _right(f"Discord knows /{name} as it is here.")
        elif name not in theirs:
            yield _wrong(f"Discord does not know /{name}.", REGISTER)
        elif name not in ours:
            yield _wrong(f"Discord offers /{name}, which this bot does not have.", REGISTER)
        elif (changed := _changed(ours[name], theirs[name])) == OTHER_MODELS:  # a bot on Modal has more than this machine
            yield _unknown(
                f"Discord's /{name} offers other models than there are here: right if the bot runs elsewhere.", REGISTER
            )
        else:
            yield _wrong(f"Discord knows another /{name}; what differs: {changed}.", REGISTER)


def _meaning(part: Any) -> Any:
    """Keep what we set in a command, in one order: Discord lists contexts as it likes, but options as they were."""
    if isinstance(part, list):
        parts = [_meaning(each) for each in part]
        return sorted(parts) if all(isinstance(each, int) for each in parts) else parts
    if not isinstance(part, dict):
        return part
    return {k: _meaning(v) for k, v in part.items() if k in MEANT and v is not None and v is not False and v != []}


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    fields = [field for field in sorted(ours.keys() | theirs.keys()) if ours.get(field) != theirs.get(field)]
    if fields != ["options"]:
        return ", ".join(fields)
    mine, other = ({option["name"]: option for option in about.get("options", [])} for about in (ours, theirs))
    names = [name for name in mine | other if mine.get(name) != other.get(name)]
    if names == ["model"] and len(mine) == len(other) and mine["model"] | {"choices": []} == other["model"] | {"choices": []}:
        return OTHER_MODELS
    return f"the options {', '.join(names)}" if names else "the order of its options"


async def channel(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is in the channel that was asked for."""
    if not setup.channel:
        return
    platform = next((name for name, pattern in CHANNEL_IDS.items() if re.fullmatch(pattern, setup.channel)), None)
    if platform is None:
        fix = "Slack: the channel's name › About › Channel ID. Discord: Developer Mode on, right click › Copy Channel ID."
        yield _wrong("--channel takes a channel's id, such as C0123456789, and not its name.", fix)
    elif platform == "Slack" and setup.holds("SLACK_BOT_TOKEN"):
        yield _in_slack(setup.channel, await _ask_slack(setup, "conversations.info", channel=setup.channel))
    elif platform == "Discord" and setup.holds("DISCORD_BOT_TOKEN"):
        yield _in_discord(setup.channel, await _ask_discord(setup, f"/channels/{setup.channel}"))
    else:
        yield _unknown(f"Channel {setup.channel} was skipped: without a token, {platform} tells us nothing.")


def _in_slack(channel: str, answer: Answer) -> Finding:
    found, error = answer.fields.get("channel", {}), answer.fields.get("error")
    invite = "In the channel, type `/invite @imagine`; where the bot is in it already, that changes nothing."
    if error == "missing_scope":
        needed = answer.fields.get("needed")
        return _unknown(f"Slack tells who is in {channel} only to those with {needed}, which the bot does not need.", invite)
    if error in TOKEN_ERRORS:
        return _unknown(f"Slack says nothing of {channel} without a token that works.")
    if error:
        return _wrong(f"Slack shows the bot no channel {channel} ({error}): the id is wrong, or it is private.", invite)
    if found.get("is_archived"):
        return _wrong(f"Slack channel {channel} is archived.", "Take another one, or unarchive it in its settings.")
    if found.get("is_member"):
        return _right(f"The bot is in Slack channel {channel}.")
    return _right(f"The bot is not in Slack channel {channel} yet; it is public, so it joins with its first picture.")


def _in_discord(channel: str, answer: Answer) -> Finding:
    if answer.status == HTTPStatus.OK:
        return _right(f"The bot sees Discord channel {channel}.")
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return _unknown(f"Discord says nothing of {channel} without a token that works.")
    fix = f"Check the id; {DISCORD_APP}Installation › Install Link: open it and add the bot to the server, with View Channel."
    return _wrong(f"The bot cannot see Discord channel {channel} (HTTP {answer.status}).", fix)


async def address(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is where it is said to be, and what it says of itself."""
    if not setup.url:
        yield _unknown("The bot's own address was skipped.", "To have it looked at: --url https://imagine.example.com.")
        return
    answer = await _ask(setup, "GET", f"{setup.url}/health")
    platforms = answer.fields.get("platforms")
    if not (answer.fields.get("ok") and isinstance(platforms, dict)):
        fix = "What stands in front (tunnel, proxy, its warning page, a redirect) has to lead straight to the bot."
        yield _wrong(f"{setup.url} is reached, but somebody else answers there (HTTP {answer.status}).", fix)
        return
    note = " From the internet it cannot be: that is this machine's own address." if setup.is_local else ""
    yield _right(f"{setup.url} is reached, and it is the bot.{note}")
    yield _clock(f"{setup.url}'s", answer)
    if (model := answer.fields.get("model")) and not model.get("loaded"):
        yield _wrong(f"The model {model.get('name')} is not loaded.", "Wait a minute; if it stays so, the bot's log says why.")
    for platform in [name for name, names in PLATFORMS.items() if setup.holds(*names)]:
        if (state := platforms.get(platform.lower(), "off")) == "on":
            async for finding in DOORS[platform](setup):
                yield finding
        else:
            fix = "Set the variables where the bot runs too, and restart it."
            yield _wrong(f"{platform} is not on at {setup.url} ({state}).", fix)


def _unfit(url: str | None) -> Finding | None:
    """Say what is wrong with the address as it was typed."""
    if not url:
        return None
    if not re.fullmatch(r"https?://([\w.-]+|\[[0-9a-f:]+\])(:[0-9]+)?/?", url):
        return _wrong("--url takes the bot's bare address.", "Give it like this, without a path: https://imagine.example.com.")
    if urlsplit(url).scheme == "http" and not is_here(url):
        fix = "Give the https address; a tunnel or a proxy such as Caddy provides one."
        return _wrong("--url is not https, and Slack and Discord take nothing else.", fix)
    return None


async def slack_door(setup: Setup) -> AsyncIterator[Finding]:
    """See that the bot takes what is signed with our secret, and nothing else."""
    where = f"{setup.url}/slack/events"
    forged = await _ask(setup, "POST", where, data=HARMLESS, headers=_signed("0" * 32))
    if forged.status != HTTPStatus.UNAUTHORIZED:
        yield _not_refused(where, forged)
        return
    answer = await _ask(setup, "POST", where, data=HARMLESS, headers=_signed(setup.environ["SLACK_SIGNING_SECRET"]))
    if answer.status == HTTPStatus.UNAUTHORIZED:
        fix = f"Set the same one there and here, from {VARIABLES['SLACK_SIGNING_SECRET'][1]}, and restart the bot."
        yield _wrong(f"{where} refuses what is signed with SLACK_SIGNING_SECRET.", fix)
    elif answer.status != HTTPStatus.OK:
        yield _wrong(f"{where} answers {answer.status} to a good request.", "The bot's log says why.")
    elif answer.seconds > ACKNOWLEDGED:
        fix = "Keep one server running, near and not asleep."
        yield _wrong(f"{where} took {answer.seconds:.1f} s; Slack waits for {ACKNOWLEDGED}.", fix)
    else:
        yield _right(f"{where} takes what SLACK_SIGNING_SECRET signs, and refuses forgeries.")


async def discord_door(setup: Setup) -> AsyncIterator[Finding]:
    """See that the bot refuses what nobody signed; only Discord can sign."""
    where = f"{setup.url}/discord/interactions"
    answer = await _ask(setup, "POST", where, json={"type": discord.InteractionType.PING})
    if answer.status == HTTPStatus.UNAUTHORIZED:
        yield _right(f"{where} refuses forgeries.")
    else:
        yield _not_refused(where, answer)


def _not_refused(where: str, answer: Answer) -> Finding:
    fix = "Something in front of the bot answers in its place: let requests through unchanged."
    return _wrong(f"{where} answers {answer.status} to a forged request, where the bot says 401.", fix)


def _signed(secret: str) -> dict[str, str]:
    """Sign as Slack does. https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    stamp = str(int(time.time()))
    digest = hmac.new(secret.encode(), b"v0:%s:%s" % (stamp.encode(), HARMLESS), hashlib.sha256).hexdigest()
    form = "application/x-www-form-urlencoded"
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}", "Content-Type": form}


def _clock(whose: str, answer: Answer) -> Finding:
    try:
        ahead = time.time() - parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
    except ValueError:
        return _unknown(f"{whose} clock was not shown.")
    if abs(ahead) <= SKEW:
        return _right(f"This machine's clock agrees with {whose}.")
    fix = "Set the clocks by the network (Linux: `timedatectl set-ntp true`); five minutes off, every signature is refused."
    return _wrong(f"This machine's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} {whose}.", fix)


async def in_modal(setup: Setup) -> AsyncIterator[Finding]:
    """See whether the bot is deployed on Modal, and its secrets there have their keys."""
    try:
        modal = importlib.import_module("modal")  # a bot on one machine goes without
    except ImportError:
        yield _unknown("Modal was skipped: its package is not installed here.", "Only a bot that runs there needs it.")
        return
    if not modal.config.config.get("token_id"):
        yield _unknown("Modal was skipped: there is no token for it here.", "If the bot runs there: `modal token new`.")
        return
    try:
        client = await modal.Client.from_env.aio()
        try:
            deployed = await _modal_app(modal, client, setup)
            yield deployed
            for name, keys in setup.modal_secrets.items() if deployed.ok is not None else ():
                yield await _modal_secret(modal, client, name, keys)
        finally:
            await client.close.aio()
    except modal.exception.AuthError:
        yield _wrong("Modal does not take the token that is here.", "Make a new one: `modal token new`.")
    except modal.exception.Error as error:
        yield _wrong(f"Modal could not be asked ({type(error).__name__}).", "Try again; status.modal.com says how Modal is.")


async def _modal_app(modal: Any, client: Any, setup: Setup) -> Finding:
    try:
        await modal.App.lookup.aio(setup.modal_app, client=client)
    except modal.exception.NotFoundError:
        is_meant = str(urlsplit(setup.url or "").hostname).endswith(".modal.run")
        what = f"Modal has no app {setup.modal_app}."
        return Finding(ok=False if is_meant else None, what=what, fix="If the bot is to run there: `modal deploy -m bot`.")
    return _right(f"Modal has the app {setup.modal_app}.")


async def _modal_secret(modal: Any, client: Any, name: str, keys: Sequence[str]) -> Finding:
    try:
        await modal.Secret.from_name(name, required_keys=list(keys), client=client).hydrate.aio()
    except (modal.exception.NotFoundError, modal.exception.InvalidError):
        fix = f"modal.com/secrets › {name} (make it if it is not there) › Edit: {', '.join(keys)}."
        return _wrong(f"Modal has no secret {name} with all its keys.", fix)
    return _right(f"Modal has the secret {name}, with all its keys.")


async def _ask_slack(setup: Setup, method: str, **arguments: str) -> Answer:
    base = (setup.environ.get("SLACK_API_URL") or slack.API_URL).rstrip("/")
    headers = {"Authorization": f"Bearer {setup.environ['SLACK_BOT_TOKEN']}"}
    return await _ask(setup, "POST", f"{base}/{method}", data=arguments, headers=headers)


async def _ask_discord(setup: Setup, path: str) -> Answer:
    base = (setup.environ.get("DISCORD_API_URL") or discord.API_URL).rstrip("/")
    headers = {"Authorization": f"Bot {setup.environ['DISCORD_BOT_TOKEN']}", "User-Agent": CLIENT}
    return await _ask(setup, "GET", f"{base}{path}", headers=headers)


async def _ask(setup: Setup, method: str, url: str, **arguments: Any) -> Answer:
    """Ask over HTTP, and follow no redirect, as the platforms do not. Raises `Busy` where there is no proper answer."""
    host, started = urlsplit(url).netloc, time.monotonic()
    limit = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with setup.session.request(method, url, allow_redirects=False, timeout=limit, **arguments) as response:
            raw = await response.read()
    except (aiohttp.ClientError, OSError) as error:
        raise Busy(f"{host} {next(words for kind, words in TROUBLES if isinstance(error, kind))}") from None
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Busy(f"{host} answers {response.status} just now")
    seconds = time.monotonic() - started
    return Answer(status=response.status, headers=response.headers, body=_json(raw), seconds=seconds)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _right(what: str) -> Finding:
    return Finding(ok=True, what=what)


def _wrong(what: str, fix: str) -> Finding:
    return Finding(ok=False, what=what, fix=fix)


def _unknown(what: str, fix: str = "") -> Finding:
    return Finding(ok=None, what=what, fix=fix)


DOORS: Final = {"Slack": slack_door, "Discord": discord_door}
CHECKS: Final = {  # in this order; beside each, what to do where nobody can be reached
    variables: "",
    slack_app: "Is this machine online, and may it reach slack.com? Otherwise try again in a minute.",
    discord_app: "Is this machine online, and may it reach discord.com? Otherwise try again in a minute.",
    channel: "Try again in a minute.",
    address: "Start the bot (`make run`), and see that the tunnel or the proxy leads to its port.",
    in_modal: "Try again in a minute.",
}
