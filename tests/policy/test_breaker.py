"""When a failing model is left alone: what opens it, for how long, and how it is tried again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mcp_image_server.models import Breaker
from mcp_image_server.policy.breaker import LONGEST_PAUSE, TRIAL, TRIP, after_failure, is_open, on_trial, words

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
WELL = Breaker(provider="p", model="m")


def after_failures(many: int, breaker: Breaker = WELL, now: datetime = NOW) -> Breaker:
    for _ in range(many):
        breaker = after_failure(breaker, now)
    return breaker


def test_four_failures_in_a_row_change_nothing_yet() -> None:
    breaker = after_failures(4)
    assert breaker == replace(WELL, failures=4)
    assert not is_open(breaker, NOW)


def test_after_the_fifth_nothing_is_sent_for_half_a_minute() -> None:
    breaker = after_failures(5)
    assert breaker == replace(WELL, failures=5, openings=1, open_until=NOW + timedelta(seconds=30))
    assert is_open(breaker, NOW)
    assert is_open(breaker, NOW + timedelta(seconds=29))
    assert not is_open(breaker, NOW + timedelta(seconds=30))


def test_jobs_that_were_under_way_when_it_opened_make_the_pause_no_longer() -> None:
    opened = after_failures(5)
    assert after_failures(7, opened, NOW + timedelta(seconds=3)) == replace(opened, failures=12)


def test_while_one_job_tries_nobody_else_does_and_one_more_failure_opens_it_again() -> None:
    later = NOW + timedelta(seconds=31)
    trying = on_trial(after_failures(12), later)
    assert is_open(trying, later)
    assert not is_open(trying, later + TRIAL)
    failed = after_failure(trying, later + timedelta(seconds=9))
    assert failed == replace(WELL, failures=TRIP, openings=2, open_until=later + timedelta(seconds=9 + 60))


def test_each_trial_that_fails_makes_the_pause_longer_up_to_ten_minutes_however_often() -> None:
    pauses, breaker, now = [], after_failures(5), NOW
    for _ in range(100):
        assert breaker.open_until is not None
        pauses.append((breaker.open_until - now).total_seconds())
        now = breaker.open_until
        breaker = after_failure(on_trial(breaker, now), now)
    assert pauses == [30, 60, 120, 240, 480] + [600] * 95


def test_a_failure_without_a_trial_after_the_pause_opens_it_again() -> None:
    """A job that another process had begun before."""
    later = NOW + timedelta(hours=1)
    assert after_failure(after_failures(6), later) == replace(WELL, failures=7, openings=2, open_until=later + timedelta(seconds=60))


def test_a_clock_that_was_set_back_keeps_nothing_shut() -> None:
    breaker = after_failures(5)
    assert not is_open(breaker, NOW - timedelta(days=1))
    assert is_open(breaker, NOW - timedelta(minutes=9))


def test_it_says_who_is_left_alone_and_until_when() -> None:
    assert words(after_failures(5), NOW) == "p/m has failed several times in a row, so it is left alone; it is tried again in 30 s"


@given(st.lists(st.tuples(st.sampled_from(["fails", "tries"]), st.integers(0, 1000)), max_size=60))
def test_nothing_is_ever_shut_for_longer_than_the_longest_pause(steps: list[tuple[str, int]]) -> None:
    breaker, now = WELL, NOW
    for what, seconds in steps:
        now += timedelta(seconds=seconds)
        breaker = after_failure(breaker, now) if what == "fails" or breaker.open_until is None else on_trial(breaker, now)
        assert not is_open(breaker, now + LONGEST_PAUSE)
