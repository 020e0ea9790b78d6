"""Each button carries what it needs, and what comes of it is a request like any other."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from bot.actions import Action, Press, alone, follow, of_proposal, offered, upscalable, while_drawing
from bot.courier import Outcome
from bot.errors import Told
from bot.models import SKETCH
from bot.request import MOST_VARIATIONS, ImageRequest, Job, Picture, compose
from bot.texts import LANGUAGES
from tests.fakes.generator import plain


def fox(**given: Any) -> ImageRequest:
    return compose("a fox", model="sketch", **({"seed": 7} | given))


def a_job(*requests: ImageRequest, language: str = "en") -> Job:
    first, *others = requests
    return Job(
        claim="x", request=first, others=tuple(others), platform="slack", person="p", reply_to={"user": "U1"}, language=language
    )


def drawn(job: Job) -> Outcome:
    return Outcome(job=job, pictures=[Picture(png=plain(request), request=request) for request in job.alone()])


def labels(outcome: Outcome) -> list[list[str]]:
    return [[button.label for button in row] for row in offered(outcome)]


@pytest.mark.parametrize("action", Action)
def test_a_button_is_read_as_it_was_written(action: Action) -> None:
    press = Press(action=action, job_id="0123456789abcdef01234567", asker="U0123456789", index=9)
    assert len(press.pack()) <= 100
    assert Press.unpack(press.pack()) == press


@pytest.mark.parametrize("text", ["", "imagine:explode:0123456789abcdef01234567:0:U1", "imagine:vary:../../etc:0:U1", "vary"])
def test_what_is_no_button_of_ours_is_none(text: str) -> None:
    assert Press.unpack(text) is None


def test_one_picture_has_one_button_for_each_thing() -> None:
    assert labels(drawn(a_job(fox()))) == [["Redraw", "Edit", "Details", "Delete"], ["Vary"], ["Upscale"]]


def test_each_of_several_pictures_has_its_own_with_its_number() -> None:
    rows = labels(drawn(a_job(fox(n=3))))
    assert rows[1:] == [["Vary 1", "Vary 2", "Vary 3"], ["Upscale 1", "Upscale 2", "Upscale 3"]]


@pytest.mark.parametrize("count", range(1, 11))
def test_all_buttons_fit_one_message_of_discord(count: int) -> None:
    rows = offered(drawn(a_job(fox(n=count))))
    assert len(rows) <= 5
    assert all(1 <= len(row) <= 5 for row in rows)
    packed = [button.press.pack() for row in rows for button in row]
    assert len(set(packed)) == len(packed)


def test_what_is_large_already_is_not_made_larger() -> None:
    assert labels(drawn(a_job(fox(upscale=2)))) == [["Redraw", "Edit", "Details", "Delete"], ["Vary"]]
    assert not upscalable(fox(width=512, height=512))
    with pytest.raises(Told, match="as large as"):
        follow(Action.UPSCALE, [fox(upscale=2)], 0)


def test_what_a_model_drew_that_is_offered_no_more_can_still_be_shown() -> None:
    gone = ImageRequest.restore({**asdict(fox()), "model": "gone"})
    outcome = Outcome(job=a_job(gone), pictures=[Picture(png=plain(fox()), request=gone)])
    assert labels(outcome) == [["Redraw", "Edit", "Details", "Delete"], ["Vary"]]


def test_where_there_is_no_picture_one_can_still_go_on() -> None:
    assert labels(Outcome(job=a_job(fox()), reason="no")) == [["Redraw", "Edit", "Delete"]]


@pytest.mark.parametrize("language", LANGUAGES)
def test_buttons_have_words_in_every_language(language: str) -> None:
    rows = [*offered(drawn(a_job(fox(), language=language))), *while_drawing(a_job(fox(), language=language))]
    assert all(len(button.label) >= 2 for row in rows for button in row)
    assert language == "en" or rows[0][0].label != "Redraw"


def test_redrawing_changes_nothing_but_the_seed() -> None:
    [request] = follow(Action.REDRAW, [fox(n=4)], 0)
    assert request != fox(n=4)
    assert replace(request, seed=7) == fox(n=4)


def test_what_was_drawn_with_one_seed_to_be_compared_is_redrawn_with_one() -> None:
    red, blue = follow(Action.REDRAW, [fox(), compose("a blue fox", model="sketch", seed=7)], 0)
    assert red.seed == blue.seed != 7
    first, second = follow(
        Action.REDRAW, [fox(seed=2**32 - 1), fox(seed=0)], 0
    )  # as two pictures of one are read off a message
    assert second.seed == (first.seed + 1) % 2**32


def test_redrawing_variations_gives_other_variations_of_the_same_picture() -> None:
    [request] = follow(Action.REDRAW, [fox(variation_seed=9, variation_strength=0.3)], 0)
    assert (request.seed, request.variation_strength) == (7, 0.3)
    assert request.variation_seed != 9


def test_variations_stay_near_the_picture_that_was_chosen() -> None:
    [request] = follow(Action.VARY, [fox(n=4)], 2)
    assert (request.seed, request.n, request.variation_strength) == (9, 4, SKETCH.variation)
    assert len({each.variation_seed for each in map(request.alone, range(4))}) == 4


def test_a_variation_of_a_variation_stays_near_that_one() -> None:
    [once] = follow(Action.VARY, [fox(n=4)], 2)
    [twice] = follow(Action.VARY, [once], 3)
    assert (twice.seed, twice.n, twice.varied) == (9, 4, once.alone(3).variations)
    [other] = follow(Action.REDRAW, [twice], 0)
    assert other.varied == twice.varied
    assert other.variation_seed != twice.variation_seed


def test_variations_of_variations_come_to_an_end_that_is_told() -> None:
    last = fox()
    while "Vary" in labels(drawn(a_job(last)))[-2]:
        last = follow(Action.VARY, [last], 0)[0].alone(0)
    assert len(last.variations) == MOST_VARIATIONS
    with pytest.raises(Told, match="as far from the first one as I can go"):
        follow(Action.VARY, [last], 0)


def test_upscaling_is_the_same_picture_twice_as_large() -> None:
    assert follow(Action.UPSCALE, [fox(n=4)], 2) == [fox(seed=9, upscale=2)]


def test_pictures_are_counted_over_all_that_was_asked_for() -> None:
    red, blue = fox(n=2), compose("a blue fox", model="sketch", seed=1, n=2)
    assert alone([red, blue], 1) == red.alone(1)
    assert alone([red, blue], 2) == blue.alone(0)
    with pytest.raises(Told, match="no such picture"):
        alone([red, blue], 4)


def test_a_question_says_how_many_pictures_it_is_about() -> None:
    assert [button.label for button in of_proposal(a_job(fox(n=2), fox(n=2)))[0]] == ["Draw 4 pictures", "No"]
