"""Whose step is next, how many go at once, and that nobody waits forever: on a clock that is a number."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import pytest

from bot.steps import AGEING, CROWD, Curve, Row, Schedule, Task, padded

GAINS = {1: 1.0, 2: 1.2, 4: 1.6}  # seconds: four at once take little longer than one
NOTHING = {1: 1.0, 2: 2.0, 4: 4.0}
SD15 = {1: 6.3, 2: 10.0, 4: 18.4, 8: 31.8}  # as measured, a thousand times slower


@dataclass
class World:
    """A device that takes as long for each pass as `costs` says, and a clock."""

    costs: dict[int, float] = field(default_factory=lambda: GAINS)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.schedule = Schedule(lambda _shape: self.costs)
        self.ended: dict[str, float] = {}
        self.passes: list[str] = []
        self._names: dict[int, str] = {}

    def come(self, name: str, steps: int, pictures: int = 1, shape: str = "square", together: int = 1) -> Task:
        task = Task(arrived=self.now, together=together)
        task.rows = [Row(task=task, shape=shape, left=steps) for _ in range(pictures)]
        self._names[id(task)] = name
        self.schedule.add(task)
        return task

    def step(self) -> None:
        rows = self.schedule.next(self.now)
        assert len({row.shape for row in rows}) == 1
        self.passes.append("".join(self._names[id(row.task)] for row in rows))
        self.now += self.costs[padded(self.costs, len(rows))]
        for row in rows:
            if self.schedule.stepped(row) and not row.task.rows:
                self.schedule.remove(row.task)
                self.ended[self._names[id(row.task)]] = self.now

    def run(self) -> World:
        while self.schedule:
            self.step()
        return self


def test_nobody_there_is_no_step() -> None:
    assert World().schedule.next(0) == []


def test_the_shorter_goes_first_and_the_longer_goes_on_where_it_was() -> None:
    world = World(NOTHING)
    world.come("a", steps=5)
    world.step()
    world.come("b", steps=2)
    assert world.run().passes == ["a", "b", "b", "a", "a", "a", "a"]


def test_who_is_nearly_done_is_not_held_up_by_somebody_as_long() -> None:
    world = World(NOTHING)
    world.come("a", steps=4)
    world.step()
    world.come("b", steps=4)
    assert world.run().ended == {"a": 4.0, "b": 8.0}


def test_a_request_counts_with_all_its_pictures() -> None:
    world = World(NOTHING)
    world.come("a", steps=2, pictures=4)
    world.come("b", steps=3)
    assert world.run().ended == {"b": 3.0, "a": 11.0}


def test_where_company_pays_those_of_one_shape_go_together() -> None:
    world = World()
    for name in "abcd":
        world.come(name, steps=10)
    world.come("x", steps=10, shape="wide")
    assert "abcd" in world.run().passes
    assert "x" in world.passes


def test_where_company_does_not_pay_everybody_goes_alone() -> None:
    world = World(NOTHING)
    for name in "abcd":
        world.come(name, steps=3)
    assert world.run().passes == [*"aaabbbcccddd"]


def test_somebody_may_join_at_any_step() -> None:
    world = World()
    world.come("a", steps=4)
    world.step()
    world.come("b", steps=3)
    assert world.run().passes == ["a", "ab", "ab", "ab"]


def test_pictures_may_be_asked_to_go_side_by_side_where_it_does_not_pay() -> None:
    world = World(NOTHING)
    world.come("a", steps=1, pictures=5, together=2)
    assert world.run().passes == ["aa", "aa", "a"]


def test_nobody_starves() -> None:
    world = World(NOTHING)
    world.come("long", steps=20)
    for number in range(200):
        world.come(f"{number}", steps=2)
        world.step()
        world.step()
        if "long" in world.ended:
            break
    assert world.ended["long"] <= 20 * (1 + 1 / AGEING) + 4


def test_what_did_not_fit_is_not_tried_again() -> None:
    world = World()
    for name in "abcd":
        world.come(name, steps=3)
    assert len(world.schedule.next(0)) == 4
    world.schedule.limit("square", 2)
    assert len(world.schedule.next(0)) == 2
    world.schedule.limit("square", 0)
    assert len(world.schedule.next(0)) == 1


def test_who_has_gone_takes_no_more_steps() -> None:
    world = World()
    task = world.come("a", steps=3)
    world.come("b", steps=3)
    world.step()
    world.schedule.remove(task)
    world.schedule.remove(task)
    assert world.run().passes == ["ab", "b", "b"]


def test_a_few_different_passes_serve_any_number_of_rows() -> None:
    assert [padded(GAINS, rows) for rows in (1, 2, 3, 4)] == [1, 2, 4, 4]
    assert padded({1: 1.0}, 3) == 3  # where only one at a time was measured, nothing is filled up


@pytest.mark.parametrize(("work", "seconds"), [(0.5, 1.0), (1, 2.0), (2, 3.0), (3, 4.0), (6, 8.0)])
def test_the_time_of_a_pass_is_read_off_between_what_was_measured(work: float, seconds: float) -> None:
    curve = Curve()
    curve.learn(3, 9.0)
    curve.learn(1, 2.0)
    curve.learn(3, 4.0)
    assert curve.seconds(work) == pytest.approx(seconds)


def test_before_anything_was_measured_more_work_takes_longer() -> None:
    assert Curve().seconds(2) > Curve().seconds(1)


def test_where_many_wait_for_different_steps_all_ride_along() -> None:
    """A row that is done makes room for the next one at once: nobody waits for the longest of those that began together."""
    world = World(SD15)
    for number in range(40):
        world.come(str(number), steps=(12, 20, 30)[number % 3])
    assert len(world.schedule.next(0)) == 8


def test_a_crowd_has_as_much_done_in_a_second_as_can_be() -> None:
    """With few waiting, two at a time spare the first ones a wait; where many do, all that counts is that all get on."""
    world = World(SD15)
    chosen = []
    for number in range(2 * CROWD):
        world.come(str(number), steps=(12, 20, 30)[number % 3])
        chosen.append(len(world.schedule.next(0)))
    assert max(chosen[: CROWD - 1]) == 2
    assert set(chosen[CROWD - 1 :]) == {8}


def test_who_wants_another_shape_is_not_reckoned_with() -> None:
    """One short row of a shape leads, and three long ones wait far behind twenty tasks of another: it goes alone."""
    world = World(NOTHING)
    world.come("a", steps=1, shape="wide")
    for number in range(20):
        world.come(f"square {number}", steps=10)
    for number in range(3):
        world.come(f"wide {number}", steps=31, shape="wide")
    assert len(world.schedule.next(0)) == 1


def test_who_wanted_to_go_side_by_side_does_so_only_as_far_as_it_fits() -> None:
    world = World(NOTHING)
    world.come("a", steps=3, pictures=4, together=4)
    assert len(world.schedule.next(0)) == 4
    world.schedule.limit("square", 2)
    assert len(world.schedule.next(0)) == 2


def test_choosing_a_pass_takes_little_more_the_longer_the_queue_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU waits meanwhile, if that takes long."""
    asked, reckoned, take = list[str](), list[int](), heapq.heappop

    def costs(shape: str) -> dict[int, float]:
        asked.append(shape)
        return SD15

    def counted(heap: list[float]) -> float:
        reckoned.append(1)
        return take(heap)

    monkeypatch.setattr("bot.steps.heapq.heappop", counted)
    world = World()
    world.schedule = Schedule(costs)
    counts = []
    for number in range(100):
        world.come(str(number), steps=20, pictures=4)
        asked.clear()
        reckoned.clear()
        world.schedule.next(0)
        counts.append((len(asked), len(reckoned)))
    assert {number for number, _ in counts} == {counts[0][0]}
    assert {number for _, number in counts[CROWD - 1 :]} == {0}
