"""The chat page, as its script talks to the server."""

from __future__ import annotations

import asyncio
import io
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from PIL import Image

from bot.errors import NotTaken
from bot.german import TEXTS
from bot.page import WORDS, spoken
from bot.upload import LARGEST
from tests.conftest import environment, serving, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.conftest import Service
    from tests.fakes.discord import DiscordServer
    from tests.fakes.slack import SlackServer


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


claims = (f"claim-{number:04}" for number in range(10_000))


async def post(
    browser: aiohttp.ClientSession, service: Service, path: str, *, person: str = "person-0001", claim: str = "", **body: Any
) -> dict[str, Any]:
    body |= {"claim": claim or next(claims), "person": person}
    async with browser.post(f"{service.url}/page/{path}", json=body) as response:
        assert response.status == 200
        answer: dict[str, Any] = await response.json()
        return answer


async def say(browser: aiohttp.ClientSession, service: Service, text: str, **more: Any) -> dict[str, Any]:
    return await post(browser, service, "imagine", text=text, **more)


async def press(browser: aiohttp.ClientSession, service: Service, button: dict[str, Any], **more: Any) -> dict[str, Any]:
    return await post(browser, service, "press", press=button["press"], **more)


async def drawn(browser: aiohttp.ClientSession, service: Service, text: str, **more: Any) -> dict[str, Any]:
    """Type something, and return how it ended."""
    answer = await say(browser, service, text, **more)
    return (await watch(browser, service, answer["job"]))[-1]


def button(shown: dict[str, Any], action: str) -> dict[str, Any]:
    return next(each for each in shown["buttons"] if each["action"] == action)


async def watch(browser: aiohttp.ClientSession, service: Service, job: str) -> list[dict[str, Any]]:
    """Return what the page is told of a job; a drawing that holds goes on once a step of it was shown."""
    events: list[dict[str, Any]] = []
    async with browser.get(f"{service.url}/page/jobs/{job}") as response:
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            if line.startswith(b"data: "):
                events.append(json.loads(line.removeprefix(b"data: ")))
                if "step " in events[-1].get("status", ""):
                    service.generator.gate.set()
    return events


async def test_the_page_is_served_and_lets_nothing_else_run(browser: aiohttp.ClientSession, service: Service) -> None:
    async with browser.get(f"{service.url}/") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert "unsafe" not in policy
        assert "/imagine" in await response.text()


@pytest.mark.parametrize("text", ["/imagine a red fox --seed 7", "a red fox --seed 7"])
async def test_a_command_is_acknowledged_then_drawn_step_by_step(
    text: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    service.generator.gate.clear()
    answer = await say(browser, service, text)
    assert answer["prompt"] == "a red fox"
    assert "seed 7" in answer["settings"]
    service.generator.holds = {1, 2, 3}
    service.generator.gate.set()
    *events, last = await watch(browser, service, answer["job"])
    done = [event["done"] for event in events if event["status"].startswith("step ")]
    assert done == sorted(done)
    assert len(done) >= 3
    [picture] = last["pictures"]
    assert picture["file"] == "a-red-fox-7.png"
    async with browser.get(service.url + picture["src"]) as response:
        assert (await response.read()).startswith(b"\x89PNG")
        assert response.content_type == "image/png"


async def test_a_page_that_was_reloaded_sees_the_same(browser: aiohttp.ClientSession, service: Service) -> None:
    answer = await say(browser, service, "a red fox --n 2")
    assert (answer["count"], answer["width"], answer["height"]) == (2, 256, 256)
    *_, first = await watch(browser, service, answer["job"])
    assert await watch(browser, service, answer["job"]) == [first]


async def test_after_a_restart_the_page_sees_the_same(
    tmp_path: Path, slack: SlackServer, discord: DiscordServer, browser: aiohttp.ClientSession
) -> None:
    async with serving(tmp_path, environment(slack, discord)) as service:
        answer = await say(browser, service, "a red fox")
        *_, first = await watch(browser, service, answer["job"])
    async with serving(tmp_path, environment(slack, discord)) as service:
        assert await watch(browser, service, answer["job"]) == [first]


async def test_a_command_that_is_sent_again_is_drawn_once(browser: aiohttp.ClientSession, service: Service) -> None:
    first, second = [await say(browser, service, "a red fox", claim="claim-once") for _ in range(2)]
    assert first == second
    await until(lambda: not service.desk_is_busy())
    assert len(service.generator.drawn) == 1


async def test_what_cannot_be_drawn_is_told(browser: aiohttp.ClientSession, service: Service) -> None:
    assert await say(browser, service, "a fox --sede 7") == {"told": "I don't know --sede. Did you mean --seed?"}
    assert "sketch" in (await say(browser, service, "/imagine"))["told"]


async def test_a_drawing_that_fails_is_explained(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.fails = RuntimeError("no luck")
    answer = await say(browser, service, "a red fox")
    *_, last = await watch(browser, service, answer["job"])
    assert "Something went wrong on my side" in last["reason"]


async def test_a_job_that_is_not_there_ends_at_once(browser: aiohttp.ClientSession, service: Service) -> None:
    [only] = await watch(browser, service, "0" * 24)
    assert "no such drawing" in only["reason"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b'{"text": "a fox", "claim": "claim-0001", "person": "person-0001"}', "text/plain", 415),  # what a form may send
        (b'{"text": "a fox"}', "application/json", 422),
        (b'{"text": "' + b"x" * 7000 + b'", "claim": "claim-0001", "person": "person-0001"}', "application/json", 422),
        (b"not JSON", "application/json", 422),
        (b"\xff", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"[]", "application/json", 422),
    ],
)
async def test_other_sites_and_nonsense_are_refused(
    body: bytes, kind: str, status: int, browser: aiohttp.ClientSession, service: Service
) -> None:
    for door in "imagine", "press":
        async with browser.post(f"{service.url}/page/{door}", data=body, headers={"Content-Type": kind}) as response:
            assert (response.status, await response.read() if status == 422 else b"") == (status, b"")
    assert not service.desk_is_busy()


async def test_half_of_a_letter_is_answered_as_any_other(browser: aiohttp.ClientSession, service: Service) -> None:
    asked = {"claim": "claim-0001", "person": "person-0001", "text": "a fox"}
    for given, answer in (
        ({"options": {"model": "\ud800"}}, "There is no model “?” here."),
        ({"text": "a \udc00fox"}, "a ?fox"),
    ):
        async with browser.post(f"{service.url}/page/imagine", json=asked | given) as response:
            assert response.status == 200
            assert answer in json.dumps(await response.json(), ensure_ascii=False)


async def test_a_body_that_does_not_come_is_not_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.web._body.__defaults__", (0.05,))
    host = urlsplit(service.url).netloc
    reader, writer = await asyncio.open_connection(*host.split(":"))
    head = f"POST /page/imagine HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    writer.write(head.encode())
    async with asyncio.timeout(10):
        assert b" 408 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "imagine.example.com:8000",
        *("imagine.example.com:", "evil.example:99999", "evil.example:x", "evil.example, 127.0.0.1", "a{b.evil.example", ""),
        *("127.0.0.1.evil.example", "[::1].evil.example", "127.0.0.1@evil.example", "\u0661\u0662\u0667.0.0.1"),
    ],
)
async def test_the_page_is_only_for_those_who_call_this_machine_by_its_address(
    host: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    typed = {"text": "a fox", "claim": "claim-0001", "person": "person-0001"}
    async with browser.post(f"{service.url}/page/imagine", json=typed, headers={"Host": host}) as response:
        assert response.status == 404
    async with browser.get(service.url, headers={"Host": host}) as response:
        assert response.status == 404
    assert not service.desk_is_busy()


async def test_other_platforms_jobs_end_here_too(browser: aiohttp.ClientSession, service: Service, slack: SlackServer) -> None:
    await slack.command(service.url, "a fox")
    await until(lambda: not service.desk_is_busy())
    [folder] = service.folder.glob("pictures/*")
    [only] = await watch(browser, service, folder.name)
    assert "not on this page" in only["reason"]


async def test_a_drawing_can_be_seen_before_it_is_done(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.preview, service.generator.holds = b"a JPEG", {1}
    answer = await say(browser, service, "a red fox --n 2")
    events = await watch(browser, service, answer["job"])
    shown = [event for event in events if "preview" in event]
    assert {event["preview"] for event in shown} == {"data:image/jpeg;base64,YSBKUEVH"}
    assert {event["tile"] for event in shown} == {1}


async def test_whoever_waits_may_cancel(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.gate.clear()
    running = await say(browser, service, "a red fox")
    waiting = await say(browser, service, "a blue fox")
    for answer in (waiting, running):
        assert await press(browser, service, button(answer, "cancel")) == {
            "told": "Cancelling. If it was just done, the pictures still come."
        }
    assert (await watch(browser, service, waiting["job"]))[-1]["reason"] == "Cancelled."  # while the other still draws
    service.generator.gate.set()
    last = (await watch(browser, service, running["job"]))[-1]
    assert last["reason"] == "Cancelled."
    assert [each["action"] for each in last["buttons"]] == ["redraw", "edit", "delete"]
    assert service.generator.drawn == []


async def test_a_cancel_that_is_too_late_or_anothers_says_so(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.gate.clear()
    answer = await say(browser, service, "a red fox")
    cancel = button(answer, "cancel")
    assert "Only who asked" in (await press(browser, service, cancel, person="person-0002"))["told"]
    service.generator.gate.set()
    assert "pictures" in (await watch(browser, service, answer["job"]))[-1]
    assert "too late" in (await press(browser, service, cancel))["told"]


async def test_what_people_do_next(browser: aiohttp.ClientSession, service: Service) -> None:
    last = await drawn(browser, service, "a red fox --n 2 --seed 7")
    second = last["pictures"][1]
    assert [each["label"] for each in second["buttons"]] == ["Vary 2", "Upscale 2"]
    assert [each["label"] for each in last["buttons"]] == ["Redraw", "Edit", "Details", "Delete"]
    for pressed in (*second["buttons"], button(last, "redraw")):
        answer = await press(browser, service, pressed)
        assert "pictures" in (await watch(browser, service, answer["job"]))[-1]
    _, varied, upscaled, redrawn = service.generator.drawn
    assert (varied.seed, varied.n, varied.variation_strength > 0) == (8, 4, True)
    assert (upscaled.seed, upscaled.n, upscaled.upscale) == (8, 1, 2)
    assert (redrawn.prompt, redrawn.n, redrawn.seed != 7) == ("a red fox", 2, True)


async def test_a_press_that_is_sent_again_draws_once(browser: aiohttp.ClientSession, service: Service) -> None:
    redraw = button(await drawn(browser, service, "a red fox"), "redraw")
    first, second = [await press(browser, service, redraw, claim="claim-again") for _ in range(2)]
    assert first == second
    assert "already on it" in (await press(browser, service, redraw))["told"]


async def test_details_are_told_to_be_copied(browser: aiohttp.ClientSession, service: Service) -> None:
    last = await drawn(browser, service, "a red fox --n 2 --seed 7")
    command, seeds = (await press(browser, service, button(last, "details")))["told"].split("\n")
    assert command.startswith("/imagine a red fox --size 256x256")
    assert seeds.endswith("7, 8")


async def test_what_is_deleted_is_gone_for_all(browser: aiohttp.ClientSession, service: Service) -> None:
    answer = await say(browser, service, "a red fox")
    last = (await watch(browser, service, answer["job"]))[-1]
    delete = button(last, "delete")
    assert "Only who asked" in (await press(browser, service, delete, person="person-0002"))["told"]
    assert await press(browser, service, delete) == {"deleted": "Deleted."}
    await until(lambda: not service.desk_is_busy())
    async with browser.get(service.url + last["pictures"][0]["src"]) as response:
        assert response.status == 404
    assert await watch(browser, service, answer["job"]) == [{"reason": "Deleted."}]
    assert list(service.folder.glob("pictures/*")) == []


async def test_what_is_deleted_while_it_is_drawn_is_not_drawn_on(browser: aiohttp.ClientSession, service: Service) -> None:
    service.generator.holds = {1}
    answer = await say(browser, service, "a red fox")
    await until(lambda: not service.generator.gate.is_set())
    delete = {"press": f"imagine:delete:{answer['job']}:0:page"}
    assert await press(browser, service, delete) == {"deleted": "Deleted."}
    await until(lambda: not service.desk_is_busy())
    assert service.generator.drawn == []
    assert list(service.folder.glob("pictures/*")) == []


async def test_the_form_has_everything_filled_in_and_draws_it(browser: aiohttp.ClientSession, service: Service) -> None:
    typed = "a \\{red fox} --no blur --ar 3:2 --steps 5 --seed 7 --n 2 --style oil"
    last = await drawn(browser, service, typed)
    shown = await press(browser, service, button(last, "edit"), locale="de")
    form = shown["form"]
    assert form == {
        "prompt": "a \\{red fox}",
        "no": "blur",
        "model": "sketch",
        "style": "oil",
        "size": "320x224",
        "steps": "5",
        "guidance": "2",
        "seed": "7",
        "n": "2",
    }
    assert ["oil", "Ölgemälde"] in shown["styles"]
    assert [name for name, _ in shown["models"]] == ["sketch"]
    text = form.pop("prompt")
    await post(browser, service, "imagine", text="settings --n 4 --style neon")
    await drawn(browser, service, text, options=form, form=True)
    assert service.generator.drawn[0] == service.generator.drawn[1]
    told = await say(browser, service, text, options={**form, "steps": "five"}, form=True)
    assert told["told"].startswith("--steps does not understand “five”")
    told = await say(browser, service, "", options=form, form=True)
    assert told["told"].startswith("Say what to draw")


@pytest.mark.parametrize("words", ["a {red,blue} fox --no blur --repeat 2", "a __animal__ --repeat 2"])
async def test_the_form_of_many_pictures_draws_the_same_again(
    words: str, browser: aiohttp.ClientSession, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.choices.LISTS", {"animal": ["fox", "cat", "owl"]})
    await post(browser, service, "imagine", text="settings --style neon")
    question = await say(browser, service, words)
    answer = await press(browser, service, button(question, "draw"))
    last = (await watch(browser, service, answer["job"]))[-1]
    form = (await press(browser, service, button(last, "edit")))["form"]
    question = await say(browser, service, form.pop("prompt"), options=form, form=True)
    answer = await press(browser, service, button(question, "draw"))
    await watch(browser, service, answer["job"])
    assert service.generator.drawn[:2] == service.generator.drawn[2:]


async def test_many_pictures_are_drawn_once_somebody_says_yes(browser: aiohttp.ClientSession, service: Service) -> None:
    question = await say(browser, service, "a {red,blue} fox --n 2")
    assert question["question"] == "This makes 4 pictures."
    assert not service.desk_is_busy()
    yes = button(question, "draw")
    first, second = [await press(browser, service, yes) for _ in range(2)]
    assert first == second
    last = (await watch(browser, service, first["job"]))[-1]
    assert [picture["alt"] for picture in last["pictures"]] == [
        "a red fox, picture 1 of 4",
        "a red fox, picture 2 of 4",
        "a blue fox, picture 3 of 4",
        "a blue fox, picture 4 of 4",
    ]
    assert len(service.generator.drawn) == 2


async def test_the_words_are_in_the_language_of_who_asks(browser: aiohttp.ClientSession, service: Service) -> None:
    assert "Meintest du --seed?" in (await say(browser, service, "a fox --sede 7", locale="de-AT"))["told"]
    assert "Schreib, was du sehen willst" in (await say(browser, service, "help", locale="de"))["told"]
    assert "--n 3" in (await say(browser, service, "settings --n 3", locale="de"))["told"]
    answer = await say(browser, service, "a fox", locale="de")
    assert button(answer, "cancel")["label"] == "Abbrechen"
    *_, last = await watch(browser, service, answer["job"])
    assert last["pictures"][2]["alt"] == "a fox, Bild 3 von 3"
    assert "4 Schritte" in last["settings"]
    nowhere = {"press": f"imagine:redraw:{'0' * 24}:0:page"}
    assert "erinnere ich mich nicht" in (await press(browser, service, nowhere, locale="de"))["told"]


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("en;q=0.3,de;q=0.8", "de"),
        ("fr-FR,fr;q=0.9,de;q=0.1", "de"),
        ("de;q=0", "en"),
        ("fr", "en"),
        ("*", "en"),
        (";q=;;,,\u00e9;q=9", "en"),
        ("", "en"),
    ],
)
def test_the_page_speaks_what_the_browser_likes_best(accepted: str, expected: str) -> None:
    assert spoken(accepted) == expected


async def test_the_page_is_served_in_german_too(browser: aiohttp.ClientSession, service: Service) -> None:
    async with browser.get(service.url, headers={"Accept-Language": "de-DE,de;q=0.9"}) as response:
        text = await response.text()
        assert (response.headers["Content-Language"], response.headers["Vary"]) == ("de", "Accept-Language")
    assert '<html lang="de">' in text
    assert "Was soll ich zeichnen?" in text
    assert "{{" not in text


@pytest.mark.parametrize("words", sorted(WORDS))
def test_words_of_the_page_fit_markup_and_script_alike(words: str) -> None:
    assert not [said for said in (words, TEXTS[words]) if re.search(r"[<>&\"\\`$]", said)]


def red(kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "red").save(buffer, kind, **options)
    return buffer.getvalue()


async def attach(
    browser: aiohttp.ClientSession, service: Service, content: object, **headers: str
) -> tuple[int, dict[str, Any] | bytes]:
    """Send a picture as the page does; return the status, and what is answered."""
    headers = {"Content-Type": "application/octet-stream"} | headers
    url = f"{service.url}/page/picture?locale=en"
    async with browser.post(url, data=content, headers=headers, skip_auto_headers=["Content-Type"]) as response:
        return response.status, await (response.json() if response.status == 200 else response.read())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_that_is_attached_is_started_from(kind: str, browser: aiohttp.ClientSession, service: Service) -> None:
    _, answer = await attach(browser, service, red(kind))
    assert isinstance(answer, dict)
    last = await drawn(browser, service, "a fox --strength 0.5", options={"image": answer["image"]})
    assert "from a picture, strength 0.5" in last["settings"]
    [start] = service.generator.started_from
    assert start
    with Image.open(io.BytesIO(start)) as image:
        assert (image.format, image.size) == ("PNG", (30, 20))
    form = (await press(browser, service, button(last, "edit")))["form"]
    assert (form["image"], form["strength"]) == (answer["image"], "0.5")


async def test_a_picture_that_was_brought_is_deleted_with_the_last_that_was_drawn_from_it(
    browser: aiohttp.ClientSession, service: Service
) -> None:
    _, answer = await attach(browser, service, red())
    assert isinstance(answer, dict)
    [file] = service.folder.glob("files/*")
    first = await drawn(browser, service, "a fox", options={"image": answer["image"]})
    second = await drawn(browser, service, "a hare", options={"image": answer["image"]})
    others = await press(browser, service, button(first, "redraw"), person="person-0002")
    await watch(browser, service, others["job"])
    for last, person, left in ((first, "person-0001", True), (second, "person-0001", False)):
        await press(browser, service, button(last, "delete"), person=person)
        await until(lambda: not service.desk_is_busy())
        assert file.exists() == left
    again = await press(browser, service, button(second, "redraw"), person="person-0002")
    assert "Please attach it again" in (await watch(browser, service, again["job"]))[-1]["reason"]


async def test_somebody_elses_redrawing_does_not_decide_over_a_picture_that_was_brought(
    browser: aiohttp.ClientSession, service: Service
) -> None:
    _, answer = await attach(browser, service, red())
    assert isinstance(answer, dict)
    first = await drawn(browser, service, "a fox", options={"image": answer["image"]})
    other = await press(browser, service, button(first, "redraw"), person="person-0002")
    last = (await watch(browser, service, other["job"]))[-1]
    await press(browser, service, button(last, "delete"), person="person-0002")
    await until(lambda: not service.desk_is_busy())
    assert list(service.folder.glob("files/*"))


@pytest.mark.parametrize(
    "content", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.4", red()[:60], b"x" * 100_000]
)
async def test_what_is_no_picture_is_refused_in_words(content: bytes, browser: aiohttp.ClientSession, service: Service) -> None:
    status, answer = await attach(browser, service, content)
    assert (status, answer) == (200, {"told": "That is not a picture that I can read. PNG, JPEG, WebP and GIF work."})
    assert list(service.folder.glob("files/*")) == []


async def test_a_picture_that_cannot_be_kept_is_not_taken(
    browser: aiohttp.ClientSession, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    (service.folder / "files").write_text("in the way")
    assert await attach(browser, service, red()) == (200, {"told": str(NotTaken())})
    assert "FileExistsError" in caplog.text


async def test_no_more_than_a_picture_is_read(browser: aiohttp.ClientSession, service: Service) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 100_000

    for content in (io.BytesIO(b"x" * (LARGEST + 1)), endless()):
        assert (await attach(browser, service, content))[0] == 413
    typed = {"text": "a fox", "claim": "claim-0001", "person": "person-0001", "options": {"no": "x" * 1_000_000}}
    async with browser.post(f"{service.url}/page/imagine", json=typed) as response:
        assert response.status == 413


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
async def test_a_picture_comes_as_no_form_of_another_site_could_send_it(
    kind: str, browser: aiohttp.ClientSession, service: Service
) -> None:
    assert (await attach(browser, service, red(), **{"Content-Type": kind}))[0] == 415
    assert list(service.folder.glob("files/*")) == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", ""])
async def test_what_another_site_sends_is_refused(origin: str, browser: aiohttp.ClientSession, service: Service) -> None:
    asked = {"claim": "claim-0001", "person": "person-0001", "text": "a fox", "press": f"imagine:redraw:{'0' * 24}:0:page"}
    for path in ("imagine", "press"):
        async with browser.post(f"{service.url}/page/{path}", json=asked, headers={"Origin": origin}) as response:
            assert response.status == 403
    assert (await attach(browser, service, red(), Origin=origin))[0] == 403
    assert not service.desk_is_busy()
    own = {"Origin": service.url}
    async with browser.post(f"{service.url}/page/imagine", json=asked, headers=own) as response:
        assert response.status == 200


@pytest.mark.parametrize("pressed", ["", "imagine:burn:1:2:3", f"imagine:discard:{'0' * 24}:0:page", "<script>"])
async def test_a_press_of_nothing_we_have_says_so(pressed: str, browser: aiohttp.ClientSession, service: Service) -> None:
    assert "don't remember" in (await post(browser, service, "press", press=pressed))["told"]


async def test_what_proves_who_asked_is_shown_to_nobody(browser: aiohttp.ClientSession, service: Service) -> None:
    answer = await say(browser, service, "a red fox")
    assert "person-0001" not in json.dumps([answer, *await watch(browser, service, answer["job"])])
