"""The doors: FastAPI's routes, and who is let in. What is behind them is passed in.

Nothing slow happens here. A request is verified on its raw bytes, read, handed over and answered.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import re
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, Field
from slack_bolt.adapter.fastapi.async_handler import AsyncSlackRequestHandler
from slack_bolt.adapter.starlette.async_handler import to_async_bolt_request, to_starlette_response

from bot import __version__, command, deadline, page, texts, upload
from bot.desk import Caller
from bot.discord import Discord
from bot.errors import UNREADABLE, BadRequest, Stranger, Told
from bot.request import JOB_ID, MAX_PICTURES, mended_json
from bot.slack import Slack
from bot.slack_install import INSTALL, REDIRECT, Installing

if TYPE_CHECKING:
    from slack_bolt.request.async_request import AsyncBoltRequest

LARGEST: Final = 1_000_000  # bytes: no command of either platform comes near
SLOWEST: Final = 5  # seconds for a body to arrive
SLOWEST_PICTURE: Final = 60  # seconds: a telephone's picture, over a poor connection
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"
GARBAGE: Final = 10_000  # new objects between two looks for what can go; Python's own is 700, which answers make in no time
HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?", re.IGNORECASE | re.ASCII)
LOCALE: Final = 35  # characters: what the longest language tag in use has

T = TypeVar("T")
Sent = TypeVar("Sent", bound="Asked")
log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What is behind the doors; a platform that is off is None."""

    slack: Slack | None
    discord: Discord | None
    page: page.Page | None
    picture: Callable[[str, int], Awaitable[bytes | None]]  # a kept picture, by its job's id and its place in it
    health: Callable[[], Mapping[str, Any]]


def create(open_parts: Callable[[], AbstractAsyncContextManager[Parts]]) -> FastAPI:
    """Build the app; `open_parts` is entered when it starts, inside its event loop, and left when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_parts() as app.state.parts:
            yield

    app = FastAPI(
        title="imagine",
        version=__version__,
        lifespan=lifespan,
        max_body_size=LARGEST,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(Stranger, lambda _request, _error: Response(status_code=HTTPStatus.UNAUTHORIZED))
    app.add_exception_handler(BadRequest, _bad_request)
    app.add_exception_handler(RequestValidationError, lambda _request, _error: Response(status_code=422))
    app.add_route("/slack/events", slack_events, ["POST"])  # they read the request themselves, and need nothing of FastAPI's
    app.add_route(INSTALL, slack_install, ["GET"])
    app.add_route(REDIRECT, slack_oauth_redirect, ["GET"])
    app.add_route("/discord/interactions", discord_interactions, ["POST"])
    app.get("/health")(health)
    app.get("/pictures/{job_id}/{index}.png")(picture)
    app.get("/previews/{job_id}/{number}.jpg")(preview)
    app.get("/")(page_itself)
    app.post("/page/imagine")(page_imagine)
    app.post("/page/press")(page_press)
    app.post("/page/picture", max_body_size=upload.LARGEST)(page_attach)
    app.get("/page/jobs/{job_id}", response_class=EventSourceResponse)(page_watch)
    return app


def collect_rarely() -> None:
    """Have Python look for garbage less often: each time, all answers wait, the longer the more jobs are under way."""
    gc.freeze()  # what is loaded by now stays
    gc.set_threshold(GARBAGE)


async def slack_events(request: Request) -> Response:
    """Take a command, a press, a form, a shortcut or an event. https://docs.slack.dev/interactivity"""
    deadline.begin()
    slack = _on(_parts(request).slack)
    slack.verify(request.headers, await _body(request))
    _content_type(request, FORM, JSON)
    try:
        return await AsyncSlackRequestHandler(slack.app).handle(request, {"site": _site(request)})
    except UNREADABLE as error:  # what Slack sends has a shape, which bolt and we rely on
        log.exception("an interaction could not be read, though it is signed")
        raise BadRequest("not an interaction: {error}", error=type(error).__name__) from error


async def slack_install(request: Request) -> Response:
    """Send an admin to Slack, to install the app. https://docs.slack.dev/authentication/installing-with-oauth"""
    return to_starlette_response(await _installing(request).handle_installation(_from_browser(request)))


async def slack_oauth_redirect(request: Request) -> Response:
    """Take the admin whom Slack sends back."""
    return to_starlette_response(await _installing(request).handle_callback(_from_browser(request)))


async def discord_interactions(request: Request) -> Response:
    """Take an interaction. https://discord.com/developers/docs/interactions/overview"""
    deadline.begin()
    discord = _on(_parts(request).discord)
    body = await _body(request)
    discord.verify(request.headers, body)
    _content_type(request, JSON)
    answer = await discord.answer(body)
    return Response(status_code=HTTPStatus.ACCEPTED) if answer is None else JSONResponse(answer)


async def health(request: Request) -> Mapping[str, Any]:
    """Say that we are alive, which platforms are on, and how busy the model is."""
    return {"ok": True, "version": __version__, **_parts(request).health()}


async def picture(request: Request, job_id: str, index: int) -> Response:
    """Serve a kept picture to whoever knows its job's id, which cannot be guessed."""
    could_be = JOB_ID.fullmatch(job_id) and index in range(MAX_PICTURES)
    kept = await _parts(request).picture(job_id, index) if could_be else None
    if kept is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(kept, media_type="image/png", headers=headers)


async def preview(request: Request, job_id: str, number: int) -> Response:
    """Serve what can be seen of a drawing so far; `number` is there because Slack fetches no address twice."""
    del number
    shown = await _on(_parts(request).slack).preview(job_id) if JOB_ID.fullmatch(job_id) else None
    if shown is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return Response(shown, media_type="image/jpeg", headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})


async def page_itself(request: Request) -> Response:
    """Serve the chat page."""
    _page(request)
    language = page.spoken(request.headers.get("accept-language", ""))
    headers = {
        "Content-Security-Policy": page.policy(language),
        "Content-Language": language,
        "Vary": "Accept-Language",
        "Referrer-Policy": "no-referrer",
    }
    return HTMLResponse(page.html(language), headers=headers)


class Asked(BaseModel):
    """What comes with all that the page sends: `claim` is new for each thing, and the same when that is sent again."""

    claim: str = Field(min_length=8, max_length=64)
    person: str = Field(min_length=8, max_length=64)
    locale: str = Field("", max_length=LOCALE)

    def caller(self) -> Caller:
        """Say who asks."""
        return page.caller(claim=self.claim, person=self.person, locale=self.locale)


class Typed(Asked):
    """A command, or the `form` filled in; `options` are flags by name."""

    text: str = Field(max_length=command.LONGEST + 100)  # and who types more is told so by the grammar
    options: dict[str, str] = {}
    form: bool = False


class Pressed(Asked):
    """A button, as it was packed."""

    press: str = Field(max_length=100)


async def page_imagine(request: Request) -> Mapping[str, Any]:
    """Take a command from the page."""
    there, typed = _sent_by_itself(request), await _read(request, Typed)
    caller = typed.caller()
    return await _told(there.imagine(typed.text, caller, typed.options, form=typed.form), caller.language)


async def page_press(request: Request) -> Mapping[str, Any]:
    """Take a press of a button."""
    there, pressed = _sent_by_itself(request), await _read(request, Pressed)
    caller = pressed.caller()
    return await _told(there.press(pressed.press, caller), caller.language)


async def page_attach(request: Request, locale: str = Query("", max_length=LOCALE)) -> Mapping[str, Any]:
    """Take a picture to start from."""
    there = _sent_by_itself(request)
    _content_type(request, BYTES)
    return await _told(there.attach(await _body(request, SLOWEST_PICTURE)), texts.language(locale))


async def page_watch(
    request: Request, job_id: str, locale: str = Query("", max_length=LOCALE)
) -> AsyncIterable[Mapping[str, Any]]:
    """Send what happens to a job, as server-sent events."""
    async for event in _page(request).watch(job_id, texts.language(locale)):
        yield event


async def _read(request: Request, kind: type[Sent]) -> Sent:
    """Read what the page sends, in good time."""
    _content_type(request, JSON)
    body = await _body(request)
    try:
        return kind.model_validate_json(mended_json(body))
    except UNREADABLE:
        raise RequestValidationError([]) from None


async def _told(answer: Awaitable[Mapping[str, Any]], language: str) -> Mapping[str, Any]:
    try:
        return await answer
    except Told as told:
        return {"told": told.into(language)}


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


def _on(platform: T | None) -> T:
    if platform is None:
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return platform


def _installing(request: Request) -> Installing:
    return _on(_on(_parts(request).slack).installing)


def _from_browser(request: Request) -> AsyncBoltRequest:
    return to_async_bolt_request(request, b"", {"language": page.spoken(request.headers.get("accept-language", ""))})


def _page(request: Request) -> page.Page:
    """Return the page for whoever called us by an address: a name could be anybody's, who wants to use us as ours."""
    called = HOST.fullmatch(request.headers.get("host", ""))  # in the place of one it cannot read, Starlette puts our address
    if not (called and _is_address(called[1].strip("[]").lower())):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    return _on(_parts(request).page)


def _sent_by_itself(request: Request) -> page.Page:
    """Return the page for what no other site has made a browser send.

    Only JSON and plain bytes are read, for which a browser asks us before it sends them for somebody else; and a browser
    says for whom it sends something.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.url.netloc:
        raise HTTPException(HTTPStatus.FORBIDDEN)
    return _page(request)


async def _body(request: Request, slowest: float = SLOWEST) -> bytes:
    try:
        async with asyncio.timeout(slowest):
            return await request.body()
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT) from None


def _content_type(request: Request, *allowed: str) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() not in allowed:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _site(request: Request) -> str:
    """Return our own address as the platform knows it; where that is a name it is https, whatever the last hop was."""
    url = request.base_url
    scheme = url.scheme if _is_address(url.hostname or "") else "https"
    return f"{scheme}://{url.netloc}"


def _is_address(host: str) -> bool:
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return host == "localhost"


async def _bad_request(_request: Request, error: Exception) -> Response:
    return Response(str(error), HTTPStatus.BAD_REQUEST, media_type="text/plain")
