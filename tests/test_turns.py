"""People take turns, whatever order they come in and however much they ask for."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.turns import Turns

if TYPE_CHECKING:
    from bot.turns import Ticket

thorough = settings(derandomize=True, max_examples=300, deadline=None)


@dataclass(eq=False)
class Waiter:
    """Somebody with a job in the queue, and what they could see when they came."""

    person: str
    ticket: Ticket
    place: ExitStack
    told: int  # how many jobs were ahead
    own: int  # how many of their own jobs were not done, this one included
    before: frozenset[Waiter]  # who was in the queue already


@dataclass
class Studio:
    """A queue, and one job at a time being drawn."""

    turns: Turns = field(default_factory=Turns)
    inside: list[Waiter] = field(default_factory=list)
    drawn: list[Waiter] = field(default_factory=list)

    def join(self, person: str, cost: float = 1) -> Waiter:
        place = ExitStack()
        ticket = place.enter_context(self.turns.queue(person, cost))
        own = sum(other.person == person for other in self.inside) + 1
        told = 0 if ticket.called.is_set() else self.turns.ahead(ticket)
        waiter = Waiter(person, ticket, place, told, own, frozenset(self.inside))
        self.inside.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        self.inside.remove(waiter)
        waiter.place.close()

    @property
    def called(self) -> list[Waiter]:
        return [waiter for waiter in self.inside if waiter.ticket.called.is_set()]

    def draw(self) -> None:
        """Finish the job whose turn it is."""
        (waiter,) = self.called
        self.drawn.append(waiter)
        self.leave(waiter)

    def draw_all(self) -> list[str]:
        """Finish everything; return whose turns those were, in order."""
        already = len(self.drawn)
        while self.inside:
            self.draw()
        return [waiter.person for waiter in self.drawn[already:]]


@pytest.fixture
def studio() -> Studio:
    return Studio()


def test_whoever_comes_to_an_empty_queue_is_called_at_once(studio: Studio) -> None:
    assert studio.join("ann").ticket.called.is_set()


def test_only_one_is_called_at_a_time(studio: Studio) -> None:
    studio.join("ann")
    assert not studio.join("bob").ticket.called.is_set()
    assert not studio.join("ann").ticket.called.is_set()


def test_thirty_jobs_of_one_person_do_not_delay_the_first_of_another(studio: Studio) -> None:
    for _ in range(30):
        studio.join("greedy")
    bob = studio.join("bob")
    assert bob.told == 1  # the one being drawn
    assert studio.draw_all()[:3] == ["greedy", "bob", "greedy"]


def test_people_with_many_jobs_alternate(studio: Studio) -> None:
    for person in ("ann", "ann", "ann", "bob", "bob", "bob", "cat", "cat", "cat"):
        studio.join(person)
    turns = studio.draw_all()
    assert [Counter(turns[start : start + 3]) for start in (0, 3, 6)] == [Counter(["ann", "bob", "cat"])] * 3


def test_ones_own_jobs_are_drawn_in_the_order_they_were_asked_for(studio: Studio) -> None:
    jobs = [studio.join("ann") for _ in range(5)]
    studio.draw_all()
    assert studio.drawn == jobs


def test_a_set_of_pictures_counts_as_that_many_turns(studio: Studio) -> None:
    studio.join("ann", cost=4)
    studio.join("ann")
    for _ in range(5):
        studio.join("bob")
    assert studio.draw_all() == ["ann", "bob", "bob", "bob", "bob", "ann", "bob"]


def test_whoever_leaves_is_never_called_and_holds_nobody_up(studio: Studio) -> None:
    studio.join("ann")
    bob, cat = studio.join("bob"), studio.join("cat")
    assert studio.turns.ahead(cat.ticket) == 2
    studio.leave(bob)
    assert studio.turns.ahead(cat.ticket) == 1
    assert studio.draw_all() == ["ann", "cat"]
    assert not bob.ticket.called.is_set()


def test_nothing_is_owed_for_what_was_never_begun(studio: Studio) -> None:
    studio.join("zoe")
    studio.leave(studio.join("ann", cost=10))
    for _ in range(6):
        studio.join("bob")
    studio.join("ann")
    assert studio.draw_all()[:3] == ["zoe", "bob", "ann"]


def test_whoever_takes_one_of_several_back_still_has_the_others_in_order(studio: Studio) -> None:
    studio.join("zoe")
    first, second = studio.join("ann", cost=10), studio.join("ann")
    studio.leave(first)
    third = studio.join("ann")
    studio.draw_all()
    assert studio.drawn[1:] == [second, third]


def test_whoever_is_called_and_leaves_gives_the_turn_to_the_next(studio: Studio) -> None:
    ann, bob = studio.join("ann"), studio.join("bob")
    studio.leave(ann)
    assert bob.ticket.called.is_set()


def test_a_drawing_that_fails_gives_the_turn_to_the_next() -> None:
    turns = Turns()

    def fail() -> None:
        with turns.queue("ann") as ann:
            assert ann.called.is_set()
            raise RuntimeError("out of memory")

    with turns.queue("zoe") as zoe:
        with pytest.raises(AssertionError):
            fail()  # failed while it waited
        assert turns.waiting == 0
        assert turns.serving
    with pytest.raises(RuntimeError, match="out of memory"):
        fail()
    assert zoe.called.is_set()
    assert not turns.serving


def test_the_queue_says_how_many_wait_and_whether_one_is_drawn(studio: Studio) -> None:
    seen = [(studio.turns.waiting, studio.turns.serving)]
    for person in ("ann", "bob"):
        studio.join(person)
        seen.append((studio.turns.waiting, studio.turns.serving))
    for _ in range(2):
        studio.draw()
        seen.append((studio.turns.waiting, studio.turns.serving))
    assert seen == [(0, False), (0, True), (1, True), (0, True), (0, False)]


def test_whoever_is_being_drawn_has_nobody_ahead(studio: Studio) -> None:
    ann = studio.join("ann")
    studio.join("bob")
    assert studio.turns.ahead(ann.ticket) == 0


def test_what_was_drawn_before_the_queue_was_last_empty_counts_no_more(studio: Studio) -> None:
    studio.join("ann", cost=10)
    studio.draw_all()
    for person in ("cat", "ann", "bob", "bob", "bob"):
        studio.join(person)
    assert studio.draw_all() == ["cat", "ann", "bob", "bob", "bob"]


ARRIVALS = st.tuples(st.sampled_from("abcde"), st.integers(1, 10))
DAYS = st.lists(ARRIVALS | st.none(), max_size=60)  # None: the drawing under way is done


def played(day: list[tuple[str, int] | None]) -> Studio:
    studio = Studio()
    for event in day:
        if event:
            studio.join(*event)
        elif studio.inside:
            studio.draw()
        assert len(studio.called) == min(1, len(studio.inside))
    return studio


@thorough
@given(DAYS)
def test_everybody_is_called_once(day: list[tuple[str, int] | None]) -> None:
    studio = played(day)
    studio.draw_all()
    assert len(studio.drawn) == len(set(studio.drawn)) == sum(map(bool, day))


@thorough
@given(DAYS)
def test_whoever_is_told_how_many_are_ahead_waits_for_just_as_many_of_those_who_are_there(
    day: list[tuple[str, int] | None],
) -> None:
    studio = played(day)
    studio.draw_all()
    for index, waiter in enumerate(studio.drawn):
        assert len(waiter.before.intersection(studio.drawn[:index])) == waiter.told


@thorough
@given(DAYS)
def test_once_nobody_comes_any_more_everybody_moves_up_by_one_at_a_time(day: list[tuple[str, int] | None]) -> None:
    studio = played(day)
    while studio.inside:
        seen = {waiter: studio.turns.ahead(waiter.ticket) for waiter in studio.inside if waiter not in studio.called}
        assert sorted(seen.values()) == list(range(1, len(seen) + 1))
        studio.draw()
        now = {waiter: 0 if waiter in studio.called else studio.turns.ahead(waiter.ticket) for waiter in seen}
        assert now == {waiter: ahead - 1 for waiter, ahead in seen.items()}


@thorough
@given(st.lists(st.tuples(st.sampled_from("abc"), st.just(1)) | st.none(), max_size=60))
def test_nobody_starves_because_newcomers_pass_a_job_no_oftener_than_its_owner_has_jobs(
    day: list[tuple[str, int] | None],
) -> None:
    studio = played(day)
    studio.draw_all()
    for index, waiter in enumerate(studio.drawn):
        passed = Counter(other.person for other in studio.drawn[:index] if waiter in other.before)
        assert all(times <= waiter.own for times in passed.values())
