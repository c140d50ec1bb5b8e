"""What jobs promise when several servers share them, held over PostgreSQL: the same tests as over a file, as far as the database has a part in them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mcp_image_server.jobs.owner import is_surely_gone
from tests.jobs.place import Place, dead_owner
from tests.jobs.test_jobs import (
    test_a_call_that_may_have_been_billed_is_not_repeated,
    test_a_clock_that_jumps_takes_no_job_from_a_living_process,
    test_a_closing_server_hands_over_what_costs_nothing_at_once,
    test_a_job_is_taken_up_when_its_process_has_ended_or_been_silent_whatever_the_clock_says,
    test_a_second_server_leaves_the_first_ones_jobs_alone,
    test_a_task_that_the_service_has_accepted_is_asked_for_not_submitted,
    test_a_watcher_hears_each_step_in_order,
    test_another_process_can_cancel,
)
from tests.jobs.test_sharing import (
    test_a_picture_that_comes_after_another_process_gave_the_job_up_is_recorded_all_the_same,
    test_two_processes_together_keep_to_a_limit_of_one_and_the_line,
)
from tests.scale.servers import Postgres, emptied

pytestmark = pytest.mark.anyio

__all__ = [
    "test_a_call_that_may_have_been_billed_is_not_repeated",
    "test_a_clock_that_jumps_takes_no_job_from_a_living_process",
    "test_a_closing_server_hands_over_what_costs_nothing_at_once",
    "test_a_job_is_taken_up_when_its_process_has_ended_or_been_silent_whatever_the_clock_says",
    "test_a_picture_that_comes_after_another_process_gave_the_job_up_is_recorded_all_the_same",
    "test_a_second_server_leaves_the_first_ones_jobs_alone",
    "test_a_task_that_the_service_has_accepted_is_asked_for_not_submitted",
    "test_a_watcher_hears_each_step_in_order",
    "test_another_process_can_cancel",
    "test_two_processes_together_keep_to_a_limit_of_one_and_the_line",
]


def test_a_process_of_another_machine_is_not_judged_by_the_process_numbers_of_this_one() -> None:
    """Many machines have the same name, and the first process namespace has the same number on all of them."""
    gone = dead_owner()
    host, boot, rest = gone.split(":", 2)
    assert is_surely_gone(gone) == (sys.platform != "win32")
    assert not is_surely_gone(f"{host}:{boot[::-1]}x:{rest}")


@pytest.fixture
async def place(postgres_server: Postgres, tmp_path: Path) -> Place:
    return Place(tmp_path, database=await emptied(postgres_server, "history"))
