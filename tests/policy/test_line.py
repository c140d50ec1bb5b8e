"""Whose job is begun next, and how many: fair to everybody, and never more than the account may have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.models import Begun, Limits, Waiting
from mcp_image_server.policy.line import MINUTE, Admission, admit, turns

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MOMENT = timedelta(microseconds=1)
SECOND = timedelta(seconds=1)
ENDLESS = Limits(concurrent=1000)


def job(number: int, principal: str = "ann", *, owner: str | None = "here", pictures: int = 1) -> Waiting:
    return Waiting(
        job_id=f"{principal}{number}",
        principal=principal,
        owner=owner,
        provider="p",
        model="m",
        pictures=pictures,
        created_at=NOW - timedelta(hours=1) + timedelta(seconds=number),
    )


def ids(line: Sequence[Waiting]) -> list[str]:
    return [waiting.job_id for waiting in line]


def ask(
    line: Sequence[Waiting],
    limits: Limits = ENDLESS,
    *,
    begun: Sequence[Begun] = (),
    now: datetime = NOW,
    room: int = 1000,
    running: int = 0,
    busy: Sequence[str] = (),
    shut: Sequence[str] = (),
) -> Admission:
    return admit(line, owner="here", room=room, limits=limits, running=running, begun=begun, now=now, busy=busy, shut=shut)


# Whose turn it is ---------------------------------------------------------------------------------------------------------------------------

principals = st.sampled_from(["ann", "bob", "cy", "dee"])
moments = st.integers(0, 5).map(lambda seconds: NOW - timedelta(seconds=seconds))
waiting = st.lists(st.tuples(principals, st.integers(0, 50), st.integers(1, 6)), max_size=25, unique_by=lambda each: each[:2]).map(
    lambda all_of_them: [job(number, principal, pictures=pictures) for principal, number, pictures in all_of_them]
)


def test_principals_take_turns_each_with_the_oldest_job_first() -> None:
    line = [job(3, "ann"), job(1, "ann"), job(2, "ann"), job(9, "bob"), job(5, "cy"), job(6, "cy")]
    assert ids(turns(line, {})) == ["ann1", "cy5", "bob9", "ann2", "cy6", "ann3"]


def test_who_was_never_served_goes_first_then_who_has_waited_longest() -> None:
    line = [job(1, "ann"), job(2, "bob"), job(3, "cy")]
    assert ids(turns(line, {"ann": NOW, "bob": NOW - SECOND})) == ["cy3", "bob2", "ann1"]


def test_times_of_any_zone_are_compared() -> None:
    line = [job(1, "ann"), replace(job(2, "bob"), created_at=job(2).created_at.astimezone(timezone(timedelta(hours=-11))))]
    assert ids(turns(line, {"ann": NOW.astimezone(timezone(timedelta(hours=8)))})) == ["bob2", "ann1"]


@given(waiting, st.dictionaries(principals, moments))
def test_nobody_who_still_waits_is_ever_ahead_or_behind_by_more_than_one(line: list[Waiting], served: dict[str, datetime]) -> None:
    order = turns(line, served)
    assert Counter(ids(order)) == Counter(ids(line))
    for place in range(len(order)):
        shares = Counter(each.principal for each in order[:place])
        still = {each.principal for each in order[place:]}
        had = [shares[name] for name in still]
        assert max(had) - min(had) <= 1
        assert all(shares[name] <= min(had) + 1 for name in shares)
    for name in {each.principal for each in order}:
        theirs = [each.created_at for each in order if each.principal == name]
        assert theirs == sorted(theirs)


@given(st.lists(principals, min_size=2, max_size=4, unique=True), st.lists(st.integers(1, 3), min_size=1, max_size=15))
def test_whoever_keeps_asking_gets_the_same_share_over_time(names: list[str], places: list[int]) -> None:
    """Places come free again and again, several at once; nobody's line ever ends."""
    left = {name: [job(number, name) for number in range(60)] for name in names}
    served: dict[str, datetime] = {}
    shares = Counter(dict.fromkeys(names, 0))
    for step, free in enumerate(places):
        line = turns([each for theirs in left.values() for each in theirs], served)
        for index, each in enumerate(line[:free]):
            left[each.principal].remove(each)
            served[each.principal] = NOW + step * SECOND + index * MOMENT  # the record writes those that begin together a moment apart
            shares[each.principal] += 1
        assert max(shares.values()) - min(shares.values()) <= 1


# How many at once ---------------------------------------------------------------------------------------------------------------------------


@given(waiting, st.integers(1, 6), st.integers(0, 8), st.integers(0, 6))
def test_no_more_are_begun_than_there_are_places_and_they_are_the_first_in_line(line: list[Waiting], most: int, running: int, room: int) -> None:
    admitted = ask(line, Limits(concurrent=most), running=running, room=room)
    assert admitted == Admission(jobs=tuple(ids(line)[: max(0, min(most - running, room))]))


def test_a_place_of_another_process_is_left_to_it() -> None:
    line = [job(1, owner="there"), job(2), job(3), job(4)]
    assert ask(line, Limits(concurrent=2)) == Admission(jobs=("ann2",))
    assert ask(line, Limits(concurrent=1)) == Admission()
    assert ask(line, Limits(concurrent=1), busy=["there"]) == Admission(jobs=("ann2",))
    assert ask(line, replace(ENDLESS, per_second=2)) == Admission(jobs=("ann2",), again=1.0)


def test_a_job_that_nobody_holds_is_passed_over_until_somebody_takes_it_up() -> None:
    assert ask([job(1, owner=None), job(2)], Limits(concurrent=1)) == Admission(jobs=("ann2",))


def test_a_job_whose_service_is_failing_holds_up_nobody() -> None:
    assert ask([job(1), job(2)], Limits(concurrent=1), shut=["ann1"]) == Admission(jobs=("ann2",))
    assert ask([job(1)], replace(ENDLESS, per_second=1), begun=[Begun(at=NOW, pictures=1)], shut=["ann1"]) == Admission()


@given(waiting, st.integers(1, 4), st.integers(1, 5), st.data())
def test_processes_that_share_an_account_begin_together_what_one_alone_would(line: list[Waiting], most: int, rate: int, data: st.DataObject) -> None:
    """One after the other looks at the line and begins its own jobs; together they keep to the limits and to the order."""
    limits = Limits(concurrent=most, per_second=rate)
    left = [replace(each, owner=data.draw(st.sampled_from(["here", "there"]))) for each in line]
    begun: list[str] = []
    for owner in data.draw(st.permutations(["here", "there"])):
        lately = [Begun(at=NOW, pictures=1) for _ in begun]
        begun += admit(left, owner=owner, room=1000, limits=limits, running=len(begun), begun=lately, now=NOW).jobs
        left = [each for each in left if each.job_id not in begun]
    assert sorted(begun, key=ids(line).index) == ids(line)[: min(most, rate)]


# How many in a while ------------------------------------------------------------------------------------------------------------------------

limits_of_time = st.builds(
    Limits,
    concurrent=st.just(1000),
    per_second=st.one_of(st.none(), st.sampled_from([0.01, 0.3, 0.5, 1, 1.5, 3, 3.7])),
    images_per_minute=st.one_of(st.none(), st.integers(1, 8)),
)
history = st.lists(
    st.builds(
        lambda milliseconds, pictures: Begun(at=NOW - timedelta(milliseconds=milliseconds), pictures=pictures),
        st.integers(0, 100_000),
        st.integers(1, 4),
    ),
    max_size=12,
)


def most_within(begun: Sequence[Begun], window: timedelta, *, pictures: bool) -> int:
    """The most that was begun in any window of that length."""
    return max(
        (sum(other.pictures if pictures else 1 for other in begun if timedelta(0) <= other.at - each.at < window) for each in begun), default=0
    )


def begin_all(line: Sequence[Waiting], limits: Limits) -> list[Begun]:
    """What is begun when one asks at once, and again exactly when told to."""
    begun: list[Begun] = []
    left, now = list(line), NOW
    while left:
        admission = ask(left, limits, begun=begun, now=now)
        begun += [Begun(at=now, pictures=each.pictures) for each in left if each.job_id in admission.jobs]
        left = [each for each in left if each.job_id not in admission.jobs]
        if left:
            assert admission.again is not None
            assert admission.again > 0
            now += timedelta(seconds=admission.again)
    return begun


@given(waiting, limits_of_time)
def test_over_every_window_no_more_is_begun_than_the_account_may_have(line: list[Waiting], limits: Limits) -> None:
    begun = begin_all(line, limits)
    assert len(begun) == len(line)
    if limits.per_second:
        window = max(SECOND, timedelta(seconds=1 / limits.per_second))
        assert most_within(begun, window, pictures=False) <= max(1, int(limits.per_second))
    if limits.images_per_minute:
        largest = max((each.pictures for each in line), default=0)
        assert most_within(begun, MINUTE, pictures=True) <= max(limits.images_per_minute, largest)
        assert all(
            most_within([each], MINUTE, pictures=True) <= limits.images_per_minute or most_within(_around(begun, each), MINUTE, pictures=False) == 1
            for each in begun
        )


def _around(begun: Sequence[Begun], one: Begun) -> list[Begun]:
    return [each for each in begun if abs(each.at - one.at) < MINUTE]


@given(waiting, limits_of_time, history)
def test_again_is_the_very_moment_from_which_more_is_begun(line: list[Waiting], limits: Limits, begun: list[Begun]) -> None:
    first = ask(line, limits, begun=begun)
    begun = begun + [Begun(at=NOW, pictures=each.pictures) for each in line if each.job_id in first.jobs]
    left = [each for each in line if each.job_id not in first.jobs]
    if first.again is None:
        assert left == []
        return
    then = NOW + timedelta(seconds=first.again)
    assert ask(left, limits, begun=begun, now=then).jobs[:1] == (left[0].job_id,)
    assert ask(left, limits, begun=begun, now=then - MOMENT) == Admission(again=MOMENT.total_seconds())


@pytest.mark.parametrize(
    ("limits", "begun", "admission"),
    [
        (Limits(concurrent=9, per_second=3.5), [], Admission(jobs=("ann0", "ann1", "ann2"), again=1.0)),
        (Limits(concurrent=9, per_second=0.5), [], Admission(jobs=("ann0",), again=2.0)),
        (Limits(concurrent=9, images_per_minute=3), [], Admission(jobs=("ann0",), again=60.0)),
        (Limits(concurrent=9, images_per_minute=4), [Begun(at=NOW - 50 * SECOND, pictures=3)], Admission(again=10.0)),
        (Limits(concurrent=9, per_second=1, images_per_minute=4), [Begun(at=NOW - 50 * SECOND, pictures=3)], Admission(again=10.0)),
        (Limits(concurrent=2, per_second=1), [Begun(at=NOW - SECOND, pictures=1)], Admission(jobs=("ann0",), again=1.0)),
    ],
)
def test_four_jobs_of_two_pictures(limits: Limits, begun: list[Begun], admission: Admission) -> None:
    assert ask([job(number, pictures=2) for number in range(4)], limits, begun=begun) == admission


def test_a_job_larger_than_the_minute_is_begun_alone() -> None:
    limits = Limits(concurrent=9, images_per_minute=4)
    line = [job(1, pictures=10), job(2)]
    assert ask(line, limits) == Admission(jobs=("ann1",), again=60.0)
    assert ask(line, limits, begun=[Begun(at=NOW - 20 * SECOND, pictures=1)]) == Admission(again=40.0)


def test_the_clock_of_another_machine_may_be_a_little_ahead() -> None:
    limits = Limits(concurrent=9, per_second=2)
    ahead = [Begun(at=NOW + timedelta(seconds=0.25), pictures=1)]
    assert ask([job(1), job(2)], limits, begun=ahead) == Admission(jobs=("ann1",), again=1.0)
    assert ask([job(1)], limits, begun=ahead * 2) == Admission(again=1.25)


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    begun = [Begun(at=NOW + timedelta(hours=1), pictures=9)] * 9
    assert ask([job(1)], Limits(concurrent=9, per_second=1, images_per_minute=9), begun=begun) == Admission(jobs=("ann1",))
